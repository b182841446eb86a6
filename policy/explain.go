package policy

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"

	"sallyport/nat"
	"sallyport/sbc/reason"
)

// Explanation is the answer to "why?" for one address. Its JSON is the output of `sbc why --json`.
type Explanation struct {
	Address   netip.Addr       `json:"address"`
	Allowed   bool             `json:"allowed"`         // what it sent last would be allowed now; without a record: anything would
	Known     []Identity       `json:"known,omitempty"` // where it is a known peer
	Recording time.Time        `json:"recording_since"`
	Now       Meeting          `json:"now"` // what the last message, or an INVITE, would meet now
	Seen      *Seen            `json:"seen,omitempty"`
	Last      []RecordedPacket `json:"last,omitempty"` // newest first
	Buckets   []Bucket         `json:"buckets,omitempty"`
	Meets     []Meeting        `json:"meets"` // what a REGISTER and an INVITE would meet now, at each listener
	Passes    []Suggestion     `json:"passes,omitempty"`
	Shadows   []ShadowCount    `json:"shadows,omitempty"`
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
	Limit  string        `json:"limit,omitempty"` // REGISTER 15/minute burst 4
	Over   int           `json:"over,omitempty"`  // messages that this limit refused within the last minute
	Clears float64       `json:"clears_seconds,omitempty"`
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

// Explain says what happens to an address and why. It changes nothing.
func (g *Guard) Explain(now time.Time, address netip.Addr) Explanation {
	a := address.Unmap().WithZone("")
	x := explainer{
		g: g, st: g.state, rules: g.rules.Load(), peers: g.directory(), now: now, address: a,
		out: Explanation{Address: a, Recording: g.state.base},
	}
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
	x.suggest()
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
	shadows := map[uint64]int{}
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
		x.out.Last = append(x.out.Last, p)
	}
	for i := range x.rules.infos {
		if n := shadows[x.rules.infos[i].key]; n > 0 {
			x.out.Shadows = append(x.out.Shadows, ShadowCount{x.rules.infos[i].Name, n})
			delete(shadows, x.rules.infos[i].key)
		}
	}
}

// try asks what a request would meet, and charges nothing.
func (x *explainer) try(side nat.Side, realm nat.Realm, t nat.Transport, m Method, agent []byte) (Meeting, Verdict) {
	s := Subject{
		Side: side, Realm: realm, Transport: t, Source: netip.AddrPortFrom(x.address, 5060), Key: SourceKey(x.address),
		Peer: x.peers.find(side, realm, x.address), Size: 500, Request: true, Method: m, Trial: true,
	}
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
		meet.Limit = limit.String()
		meet.Over = x.refusedLately(limit)
		left, _ := x.st.limits.level(x.now, limit, s.Key, s.Kind() != Stranger)
		meet.Clears = clears(limit, left)
	}
	if v.Reason == reason.Ban {
		meet.Ban = x.banAt(realm)
	}
	return meet, v
}

func (x *explainer) banAt(realm nat.Realm) *Ban {
	for _, auto := range []bool{false, true} {
		if b := x.st.bans.find(x.now, x.address, realm, auto); b != nil {
			c := *b
			return &c
		}
	}
	return nil
}

// clears is how long it takes until a bucket is full again, in seconds.
func clears(m *limit, left float64) float64 {
	return math.Ceil((float64(m.burst)-left)/float64(m.rate)*10) / 10
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
				meet, _ := x.try(side, realm, nat.UDP, m, nil)
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
		meet, v := x.try(last.side, last.realm, last.transport, last.method, last.agent[:last.agentLen])
		x.out.Now, x.out.Allowed = meet, v.Action == Allow
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

// levels lists the buckets of the limits that the address has met, or would meet with what it sent last.
func (x *explainer) levels() {
	type place struct {
		realm nat.Realm
		limit int32
	}
	done := map[place]bool{}
	for i := range x.records {
		r := &x.records[i]
		peer := x.peers.find(r.side, r.realm, x.address)
		system := peer != nil && peer.Kind.system()
		for _, n := range x.rules.limitsFor(r.realm, x.address, r.method, system) {
			if r.response || done[place{r.realm, n}] {
				continue
			}
			done[place{r.realm, n}] = true
			m := &x.rules.limits[n]
			left, shared := x.st.limits.level(x.now, m, SourceKey(x.address), peer != nil)
			x.out.Buckets = append(x.out.Buckets, Bucket{
				Realm: r.realm.String(), Rule: x.rules.infos[m.rule].Name, Limit: m.String(),
				Left: math.Floor(left*10) / 10, Clears: clears(m, left), Shared: shared, Shadow: m.shadow,
			})
		}
	}
}

// name is how a rule is spoken of.
func (i RuleInfo) name() string { return fmt.Sprintf("rule %q", i.Name) }
