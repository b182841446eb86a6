package toll

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestADayForgetsWholeHours: what was talked in an hour counts until all of it is more than a day ago.
func TestADayForgetsWholeHours(t *testing.T) {
	at := func(day, hour, minute int) time.Time { return time.Date(2026, 3, day, hour, minute, 0, 0, time.UTC) }
	d := day{hour: hourOf(at(1, 9, 0))}
	d.add(at(1, 9, 50), at(1, 11, 10)) // ten minutes, an hour, ten minutes
	for _, tt := range []struct {
		now  time.Time
		want time.Duration
	}{
		{at(1, 11, 10), 80 * time.Minute},
		{at(2, 9, 59), 80 * time.Minute},
		{at(2, 10, 0), 70 * time.Minute},
		{at(2, 10, 59), 70 * time.Minute},
		{at(2, 11, 0), 10 * time.Minute},
		{at(2, 11, 59), 10 * time.Minute},
		{at(2, 12, 0), 0},
		{at(9, 12, 0), 0},
	} {
		if got := d.sum(tt.now); got != tt.want {
			t.Errorf("at %s %v, want %v", tt.now.Format(time.DateTime), got, tt.want)
		}
	}
	d.add(at(9, 11, 59), at(9, 12, 0))
	if d.sum(at(9, 12, 0)) != time.Minute || d.sum(at(9, 13, 0)) != time.Minute {
		t.Error("an hour that was over when it was counted")
	}
	d.add(at(7, 0, 0), at(9, 13, 0)) // longer than a day
	if got := d.sum(at(9, 13, 0)); got != 24*time.Hour+time.Minute {
		t.Errorf("of a call of three days %v count", got)
	}
	d.add(at(9, 13, 0), at(9, 13, 0))
	d.add(at(9, 14, 0), at(9, 13, 0)) // it ended before it began
	if got := d.sum(at(9, 13, 0)); got != 24*time.Hour+time.Minute {
		t.Errorf("nothing was added, and %v count", got)
	}
}

// TestADayAgreesWithAPlainOne: a list of talks, summed by the minute.
func TestADayAgreesWithAPlainOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := birth
		d := day{hour: hourOf(now)}
		type talk struct{ from, to time.Time }
		var talks []talk
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 400).Draw(t, "minutes")) * time.Minute)
			length := time.Duration(rapid.IntRange(0, 200).Draw(t, "length")) * time.Minute
			d.add(now.Add(-length), now)
			talks = append(talks, talk{now.Add(-length), now})
			oldest := time.Unix((hourOf(now)-24)*3600, 0)
			var want time.Duration
			for _, x := range talks {
				if x.from.Before(oldest) {
					x.from = oldest
				}
				want += max(0, x.to.Sub(x.from))
			}
			if got := d.sum(now); got != want {
				t.Fatalf("%v count, want %v", got, want)
			}
		}
	})
}

// TestItClearsWhenItSays: a call that is refused until a moment passes then, and not a moment before.
func TestItClearsWhenItSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rule := Rule{Name: "r", Per: "aor"}
		if rapid.Bool().Draw(t, "minutes") {
			rule.MinutesPerDay = rapid.IntRange(1, 90).Draw(t, "a day")
		} else {
			rule.PerMinute = rapid.IntRange(1, 12).Draw(t, "a minute")
		}
		r, err := Compile(&Config{Rules: []Rule{rule}})
		if err != nil {
			t.Fatal(err)
		}
		l, now, id := NewLedger(birth, r), birth, uint64(0)
		call := phone(anna, "1")
		for range rapid.IntRange(1, 40).Draw(t, "calls") {
			now = now.Add(time.Duration(rapid.IntRange(0, 20_000).Draw(t, "pause")) * time.Millisecond)
			id++
			if v := l.Begin(now, id, call); v.Refuse {
				if !v.Clears.After(now) {
					t.Fatalf("it clears at %v, now is %v", v.Clears, now)
				}
				if early := l.Begin(v.Clears.Add(-time.Millisecond), id+1, call); !early.Refuse && v.Clears.Sub(now) > time.Millisecond {
					t.Fatalf("it passes before %v", v.Clears)
				}
				if then := l.Begin(v.Clears.Add(time.Nanosecond), id+1, call); then.Refuse {
					t.Fatalf("it does not pass at %v: %+v", v.Clears, then)
				}
				return
			}
			if rule.MinutesPerDay > 0 {
				l.Answered(now, id)
				now = now.Add(time.Duration(rapid.IntRange(1, 50).Draw(t, "talk")) * time.Minute)
			}
			l.End(now, id)
		}
	})
}

