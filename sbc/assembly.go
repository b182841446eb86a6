package sbc

import (
	"net/netip"
	"slices"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"sallyport/nat"
	"sallyport/policy"
	"sallyport/sbc/call"
	"sallyport/sbc/credentials"
	"sallyport/sbc/digest"
	"sallyport/sbc/registrar"
	"sallyport/sbc/silence"
	"sallyport/sbc/trunk"
	"sallyport/sbc/tu"
)

// assembly is what the core asks the program. All of it belongs to whoever has the core's turn.
type assembly struct {
	sbc      *SBC
	world    *world
	book     *trunk.Book
	turns    trunk.Turns
	phones   *phones
	calls    map[tu.UserID]*call.Call
	invites  map[tu.UserID]invite
	urgent   urgent
	leases   leases
	drains   drains
	probes   map[string]probe
	since    map[string]time.Time // when an address got its state, by hop id
	rate     callRate
	tolls    tolls
	intake   intake
	left     []policy.Peer // what the configuration no longer names and calls still need
	handed   []uint16      // interfaces that changed hands while calls were on them
	swapped  time.Time     // when the world last changed
	draining bool
	leaving  bool // the program ends: trunks take their registrations back

	registering map[string]*registering // by trunk
	proofs      map[proof]*tu.Peer      // who is behind connections on which that was proven, in this world
	total       uint64
	high        int // most calls at a time

	keys       *digest.Keyring       // what peers let calls in by
	denials    map[string]toldDenial // by trunk: that it refuses user name or password
	challenged credentials.Challenges
	spent      spentNonces
	renewing   renewing
	silence    silence.Watch
	strangers  map[tu.UserID]struct{} // users made for requests of nobody who is vouched for
	pacing     pacing
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

// callRate bounds new calls a second over all sources.
type callRate struct {
	second time.Time
	n      int
}

func (r *callRate) take(now time.Time, most int) bool {
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
	switch {
	case f.Interface == loopInterface:
		return a.world.loop.Peer, a.world.loop.Here, nat.Inside
	case i == nil:
		return nil, tu.Local{}, nat.Outside
	}
	if i.Side == nat.Outside && i.Realm == nat.Phones {
		return a.phones.identify(f), a.world.local(i, f.Remote.Addr(), netip.Addr{}), i.Side
	}
	peer, proven := a.proven(i, f)
	if !proven {
		peer = a.book.Identify(i.Side, i.Realm, f.Remote.Addr())
	}
	return peer, a.world.here(i, f.Remote.Addr(), peer), i.Side
}

func (a *assembly) realm(f nat.Flow) nat.Realm {
	if i := a.world.interfaces[f.Interface]; i != nil {
		return i.Realm
	}
	return nat.Trunks
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
	a.sighted(&h)
	if h.Alive {
		a.registrarSpeaks(h.Peer)
	}
	if trunk.Refused(&h) {
		a.refused(now, h.Peer)
	}
	if a.book.Probed(now, h) {
		a.hopChanged(now, h.Peer)
	}
}

// hopChanged does what follows from an address's having another state.
func (a *assembly) hopChanged(now time.Time, id string) {
	if kind, _ := a.book.Kind(id); kind == tu.KindNode {
		a.nodeChanged(now, id)
		return
	}
	a.since[id] = now
	if a.tellState(id) == trunk.Up {
		a.registrarAnswers(id)
	}
}

// tellState logs the state that an address has now. One that is down is a warning: calls go elsewhere, or nowhere.
func (a *assembly) tellState(id string) trunk.State {
	h := a.book.Health(id)
	level := zapcore.InfoLevel
	if h.State == trunk.Down {
		level = zapcore.WarnLevel
	}
	a.sbc.log.Log(level, "peer is "+h.State.String(), zap.String("node", id), zap.String("why", h.Why))
	return h.State
}

// healed gives what has failed another chance, where no probe tells when.
func (a *assembly) healed(now time.Time) {
	for _, id := range a.book.Tick(now) {
		a.hopChanged(now, id)
	}
}

// Note takes evidence for `sbc why`.
func (a *assembly) Note(now time.Time, n tu.Note) { a.sbc.note(now, n) }

// Record takes a call's CDR.
func (a *assembly) Record(r tu.CDR) {
	if r.AoR != "" {
		a.phones.learnPorts(&r)
	}
	a.settleToll(a.sbc.now(), &r)
	a.sbc.open.hold(r)
	if !a.phones.held.hold(r) {
		a.write(r)
	}
}

func (a *assembly) write(r tu.CDR) {
	a.sbc.records.Write(r)
	a.sbc.tally.Record(&r)
	if a.sbc.files == nil { // whoever takes the records has it now
		a.sbc.open.written([]tu.CDR{r})
	}
	a.sbc.recent.add(r)
	a.sbc.log.Info("call ended", zap.String("call", r.Call), zap.String("trunk", r.Trunk), zap.String("node", r.Node),
		zap.String("aor", r.AoR), zap.Int("code", r.Code), zap.String("reason", string(r.Reason)))
}

// Joined hears of a hairpin: two calls with one correlation.
func (a *assembly) Joined(x, y tu.UserID) {
	first, second := a.calls[x], a.calls[y]
	if first == nil || second == nil {
		return
	}
	name := second.Correlation()
	if name == "" {
		name = second.ID()
	}
	first.Correlate(name)
	second.Correlate(name)
	a.sbc.open.touch(y)
}

// Ended hears that a user is gone.
func (a *assembly) Ended(id tu.UserID, u tu.User) {
	delete(a.strangers, id)
	if r, registers := u.(*registrar.Register); registers {
		a.phones.visits.note(a.sbc.now(), r, a.phones.book)
		delete(a.pacing.paid, id)
		a.judge(r)
		a.settleBindings()
		return
	}
	if a.unregistered(id, u) {
		return
	}
	if id == a.phones.keeper {
		a.phones.keeper = 0 // it failed: the next second starts another one
	}
	a.dropToll(id)
	a.sbc.captures.Ended(id)
	a.sbc.open.leave(id)
	delete(a.calls, id)
	a.urgent.drop(id)
	a.leases.leave(id)
	a.phones.unfollow(id)
	a.unwatch(id)
	if in, ok := a.invites[id]; ok {
		a.sbc.guard.Live().RemoveInvite(in.callID, in.branch)
		delete(a.invites, id)
	}
}

// SameSystem reports whether two flows of one interface belong to one peer system.
func (a *assembly) SameSystem(sentTo, from nat.Flow) bool {
	i := a.world.interfaces[from.Interface]
	if i != nil && i.Side == nat.Outside && i.Realm == nat.Phones {
		return false // a phone is its address, nothing else is its system
	}
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
		state := a.book.Asked(id)
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
		if p.cfg.CRLF || p.began.IsZero() || now.Sub(p.began) < patience || a.book.State(id) != trunk.Unknown {
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
