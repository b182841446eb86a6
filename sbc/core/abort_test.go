package core

import (
	"strings"
	"testing"
	"time"

	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// established brings a call of two legs up that panics at a Hangup, and whose Abort does what the contract asks: BYE on
// both legs without numbers, one CDR, ports.
func established(t *testing.T) *rig {
	r := newRig(t)
	r.script = func(a *actor, now time.Time, ev tu.Event) []tu.Action {
		if _, ok := ev.(tu.Hangup); ok {
			panic("a state that should not be")
		}
		return bridge(a, now, ev)
	}
	r.abort = func(a *actor, _ time.Time) []tu.Action {
		inviteTag := r.find("INVITE").field("From")
		_, inviteTag, _ = strings.Cut(inviteTag, ";tag=")
		callee := outgoing("BYE", r.find("INVITE").field("Call-ID"), inviteTag, 0)
		callee.To.Tag = "callee"
		caller := outgoing("BYE", "c", a.tag, 0)
		caller.To.Tag = "theirs"
		return []tu.Action{
			tu.Send{Ref: 8, Msg: callee, Hop: hop(nat.Inside)}, tu.Send{Ref: 9, Msg: caller, Hop: hop(nat.Outside)},
			tu.Record{CDR: tu.CDR{Call: "x", Code: 500, Reason: reason.Internal}}, tu.Release{}, tu.End{},
		}
	}
	r.hear(outer, request("INVITE", "c", "1", ""))
	r.hear(inner, r.answer(r.find("INVITE"), 200, "callee"))
	r.hear(outer, request("ACK", "c", "2", r.users[0].tag))
	return r
}

func TestPanicInStepOfACall(t *testing.T) {
	r := established(t)
	// A request within the dialog moves number and target on.
	re := outgoing("INVITE", r.find("INVITE").field("Call-ID"), "", 41)
	_, re.From.Tag, _ = strings.Cut(r.find("INVITE").field("From"), ";tag=")
	re.To.Tag, re.URI.Host = "callee", "10.0.0.12"
	r.sequence(nat.Inside, re)
	r.Tell(r.users[0].id, tu.Hangup{})
	r.settle(r.now)
	var byes []packet
	for _, p := range r.sent {
		if strings.HasPrefix(p.text, "BYE") {
			byes = append(byes, p)
		}
	}
	if len(byes) != 2 {
		t.Fatal(r.lines())
	}
	if byes[0].to != inner || byes[0].field("CSeq") != "42 BYE" || !strings.HasPrefix(byes[0].text, "BYE sip:100@10.0.0.12 ") {
		t.Errorf("%q", byes[0].text)
	}
	if byes[1].to != outer || byes[1].field("CSeq") != "1 BYE" {
		t.Errorf("%q", byes[1].text)
	}
	if len(r.records) != 1 || r.records[0].Reason != reason.Internal || len(r.taken) != 0 || len(r.gone) != 1 || r.faultsContained() != 1 {
		t.Errorf("records %+v, %d ports, ended %v, %d faults", r.records, len(r.taken), r.gone, r.faultsContained())
	}
	r.lines()
	r.hear(outer, request("INVITE", "next", "9", ""))
	if got := r.lines(); !strings.HasPrefix(got, "100 1 INVITE 203.0.113.20:5060, INVITE") {
		t.Errorf("the process does not live: %s", got)
	}
	r.users[1].heard = nil
	r.Tell(r.users[1].id, tu.Hangup{})
	r.abort = nil
	r.settle(r.now)
	r.pass(5 * time.Minute)
	r.zero()
}

// TestPanicInStepOfARequest: whatever the user left open is answered.
func TestPanicInStepOfARequest(t *testing.T) {
	for _, tt := range []struct {
		name  string
		abort func(a *actor, _ time.Time) []tu.Action
		want  string
	}{
		{"Abort answers", func(a *actor, _ time.Time) []tu.Action { return []tu.Action{a.reply(500), tu.End{}} }, "500 1 INVITE 203.0.113.20:5060"},
		{"Abort forgets its End", func(a *actor, _ time.Time) []tu.Action { return []tu.Action{a.reply(500)} }, "500 1 INVITE 203.0.113.20:5060"},
		{"Abort does nothing", func(*actor, time.Time) []tu.Action { return nil }, "500 1 INVITE 203.0.113.20:5060"},
		{"Abort panics too", func(*actor, time.Time) []tu.Action { panic("again") }, "500 1 INVITE 203.0.113.20:5060"},
		{"an action of Abort panics", func(a *actor, _ time.Time) []tu.Action {
			return []tu.Action{tu.Respond{Tx: a.invite.Tx}, tu.Send{}, a.reply(500), tu.End{}}
		}, "500 1 INVITE 203.0.113.20:5060"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.script = func(*actor, time.Time, tu.Event) []tu.Action { panic("first") }
			r.abort = tt.abort
			r.hear(outer, request("INVITE", "c", "1", ""))
			if got := r.lines(); got != tt.want || r.faultsContained() == 0 {
				t.Errorf("sent %s, %d faults", got, r.faultsContained())
			}
			if len(r.gone) != 1 {
				t.Errorf("ended %v", r.gone)
			}
			r.hear(outer, request("ACK", "c", "1", "x"))
			r.pass(time.Minute)
			r.zero()
		})
	}
}

