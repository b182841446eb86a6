package call

import (
	"slices"
	"testing"

	"sallyport/media/sdp"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// mannerly checks that a peer is not sent what it does not take.
func (s *stage) mannerly(x *client) {
	s.t.Helper()
	m, manners := x.msg, &x.hop.Peer.Manners
	if m.Method == "UPDATE" && manners.Lacks.Method("UPDATE") && s.c.phase == established {
		s.errorf("an UPDATE to a peer that takes none")
	}
	for _, name := range [...]string{"UPDATE", "INFO", "PRACK"} {
		if manners.Lacks.Method(name) && has(m, "Allow", name) {
			s.errorf("%s is allowed to a peer that knows none", name)
		}
	}
	for _, tag := range [...]string{"100rel", "precondition", "replaces"} {
		if manners.Lacks.Option(tag) && has(m, "Supported", tag) {
			s.errorf("%s is told to a peer that knows none", tag)
		}
	}
	if manners.KeepsFlowing && m.To.Tag != "" && s.c.won >= 0 && s.c.moves == nil {
		s.flowing(x)
	}
}

// flowing checks that a peer is not told of a hold alone where it was told that all flows.
func (s *stage) flowing(x *client) {
	s.t.Helper()
	far := &s.c.legs[x.leg].media
	if len(sdpOf(x.msg)) == 0 || slices.ContainsFunc(far.seals, shaken) {
		return
	}
	told, now := parsed(far.out), parsed(sdpOf(x.msg))
	said := parsed(far.in)
	if told == nil || now == nil || said == nil || !now.SameStreams(told) || said.Len() != now.Len() { // what answers with other streams than it was offered is asked
		return
	}
	for i := range now.Len() {
		a, b, c := told.At(i), now.At(i), said.At(i)
		if a.Direction != sdp.SendRecv || a.Hold() || a.Rejected() || c.Rejected() { // what it has refused never flowed
			return
		}
		if b.Direction != a.Direction || b.Hold() {
			s.errorf("a hold alone goes to a peer that is not to hear of it:\n%s\n%s", far.out, x.msg.Body)
		}
	}
}

// bare checks that a provisional answer has no description where it must not.
func (s *stage) bare(a tu.Respond) {
	s.t.Helper()
	if m := a.Msg; s.hop[caller].Peer.Manners.RingsBare && m.Status > 100 && m.Status < 200 && m.Status != 183 && len(m.Body) > 0 {
		s.errorf("a description in a %d", m.Status)
	}
}

// TestWayBack: the direction of an answer, and when the other peer has to hear of an offer (RFC 3264 §6.1).
func TestWayBack(t *testing.T) {
	const both, send, receive, none = sdp.SendRecv, sdp.SendOnly, sdp.RecvOnly, sdp.Inactive
	for _, tt := range []struct {
		offer, told, said sdp.Direction
		bid               bool
		want              sdp.Direction
		ok                bool
	}{
		{both, both, both, false, both, true},
		{send, both, both, false, receive, true},
		{receive, both, both, false, send, true},
		{none, both, both, false, none, true},
		// It was told that nothing is sent, or heard: what it has answered says nothing of what it would.
		{both, send, receive, false, 0, false},
		{receive, send, receive, false, 0, false},
		{send, send, receive, false, receive, true},
		{none, send, receive, false, none, true},
		{both, none, none, false, 0, false},
		{none, none, none, false, none, true},
		// It holds itself.
		{both, receive, send, true, send, true},
		{send, receive, send, true, none, true},
		{receive, receive, send, true, send, true},
		{both, none, none, true, none, true},
		// It only ever sends, whatever it is offered.
		{both, both, send, false, send, true},
		{send, both, send, false, none, true},
	} {
		got, ok := wayBack(way{Direction: tt.offer}, way{Direction: tt.told}, way{Direction: tt.said}, tt.bid)
		if ok != tt.ok || ok && got != tt.want {
			t.Errorf("offer %s, told %s, said %s, bid %v: %s %v", tt.offer, tt.told, tt.said, tt.bid, got, ok)
		}
	}
	if got, ok := wayBack(way{both, true}, way{both, false}, way{both, false}, false); got != both || !ok {
		t.Errorf("the hold of RFC 2543 is answered by %s, %v", got, ok)
	}
	if _, ok := wayBack(way{both, false}, way{both, true}, way{both, false}, false); ok {
		t.Error("a peer that was told of the hold of RFC 2543 does not hear of its end")
	}
}

// TestHoldTimes: a call on hold that the provider knows nothing of is one to those who look, and to the relay.
func TestHoldTimes(t *testing.T) {
	p := playing(t, "itsp1", "from itsp1 hold=local", "a INVITE sdp=audio:4000", "routed node1", "reserved 1", "b 200 tag=x sdp=audio:4002", "a ACK")
	state := func() string { return p.c.View().State }
	if got := state(); got != "talking" {
		t.Fatal(got)
	}
	for _, step := range []struct {
		event, state string
		flows        bool
	}{
		{"b INVITE tag=x sdp=audio:4002:sendonly", "held", false},
		{"b UPDATE tag=x sdp=audio:4002", "talking", true},
		{"b UPDATE tag=x sdp=audio:4002:inactive", "held", false},
	} {
		do := p.event(step.event)
		points := 0
		for _, a := range do {
			switch a := a.(type) {
			case tu.Send:
				t.Errorf("%s: the provider is asked: %+v", step.event, a.Msg)
			case tu.Point:
				if points++; (a.Aim.Send && a.Aim.Receive) != step.flows {
					t.Errorf("%s: %+v", step.event, a.Aim)
				}
			}
		}
		if points != 2 || state() != step.state {
			t.Errorf("%s: %d aims, %s", step.event, points, state())
		}
		if step.event[2] == 'I' {
			p.event("b ACK")
		}
	}
}

// TestWithoutOrigin: where there is none, nothing is cut.
func TestWithoutOrigin(t *testing.T) {
	for in, want := range map[string]string{"v=0\r\no=a 1 2\r\ns=-\r\n": "\ns=-\r\n", "v=0\r\ns=-\r\n": "v=0\r\ns=-\r\n", "v=0\no=a": "v=0\no=a", "": ""} {
		if got := string(withoutOrigin([]byte(in))); got != want {
			t.Errorf("%q becomes %q", in, got)
		}
	}
	var c Call
	c.legs[caller].peer = &tu.Peer{}
	if c.repeatsAnew(caller, &message.Message{}) {
		t.Error("a peer without such manners")
	}
}
