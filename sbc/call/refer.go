package call

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"time"

	"sallyport/sbc/header"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// A REFER (RFC 3515) asks the peer of the other leg to call somebody. It goes to that peer (pass), is done by the gate itself
// (local, see transfer.go), or is refused. Of one that is passed, the implicit subscription is passed with it: a usage of the
// dialog of its own, which outlives the call that it was asked in (RFC 5057 §3.1).

// moves is what a call knows of transfers. A call without any has none.
type moves struct {
	subs   []subscription // of REFERs that were passed
	count  int            // transfers by ourselves so far
	third  *third         // the leg that one of them calls
	past   []*third       // earlier ones, whose INVITEs are still to be answered
	taker  *taker         // an INVITE that takes a leg's place
	stale  []stale        // re-INVITEs of ours to legs that are none any more
	takers tu.Ref         // INVITEs that have taken, or wanted, a leg's place so far
}

// subscription is what was asked for by a REFER that was passed.
type subscription struct {
	from, pair int       // leg that refers, and its dialog
	near, far  uint32    // CSeq of the REFER on its leg, and on the other one
	until      time.Time // when it is forgotten; zero: the REFER has no answer yet, and the call lives
}

// maxRefers bounds the subscriptions of one call, maxTransfers the transfers that we do.
const (
	maxRefers    = 4
	maxTransfers = 5
)

// afterlife is how long a subscription lives when its call has ended: 64·T1, what its last NOTIFY may take. A transferee that
// still rings then has been watched long enough.
const afterlife = 32 * time.Second

// A subscription whose last NOTIFY was lost must not stand in the way of the next REFER for ever: its notifier says how long it
// lives (RFC 3515 §2.4.4), and referLife is how long it does where nothing is said.
const (
	referLife    = 3 * time.Minute
	maxReferLife = time.Hour
)

func (c *Call) moving() *moves {
	if c.moves == nil {
		c.moves = &moves{}
	}
	return c.moves
}

// transferOf says what becomes of a REFER of a leg's peer. Towards providers and phones it is theirs to say what they can do.
func (c *Call) transferOf(from int) tu.Transfer {
	if near := c.legs[from].peer; near.Kind != tu.KindNode {
		return near.Referral
	}
	return c.legs[1-from].peer.Transfer
}

// referArrived takes a REFER within a dialog.
func (c *Call) referArrived(now time.Time, from, i int, ev tu.Arrived, do []tu.Action) []tu.Action {
	m := ev.Msg
	r, err := header.ParseRefer(m)
	if err != nil {
		return c.answer(from, ev.Tx, m, 400, do)
	}
	switch r.URI.Scheme {
	case "sip", "sips", "tel":
	default:
		return c.answer(from, ev.Tx, m, 416, do)
	}
	switch way := c.transferOf(from); {
	case way == tu.TransferReject:
		return c.referRefused(from, ev, "a transfer is not allowed here: trunks[].transfer and .referral, phones.transfer", do)
	case r.Method != "INVITE":
		return c.referRefused(from, ev, "it asks for a request that is no call", do)
	case way == tu.TransferLocal:
		return c.refer(now, from, i, r, ev, do)
	}
	if _, ok := c.referTo(from, r); !ok {
		return c.referRefused(from, ev, "it names a dialog that the other side does not know", do)
	}
	if c.moves != nil && len(c.moves.subs) >= maxRefers {
		return c.answer(from, ev.Tx, m, 491, do)
	}
	do = c.pass(now, from, i, ev, proposal{}, do)
	mv := c.moving()
	mv.subs = append(mv.subs, subscription{from: from, pair: i, near: m.CSeq, far: c.relays[len(c.relays)-1].seq})
	return do
}

// referRefused declines a REFER and says why to who asks.
func (c *Call) referRefused(from int, ev tu.Arrived, text string, do []tu.Action) []tu.Action {
	l := &c.legs[from]
	do = append(do, tu.Note{
		Source: ev.Flow.Remote, Side: l.peer.Side, Realm: l.peer.Realm, Method: "REFER", Code: 603, Why: reason.Transfer, Text: text,
	})
	return c.answer(from, ev.Tx, ev.Msg, 603, do)
}

// referAnswered hears the far side's final answer to a REFER that was passed: a 2xx makes a subscription, unless both have said
// that there is to be none (RFC 4488 §4).
func (c *Call) referAnswered(r *relay, code int, m *message.Message) {
	if r.req.Method != "REFER" || c.moves == nil {
		return
	}
	if code < 300 && m != nil && !r.lost {
		c.pairs[r.pair].dlg[1-r.from].Refresh(m) // it is a target refresh request (RFC 5057 §5.4)
		c.pairs[r.pair].dlg[r.from].Refresh(r.req)
		if without, said := m.Get("Refer-Sub"); !said || !strings.EqualFold(strings.TrimSpace(without), "false") {
			c.prolong(slices.IndexFunc(c.moves.subs, r.opened), referLife)
			return
		}
	}
	c.moves.subs = slices.DeleteFunc(c.moves.subs, r.opened)
}

