package policy

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"

	"sallyport/nat"
	"sallyport/policy/geo"
	"sallyport/sbc/reason"
)

// Explanation is the answer to "why?" for one address. Its JSON is the output of `sbc why --json`.
type Explanation struct {
	Address   netip.Addr       `json:"address"`
	Country   geo.Code         `json:"country,omitzero"`
	Allowed   bool             `json:"allowed"`          // what it sent last would be allowed now; without a record: anything would
	Known     []Identity       `json:"known,omitempty"`  // where it is a known peer
	Behind    []string         `json:"phones,omitempty"` // the AoRs registered behind it, from SetRegistered
	Recording time.Time        `json:"recording_since"`
	Now       Meeting          `json:"now"` // what the last message, or an INVITE, would meet now
	Seen      *Seen            `json:"seen,omitempty"`
	Last      []RecordedPacket `json:"last,omitempty"` // newest first
	Buckets   []Bucket         `json:"buckets,omitempty"`
	Meets     []Meeting        `json:"meets"` // what a REGISTER and an INVITE would meet now, at each listener
	Passes    []Suggestion     `json:"passes,omitempty"`
	Shadows   []ShadowCount    `json:"shadows,omitempty"`
	Alarms    []ShadowCount    `json:"alarms,omitempty"`  // rules with action alarm that the recorded messages met
	Account   *Account         `json:"account,omitempty"` // nil: nothing is held against the address
	Fix       []string         `json:"fix,omitempty"`
}

// Identity is what an address is at one listener.
type Identity struct {
	Side  string `json:"side"`
	Realm string `json:"realm"`
	Kind  string `json:"kind"`
	Name  string `json:"name,omitempty"`   // of a trunk or a node
	Count int    `json:"phones,omitempty"` // registered phones behind the address
}

// Meeting is what one request would meet now. Asking charges nothing.
type Meeting struct {
	Side   string        `json:"side"`
	Realm  string        `json:"realm"`
	Method string        `json:"method"`
	Action string        `json:"action"`
	Code   int           `json:"code,omitempty"`
	Reason reason.Reason `json:"reason"`
	Rule   *RuleInfo     `json:"rule,omitempty"`
	Limit  string        `json:"limit,omitempty"`          // REGISTER 15/minute burst 4
	Over   int           `json:"over,omitempty"`           // messages that this limit refused within the last minute
	Clears float64       `json:"clears_seconds,omitempty"` // until those would have room
	Ban    *Ban          `json:"ban,omitempty"`
	Shadow string        `json:"shadow,omitempty"` // a shadow rule that would refuse it
}

// Seen counts what an address sent since it was first seen.
type Seen struct {
	First    time.Time         `json:"first"`
	Last     time.Time         `json:"last"`
	Refused  uint32            `json:"refused"`
	Passed   uint32            `json:"passed"`
	Shadowed uint32            `json:"shadowed,omitempty"`
	Methods  map[string]uint32 `json:"refused_methods,omitempty"`
	Reasons  map[string]uint32 `json:"refused_reasons,omitempty"`
	Users    []string          `json:"users,omitempty"` // of the refused messages on record
	Realm    string            `json:"realm"`           // where it was seen last
	Side     string            `json:"side"`
}

// RecordedPacket is one message on record.
type RecordedPacket struct {
	At        time.Time     `json:"at"`
	Method    string        `json:"method"`
	User      string        `json:"user,omitempty"`
	Side      string        `json:"side"`
	Realm     string        `json:"realm"`
	Transport string        `json:"transport"`
	Port      uint16        `json:"port"`
	Agent     string        `json:"user_agent,omitempty"`
	Action    string        `json:"action"`
	Code      int           `json:"code,omitempty"`
	Reason    reason.Reason `json:"reason"`
	Rule      string        `json:"rule,omitempty"`
}

