package call

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// Provisional responses are made reliable (RFC 3262) on each leg by itself. What the callee sends reliably is acknowledged at
// once where the caller knows nothing of it, and with the caller's own PRACK where it does. What the callee sends without,
// the caller gets reliably if it requires that. Each early dialog has its own numbers: it is another user agent.

// assurance is what a peer wants of the provisional responses to its INVITE.
type assurance uint8

const (
	unassured assurance = iota
	supported           // Supported: 100rel
	required            // Require: 100rel
)

// assuranceOf reads it from an INVITE.
func assuranceOf(m *message.Message) assurance {
	switch {
	case has(m, "Require", "100rel"):
		return required
	case has(m, "Supported", "100rel"):
		return supported
	default:
		return unassured
	}
}

// steady is what reliable provisional responses have made of an early dialog.
type steady struct {
	heard    uint32   // the RSeq of the callee's last one in order; 0: none
	said     uint32   // that of our last one to the caller; 0: none
	open     *pledge  // ours, which the caller has not acknowledged
	later    []pledge // those that wait for it
	complete [2]bool  // by leg: offer and answer of the INVITE are complete there, before its final answer
	caller   proposal // the caller's description in force in this dialog; empty: the INVITE's
}

// pledge is a reliable provisional response to the caller.
type pledge struct {
	msg         *message.Message
	theirs      uint32   // the RSeq of the callee's; 0: its PRACK is ours to answer, the callee awaits none
	said        proposal // the callee's description in it; it is an offer where the INVITE had none
	next, until time.Time
	wait        time.Duration
}

// The times of RFC 3262 §3: "retransmitted with an exponential backoff … starts at T1 seconds, and doubles for each
// retransmission"; "if … retransmitted for 64*T1 seconds without reception of a corresponding PRACK, the UAS SHOULD reject
// the original request with a 5xx response".
const (
	t1       = 500 * time.Millisecond
	maxLater = 4
	// maxPracks bounds the PRACKs of ours that a callee has not answered. What comes beyond is not heard: it comes again.
	maxPracks = 16
)

// steadily is the state of a pair's reliable responses, made if there is none.
func (p *pair) steadily() *steady {
	if p.steady == nil {
		p.steady = &steady{}
	}
	return p.steady
}

// complete reports whether the INVITE's offer and answer are complete on a leg of an early dialog.
func (p *pair) complete(leg int) bool { return p.steady != nil && p.steady.complete[leg] }

