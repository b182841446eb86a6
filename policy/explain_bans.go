package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"sallyport/sbc/userpart"
)

// Account is what is held against an address, and what came of it.
type Account struct {
	Off    bool     `json:"off,omitempty"`    // policy.bans.points is 0
	Shadow bool     `json:"shadow,omitempty"` // policy.bans.shadow
	Proven bool     `json:"proven"`           // it has answered a challenge, or came by a stream: nobody has forged it
	Points []Points `json:"points,omitempty"` // most first
	Bans   []Ban    `json:"bans,omitempty"`   // in force, of the address, of its ports and users
	Past   []Ban    `json:"past,omitempty"`   // ended, and not forgiven: they make the next one longer
	Next   string   `json:"next,omitempty"`   // how long the next automatic ban would be
	Blocks []Block  `json:"blocks,omitempty"`
	Slowed []Slowed `json:"slowed,omitempty"` // users on record whose credentials strangers' addresses may send slowly only
}

// Points is one score: of an address, of a port or a user of it, never more than the evidence can be held against.
type Points struct {
	Of       string `json:"of"` // whom, as Ban.Target says it
	Points   int    `json:"points"`
	Needed   int    `json:"needed"`
	Within   string `json:"within"`
	Evidence string `json:"evidence"` // 2 wrong digest, 1 malformed
	Then     string `json:"then"`     // what full points come to
}

// account gathers what is held against the address.
func (x *explainer) account() {
	rules := &x.rules.bans
	out := Account{Off: rules.points == 0, Shadow: rules.shadow, Proven: x.proven()}
	for _, b := range x.st.bans.about(x.now, x.address) {
		if b.ended(x.now) {
			out.Past = append(out.Past, b)
		} else {
			out.Bans = append(out.Bans, b)
		}
	}
	if !out.Off {
		source := SourcePrefix(x.address)
		out.Next = shortTime(rules.length(x.st.bans.before(x.now, banKey{prefix: source, auto: true})))
		x.points(&out, source)
		for _, b := range slices.Concat(out.Bans, out.Past) {
			if b.Auto {
				out.Next = shortTime(rules.length(b.unforgiven(x.now, rules.most)))
				break
			}
		}
	}
	out.Blocks = x.g.Blocks(x.now, SourcePrefix(x.address))
	for _, s := range x.g.Slowed(x.now) {
		if slices.ContainsFunc(x.records, func(r record) bool { return userpart.Escaped(foldUser(string(r.user[:r.userLen]))) == s.User }) {
			out.Slowed = append(out.Slowed, s)
		}
	}
	if len(out.Points)+len(out.Bans)+len(out.Past)+len(out.Blocks)+len(out.Slowed) > 0 {
		x.out.Account = &out
	}
}

// proven reports whether one of the ports on record has proven the address.
func (x *explainer) proven() bool {
	age := x.st.age(x.now)
	return slices.ContainsFunc(x.records, func(r record) bool {
		return !r.response && (r.transport.Reliable() || x.st.conduct.proofs.proven(age, netip.AddrPortFrom(x.address, r.port)))
	})
}

// points lists the scores of a source.
func (x *explainer) points(out *Account, source netip.Prefix) {
	rules := &x.rules.bans
	for known := range x.st.conduct.scores {
		x.st.conduct.scores[known].each(x.st.age(x.now), rules.within, func(s *score) {
			a := netip.AddrFrom16(s.key.source).Unmap()
			if s.key.unit == unitName || !source.Contains(a) {
				return
			}
			ban := Ban{Prefix: source}
			then := "a ban of " + out.Next
			switch s.key.unit {
			case unitFlow:
				ban.Prefix, ban.Port, then = exactly(a), uint16(s.key.id), "a ban of that port"
			case unitUser:
				ban.AoR, then = userpart.Escaped(string(s.name[:s.nameLen])), "a ban of that user from there"
			case unitPort:
				ban.Prefix, ban.Port = exactly(a), uint16(s.key.id)
				then = fmt.Sprintf("that port blocked for %s, for it has not proven its address", shortTime(min(rules.first, mostBlock)))
			case unitWatched:
				then = "an alarm and no ban"
			default: // an address: what stands there already
			}
			all := s.total()
			out.Points = append(out.Points, Points{ban.Target(), all.points(), rules.points, shortTime(rules.within), all.String(), then})
		})
	}
	slices.SortStableFunc(out.Points, func(a, b Points) int { return b.Points - a.Points })
}

