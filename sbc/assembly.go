package sbc

import (
	"net/netip"
	"slices"
	"time"

	"go.uber.org/zap"

	"sallyport/nat"
	"sallyport/policy"
	"sallyport/sbc/call"
	"sallyport/sbc/core"
	"sallyport/sbc/header"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/trunk"
	"sallyport/sbc/tu"
)

// assembly is what the core asks the program. All of it belongs to whoever has the core's turn.
type assembly struct {
	sbc      *SBC
	world    *world
	book     *trunk.Book
	calls    map[tu.UserID]*call.Call
	invites  map[tu.UserID]invite
	probes   map[string]probe
	since    map[string]time.Time // when an address got its state, by hop id
	rate     rate
	left     []policy.Peer // what the configuration no longer names and calls still need
	handed   []uint16      // interfaces that changed hands while calls were on them
	draining bool
	total    uint64
	high     int // most calls at a time
}

// probe is a running probe and what it was made of.
type probe struct {
	user  tu.UserID
	cfg   trunk.ProbeConfig
	began time.Time // zero: its silence has been told
	said  string    // what became of its last question
}

// invite names the INVITE of a call, whose CANCEL the guard lets pass however long it rings.
type invite struct{ callID, branch string }

// rate bounds new calls a second over all sources.
type rate struct {
	second time.Time
	n      int
}

func (r *rate) take(now time.Time, most int) bool {
	if most <= 0 {
		return true
	}
	if now.Sub(r.second) >= time.Second {
		r.second, r.n = now, 0
	}
	r.n++
	return r.n <= most
}

// Identify names who stands behind a flow.
func (a *assembly) Identify(f nat.Flow) (*tu.Peer, tu.Local, nat.Side) {
	i := a.world.interfaces[f.Interface]
	if i == nil {
		return nil, tu.Local{}, nat.Outside
	}
	peer := a.book.Identify(i.Side, i.Realm, f.Remote.Addr())
	return peer, a.world.local(i, f.Remote.Addr(), a.world.external(peer)), i.Side
}

// external is a trunk's own external address.
func (w *world) external(p *tu.Peer) (none netip.Addr) {
	if p == nil || p.Kind != tu.KindTrunk {
		return none
	}
	for i := range w.snap.Trunks {
		if w.snap.Trunks[i].Name == p.Name {
			return w.snap.Trunks[i].External
		}
	}
	return none
}

// New makes a user for a request outside any dialog, or answers it.
func (a *assembly) New(now time.Time, seed tu.Seed, id tu.UserID, ev *tu.Arrived) (tu.User, core.Answer) {
	m := ev.Msg
	switch {
	case ev.Peer == nil:
		// The guard lets nobody in whom no rule names; what still comes here gets silence.
		return nil, core.Answer{Why: reason.Stranger}
	case m.Method == "OPTIONS":
		return nil, a.options(*ev)
	case a.draining || !has(a.world.snap.Interfaces, ev.Flow.Interface):
		// A listener that the configuration no longer has serves its dialogs and nothing else.
		return nil, core.Answer{Code: 503, Why: reason.Draining, RetryAfter: 10}
	case m.Method != "INVITE":
		return nil, core.Answer{Code: 405, Headers: []message.Header{{Name: "Allow", Value: header.Methods}}}
	case ev.Peer.Realm != a.realm(ev.Flow):
		return nil, core.Answer{Code: 404, Why: reason.NoRoute}
	}
	if most := a.world.snap.Calls; most > 0 && len(a.calls) >= most {
		return nil, core.Answer{Code: 503, Why: reason.NoCapacity, RetryAfter: 10}
	}
	if !a.rate.take(now, a.world.snap.CallRate) {
		return nil, core.Answer{Code: 503, Why: reason.NoCapacity, RetryAfter: 1}
	}
	c := call.New(a.world.calls, seed)
	a.calls[id] = c
	a.total++
	a.high = max(a.high, len(a.calls))
	if in := (invite{m.CallID, m.Via[0].Branch}); a.sbc.guard.Live().AddInvite(in.callID, in.branch, ev.Flow.Remote.Addr()) {
		if a.invites == nil {
			a.invites = map[tu.UserID]invite{}
		}
		a.invites[id] = in
	}
	return c, core.Answer{}
}

func (a *assembly) realm(f nat.Flow) nat.Realm {
	if i := a.world.interfaces[f.Interface]; i != nil {
		return i.Realm
	}
	return nat.Trunks
}

// options answers a peer that asks whether we live: a trunk means the PBX behind us, the PBX the trunks.
func (a *assembly) options(ev tu.Arrived) core.Answer {
	beyond := tu.KindNode
	if ev.Peer.Kind == tu.KindNode {
		beyond = tu.KindTrunk
	}
	if a.draining || !has(a.world.snap.Interfaces, ev.Flow.Interface) {
		return core.Answer{Code: 503, Why: reason.Draining, RetryAfter: 10}
	}
	if !a.book.Available(beyond) {
		return core.Answer{Code: 503, Why: reason.NoPBX, RetryAfter: 10}
	}
	return core.Answer{Code: 200, Headers: []message.Header{
		{Name: "Allow", Value: header.Methods}, {Name: "Accept", Value: "application/sdp"},
	}}
}