// TestPanicOfWhatACallNeeds: the call whose action fails is aborted, its ports come back, the next call lives; nothing
// ends the process.
func TestPanicOfWhatACallNeeds(t *testing.T) {
	for _, name := range []string{
		"Identify", "New", "Route", "Reserve", "Point", "Check", "Send", "Stats", "Record", "Release", "Ended", "Remove",
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.script = bridge
			r.abort = func(a *actor, _ time.Time) []tu.Action {
				return []tu.Action{a.reply(500), tu.Record{CDR: tu.CDR{Code: 500}}, tu.Release{}, tu.End{}}
			}
			r.panics[name] = true
			r.hear(outer, request("INVITE", "c", "1", ""))
			if name == "Stats" || name == "Record" || name == "Release" || name == "Ended" || name == "Remove" {
				r.Tell(1, tu.Answered{Ref: 2, Msg: &message.Message{Status: 200}})
				r.settle(r.now)
			}
			if r.faultsContained() == 0 {
				t.Fatal("nothing happened")
			}
			r.panics[name] = false
			if name == "Send" {
				r.Tell(1, tu.Hangup{})
				r.end(r.now, r.Core.users[1])
				r.settle(r.now)
			}
			r.sent = nil
			r.hear(outer, request("INVITE", "d", "2", ""))
			if got := r.lines(); !strings.Contains(got, "100 1 INVITE") || !strings.Contains(got, "INVITE 10.0.0.10") {
				t.Errorf("the next call: %s", got)
			}
			for id := range r.Core.users {
				r.end(r.now, r.Core.users[id])
			}
			r.settle(r.now)
			r.pass(5 * time.Minute)
			r.zero()
		})
	}
}

// TestPanicOfTheProgram: functions and lookups of the program fail for one message.
func TestPanicOfTheProgram(t *testing.T) {
	r := newRig(t)
	r.panics["New"] = true
	r.hear(outer, request("INVITE", "c", "1", ""))
	if got := r.lines(); got != "500 1 INVITE 203.0.113.20:5060" {
		t.Errorf("the caller hears %s", got)
	}
	r.hear(outer, request("ACK", "c", "1", "x"))
	r.hear(stranger, request("INVITE", "d", "2", ""))
	if got := r.lines(); got != "" {
		t.Errorf("a stranger hears %s", got)
	}
	r.call(r.now, func(time.Time) { panic("a function") })
	r.panics["Identify"] = true
	r.hear(outer, request("INVITE", "e", "3", ""))
	if r.faultsContained() < 4 || r.Gauges().Refused[reason.Index(reason.Internal)].Load() != 2 {
		t.Errorf("%d faults", r.faultsContained())
	}
	r.panics = map[string]bool{}
	r.pass(time.Minute)
	r.zero()
}

