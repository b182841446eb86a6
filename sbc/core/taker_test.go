package core

import (
	"testing"
	"time"

	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// TestTaker: a request outside dialogs may be for a user that lives; its CANCEL, its ACK and its dialog are that user's, too.
func TestTaker(t *testing.T) {
	r := newRig(t)
	var other tu.Arrived
	r.script = func(a *actor, _ time.Time, ev tu.Event) []tu.Action {
		switch x := ev.(type) {
		case tu.Arrived:
			if x.Msg.CallID == "taker" {
				other = x
				return []tu.Action{a.replyTo(x, 180)}
			}
			return []tu.Action{a.open(), a.reply(180)}
		case tu.Cancelled:
			return []tu.Action{a.replyTo(other, 487)}
		}
		return nil
	}
	r.taker = func(ev *tu.Arrived) (tu.UserID, bool) {
		if _, replaces := ev.Msg.Get("Replaces"); replaces {
			return r.users[0].id, true
		}
		return 0, false
	}
	r.hear(outer, request("INVITE", "c", "1", ""))
	if id, ok := r.Holder(nat.Outside, "c", r.users[0].tag); !ok || id != r.users[0].id {
		t.Errorf("the dialog is that of %d, %v", id, ok)
	}
	if _, ok := r.Holder(nat.Inside, "c", r.users[0].tag); ok {
		t.Error("a dialog of the other side")
	}
	m := request("INVITE", "taker", "2", "")
	m.Via[0].Host = "10.0.0.10"
	m.Headers = append(m.Headers, message.Header{Name: "Replaces", Value: "c;to-tag=1;from-tag=2"})
	r.hear(inner, m)
	cancel := request("CANCEL", "taker", "2", "")
	cancel.Via[0] = m.Via[0]
	r.hear(inner, cancel)
	if got := r.users[0].kinds(); got != "Arrived INVITE, Arrived INVITE, Cancelled" || len(r.users) != 1 {
		t.Errorf("%d users, heard %s", len(r.users), got)
	}
	if got := r.lines(); got != "180 1 INVITE 203.0.113.20:5060, 180 1 INVITE 10.0.0.10:5060, 200 1 CANCEL 10.0.0.10:5060, 487 1 INVITE 10.0.0.10:5060" {
		t.Errorf("sent %s", got)
	}
	// A user that is gone takes nothing any more: the request becomes one of its own.
	r.taker = func(*tu.Arrived) (tu.UserID, bool) { return 77, true }
	r.hear(outer, request("INVITE", "e", "3", ""))
	if len(r.users) != 2 {
		t.Errorf("%d users", len(r.users))
	}
	// A program that fails over the question refuses the request, and lives.
	r.panics = map[string]bool{"Taker": true}
	r.hear(outer, request("INVITE", "f", "4", ""))
	if last := r.sent[len(r.sent)-1]; last.text[:11] != "SIP/2.0 500" {
		t.Errorf("%.40s", last.text)
	}
}
