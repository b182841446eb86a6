package core

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// TestReplyFlow: where responses go (RFC 3261 §18.2.2, RFC 3581 §4).
func TestReplyFlow(t *testing.T) {
	r := newRig(t)
	symmetric := *itsp
	symmetric.Symmetric = true
	phone := *itsp
	phone.Kind = tu.KindPhone
	source := netip.MustParseAddrPort("203.0.113.20:40000")
	for _, tt := range []struct {
		name      string
		transport nat.Transport
		via       message.Via
		peer      *tu.Peer
		from      string
		want      string
	}{
		{"no rport: the port of the Via", nat.UDP, message.Via{Host: "203.0.113.20", Port: 5070, RPort: -1}, itsp, "203.0.113.20:40000", "203.0.113.20:5070"},
		{"no port: 5060", nat.UDP, message.Via{Host: "203.0.113.20", RPort: -1}, itsp, "203.0.113.20:40000", "203.0.113.20:5060"},
		{"never the address of the Via", nat.UDP, message.Via{Host: "192.0.2.1", Port: 5070, RPort: -1}, itsp, "203.0.113.20:40000", "203.0.113.20:5070"},
		{"rport asked for", nat.UDP, message.Via{Host: "203.0.113.20", Port: 5070, RPort: 0}, itsp, "203.0.113.20:40000", "203.0.113.20:40000"},
		{"rport filled in", nat.UDP, message.Via{Host: "203.0.113.20", Port: 5070, RPort: 40000}, itsp, "203.0.113.20:40000", "203.0.113.20:40000"},
		{"symmetric", nat.UDP, message.Via{Host: "203.0.113.20", Port: 5070, RPort: -1}, &symmetric, "203.0.113.20:40000", "203.0.113.20:40000"},
		{"phone", nat.UDP, message.Via{Host: "192.168.1.2", Port: 5070, RPort: -1}, &phone, "203.0.113.20:40000", "203.0.113.20:40000"},
		{"stranger", nat.UDP, message.Via{Host: "192.168.1.2", Port: 5070, RPort: -1}, nil, "203.0.113.20:40000", "203.0.113.20:40000"},
		{"TCP", nat.TCP, message.Via{Host: "203.0.113.20", Port: 5070, RPort: -1}, itsp, "203.0.113.20:40000", "203.0.113.20:40000"},
		{"TLS", nat.TLS, message.Via{Host: "203.0.113.20", RPort: -1}, itsp, "203.0.113.20:40000", "203.0.113.20:40000"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r.cfg.Assembly = peerOf{fakeAssembly{r}, tt.peer}
			m := request("OPTIONS", "c", "1", "")
			m.Via[0] = tt.via
			from := nat.Flow{Interface: 1, Transport: tt.transport, Remote: netip.MustParseAddrPort(tt.from), Conn: 3}
			got := r.replyFlow(m, from)
			if got.Remote.String() != tt.want || got.Interface != 1 || got.Conn != 3 || got.Transport != tt.transport {
				t.Errorf("%+v, want %s", got, tt.want)
			}
		})
	}
	if got := r.replyFlow(&message.Message{}, nat.Flow{Remote: source}); got.Remote != source {
		t.Error("no Via")
	}
}

// peerOf makes everybody one peer.
type peerOf struct {
	fakeAssembly
	peer *tu.Peer
}

func (p peerOf) Identify(nat.Flow) (*tu.Peer, tu.Local, nat.Side) {
	return p.peer, tu.Local{}, nat.Outside
}

// cancelled sends an INVITE whose user ends at once: it is cancelled, and its answer comes late.
func cancelled(t *testing.T) (*rig, packet) {
	r := newRig(t)
	r.script = func(a *actor, _ time.Time, ev tu.Event) []tu.Action {
		return []tu.Action{a.reply(487), tu.Send{Ref: 1, Msg: outgoing("INVITE", "a", "x", 5), Hop: hop(nat.Inside)}, tu.End{}}
	}
	r.hear(outer, request("INVITE", "c", "1", ""))
	invite := r.find("INVITE")
	r.hear(outer, request("ACK", "c", "1", "x"))
	r.sent = nil
	return r, invite
}