// Bucket is the level of one limit for the address.
type Bucket struct {
	Realm  string  `json:"realm"`
	Rule   string  `json:"rule"`
	Limit  string  `json:"limit"`
	Left   float64 `json:"left"`                     // messages that may be sent at once now
	Clears float64 `json:"clears_seconds,omitempty"` // until nothing is owed
	Shared bool    `json:"shared,omitempty"`         // the table is full: shared with all that found no room
	Shadow bool    `json:"shadow,omitempty"`
}

// ShadowCount says how many of the recorded messages a shadow rule would have refused.
type ShadowCount struct {
	Rule  string `json:"rule"`
	Count int    `json:"count"`
}

// SetRegistered names the AoRs that are registered behind the address. The guard does not know them; who keeps the bindings
// tells them before the explanation is read.
func (x *Explanation) SetRegistered(aors []string) { x.Behind = slices.Sorted(slices.Values(aors)) }

// Explain says what happens to an address and why. It changes nothing.
func (g *Guard) Explain(now time.Time, address netip.Addr) Explanation {
	a := address.Unmap().WithZone("")
	x := explainer{
		g: g, st: g.state, rules: g.rules.Load(), peers: g.directory(), now: now, address: a,
		out: Explanation{Address: a, Recording: g.state.base},
	}
	x.out.Country = x.rules.countryOf(&Subject{Source: netip.AddrPortFrom(a, 0)})
	for side := nat.Outside; side <= nat.Inside; side++ {
		for realm := nat.Phones; realm <= nat.Trunks; realm++ {
			if p := x.peers.find(side, realm, a); p != nil {
				known := Identity{Side: side.String(), Realm: realm.String(), Kind: p.Kind.String(), Name: p.Name}
				if p.Kind == Phone {
					known.Count = g.phones.at(a)
				}
				x.out.Known = append(x.out.Known, known)
			}
		}
	}
	x.readEvidence()
	x.tryAll()
	x.judgeNow()
	x.levels()
	x.account()
	x.suggest()
	x.fixBans()
	x.fixes()
	return x.out
}

// explainer is one Explain under way.
type explainer struct {
	g       *Guard
	st      *State
	rules   *Rules
	peers   directory
	now     time.Time
	address netip.Addr
	records []record // newest first
	pace    [methodCount]pace
	port    uint16 // of what is tried; 0: any
	from    []byte // whom it speaks for; nil: nobody
	out     Explanation
}

// readEvidence takes over what is on record, whether the address was a known peer's or a stranger's then.
func (x *explainer) readEvidence() {
	var d dossier
	for _, known := range []bool{true, false} {
		x.st.evidence.look(known, SourceKey(x.address), func(found *dossier, records []record) {
			d.merge(found)
			x.records = append(x.records, found.recent(records)...)
		})
	}
	if len(x.records) == 0 {
		return
	}
	slices.SortStableFunc(x.records, func(a, b record) int { return cmp.Compare(b.at, a.at) })
	x.pace = d.rates
	last := &x.records[0]
	seen := &Seen{
		First: x.st.base.Add(d.first), Last: x.st.base.Add(d.last), Refused: d.refused, Passed: d.passed,
		Shadowed: d.shadowed, Methods: map[string]uint32{}, Reasons: map[string]uint32{}, Users: usersOf(x.records),
		Side: last.side.String(), Realm: last.realm.String(),
	}
	for m, n := range d.methods {
		if n > 0 {
			seen.Methods[Method(m).String()] = n
		}
	}
	for i, n := range d.reasons {
		if n > 0 {
			seen.Reasons[string(reason.All[i])] = n
		}
	}
	x.out.Seen = seen
	x.tellRecords()
}

