//go:build interop

package interop

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// middle is the median of what a run has shown; ok is false where the contender did not run.
func (f *relayFigures) middle(name string, calls int, of func(relayRun) float64) (v float64, ok bool) {
	var list []float64
	for _, r := range f.runs[name][calls] {
		list = append(list, of(r))
	}
	return median(list)
}

func median(list []float64) (v float64, ok bool) {
	if len(list) == 0 {
		return 0, false
	}
	list = slices.Clone(list)
	slices.Sort(list)
	return (list[(len(list)-1)/2] + list[len(list)/2]) / 2, true
}

func costOf(r relayRun) float64     { return r.nanoseconds }
func lateP50(r relayRun) float64    { return float64(r.p50.Nanoseconds()) }
func lateP99(r relayRun) float64    { return float64(r.p99.Nanoseconds()) }
func lostOf(r relayRun) float64     { return r.lost }
func residentOf(r relayRun) float64 { return r.resident }

// perCall is what a call more costs in resident memory, the table of its ports included: ranges are as wide as there are
// calls.
func (f *relayFigures) perCall(name string) (float64, bool) {
	few, many := relayCalls[0], relayCalls[len(relayCalls)-1]
	a, _ := f.middle(name, few, residentOf)
	b, ok := f.middle(name, many, residentOf)
	return (b - a) / float64(many-few), ok && b > 0
}

// column is the order of the table.
var columns = []string{noRelay, floorConnected, floorPlain, rtpengineName, epollName, steerName, epollLow, steerLow}

// table is all figures.
func (f *relayFigures) table() string {
	var b strings.Builder
	row := func(name, unit string, of func(name string) (float64, bool), form func(float64) string) {
		fmt.Fprintf(&b, "  %-26s", name)
		for _, c := range columns {
			text := "-"
			if v, ok := of(c); ok {
				text = form(v)
			}
			fmt.Fprintf(&b, " %18s", text)
		}
		fmt.Fprintf(&b, "  %s\n", unit)
	}
	fmt.Fprintf(&b, "  %-26s", "")
	for _, c := range columns {
		fmt.Fprintf(&b, " %18s", c)
	}
	b.WriteString("\n")
	micro := func(v float64) string { return fmt.Sprintf("%.2f", v/1e3) }
	for _, calls := range relayCalls {
		row(fmt.Sprintf("CPU a packet, %d calls", calls), "µs", func(c string) (float64, bool) {
			v, ok := f.middle(c, calls, costOf)
			return v, ok && c != noRelay
		}, micro)
	}
	for _, calls := range relayCalls {
		fmt.Fprintf(&b, "  %-26s", fmt.Sprintf("delay p50/p99, %d calls", calls))
		for _, c := range columns {
			text := "-"
			if p50, ok := f.middle(c, calls, lateP50); ok {
				p99, _ := f.middle(c, calls, lateP99)
				text = fmt.Sprintf("%.0f/%.0f", p50/1e3, p99/1e3)
			}
			fmt.Fprintf(&b, " %18s", text)
		}
		b.WriteString("  µs\n")
	}
	for _, calls := range relayCalls {
		row(fmt.Sprintf("lost, %d calls", calls), "%", func(c string) (float64, bool) { return f.middle(c, calls, lostOf) },
			func(v float64) string { return fmt.Sprintf("%.2f", 100*v) })
	}
	row("without loss, 500 calls", "packets/s", func(c string) (float64, bool) { return median(f.most[c]) }, func(v float64) string { return fmt.Sprintf("%.0f", v) })
	row("memory a call", "bytes", f.perCall, func(v float64) string { return fmt.Sprintf("%.0f", v) })
	row("set-ups", "calls/s", func(c string) (float64, bool) { return median(f.setups[c]) }, func(v float64) string { return fmt.Sprintf("%.0f", v) })
	return b.String()
}

// spread is how far the rounds of a ratio lie apart: a difference that is smaller is none.
func (f *relayFigures) spread(name, over string) string {
	runs, others := f.runs[name][middleCalls], f.runs[over][middleCalls]
	var list []float64
	for i := range min(len(runs), len(others)) {
		list = append(list, costOf(runs[i])/max(1, costOf(others[i])))
	}
	if len(list) < 2 {
		return ""
	}
	return fmt.Sprintf(" (%.2f to %.2f)", slices.Min(list), slices.Max(list))
}