// about lists the bans in force that cover an address, those of its ports and users, and ended ones that are not forgiven.
func (b *Bans) about(now time.Time, a netip.Addr) (list []Ban) {
	node, ok := b.table.Load().Lookup(a)
	for ok {
		for _, ban := range append([]*Ban{node.hand, node.auto}, node.narrow...) {
			if ban != nil && !ban.ended(now) {
				list = append(list, ban.named())
			}
		}
		wider := node.prefix.Bits() - 1
		if wider < 0 {
			break
		}
		node, ok = b.table.Load().LookupPrefix(netip.PrefixFrom(a, wider).Masked())
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.past {
		if e.ban.Prefix.Contains(a) && e.ban.unforgiven(now, b.forgiving()) > 0 {
			list = append(list, e.ban.named())
		}
	}
	return list
}

// before is how many bans from evidence of a target are not forgiven.
func (b *Bans) before(now time.Time, key banKey) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.earlier(now, key)
}

// lines puts the account into words; told is the ban that has been spoken of. Nothing is said where nothing is held against
// the address.
func (a *Account) lines(zone *time.Location, told *Ban, line func(label, format string, args ...any)) {
	if a == nil {
		return
	}
	for i, p := range a.Points {
		line(labelOnce("points", i), "%s: %d of %d points within %s: %s; then %s%s", p.Of, p.Points, p.Needed, p.Within, p.Evidence, p.Then, a.shadowText())
	}
	evident := len(a.Points)+len(a.Blocks) > 0
	shown := 0
	for i := range a.Bans {
		b := &a.Bans[i]
		label := "because"
		if told == nil || told.Key() != b.Key() {
			line(labelOnce("bans", shown), "%s", b.sentence(zone))
			label, shown = "", shown+1
		}
		for j, e := range b.Evidence {
			line(labelOnce(label, j), "%s%s", printable([]byte(InZone(e, zone))), b.countText())
		}
		evident = evident || b.Auto
	}
	for i := range a.Past {
		b := &a.Past[i]
		line(labelOnce("past", i), "%s: %s, ended %s%s", b.Target(), b.Reason, b.Until.In(zone).Format(time.DateTime), b.countText())
	}
	if a.Next != "" && (len(a.Past) > 0 || evident && len(a.Bans) > 0) {
		line("next", "a further ban from evidence would last %s", a.Next)
	}
	for i, b := range a.Blocks {
		line(labelOnce("blocks", i), "%s until %s: %s, unproven", b.Source, b.Until.In(zone).Format(time.TimeOnly), b.Evidence)
	}
	for i, s := range a.Slowed {
		line(labelOnce("slowed", i), "credentials for %s from strangers, 6 a minute until %s: %s", s.User, s.Until.In(zone).Format(time.TimeOnly), s.Evidence)
	}
	switch {
	case !evident:
	case a.Proven:
		line("proven", "it has answered a challenge, or came by TCP or TLS: nobody has forged it")
	default:
		line("proven", "no: anyone may have forged it")
	}
}

func (a *Account) shadowText() string {
	if a.Shadow {
		return " (shadow: counted only)"
	}
	return ""
}

// countText says which ban in a row it is.
func (ban *Ban) countText() string {
	if ban.Count < 2 {
		return ""
	}
	return fmt.Sprintf(" (number %d in a row)", ban.Count)
}

// plainName is what a name may be made of that stands in a proposed command.
const plainName = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._+-"

// fixBans says how to lift what does not stand in `now`: bans of ports and users, blocks, slowed users.
func (x *explainer) fixBans() {
	if x.out.Account == nil {
		return
	}
	add := func(format string, args ...any) { x.out.Fix = append(x.out.Fix, fmt.Sprintf(format, args...)) }
	said := map[string]bool{}
	if x.out.Now.Ban != nil {
		said[x.out.Now.Ban.Prefix.String()] = true // fixes says it
	}
	remove := func(p netip.Prefix, what string) {
		if target := p.String(); !said[target] {
			said[target] = true
			add("sbc bans remove %s   (%s)", target, what)
		}
	}
	for i := range x.out.Account.Bans {
		if b := &x.out.Account.Bans[i]; b.narrow() {
			remove(b.Prefix, "lifts the ban of "+b.Target())
		}
	}
	for _, b := range x.out.Account.Blocks {
		remove(SourcePrefix(b.Source.Addr()), "lifts the block of port "+fmt.Sprint(b.Source.Port())+"; it ends by itself in at most a minute")
	}
	if len(x.out.Account.Slowed) > 0 {
		var users []string
		for _, s := range x.out.Account.Slowed {
			users = append(users, s.User)
		}
		add("somebody guesses the password of %s from several addresses: choose a long one; registered phones are not slowed", strings.Join(users, ", "))
		for _, user := range users {
			if strings.Trim(user, plainName) != "" || user[0] == '-' {
				continue // a stranger has chosen it; nobody shall be led to paste that into a shell
			}
			add("sbc bans remove %s   (takes strangers' credentials for %s at full speed again)", user, user)
		}
	}
}
