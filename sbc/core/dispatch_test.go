package core

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

func TestDispatch(t *testing.T) {
	ringing := func(a *actor, _ time.Time, ev tu.Event) []tu.Action {
		if x, ok := ev.(tu.Arrived); ok && x.Msg.Method == "INVITE" && x.Msg.To.Tag == "" {
			return []tu.Action{a.open(), a.reply(180)}
		}
		return nil
	}
	for _, tt := range []struct {
		name  string
		run   func(r *rig)
		sent  string
		heard string // by the first user
		users int
	}{
		{"an INVITE becomes a user", func(r *rig) {
			r.hear(outer, request("INVITE", "c", "1", ""))
		}, "180 1 INVITE 203.0.113.20:5060", "Arrived INVITE", 1},
		{"a repeat gets the last answer and no second user", func(r *rig) {
			r.hear(outer, request("INVITE", "c", "1", ""))
			r.hear(outer, request("INVITE", "c", "1", ""))
		}, "180 1 INVITE 203.0.113.20:5060, 180 1 INVITE 203.0.113.20:5060", "Arrived INVITE", 1},
		{"a merged request is a loop", func(r *rig) {
			r.hear(outer, request("INVITE", "c", "1", ""))
			r.hear(outer, request("INVITE", "c", "2", ""))
		}, "180 1 INVITE 203.0.113.20:5060, 482 1 INVITE 203.0.113.20:5060", "Arrived INVITE", 1},
		{"a fork to another number is none", func(r *rig) {
			r.hear(outer, request("INVITE", "c", "1", ""))
			fork := request("INVITE", "c", "2", "")
			fork.URI.User = "101"
			r.hear(outer, fork)
		}, "180 1 INVITE 203.0.113.20:5060, 180 1 INVITE 203.0.113.20:5060", "Arrived INVITE", 2},
		{"within a dialog", func(r *rig) {
			r.hear(outer, request("INVITE", "c", "1", ""))
			r.hear(outer, request("INFO", "c", "2", r.users[0].tag))
		}, "180 1 INVITE 203.0.113.20:5060", "Arrived INVITE, Arrived INFO", 1},
		{"the dialog of another side is not found", func(r *rig) {
			r.hear(outer, request("INVITE", "c", "1", ""))
			m := request("INFO", "c", "2", r.users[0].tag)
			m.Via[0].Host = "10.0.0.10"
			r.hear(inner, m)
		}, "180 1 INVITE 203.0.113.20:5060, 481 1 INFO 10.0.0.10:5060", "Arrived INVITE", 1},
		{"nor that of another Call-ID", func(r *rig) {
			r.hear(outer, request("INVITE", "c", "1", ""))
			r.hear(outer, request("BYE", "d", "2", r.users[0].tag))
		}, "180 1 INVITE 203.0.113.20:5060, 481 1 BYE 203.0.113.20:5060", "Arrived INVITE", 1},
		{"no dialog", func(r *rig) { r.hear(outer, request("BYE", "c", "1", "x")) }, "481 1 BYE 203.0.113.20:5060", "", 0},
		{"no dialog for a stranger is silence", func(r *rig) { r.hear(stranger, request("BYE", "c", "1", "x")) }, "", "", 0},
		{"the program refuses", func(r *rig) {
			r.born = func(tu.Arrived) (*actor, Answer) {
				return nil, Answer{Code: 405, Headers: []message.Header{{Name: "Allow", Value: "INVITE"}}}
			}
			r.hear(outer, request("PUBLISH", "c", "1", ""))
			if r.sent[0].field("Allow") != "INVITE" || !testTags.Owns([]byte(r.sent[0].toTag())) {
				r.t.Errorf("%q", r.sent[0].text)
			}
		}, "405 1 PUBLISH 203.0.113.20:5060", "", 0},
		{"with Retry-After", func(r *rig) {
			r.born = func(tu.Arrived) (*actor, Answer) {
				return nil, Answer{Code: 503, RetryAfter: 10, Why: reason.Draining}
			}
			r.hear(outer, request("INVITE", "c", "1", ""))
			if r.sent[0].field("Retry-After") != "10" {
				r.t.Errorf("%q", r.sent[0].text)
			}
		}, "503 1 INVITE 203.0.113.20:5060", "", 0},
		{"the program says nothing", func(r *rig) {
			r.born = func(tu.Arrived) (*actor, Answer) { return nil, Answer{Why: reason.Stranger} }
			r.hear(outer, request("OPTIONS", "c", "1", ""))
			r.hear(outer, request("OPTIONS", "c", "1", ""))
		}, "", "", 0},
		{"a stranger gets silence, whatever the program says", func(r *rig) {
			r.born = func(tu.Arrived) (*actor, Answer) { return nil, Answer{Code: 403} }
			r.hear(stranger, request("INVITE", "c", "1", ""))
		}, "", "", 0},
		{"CANCEL behind its INVITE", func(r *rig) {
			r.hear(outer, request("INVITE", "c", "1", ""))
			r.hear(outer, request("CANCEL", "c", "1", ""))
		}, "180 1 INVITE 203.0.113.20:5060, 200 1 CANCEL 203.0.113.20:5060", "Arrived INVITE, Cancelled", 1},
		{"a stray CANCEL", func(r *rig) { r.hear(outer, request("CANCEL", "c", "1", "")) }, "481 1 CANCEL 203.0.113.20:5060", "", 0},
		{"a stray ACK", func(r *rig) { r.hear(outer, request("ACK", "c", "1", "x")) }, "", "", 0},
		{"a stray response", func(r *rig) {
			r.hear(outer, &message.Message{Method: "INVITE", Status: 200, Via: request("INVITE", "", "x", "").Via})
		}, "", "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.script = ringing
			tt.run(r)
			if got := r.lines(); got != tt.sent {
				t.Errorf("sent %s\nwant %s", got, tt.sent)
			}
			heard := ""
			if len(r.users) > 0 {
				heard = r.users[0].kinds()
			}
			if heard != tt.heard || len(r.users) != tt.users {
				t.Errorf("%d users, the first heard %s, want %s", len(r.users), heard, tt.heard)
			}
			if r.faultsContained() != 0 {
				t.Error("a fault")
			}
		})
	}
}