// opened reports whether a subscription is that of a REFER.
func (r *relay) opened(s subscription) bool {
	return s.from == r.from && s.pair == r.pair && s.far == r.seq
}

// prolong lets a subscription live on from now. That of a call that is over has its time already.
func (c *Call) prolong(k int, by time.Duration) {
	if k >= 0 && c.phase != ending {
		c.moves.subs[k].until = c.at.Add(by)
	}
}

// expires is how long a notifier says that its subscription lives.
func expires(state string) time.Duration {
	_, rest, _ := strings.Cut(state, ";")
	for p := range strings.SplitSeq(rest, ";") {
		k, v, _ := strings.Cut(p, "=")
		if n, err := strconv.ParseUint(strings.TrimSpace(v), 10, 32); err == nil && strings.EqualFold(strings.TrimSpace(k), "expires") {
			return min(time.Duration(n)*time.Second+afterlife, maxReferLife)
		}
	}
	return referLife
}

// subscribed finds the subscription that a NOTIFY in a pair's dialog belongs to, -1 if there is none. One without id is about
// the first REFER (RFC 3515 §2.4.6).
func (c *Call) subscribed(i int, m *message.Message) int {
	if c.moves == nil || m.Method != "NOTIFY" {
		return -1
	}
	is, id := referEvent(m)
	if !is {
		return -1
	}
	return slices.IndexFunc(c.moves.subs, func(s subscription) bool {
		return s.pair == i && (id == "" || id == strconv.FormatUint(uint64(s.far), 10))
	})
}

// referEvent reports whether a message is about a REFER, and which.
func referEvent(m *message.Message) (is bool, id string) {
	v, _ := m.Get("Event")
	name, rest, _ := strings.Cut(v, ";")
	if !strings.EqualFold(strings.TrimSpace(name), "refer") {
		return false, ""
	}
	for p := range strings.SplitSeq(rest, ";") {
		if k, v, _ := strings.Cut(p, "="); strings.EqualFold(strings.TrimSpace(k), "id") {
			id = strings.TrimSpace(v)
		}
	}
	return true, id
}

// passNotify writes a NOTIFY about a REFER for the one who referred: the id is the number of the REFER on that leg, and of the
// body the status line is all that is told, for what else a sipfrag may hold is of the other side.
func (c *Call) passNotify(from int, in, out *message.Message) {
	is, id := referEvent(in)
	if !is {
		return
	}
	if len(out.Body) > 0 && fragment(in) {
		line, _, _ := bytes.Cut(out.Body, []byte("\r\n"))
		out.Body = append(bytes.Clone(line[:min(len(line), fragmentMost)]), "\r\n"...)
	}
	_, i := c.find(in)
	k := c.subscribed(i, in)
	if k < 0 || c.moves.subs[k].from == from {
		return
	}
	if id != "" {
		out.Set("Event", "refer;id="+strconv.FormatUint(uint64(c.moves.subs[k].near), 10))
	}
	state, _ := in.Get("Subscription-State")
	if name, _, _ := strings.Cut(state, ";"); strings.EqualFold(strings.TrimSpace(name), "terminated") {
		c.moves.subs = slices.Delete(c.moves.subs, k, k+1)
	} else {
		c.prolong(k, expires(state))
	}
}

// fragmentMost bounds a status line that is passed on.
const fragmentMost = 128

func fragment(m *message.Message) bool {
	kind, _, _ := strings.Cut(contentType(m), ";")
	return strings.EqualFold(strings.TrimSpace(kind), "message/sipfrag")
}

// apart reports whether a request belongs to another usage of the dialog than the call: the BYE does not concern it (RFC 5057
// §4.1).
func (r *relay) apart() bool {
	if r.req.Method == "REFER" {
		return true
	}
	is, _ := referEvent(r.req)
	return is && r.req.Method == "NOTIFY"
}

// outlive gives the subscriptions of a call that a peer has ended their time.
func (c *Call) outlive(now time.Time) {
	if c.moves == nil {
		return
	}
	for k := range c.moves.subs {
		c.moves.subs[k].until = now.Add(afterlife)
	}
}

// forgetSubs ends the subscriptions whose time has come; all of them where the gate ends the call.
func (c *Call) forgetSubs(now time.Time, all bool) {
	if c.moves == nil {
		return
	}
	c.moves.subs = slices.DeleteFunc(c.moves.subs, func(s subscription) bool {
		return all || !s.until.IsZero() && !now.Before(s.until)
	})
}
