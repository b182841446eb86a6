package firewall

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// fake is a kernel that does what ours does: it refuses overlaps, and to remove what is not there.
type fake struct {
	mu        sync.Mutex
	listeners []Listener
	has       map[netip.Prefix]time.Time
	there     bool
	builds    int
	changes   int
	broken    error
}

func (k *fake) build(listeners []Listener) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.broken != nil {
		return k.broken
	}
	k.builds++
	k.listeners, k.has, k.there = listeners, map[netip.Prefix]time.Time{}, true
	return nil
}

func (k *fake) change(now time.Time, remove, add []Entry) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.broken != nil {
		return k.broken
	}
	k.changes++
	for p, until := range k.has {
		if (&Entry{Until: until}).ended(now) {
			delete(k.has, p)
		}
	}
	for _, e := range remove {
		if _, there := k.has[e.Prefix]; !there {
			return fmt.Errorf("remove %s: %w", e.Prefix, syscall.ENOENT)
		}
		delete(k.has, e.Prefix)
	}
	for _, e := range add {
		for p := range k.has {
			if p.Overlaps(e.Prefix) {
				return fmt.Errorf("add %s: %w", e.Prefix, syscall.EEXIST)
			}
		}
		k.has[e.Prefix] = e.Until
	}
	return nil
}

func (k *fake) drop() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.there = false
	return k.broken
}

func (k *fake) breaks(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.broken = err
}

// counts are how often it was built and changed.
func (k *fake) counts() (builds, changes int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.builds, k.changes
}

func (k *fake) String() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var list []Entry
	for p, until := range k.has {
		list = append(list, Entry{p, until})
	}
	var out []string
	for _, e := range cover(time.Time{}, list) {
		out = append(out, e.Prefix.String())
	}
	return strings.Join(out, " ")
}

// owned runs a firewall on a fake kernel; the function that it returns ends it.
func owned(t *testing.T, k *fake) (*Firewall, *observer.ObservedLogs, func()) {
	t.Helper()
	core, told := observer.New(zapcore.InfoLevel)
	f := newFirewall(Options{Log: zap.New(core)}, k)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { f.Run(ctx) })
	return f, told, func() {
		cancel()
		running.Wait()
	}
}

func lasting(prefix string, d time.Duration) Entry {
	return Entry{Prefix: netip.MustParsePrefix(prefix), Until: time.Now().Add(d)}
}

func settled() {
	time.Sleep(look + time.Second)
	synctest.Wait()
}

func TestTheKernelFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &fake{}
		f, told, end := owned(t, k)
		door := []Listener{{Bind: netip.MustParseAddrPort("203.0.113.10:5060")}}
		f.Protect(door)
		f.Want([]Entry{lasting("192.0.2.7/32", time.Minute), lasting("192.0.2.0/24", 30*time.Second)})
		settled()
		if got := k.String(); got != "192.0.2.0/24" || len(k.listeners) != 1 {
			t.Errorf("%s, %v", got, k.listeners)
		}
		builds, _ := k.counts()
		f.Protect(door)
		settled()
		if n, _ := k.counts(); n != builds {
			t.Error("built anew for nothing")
		}
		time.Sleep(30 * time.Second)
		if got := k.String(); got != "192.0.2.7/32" {
			t.Errorf("once the wider has ended: %s", got)
		}
		time.Sleep(time.Minute)
		_, changes := k.counts()
		settled()
		if _, n := k.counts(); len(f.has) != 0 || n != changes {
			t.Errorf("%v left, and work", f.has)
		}
		for i := range 100 { // a burst is written together
			f.Want([]Entry{lasting(fmt.Sprintf("192.0.2.%d/32", i), time.Hour)})
		}
		settled()
		if _, n := k.counts(); k.String() != "192.0.2.99/32" || n > changes+3 {
			t.Errorf("%s in %d changes", k, n-changes)
		}
		f.Protect(nil)
		settled()
		if n, _ := k.counts(); k.String() != "192.0.2.99/32" || n != builds+1 || len(k.listeners) != 0 {
			t.Errorf("%s, %d builds, %v", k, n, k.listeners)
		}
		end()
		if k.there || told.Len() != 0 {
			t.Errorf("left behind: %t, %v", k.there, told.All())
		}
	})
}

// TestWithoutTheRight: one warning with a hint, attempts now and then, and everything at once when it works again.
func TestWithoutTheRight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &fake{broken: syscall.EPERM}
		f, told, end := owned(t, k)
		f.Want([]Entry{lasting("192.0.2.7/32", time.Hour)})
		time.Sleep(10 * time.Minute)
		if told.Len() != 1 || !strings.Contains(told.All()[0].Message, "CAP_NET_ADMIN") || !strings.Contains(told.All()[0].Message, "hint:") {
			t.Fatalf("told %v", told.All())
		}
		k.breaks(nil)
		time.Sleep(2 * patience)
		if got := k.String(); got != "192.0.2.7/32" || told.Len() != 2 {
			t.Errorf("%s, told %v", got, told.All())
		}
		k.breaks(syscall.ENOBUFS) // in the middle of its work
		f.Want([]Entry{lasting("192.0.2.8/32", time.Hour)})
		time.Sleep(patience)
		k.breaks(nil)
		builds, _ := k.counts()
		time.Sleep(2 * patience)
		if n, _ := k.counts(); k.String() != "192.0.2.8/32" || n != builds+1 || told.Len() != 4 {
			t.Errorf("%s, %d builds, told %v", k, n-builds, told.All())
		}
		k.breaks(syscall.EIO)
		end()
		if last := told.All()[told.Len()-1].Message; !strings.Contains(last, "nft delete table") {
			t.Errorf("told at the end %q", last)
		}
	})
}

// TestSomebodyElseEmptiesTheTable: the next change fails, and the table is built anew.
func TestSomebodyElseEmptiesTheTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &fake{}
		f, _, end := owned(t, k)
		defer end()
		f.Want([]Entry{lasting("192.0.2.7/32", time.Hour), lasting("192.0.2.9/32", time.Hour)})
		settled()
		k.mu.Lock()
		clear(k.has)
		k.mu.Unlock()
		f.Want([]Entry{lasting("192.0.2.8/32", time.Hour)})
		time.Sleep(2 * patience)
		if got := k.String(); got != "192.0.2.8/32" {
			t.Error(got)
		}
	})
}

func TestNoMoreThanTheKernelShallHold(t *testing.T) {
	list := make([]Entry, mostHeld+10)
	for i := range list {
		a := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		list[i] = Entry{Prefix: netip.PrefixFrom(a, 32), Until: began.Add(time.Duration(i+1) * time.Second)}
	}
	got := bounded(list)
	if len(got) != mostHeld || got[0].Until != began.Add((mostHeld+10)*time.Second) {
		t.Errorf("%d, first %v", len(got), got[0])
	}
}