func TestRefusalsAreCounted(t *testing.T) {
	r := newRig(t)
	r.born = func(tu.Arrived) (*actor, Answer) { return nil, Answer{Code: 503, Why: reason.NoPBX} }
	for i := range 3 {
		r.hear(outer, request("INVITE", fmt.Sprint(i), fmt.Sprint(i), ""))
	}
	if got := r.Gauges().Refused[reason.Index(reason.NoPBX)].Load(); got != 3 {
		t.Errorf("%d", got)
	}
	r.pass(time.Minute)
	r.zero()
}

// bridge is the smallest user with two legs: what comes from one side goes to the other.
func bridge(a *actor, now time.Time, ev tu.Event) []tu.Action {
	switch ev := ev.(type) {
	case tu.Arrived:
		if ev.Msg.Method == "INVITE" {
			return []tu.Action{a.reply(100), tu.Route{Msg: ev.Msg, Peer: ev.Peer}}
		}
		return []tu.Action{ // BYE of the caller
			a.replyTo(ev, 200), tu.Send{Ref: 2, Msg: outgoing("BYE", a.ids.CallID(), a.ids.Tag(), 2), Hop: hop(nat.Inside)},
		}
	case tu.Routed:
		return []tu.Action{tu.Reserve{Streams: 1}}
	case tu.Reserved:
		m := outgoing("INVITE", a.ids.CallID(), a.ids.Tag(), 1)
		return []tu.Action{
			a.open(), tu.OpenDialog{Side: nat.Inside, CallID: m.CallID, Local: m.From.Tag, Source: inner.Remote.Addr()},
			tu.Point{Stream: 0, Side: nat.Inside}, tu.Send{Ref: 1, Msg: m, Hop: hop(nat.Inside)},
		}
	case tu.Answered:
		switch {
		case ev.Ref == 2:
			return []tu.Action{tu.Record{CDR: tu.CDR{Call: "x", Code: 200}}, tu.Release{}, tu.End{}}
		case ev.Msg.Status < 300:
			do := []tu.Action{a.reply(ev.Msg.Status)}
			if ev.Msg.Status >= 200 {
				do = append(do, tu.SendAck{Msg: outgoing("ACK", ev.Msg.CallID, ev.Msg.From.Tag, 1), Hop: hop(nat.Inside)})
			}
			return do
		}
	}
	return nil
}

