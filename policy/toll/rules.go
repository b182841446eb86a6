package toll

import (
	"net/netip"
	"strings"
	"time"

	"sallyport/sbc/userpart"
)

// Kind says where a call comes from.
type Kind uint8

// The kinds of callers.
const (
	Phone    Kind = iota // a registered phone outside
	Stranger             // a source outside without a registration
	PBX                  // the PBX, towards a trunk
	Trunk                // a trunk, towards the PBX
)

var kindNames = [...]string{"phone", "stranger", "pbx", "trunk"}

// String is the kind's name in keys and texts.
func (k Kind) String() string { return kindNames[k] }

// fromWords are the words of `from` by kind; a trunk is named by itself.
var fromWords = [...]string{"phones", "strangers", "pbx", ""}

// Call is what is judged.
type Call struct {
	Kind   Kind
	AoR    string     // user@domain in canonical form: of a phone that of its binding, of the PBX whom it calls for; else empty
	Trunk  string     // that the call comes from or goes to first; empty: none
	Source netip.Addr // of who calls from outside; of the PBX not looked at
	Number string     // the user that is called, as it stands in the Request-URI
	// Reads are further numbers that Number may be taken for where it leads, such as +371… of 011371…; those beyond readsMost are
	// not looked at. A rule concerns the call by any of them, and what refuses one of them refuses the call.
	Reads []string
}

// Rules is a compiled Config. It never changes.
type Rules struct {
	list    []rule
	numbers tree
}

// rule is a compiled Rule.
type rule struct {
	Rule
	path string
	any  bool // every number
	code int
}

// user is one as it is compared. Case does not count, as in all of the guard: many PBXes see none, and one with a budget for alice would have
// another one for Alice there.
type user struct{ name, host string }

// userIn reads a word, user or user@domain, in whatever spelling.
func userIn(word string) user {
	name, host, _ := strings.Cut(word, "@")
	return user{strings.ToLower(userpart.Canonical(name)), strings.ToLower(host)}
}

// is reports whether an address-of-record is the user's.
func (u user) is(aor string) bool {
	name, host, _ := strings.Cut(aor, "@")
	return u.name != "" && strings.EqualFold(u.name, name) && (u.host == "" || strings.EqualFold(u.host, host))
}

// Compile checks a configuration and makes it ready for a Ledger.
func Compile(c *Config) (*Rules, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	rs := &Rules{list: make([]rule, len(c.Rules))}
	for i, r := range c.Rules {
		rs.list[i] = rule{Rule: r, path: pathOf(i), any: len(r.Numbers) == 0, code: r.Code}
		if r.Code == 0 {
			rs.list[i].code = defaultCode
		}
		for _, n := range r.Numbers {
			rs.numbers.add(Number(n), i)
		}
	}
	return rs, nil
}

// Len is how many rules there are.
func (rs *Rules) Len() int { return len(rs.list) }

// Warnings are what is right and of no use: rules that a rule above leaves nothing for. Each begins with the path of its rule.
func (rs *Rules) Warnings() []string {
	var out []string
	for i := range rs.list {
		for j := range i {
			if rs.list[j].covers(&rs.list[i]) {
				out = append(out, rs.list[i].path+": never decides, the rule "+quote(rs.list[j].Name)+
					" above takes all its calls; move it up")
				break
			}
		}
	}
	return out
}

// covers reports whether a destination rule decides every call that a later one would.
func (r *rule) covers(o *rule) bool {
	if r.Per != "" || o.Per != "" || r.Shadow {
		return false
	}
	return (r.any || !o.any && all(o.Numbers, func(n string) bool {
		return anyOf(r.Numbers, func(m string) bool { return strings.HasPrefix(Number(n), Number(m)) })
	})) && (len(r.From) == 0 && !anyOf(o.From, mayBeTrunk) || len(o.From) > 0 && all(o.From, func(w string) bool {
		return anyOf(r.From, func(x string) bool { return strings.EqualFold(x, w) })
	}))
}

