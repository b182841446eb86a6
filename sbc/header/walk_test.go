package header

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// party is one end of a call: what stands in its messages, and what it brought so far.
type party struct {
	side             nat.Side
	addr, media      string // of the peer
	domain, product  string
	callID, tag, our string // the leg's dialog: its Call-ID, the peer's tag, our tag
	brought          tu.Secrets
}

// walk is one call through the gate, message by message.
type walk struct {
	t     *testing.T
	guard *Guard
	ends  [2]*party // caller, callee
	in    Direction // caller to callee
	out   Direction
	seq   uint32
}

// uri is a SIP URI of a party.
func (p *party) uri(user string) message.URI {
	return message.URI{Scheme: "sip", User: user, Host: p.addr, Port: 5060}
}

// says is a message as a party writes it: its own names and ids in every place that has one.
func (w *walk) says(from int, method string, status int, body bool) *message.Message {
	p := w.ends[from]
	own := w.guard.text[p.side]
	m := &message.Message{Method: method, Status: status, CallID: p.callID, CSeq: w.seq, MaxForwards: 70}
	local := message.NameAddr{URI: p.uri("4711"), Display: `"Someone"`, Tag: p.tag}
	remote := message.NameAddr{URI: message.URI{Scheme: "sip", User: "4712", Host: own}, Tag: p.our}
	if status == 0 {
		m.URI, m.From, m.To = remote.URI, local, remote
		m.Via = []message.Via{{Transport: "UDP", Host: p.addr, Port: 5060, Branch: fmt.Sprintf("z9hG4bK%s-%d", p.tag, w.seq), RPort: 0, Received: p.addr}}
	} else {
		m.Reason, m.From, m.To = "OK", remote, local
		m.Via = []message.Via{{Transport: "UDP", Host: own, Branch: "z9hG4bKours", RPort: -1}}
	}
	m.Headers = []message.Header{
		{Name: "Contact", Value: "<sip:4711@" + p.addr + ":5060>"}, {Name: "User-Agent", Value: p.product}, {Name: "Server", Value: p.product},
		{Name: "Record-Route", Value: "<sip:" + p.addr + ";lr>"}, {Name: "P-Asserted-Identity", Value: "<sip:4711@" + p.domain + ">"},
		{Name: "Diversion", Value: "<sip:4713@" + p.addr + ":5070>;reason=unconditional"}, {Name: "Warning", Value: `399 ` + p.domain + ` "low"`},
		{Name: "Supported", Value: "100rel, timer, replaces, histinfo"}, {Name: "Allow", Value: "INVITE, ACK, PUBLISH, REFER, BYE"},
		{Name: "Organization", Value: p.product}, {Name: "Session-Expires", Value: "1800"},
	}
	if body {
		m.Add("Content-Type", "application/sdp")
		m.Body = fmt.Appendf(nil, "v=0\r\no=%s 1 1 IN IP4 %s\r\ns=%s\r\nc=IN IP4 %s\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\na=rtcp:4001 IN IP4 %s\r\n"+
			"a=candidate:1 1 UDP 1 %s 4000 typ host\r\n", p.product, p.addr, p.product, p.media, p.media, p.media)
	}
	return m
}

// notes is what a call notes of a message that came.
func (w *walk) notes(from int, m *message.Message) {
	s := &w.ends[from].brought
	for _, id := range []string{m.CallID, m.From.Tag, m.To.Tag} {
		s.AddID(id)
	}
	for i := range m.Via {
		if m.IsRequest() {
			s.AddHost(m.Via[i].Host)
			s.AddID(m.Via[i].Branch)
		}
	}
	addBody(s, m.Body)
	s.AddHost(w.ends[from].addr)
}

