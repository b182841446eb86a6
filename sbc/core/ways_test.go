package core

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/transaction"
	"sallyport/sbc/tu"
)

var standIn = nat.Flow{Interface: 2, Remote: netip.MustParseAddrPort("10.0.0.11:5060")}

// fakeWays knows two nodes that stand in for each other.
type fakeWays struct {
	down      map[netip.AddrPort]bool
	heard     map[netip.AddrPort]time.Time
	left      []string
	codes     []string
	by        []tu.UserID // who sent what left
	unreached []nat.Flow
	stays     string // method of requests that may not leave
}

func (w *fakeWays) MayLeave(_ time.Time, _ tu.UserID, a *tu.Send) bool {
	return a.Msg.Method != w.stays
}

func (w *fakeWays) Left(_ time.Time, id tu.UserID, a *tu.Send) {
	w.by = append(w.by, id)
	w.left = append(w.left, a.Msg.Method+" "+a.Hop.Flow.Remote.Addr().String())
}

func (w *fakeWays) Heard(now time.Time, from nat.Flow, method string, code int) {
	w.heard[from.Remote], w.codes = now, append(w.codes, method+" "+strconv.Itoa(code))
}

func (w *fakeWays) Unreached(_ time.Time, to nat.Flow) { w.unreached = append(w.unreached, to) }

func (w *fakeWays) Silent(at netip.AddrPort, since time.Time) bool { return w.heard[at].Before(since) }

func (w *fakeWays) Detour(_ time.Time, m *message.Message, hop tu.Hop, vain netip.AddrPort) (*message.Message, tu.Hop) {
	if _, routed := m.Get("Route"); !routed || hop.Flow.Remote != vain && !w.down[hop.Flow.Remote] {
		return m, hop
	}
	if w.down[standIn.Remote] || standIn.Remote == vain {
		return m, hop
	}
	out := *m
	out.Headers = []message.Header{{Name: "Route", Value: "<sip:10.0.0.11;lr>"}}
	hop.Flow = standIn
	return &out, hop
}

// within is a request of a dialog of ours through the first node.
func within(method string, cseq uint32) *message.Message {
	m := outgoing(method, "d1", "ours", cseq)
	m.To.Tag = "theirs"
	m.Add("Route", "<sip:10.0.0.10;lr>")
	return m
}

// wayRig has one user, which holds a dialog and sends what it is given when it is told to.
func wayRig(t *testing.T) (*rig, *fakeWays, func(do ...tu.Action)) {
	r := newRig(t)
	w := &fakeWays{down: map[netip.AddrPort]bool{}, heard: map[netip.AddrPort]time.Time{}}
	r.cfg.Ways = w
	r.script = onArrival(func(*actor) []tu.Action {
		return []tu.Action{tu.OpenDialog{Side: nat.Inside, CallID: "d1", Local: "ours", Source: inner.Remote.Addr()}}
	})
	r.hear(outer, request("MESSAGE", "c", "1", ""))
	return r, w, func(do ...tu.Action) {
		r.script = func(_ *actor, _ time.Time, ev tu.Event) []tu.Action {
			if _, told := ev.(tu.Tick); !told {
				return nil
			}
			return do
		}
		r.Tell(r.users[0].id, tu.Tick{})
		r.settle(r.now)
		r.script = nil
	}
}

func sends(ref tu.Ref, m *message.Message) tu.Send {
	return tu.Send{Ref: ref, Msg: m, Hop: hop(nat.Inside)}
}

func (r *rig) over() {
	r.script = func(*actor, time.Time, tu.Event) []tu.Action { return []tu.Action{tu.End{}} }
	r.Tell(r.users[0].id, tu.Tick{})
	r.settle(r.now)
	r.pass(5 * time.Minute)
}

// TestAnotherNodeIsAskedOnce: a request within a dialog that gets nothing from its node goes by another one at once, the same but for
// its branch and route; if that fails too the user hears of it. From then on the dialog keeps to the other one, ACKs as well.
func TestAnotherNodeIsAskedOnce(t *testing.T) {
	for _, how := range []string{"unreachable", "silent"} {
		r, w, do := wayRig(t)
		do(sends(1, within("BYE", 5)))
		first := r.find("BYE")
		fail := func(f nat.Flow) {
			if how == "unreachable" {
				r.unreachable(r.now, f)
			} else {
				r.pass(32 * time.Second)
			}
		}
		fail(inner)
		var second packet
		for _, p := range r.sent {
			if p.to.Remote == standIn.Remote {
				second = p
				break
			}
		}
		if second.field("Route") != "<sip:10.0.0.11;lr>" || first.field("Route") != "<sip:10.0.0.10;lr>" || second.field("CSeq") != "5 BYE" ||
			second.field("Via") == first.field("Via") || second.field("From") != first.field("From") || second.field("Call-ID") != "d1" {
			t.Errorf("%s: after\n%s\nit sent\n%s", how, first.text, second.text)
		}
		if got := r.users[0].kinds(); got != "Arrived MESSAGE, Tick" {
			t.Errorf("%s: the user heard %s", how, got)
		}
		r.sent = nil
		r.hear(standIn, r.answer(second, 200, "theirs"))
		if got := r.users[0].kinds(); got != "Arrived MESSAGE, Tick, Answered 200" {
			t.Errorf("%s: the user heard %s", how, got)
		}
		do(sends(2, within("INFO", 6)), tu.SendAck{Msg: within("ACK", 4), Hop: hop(nat.Inside)})
		if got := r.lines(); got != "ACK 10.0.0.11:5060, INFO 10.0.0.11:5060" && got != "INFO 10.0.0.11:5060, ACK 10.0.0.11:5060" {
			t.Errorf("%s: the dialog goes on by %s", how, got)
		}
		// The stand-in fails in its turn: the first one is asked again, and then there is nobody.
		fail(standIn)
		r.sent = nil
		fail(inner)
		if got := r.users[0].kinds(); !strings.HasPrefix(got, "Arrived MESSAGE, Tick, Answered 200, Tick, Failed ") || strings.Count(got, "Failed") != 1 {
			t.Errorf("%s: the user heard %s", how, got)
		}
		if len(r.Core.users[r.users[0].id].ways) != 0 || w.heard[standIn.Remote].IsZero() {
			t.Errorf("%s: kept %d", how, len(r.Core.users[r.users[0].id].ways))
		}
		r.over()
		r.zero()
	}
}

