package policy

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func newBudgets(t testing.TB, limits map[string]string) *Budgets {
	t.Helper()
	b, err := NewBudgets(noon, limits)
	must(t, err)
	return b
}

// takeMany takes n requests, a gap apart, and returns how many passed.
func takeMany(b *Budgets, from time.Time, gap time.Duration, method string, n int) (passed int) {
	for i := range n {
		if ok, _ := b.Take(from.Add(time.Duration(i)*gap), method); ok {
			passed++
		}
	}
	return passed
}

func TestBudgetsBoundEachMethod(t *testing.T) {
	b := newBudgets(t, map[string]string{"INVITE": "50/second", "REGISTER": "120/minute", "*": "10/second"})
	if n := takeMany(b, noon, time.Millisecond, "INVITE", 10_000); n < 545 || n > 551 { // ten seconds at 1000 a second
		t.Errorf("%d INVITEs in 10 s, want 50 × 10 + 50", n)
	}
	if n := takeMany(b, noon, 0, "REGISTER", 100); n != 4 {
		t.Errorf("%d REGISTERs at once, want 4", n)
	}
	// Methods that nobody listed share one budget.
	if n := takeMany(b, noon, 0, "OPTIONS", 6) + takeMany(b, noon, 0, "ODD", 6) + takeMany(b, noon, 0, "MESSAGE", 6); n != 10 {
		t.Errorf("%d others at once, want 10", n)
	}
	if ok, limit := b.Take(noon, "MESSAGE"); ok || limit != "* 10/second burst 10" {
		t.Errorf("%v %q", ok, limit)
	}
	if ok, limit := b.Take(noon, "REGISTER"); ok || limit != "REGISTER 120/minute burst 4" {
		t.Errorf("%v %q", ok, limit)
	}
	b = newBudgets(t, map[string]string{"INVITE": "50/second", "REGISTER": "120/minute", "*": "10/second"})
	takeMany(b, noon, 0, "INVITE", 100)
	takeMany(b, noon, 0, "REGISTER", 100)
	if got := fmt.Sprint(b.Levels(noon.Add(500 * time.Millisecond))); got != "[{* 10/second burst 10 10} {INVITE 50/second burst 50 25} {REGISTER 120/minute burst 4 1}]" {
		t.Error(got)
	}
}

func TestNoBudgetBoundsNothing(t *testing.T) {
	for _, limits := range []map[string]string{nil, {}, {"INVITE": "1/day"}} {
		b := newBudgets(t, limits)
		if n := takeMany(b, noon, 0, "REGISTER", 1000); n != 1000 {
			t.Errorf("%v: %d of 1000 passed", limits, n)
		}
	}
}

func TestBudgetsKeepDebtOverReloads(t *testing.T) {
	b := newBudgets(t, map[string]string{"INVITE": "10/second", "OPTIONS": "1/hour"})
	takeMany(b, noon, 0, "INVITE", 100)
	takeMany(b, noon, 0, "OPTIONS", 2)
	must(t, b.SetLimits(noon, map[string]string{"INVITE": "10/second", "OPTIONS": "1/hour"}))
	if n := takeMany(b, noon, 0, "INVITE", 100); n != 0 {
		t.Errorf("a reload gave %d INVITEs away", n)
	}
	must(t, b.SetLimits(noon, map[string]string{"INVITE": "30/second"}))
	if n := takeMany(b, noon, 0, "INVITE", 100); n != 20 {
		t.Errorf("%d more at once, want 20: the debt of 10 stays", n)
	}
	must(t, b.SetLimits(noon, map[string]string{"INVITE": "4/second"}))
	if n := takeMany(b, noon.Add(time.Second), 0, "INVITE", 100); n != 4 {
		t.Errorf("%d a second later, want 4: the debt was clipped to the new size", n)
	}
	err := b.SetLimits(noon, map[string]string{"INVITE": "often", "invite": "1/second", "unparseable": "1/second"})
	for _, want := range []string{"pbx.limits.INVITE: rate", "pbx.limits.invite: is not a method", "pbx.limits.unparseable: is not a method"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
	if n := takeMany(b, noon.Add(2*time.Second), 0, "INVITE", 100); n != 4 {
		t.Errorf("a refused reload changed the budgets: %d", n)
	}
	if _, err := NewBudgets(noon, map[string]string{"INVITE": ""}); err == nil {
		t.Error("an empty rate is taken")
	}
}

// TestBudgetsEqualAnIdealBucket: any run of requests and pauses, at any rate.
func TestBudgetsEqualAnIdealBucket(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SampledFrom([]string{"1/minute", "90/minute", "7/second", "1000/second"}).Draw(t, "rate")
		r, _ := ParseRate(text)
		b, _ := NewBudgets(noon, map[string]string{"*": text})
		burst := float64(budgetBurst(r))
		ideal := idealBucket{burst, burst, r.PerSecond(), noon}
		now, passed, want := noon, 0, 0
		for range rapid.IntRange(1, 300).Draw(t, "requests") {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(2*float64(time.Second)/r.PerSecond())).Draw(t, "gap")))
			if ok, _ := b.Take(now, "INVITE"); ok {
				passed++
			}
			if ideal.take(now) {
				want++
			}
		}
		if passed < want-1 || passed > want+1 {
			t.Fatalf("%d passed, an ideal bucket lets %d", passed, want)
		}
	})
}

func TestBudgetsOverManyReaders(t *testing.T) {
	b := newBudgets(t, map[string]string{"INVITE": "100/second"})
	var passed atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { passed.Add(int64(takeMany(b, noon, 0, "INVITE", 100))) })
	}
	wg.Wait()
	if passed.Load() != 100 {
		t.Errorf("%d passed, want 100", passed.Load())
	}
}
