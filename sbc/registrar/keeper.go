package registrar

import (
	"encoding/binary"
	"time"

	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// Keeper keeps the ways through NATs open: every flow with a binding is pinged once in Settings.Keepalive, datagrams by an
// OPTIONS that the phone answers (many NATs count only what comes back as use, RFC 4787 §4.3), streams by a double CRLF (RFC
// 5626 §4.4.1). It is the one tu.User for all of them. Flows are pinged at a moment of their own within the interval, a
// function of the flow, so that 20,000 phones never make a burst, not even after a restart. A phone that does not answer
// stays registered: whether it is there, the PBX and its expiry say.
//
// A tu.User is asked for its Deadline after a Step only. So whoever changes the Book tells the Keeper a tu.Tick then (when
// Book.Changes had some, and when Settings.Keepalive changed); a Tick costs what has changed and what is due, never a walk
// over all flows.
type Keeper struct {
	set   *Settings
	ids   tu.IDs
	seed  uint64
	tag   string
	every time.Duration // by which the clock is set

	pings map[nat.Flow]*ping
	clock alarms[*ping]
	refs  map[tu.Ref]*ping
	last  tu.Ref
	over  bool

	resume time.Time // no pings before: the last Step left some that were due
}

// ping is the state of one flow.
type ping struct {
	flow   nat.Flow
	at     time.Time
	index  int
	ref    tu.Ref           // the OPTIONS that is out; 0: none
	sent   *message.Message // that OPTIONS, as it left
	callID string
	cseq   uint32
	gone   bool // its last binding is gone; it stays as long as its question is out
}

func (p *ping) due() time.Time { return p.at }
func (p *ping) place() *int    { return &p.index }

// NewKeeper makes the keepalive user. Its first Tick takes up every flow there is. It ends on tu.Hangup alone.
func NewKeeper(set *Settings, seed tu.Seed) *Keeper {
	k := &Keeper{
		set: set, ids: tu.NewIDs(seed, set.Tags), seed: binary.LittleEndian.Uint64(seed[:8]),
		pings: map[nat.Flow]*ping{}, refs: map[tu.Ref]*ping{},
	}
	k.tag = k.ids.Tag()
	set.Book.watched, set.Book.resync = true, true
	return k
}

// Deadline is when the next flow is due.
func (k *Keeper) Deadline() time.Time {
	if p, ok := k.clock.first(); ok && !k.over {
		if p.at.Before(k.resume) {
			return k.resume
		}
		return p.at
	}
	return time.Time{}
}

// Step looks at what has changed, and pings what is due.
func (k *Keeper) Step(now time.Time, ev tu.Event, do []tu.Action) []tu.Action {
	switch ev := ev.(type) {
	case tu.Hangup:
		if !k.over {
			k.over = true
			k.set.Book.watched, k.set.Book.fresh = false, nil
			return append(do, tu.End{})
		}
	case tu.Answered:
		if ev.Msg.Status >= 200 {
			k.answered(now, ev)
		}
	case tu.Failed:
		k.done(ev.Ref)
	case tu.Tick:
		if !k.over {
			return k.tick(now, do)
		}
	}
	return do
}

// Abort ends it.
func (k *Keeper) Abort(_ time.Time, do []tu.Action) []tu.Action {
	k.over = true
	return append(do, tu.End{})
}

// After a standstill (a machine that slept, a snapshot) thousands are due at once. They leave in parts, as a burst of all
// would be lost in one socket, and would time out in one moment.
const (
	pingsMost  = 256
	pingsPause = 20 * time.Millisecond
)

func (k *Keeper) tick(now time.Time, do []tu.Action) []tu.Action {
	k.look(now)
	for n := 0; !now.Before(k.resume); n++ {
		p, ok := k.clock.first()
		if !ok || p.at.After(now) {
			return do
		}
		if n == pingsMost {
			k.resume = now.Add(pingsPause)
			return do
		}
		p.at = k.moment(p.flow, now)
		k.clock.set(p)
		do = k.ping(p, do)
	}
	return do
}

// look takes up flows that have come and lets go of those that went.
func (k *Keeper) look(now time.Time) {
	book := k.set.Book
	if every := max(k.set.Keepalive, 0); every != k.every || book.resync {
		k.every, book.resync, book.fresh = every, false, nil
		for _, p := range k.pings {
			k.clock.drop(p)
		}
		for f := range k.pings {
			k.follow(f, now)
		}
		for f := range book.flows {
			k.follow(f, now)
		}
		return
	}
	for _, f := range book.fresh {
		k.follow(f, now)
	}
	book.fresh = book.fresh[:0]
}

// follow makes the state of a flow what the Book says of it.
func (k *Keeper) follow(f nat.Flow, now time.Time) {
	p, bound := k.pings[f], len(k.set.Book.flows[f]) > 0
	switch {
	case !bound && p != nil:
		k.clock.drop(p)
		if p.gone = true; p.ref == 0 {
			delete(k.pings, f)
		}
	case !bound || k.every == 0:
	case p == nil:
		p = &ping{flow: f, at: k.moment(f, now), index: -1}
		k.pings[f] = p
		k.clock.set(p)
	case p.index < 0:
		p.gone, p.at = false, k.moment(f, now)
		k.clock.set(p)
	}
}

// moment is the next one of a flow: its own place in the interval, the same in each.
func (k *Keeper) moment(f nat.Flow, now time.Time) time.Time {
	every := uint64(k.every)
	phase := k.hash(f) % every
	// Intervals are counted from the epoch, in wall time; now may lie before it in a test.
	within := uint64(now.UnixNano()) % every
	wait := (phase + every - within) % every
	if wait == 0 {
		wait = every
	}
	return now.Add(time.Duration(wait))
}

// hash spreads flows (FNV-1a, and a final mix for the high bits). Who can choose an address can choose its place: that
// gains a registered phone nothing.
func (k *Keeper) hash(f nat.Flow) uint64 {
	const prime = 1099511628211
	h := 14695981039346656037 ^ k.seed
	a := f.Remote.Addr().As16()
	for _, c := range a {
		h = (h ^ uint64(c)) * prime
	}
	h = (h ^ uint64(f.Remote.Port())) * prime
	h = (h ^ uint64(f.Interface)) * prime
	h = (h ^ f.Conn) * prime
	h ^= h >> 32
	h *= 0x9e3779b97f4a7c15
	return h ^ h>>29
}

// ping sends one. An OPTIONS that is still out is not followed by another: its own repeats go the same way.
func (k *Keeper) ping(p *ping, do []tu.Action) []tu.Action {
	on := k.set.Book.flows[p.flow]
	switch {
	case len(on) == 0:
		return do
	case p.flow.Transport.Reliable():
		return append(do, tu.Ping{Flow: p.flow})
	case p.ref != 0:
		return do
	}
	hop := k.set.Hop(on[0])
	if !hop.Here.Signal.IsValid() {
		return do // its listener is gone: nothing can be sent from there
	}
	k.last++
	if k.last == 0 {
		k.last++
	}
	p.ref, p.sent = k.last, k.options(p, on[0], hop)
	k.refs[p.ref] = p
	return append(do, tu.Send{Ref: p.ref, Msg: p.sent, Hop: hop})
}

// options is the question: to the phone as it wrote its Contact, from nobody in particular of its own domain (RFC 3261
// §11.1).
func (k *Keeper) options(p *ping, b *Binding, hop tu.Hop) *message.Message {
	if p.callID == "" {
		p.callID = k.ids.CallID()
	}
	p.cseq++
	uri := b.Target()
	if hop.Target != nil {
		uri = *hop.Target
	}
	m := &message.Message{
		Method: "OPTIONS", URI: uri, CallID: p.callID, CSeq: p.cseq, MaxForwards: 70,
		From: message.NameAddr{URI: message.URI{Scheme: "sip", Host: k.set.Domain}, Tag: k.tag},
		To:   message.NameAddr{URI: uri},
	}
	m.To.URI.Headers = ""
	return m
}

// answered notes that the way is open, and whether the question was edited on it.
func (k *Keeper) answered(now time.Time, ev tu.Answered) {
	p, sent := k.done(ev.Ref)
	if p == nil || p.gone {
		return
	}
	alg := echo(sent).Compare(echo(ev.Msg))
	book := k.set.Book
	book.heard(now)
	for i := range book.flows[p.flow] {
		book.Found(book.flows[p.flow][i].Token, alg)
		book.flows[p.flow][i].Answered = now
	}
}

// done ends the question of a ref and tells whose it was, and how it left.
func (k *Keeper) done(ref tu.Ref) (*ping, *message.Message) {
	p := k.refs[ref]
	if p == nil {
		return nil, nil
	}
	sent := p.sent
	delete(k.refs, ref)
	if p.ref, p.sent = 0, nil; p.gone {
		delete(k.pings, p.flow)
	}
	return p, sent
}

// echo is what an answer gives back of a request. The core has written our Via into the message that was handed to it, and
// the leak guard may have repaired it: what counts is what left.
func echo(m *message.Message) nat.Echo {
	e := nat.Echo{
		FromHost: m.From.URI.Host, FromPort: m.From.URI.Port, ToHost: m.To.URI.Host, ToPort: m.To.URI.Port,
	}
	if len(m.Via) > 0 {
		e.ViaHost, e.ViaPort = m.Via[0].Host, m.Via[0].Port
	}
	return e
}
