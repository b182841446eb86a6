package media

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func undisturbed(int) time.Time { return time.Time{} }

func testPool(count int, missing ...int) *pool {
	gone := make(map[int]bool)
	for _, m := range missing {
		gone[m] = true
	}
	return newPool(100, 1, count, gone, rand.New(rand.NewPCG(1, 2)))
}

func TestPoolOrderIsRandomAndReplays(t *testing.T) {
	now := time.Unix(1e9, 0)
	drain := func(p *pool) (order []int) {
		for {
			pair, ok := p.take(now, undisturbed)
			if !ok {
				return order
			}
			order = append(order, pair)
		}
	}
	a, b := drain(testPool(50)), drain(testPool(50))
	if !slices.Equal(a, b) {
		t.Fatal("one seed gave two orders")
	}
	if slices.IsSorted(a) {
		t.Fatal("the order is to be guessed")
	}
	if slices.Sort(a); len(a) != 50 || a[0] != 100 || a[49] != 149 {
		t.Fatalf("pairs %v", a)
	}
	if left := drain(testPool(5, 101, 103)); len(left) != 3 || slices.Contains(left, 101) {
		t.Fatalf("pairs %v although 101 and 103 are missing", left)
	}
}

func TestPoolRest(t *testing.T) {
	now := time.Unix(1e9, 0)
	noise := map[int]time.Time{}
	disturbed := func(pair int) time.Time { return noise[pair] }
	p := testPool(3)
	var pairs []int
	for range 3 {
		pair, _ := p.take(now, disturbed)
		pairs = append(pairs, pair)
	}
	if _, ok := p.take(now, disturbed); ok {
		t.Fatal("a fourth of three pairs")
	}
	p.put(now, pairs[1])
	now = now.Add(time.Second)
	p.put(now, pairs[0])
	p.put(now, pairs[2])
	if n := p.resting(now); n != 3 {
		t.Fatalf("%d resting", n)
	}
	// Rest gives way: the one that rested longest, unless it is noisy.
	noise[pairs[1]] = now
	if pair, _ := p.take(now, disturbed); pair != pairs[0] {
		t.Fatalf("took %d, want the silent %d", pair, pairs[0])
	}
	now = now.Add(1100 * time.Millisecond)
	noise[pairs[1]] = now.Add(-100 * time.Millisecond)
	// pairs[1] is rested but noisy, pairs[2] silent but not rested: noise renews the rest.
	if pair, _ := p.take(now, disturbed); pair != pairs[2] {
		t.Fatalf("took %d, want %d", pair, pairs[2])
	}
	if n := p.resting(now); n != 1 {
		t.Fatalf("%d resting after noise", n)
	}
	// Silence gives way last.
	if pair, ok := p.take(now, disturbed); !ok || pair != pairs[1] {
		t.Fatalf("took %d %v", pair, ok)
	}
}

// Pairs that nobody has had yet do not rest, whatever the clock says.
func TestNewPairsDoNotRest(t *testing.T) {
	p := newPool(0, 1, 8, nil, rand.New(rand.NewPCG(1, 2)))
	if n := p.resting(time.Time{}); n != 0 {
		t.Errorf("%d are resting", n)
	}
}

// The pool against a naive one: never a pair twice, never one refused while one is free, always a rested and silent
// pair if there is one among the first, and the counts agree.
func TestPoolProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const count = 6
		now := time.Unix(1e9, 0)
		p := testPool(count)
		out := map[int]bool{}
		freed, noise := map[int]time.Time{}, map[int]time.Time{}
		disturbed := func(pair int) time.Time { return noise[pair] }
		ready := func(pair int) bool {
			return now.Sub(freed[pair]) >= restFor && now.Sub(noise[pair]) >= silentFor
		}
		t.Repeat(map[string]func(*rapid.T){
			"pass": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(1, 1500).Draw(t, "ms")) * time.Millisecond)
			},
			"noise": func(t *rapid.T) {
				pair := 100 + rapid.IntRange(0, count-1).Draw(t, "pair")
				if !out[pair] {
					noise[pair] = now
				}
			},
			"take": func(t *rapid.T) {
				anyReady := false
				for pair := 100; pair < 100+count; pair++ {
					// Noise may have renewed a rest that freed does not show: only never-noisy pairs are certain.
					anyReady = anyReady || !out[pair] && noise[pair].IsZero() && ready(pair)
				}
				pair, ok := p.take(now, disturbed)
				switch {
				case ok != (len(out) < count):
					t.Fatalf("take: %v with %d of %d out", ok, len(out), count)
				case ok && out[pair]:
					t.Fatalf("pair %d is out twice", pair)
				case ok && anyReady && !ready(pair):
					t.Fatalf("pair %d is not ready, although another is", pair)
				}
				if ok {
					out[pair] = true
				}
			},
			"put": func(t *rapid.T) {
				pair := rapid.IntRange(98, 101+count).Draw(t, "pair")
				if p.put(now, pair) != out[pair] {
					t.Fatalf("put %d: out %v", pair, out[pair])
				}
				if out[pair] {
					freed[pair], noise[pair] = now, time.Time{}
					delete(out, pair)
				}
			},
			"untake": func(t *rapid.T) {
				if pair, ok := p.take(now, disturbed); ok {
					p.untake(pair)
				}
			},
			"": func(t *rapid.T) { checkPool(t, p, now, count-len(out)) },
		})
	})
}

func checkPool(t *rapid.T, p *pool, now time.Time, free int) {
	listed := 0
	for i := p.head; i != none; i = p.next[i] {
		listed++
	}
	if p.free != free || listed != free || p.resting(now) > free {
		t.Fatalf("%d free, %d counted, %d listed", free, p.free, listed)
	}
}

func TestPoolDoesNotAllocate(t *testing.T) {
	p := testPool(10)
	now := time.Unix(1e9, 0)
	if n := testing.AllocsPerRun(100, func() {
		pair, _ := p.take(now, undisturbed)
		now = now.Add(time.Second)
		p.put(now, pair)
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}