// TestACallOfTwoLegs walks the whole way once: what the peers see, in order, and that nothing is left.
func TestACallOfTwoLegs(t *testing.T) {
	r := newRig(t)
	r.script = bridge
	r.hear(outer, request("INVITE", "c", "1", ""))
	invite := r.find("INVITE")
	if got := r.lines(); got != "100 1 INVITE 203.0.113.20:5060, INVITE 10.0.0.10:5060" {
		t.Fatal(got)
	}
	if v := invite.field("Via"); !strings.HasPrefix(v, "SIP/2.0/UDP 10.0.0.2:5080;branch=z9hG4bK") || !strings.Contains(v, ";rport") {
		t.Errorf("Via %s", v)
	}
	r.hear(inner, r.answer(invite, 100, ""))
	r.hear(inner, r.answer(invite, 180, "callee"))
	r.hear(inner, r.answer(invite, 200, "callee"))
	if got := r.lines(); got != "180 1 INVITE 203.0.113.20:5060, 200 1 INVITE 203.0.113.20:5060, ACK 10.0.0.10:5060" {
		t.Fatal(got)
	}
	a := r.users[0]
	ack := request("ACK", "c", "2", a.tag)
	r.hear(outer, ack)
	r.measure()
	if g := r.Gauges(); g.Users.Load() != 1 || g.Dialogs.Load() != 2 || g.Streams.Load() != 1 || len(r.live) != 2 {
		t.Errorf("%d users, %d dialogs, %d streams, %d live", g.Users.Load(), g.Dialogs.Load(), g.Streams.Load(), len(r.live))
	}
	bye := request("BYE", "c", "3", a.tag)
	bye.CSeq = 2
	r.hear(outer, bye)
	r.hear(inner, r.answer(r.find("BYE"), 200, "callee"))
	if got := r.lines(); got != "200 2 BYE 203.0.113.20:5060, BYE 10.0.0.10:5060" {
		t.Error(got)
	}
	if want := "Arrived INVITE, Routed, Reserved, Trying, Answered 180, Answered 200, Acked, Arrived BYE, Answered 200"; a.kinds() != want {
		t.Errorf("heard %s\nwant  %s", a.kinds(), want)
	}
	if len(r.records) != 1 || len(r.records[0].Media) != 1 || r.records[0].Media[0].Outside.Packets != 50 || len(r.gone) != 1 {
		t.Errorf("%+v, %v", r.records, r.gone)
	}
	if r.Gauges().TransactionsHigh.Load() < 3 {
		t.Error("high-water mark")
	}
	r.hear(outer, request("BYE", "c", "4", a.tag))
	if got := r.lines(); got != "481 1 BYE 203.0.113.20:5060" {
		t.Errorf("behind the end: %s", got)
	}
	r.pass(time.Minute)
	r.zero()
}

// TestActionsRunInOrder: what one Step wants sent leaves in its order, transactions or not.
func TestActionsRunInOrder(t *testing.T) {
	r := newRig(t)
	r.script = func(a *actor, _ time.Time, ev tu.Event) []tu.Action {
		if _, ok := ev.(tu.Arrived); !ok {
			return nil
		}
		return []tu.Action{
			tu.Send{Ref: 1, Msg: outgoing("INFO", "a", "x", 1), Hop: hop(nat.Inside)}, tu.SendAck{Msg: outgoing("ACK", "a", "x", 1), Hop: hop(nat.Inside)},
			a.reply(180), tu.SendAck{Msg: outgoing("ACK", "b", "y", 1), Hop: hop(nat.Inside)}, a.reply(486), tu.End{},
			tu.Send{Ref: 2, Msg: outgoing("BYE", "a", "x", 1), Hop: hop(nat.Inside)}, // nothing follows an End
		}
	}
	r.hear(outer, request("INVITE", "c", "1", ""))
	want := "INFO 10.0.0.10:5060, ACK 10.0.0.10:5060, 180 1 INVITE 203.0.113.20:5060, ACK 10.0.0.10:5060, 486 1 INVITE 203.0.113.20:5060"
	if got := r.lines(); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	r.pass(time.Minute)
	r.zero()
}

