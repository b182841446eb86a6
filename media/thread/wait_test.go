//go:build linux

package thread

import (
	"math"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sallyport/media"
)

// still is a worker whose thread never began.
func still(t *testing.T, o Options, low bool) *worker {
	t.Helper()
	var c Crew
	layout := media.Layout{Addresses: [2]netip.Addr{relay, relay}, First: 30000, Pairs: 2, Blocks: 1, Workers: 1, LowLatency: low}
	if _, err := c.Open(layout, media.Listener{}, o, func(int32, netip.AddrPort, []byte) bool { return false }); err != nil {
		t.Fatal(err)
	}
	w := &worker{sent: make(chan []byte, 1)}
	t.Cleanup(func() { c.Close(c.Shut) })
	if err := c.Enlist(&w.Thread, w); err != nil {
		t.Fatal(err)
	}
	return w
}

func TestWhoIsPatient(t *testing.T) {
	for _, c := range []struct{ process, low, patient bool }{
		{false, false, false}, {false, true, false}, {true, true, false}, {true, false, true},
	} {
		if w := still(t, Options{Process: c.process}, c.low); w.Raw() != c.process || w.Patient != c.patient {
			t.Errorf("%+v: raw %v, patient %v", c, w.Raw(), w.Patient)
		}
	}
}

// An event says what was watched; a ring is heard once; nothing of it allocates.
func TestLookAndAwait(t *testing.T) {
	for _, process := range []bool{false, true} {
		w := still(t, Options{Process: process}, false)
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Watch(fd, 7, 1); err != nil {
			t.Fatal(err)
		}
		one := []byte{1, 0, 0, 0, 0, 0, 0, 0}
		ring := func(fd int) {
			if _, err := unix.Write(fd, one); err != nil {
				t.Fatal(err)
			}
		}
		if n := w.Look(w.events[:]); n != 0 {
			t.Errorf("%d events of nothing", n)
		}
		ring(w.wakeFD)
		if n := w.Await(w.events[:]); n != 1 || w.events[0].Fd != wakeIndex {
			t.Errorf("a ring: %d events, %+v", n, w.events[0])
		}
		if n := w.Look(w.events[:]); n != 0 {
			t.Error("a ring is heard twice")
		}
		ring(fd)
		for n, wait := range []func([]unix.EpollEvent) int{w.Look, w.Await, w.Look} { // level-triggered
			if got := wait(w.events[:]); got != 1 || w.events[0].Fd != 7 || w.events[0].Pad != 1 {
				t.Errorf("wait %d: %d events, %+v", n, got, w.events[0])
			}
		}
		if n := testing.AllocsPerRun(100, func() {
			ring(w.wakeFD)
			w.Look(w.events[:])
			w.Await(w.events[:])
			w.Sleep()
		}); n != 0 {
			t.Errorf("%v allocations for a wait", n)
		}
		ring(w.wakeFD)
		if n := w.Look(w.events[:1]); n != 1 { // the other one shows the next time
			t.Errorf("%d events where there is room for one", n)
		}
		_ = unix.Close(fd)
	}
}

// Nobody waits for what is due already, nor longer than for what is due next.
func TestSpare(t *testing.T) {
	w := still(t, Options{}, false)
	if due := w.Engine.Due(0); due != math.MaxInt64 || w.spare(100) != 100 {
		t.Errorf("something is due at %d, %d ms are left", due, w.spare(100))
	}
	const now = time.Hour
	for _, c := range []struct {
		left time.Duration
		want int
	}{
		{-now, 0}, {-1, 0}, {0, 0}, {1, 1}, {time.Millisecond, 1}, {time.Millisecond + 1, 2}, {99*time.Millisecond + 1, 100},
		{101 * time.Millisecond, 100}, {now, 100},
	} {
		if got := until(100, now+c.left, now); got != c.want {
			t.Errorf("%v left: %d ms, want %d", c.left, got, c.want)
		}
	}
}

func TestWatchFails(t *testing.T) {
	w := still(t, Options{}, false)
	if err := w.Watch(-1, 0, 0); err == nil {
		t.Error("no descriptor is watched")
	}
}