// TestForgivenCallsWereNever: calls that the PBX challenged, put between others, change nothing for those.
func TestForgivenCallsWereNever(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rule := Rule{Name: "r", Per: "aor", PerMinute: rapid.IntRange(2, 6).Draw(t, "a minute"), Concurrent: 3}
		r, err := Compile(&Config{Rules: []Rule{rule, {Name: "all", Numbers: []string{"1"}, Action: "alarm"}}})
		if err != nil {
			t.Fatal(err)
		}
		with, without := NewLedger(birth, r), NewLedger(birth, r)
		now := birth
		for id := uint64(1); id <= 40; id++ {
			now = now.Add(time.Duration(rapid.IntRange(0, 30).Draw(t, "pause")) * time.Second)
			if rapid.Bool().Draw(t, "challenged") {
				if v := with.Begin(now, 1000+id, phone(anna, "1")); !v.Refuse {
					with.Forgive(now, 1000+id)
				}
			}
			a, b := with.Begin(now, id, phone(anna, "1")), without.Begin(now, id, phone(anna, "1"))
			if a.Refuse != b.Refuse || a.Figure != b.Figure {
				t.Fatalf("call %d: %+v, without challenges %+v", id, a, b)
			}
			with.End(now, id)
			without.End(now, id)
		}
		if a, b := with.Hits()[1], without.Hits()[1]; a != b {
			t.Fatalf("hits %+v, without challenges %+v", a, b)
		}
		if with.Open() != 0 {
			t.Fatalf("%d calls are open", with.Open())
		}
	})
}

// TestTheStrictestFigureIsTold: where several bounds of a rule are reached, the one that lasts longest.
func TestTheStrictestFigureIsTold(t *testing.T) {
	r := rule{Rule: Rule{Concurrent: 1, PerMinute: 1, MinutesPerDay: 1}}
	now := birth.Add(time.Hour)
	a := &account{calls: 1, debt: 1, debtAt: now, spoken: &day{hour: hourOf(now)}}
	a.spoken.add(now.Add(-time.Minute), now)
	for _, want := range []string{"1 of 1 minutes a day", "1 of 1 calls at a time", "1 of 1 calls a minute", ""} {
		figure, _, over := a.over(now, birth, &r)
		if figure != want || over != (want != "") {
			t.Errorf("%q %v, want %q", figure, over, want)
		}
		switch want {
		case "1 of 1 minutes a day":
			a.spoken = nil
		case "1 of 1 calls at a time":
			a.calls = 0
		case "1 of 1 calls a minute":
			a.debt = 0
		}
	}
	if !a.idle(now, &r) {
		t.Error("nothing is used, and it is not idle")
	}
}

// TestWhatMakesAnAccountIdle: nothing that a new one would not say.
func TestWhatMakesAnAccountIdle(t *testing.T) {
	now := birth.Add(time.Hour)
	talked := &day{hour: hourOf(now)}
	talked.add(now.Add(-time.Minute), now)
	each := &rule{Rule: Rule{Concurrent: 4, PerMinute: 10, MinutesPerDay: 600}}
	calls := &rule{Rule: Rule{Concurrent: 4}}
	for _, tt := range []struct {
		name string
		a    account
		r    *rule
		want bool
	}{
		{"new", account{}, each, true},
		{"a call", account{calls: 1}, each, false},
		{"called lately", account{debt: 1, debtAt: now.Add(-time.Second)}, each, false},
		{"six seconds ago", account{debt: 1, debtAt: now.Add(-6 * time.Second)}, each, true},
		{"called lately, and nobody counts it", account{debt: 1, debtAt: now}, calls, true},
		{"talked today", account{spoken: talked}, each, false},
		{"of bounds that are tighter now", account{debt: 30, debtAt: now.Add(-time.Minute)}, each, true},
	} {
		if got := tt.a.idle(now, tt.r); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}
