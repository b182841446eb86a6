package firewall

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"
)

// Listener is an address and port of ours that banned sources shall not reach.
type Listener struct {
	TCP  bool // else UDP
	Bind netip.AddrPort
}

// kernel is what the owner's goroutine asks of the kernel. Its methods wait for it.
type kernel interface {
	// build makes our table anew, with empty sets.
	build(listeners []Listener) error
	// change takes entries out of the sets, then puts others in.
	change(now time.Time, remove, add []Entry) error
	// drop removes our table.
	drop() error
}

// Options are what a Firewall is born with.
type Options struct {
	Log *zap.Logger // nil: nothing is told
	Now func() time.Time
	// NetNS is a file descriptor of the network namespace to work in; 0: that of the program.
	NetNS int
}

// The pace of the goroutine.
const (
	settle    = 250 * time.Millisecond // what comes within it is written together
	look      = 5 * time.Second        // how often it looks what has ended
	patience  = time.Minute            // between attempts after an error
	mostHeld  = 65_536                 // entries in the kernel; of more those that last longest stay
	chunkSize = 200                    // entries in one message to the kernel
)

// Firewall keeps the kernel's sets as they are wanted. Its methods never wait.
type Firewall struct {
	opt    Options
	kernel kernel
	bell   chan struct{}

	mu        sync.Mutex
	wanted    []Entry
	listeners []Listener
	anew      bool // the listeners are others: build

	// Of Run:
	has     map[netip.Prefix]time.Time
	built   bool
	failing bool
	retry   time.Time
}

// New makes a firewall. Nothing happens before Run.
func New(o Options) *Firewall { return newFirewall(o, &netfilter{ns: o.NetNS}) }

func newFirewall(o Options, k kernel) *Firewall {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Firewall{opt: o, kernel: k, bell: make(chan struct{}, 1), has: map[netip.Prefix]time.Time{}}
}

// Want replaces the whole list of what shall be dropped. The list must not be changed afterwards.
func (f *Firewall) Want(list []Entry) {
	f.mu.Lock()
	f.wanted = list
	f.mu.Unlock()
	f.ring()
}

// Protect replaces the listeners that the entries are kept from.
func (f *Firewall) Protect(list []Listener) {
	f.mu.Lock()
	if !slices.Equal(list, f.listeners) {
		f.listeners, f.anew = slices.Clone(list), true
	}
	f.mu.Unlock()
	f.ring()
}

func (f *Firewall) ring() {
	select {
	case f.bell <- struct{}{}:
	default: // it has not looked yet
	}
}

// Run works until the context ends, and then removes the table. What an earlier run left it removes first.
func (f *Firewall) Run(ctx context.Context) {
	t := time.NewTicker(look)
	defer t.Stop()
	for {
		f.work()
		select {
		case <-ctx.Done():
			f.end()
			return
		case <-t.C:
		case <-f.bell:
			pause := time.NewTimer(settle)
			select {
			case <-ctx.Done():
			case <-pause.C:
			}
			pause.Stop()
		}
	}
}

func (f *Firewall) end() {
	if !f.built {
		return
	}
	if err := f.kernel.drop(); err != nil {
		f.opt.Log.Warn("the kernel keeps our table; `nft delete table inet sallyport` removes it", zap.Error(err))
	}
	f.built = false
}

// work brings the kernel to what is wanted now.
func (f *Firewall) work() {
	now := f.opt.Now()
	f.mu.Lock()
	wanted, listeners, anew := f.wanted, f.listeners, f.anew
	f.anew = false
	f.mu.Unlock()
	if f.built = f.built && !anew; !f.built {
		if now.Before(f.retry) && !anew {
			return
		}
		if err := f.kernel.build(listeners); err != nil {
			f.failed(now, err)
			return
		}
		f.built = true
		clear(f.has)
	}
	remove, add := step(now, f.has, bounded(cover(now, wanted)))
	if len(remove)+len(add) > 0 {
		if err := f.kernel.change(now, remove, add); err != nil {
			f.built = false
			f.failed(now, err)
			return
		}
	}
	f.note(now, remove, add)
	if f.failing {
		f.failing = false
		f.opt.Log.Info("banned sources are dropped by the kernel again")
	}
}

// note keeps what the kernel has now, without what has ended there by itself.
func (f *Firewall) note(now time.Time, remove, add []Entry) {
	for p, until := range f.has {
		if (&Entry{Until: until}).ended(now) {
			delete(f.has, p)
		}
	}
	for _, e := range remove {
		delete(f.has, e.Prefix)
	}
	for _, e := range add {
		f.has[e.Prefix] = e.Until
	}
}

// bounded leaves the entries that last longest where there are too many.
func bounded(list []Entry) []Entry {
	if len(list) <= mostHeld {
		return list
	}
	slices.SortStableFunc(list, func(a, b Entry) int { return latest(b, a) })
	return list[:mostHeld]
}

// failed tells of an error once, until it is over. Half of a change may be done, so the table is built anew next time.
func (f *Firewall) failed(now time.Time, err error) {
	f.retry = now.Add(patience)
	if f.failing {
		return
	}
	f.failing = true
	hint := "see the error; does the kernel have nf_tables, and does `nft list tables` work?"
	if errors.Is(err, syscall.EPERM) {
		hint = "grant CAP_NET_ADMIN (systemd: AmbientCapabilities=CAP_NET_ADMIN), or set policy.bans.kernel: false"
	}
	f.opt.Log.Warn(fmt.Sprintf("the kernel does not drop banned sources, the program does so alone: %v\n  hint: %s", err, hint))
}
