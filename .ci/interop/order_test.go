//go:build interop

package interop

import (
	"flag"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

var times = flag.Int("times", 200, "how often each order is proven (with -full 10,000 times)")

// The pace is far below the load at which the gate refuses calls to protect itself; within a burst calls overlap.
const (
	burst = 10
	pause = 16 * time.Millisecond
)

// exam makes calls and notes what came out of order. Both parties' goroutines use it.
type exam struct {
	mu       sync.Mutex
	invite   map[string]bool // by Call-ID at the PBX: its INVITE has arrived
	ack      map[string]bool // by Call-ID at the PBX: the first ACK has arrived
	ringing  map[string]bool // by Call-ID at the provider: 180 has arrived
	answered map[string]bool // by Call-ID at the provider: 200 to CANCEL or INVITE has arrived
	over     map[string]bool // by Call-ID at the provider
	wrong    []string        // what came out of order
	refused  []string        // answers that nobody meant to give
	ends     chan struct{}
}

func newExam() *exam {
	return &exam{
		invite: map[string]bool{}, ack: map[string]bool{}, ringing: map[string]bool{}, answered: map[string]bool{},
		over: map[string]bool{}, ends: make(chan struct{}, *times),
	}
}

// fault notes a breach of order.
func (e *exam) fault(format string, args ...any) {
	e.wrong = append(e.wrong, fmt.Sprintf(format, args...))
}

// refusal notes an answer that has no place here.
func (e *exam) refusal(m message) {
	e.refused = append(e.refused, fmt.Sprintf("%d to %s %d of %s", m.status(), m.method(), m.seq(), m.get("Call-ID")))
}

// end lets the next call begin.
func (e *exam) end(callID string) {
	if !e.over[callID] {
		e.over[callID] = true
		e.ends <- struct{}{}
	}
}

// leg is what the provider says in call i: all requests of a call but the dialog's.
type leg struct{ id, uri, via, from, to string }

func newLeg(run string, i int) leg {
	return leg{
		id:   fmt.Sprintf("%s-%d@%s", run, i, provider),
		uri:  fmt.Sprintf("sip:+49301%05d@%s:5080", i, gateOutside),
		via:  fmt.Sprintf("%s:5060;branch=z9hG4bK-%s-%d", provider, run, i),
		from: fmt.Sprintf("<sip:+49401234567@%s>;tag=t%d", provider, i),
		to:   fmt.Sprintf("<sip:+49301%05d@%s>", i, gateOutside),
	}
}

func (l leg) invite(offer string) string {
	return request("INVITE", l.uri, l.via, l.from, l.to, l.id, 1, offer)
}
func (l leg) cancel() string { return request("CANCEL", l.uri, l.via, l.from, l.to, l.id, 1, "") }

// within is a request in the dialog that the response m established.
func within(m message, method string, seq int, sdp string) string {
	id := m.get("Call-ID")
	name, _, _ := strings.Cut(id, "@")
	via := fmt.Sprintf("%s:5060;branch=z9hG4bK-%s-%d%s", provider, name, seq, method)
	return request(method, m.target(), via, m.get("From"), m.get("To"), id, seq, sdp)
}

// refused acknowledges a refusal: same branch, Request-URI of the INVITE (RFC 3261 §17.1.1.3).
func refused(m message) string {
	user, _, _ := strings.Cut(strings.TrimPrefix(m.get("To"), "<"), ">")
	return request("ACK", user+":5080", strings.Replace(m.get("Via"), "SIP/2.0/UDP ", "", 1), m.get("From"), m.get("To"), m.get("Call-ID"), m.seq(), "")
}

// run makes the calls, a burst at a time, and waits for their ends. begin is what the provider sends for call i, back to
// back.
func (e *exam) run(t *testing.T, n int, provider *party, begin func(i int) []string) {
	t.Helper()
	for i := range n {
		provider.send(begin(i)...)
		if i%burst == burst-1 {
			time.Sleep(pause)
		}
	}
	for done := 0; done < n; done++ {
		select {
		case <-e.ends:
		case <-time.After(10 * time.Second):
			t.Errorf("no call has ended for 10 s: %d begun, %d ended", n, done)
			n = 0
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	t.Logf("%d out of order", len(e.wrong))
	for what, list := range map[string][]string{"out of order": e.wrong, "refused": e.refused} {
		if len(list) > 0 {
			t.Errorf("%d %s; first: %q", len(list), what, list[:min(3, len(list))])
		}
	}
}

// hear wraps a party's side of an exam.
func (e *exam) hear(side func(message) []string) func(message) []string {
	return func(m message) []string {
		e.mu.Lock()
		defer e.mu.Unlock()
		return side(m)
	}
}

// road is where the two parties send to.
type road struct{ provider, pbx string }

// exams are the orders that are proven.
var exams = []struct {
	name string
	take func(t *testing.T, w *world, via road, n int)
}{
	{"CANCEL behind its INVITE", cancelBehindInvite},
	{"200 behind 180", answerBehindRinging},
	{"re-INVITE behind ACK", reinviteBehindAck},
}

// TestOrder: what is sent back to back is acted on and passed on in that order, every time.
func TestOrder(t *testing.T) {
	if *full {
		*times = max(*times, 10_000)
	}
	for _, exam := range exams {
		t.Run(exam.name, func(t *testing.T) {
			w := newWorld(t)
			g := w.gate(t, settings{log: "warn"})
			exam.take(t, w, road{gateOutside + ":5080", gateInside + ":5080"}, *times)
			g.recorded(t, 0, *times)
			if t.Failed() {
				t.Log(g.tail())
			}
			g.stop(t)
		})
	}
}

// cancelBehindInvite: 481 to a CANCEL says that it overtook its INVITE; so does a CANCEL that the PBX hears first.
func cancelBehindInvite(t *testing.T, w *world, via road, n int) {
	e := newExam()
	w.party(t, nsInside, node1+":5060", via.pbx, e.hear(func(m message) []string {
		id := m.get("Call-ID")
		switch m.method() {
		case "INVITE":
			e.invite[id] = true
			return []string{m.reply("180 Ringing", node1+":5060", "")}
		case "CANCEL":
			if !e.invite[id] {
				e.fault("CANCEL before INVITE at the PBX: %s", id)
			}
			invite := message{strings.Replace(m.text, m.get("CSeq"), fmt.Sprint(m.seq(), " INVITE"), 1)}
			return []string{m.reply("200 OK", node1+":5060", ""), invite.reply("487 Request Terminated", node1+":5060", "")}
		}
		return nil
	}))
	caller := w.party(t, nsOutside, provider+":5060", via.provider, e.hear(func(m message) []string {
		id := m.get("Call-ID")
		switch {
		case m.status() < 200:
			return nil
		case m.method() == "CANCEL":
			if m.status() != 200 { // 481: the CANCEL was looked at before its INVITE
				e.fault("%d to the CANCEL of %s", m.status(), id)
			}
			e.answered[id] = true
			if e.ringing[id] {
				e.end(id)
			}
			return nil
		case m.status() != 487:
			e.refusal(m)
		}
		e.ringing[id] = true // the INVITE has its end; the call is over when the CANCEL has its own
		if e.answered[id] {
			e.end(id)
		}
		return []string{refused(m)}
	}))
	e.run(t, n, caller, func(i int) []string {
		l := newLeg("cancel", i)
		return []string{l.invite(sdp(provider, 1, "sendrecv")), l.cancel()}
	})
}

// answerBehindRinging: the provider hears 180 before 200.
func answerBehindRinging(t *testing.T, w *world, via road, n int) {
	e := newExam()
	w.party(t, nsInside, node1+":5060", via.pbx, e.hear(answering(node1)))
	caller := w.party(t, nsOutside, provider+":5060", via.provider, e.hear(func(m message) []string {
		id := m.get("Call-ID")
		switch {
		case m.status() == 0 || m.status() == 100:
			return nil
		case m.method() == "BYE":
			e.end(id)
			return nil
		case m.status() == 180:
			if e.answered[id] {
				e.fault("180 after 200: %s", id)
			}
			e.ringing[id] = true
			return nil
		case m.status() != 200:
			e.refusal(m)
			e.end(id)
			return []string{refused(m)}
		}
		if !e.ringing[id] {
			e.fault("200 before 180: %s", id)
		}
		if e.answered[id] { // a repeat: its ACK was lost
			return []string{within(m, "ACK", 1, "")}
		}
		e.answered[id] = true
		return []string{within(m, "ACK", 1, ""), within(m, "BYE", 2, "")}
	}))
	e.run(t, n, caller, func(i int) []string { return []string{newLeg("answer", i).invite(sdp(provider, 1, "sendrecv"))} })
}

// answering is a PBX that rings and answers in one breath.
func answering(address string) func(message) []string {
	contact := address + ":5060"
	return func(m message) []string {
		switch m.method() {
		case "INVITE":
			if m.inDialog() {
				return []string{m.reply("200 OK", contact, sdp(address, 2, "recvonly"))}
			}
			return []string{m.reply("180 Ringing", contact, ""), m.reply("200 OK", contact, sdp(address, 1, "sendrecv"))}
		case "BYE", "OPTIONS":
			return []string{m.reply("200 OK", contact, "")}
		}
		return nil
	}
}

// reinviteBehindAck: every other call leaves the offer to the callee, so that its ACK carries the answer and has to reach
// the PBX before the re-INVITE; in the rest the gate itself must have taken the ACK before it looks at the re-INVITE.
func reinviteBehindAck(t *testing.T, w *world, via road, n int) {
	e := newExam()
	pbx := answering(node1)
	w.party(t, nsInside, node1+":5060", via.pbx, e.hear(func(m message) []string {
		id := m.get("Call-ID")
		switch {
		case m.method() == "ACK":
			e.ack[id] = true
		case m.method() == "INVITE" && m.inDialog() && !e.ack[id]:
			e.fault("re-INVITE before ACK at the PBX: %s", id)
		}
		return pbx(m)
	}))
	caller := w.party(t, nsOutside, provider+":5060", via.provider, e.hear(func(m message) []string {
		id := m.get("Call-ID")
		answer := ""
		if strings.HasPrefix(id, "late") {
			answer = sdp(provider, 1, "sendrecv")
		}
		switch {
		case m.status() < 200:
			return nil
		case m.method() == "BYE":
			e.end(id)
			return nil
		case m.status() != 200:
			e.refusal(m) // 491 or 500: the re-INVITE was looked at before the ACK
			e.end(id)
			return nil
		case m.seq() == 1 && e.answered[id]:
			return []string{within(m, "ACK", 1, answer)}
		case m.seq() == 1:
			e.answered[id] = true
			return []string{within(m, "ACK", 1, answer), within(m, "INVITE", 2, sdp(provider, 2, "sendonly"))}
		}
		return []string{within(m, "ACK", 2, ""), within(m, "BYE", 3, "")}
	}))
	e.run(t, n, caller, func(i int) []string {
		if i%2 == 1 {
			return []string{newLeg("late", i).invite("")}
		}
		return []string{newLeg("early", i).invite(sdp(provider, 1, "sendrecv"))}
	})
}
