//go:build linux

package steer

import (
	"testing"
	"time"

	"sallyport/media/rig"
	"sallyport/nat"
)

// Few datagrams are stamped always, many in one window of sixteen, the first of them not.
func TestStampedWindows(t *testing.T) {
	var s stamping
	now := int64(time.Second)
	next := func(carried int) (off bool) {
		if s.count(now, carried-1) && s.next > now {
			t.Fatal("over before its time")
		}
		now = max(now, s.next)
		if !s.count(now, 1) {
			t.Fatal("a window without end")
		}
		was := s.off
		if changed := s.turn(now); changed != (s.off != was) {
			t.Errorf("changed %v, from off %v to off %v", changed, was, s.off)
		}
		if s.next != now+window || s.carried != 0 {
			t.Errorf("the next window is until %d with %d datagrams, now is %d", s.next, s.carried, now)
		}
		return s.off
	}
	for range 3 {
		if next(windowFew) {
			t.Error("few are not stamped")
		}
	}
	for n := range 3 * (windowRest + 1) {
		if off := next(windowFew + 1); off != (n%(windowRest+1) != windowRest) {
			t.Errorf("window %d of many: off %v", n, off)
		}
	}
	if !next(windowFew+1) || next(1) || !next(windowFew+1) {
		t.Error("few between many are not stamped")
	}
}

// With stamps and without, on either family, each datagram is taken to where it should go; what is stamped is counted.
func TestStampsOnAndOff(t *testing.T) {
	need(t)
	for _, c := range [][3]string{{rig.Own(5), rig.Own(6), rig.Own(7)}, {"::1", "::1", "::1"}} {
		x := callOver(t, 23800, c)
		w := x.workers[0]
		counted := uint64(0)
		for turn, off := range []bool{false, true, true, false} {
			w.stamping.off = off
			w.stamp()
			for range 2 * sampleEvery {
				rig.Send(t, x.ends[nat.Outside], rig.Packet, x.local[nat.Outside])
			}
			w.look()
			w.Carry(int64(time.Second))
			for range 2 * sampleEvery {
				expect(t, x.ends[nat.Inside], rig.Packet)
			}
			if !off {
				counted += 2
			}
			if n := x.plane.Gauges().Delay.Samples; n != counted {
				t.Errorf("%s, turn %d: %d delays counted, want %d", c[0], turn, n, counted)
			}
		}
		_ = x.plane.Close()
	}
}