// bars holds the figures against what is asked of them.
func (f *relayFigures) bars() string {
	var b strings.Builder
	bar := func(text string, value, limit float64, ok, most bool, form string) {
		verdict, sign := "not met", "≥"
		if most {
			sign = "≤"
		}
		switch {
		case !ok:
			fmt.Fprintf(&b, "  %-66s %10s\n", text, "not measured")
			return
		case most && value <= limit, !most && value >= limit:
			verdict = "met"
		}
		fmt.Fprintf(&b, "  %-66s "+form+"  %s "+form+"  %s\n", text, value, sign, limit, verdict)
	}
	atMost := func(text string, value, limit float64, ok bool, form string) { bar(text, value, limit, ok, true, form) }
	atLeast := func(text string, value, limit float64, ok bool, form string) {
		bar(text, value, limit, ok, false, form)
	}
	ratio := func(a, over string, limit float64) {
		v, ok := f.middle(a, middleCalls, costOf)
		o, also := f.middle(over, middleCalls, costOf)
		atMost(fmt.Sprintf("CPU a packet at %d calls, %s : %s%s", middleCalls, a, over, f.spread(a, over)), v/max(1, o), limit, ok && also, "%6.2f")
	}
	ratio(epollName, rtpengineName, 0.60)
	ratio(epollName, floorConnected, 1.15)
	ratio(epollName, floorPlain, 1.15)
	ratio(steerName, rtpengineName, 0.45)
	ratio(steerName, floorConnected, 1.0)
	for _, c := range []string{epollName, steerName} {
		v, ok := median(f.most[c])
		floor, also := median(f.most[floorConnected])
		limit, _ := median(f.most[noRelay])
		atLeast("packets/s without loss, "+c+" (floor's, or the generator's limit)", v, steady*min(floor, limit), ok && also, "%6.0f")
	}
	for _, c := range []struct {
		name string
		more time.Duration
	}{{epollName, 1200 * time.Microsecond}, {steerName, 1200 * time.Microsecond}, {epollLow, 300 * time.Microsecond}, {steerLow, 300 * time.Microsecond}} {
		for _, calls := range relayCalls {
			v, ok := f.middle(c.name, calls, lateP99)
			floor, also := f.middle(floorConnected, calls, lateP99)
			atMost(fmt.Sprintf("delay p99 at %d calls, %s (floor's + %v), µs", calls, c.name, c.more), v/1e3, floor/1e3+float64(c.more.Microseconds()), ok && also, "%6.0f")
		}
	}
	for _, c := range []string{epollName, steerName} {
		v, ok := f.perCall(c)
		atMost("bytes of process memory a call, "+c, v, 1024, ok, "%6.0f")
	}
	for _, c := range []string{epollName, steerName} {
		v, ok := median(f.setups[c])
		other, also := median(f.setups[rtpengineName])
		atLeast("set-ups a second, "+c+" : "+rtpengineName, v/max(1, other), 3, ok && also, "%6.1f")
	}
	return b.String()
}

// A figure that is missing is told from one that misses its bar.
func TestRelayBars(t *testing.T) {
	at := func(ns float64) map[int][]relayRun {
		return map[int][]relayRun{middleCalls: {{nanoseconds: ns}, {nanoseconds: ns}, {nanoseconds: 10 * ns}}}
	}
	f := &relayFigures{runs: map[string]map[int][]relayRun{floorConnected: at(100), epollName: at(110), steerName: at(101)}}
	text := f.bars()
	for _, c := range []struct{ bar, verdict string }{
		{"epoll : rtpengine", "not measured"},
		{"epoll : floor ", " met"},
		{"steer : floor ", "not met"},
		{"set-ups a second, steer", "not measured"},
	} {
		found := false
		for line := range strings.Lines(text) {
			if strings.Contains(line, c.bar) {
				found = strings.HasSuffix(strings.TrimSpace(line), c.verdict[1:]) && strings.Contains(line, "not") == strings.HasPrefix(c.verdict, "not")
				break
			}
		}
		if !found {
			t.Errorf("no line of %s that ends with %q in\n%s", c.bar, c.verdict, text)
		}
	}
	if table := f.table(); !strings.Contains(table, "0.11") || strings.Count(table, "\n") != 16 {
		t.Errorf("the table\n%s", table)
	}
}
