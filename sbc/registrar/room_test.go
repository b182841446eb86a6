package registrar

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// TestMoreContactsThanAnyPhoneHas: a stranger's REGISTER with thousands is refused before any of them is looked at.
func TestMoreContactsThanAnyPhoneHas(t *testing.T) {
	for n, want := range map[int]int{contactsMost: 0, contactsMost + 1: 400, 2000: 400} {
		m := newPhones()["a"].request()
		m.Remove("Contact")
		var parts []string
		for i := range n {
			parts = append(parts, fmt.Sprintf("<sip:204@192.168.1.5:%d>", 5000+i))
		}
		m.Add("Contact", strings.Join(parts, ","))
		m.Set("Expires", "0")
		r := NewRegister(settings(), tu.Seed{1})
		code := 0
		for _, a := range r.Step(zero, tu.Arrived{Msg: m, Flow: newPhones()["a"].flow, Peer: &tu.Peer{Kind: tu.KindPhone, Stranger: true}}, nil) {
			if s, ok := a.(tu.Respond); ok && s.Msg.Status >= 200 {
				code = s.Msg.Status
			}
		}
		if code != want {
			t.Errorf("%d removals: %d, want %d", n, code, want)
		}
	}
}

// TestAFlappingConnectionFindsRoom: many phones write the port of their connection into Contact, have no instance, and begin
// a new Call-ID when they reconnect. What is left of the last connections makes room.
func TestAFlappingConnectionFindsRoom(t *testing.T) {
	set := settings()
	for i := range 30 {
		p := *newPhones()["d"]
		p.flow.Conn = uint64(100 + i)
		p.callID = fmt.Sprint("boot-", i)
		p.host = fmt.Sprintf("192.168.7.7:%d", 51000+i)
		m := p.request()
		m.Add("Authorization", `Digest username="204"`)
		r := NewRegister(set, tu.Seed{byte(i)})
		do := r.Step(zero, tu.Arrived{Msg: m, Flow: p.flow, Peer: &tu.Peer{Kind: tu.KindPhone}}, nil)
		for _, a := range do {
			if s, ok := a.(tu.Respond); ok {
				t.Fatalf("reconnection %d: %d", i, s.Msg.Status)
			}
		}
		do = r.Step(zero, tu.Routed{Hops: []tu.Hop{nodeHop("10.0.0.10:5060")}}, nil)
		ok := message.Reply(do[0].(tu.Send).Msg, 200, "")
		r.Step(zero, tu.Answered{Ref: do[0].(tu.Send).Ref, Msg: ok}, nil)
		set.Book.Lost(p.flow)
	}
	if n := set.Book.Len(); n > 8 {
		t.Errorf("%d bindings of one address-of-record", n)
	}
}

// TestKeeperAfterAStandstill: what is due at once leaves in parts, and nothing is left out.
func TestKeeperAfterAStandstill(t *testing.T) {
	set := settings()
	const flows = 2000
	for n := range flows {
		bind(set.Book, flowOf(n), fmt.Sprint(n, "@example.com"), n)
	}
	r := newKeeping(t, set)
	r.answer = nil // the mappings are gone
	r.now = zero.Add(10 * time.Minute)
	r.step(tu.Tick{})
	if len(r.out) != pingsMost {
		t.Fatalf("%d pings in one turn", len(r.out))
	}
	r.step(tu.Tick{}) // the Book has changed: no reason to hurry
	if next := r.k.Deadline(); len(r.out) != pingsMost || next.Sub(r.now) != pingsPause {
		t.Fatalf("%d pings, and on in %v", len(r.out), next.Sub(r.now))
	}
	for range flows / pingsMost {
		r.now = r.k.Deadline()
		r.step(tu.Tick{})
	}
	if len(r.out) != flows || r.now.Sub(zero.Add(10*time.Minute)) > time.Second {
		t.Errorf("%d of %d asked after %v", len(r.out), flows, r.now.Sub(zero.Add(10*time.Minute)))
	}
}