// Route says where a request goes: from a provider to the PBX, from the PBX to the trunks whose patterns match.
func (a *assembly) Route(_ time.Time, r tu.Route) tu.Routed {
	if r.Peer.Kind == tu.KindTrunk {
		hops := a.listed(a.book.Plan(pbxName, nat.Inside))
		if len(hops) == 0 {
			return tu.Routed{Code: 503, Why: reason.NoPBX, Peer: pbxName}
		}
		return tu.Routed{Hops: hops}
	}
	var hops []tu.Hop
	for _, name := range a.world.table.Outbound(r.Msg.URI) {
		hops = append(hops, a.book.Plan(name, nat.Outside)...)
	}
	if hops = a.listed(hops); len(hops) == 0 {
		return tu.Routed{Code: 404, Why: reason.NoRoute}
	}
	return tu.Routed{Hops: hops}
}

// listed leaves out hops that are our own listeners: a request sent there would come back (RFC 3261 §16.3, loops).
func (a *assembly) listed(hops []tu.Hop) []tu.Hop {
	kept := hops[:0]
	for _, h := range hops {
		if !slices.Contains(h.Peer.Never, h.Flow.Remote) {
			kept = append(kept, h)
		}
	}
	return kept
}

// Health takes what a probe found.
func (a *assembly) Health(now time.Time, h tu.Health) {
	if p, ok := a.probes[h.Peer]; ok {
		p.said = h.Answer
		a.probes[h.Peer] = p
	}
	state := trunk.Unknown
	switch {
	case h.Up:
		state = trunk.Up
	case h.Known:
		state = trunk.Down
	}
	if a.book.Report(h.Peer, state) {
		a.since[h.Peer] = now
		a.sbc.log.Info("peer is "+state.String(), zap.String("node", h.Peer))
	}
}

// Note takes evidence for `sbc why`.
func (a *assembly) Note(now time.Time, n tu.Note) { a.sbc.note(now, n) }

// Record takes a call's CDR.
func (a *assembly) Record(r tu.CDR) {
	a.sbc.records.Write(r)
	a.sbc.recent.add(r)
	a.sbc.log.Info("call ended", zap.String("call", r.Call), zap.String("trunk", r.Trunk), zap.String("node", r.Node),
		zap.Int("code", r.Code), zap.String("reason", string(r.Reason)))
}

// Challenged hears of a challenge.
func (a *assembly) Challenged(time.Time, *message.Message, nat.Flow) {}

// Joined hears of a hairpin.
func (a *assembly) Joined(tu.UserID, tu.UserID) {}

// Ended hears that a user is gone.
func (a *assembly) Ended(id tu.UserID, _ tu.User) {
	delete(a.calls, id)
	if in, ok := a.invites[id]; ok {
		a.sbc.guard.Live().RemoveInvite(in.callID, in.branch)
		delete(a.invites, id)
	}
}

// SameSystem reports whether two flows of one interface belong to one peer system.
func (a *assembly) SameSystem(sentTo, from nat.Flow) bool {
	i := a.world.interfaces[from.Interface]
	return i != nil && sentTo.Interface == from.Interface && a.book.Same(i.Side, sentTo.Remote.Addr(), from.Remote.Addr())
}

// startProbes gives each address with an interval its probe. One that asks as before goes on with what it has counted;
// those that are no longer wanted are retired.
func (a *assembly) startProbes() {
	for id, p := range a.probes {
		if want, ok := a.world.probes[id]; !ok || !want.Same(&p.cfg) {
			a.sbc.core.Tell(p.user, tu.Hangup{})
			delete(a.probes, id)
			if !ok { // nobody asks any more: nothing is known
				a.book.Report(id, trunk.Unknown)
				delete(a.since, id)
			}
		}
	}
	for id, cfg := range a.world.probes {
		if _, runs := a.probes[id]; runs {
			continue
		}
		state := a.book.State(id)
		user := a.sbc.core.Start(func(_ tu.UserID, seed tu.Seed) tu.User {
			return trunk.NewProbe(cfg, state, seed, a.sbc.tags)
		})
		a.probes[id] = probe{user: user, cfg: cfg, began: a.sbc.now()}
	}
}

// complain warns, once, of each address that has not answered since it was asked first: it is used all the same, and
// nothing else would tell of a wrong address.
func (a *assembly) complain(now time.Time) {
	for id, p := range a.probes {
		patience := time.Duration(max(p.cfg.Failures, 1))*p.cfg.Interval + time.Second
		if p.began.IsZero() || now.Sub(p.began) < patience || a.book.State(id) != trunk.Unknown {
			continue
		}
		p.began = time.Time{}
		a.probes[id] = p
		peer := p.cfg.Hop.Peer
		a.sbc.log.Warn(a.world.snap.Place(a.world.key(&p.cfg.Hop))+": "+p.cfg.Hop.Flow.Remote.String()+" has not answered one OPTIONS; calls are sent there all the same\n"+
			"  hint: is the address right, does it run, and does it accept SIP from "+p.cfg.Hop.Here.Signal.String()+"?",
			zap.String("node", p.cfg.Hop.Flow.Remote.String()), zap.String("side", peer.Side.String()))
	}
}
