package policy

import (
	"fmt"
	"hash/maphash"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sallyport/nat"
	"sallyport/sbc/scan"
)

// noon is when every test's virtual day begins.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// small are tables that a test can fill.
var small = Sizes{StrangerBuckets: 4096, KnownBuckets: 1024, Repeats: 1024, Challenges: 256, Live: 64, Bans: 64,
	StrangerSources: 64, KnownSources: 64, StrangerScores: 256, KnownScores: 64, Blocks: 64}

// door is a listener for tests.
func door(side nat.Side, realm nat.Realm) *nat.Interface {
	return &nat.Interface{Side: side, Realm: realm, Bind: netip.MustParseAddrPort("192.0.2.1:5060")}
}

var (
	outsidePhones = door(nat.Outside, nat.Phones)
	outsideTrunks = door(nat.Outside, nat.Trunks)
	insidePhones  = door(nat.Inside, nat.Phones)
	insideTrunks  = door(nat.Inside, nat.Trunks)
)

// testPeers are a provider, a node of both realms and a registered phone.
func testPeers() []Peer {
	return []Peer{
		{netip.MustParsePrefix("203.0.113.20/32"), Trunk, nat.Outside, nat.Trunks, "itsp"},
		{netip.MustParsePrefix("10.0.0.10/32"), Node, nat.Inside, nat.Phones, "10.0.0.10:5060"},
		{netip.MustParsePrefix("10.0.0.10/32"), Node, nat.Inside, nat.Trunks, "10.0.0.10:5060"},
		{netip.MustParsePrefix("198.51.100.7/32"), Phone, nat.Outside, nat.Phones, "204@example.com"},
	}
}

func compile(t testing.TB, c *Config) *Rules {
	t.Helper()
	r, err := Compile(c, Data{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// newGuard makes a guard with testPeers and small tables. A tag is ours if it begins with "our". Where a test names no
// rate limits there are none; ShippedRateLimits() names the shipped one.
func newGuard(t testing.TB, c *Config) *Guard {
	t.Helper()
	if c.RateLimits == nil {
		bare := *c
		bare.RateLimits = []RateLimitConfig{}
		c = &bare
	}
	g, err := New(Options{Now: noon, Seed: maphash.MakeSeed(), Rules: compile(t, c), Sizes: small,
		OwnTag: func(tag []byte) bool { return strings.HasPrefix(string(tag), "our") }})
	if err != nil {
		t.Fatal(err)
	}
	g.SetPeers(testPeers())
	return g
}

// msg describes a message of a test; the zero fields take values that make it well-formed.
type msg struct {
	method, callID, branch, toTag, agent, extra, body string
	cseq                                              int
	status                                            int
}

func (m msg) bytes() []byte {
	method := m.method
	if method == "" {
		method = "INVITE"
	}
	callID, branch, cseq := m.callID, m.branch, m.cseq
	if callID == "" {
		callID = "c1@far"
	}
	if branch == "" {
		branch = "z9hG4bK1"
	}
	if cseq == 0 {
		cseq = 1
	}
	var b strings.Builder
	if m.status != 0 {
		fmt.Fprintf(&b, "SIP/2.0 %d Fine\r\n", m.status)
	} else {
		fmt.Fprintf(&b, "%s sip:100@example.com SIP/2.0\r\n", method)
	}
	fmt.Fprintf(&b, "Via: SIP/2.0/UDP 192.168.1.5:5060;branch=%s\r\nMax-Forwards: 70\r\n", branch)
	b.WriteString("From: \"Bob\" <sip:204@example.com>;tag=far1\r\nTo: <sip:100@example.com>")
	if m.toTag != "" {
		b.WriteString(";tag=" + m.toTag)
	}
	fmt.Fprintf(&b, "\r\nCall-ID: %s\r\nCSeq: %d %s\r\n", callID, cseq, method)
	if m.agent != "" {
		fmt.Fprintf(&b, "User-Agent: %s\r\n", m.agent)
	}
	fmt.Fprintf(&b, "%sContent-Length: %d\r\n\r\n%s", m.extra, len(m.body), m.body)
	return []byte(b.String())
}

// send passes raw bytes through scan and guard.
func send(g *Guard, now time.Time, i *nat.Interface, source string, data []byte) Verdict {
	var view scan.View
	err := scan.Scan(data, &view)
	return g.Check(&Packet{Now: now, Interface: i, Source: addrPort(source), Data: data, View: &view, ScanErr: err})
}

// addrPort reads an address with or without a port.
func addrPort(s string) netip.AddrPort {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap
	}
	return netip.AddrPortFrom(netip.MustParseAddr(s), 5060)
}

func says(v Verdict) string {
	s := v.Action.String()
	if v.Code != 0 {
		s += fmt.Sprintf(" %d", v.Code)
	}
	return strings.TrimSpace(s + " " + string(v.Reason))
}

func wantSays(t *testing.T, got Verdict, want string) {
	t.Helper()
	if says(got) != want {
		t.Fatalf("verdict is %q, want %q", says(got), want)
	}
}

func ptr[T any](v T) *T { return &v }

// scanned is the raw scan of a message.
func scanned(data []byte) *scan.View {
	var view scan.View
	_ = scan.Scan(data, &view)
	return &view
}
