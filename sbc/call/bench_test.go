package call

import (
	"net/netip"
	"testing"

	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// BenchmarkCall is the call's share of INVITE, 180, 200, ACK, BYE through both legs, with messages such as providers and
// PBXes send. Building the peers' messages is not counted: they are made once.
func BenchmarkCall(b *testing.B) {
	dress := func(m *message.Message) *message.Message {
		for _, h := range []message.Header{
			{Name: "Supported", Value: "timer, 100rel, replaces, histinfo"}, {Name: "Allow", Value: "INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, SUBSCRIBE, NOTIFY, INFO, PUBLISH, MESSAGE, UPDATE"},
			{Name: "P-Asserted-Identity", Value: "<sip:+49401234567@203.0.113.20;user=phone>"}, {Name: "Session-Expires", Value: "1800"},
			{Name: "Content-Disposition", Value: "session"}, {Name: "Privacy", Value: "none"}, {Name: "User-Agent", Value: "Asterisk PBX 20.1"},
		} {
			m.Add(h.Name, h.Value)
		}
		return m
	}
	s := newStage(b, "itsp1")
	offer := []byte("v=0\r\no=root 1821 1821 IN IP4 203.0.113.20\r\ns=Asterisk PBX 20.1\r\nc=IN IP4 203.0.113.20\r\nt=0 0\r\n" +
		"m=audio 14000 RTP/AVP 8 0 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n" +
		"a=fmtp:101 0-16\r\na=ptime:20\r\na=maxptime:150\r\na=sendrecv\r\n")
	begin := s.arrive(caller, dress(s.request(caller, "INVITE", "", 1, offer)), netip.AddrPort{})
	routed := tu.Routed{Hops: []tu.Hop{stageHop("node1"), stageHop("node2")}}
	ports := s.reserved(1)
	var do []tu.Action
	seed := tu.Seed{}
	for b.Loop() {
		seed[0]++
		c := New(s.c.set, seed)
		step := func(ev tu.Event) { do = c.Step(start, ev, do[:0]) }
		step(begin)
		step(routed)
		step(ports)
		sent := do[len(do)-1].(tu.Send)
		ringing := message.Reply(sent.Msg, 180, "")
		ringing.To.Tag = "x"
		ringing.Add("Contact", "<sip:callee@10.0.0.10:5060>")
		step(tu.Answered{Ref: sent.Ref, Msg: ringing, Flow: sent.Hop.Flow})
		ok := message.Reply(sent.Msg, 200, "")
		ok.To.Tag = "x"
		ok.Headers = append(ok.Headers, message.Header{Name: "Contact", Value: "<sip:callee@10.0.0.10:5060>"}, message.Header{Name: "Content-Type", Value: "application/sdp"})
		dress(ok)
		ok.Body = offer
		step(tu.Answered{Ref: sent.Ref, Msg: ok, Flow: sent.Hop.Flow})
		var mine string
		for _, a := range do {
			if r, is := a.(tu.Respond); is {
				mine = r.Msg.To.Tag
			}
		}
		step(tu.Acked{Tx: 1, Msg: s.request(caller, "ACK", mine, 1, nil)})
		step(tu.Arrived{Tx: 2, Msg: s.request(caller, "BYE", mine, 2, nil), Flow: begin.Flow, Peer: begin.Peer, Here: begin.Here})
		bye := do[1].(tu.Send)
		step(tu.Answered{Ref: bye.Ref, Msg: message.Reply(bye.Msg, 200, ""), Flow: bye.Hop.Flow})
		if _, ended := do[len(do)-1].(tu.End); !ended {
			b.Fatal("the call has not ended")
		}
	}
}
