package core

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport/sbc/tu"
)

func testIDs() tu.IDs { return tu.NewIDs(tu.Seed{9}, testTags) }

// TestDeadlines holds the heap against a list that is searched.
func TestDeadlines(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var d deadlines
		naive := map[*user]time.Time{}
		users := make([]*user, rapid.IntRange(1, 20).Draw(t, "users"))
		for i := range users {
			users[i] = &user{id: tu.UserID(i + 1), index: -1}
		}
		now := began
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			u := rapid.SampledFrom(users).Draw(t, "user")
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0, 1:
				at := began.Add(time.Duration(rapid.IntRange(0, 50).Draw(t, "s")) * time.Second)
				if rapid.IntRange(0, 5).Draw(t, "never") == 0 {
					at = time.Time{}
				}
				d.set(u, at)
				if delete(naive, u); !at.IsZero() {
					naive[u] = at
				}
			case 2:
				d.drop(u)
				delete(naive, u)
			case 3:
				now = now.Add(time.Duration(rapid.IntRange(0, 10).Draw(t, "pass")) * time.Second)
				last := time.Time{}
				for x := d.due(now); x != nil; x = d.due(now) {
					at, known := naive[x]
					if !known || at.After(now) || at.Before(last) {
						t.Fatalf("user %d is due at %v, known %v, now %v", x.id, at, known, now)
					}
					last = at
					delete(naive, x)
				}
				for x, at := range naive {
					if !at.After(now) {
						t.Fatalf("user %d was due at %v, now %v", x.id, at, now)
					}
				}
			}
			if len(d.h) != len(naive) {
				t.Fatalf("%d in the heap, %d in the list", len(d.h), len(naive))
			}
			first := time.Time{}
			for x, at := range naive {
				if !x.deadline.Equal(at) || x.index < 0 || d.h[x.index] != x {
					t.Fatalf("user %d: %v, want %v", x.id, x.deadline, at)
				}
				if first.IsZero() || at.Before(first) {
					first = at
				}
			}
			if u := d.first(); (u == nil) != first.IsZero() || u != nil && !u.deadline.Equal(first) {
				t.Fatalf("first %v, want %v", u, first)
			}
		}
	})
}

// TestTicks: each user hears a Tick at its deadline and sets the next one; none is early, and a user that ends is not
// asked again.
func TestTicks(t *testing.T) {
	r := newRig(t)
	rhythm := map[tu.UserID]time.Duration{1: 3 * time.Second, 2: 5 * time.Second, 3: 5 * time.Second}
	r.script = func(a *actor, now time.Time, ev tu.Event) []tu.Action {
		if !a.deadline.IsZero() && !now.Equal(a.deadline) {
			t.Errorf("user %d ticks at %v, not at %v", a.id, now, a.deadline)
		}
		if a.id == 3 && now.Sub(began) >= 15*time.Second {
			return []tu.Action{tu.End{}}
		}
		a.deadline = now.Add(rhythm[a.id])
		return nil
	}
	for range 3 {
		r.Start(func(id tu.UserID, seed tu.Seed) tu.User {
			u, _ := fakeAssembly{r}.New(r.now, seed, id, &tu.Arrived{})
			return u
		})
	}
	r.settle(r.now)
	r.pass(time.Minute)
	for i, want := range []int{21, 13, 4} {
		if got := len(r.users[i].heard); got != want {
			t.Errorf("user %d heard %d ticks, want %d", i+1, got, want)
		}
	}
}

func TestMeter(t *testing.T) {
	var m meter
	var g Gauges
	now := began
	turn := func(sleep, work time.Duration) {
		from := now.Add(sleep)
		now = m.turn(from, from.Add(work), &g)
	}
	turn(0, 400*time.Millisecond)
	turn(100*time.Millisecond, 499*time.Millisecond)
	if g.Busy.Load() != 0 {
		t.Errorf("%d before a second is over", g.Busy.Load())
	}
	turn(0, time.Millisecond)
	if g.Busy.Load() != 900 {
		t.Errorf("%d, want 900", g.Busy.Load())
	}
	turn(time.Hour, 0)
	if g.Busy.Load() != 0 {
		t.Errorf("%d after an hour's sleep", g.Busy.Load())
	}
	turn(0, 3*time.Second)
	if g.Busy.Load() != 1000 {
		t.Errorf("%d without sleep", g.Busy.Load())
	}
}

// TestABusyCoreComesToRest: while the ratio is not zero the loop wakes each second, or nobody would ever lower it.
func TestABusyCoreComesToRest(t *testing.T) {
	r := newRig(t)
	if !r.wake(r.now).IsZero() {
		t.Error("wakes for nothing")
	}
	r.Gauges().Busy.Store(900)
	if got := r.wake(r.now); !got.Equal(r.now.Add(time.Second)) {
		t.Errorf("wakes at %v", got)
	}
}

func TestAlarm(t *testing.T) {
	a := alarm{timer: time.NewTimer(never)}
	defer a.timer.Stop()
	at := func(s int) time.Time { return began.Add(time.Duration(s) * time.Second) }
	for _, tt := range []struct {
		now, next, want int // next -1: never
	}{
		{0, 100, 100},
		{0, 50, 50},    // earlier: moved
		{0, 80, 50},    // later: not worth it
		{10, -1, 50},   // nothing to do: neither
		{60, 80, 80},   // it has rung unheard
		{60, 60, 60},   // at once
		{61, -1, 3661}, // an hour
		{62, 5000, 3661},
	} {
		next := time.Time{}
		if tt.next >= 0 {
			next = at(tt.next)
		}
		if a.set(at(tt.now), next); !a.at.Equal(at(tt.want)) {
			t.Errorf("at %d for %d: rings at %v, want %d", tt.now, tt.next, a.at.Sub(began), tt.want)
		}
	}
}