func TestSequence(t *testing.T) {
	r := newRig(t)
	var sent []string
	send := func(m *message.Message) {
		r.sequence(nat.Inside, m)
		sent = append(sent, fmt.Sprint(m.CSeq, " ", m.URI.Host))
	}
	r.dialogs[dialogKey{nat.Inside, "c", "t"}] = &dialogState{}
	first := outgoing("INVITE", "c", "t", 7)
	send(first)
	again := outgoing("BYE", "c", "t", 0) // before any request within the dialog: the user's target
	again.To.Tag = "x"
	send(again)
	re := outgoing("INVITE", "c", "t", 20)
	re.To.Tag, re.URI.Host = "x", "10.0.0.12"
	send(re)
	old := outgoing("INFO", "c", "t", 15)
	old.To.Tag, old.URI.Host = "x", "10.0.0.12"
	send(old)
	bye := outgoing("BYE", "c", "t", 0)
	bye.To.Tag = "x"
	send(bye)
	none := outgoing("BYE", "other", "t", 0)
	send(none)
	r.sequence(nat.Outside, outgoing("BYE", "c", "t", 0)) // another side's dialog of the same name is another one
	if want := "[7 10.0.0.10 8 10.0.0.10 20 10.0.0.12 15 10.0.0.12 21 10.0.0.12 1 10.0.0.10]"; fmt.Sprint(sent) != want {
		t.Errorf("%v\nwant %s", sent, want)
	}
}

func TestDialogsHaveOneOwner(t *testing.T) {
	r := newRig(t)
	r.script = func(a *actor, _ time.Time, ev tu.Event) []tu.Action {
		if _, ok := ev.(tu.Arrived); !ok {
			return nil
		}
		same := tu.OpenDialog{Side: nat.Outside, CallID: "c", Local: "t", Source: netip.AddrFrom4([4]byte{203, 0, 113, byte(20 + a.id)})}
		return []tu.Action{same, same}
	}
	r.hear(outer, request("INVITE", "c", "1", ""))
	r.hear(outer, request("INVITE", "d", "2", ""))
	key := dialogKey{nat.Outside, "c", "t"}
	if d := r.dialogs[key]; d == nil || d.user != r.users[0].id || r.live["t"].String() != "203.0.113.21" {
		t.Fatalf("%+v %v", d, r.live)
	}
	r.end(r.now, r.Core.users[r.users[1].id])
	if r.dialogs[key] == nil || len(r.live) != 1 {
		t.Error("the second user's end closed the first one's dialog")
	}
	r.closeDialog(r.Core.users[r.users[0].id], dialogKey{nat.Outside, "no", "such"})
	r.end(r.now, r.Core.users[r.users[0].id])
	r.settle(r.now)
	r.pass(time.Minute)
	r.zero()
}

// TestLeaks: a request that cannot be repaired is not sent and its user hears so; a response, an ACK and a BYE are.
func TestLeaks(t *testing.T) {
	r := newRig(t)
	r.check = func(*message.Message) (int, bool) { return 2, false }
	r.script = func(a *actor, _ time.Time, ev tu.Event) []tu.Action {
		if _, ok := ev.(tu.Arrived); !ok {
			return nil
		}
		return []tu.Action{
			a.reply(100), tu.Send{Ref: 1, Msg: outgoing("INVITE", "a", "x", 1), Hop: hop(nat.Inside)},
			tu.Send{Ref: 2, Msg: outgoing("BYE", "a", "x", 1), Hop: hop(nat.Inside)},
			tu.SendAck{Msg: outgoing("ACK", "a", "x", 1), Hop: hop(nat.Inside)},
		}
	}
	r.hear(outer, request("INVITE", "c", "1", ""))
	if got := r.lines(); got != "100 1 INVITE 203.0.113.20:5060, BYE 10.0.0.10:5060, ACK 10.0.0.10:5060" {
		t.Error(got)
	}
	if got := r.users[0].kinds(); got != "Arrived INVITE, Failed 500 leak" {
		t.Error(got)
	}
	if g := r.Gauges(); g.Leaks.Load() != 8 || g.LeaksFatal.Load() != 4 {
		t.Errorf("%d leaks, %d fatal", g.Leaks.Load(), g.LeaksFatal.Load())
	}
}

