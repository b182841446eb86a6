package replay

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"sallyport/policy"
)

// Text is the suggestion as YAML, ready to be pasted under policy, with what it comes from in comments; times in a zone.
func (x *Suggestion) Text(zone *time.Location) string {
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, "# "+format+"\n", args...) }
	say("learned from %s to %s: %s requests of %s", day(x.Capture.First, zone), clock(x.Capture.Last, zone), amount(uint64(x.Requests)), sources(x.Sources))
	say("percentile %g, margin %g %%; requests a minute for each phone behind a source:", x.Percentile, x.Margin)
	var methods strings.Builder
	table(&methods, "method\trequests\tsources\tmedian\tpercentile\tmost\tof", len(x.Methods), func(i int) string {
		m := &x.Methods[i]
		return fmt.Sprintf("%s\t%d\t%d\t%s\t%s\t%s\t%s", brief([]byte(m.Method)), m.Requests, m.Sources, figure(m.Median), figure(m.High), figure(m.Most), m.Busiest)
	})
	for line := range strings.Lines(methods.String()) {
		b.WriteString("#   " + line)
	}
	x.prediction(say)
	for i := range x.LeftOut[:min(len(x.LeftOut), neverMost)] {
		o := &x.LeftOut[i]
		text := fmt.Sprintf("left out: %s %s", o.Address, o.Why)
		if o.Agent != "" {
			text += " " + strconv.Quote(o.Agent)
		}
		say("%s", text)
	}
	if n := len(x.LeftOut) - neverMost; n > 0 {
		say("left out: %d more; --json lists all", n)
	}
	for _, n := range x.Notes {
		say("note: %s", n)
	}
	b.WriteString("policy:\n  rate_limits:\n")
	for i := range x.Rules {
		writeRule(&b, &x.Rules[i])
	}
	return b.String()
}

// prediction says what the limits would have refused.
func (x *Suggestion) prediction(say func(string, ...any)) {
	p := &x.Predicted
	if p.Requests == 0 {
		say("they would have refused none of these requests")
		return
	}
	say("they would have refused %s of these requests, of %s:", amount(p.Requests), sources(p.Sources))
	for i := range p.Who[:min(len(p.Who), neverMost)] {
		s := &p.Who[i]
		say("  %s, %d %s: %s", s.Address, s.Phones, plural(s.Phones, "phone"), whys(s.Refusals))
	}
}

func sources(n int) string { return fmt.Sprintf("%s %s", amount(uint64(n)), plural(n, "source")) }

// figure writes a figure with two digits behind the point at most.
func figure(f float64) string {
	return strings.TrimSuffix(strings.TrimRight(strconv.FormatFloat(f, 'f', 2, 64), "0"), ".")
}

func writeRule(b *strings.Builder, r *policy.RateLimitConfig) {
	fmt.Fprintf(b, "    - name: %s\n      range: %s\n      realms: [ %s ]\n", scalar(r.Name), scalar(r.Range[0]), strings.Join(r.Realms, ", "))
	var limits []string
	for _, m := range slices.Sorted(maps.Keys(r.Limits)) {
		limits = append(limits, m+": "+r.Limits[m])
	}
	fmt.Fprintf(b, "      limits: { %s }\n      burst: %d\n", strings.Join(limits, ", "), *r.Burst)
	if r.PerPhone {
		b.WriteString("      per_phone: true\n")
	}
	if r.Comment != "" {
		fmt.Fprintf(b, "      comment: %s\n", scalar(r.Comment))
	}
}

// scalar quotes what YAML could take for something else.
func scalar(s string) string {
	if strings.ContainsAny(s, ":#\"'{}[],&*!|>%@`") {
		return strconv.Quote(s)
	}
	return s
}