// TestLateAnswer: a 2xx that nobody waits for is acknowledged, and its dialog ended; a copy is only acknowledged.
func TestLateAnswer(t *testing.T) {
	from := inner
	from.Remote = netip.MustParseAddrPort("10.0.0.10:39999")
	for _, tt := range []struct {
		name    string
		contact string
		routes  []string
		to      string
		uri     string
		route   string
	}{
		{"the Contact", "<sip:c@10.0.0.10:5070>", nil, "10.0.0.10:5070", "sip:c@10.0.0.10:5070", ""},
		{"without a port", "<sip:c@10.0.0.11>", nil, "10.0.0.11:5060", "sip:c@10.0.0.11", ""},
		{"the routes backwards, the last one first", "<sip:c@192.0.2.7>", []string{"<sip:10.0.0.12;lr>, <sip:10.0.0.13;lr>", "<sip:10.0.0.14:5066;lr>"}, "10.0.0.14:5066", "sip:c@192.0.2.7", "<sip:10.0.0.14:5066;lr>"},
		{"a Contact elsewhere: where it came from", "<sip:c@198.51.100.1:5070>", nil, "10.0.0.10:39999", "sip:c@198.51.100.1:5070", ""},
		{"a route elsewhere", "<sip:c@10.0.0.10>", []string{"<sip:198.51.100.1;lr>"}, "10.0.0.10:39999", "sip:c@10.0.0.10", "<sip:198.51.100.1;lr>"},
		{"a name", "<sip:c@pbx.example.com>", nil, "10.0.0.10:39999", "sip:c@pbx.example.com", ""},
		{"no Contact", "", nil, "10.0.0.10:5060", "sip:100@10.0.0.10", ""},
		{"two Contacts", "<sip:a@10.0.0.3>, <sip:b@10.0.0.4>", nil, "10.0.0.10:5060", "sip:100@10.0.0.10", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, invite := cancelled(t)
			ok := r.answer(invite, 200, "late")
			ok.Via[0].Host, ok.Via[0].Params = "192.0.2.99", ";evil=1" // the peer may write what it likes there
			if tt.contact != "" {
				ok.Add("Contact", tt.contact)
			}
			for _, x := range tt.routes {
				ok.Add("Record-Route", x)
			}
			r.hear(from, ok)
			ack, bye := r.find("ACK"), r.find("BYE")
			if got := r.lines(); got != "ACK "+tt.to+", BYE "+tt.to {
				t.Fatal(got)
			}
			for _, p := range []packet{ack, bye} {
				if !strings.Contains(p.text, " "+tt.uri+" SIP/2.0\r\n") || p.field("Route") != tt.route || p.toTag() != "late" ||
					!strings.HasPrefix(p.field("Via"), "SIP/2.0/UDP 10.0.0.2:5080;branch=") || strings.Contains(p.text, "evil") {
					t.Errorf("%q", p.text)
				}
			}
			if ack.field("CSeq") != "5 ACK" || bye.field("CSeq") != "6 BYE" {
				t.Errorf("%s, %s", ack.field("CSeq"), bye.field("CSeq"))
			}
			r.hear(from, ok)
			if got := r.lines(); got != "ACK "+tt.to {
				t.Errorf("a copy: %s", got)
			}
			fork := r.answer(invite, 200, "fork")
			r.hear(from, fork)
			if got := r.lines(); !strings.HasPrefix(got, "ACK ") || !strings.Contains(got, "BYE ") {
				t.Errorf("a fork: %s", got)
			}
			r.pass(2 * time.Minute)
			r.zero()
		})
	}
}

func TestLateAnswerOfAPeerThatIsGone(t *testing.T) {
	r, invite := cancelled(t)
	r.cfg.Assembly = peerOf{fakeAssembly{r}, nil} // a reload took the peer and its interface away
	r.hear(inner, r.answer(invite, 200, "late"))
	ack := r.find("ACK")
	if got := r.lines(); got != "ACK 10.0.0.10:5060, BYE 10.0.0.10:5060" || !strings.HasPrefix(ack.field("Via"), "SIP/2.0/UDP 10.0.0.2:5080;") {
		t.Errorf("%s\n%q", got, ack.text)
	}
}