// rseqOf is the number of a reliable provisional response, 0 of any other: "contains a Require header field with the option
// tag 100rel" (RFC 3262 §4) and an RSeq "between 1 and 2**32 - 1" (§7.1).
func rseqOf(m *message.Message) uint32 {
	v, ok := m.Get("RSeq")
	if !ok || !has(m, "Require", "100rel") {
		return 0
	}
	n, err := strconv.ParseUint(v, 10, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}

// inOrder judges a reliable response of the callee: "if its RSeq is not one higher than the value of the sequence number,
// that response MUST NOT be acknowledged with a PRACK, and MUST NOT be processed further" (RFC 3262 §4).
func (p *pair) inOrder(rseq uint32) bool {
	s := p.steadily()
	if s.heard != 0 && rseq != s.heard+1 {
		return false
	}
	s.heard = rseq
	return true
}

// prack acknowledges a reliable response of the callee by ourselves.
func (c *Call) prack(i int, rseq uint32, do []tu.Action) []tu.Action {
	d := &c.pairs[i].dlg[callee]
	m := d.Request("PRACK", 0)
	m.Headers = append(m.Headers, c.rack(rseq))
	c.lastHand(callee, nil, m)
	return append(do, tu.Send{Ref: c.newBye(), Msg: m, Hop: c.hopOf(callee, d), Hide: &c.legs[caller].brought})
}

// rack tells the callee which of its responses a PRACK is for (RFC 3262 §7.2).
func (c *Call) rack(rseq uint32) message.Header {
	v := strconv.FormatUint(uint64(rseq), 10) + " " + strconv.FormatUint(uint64(c.cseq), 10) + " INVITE"
	return message.Header{Name: "RAck", Value: v}
}

// pledges sends a provisional response reliably, or puts it off: "The UAS MUST NOT send a second reliable provisional
// response until the first is acknowledged" (RFC 3262 §3).
func (c *Call) pledges(now time.Time, i int, x pledge, do []tu.Action) []tu.Action {
	s := c.pairs[i].steadily()
	if s.open != nil {
		if len(s.later) >= maxLater { // of those that wait one without a description tells least
			least := max(0, slices.IndexFunc(s.later, func(x pledge) bool { return x.said.empty() }))
			s.later = slices.Delete(s.later, least, least+1)
		}
		s.later = append(s.later, x)
		return do
	}
	if s.said == 0 {
		s.said = c.ids.Number()>>1 + 1 // "uniformly from 1 to 2**31 - 1"
	} else {
		s.said++
	}
	x.msg.Headers = append(x.msg.Headers, message.Header{Name: "Require", Value: "100rel"},
		message.Header{Name: "RSeq", Value: strconv.FormatUint(uint64(s.said), 10)})
	x.wait, x.until = t1, now.Add(64*t1)
	x.next = now.Add(x.wait)
	s.open = &x
	return c.pledge(&x, do)
}

// pledge is the action that sends one; each copy is a message of its own.
func (c *Call) pledge(x *pledge, do []tu.Action) []tu.Action {
	copied := *x.msg
	return append(do, tu.Respond{Tx: c.tx, Side: c.legs[caller].peer.Side, Msg: &copied, Hide: &c.legs[callee].brought})
}

// pledgeDue is when the next reliable response goes out again; zero: never.
func (p *pair) pledgeDue() (t time.Time) {
	if p.steady != nil && p.steady.open != nil {
		t = p.steady.open.next
	}
	return t
}

// tickPledges sends again what has no PRACK yet, and gives up in the end.
func (c *Call) tickPledges(now time.Time, do []tu.Action) []tu.Action {
	if c.final {
		return do // "SHOULD NOT continue to retransmit" (RFC 3262 §3)
	}
	for i := range c.pairs {
		due := c.pairs[i].pledgeDue()
		if due.IsZero() || now.Before(due) {
			continue
		}
		x := c.pairs[i].steady.open
		if !now.Before(x.until) {
			return c.refuse(now, 504, reason.Timeout, legNames[caller], do)
		}
		x.wait *= 2
		x.next = now.Add(x.wait)
		if x.next.After(x.until) {
			x.next = x.until
		}
		do = c.pledge(x, do)
	}
	return do
}

// waitsForPrack reports whether the caller's 2xx must wait: "unless the final response is 2xx and any of the
// unacknowledged reliable provisional responses contained a session description" (RFC 3262 §3).
func (p *pair) waitsForPrack() bool {
	return p.steady != nil && p.steady.open != nil && !p.steady.open.said.empty()
}

// withhold keeps a callee's 2xx until the caller has acknowledged what it was told before.
func (c *Call) withhold(ev tu.Answered) {
	for i := range c.kept {
		if c.kept[i].Msg.To.Tag == ev.Msg.To.Tag {
			return // a copy
		}
	}
	c.kept = append(c.kept, ev) // there are as many dialogs at most
}

// release takes the 2xx out that was held for a pair.
func (c *Call) release(i int) (ev tu.Answered, held bool) {
	for k := range c.kept {
		if ev = c.kept[k]; c.pairOf(ev.Msg.To.Tag) == i {
			c.kept = slices.Delete(c.kept, k, k+1)
			return ev, true
		}
	}
	return ev, false
}

// dropKept hangs up what is still held when the call is another fork's, or has ended.
func (c *Call) dropKept(do []tu.Action) []tu.Action {
	kept := c.kept
	c.kept = nil
	for i := range kept {
		do = c.hangUpFork(c.attemptOf(kept[i].Ref), kept[i].Msg, do)
	}
	return do
}

// disown lets the responses of a hop be forgotten that was given up: nobody there awaits a PRACK any more.
func (c *Call) disown() {
	for i := range c.pairs {
		s := c.pairs[i].steady
		if s == nil {
			continue
		}
		s.later = nil
		if s.open != nil {
			s.open.theirs = 0
		}
	}
}

// rackOf reads RAck: the number of a response, and of which request (RFC 3262 §7.2).
func rackOf(m *message.Message) (rseq, cseq uint32, method string, ok bool) {
	v, _ := m.Get("RAck")
	f := strings.Fields(v)
	if len(f) != 3 {
		return 0, 0, "", false
	}
	a, err1 := strconv.ParseUint(f[0], 10, 32)
	b, err2 := strconv.ParseUint(f[1], 10, 32)
	return uint32(a), uint32(b), f[2], err1 == nil && err2 == nil
}