// mayBeTrunk reports whether a word of `from` is none of those that an absent `from` includes for sure.
func mayBeTrunk(w string) bool {
	return !strings.Contains(w, "@") && !anyOf(fromWords[:Trunk], func(x string) bool { return strings.EqualFold(x, w) })
}

func all(list []string, holds func(string) bool) bool {
	return !anyOf(list, func(s string) bool { return !holds(s) })
}

func anyOf(list []string, holds func(string) bool) bool {
	for _, s := range list {
		if holds(s) {
			return true
		}
	}
	return false
}

// concerns reports whether a rule judges a caller at all.
func (r *rule) concerns(c *Call) bool {
	if len(r.From) == 0 {
		return c.Kind != Trunk || r.Per == "trunk"
	}
	for _, w := range r.From {
		switch {
		case c.Kind == Trunk:
			if w == c.Trunk {
				return true
			}
		case strings.EqualFold(w, fromWords[c.Kind]):
			return true
		case c.AoR != "" && c.Kind != Stranger: // a stranger's name is anybody's
			if userIn(w).is(c.AoR) {
				return true
			}
		}
	}
	return false
}

// subject is whose budget of a rule a call uses; false: it has none, and the rule passes it over.
func (r *rule) subject(c *Call) (accountKey, bool) {
	k := accountKey{kind: c.Kind}
	switch r.Per {
	case "aor":
		if c.AoR == "" || c.Kind == Trunk || c.Kind == Stranger {
			return k, false
		}
		k.name = strings.ToLower(c.AoR)
	case "trunk":
		if c.Trunk == "" {
			return k, false
		}
		// Both ways together: a trunk has so many channels, whoever fills them.
		k.kind, k.name = Trunk, c.Trunk
	case "source":
		if c.Kind == PBX || !c.Source.IsValid() {
			return k, false
		}
		k.source = bySource(c.Source)
	default:
		return k, false
	}
	return k, true
}

// bySource is the key of a source: its address, of IPv6 the /64.
func bySource(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // a valid address without a zone has one
	return p
}

// accountKey names a budget of one rule.
type accountKey struct {
	kind   Kind // what a phone calls through the PBX is a call of the phone and one of the PBX: each counts for itself
	name   string
	source netip.Prefix
}

// String names it for people: "aor 204@example.com".
func (k accountKey) String() string {
	switch {
	case k.source.IsValid() && k.source.IsSingleIP():
		return "source " + k.source.Addr().String()
	case k.source.IsValid():
		return "source " + k.source.String()
	case k.kind == Trunk:
		return "trunk " + k.name
	case k.name == "":
		return "all others"
	}
	return "aor " + k.name
}

// Hits is how often a rule decided.
type Hits struct {
	Path, Name       string
	Enforced, Shadow uint64
}

// Alarm is a line for the log: a rule was broken, or nearly.
type Alarm struct {
	Rule   string
	Key    string // whose budget, "aor 204@example.com"; of a destination rule who called
	Figure string // "4 of 4 calls at a time"; "the number begins with +4990"
	Refuse bool   // the call was refused; false: it went on
	Number string // that was called; empty: no call did it, but time
	AoR    string
	Trunk  string
	Source netip.Addr
}

// Verdict is what becomes of a call. The zero value lets it go on.
type Verdict struct {
	Refuse bool
	Code   int
	Rule   string    // name of the rule that refused
	Key    string    // whose budget; empty: a destination rule's
	Figure string    // as in Alarm
	Clears time.Time // when the same call would pass; zero: when a call of that key ends, or never
	Alarms []Alarm   // what the log should hear of it
}

// Text is the verdict for people.
func (v *Verdict) Text(loc *time.Location) string {
	if !v.Refuse {
		return ""
	}
	text := "rule " + quote(v.Rule) + ": "
	if v.Key == "" {
		return text + v.Figure
	}
	text += v.Key + " has used " + v.Figure
	if v.Clears.IsZero() {
		return text + ", clears when one of them ends"
	}
	return text + ", clears at " + v.Clears.In(loc).Format(time.TimeOnly)
}

func quote(name string) string { return `"` + name + `"` }
