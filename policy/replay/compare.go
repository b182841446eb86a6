package replay

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"sallyport/policy"
)

// Comparison is what a capture would have met with one configuration instead of another.
type Comparison struct {
	Old     *Report  `json:"old"`
	New     *Report  `json:"new"`
	Blocked []Change `json:"newly_refused"`
	Passing []Change `json:"newly_allowed"`
}

// Change is one source for which the two configurations differ.
type Change struct {
	Address  netip.Addr `json:"address"`
	Who      string     `json:"who"`
	Phones   int        `json:"phones,omitempty"`
	Messages uint64     `json:"messages"` // of all that came from it
	Count    uint64     `json:"count"`    // those that fare otherwise
	By       []Refusal  `json:"by"`       // what refuses them now, or did before
}

// Compare runs a capture through two configurations, side by side.
func Compare(open Opener, old, next *Setup) (*Comparison, error) {
	a, err := newRun(open, old)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", old.Name, err)
	}
	b, err := newRun(open, next)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", next.Name, err)
	}
	var failed error
	blocked, passing := map[netip.Addr]*SourceReport{}, map[netip.Addr]*SourceReport{}
	facts, err := open.each(func(m *Message) bool {
		x, err1 := a.message(m)
		y, err2 := b.message(m)
		if failed = errors.Join(err1, err2); failed != nil {
			return false
		}
		a.report.add(a, m, &x)
		b.report.add(b, m, &y)
		switch {
		case x.let() && !y.let() && y.way != sent:
			differ(blocked, b.rules, m, &y, &x)
		case y.let() && !x.let() && x.way != sent:
			differ(passing, a.rules, m, &x, &y)
		}
		return true
	})
	if err = errors.Join(err, failed); err != nil {
		return nil, err
	}
	a.report.finish(a, &facts)
	b.report.finish(b, &facts)
	if a.report.Messages+b.report.Messages == 0 {
		return nil, errNothing
	}
	c := &Comparison{Old: a.report, New: b.report}
	c.Blocked, c.Passing = c.changes(blocked), c.changes(passing)
	return c, nil
}

// differ notes a message that one configuration refuses and the other does not.
func differ(list map[netip.Addr]*SourceReport, rules *policy.Rules, m *Message, refusal, passes *judged) {
	a := m.Source.Addr().Unmap()
	s := list[a]
	if s == nil {
		if len(list) >= sourcesMost {
			return
		}
		s = &SourceReport{Address: a}
		list[a] = s
	}
	s.Messages++
	j := *refusal
	if j.way == elsewhere { // there is no listener; the message is described by the run that has one
		j.view = passes.view
		j.verdict = policy.Verdict{Rule: -1, Limit: -1}
	}
	s.refuse(rules, m, &j)
}

// changes orders sources: who is known first, most messages first.
func (c *Comparison) changes(list map[netip.Addr]*SourceReport) []Change {
	out := []Change{}
	for a, s := range list {
		x := Change{Address: a, Count: s.Messages, By: s.Refusals}
		sortRefusals(x.By)
		for _, p := range []*Report{c.Old, c.New} {
			if s := p.by[a]; s != nil && (x.Who == "" || x.Who == whoStranger) {
				x.Who = s.Who
			}
			if s := p.by[a]; s != nil {
				x.Phones, x.Messages = max(x.Phones, s.Phones), max(x.Messages, s.Messages)
			}
		}
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b Change) int {
		return cmp.Or(stranger(a.Who)-stranger(b.Who), cmp.Compare(b.Phones, a.Phones), cmp.Compare(b.Count, a.Count), a.Address.Compare(b.Address))
	})
	return out
}

func stranger(who string) int {
	if who == whoStranger {
		return 1
	}
	return 0
}

// Text is the comparison for people to read, times in a zone.
func (c *Comparison) Text(zone *time.Location) string {
	var b strings.Builder
	c.New.head(&b, zone)
	for _, p := range []*Report{c.Old, c.New} {
		fmt.Fprintf(&b, "verdicts  by %s: %s allowed, %s refused\n", p.Config, amount(p.Allowed), amount(p.Refused))
	}
	c.New.notes(&b)
	tell := func(title string, list []Change) {
		if len(list) == 0 {
			fmt.Fprintf(&b, "\n%s: nobody\n", title)
			return
		}
		fmt.Fprintf(&b, "\n%s: %d %s\n", title, len(list), plural(len(list), "source"))
		for i := range list[:min(len(list), rowsMost)] {
			list[i].text(&b, zone)
		}
		if n := len(list) - rowsMost; n > 0 {
			fmt.Fprintf(&b, "… and %d more; --json lists all\n", n)
		}
	}
	tell("newly refused by "+c.New.Config, c.Blocked)
	tell("newly allowed by "+c.New.Config, c.Passing)
	return b.String()
}

func (x *Change) text(b *strings.Builder, zone *time.Location) {
	fmt.Fprintf(b, "%s  %s", x.Address, x.Who)
	if x.Phones > 0 {
		fmt.Fprintf(b, ", %d %s", x.Phones, plural(x.Phones, "phone"))
	}
	fmt.Fprintf(b, ": %d of %d messages\n", x.Count, x.Messages)
	for i := range x.By[:min(len(x.By), 5)] {
		f := &x.By[i]
		fmt.Fprintf(b, "    %d %s\n", f.Count, f.why())
		fmt.Fprintf(b, "      first %s %s", clock(f.First.Time, zone), f.First.Start)
		if f.First.From != "" {
			fmt.Fprintf(b, " from %s", f.First.From)
		}
		if f.First.Agent != "" {
			fmt.Fprintf(b, " %q", f.First.Agent)
		}
		fmt.Fprintf(b, " %s\n", f.First.Source)
	}
}

func plural(n int, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}
