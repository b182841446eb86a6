package media

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Buckets lie side by side, each a quarter of an octave, and a delay is in the one that has it.
func TestDelayBuckets(t *testing.T) {
	for i := range delayBuckets {
		low, high := delayFloor(i), delayFloor(i+1)
		if low >= high || i > 0 && float64(high) > 1.26*float64(low) && low >= 1<<delayShift {
			t.Errorf("bucket %d: %d to %d", i, low, high)
		}
		for _, ns := range []int64{low, (low + high) / 2, high - 1} {
			if got := delayBucket(ns); got != i {
				t.Errorf("%d ns is in bucket %d, not in %d", ns, got, i)
			}
		}
	}
	for ns, want := range map[int64]int{-1: 0, 0: 0, math.MaxInt64: delayBuckets - 1, delayFloor(delayBuckets): delayBuckets - 1} {
		if got := delayBucket(ns); got != want {
			t.Errorf("%d ns is in bucket %d, want %d", ns, got, want)
		}
	}
	if last := delayFloor(delayBuckets - 1); last < 3e9 {
		t.Errorf("the last bucket begins at %d ns", last)
	}
}

// A percentile off the histogram is within a bucket of the true one.
func TestDelayPercentiles(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		e := NewEngine(wireLayout(), time.Unix(1e9, 0))
		all := rapid.SliceOfN(rapid.Int64Range(1024, 3e9), 1, 300).Draw(rt, "delays")
		for i, ns := range all {
			e.Delayed(i%3, 1e18, 1e18+ns)
		}
		h := e.board.delays()
		d := h.delay()
		slices.Sort(all)
		for _, c := range []struct {
			q   float64
			got time.Duration
		}{{0.50, d.P50}, {0.99, d.P99}} {
			want := all[max(0, int(math.Ceil(c.q*float64(len(all))))-1)]
			if got := int64(c.got); float64(got) < float64(want)/1.26 || float64(got) > float64(want)*1.26 {
				rt.Fatalf("%v of %d delays is %v, want %v", c.q, len(all), c.got, time.Duration(want))
			}
		}
		if d.Samples != uint64(len(all)) || int64(d.Max) < all[len(all)-1] {
			rt.Fatalf("%+v", d)
		}
	})
}

// What the wall clock makes of a delay when it is set counts for nothing.
func TestDelaysOfNoClock(t *testing.T) {
	e := NewEngine(wireLayout(), time.Unix(1e9, 0))
	e.Delayed(0, 1e18, 1e18-1)
	e.Delayed(0, 1e18, 1e18+11e9)
	e.Delayed(-1, 0, 1)
	e.Delayed(MaxWorkers, 0, 1)
	if h := e.board.delays(); h.delay() != (Delay{}) {
		t.Errorf("%+v", h.delay())
	}
	if n := testing.AllocsPerRun(100, func() { e.Delayed(1, 1e18, 1e18+12345) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// A reading looks back half a minute to one, not to the beginning of the world.
func TestDelaysOfLate(t *testing.T) {
	e := NewEngine(wireLayout(), time.Unix(1e9, 0))
	p, now := &Plane{board: e.board}, time.Unix(2e9, 0)
	reading := func() Delay {
		h := p.board.delays().since(&p.lately.before)
		return h.delay()
	}
	slow := func(n int) {
		for range n {
			e.Delayed(0, 0, 50e6)
		}
	}
	slow(100)
	for range 20 {
		p.lately.turn(now, p.board)
		now = now.Add(time.Second)
	}
	if d := reading(); d.Samples != 100 || d.P99 < 40*time.Millisecond {
		t.Errorf("%+v", d)
	}
	for range 100 {
		p.lately.turn(now, p.board)
		now = now.Add(time.Second)
		e.Delayed(0, 0, 1e5)
	}
	if d := reading(); d.Samples < 29 || d.Samples > 61 || d.P99 > time.Millisecond {
		t.Errorf("%+v", d)
	}
}
