package route

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"

	"sallyport/sbc/tu"
)

// Config is the rules as the configuration has them.
type Config struct {
	Country   *Country // how the PBX's phones dial; nil: unknown
	Trunks    []Trunk  // in file order
	Inbound   []Inbound
	Emergency []string // trunks that emergency calls are given to before all others, in order
}

// Trunk is one way out: its name and the patterns of the numbers it takes.
type Trunk struct {
	Name  string
	Match []*regexp.Regexp // anchored; none: the trunk takes no calls from the PBX
	// Group is shared by trunks that stand for each other: the first of them that takes a number brings the others that do.
	Group            string
	Priority, Weight int // within the group
}

// Inbound says where calls of trunks go within the PBX, and by which numbers. Conditions that are given must all hold.
type Inbound struct {
	Trunks  []string         // the names of trunks; none: any
	DID     []*regexp.Regexp // the number that is called; none: any
	From    []*regexp.Regexp // the user that calls; none: any
	To      []string         // groups of PBX nodes, in the order in which they are tried; none: all nodes
	Numbers []tu.Number      // the numbers on the way to the PBX
}

// Table is the rules, ready for use. It never changes.
type Table struct {
	country   *Country
	trunks    []trunk
	inbound   []inbound
	emergency []int // of trunks
}

type trunk struct {
	Trunk
	match Patterns
}

type inbound struct {
	Inbound
	did, from Patterns
}

// New makes the rules ready.
func New(cfg Config) *Table {
	t := &Table{country: cfg.Country}
	for _, x := range cfg.Trunks {
		t.trunks = append(t.trunks, trunk{x, NewPatterns(x.Match)})
	}
	for _, name := range cfg.Emergency {
		if i := slices.IndexFunc(t.trunks, func(x trunk) bool { return x.Name == name }); i >= 0 {
			t.emergency = append(t.emergency, i)
		}
	}
	for _, x := range cfg.Inbound {
		t.inbound = append(t.inbound, inbound{x, NewPatterns(x.DID), NewPatterns(x.From)})
	}
	return t
}

// Country is how the PBX's phones dial; nil: unknown.
func (t *Table) Country() *Country { return t.country }

// Member is a trunk in the place that it has in a step.
type Member struct {
	Trunk            string
	Priority, Weight int
}

// Step is trunks that are tried before those of the next step: one, or a group, by priority. Whose turn it is among members of
// one priority is not decided here.
type Step []Member

// hit is a pattern that fits.
type hit struct {
	trunk, pattern int
	as             string
}

// hits are the trunks that take a number, in file order.
func (t *Table) hits(d Dialled) []hit {
	var out []hit
	for i := range t.trunks {
		if p, as := t.trunks[i].match.Match(d); p >= 0 {
			out = append(out, hit{i, p, as})
		}
	}
	return out
}

// Outbound is the plan for a number that the PBX calls: nothing where no trunk takes it. An emergency call goes to the trunks
// for it first, whatever they take otherwise.
func (t *Table) Outbound(d Dialled, emergency bool) []Step {
	return t.steps(t.hits(d), emergency)
}

func (t *Table) steps(hits []hit, emergency bool) []Step {
	plan := make([]Step, 0, len(hits))
	first := func(i int) bool { return emergency && slices.Contains(t.emergency, i) }
	if emergency {
		for _, i := range t.emergency {
			plan = append(plan, Step{{Trunk: t.trunks[i].Name}})
		}
	}
	for n, h := range hits {
		x := &t.trunks[h.trunk]
		switch {
		case first(h.trunk):
			continue
		case x.Group == "":
			plan = append(plan, Step{{Trunk: x.Name}})
			continue
		case slices.ContainsFunc(hits[:n], func(o hit) bool { return t.trunks[o.trunk].Group == x.Group && !first(o.trunk) }):
			continue // it came with the first of its group
		}
		var step Step
		for _, o := range hits[n:] {
			if y := &t.trunks[o.trunk]; y.Group == x.Group && !first(o.trunk) {
				step = append(step, Member{y.Name, y.Priority, y.Weight})
			}
		}
		slices.SortStableFunc(step, func(a, b Member) int { return cmp.Compare(a.Priority, b.Priority) })
		plan = append(plan, step)
	}
	return plan
}

// Inbound is the rule for a call of a trunk: the first whose conditions hold; -1: none, and the call goes to all nodes.
func (t *Table) Inbound(trunk string, called, calling Dialled) int {
	for i := range t.inbound {
		if why := t.inbound[i].refuses(trunk, called, calling); why == fits {
			return i
		}
	}
	return -1
}

// Rule is a rule of the table.
func (t *Table) Rule(i int) *Inbound { return &t.inbound[i].Inbound }

// misfit is the condition of a rule that does not hold.
type misfit uint8

const (
	fits misfit = iota
	otherTrunk
	otherNumber
	otherCaller
)

func (r *inbound) refuses(trunk string, called, calling Dialled) misfit {
	if len(r.Trunks) > 0 && !slices.Contains(r.Trunks, trunk) {
		return otherTrunk
	}
	if r.did.Len() > 0 {
		if i, _ := r.did.Match(called); i < 0 {
			return otherNumber
		}
	}
	if r.from.Len() > 0 {
		if i, _ := r.from.Match(calling); i < 0 {
			return otherCaller
		}
	}
	return fits
}

func itoa(n int) string { return strconv.Itoa(n) }