func TestPanicInDeadline(t *testing.T) {
	r := newRig(t)
	r.Start(func(tu.UserID, tu.Seed) tu.User { return timeless{} })
	r.settle(r.now)
	r.zero()
	if len(r.gone) != 1 || r.faultsContained() != 1 {
		t.Errorf("%v, %d faults", r.gone, r.faultsContained())
	}
}

type timeless struct{}

func (timeless) Step(time.Time, tu.Event, []tu.Action) []tu.Action { return nil }
func (timeless) Deadline() time.Time                               { panic("no clock") }
func (timeless) Abort(time.Time, []tu.Action) []tu.Action          { return nil }

// TestOneCDR: a user that fails behind its record, or records twice, leaves one all the same.
func TestOneCDR(t *testing.T) {
	r := newRig(t)
	r.script = func(a *actor, _ time.Time, ev tu.Event) []tu.Action {
		if _, ok := ev.(tu.Hangup); ok {
			panic("behind its record")
		}
		return []tu.Action{a.reply(486), tu.Record{CDR: tu.CDR{Code: 486}}, tu.Record{CDR: tu.CDR{Code: 487}}}
	}
	r.abort = func(a *actor, _ time.Time) []tu.Action {
		return []tu.Action{a.reply(500), tu.Record{CDR: tu.CDR{Code: 500}}, tu.End{}}
	}
	r.hear(outer, request("INVITE", "c", "1", ""))
	r.Tell(1, tu.Hangup{})
	r.settle(r.now)
	if len(r.records) != 1 || r.records[0].Code != 486 {
		t.Errorf("%+v", r.records)
	}
	if got := r.lines(); got != "486 1 INVITE 203.0.113.20:5060" {
		t.Error(got)
	}
}

// TestAResponseThatCannotBeSent: the user believes in an answered call, the caller hears nothing; so it is aborted.
func TestAResponseThatCannotBeSent(t *testing.T) {
	r := newRig(t)
	r.script = func(a *actor, _ time.Time, ev tu.Event) []tu.Action {
		bad := a.reply(200)
		bad.Msg.Add("X-A", "a\r\nb")
		lame := a.reply(183)
		lame.Msg.Add("X-A", "a\r\nb") // a provisional one is no loss
		return []tu.Action{lame, bad, tu.Reserve{Streams: 1}}
	}
	r.abort = func(a *actor, _ time.Time) []tu.Action { return []tu.Action{a.reply(500), tu.End{}} }
	r.hear(outer, request("INVITE", "c", "1", ""))
	if got := r.lines(); got != "500 1 INVITE 203.0.113.20:5060" || len(r.gone) != 1 || len(r.taken) != 0 {
		t.Errorf("sent %s, ended %v, %d ports", got, r.gone, len(r.taken))
	}
	// One that comes too late is no fault of the user.
	r.script = func(a *actor, _ time.Time, ev tu.Event) []tu.Action { return []tu.Action{a.reply(200), a.reply(486)} }
	r.hear(outer, request("MESSAGE", "d", "2", ""))
	if got := r.lines(); got != "200 1 MESSAGE 203.0.113.20:5060" || len(r.gone) != 1 {
		t.Errorf("sent %s, ended %v", got, r.gone)
	}
}

// TestAUserThatNeverRests: one that answers each event by another question is ended, the others live.
func TestAUserThatNeverRests(t *testing.T) {
	r := newRig(t)
	r.script = func(a *actor, _ time.Time, ev tu.Event) []tu.Action {
		if a.invite.Msg.CallID == "good" {
			return []tu.Action{a.reply(180)}
		}
		return []tu.Action{tu.Route{Msg: a.invite.Msg}}
	}
	r.hear(outer, request("INVITE", "c", "1", ""))
	r.hear(outer, request("INVITE", "good", "2", ""))
	if got := r.lines(); got != "500 1 INVITE 203.0.113.20:5060, 180 1 INVITE 203.0.113.20:5060" || len(r.gone) != 1 {
		t.Errorf("sent %s, ended %v", got, r.gone)
	}
}