// tellRecords puts the records into words.
func (x *explainer) tellRecords() {
	shadows, alarms := map[uint64]int{}, map[uint64]int{}
	for i := range x.records {
		r := &x.records[i]
		p := RecordedPacket{
			At: x.st.base.Add(r.at), Method: r.method.String(), User: printable(r.user[:r.userLen]),
			Side: r.side.String(), Realm: r.realm.String(), Transport: r.transport.String(), Port: r.port,
			Agent: printable(r.agent[:r.agentLen]), Action: r.action.String(), Code: int(r.code),
			Reason: reason.All[r.cause],
		}
		if r.response {
			p.Method = "response"
		}
		if info, ok := x.rules.Rule(x.rules.byKey(r.rule)); ok && r.rule != 0 {
			p.Rule = info.Name
		}
		if r.shadow != 0 {
			shadows[r.shadow]++
		}
		if r.alarm != 0 {
			alarms[r.alarm]++
		}
		x.out.Last = append(x.out.Last, p)
	}
	for i := range x.rules.infos {
		if n := shadows[x.rules.infos[i].key]; n > 0 {
			x.out.Shadows = append(x.out.Shadows, ShadowCount{x.rules.infos[i].Name, n})
			delete(shadows, x.rules.infos[i].key)
		}
		if n := alarms[x.rules.infos[i].key]; n > 0 {
			x.out.Alarms = append(x.out.Alarms, ShadowCount{x.rules.infos[i].Name, n})
			delete(alarms, x.rules.infos[i].key)
		}
	}
}

// subject is the address at a listener, for a trial.
func (x *explainer) subject(side nat.Side, realm nat.Realm) Subject {
	s := Subject{Side: side, Realm: realm, Source: netip.AddrPortFrom(x.address, cmp.Or(x.port, 5060)), Key: SourceKey(x.address), Trial: true}
	x.peers.identify(x.st.age(x.now), &s)
	return s
}

// try asks what a request would meet, and charges nothing.
func (x *explainer) try(side nat.Side, realm nat.Realm, t nat.Transport, m Method, agent []byte) (Meeting, Verdict) {
	s := x.subject(side, realm)
	s.Transport, s.Size, s.Request, s.Method = t, 500, true, m
	s.Proven, s.From, s.To = t.Reliable(), x.from, x.from
	s.Agents[0] = agent
	v := Decide(x.now, &s, x.rules, x.st)
	meet := Meeting{Side: side.String(), Realm: realm.String(), Method: m.String(), Action: v.Action.String(),
		Code: v.Code, Reason: v.Reason}
	if info, ok := x.rules.Rule(v.Rule); ok {
		meet.Rule = &info
	}
	if info, ok := x.rules.Rule(v.Shadow); ok {
		meet.Shadow = info.Name
	}
	if v.Limit >= 0 {
		limit := &x.rules.limits[v.Limit]
		z := limit.size(s.Behind)
		meet.Limit = limit.textFor(s.Behind)
		meet.Over = x.refusedLately(limit)
		left, _ := x.st.limits.level(x.st.age(x.now), limit.key, z, s.Key, s.reserved())
		meet.Clears = wait(z, float64(max(1, meet.Over))-left)
	}
	if v.Reason == reason.Ban {
		if ban, _ := x.st.bans.binding(x.now, &s); ban != nil {
			named := ban.named()
			meet.Ban = &named
		}
	}
	return meet, v
}

// wait is how long it takes until so many messages have come in again, in seconds. For a limit that refuses: until there is
// room for those that it refused within the last minute, which are being repeated; for a bucket: until it is full.
func wait(z size, messages float64) float64 {
	return max(0, math.Ceil(messages/z.perSecond*10)/10)
}

// refusedLately counts the recorded messages that a limit refused within the last minute.
func (x *explainer) refusedLately(m *limit) (n int) {
	for i := range x.records {
		r := &x.records[i]
		if x.st.age(x.now)-r.at <= time.Minute && reason.All[r.cause] == reason.LimitExceeded &&
			r.rule == x.rules.infos[m.rule].key && (m.star || r.method == m.method) {
			n++
		}
	}
	return n
}

