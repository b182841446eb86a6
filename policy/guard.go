package policy

import (
	"hash/maphash"
	"sync/atomic"
	"time"

	"sallyport/nat"
	"sallyport/sbc/reason"
	"sallyport/sbc/scan"
)

// Options are what a Guard is born with.
type Options struct {
	Now    time.Time             // when recording begins
	Seed   maphash.Seed          // maphash.MakeSeed(): keys the tables against aimed collisions
	OwnTag func(tag []byte) bool // tells a To-tag that we made; nil: the live set alone decides
	Rules  *Rules                // nil: those of an empty Config
	Sizes  Sizes
}

// Guard stands behind every socket. All methods are safe for concurrent use; Check allocates nothing.
type Guard struct {
	state  *State
	rules  atomic.Pointer[Rules]
	peers  atomic.Pointer[peerTable]
	phones phones
	log    atomic.Pointer[SecurityLog]
	doors  atomic.Pointer[[2][2]bool] // side and realm: is anybody listening
}

// New makes a guard without peers: everybody is a stranger until SetPeers and AddPhone.
func New(o Options) (*Guard, error) {
	st, err := NewState(o.Now, o.Seed, o.OwnTag, o.Sizes)
	if err != nil {
		return nil, err
	}
	if o.Rules == nil {
		if o.Rules, err = Compile(&Config{}, Data{}); err != nil {
			return nil, err
		}
	}
	g := &Guard{state: st}
	g.phones.init(o.Seed)
	g.SetRules(o.Now, o.Rules)
	g.SetPeers(nil)
	g.state.bans.onMade(g.tellBan)
	return g, nil
}

// SetRules puts a rule set in force. Bans, debt and counts stay; debt is clipped to the new bursts.
func (g *Guard) SetRules(now time.Time, r *Rules) {
	g.state.Install(now, r)
	g.rules.Store(r)
}

// Rules is the rule set in force; the numbers in verdicts are its.
func (g *Guard) Rules() *Rules { return g.rules.Load() }

// SetPeers replaces the known peers of all sides and realms; registered phones stay.
func (g *Guard) SetPeers(peers []Peer) { g.peers.Store(newPeerTable(peers)) }

// SetInterfaces tells which listeners exist, so that Explain speaks of no others. Without it all outside ones count.
func (g *Guard) SetInterfaces(list []*nat.Interface) {
	var doors [2][2]bool
	for _, i := range list {
		doors[i.Side][i.Realm] = true
	}
	g.doors.Store(&doors)
}

// Live is the live set, which the core keeps.
func (g *Guard) Live() *Live { return &g.state.live }

// Bans is the table of bans.
func (g *Guard) Bans() *Bans { return &g.state.bans }

// Counters are the counts of all verdicts.
func (g *Guard) Counters() *Counters { return &g.state.counters }

// SetSecurityLog sends the security log to emit, within the bounds of policy.log. emit is called by the readers, one
// call at a time; it must neither block nor call the guard.
func (g *Guard) SetSecurityLog(emit func(LogLine)) {
	g.log.Store(newSecurityLog(g.state.seed, emit))
}

// Tick does what is due by time alone: summaries of the security log, and the end of bans. Call it every few seconds.
func (g *Guard) Tick(now time.Time) {
	g.state.bans.Expire(now)
	g.state.conduct.tick(g.state.age(now))
	g.phones.tick(g.state.age(now))
	if log := g.log.Load(); log != nil {
		log.tick(g.state.age(now), now, g.rules.Load().log)
	}
}

// Check judges one received message, counts it, and keeps the evidence.
func (g *Guard) Check(p *Packet) Verdict {
	if p.ScanErr != nil {
		switch scan.Classify(p.Data) {
		case scan.KeepAlive, scan.Stun:
			// Odd, but nobody's fault.
			i := p.Interface
			g.state.counters.ignored[i.Side][i.Realm][i.Transport].Add(1)
			return Verdict{Action: Ignore, Rule: -1, Shadow: -1, Limit: -1, Alarm: -1}
		case scan.None, scan.Message, scan.Junk:
			// Judged below: what is no message is malformed.
		}
	}
	var s Subject
	s.readSource(p.Interface, p.Source)
	s.readMessage(p)
	peers, rules := g.directory(), g.rules.Load()
	peers.identify(g.state.age(p.Now), &s)
	if p.Peer != nil {
		s.Peer = p.Peer
	}
	g.state.conduct.proofs.see(g.state.age(p.Now), &s)
	if s.Peer == nil && s.Behind == 0 && s.Side == nat.Outside && !s.Transport.Reliable() {
		g.state.attention.note(g.state.age(p.Now))
	}
	v := Decide(p.Now, &s, rules, g.state)
	g.state.counters.add(&s, &v)
	if v.Reason == reason.LiveDialog {
		return v
	}
	if v.Action == Allow && s.Request {
		g.state.admit(p.Now, &s)
	}
	known := s.Peer != nil || peers.known(s.Source.Addr())
	if s.Proven && s.Credentials && v.Action == Allow {
		g.state.conduct.proofs.prove(g.state.age(p.Now), &s, known)
	}
	g.judge(p, &s, &v, rules, peers)
	g.keep(p.Now, &s, &v, rules, known)
	return v
}

// admit remembers an admitted request, so that its repeats are not charged.
func (st *State) admit(now time.Time, s *Subject) {
	if len(s.CallID) == 0 || len(s.Branch) == 0 || s.Method == MethodAck || s.Method == MethodCancel {
		return
	}
	id := identify(st.seed, s)
	st.repeats.put(st.age(now), uint64(id), agedKey{text: st.textOf(s)})
	x := st.vouched.at(st.hashOf(s))
	x.admit(st.age(now), maphash.Bytes(st.seed, s.Branch))
	if s.Kind() == Stranger {
		x.add(st.age(now))
	}
}

// keep counts rules and writes evidence: all that was refused, and the requests that were not.
func (g *Guard) keep(now time.Time, s *Subject, v *Verdict, r *Rules, known bool) {
	if h := g.state.hitsOf(r, v.Rule); h != nil {
		h.enforced.Add(1)
	}
	if h := g.state.hitsOf(r, v.Shadow); h != nil {
		h.shadow.Add(1)
	}
	if v.Alarm >= 0 {
		g.alarm(now, s, v, r)
	}
	if v.Action == Allow && !s.Request {
		return
	}
	at := g.state.age(now)
	g.state.evidence.with(known, s.Key, g.state.hashOf(s), at, func(d *dossier, records []record) {
		d.note(at, s, v, r, records)
	})
	if log := g.log.Load(); log != nil {
		log.offer(at, now, g.state.hashOf(s), s, v, r)
	}
}
