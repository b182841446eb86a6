package trunk

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

var paceBegan = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// TestPaceNeverMoreThanSo: however requests come, in no time of one unit do more pass than may, and of a steady crowd not many less.
func TestPaceNeverMoreThanSo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		count := rapid.OneOf(rapid.IntRange(1, 12), rapid.IntRange(13, 3000)).Draw(t, "count")
		per := rapid.SampledFrom([]time.Duration{time.Second, time.Minute}).Draw(t, "per")
		each := rapid.IntRange(1, 2).Draw(t, "each")
		p := NewPace(count, per)
		now, step := paceBegan, per/time.Duration(4*count)
		var passed []time.Time
		for range 6 * 4 * min(count, 300) {
			if rapid.IntRange(0, 9).Draw(t, "gap") == 0 {
				now = now.Add(step * time.Duration(rapid.IntRange(1, 40).Draw(t, "steps")))
			} else {
				now = now.Add(step)
			}
			if p.Take(now, each) {
				passed = append(passed, now)
			}
		}
		for from, to := 0, 0; to < len(passed); to++ {
			for passed[to].Sub(passed[from]) >= per {
				from++
			}
			if most := (count + each - 1) / each; to-from+1 > max(most, 1) {
				t.Fatalf("%d of %d each passed within %v, %d may", to-from+1, each, per, count)
			}
		}
		if p.Free(now.Add(2*per)) == false {
			t.Fatal("nobody may after a long rest")
		}
	})
	p := NewPace(50, time.Second)
	n := 0
	for i := range 10_000 {
		if p.Take(paceBegan.Add(time.Duration(i)*time.Millisecond), 1) {
			n++
		}
	}
	if n < 490 || n > 500 {
		t.Errorf("%d of 50/second passed in 10 s", n)
	}
}

// TestPaceAtOnce: a unit's worth may come at once, for Retry-After knows whole seconds only; of a large one no more than a part.
func TestPaceAtOnce(t *testing.T) {
	for count, want := range map[int]int{1: 1, 50: 50, 5000: slotsMost} {
		p, n := NewPace(count, time.Second), 0
		for range 10_000 {
			if p.Take(paceBegan, 1) {
				n++
			}
		}
		if n != want {
			t.Errorf("%d of %d/second passed at once", n, count)
		}
	}
}

// TestPaceCounts: who passes anyway takes half of it at most.
func TestPaceCounts(t *testing.T) {
	for count, left := range map[int]int{1: 0, 2: 1, 10: 5, 11: 6, 50: 25} {
		p, n := NewPace(count, time.Second), 0
		for range 100 {
			p.Count(paceBegan)
		}
		for p.Take(paceBegan, 1) {
			n++
		}
		if n != left && n != left-1 {
			t.Errorf("of %d/second %d are left, want %d", count, n, left)
		}
	}
}

// TestPaceWaits: who is sent away comes back in his turn; when the line is full, spread over its second half.
func TestPaceWaits(t *testing.T) {
	p := NewPace(50, time.Second)
	perSecond := map[int]int{}
	for i := range 20_000 {
		w := p.Wait(paceBegan, 1)
		if w < time.Second || w > waitMost {
			t.Fatalf("%d waits %v", i, w)
		}
		perSecond[int(w/time.Second)]++
	}
	for s := 2; s < 60; s++ {
		if perSecond[s] != 50 {
			t.Errorf("%d come back in second %d", perSecond[s], s)
		}
	}
	for s := 61; s < 119; s++ {
		if n := perSecond[s] - 50; n < 14_000/60*9/10 || n > 14_000/60*11/10 {
			t.Errorf("%d of those beyond the line come back in second %d", n, s)
		}
	}
	if w := p.Wait(paceBegan.Add(time.Hour), 2); w != time.Second {
		t.Errorf("an hour later: %v", w)
	}
}