// TestWhoIsNotAskedAgain: where the node lives and the far end does not; requests without a way of their own; those outside dialogs;
// those to a peer outside.
func TestWhoIsNotAskedAgain(t *testing.T) {
	direct := within("INFO", 5)
	direct.Remove("Route")
	outside := tu.Send{Ref: 1, Msg: within("INFO", 5), Hop: hop(nat.Outside)}
	for name, tt := range map[string]struct {
		send tu.Send
		word bool // the node says something to somebody meanwhile
		fail string
	}{
		"the far end is silent": {sends(1, within("INFO", 5)), true, "Failed 408 timeout"},
		"no route":              {sends(1, direct), false, "Failed 408 timeout"},
		"outside a dialog":      {sends(1, outgoing("MESSAGE", "d1", "ours", 1)), false, "Failed 408 timeout"},
		"to a trunk":            {outside, false, "Failed 408 timeout"},
	} {
		r, w, do := wayRig(t)
		do(tt.send)
		r.pass(time.Second)
		if tt.word {
			w.heard[inner.Remote] = r.now
		}
		r.pass(40 * time.Second)
		if got := r.users[0].kinds(); got != "Arrived MESSAGE, Tick, "+tt.fail {
			t.Errorf("%s: the user heard %s", name, got)
		}
		if strings.Contains(r.lines(), "10.0.0.11") {
			t.Errorf("%s: it went by another node", name)
		}
		r.over()
		r.zero()
	}
}

// TestADownNodeIsPassedBy: health alone decides before anything was asked in vain.
func TestADownNodeIsPassedBy(t *testing.T) {
	r, w, do := wayRig(t)
	w.down[inner.Remote] = true
	do(sends(1, within("INVITE", 5)))
	if got := r.lines(); got != "INVITE 10.0.0.11:5060" {
		t.Errorf("it went to %s", got)
	}
	w.down[inner.Remote] = false
	do(sends(2, within("INFO", 6)))
	if got := r.lines(); got != "INFO 10.0.0.10:5060" {
		t.Errorf("once it lives: %s", got)
	}
	if got := strings.Join(w.left, ", "); got != "INVITE 10.0.0.11, INFO 10.0.0.10" {
		t.Errorf("told of %s", got)
	}
	r.over()
	r.zero()
}

// TestAbandon: what waits at a node that is down is asked elsewhere at once, but for what has nowhere to go.
func TestAbandon(t *testing.T) {
	r, w, do := wayRig(t)
	direct := within("INFO", 7)
	direct.Remove("Route")
	do(sends(1, within("BYE", 5)), sends(2, outgoing("MESSAGE", "e", "x", 1)), sends(3, direct), sends(4, outgoing("INVITE", "f", "y", 1)))
	w.down[inner.Remote] = true
	r.sent = nil
	r.Abandon(r.now, inner)
	r.settle(r.now)
	if got := r.lines(); got != "BYE 10.0.0.11:5060" {
		t.Errorf("asked again: %s", got)
	}
	if got := r.users[0].kinds(); got != "Arrived MESSAGE, Tick, Failed 503 timeout, Failed 503 timeout" {
		t.Errorf("the user heard %s", got)
	}
	failed := map[tu.Ref]bool{}
	for _, ev := range r.users[0].heard {
		if f, ok := ev.(tu.Failed); ok {
			failed[f.Ref] = true
		}
	}
	if !failed[2] || !failed[4] {
		t.Errorf("failed: %v", failed)
	}
	r.Abandon(r.now, standIn)
	r.Abandon(r.now, outer)
	r.over()
	r.zero()
}