// listens reports whether Explain should speak of a listener: where the address was seen last, and where it is known or,
// if it is known nowhere, everywhere outside.
func (x *explainer) listens(side nat.Side, realm nat.Realm) bool {
	if doors := x.g.doors.Load(); doors != nil && !doors[side][realm] {
		return false
	}
	if len(x.records) > 0 && x.records[0].side == side && x.records[0].realm == realm {
		return true
	}
	if len(x.out.Known) > 0 {
		return x.peers.find(side, realm, x.address) != nil
	}
	return side == nat.Outside
}

// anyAgent is what a tried request calls itself: a rule on those without a name is not about it.
var anyAgent = []byte("-")

// tryAll asks what a REGISTER and an INVITE would meet at each listener.
func (x *explainer) tryAll() {
	for side := nat.Outside; side <= nat.Inside; side++ {
		for realm := nat.Phones; realm <= nat.Trunks; realm++ {
			if !x.listens(side, realm) {
				continue
			}
			for _, m := range []Method{MethodRegister, MethodInvite} {
				if m == MethodRegister && realm == nat.Trunks {
					continue // nobody registers with us there
				}
				meet, _ := x.try(side, realm, nat.UDP, m, anyAgent)
				x.out.Meets = append(x.out.Meets, meet)
			}
		}
	}
}

// judgeNow repeats the last message on record in a trial; without one it takes the best of what tryAll found, and
// where the address is known, what it would meet there.
func (x *explainer) judgeNow() {
	if len(x.records) > 0 {
		last := &x.records[0]
		x.port, x.from = last.port, []byte("<sip:"+string(last.user[:last.userLen])+">")
		meet, v := x.try(last.side, last.realm, last.transport, last.method, last.agent[:last.agentLen])
		x.out.Now, x.out.Allowed = meet, v.Action == Allow
		if x.out.Allowed {
			x.asBefore(last)
		}
		x.port, x.from = 0, nil
		return
	}
	for i, meet := range x.out.Meets {
		better := meet.Action == Allow.String() && !x.out.Allowed
		if i == 0 || better {
			x.out.Now = meet
		}
		x.out.Allowed = x.out.Allowed || better
	}
}

// asBefore takes what the last message met for what the same would meet again, where a trial cannot tell: a record does not
// hold what a message rule may look at, nor what the scan refused.
func (x *explainer) asBefore(last *record) {
	i := x.rules.byKey(last.rule)
	if !last.refused() || last.rule == 0 || i < 0 || x.rules.infos[i].Shadow || last.cause != causeMessage && !last.malformed {
		return
	}
	info := x.rules.infos[i]
	x.out.Allowed = false
	x.out.Now = Meeting{Side: x.out.Now.Side, Realm: x.out.Now.Realm, Method: x.out.Now.Method, Action: last.action.String(),
		Code: int(last.code), Reason: reason.All[last.cause], Rule: &info}
}

// levels lists the buckets of the limits that the address has met, or would meet with what it sent last.
func (x *explainer) levels() {
	type place struct {
		realm nat.Realm
		limit int32
	}
	done := map[place]bool{}
	for i := range x.records {
		r := &x.records[i]
		s := x.subject(r.side, r.realm)
		set := x.rules.limitsFor(&s, r.method)
		for n := range set.all {
			if r.response || done[place{r.realm, n}] {
				continue
			}
			done[place{r.realm, n}] = true
			m := &x.rules.limits[n]
			z := m.size(s.Behind)
			left, shared := x.st.limits.level(x.st.age(x.now), m.key, z, s.Key, s.reserved())
			x.out.Buckets = append(x.out.Buckets, Bucket{
				Realm: r.realm.String(), Rule: x.rules.infos[m.rule].Name, Limit: m.textFor(s.Behind),
				Left: math.Floor(left*10) / 10, Clears: wait(z, z.burst-left), Shared: shared, Shadow: m.shadow,
			})
		}
	}
}

// name is how a rule is spoken of.
func (i RuleInfo) name() string { return fmt.Sprintf("rule %q", i.Name) }
