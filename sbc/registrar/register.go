package registrar

import (
	"net/netip"
	"strings"
	"time"

	"sallyport/nat"
	"sallyport/sbc/header"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// Register is one REGISTER on its way to the PBX and back. It is a tu.User that ends with its final answer.
type Register struct {
	set   *Settings
	ids   tu.IDs
	phase phase
	said  said

	tx     tu.TxID
	msg    *message.Message
	flow   nat.Flow
	source netip.Addr
	peer   *tu.Peer
	side   nat.Side
	aor    string
	wish   wish
	order  uint64 // among all REGISTERs, by arrival

	enlisted bool   // the Book knows that it is on its way
	mine     *entry // the binding that it refreshes, from where that was made; nil: none

	kind nat.Kind
	alg  []string

	hops      []tu.Hop
	tried     int    // hops that have been asked
	open      uint32 // bit i: hop i has not answered yet
	attemptAt time.Time
	giveUpAt  time.Time

	names   ids // of the requests to the PBX
	brought tu.Secrets

	room struct { // so that a usual REGISTER needs no more memory than this
		asked [1]asked
		hosts [4]string
		ids   [3]string
		addrs [1]netip.Addr
	}
}

type phase uint8

const (
	waiting phase = iota // for the request
	routing
	asking // the PBX
	ended
)

// hopsMost bounds the nodes that one REGISTER tries.
const hopsMost = 32

// patience is how long the PBX may take in all. The phone itself gives up after 64·T1 = 32 s (RFC 3261 §17.1.2.2, timer F);
// an answer must come before that to be of use.
const patience = 30 * time.Second

// NewRegister makes the user of a REGISTER; its first event is the Arrived.
func NewRegister(set *Settings, seed tu.Seed) *Register {
	return &Register{set: set, ids: tu.NewFewIDs(seed, set.Tags)}
}

// Deadline is when the next hop is due, or the end of patience.
func (r *Register) Deadline() time.Time {
	switch {
	case r.phase != asking:
		return time.Time{}
	case !r.attemptAt.IsZero() && r.attemptAt.Before(r.giveUpAt):
		return r.attemptAt
	}
	return r.giveUpAt
}

// Step handles one event.
func (r *Register) Step(now time.Time, ev tu.Event, do []tu.Action) []tu.Action {
	switch ev := ev.(type) {
	case tu.Arrived:
		if r.phase == waiting {
			return r.begin(now, ev, do)
		}
	case tu.Routed:
		if r.phase == routing {
			return r.routed(now, ev, do)
		}
	case tu.Trying:
		r.lives(ev.Ref)
	case tu.Answered:
		if r.phase == asking && r.isOpen(ev.Ref) {
			return r.answered(now, ev, do)
		}
	case tu.Failed:
		if r.phase == asking && r.isOpen(ev.Ref) {
			return r.failed(now, ev, do)
		}
	case tu.Hangup:
		switch r.phase {
		case ended:
		case waiting:
			r.phase = ended
			return append(do, tu.End{})
		default:
			return r.refuse(orElse(ev.Code, 503), ev.Why, "", do)
		}
	case tu.Tick:
		if r.phase == asking {
			return r.tick(now, do)
		}
	}
	return do
}

// Abort ends the registration after a panic; the Book is as the last finished Step left it, or has a part of this one's
// bindings, each of which the PBX has accepted.
func (r *Register) Abort(_ time.Time, do []tu.Action) []tu.Action {
	if r.msg != nil && r.phase != ended {
		m := message.Reply(r.msg, 500, "")
		m.To.Tag = r.ids.Tag()
		do = append(do, tu.Respond{Tx: r.tx, Side: r.side, Msg: m})
	}
	r.phase = ended
	r.delist()
	return append(do, tu.End{})
}

// begin judges the request before anybody is asked.
func (r *Register) begin(now time.Time, ev tu.Arrived, do []tu.Action) []tu.Action {
	m := ev.Msg
	r.tx, r.msg, r.flow, r.peer = ev.Tx, m, ev.Flow, ev.Peer
	r.source = ev.Flow.Remote.Addr().Unmap().WithZone("")
	if ev.Peer != nil {
		r.side = ev.Peer.Side
	}
	r.phase = routing
	book := r.set.Book
	book.arrived++
	r.order = book.arrived
	if len(book.flows[r.flow]) > 0 {
		book.heard(now)
	}
	r.giveUpAt = now.Add(patience)
	switch tags := header.Unsupported(m); {
	case len(tags) > 0:
		// "If a UAS does not understand an option-tag listed in a Require header field, it MUST respond with 420" (RFC 3261
		// §8.2.2.3); §10.3 step 2 for a registrar.
		return r.refuse(420, "", "", do, message.Header{Name: "Unsupported", Value: strings.Join(tags, ", ")})
	case m.MaxForwards == 0:
		return r.refuse(483, reason.Loop, "", do)
	}
	if r.aor = m.To.URI.AoR(r.set.Domain); r.aor == "" || m.To.URI.Scheme == "tel" {
		return r.malformed("To names no user of a domain", do)
	}
	if f := r.wish.read(m, r.room.asked[:0]); f != "" {
		return r.malformed(f, do)
	}
	r.wish.assign(book, r.set.Names, r.aor, m.CallID, r.source)
	if code, text := r.judge(); code != 0 {
		return r.noCapacity(code, text, do)
	}
	r.look()
	r.enlist()
	return append(do, tu.Route{Msg: m, Peer: ev.Peer})
}

// malformed is the 400 that says why (RFC 3261 §21.4.1: "The Reason-Phrase SHOULD identify the syntax problem").
func (r *Register) malformed(f flaw, do []tu.Action) []tu.Action {
	do = r.note(400, reason.Malformed, string(f), do)
	return r.refuse(400, reason.Malformed, string(f), do)
}

// routed takes the plan.
func (r *Register) routed(now time.Time, ev tu.Routed, do []tu.Action) []tu.Action {
	if len(ev.Hops) == 0 {
		r.vouch()
		if ev.Wait > 0 {
			return r.later(ev, do)
		}
		return r.refuse(orElse(ev.Code, 503), ev.Why, "", r.note(orElse(ev.Code, 503), ev.Why, "", do))
	}
	r.hops = ev.Hops[:min(len(ev.Hops), hopsMost)]
	r.names = r.identify()
	r.notice()
	r.set.Book.figures.Passed++
	r.phase = asking
	return r.nextHop(now, do)
}

// identify makes the ids towards the PBX. They are a function of the phone's, so that a challenged request and its retry,
// and a refresh, are one sequence to the PBX; those of a refresh stand in the Book.
func (r *Register) identify() ids {
	who := r.aor
	if r.msg.From.URI != r.msg.To.URI {
		who = r.msg.From.URI.AoR(r.set.Domain)
	}
	callID, tag := r.msg.CallID, r.msg.From.Tag
	for i := range r.wish.list {
		if e := r.wish.list[i].entry; e != nil && e.b.CallID == callID && e.ids.fromTag == tag && e.ids.who == who {
			return e.ids
		}
	}
	if n := r.set.Book.names.get(callID); n.callID != "" && n.fromTag == tag && n.who == who {
		return n
	}
	return ids{
		fromTag: tag, who: who,
		callID: r.set.Names.CallID("REGISTER", callID, tag, who),
		tag:    r.set.Names.Tag(r.set.Tags, "REGISTER", callID, tag, who),
	}
}

// nextHop asks the next node; the caller has seen that there is one.
func (r *Register) nextHop(now time.Time, do []tu.Action) []tu.Action {
	i := r.tried
	hop := r.hops[i]
	r.tried++
	r.open |= 1 << i
	r.attemptAt = time.Time{}
	if r.tried < len(r.hops) && hop.Peer.AttemptTimeout > 0 {
		r.attemptAt = now.Add(hop.Peer.AttemptTimeout)
	}
	return append(do, tu.Send{Ref: tu.Ref(i + 1), Msg: r.outgoing(hop), Hop: hop, Hide: &r.brought})
}

func (r *Register) isOpen(ref tu.Ref) bool {
	return ref >= 1 && int(ref) <= r.tried && r.open&(1<<(ref-1)) != 0
}

// lives hears a provisional answer: the node that is asked now lives, and is waited for.
func (r *Register) lives(ref tu.Ref) {
	if int(ref) == r.tried {
		r.attemptAt = time.Time{}
	}
}

// tick tries the next node, or ends the wait.
func (r *Register) tick(now time.Time, do []tu.Action) []tu.Action {
	switch {
	case !now.Before(r.giveUpAt):
		return r.exhausted(reason.NoPBX, do)
	case !r.attemptAt.IsZero() && !now.Before(r.attemptAt):
		// The silent one stays open: if it answers first after all, its answer counts.
		return r.nextHop(now, do)
	}
	return do
}

// failed hears that a node gives no answer.
func (r *Register) failed(now time.Time, ev tu.Failed, do []tu.Action) []tu.Action {
	switch ev.Why {
	case reason.Leak, reason.Internal:
		return r.refuse(500, ev.Why, "", r.note(500, ev.Why, "", do))
	case reason.Overload:
		return r.exhausted(reason.Overload, do) // our own table is full: the next node would fare no better
	default:
		return r.another(now, ev.Ref, do)
	}
}

// another goes on to the next node when one is out.
func (r *Register) another(now time.Time, ref tu.Ref, do []tu.Action) []tu.Action {
	r.open &^= 1 << (ref - 1)
	switch {
	case int(ref) != r.tried:
		if r.open != 0 {
			return do // an earlier one fell out while the current one is asked
		}
	case r.tried < len(r.hops):
		return r.nextHop(now, do)
	}
	if r.open != 0 {
		return do // nobody is left to ask, but one of those asked may answer yet
	}
	return r.exhausted(reason.NoPBX, do)
}

// answered hears a node.
func (r *Register) answered(now time.Time, ev tu.Answered, do []tu.Action) []tu.Action {
	m := ev.Msg
	switch {
	case m.Status < 200:
		r.lives(ev.Ref)
		return do
	case m.Status < 300:
		r.hear(m, r.hops[ev.Ref-1].ID)
		return r.accepted(now, ev, do)
	case m.Status < 400, m.Status == 503:
		// A redirection names places inside, which no phone can reach; a node that is out of service says nothing of the
		// others.
		return r.another(now, ev.Ref, do)
	}
	r.hear(m, r.hops[ev.Ref-1].ID)
	return r.rejected(now, m, do)
}