// TestARequestThatMayNotLeave fails as one for which there is no room, and nothing is sent.
func TestARequestThatMayNotLeave(t *testing.T) {
	r, w, do := wayRig(t)
	w.stays = "REGISTER"
	do(sends(1, outgoing("REGISTER", "e", "x", 1)))
	if got := r.users[0].kinds(); got != "Arrived MESSAGE, Tick, Failed 503 no-capacity" || len(r.sent) != 0 {
		t.Errorf("heard %s, sent %s", got, r.lines())
	}
	do(sends(2, outgoing("OPTIONS", "e", "x", 1)))
	r.hear(inner, r.answer(r.find("OPTIONS"), 503, "t"))
	r.unreachable(r.now, inner)
	if !slices.Equal(w.codes, []string{"OPTIONS 503"}) || !slices.Equal(w.unreached, []nat.Flow{inner}) {
		t.Errorf("told of codes %v and errors at %v", w.codes, w.unreached)
	}
	if !slices.Equal(w.by, []tu.UserID{r.users[0].id}) {
		t.Errorf("what left was of %v", w.by)
	}
	r.over()
	r.zero()
}

// TestTheEndOfAConnection is told once, as what it is; what was sent on it before it had a number fails with it.
func TestTheEndOfAConnection(t *testing.T) {
	ended := inner
	ended.Conn = 7
	for _, dialled := range []bool{true, false} {
		r, w, do := wayRig(t)
		do(sends(1, outgoing("MESSAGE", "e", "x", 1)))
		r.Closed(ended, dialled)
		r.serve()
		if !slices.Equal(w.unreached, []nat.Flow{ended}) {
			t.Errorf("dialled %v: told of %v", dialled, w.unreached)
		}
		if failed := strings.Contains(r.users[0].kinds(), "Failed 503"); failed != dialled {
			t.Errorf("dialled %v: the user heard %s", dialled, r.users[0].kinds())
		}
		r.over()
		r.zero()
	}
}

// TestWhatNeverLeft: nobody owes a word to a request that finds no place, that no room is left for or that cannot be written.
func TestWhatNeverLeft(t *testing.T) {
	broken := outgoing("MESSAGE", "e", "x", 1)
	broken.Add("X", "a\r\nb")
	for name, tt := range map[string]struct {
		send  tu.Send
		most  int // transactions
		full  bool
		heard string
	}{
		"no place":          {sends(1, outgoing("INVITE", "e", "x", 1)), 0, true, "Failed 503 no-capacity"},
		"our table is full": {sends(1, within("INFO", 5)), 1, false, "Failed 503 overload"},
		"not to be written": {sends(1, broken), 0, false, "Failed 500 internal"},
	} {
		r, w, do := wayRig(t)
		if r.full = tt.full; tt.most > 0 {
			r.Core.table = transaction.NewTable(transaction.Config{Max: tt.most})
			do(sends(9, outgoing("MESSAGE", "f", "z", 1)))
			w.left = nil
		}
		do(tt.send)
		if got := r.users[0].kinds(); !strings.HasSuffix(got, tt.heard) || len(w.left) != 0 || len(r.Core.users[r.users[0].id].ways) != 0 {
			t.Errorf("%s: heard %s, left %v", name, got, w.left)
		}
	}
}

// TestAReinviteThatWasGivenUp is asked of no other node when its own one stays silent or is abandoned: nobody waits for it.
func TestAReinviteThatWasGivenUp(t *testing.T) {
	for _, how := range []string{"silent", "abandoned", "unreachable"} {
		r, w, do := wayRig(t)
		do(sends(1, within("INVITE", 5)))
		do(tu.Cancel{Ref: 1, Side: nat.Inside})
		switch how {
		case "silent":
			r.pass(3 * time.Minute)
		case "abandoned":
			w.down[inner.Remote] = true
			r.Abandon(r.now, inner)
			r.settle(r.now)
		default:
			r.unreachable(r.now, inner)
		}
		r.pass(time.Second)
		if got := r.lines(); strings.Contains(got, standIn.Remote.String()) {
			t.Errorf("%s: it sent %s", how, got)
		}
		if got := r.users[0].kinds(); strings.Count(got, "Failed") != 1 || len(r.Core.users[r.users[0].id].ways) != 0 {
			t.Errorf("%s: the user heard %s", how, got)
		}
		r.over()
		r.zero()
	}
}

// TestALateAnswerOfAReinvite: the 2xx of a re-INVITE that went to another node meanwhile is acknowledged, and ends no call.
func TestALateAnswerOfAReinvite(t *testing.T) {
	r, _, do := wayRig(t)
	do(sends(1, within("INVITE", 5)))
	first := r.find("INVITE")
	r.unreachable(r.now, inner)
	r.sent = nil
	ok := r.answer(first, 200, "theirs")
	ok.Add("Contact", "<sip:100@10.0.0.50>")
	r.hear(inner, ok)
	if got := r.lines(); got != "ACK 10.0.0.10:5060" && got != "ACK 10.0.0.50:5060" {
		t.Errorf("it sent %s", got)
	}
	other := r.answer(first, 200, "of a fork")
	other.Add("Contact", "<sip:100@10.0.0.50>")
	r.hear(inner, other)
	if got := r.lines(); !strings.Contains(got, "BYE") {
		t.Errorf("a dialog that nobody has got %s", got)
	}
	r.over()
	r.zero()
}
