package core

import (
	"strings"
	"testing"
	"time"

	"sallyport/nat"
	"sallyport/sbc/tu"
)

func (r *rig) forsake(f nat.Flow) {
	r.Forsake(r.now, func(to nat.Flow) bool { return to == f })
	r.settle(r.now)
}

// TestForsakenWithinADialog: what has had a provisional response goes by the other node at once, the same but for branch and route.
func TestForsakenWithinADialog(t *testing.T) {
	for _, method := range []string{"INVITE", "UPDATE", "BYE"} {
		r, w, do := wayRig(t)
		do(sends(1, within(method, 5)))
		first := r.find(method)
		r.hear(inner, r.answer(first, 100, "theirs"))
		r.pass(time.Second)
		w.down[inner.Remote] = true
		r.sent = nil
		r.forsake(inner)
		var second packet
		for _, p := range r.sent {
			if p.to.Remote == standIn.Remote {
				second = p
			}
		}
		if second.field("CSeq") != "5 "+method || second.field("Route") != "<sip:10.0.0.11;lr>" || second.field("Via") == first.field("Via") {
			t.Fatalf("%s: it sent %s,\n%s", method, r.lines(), second.text)
		}
		if cancelled := strings.Contains(r.lines(), "CANCEL 10.0.0.10"); cancelled != (method == "INVITE") {
			t.Errorf("%s: it sent %s", method, r.lines())
		}
		if got := r.users[0].kinds(); strings.Contains(got, "Failed") {
			t.Errorf("%s: the user heard %s", method, got)
		}
		// The first one answers after all: the dialog goes on, and its 2xx has an ACK.
		r.sent = nil
		ok := r.answer(first, 200, "theirs")
		ok.Add("Contact", "<sip:100@10.0.0.50>")
		r.hear(inner, ok)
		if got := r.lines(); method == "INVITE" && !strings.HasPrefix(got, "ACK ") || strings.Contains(got, "BYE") {
			t.Errorf("%s: a late 2xx has got %q", method, got)
		}
		r.hear(standIn, r.answer(second, 200, "theirs"))
		if got := r.users[0].kinds(); !strings.HasSuffix(got, "Answered 200") || strings.Count(got, "Answered 200") != 1 {
			t.Errorf("%s: the user heard %s", method, got)
		}
		r.over()
		r.zero()
	}
}

// TestForsakenForGood: without another way it has failed as if its time were over, at once.
func TestForsakenForGood(t *testing.T) {
	direct := within("INVITE", 5)
	direct.Remove("Route")
	for name, s := range map[string]tu.Send{
		"the node is the far end": sends(1, direct), "outside dialogs": sends(1, outgoing("INVITE", "e", "x", 1)),
	} {
		r, _, do := wayRig(t)
		do(s)
		r.hear(inner, r.answer(r.find("INVITE"), 180, "theirs"))
		r.forsake(inner)
		if got := r.users[0].kinds(); !strings.HasSuffix(got, "Failed 408 timeout") {
			t.Errorf("%s: the user heard %s", name, got)
		}
		heard := r.users[0].heard
		if f := heard[len(heard)-1].(tu.Failed); !f.Lost {
			t.Errorf("%s: the user heard %+v", name, f)
		}
		r.forsake(inner)
		r.over()
		r.zero()
	}
}

// TestALateAnswerOfAForsakenCall is acknowledged and hung up, though a PRACK has gone in its early dialog: the call is another node's now.
func TestALateAnswerOfAForsakenCall(t *testing.T) {
	r, _, do := wayRig(t)
	do(sends(1, outgoing("INVITE", "d1", "ours", 5)))
	first := r.find("INVITE")
	r.hear(inner, r.answer(first, 183, "theirs"))
	do(sends(2, within("PRACK", 6)))
	r.hear(inner, r.answer(r.find("PRACK"), 200, "theirs"))
	r.forsake(inner)
	r.sent = nil
	ok := r.answer(first, 200, "theirs")
	ok.Add("Contact", "<sip:100@10.0.0.50>")
	r.hear(inner, ok)
	if got := r.lines(); !strings.Contains(got, "ACK ") || !strings.Contains(got, "BYE ") {
		t.Errorf("it sent %q", got)
	}
	r.over()
	r.zero()
}

// TestDivert: what a node has had no word for goes by another one, if there is one, once; newer requests and those without another way wait.
func TestDivert(t *testing.T) {
	r, w, do := wayRig(t)
	direct := within("INFO", 7)
	direct.Remove("Route")
	do(sends(1, within("INFO", 5)), sends(2, direct), sends(3, outgoing("MESSAGE", "e", "x", 1)))
	r.pass(3 * time.Second)
	do(sends(4, within("BYE", 8)))
	divert := func() string {
		r.sent = nil
		// The node that was asked in vain is as good as down to the one who looks for ways.
		r.Divert(r.now, inner, r.now.Add(-2*time.Second))
		r.settle(r.now)
		return r.lines()
	}
	if got := divert(); got != "INFO 10.0.0.11:5060" {
		t.Errorf("it sent %q", got)
	}
	if got := divert(); got != "" {
		t.Errorf("then it sent %q", got)
	}
	w.down[standIn.Remote] = true
	r.pass(3 * time.Second)
	if got := divert(); got != "" {
		t.Errorf("without another node it sent %q", got)
	}
	if got := r.users[0].kinds(); strings.Contains(got, "Failed") {
		t.Errorf("the user heard %s", got)
	}
	r.over()
	r.zero()
}
