package header

import (
	"net/netip"
	"strings"
	"testing"

	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// clean is a request that leaves a side with nothing wrong in it; tests put one thing into it.
func clean(side nat.Side) *message.Message {
	own, peer := "198.51.100.5", "itsp.example"
	if side == nat.Inside {
		own, peer = "10.0.0.2", "example.com"
	}
	uri := func(user, host string) message.URI { return message.URI{Scheme: "sip", User: user, Host: host} }
	return &message.Message{
		Method: "INVITE", URI: uri("100", peer), CallID: "fresh", CSeq: 1, MaxForwards: 70,
		Via:     []message.Via{{Transport: "UDP", Host: own, Port: 5080, Branch: "z9hG4bKfresh", RPort: 0}},
		From:    message.NameAddr{URI: uri("200", own), Tag: "fresh-from"},
		To:      message.NameAddr{URI: uri("100", peer)},
		Headers: []message.Header{{Name: "Contact", Value: "<sip:200@" + own + ":5080>"}, {Name: "Allow", Value: Methods}},
	}
}

// dialogOf makes of a request one within a dialog.
func dialogOf(m *message.Message) *message.Message {
	m.Method, m.To.Tag = "BYE", "their-tag"
	return m
}

// answerTo makes a response of a request.
func answerTo(m *message.Message) *message.Message {
	m.Status, m.Reason, m.URI, m.MaxForwards, m.To.Tag = 200, "OK", message.URI{}, -1, "fresh-to"
	return m
}

func withHeader(name, value string) func(*message.Message) {
	return func(m *message.Message) { m.Add(name, value) }
}

func TestGuardFindsAndRepairs(t *testing.T) {
	tests := []struct {
		name string
		side nat.Side
		make func(m *message.Message)
		hits int
		want string // stands in the repaired message
	}{
		{"nothing", nat.Outside, func(*message.Message) {}, 0, ""},
		{"nothing inside", nat.Inside, func(*message.Message) {}, 0, ""},
		{"Request-URI", nat.Outside, func(m *message.Message) { m.URI.Host = "10.0.0.10" }, 1, "INVITE sip:100@198.51.100.5 "},
		{"name in Request-URI", nat.Outside, func(m *message.Message) { m.URI.Host = "PBX.example.INTERNAL" }, 1, "INVITE sip:100@198.51.100.5 "},
		{"From", nat.Outside, func(m *message.Message) { m.From.URI.Host = "10.0.0.2" }, 1, "From: <sip:200@198.51.100.5>"},
		{"To", nat.Inside, func(m *message.Message) { m.To.URI.Host = "203.0.113.20" }, 1, "To: <sip:100@10.0.0.2>"},
		{"maddr of From", nat.Outside, func(m *message.Message) { m.From.URI.Params = ";maddr=10.0.0.10" }, 1, ";maddr=198.51.100.5"},
		{"display name", nat.Outside, func(m *message.Message) { m.From.Display = `"at 10.0.0.10"` }, 1, `"at 198.51.100.5"`},
		{"Via", nat.Outside, func(m *message.Message) { m.Via[0].Host = "10.0.0.2" }, 1, "UDP 198.51.100.5:5080"},
		{"received", nat.Outside, func(m *message.Message) { m.Via[0].Received = "10.0.0.10" }, 1, "received=198.51.100.5"},
		{"Via parameter", nat.Outside, func(m *message.Message) { m.Via[0].Params = ";x=10.0.0.10" }, 1, "x=198.51.100.5"},
		{"Contact", nat.Outside, func(m *message.Message) { m.Headers[0].Value = "<sip:200@10.0.0.2:5080>" }, 1, "<sip:200@198.51.100.5:5080>"},
		{"Contact by name", nat.Outside, func(m *message.Message) { m.Headers[0].Value = "<sip:200@pbx:5080>" }, 1, "<sip:200@198.51.100.5:5080>"},
		{"Contact without user", nat.Outside, func(m *message.Message) { m.Headers[0].Value = "<SIP:pbx>" }, 1, "<SIP:198.51.100.5>"},
		{"IPv6 in a URI", nat.Outside, func(m *message.Message) { m.Headers[0].Value = "<sip:[FD00:10::10]:5080>" }, 1, "<sip:198.51.100.5:5080>"},
		{"IPv6 bare", nat.Outside, withHeader("X-A", "from fd00:0010:0::10."), 1, "from 198.51.100.5."},
		{"mapped", nat.Outside, withHeader("X-A", "::ffff:10.0.0.10"), 1, "X-A: 198.51.100.5"},
		{"range of one address", nat.Outside, withHeader("X-A", "10.0.0.11"), 1, "X-A: 198.51.100.5"},
		{"Warning", nat.Outside, withHeader("Warning", `399 pbx "x"`), 1, `399 198.51.100.5 "x"`},
		{"Warning by address", nat.Outside, withHeader("Warning", `399 10.0.0.10:5060 "x", 307 10.0.0.10 "y"`), 2, `399 198.51.100.5:5060 "x", 307 198.51.100.5 "y"`},
		{"Call-Info", nat.Outside, withHeader("Call-Info", "<http://pbx.example.internal/a.png>;purpose=icon"), 1, "<http://198.51.100.5/a.png>"},
		{"parameter with a name", nat.Outside, withHeader("X-A", "a;host=pbx.example.internal"), 1, "host=198.51.100.5"},
		{"address in a longer word", nat.Outside, withHeader("X-A", "id-10.0.0.10-77"), 1, "id-198.51.100.5-77"},
		{"address at the end of a sentence", nat.Outside, withHeader("Subject", "see 10.0.0.10."), 1, "see 198.51.100.5."},
		{"provider's address inside", nat.Inside, withHeader("X-Src", "203.0.113.20"), 1, "X-Src: 10.0.0.2"},
		{"provider's name inside", nat.Inside, withHeader("X-Src", "sip:a@itsp.example"), 1, "X-Src: sip:a@10.0.0.2"},
		{"Record-Route of a request", nat.Outside, withHeader("Record-Route", "<sip:10.0.0.10;lr>"), 1, "<sip:198.51.100.5;lr>"},
	}
	for _, tt := range tests {
		m := clean(tt.side)
		tt.make(m)
		hits, ok := testGuard().Check(tt.side, m, nil)
		if hits != tt.hits || !ok || !strings.Contains(written(t, m), tt.want) {
			t.Errorf("%s: %d hits, ok %v\n%s", tt.name, hits, ok, written(t, m))
		}
	}
}

// innocent are messages that look as if they leaked, and do not.
var innocent = []struct {
	name string
	make func(m *message.Message) *message.Message
}{
	{"internal ranges as such", func(m *message.Message) *message.Message {
		m.Add("X-A", "10.0.0.99, 192.168.1.1")
		return m
	}},
	{"longer numbers", func(m *message.Message) *message.Message {
		m.Add("X-A", "110.0.0.10, 10.0.0.100, 10.0.0, 10.0.0.266, 10.0..0.10, 1.100.0.0.10, 10. 0.0.10")
		return m
	}},
	{"a user that is spelt like a host", func(m *message.Message) *message.Message {
		m.From.URI.User = "pbx"
		m.Headers[0].Value = "<sip:pbx@198.51.100.5>, <sip:asterisk;x=y@198.51.100.5>, <sip:pbx:pw@198.51.100.5>"
		return m
	}},
	{"words that are spelt like a host", func(m *message.Message) *message.Message {
		m.Add("Subject", "pbx: about asterisk")
		m.Add("X-A", "<sip:1@itsp.example;user=phone>;x=pbx")
		return m
	}},
	{"longer names", func(m *message.Message) *message.Message {
		m.Add("X-A", "sip:a@pbx.example, sip:a@my-pbx, sip:a@xpbx.example.internal")
		return m
	}},
	{"pbx.domain", func(m *message.Message) *message.Message {
		m.URI.Host = "example.com"
		return m
	}},
	{"credentials and challenges", func(m *message.Message) *message.Message {
		m.Add("Authorization", `Digest realm="10.0.0.10", uri="sip:10.0.0.10"`)
		m.Add("Proxy-Authenticate", `Digest realm="pbx.example.internal"`)
		return m
	}},
	{"route of this side", func(m *message.Message) *message.Message {
		m.Add("Route", "<sip:10.0.0.10;lr>")
		return m
	}},
	{"dialog of this side", func(m *message.Message) *message.Message {
		m.URI.Host, m.To.URI.Host, m.From.URI.Host = "10.0.0.10", "10.0.0.10", "10.0.0.10"
		m.CallID = "x@10.0.0.10"
		return dialogOf(m)
	}},
	{"a tag of this side that is the other side's as well", func(m *message.Message) *message.Message {
		dialogOf(m).To.Tag = "1"
		return m
	}},
	{"what a response echoes", func(m *message.Message) *message.Message {
		m.Via[0].Host, m.From.URI.Host, m.From.Tag, m.CallID = "10.0.0.10", "10.0.0.10", "1", "x@10.0.0.10"
		m.Via[0].Branch = "as58f4"
		m.Add("Record-Route", "<sip:10.0.0.10;lr>")
		return answerTo(m)
	}},
	{"a text body", func(m *message.Message) *message.Message {
		m.Add("Content-Type", "text/plain")
		m.Body = []byte("c=IN IP4 10.0.0.10\r\n")
		return m
	}},
	{"a description without leaks", func(m *message.Message) *message.Message {
		m.Add("Content-Type", "application/sdp")
		m.Body = []byte("v=0\r\no=- 1 1 IN IP4 198.51.100.5\r\nc=IN IP4 0.0.0.0\r\n")
		return m
	}},
}

func TestGuardLeavesAlone(t *testing.T) {
	bring := &tu.Secrets{Hosts: []string{"asterisk", "phone", "10.0.0.77"}, IDs: []string{"as58f4", "1"}}
	for _, tt := range innocent {
		m := tt.make(clean(nat.Outside))
		before := written(t, m)
		if hits, ok := testGuard().Check(nat.Outside, m, bring); hits != 0 || !ok || written(t, m) != before {
			t.Errorf("%s: %d hits, ok %v\n%s", tt.name, hits, ok, written(t, m))
		}
	}
}

// TestGuardOfBindings: a phone may have at home the very address that a PBX node has here; it is told its own Contact back.
func TestGuardOfBindings(t *testing.T) {
	g := testGuard()
	for method, want := range map[string]string{"REGISTER": "<sip:204@10.0.0.10:5060>;expires=60", "SUBSCRIBE": ""} {
		m := &message.Message{
			Method: method, Status: 200, Reason: "OK", CallID: "a", CSeq: 1,
			Headers: []message.Header{{Name: "Contact", Value: "<sip:204@10.0.0.10:5060>;expires=60"}},
		}
		hits, _ := g.Check(nat.Outside, m, nil)
		if kept := m.Headers[0].Value == "<sip:204@10.0.0.10:5060>;expires=60"; kept != (want != "") || kept != (hits == 0) {
			t.Errorf("%s: %d hits, %s", method, hits, m.Headers[0].Value)
		}
	}
}

func TestGuardOfWhatTheOtherLegBrought(t *testing.T) {
	bring := &tu.Secrets{}
	bring.AddHost("node7.cluster.example")
	bring.AddHost("10.0.0.77")
	bring.AddHost("fd00:10::77")
	bring.AddHost("198.51.100.5") // ours: nothing to hide
	bring.AddHost("example.com")  // pbx.domain
	bring.AddAddr(netip.MustParseAddr("10.0.0.78"))
	bring.AddAddr(netip.MustParseAddr("0.0.0.0"))
	bring.AddAddr(netip.MustParseAddr("198.51.100.5"))
	bring.AddID("71c3f8a90b@10.0.0.10")
	bring.AddID("as58f4")
	bring.AddID("z9hG4bK5a3bf")
	tests := []struct {
		name string
		make func(m *message.Message)
		hits int
		ok   bool
	}{
		{"name", withHeader("X-A", "sip:a@NODE7.cluster.example"), 1, true},
		{"address as text", withHeader("X-A", "10.0.0.77"), 1, true},
		{"IPv6 as text", withHeader("X-A", "[fd00:10::77]"), 1, true},
		{"address", withHeader("X-A", "10.0.0.78"), 1, true},
		{"unspecified", withHeader("X-A", "0.0.0.0"), 0, true},
		{"ours and the domain", withHeader("X-A", "sip:a@198.51.100.5, sip:a@example.com"), 0, true},
		{"Call-ID", func(m *message.Message) { m.CallID = "71c3f8a90b@10.0.0.10" }, 2, false},
		{"host of a Call-ID", func(m *message.Message) { m.CallID = "x@10.0.0.10" }, 1, false},
		{"From tag", func(m *message.Message) { m.From.Tag = "as58f4" }, 1, false},
		{"branch", func(m *message.Message) { m.Via[0].Branch = "z9hG4bK5a3bf" }, 1, false},
		{"To tag of a response", func(m *message.Message) { answerTo(m).To.Tag = "as58f4" }, 1, false},
		{"phrase of a response", func(m *message.Message) { answerTo(m).Reason = "OK by 10.0.0.77" }, 1, true},
		{"dialog named in a field", withHeader("Replaces", "x;to-tag=as58f4;from-tag=y"), 1, true},
		{"Call-ID in an extension", withHeader("X-Correlation", "71c3f8a90b@10.0.0.10"), 1, true}, // the address goes first
		{"tag in an extension", withHeader("X-Correlation", "id=as58f4"), 1, true},
	}
	for _, tt := range tests {
		m := clean(nat.Outside)
		tt.make(m)
		hits, ok := testGuard().Check(nat.Outside, m, bring)
		if hits != tt.hits || ok != tt.ok {
			t.Errorf("%s: %d hits, ok %v\n%s", tt.name, hits, ok, written(t, m))
		}
		if again, _ := testGuard().Check(nat.Outside, m, bring); tt.ok && again != 0 {
			t.Errorf("%s: %d hits after the repair\n%s", tt.name, again, written(t, m))
		}
	}
}

func TestGuardOfDescriptions(t *testing.T) {
	desc := "v=0\r\no=x 1 1 IN IP4 10.0.0.10\r\ns=-\r\nc=IN IP4 pbx.example.internal\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n" +
		"a=rtcp:4001 IN IP4 10.0.0.10\r\na=candidate:1 1 UDP 1 10.0.0.10 4000 typ host\r\na=candidate:2 1 UDP 1 10.0.0.78 4000 typ host\r\n"
	want := "v=0\r\no=x 1 1 IN IP4 198.51.100.5\r\ns=-\r\nc=IN IP4 198.51.100.5\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n" +
		"a=rtcp:4001 IN IP4 198.51.100.5\r\n"
	bring := &tu.Secrets{Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.78")}}
	for _, fresh := range []bool{true, false} {
		m := clean(nat.Outside)
		if !fresh {
			answerTo(m)
		}
		m.Add("Content-Type", "application/sdp")
		m.Body = []byte(desc)
		if hits, ok := testGuard().Check(nat.Outside, m, bring); hits != 5 || !ok || string(m.Body) != want {
			t.Errorf("%d hits, ok %v\n%s", hits, ok, m.Body)
		}
	}
	part := func(d string) string { return "--b\r\nContent-Type: application/sdp\r\n\r\n" + d + "\r\n" }
	m := clean(nat.Outside)
	m.Add("Content-Type", "multipart/mixed;boundary=b")
	m.Body = []byte(part(desc) + part(desc) + "--b--\r\n")
	if hits, ok := testGuard().Check(nat.Outside, m, bring); hits != 10 || !ok || string(m.Body) != part(want)+part(want)+"--b--\r\n" {
		t.Errorf("multipart: %d hits, ok %v\n%s", hits, ok, m.Body)
	}
}

// TestGuardOfOneAddress: what belongs to both sides is no secret of either.
func TestGuardOfOneAddress(t *testing.T) {
	lo := netip.MustParseAddr("127.0.0.1")
	g := NewGuard([2][]netip.Addr{{lo}, {lo}}, [2][]string{{"127.0.0.1:5090"}, {"127.0.0.1:5070"}}, "127.0.0.1")
	m := clean(nat.Outside)
	m.URI.Host, m.From.URI.Host, m.Via[0].Host = "127.0.0.1", "127.0.0.1", "127.0.0.1"
	bring := &tu.Secrets{Hosts: []string{"127.0.0.1"}, Addrs: []netip.Addr{lo}}
	for side := range 2 {
		if hits, ok := g.Check(nat.Side(side), m, bring); hits != 0 || !ok {
			t.Errorf("side %d: %d hits, ok %v", side, hits, ok)
		}
	}
	// The domain is the node's address: it may be shown.
	g = NewGuard([2][]netip.Addr{{gateOutside}, {gateInside}}, [2][]string{nil, {"10.0.0.10"}}, "10.0.0.10")
	m = clean(nat.Outside)
	m.URI.Host = "10.0.0.10"
	if hits, _ := g.Check(nat.Outside, m, nil); hits != 0 {
		t.Errorf("pbx.domain is never forbidden: %d hits", hits)
	}
}

func TestGuardWithoutAnAddressCannotRepair(t *testing.T) {
	g := NewGuard([2][]netip.Addr{nil, {gateInside}}, [2][]string{})
	m := clean(nat.Outside)
	m.From.URI.Host = "10.0.0.2"
	m.Add("Content-Type", "application/sdp")
	m.Body = []byte("c=IN IP4 10.0.0.2\r\n")
	if hits, ok := g.Check(nat.Outside, m, nil); hits != 2 || ok {
		t.Errorf("%d hits, ok %v", hits, ok)
	}
}

func TestGuardOfIPv6Sides(t *testing.T) {
	out6, in6 := netip.MustParseAddr("2001:db8::5"), netip.MustParseAddr("fd00::2")
	g := NewGuard([2][]netip.Addr{{out6}, {in6}}, [2][]string{nil, {"[fd00::10]:5060", "fd00::11"}})
	m := clean(nat.Outside)
	m.From.URI.Host = "fd00::2"
	m.Via[0].Received = "fd00::10"
	m.Add("X-A", "sip:a@[fd00::11]:5060, fd00:0::11, fd00::2")
	hits, ok := g.Check(nat.Outside, m, nil)
	got := written(t, m)
	if hits != 5 || !ok || strings.Contains(got, "fd00") || !strings.Contains(got, "sip:a@[2001:db8::5]:5060, 2001:db8::5, 2001:db8::5") ||
		!strings.Contains(got, "<sip:200@[2001:db8::5]>") {
		t.Errorf("%d hits, ok %v\n%s", hits, ok, got)
	}
}

func TestGuardDoesNotAllocate(t *testing.T) {
	g := testGuard()
	m := clean(nat.Outside)
	m.Add("P-Asserted-Identity", "<sip:200@198.51.100.5:5080>")
	bring := &tu.Secrets{Hosts: []string{"10.0.0.77"}, IDs: []string{"as58f4"}}
	if n := testing.AllocsPerRun(200, func() { g.Check(nat.Outside, m, bring) }); n != 0 {
		t.Errorf("%v allocations for a clean message without a body", n)
	}
}

func BenchmarkGuard(b *testing.B) {
	g := testGuard()
	m := clean(nat.Outside)
	m.Add("P-Asserted-Identity", "<sip:200@198.51.100.5:5080>")
	m.Add("Supported", "histinfo")
	m.Add("Content-Type", "application/sdp")
	m.Body = []byte("v=0\r\no=- 1 1 IN IP4 198.51.100.5\r\ns=-\r\nc=IN IP4 198.51.100.5\r\nt=0 0\r\nm=audio 30000 RTP/AVP 0 8 101\r\n" +
		"a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\n")
	bring := &tu.Secrets{}
	for _, h := range []string{"10.0.0.10", "pbx.example.internal"} {
		bring.AddHost(h)
	}
	for _, id := range []string{"71c3f8a90b@10.0.0.10", "as58f4", "z9hG4bK5a3bf"} {
		bring.AddID(id)
	}
	bring.AddAddr(netip.MustParseAddr("10.0.0.10"))
	b.ReportAllocs()
	for b.Loop() {
		if hits, _ := g.Check(nat.Outside, m, bring); hits != 0 {
			b.Fatal(hits)
		}
	}
}

func BenchmarkCopy(b *testing.B) {
	in := clean(nat.Inside)
	in.Add("P-Asserted-Identity", `"Alice" <sip:+4940123456@itsp.example;user=phone>`)
	in.Add("Supported", "100rel, timer, histinfo")
	in.Add("User-Agent", "x")
	h := testHosts[TrunkToPBX]
	b.ReportAllocs()
	for b.Loop() {
		out := message.Message{}
		Copy(TrunkToPBX, in, &out, h)
	}
}
