package sbc

import (
	"testing"
	"time"

	"go.uber.org/zap"
	"pgregory.net/rapid"

	"sallyport/media/process"
)

// seconds lets as many seconds pass, each with that much of one processor used, and counts the changes.
func (p *processors) seconds(n int, load float64) (changes int) {
	if p.since.IsZero() {
		p.look(time.Unix(1_800_000_000, 0), 0)
	}
	for range n {
		if p.look(p.since.Add(time.Second), p.spent+time.Duration(load*float64(time.Second))) {
			changes++
		}
	}
	return changes
}

func TestProcessors(t *testing.T) {
	type phase struct {
		n    int
		load float64
	}
	tests := []struct {
		name    string
		phases  []phase
		changes int
		all     bool
	}{
		{"nothing to do", []phase{{600, 0.001}}, 0, false},
		{"a site of thousands of phones", []phase{{600, 0.15}}, 0, false},
		{"just below", []phase{{600, 0.59}}, 0, false},
		{"a flood", []phase{{10, 0.05}, {1, 0.98}}, 1, true},
		{"one is too few from the first second on", []phase{{1, 0.6}}, 1, true},
		{"several are used", []phase{{600, 3.5}}, 1, true},
		{"busy enough to keep them", []phase{{1, 0.9}, {600, 0.3}}, 1, true},
		{"calm, but not yet for a minute", []phase{{1, 0.9}, {59, 0.1}}, 1, true},
		{"calm for a minute", []phase{{1, 0.9}, {60, 0.1}}, 2, false},
		{"calm is counted from the last busy second", []phase{{1, 0.9}, {59, 0.1}, {1, 0.4}, {59, 0.1}}, 1, true},
		{"and again", []phase{{1, 0.9}, {60, 0.1}, {30, 0.2}, {1, 0.7}}, 3, true},
		{"bursts every half minute change nothing after the first", []phase{{1, 0.9}, {30, 0.1}, {1, 0.9}, {30, 0.1}, {1, 0.9}, {30, 0.1}}, 1, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var p processors
			changes := 0
			for _, f := range tt.phases {
				changes += p.seconds(f.n, f.load)
			}
			if changes != tt.changes || p.all != tt.all {
				t.Errorf("%d changes, all: %t; want %d, %t", changes, p.all, tt.changes, tt.all)
			}
		})
	}
}

// TestProcessorsWithoutAClock: the first look only begins, and a clock that stands or goes back decides nothing.
func TestProcessorsWithoutAClock(t *testing.T) {
	var p processors
	now := time.Unix(1_800_000_000, 0)
	for _, step := range []time.Duration{0, 0, -time.Hour} {
		if now = now.Add(step); p.look(now, p.spent+time.Hour) || p.all {
			t.Fatalf("changed after %s", step)
		}
	}
}

// Whatever comes: overload is never left with one processor for more than a second, and the number changes at most twice
// a minute.
func TestProcessorsProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var p processors
		last := -1
		for i, load := range rapid.SliceOfN(rapid.Float64Range(0, 4), 1, 400).Draw(t, "loads") {
			changed := p.seconds(1, load) > 0
			if !p.all && load >= tooBusy+0.001 {
				t.Fatalf("second %d: one processor at a load of %f", i, load)
			}
			if changed && !p.all {
				if i-last < int(calmFor/time.Second) {
					t.Fatalf("second %d: one again, %d s after the last change", i, i-last)
				}
			}
			if changed {
				last = i
			}
		}
	})
}

// TestProcessorsAreLeftAlone: where the number is not the program's to choose.
func TestProcessorsAreLeftAlone(t *testing.T) {
	elsewhere := &relay{process: process.New(process.Options{})}
	beside := &relay{process: process.New(process.Options{})}
	beside.here.Store(&carrier{})
	for name, r := range map[string]Relay{
		"no relay of the program's": nil,
		"no place for a process":    NewRelayHere(zap.NewNop(), nil),
		"no process could be had":   beside,
	} {
		if (&SBC{opt: Options{Relay: r}}).newProcessors() != nil {
			t.Errorf("%s: the number is changed", name)
		}
	}
	t.Setenv("GOMAXPROCS", "3")
	if (&SBC{opt: Options{Relay: elsewhere}}).newProcessors() != nil {
		t.Error("the environment says how many, and is not heard")
	}
	var none *processors
	none.watch(time.Now())
}