// passes lets a message through the gate, and looks at what comes out.
func (w *walk) passes(from int, m *message.Message) {
	w.t.Helper()
	w.notes(from, m)
	d := w.in
	if from == 1 {
		d = w.out
	}
	to := w.ends[1-from]
	out := across(w.t, d, m)
	out.CallID = to.callID
	if out.From.Tag, out.To.Tag = to.our, to.tag; !m.IsRequest() {
		out.From.Tag, out.To.Tag = to.tag, to.our
	}
	if m.IsRequest() && m.To.Tag != "" { // within the dialog: the peer's own contact and names
		out.URI = to.uri("4711")
		out.To.URI = to.uri("4711")
		out.Add("Route", "<sip:"+to.addr+";lr>")
	}
	name := fmt.Sprintf("%v %s %d", d, m.Method, m.Status)
	if hits, ok := w.guard.Check(to.side, out, &w.ends[from].brought); hits != 0 || !ok {
		w.t.Errorf("%s: the guard has %d hits on an ordinary message, ok %v\n%s", name, hits, ok, written(w.t, out))
	}
	raw := written(w.t, out)
	p := w.ends[from]
	for _, secret := range []string{p.domain, p.product, p.callID, p.tag, "z9hG4bK" + p.tag, "candidate", "100rel", "PUBLISH", "Session-Expires"} {
		if strings.Contains(raw, secret) {
			w.t.Errorf("%s shows %q:\n%s", name, secret, raw)
		}
	}
	if p.addr != to.addr && (strings.Contains(raw, p.addr) || strings.Contains(raw, p.media)) {
		w.t.Errorf("%s shows an address:\n%s", name, raw)
	}
}

// TestWholeCalls walks ordinary calls in both directions. The guard stays silent: what passes by the allow list and the
// table of hosts needs no repair. That holds where a peer of the one side has the same private address as the other's.
func TestWholeCalls(t *testing.T) {
	provider := func() *party {
		return &party{side: nat.Outside, addr: "203.0.113.20", media: "203.0.113.21", domain: "core.itsp.example", product: "CarrierSoft"}
	}
	pbx := func() *party {
		return &party{side: nat.Inside, addr: "10.0.0.10", media: "10.0.0.51", domain: "pbx.example.internal", product: "Asterisk"}
	}
	twin := func() *party {
		p := provider()
		p.addr, p.media = "10.0.0.10", "10.0.0.10" // a provider across a VPN with our numbering
		return p
	}
	for name, ends := range map[string][2]*party{
		"in": {provider(), pbx()}, "out": {pbx(), provider()}, "in, same address": {twin(), pbx()}, "out, same address": {pbx(), twin()},
	} {
		w := &walk{t: t, guard: testGuard(), ends: ends, in: TrunkToPBX, out: PBXToTrunk, seq: 1}
		if ends[0].side == nat.Inside {
			w.in, w.out = PBXToTrunk, TrunkToPBX
		}
		if strings.Contains(name, "same") {
			w.guard = NewGuard([2][]netip.Addr{{gateOutside}, {gateInside}}, [2][]string{{"10.0.0.10"}, {"10.0.0.10"}}, "example.com")
		}
		a, b := ends[0], ends[1]
		a.callID, a.tag = "first-leg-call@"+a.addr, "first-peer-tag"
		b.callID = "second-leg-call"
		b.our = "second-our-tag"
		w.passes(0, w.says(0, "INVITE", 0, true))
		a.our, b.tag = "first-our-tag", "second-peer-tag"
		w.passes(1, w.says(1, "INVITE", 183, true))
		w.passes(1, w.says(1, "INVITE", 200, true))
		w.passes(0, w.says(0, "ACK", 0, false))
		for from := range 2 { // hold from either side, then what else a dialog carries
			w.seq++
			w.passes(from, w.says(from, "INVITE", 0, true))
			w.passes(1-from, w.says(1-from, "INVITE", 200, true))
			w.passes(from, w.says(from, "ACK", 0, false))
			w.passes(from, w.says(from, "INFO", 0, false))
			w.passes(1-from, w.says(1-from, "INFO", 488, false))
			w.passes(from, w.says(from, "UPDATE", 0, true))
		}
		w.seq++
		w.passes(1, w.says(1, "BYE", 0, false))
		w.passes(0, w.says(0, "BYE", 200, false))
	}
}