// TestFailures: each way in which a request gets no answer.
func TestFailures(t *testing.T) {
	for _, tt := range []struct {
		name string
		msg  func(m *message.Message)
		run  func(r *rig)
		want string
	}{
		{"silence", nil, func(r *rig) { r.pass(33 * time.Second) }, "Failed 408 timeout"},
		{"ICMP", nil, func(r *rig) { r.unreachable(r.now, inner) }, "Failed 503 timeout"},
		{"ICMP of another address", nil, func(r *rig) { r.unreachable(r.now, nat.Flow{Interface: 2, Remote: outer.Remote}) }, ""},
		{"ICMP of another interface", nil, func(r *rig) { r.unreachable(r.now, nat.Flow{Interface: 1, Remote: inner.Remote}) }, ""},
		{"it cannot be written", func(m *message.Message) { m.Add("X-A", "a\r\nb") }, func(*rig) {}, "Failed 500 internal"},
		{"it is no request for a transaction", func(m *message.Message) { m.Method = "ACK" }, func(*rig) {}, "Failed 500 internal"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.script = func(_ *actor, _ time.Time, ev tu.Event) []tu.Action {
				if _, ok := ev.(tu.Arrived); !ok {
					return nil
				}
				m := outgoing("INFO", "a", "x", 1)
				if tt.msg != nil {
					tt.msg(m)
				}
				return []tu.Action{tu.Send{Ref: 1, Msg: m, Hop: hop(nat.Inside)}}
			}
			r.hear(outer, request("MESSAGE", "c", "1", ""))
			tt.run(r)
			if got := strings.TrimPrefix(strings.TrimPrefix(r.users[0].kinds(), "Arrived MESSAGE"), ", "); got != tt.want {
				t.Errorf("heard %q, want %q", got, tt.want)
			}
		})
	}
}

func TestLostDatagramsAreCounted(t *testing.T) {
	r := newRig(t)
	r.refuse = errors.New("the socket is full")
	r.script = func(a *actor, _ time.Time, ev tu.Event) []tu.Action { return []tu.Action{a.reply(200)} }
	r.hear(outer, request("MESSAGE", "c", "1", ""))
	if r.Gauges().SendErrors.Load() != 1 {
		t.Error("not counted")
	}
	r.refuse = nil
	r.hear(outer, request("MESSAGE", "c", "1", ""))
	if got := r.lines(); got != "200 1 MESSAGE 203.0.113.20:5060" {
		t.Errorf("the repeat gets %q", got)
	}
}

// TestFullTable: without room a request gets a stateless 503, a stranger's nothing, an ACK nothing; a user hears of it.
func TestFullTable(t *testing.T) {
	r := newRig(t)
	cfg := r.config()
	cfg.Limits.Transactions = 8
	r.Core = New(cfg)
	for i := range 8 {
		r.hear(outer, request("MESSAGE", fmt.Sprint(i), fmt.Sprint(i), ""))
	}
	if len(r.users) != 8 {
		t.Fatalf("%d users", len(r.users))
	}
	r.lines()
	r.hear(outer, request("MESSAGE", "x", "x", ""))
	p := r.find("SIP/2.0 503")
	if p.field("Retry-After") != "10" || !testTags.Owns([]byte(p.toTag())) {
		t.Errorf("%q", p.text)
	}
	r.hear(outer, request("BYE", "y", "y", "tagged"))
	if p := r.sent[len(r.sent)-1]; p.toTag() != "tagged" {
		t.Errorf("the tag of a dialog stays: %q", p.text)
	}
	r.lines()
	r.hear(stranger, request("INVITE", "z", "z", ""))
	if got := r.lines(); got != "" || r.Gauges().Overload.Load() != 3 {
		t.Errorf("sent %s, %d refused", got, r.Gauges().Overload.Load())
	}
	r.script = func(_ *actor, _ time.Time, ev tu.Event) []tu.Action {
		if _, ok := ev.(tu.Hangup); ok {
			return []tu.Action{tu.Send{Ref: 1, Msg: outgoing("INFO", "a", "x", 1), Hop: hop(nat.Inside)}}
		}
		return nil
	}
	r.Tell(r.users[0].id, tu.Hangup{})
	r.settle(r.now)
	if got := r.users[0].kinds(); !strings.HasSuffix(got, "Failed 503 overload") {
		t.Error(got)
	}
}