// TestATimerThatAlwaysFails: a table whose timers cannot run any more ends the process instead of spinning for ever.
func TestATimerThatAlwaysFails(t *testing.T) {
	r := newRig(t)
	r.table = nil
	for range ticksMost {
		r.tick(r.now)
	}
	defer func() {
		if recover() == nil || r.faultsContained() != ticksMost {
			t.Errorf("goes on behind %d faults", r.faultsContained())
		}
	}()
	r.tick(r.now)
}

// TestMediaOfAUser: streams are numbered as they were reserved, and end with their user.
func TestMediaOfAUser(t *testing.T) {
	r := newRig(t)
	r.ports = 3
	var reserved []int
	r.script = func(a *actor, _ time.Time, ev tu.Event) []tu.Action {
		switch ev := ev.(type) {
		case tu.Arrived:
			return []tu.Action{
				tu.Reserve{Streams: 2}, tu.Reserve{Streams: 2}, // a second one adds
				tu.Point{Stream: -1}, tu.Point{Stream: 9}, tu.Point{Stream: 2, Side: nat.Inside, Aim: tu.Aim{Latch: tu.LatchStrict}},
			}
		case tu.Reserved:
			reserved = append(reserved, len(ev.Streams))
			if len(ev.Streams) > 0 && ev.Streams[0].At(nat.Outside).Port() == 0 {
				t.Error("no port")
			}
		case tu.Hangup:
			return []tu.Action{tu.Release{}, tu.Reserve{Streams: 1}, tu.Point{Stream: 0}, tu.Point{Stream: 1}}
		}
		return nil
	}
	r.hear(outer, request("INVITE", "c", "1", ""))
	if len(reserved) != 2 || reserved[0] != 2 || reserved[1] != 1 || len(r.aims) != 1 || r.aims[0].Latch != 1 {
		t.Fatalf("reserved %v, aims %v", reserved, r.aims)
	}
	ids := r.Streams(1)
	if len(ids) != 3 || r.Streams(99) != nil {
		t.Errorf("%v", ids)
	}
	r.MediaHint(ids[1], true)
	r.MediaHint(999, true)
	r.point = message.ErrWriteName // some error
	r.settle(r.now)
	if h := r.users[0].heard[len(r.users[0].heard)-1].(tu.MediaHint); h.Stream != 1 || !h.Silent {
		t.Errorf("%+v", h)
	}
	r.Tell(1, tu.Hangup{})
	r.settle(r.now)
	if got := r.users[0].kinds(); !strings.HasSuffix(got, "Hangup, Reserved, MediaRefused") && !strings.HasSuffix(got, "Hangup, MediaRefused, Reserved") {
		t.Error(got)
	}
	if len(r.taken) != 1 {
		t.Errorf("%d ports", len(r.taken))
	}
	r.end(r.now, r.Core.users[1])
	r.settle(r.now)
	r.pass(time.Minute)
	r.zero()
}

func TestHealthAndNotesReachTheProgram(t *testing.T) {
	r := newRig(t)
	r.script = func(*actor, time.Time, tu.Event) []tu.Action {
		return []tu.Action{tu.Health{Peer: "itsp", Up: true, Known: true}, tu.Note{Text: "odd"}, tu.Cancel{Ref: 7}, tu.CloseDialog{}}
	}
	id := r.Start(func(id tu.UserID, seed tu.Seed) tu.User {
		u, _ := fakeAssembly{r}.New(r.now, seed, id, &tu.Arrived{})
		return u
	})
	r.settle(r.now)
	if len(r.healths) != 1 || len(r.notes) != 1 || id != 1 || r.users[0].kinds() != "Tick" || r.faultsContained() != 0 {
		t.Errorf("%v %v %s", r.healths, r.notes, r.users[0].kinds())
	}
}
