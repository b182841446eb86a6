package policy

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sallyport/nat"
)

// client is a source that registers, or tries to, at the phones' listener.
type client struct {
	g      *Guard
	i      *nat.Interface
	source string
	user   string
	agent  string
	n      int // requests so far
}

func overTCP() *nat.Interface {
	return &nat.Interface{Side: nat.Outside, Realm: nat.Phones, Transport: nat.TCP}
}

func newClient(g *Guard, source, user string) *client {
	return &client{g: g, i: outsidePhones, source: source, user: user}
}

// register sends a REGISTER of its own call; with a nonce it carries credentials.
func (c *client) register(now time.Time, nonce string) Verdict {
	c.n++
	m := msg{method: "REGISTER", callID: fmt.Sprint("call", c.n, "@", c.source), cseq: c.n, branch: fmt.Sprint("z9hG4bK", c.n), agent: c.agent}
	if nonce != "" {
		m.extra = fmt.Sprintf("Authorization: Digest username=\"%s\", nonce=\"%s\", response=\"0\"\r\n", c.user, nonce)
	}
	text := strings.ReplaceAll(string(m.bytes()), "sip:204@", "sip:"+c.user+"@")
	text = strings.Replace(text, "To: <sip:100@", "To: <sip:"+c.user+"@", 1)
	return send(c.g, now, c.i, c.source, []byte(text))
}

// outcome tells what the PBX said to the latest request.
func (c *client) outcome(now time.Time, kind OutcomeKind) {
	c.g.Outcome(now, Outcome{Source: addrPort(c.source), Side: nat.Outside, Realm: nat.Phones, Transport: c.i.Transport,
		AoR: c.user + "@example.com", Kind: kind, CallID: fmt.Sprint("call", c.n, "@", c.source), CSeq: uint32(c.n)})
}

// guess is one try of svcrack: REGISTER, 401 with a nonce, REGISTER with credentials, 401.
func (c *client) guess(now time.Time) (passed bool) {
	if c.register(now, "").Action != Allow {
		return false
	}
	nonce := fmt.Sprint("nonce", c.n, c.source)
	c.g.Challenged(now, addrPort(c.source), nonce)
	if c.register(now, nonce).Action != Allow {
		return false
	}
	c.outcome(now, WrongDigest)
	return true
}

func registrar() *Config { return &Config{Phones: PhonesConfig{Registrar: true}} }

func TestSvcrackIsBannedAfterFourWrongDigests(t *testing.T) {
	for _, i := range []*nat.Interface{outsidePhones, overTCP()} {
		g := newGuard(t, registrar())
		c := newClient(g, "192.0.2.66:5070", "204")
		c.i = i
		guesses := 0
		for now := noon; guesses < 10 && c.guess(now); now = now.Add(100 * time.Millisecond) {
			guesses++
		}
		list := g.Bans().List(noon.Add(time.Second))
		if guesses != 4 || len(list) != 1 {
			t.Fatalf("%s: %d guesses, bans %+v", i.Transport, guesses, list)
		}
		b := list[0]
		if b.Prefix.String() != "192.0.2.66/32" || !b.Auto || b.Port != 0 || b.AoR != "" || b.Count != 1 || b.Reason != "wrong digest" ||
			b.Until.Sub(b.Since) != 10*time.Minute || b.By != "evidence" || !strings.HasPrefix(b.Evidence[0], "4 wrong digest: 20 of 20 points within 1m") {
			t.Errorf("ban is %+v", b)
		}
		wantSays(t, send(g, noon.Add(2*time.Second), outsideTrunks, "192.0.2.66:9", msg{}.bytes()), "drop ban")
		wantSays(t, send(g, noon.Add(11*time.Minute), outsideTrunks, "192.0.2.66:9", msg{}.bytes()), "drop unknown-trunk")
	}
}

func TestAnUnansweredChallengeAndASuccessAreNoFailures(t *testing.T) {
	g := newGuard(t, registrar())
	c := newClient(g, "192.0.2.66", "204")
	for n := range 100 { // challenged again and again, never answers
		now := noon.Add(time.Duration(n) * time.Second)
		c.register(now, "")
		g.Challenged(now, addrPort(c.source), fmt.Sprint(n))
	}
	if x := explainOf(g, noon.Add(100*time.Second), "192.0.2.66"); x.Account != nil {
		t.Errorf("held against it: %+v", x.Account)
	}
	for n := range 10 { // three typing errors, then the right password
		now := noon.Add(200*time.Second + time.Duration(n)*time.Second)
		for range 3 {
			if !c.guess(now) {
				t.Fatalf("round %d: banned", n)
			}
		}
		c.outcome(now, Success)
	}
	if n := len(g.Bans().List(noon.Add(5 * time.Minute))); n != 0 {
		t.Errorf("%d bans", n)
	}
}

func TestWithoutTheNonceOnlyThePortIsBlocked(t *testing.T) {
	g := newGuard(t, registrar())
	lines := logOf(g)
	c := newClient(g, "192.0.2.66:5070", "204")
	for n := range 40 { // forged: whoever sends it never sees the challenge
		now := noon.Add(time.Duration(n) * time.Second)
		c.register(now, "")
		g.Challenged(now, addrPort(c.source), fmt.Sprint("secret", n))
		if c.register(now, "guessed").Action == Allow {
			c.outcome(now, WrongDigest)
		}
	}
	if list := g.Bans().List(noon.Add(40 * time.Second)); len(list) != 0 {
		t.Fatalf("bans: %+v", list)
	}
	at := noon.Add(10 * time.Second)
	if list := g.Blocks(at, netip.MustParsePrefix("192.0.2.66/32")); len(list) != 1 || list[0].Source.Port() != 5070 ||
		list[0].Until.Sub(noon) > 64*time.Second {
		t.Fatalf("blocks: %+v", list)
	}
	wantSays(t, c.register(at, ""), "drop ban")
	wantSays(t, newClient(g, "192.0.2.66:5071", "205").register(at, ""), "allow allow")
	wantSays(t, c.register(noon.Add(64*time.Second), ""), "allow allow")
	found := false
	for _, l := range *lines {
		found = found || l.Event == EventBlocked && l.Ban == "192.0.2.66:5070" && l.Evidence == "4 wrong digest"
	}
	if !found {
		t.Errorf("no line of the block in %+v", *lines)
	}
}

// A message that proves its source is not a forger's.
func TestABlockDoesNotHoldWhoAnswersAChallenge(t *testing.T) {
	g := newGuard(t, registrar())
	g.Challenged(noon, addrPort("192.0.2.66:5070"), "real")
	for n := range 4 {
		send(g, noon, outsidePhones, "192.0.2.66:5070", msg{agent: "friendly-scanner", callID: fmt.Sprint(n)}.bytes())
	}
	c := newClient(g, "192.0.2.66:5070", "204")
	wantSays(t, c.register(noon.Add(time.Second), ""), "drop ban")
	wantSays(t, c.register(noon.Add(time.Second), "real"), "allow allow")
}

func TestAForgedScannerDoesNotShutTheProviderOut(t *testing.T) {
	g := newGuard(t, registrar())
	lines := logOf(g)
	scan := msg{agent: "friendly-scanner", callID: "forged"}.bytes()
	wantSays(t, send(g, noon, outsideTrunks, "203.0.113.20", scan), "allow allow")
	alarms := 0
	for _, l := range *lines {
		if l.Event == EventAlarm && l.Rule == "friendly-scanner" && l.Source.Addr().String() == "203.0.113.20" {
			alarms++
		}
	}
	if alarms != 1 {
		t.Fatalf("%d alarms in %+v", alarms, *lines)
	}
	for n := range 1000 { // malformed, from its own port, over TCP even
		now := noon.Add(time.Duration(n) * 20 * time.Millisecond)
		for _, tr := range []nat.Transport{nat.UDP, nat.TCP} {
			i := &nat.Interface{Side: nat.Outside, Realm: nat.Trunks, Transport: tr}
			send(g, now, i, "203.0.113.20", msg{callID: fmt.Sprint(n, tr), extra: "Content-Length: 9\r\n"}.bytes())
		}
	}
	wantSays(t, send(g, noon.Add(20*time.Second), outsideTrunks, "203.0.113.20", msg{callID: "next"}.bytes()), "allow allow")
	if len(g.Bans().List(noon.Add(20*time.Second))) != 0 || g.BanCounts().Alarms == 0 {
		t.Errorf("bans %v, counts %+v", g.Bans().List(noon), g.BanCounts())
	}
	told := 0
	for _, l := range *lines {
		if l.Event == EventAlarm && strings.Contains(l.Text, "a trunk is not banned") {
			told++
		}
	}
	if told != 1 {
		t.Errorf("the alarm is told %d times in 20 s", told)
	}
}

// The provider's address at the phones' listener is a stranger's there; a ban of it would still shut the trunk's connections.
func TestATrunkIsOneEverywhere(t *testing.T) {
	g := newGuard(t, registrar())
	c := newClient(g, "203.0.113.20:5070", "204")
	c.i = overTCP()
	for n := range 20 {
		c.guess(noon.Add(time.Duration(n) * time.Second))
	}
	if list := g.Bans().List(noon.Add(20 * time.Second)); len(list) != 0 {
		t.Errorf("bans: %+v", list)
	}
}

func TestARegisteredPhoneLosesNoMoreThanTheGuiltyFlow(t *testing.T) {
	const office = "198.51.100.77"
	scanned := func(g *Guard, i *nat.Interface, port int) {
		for n := range 6 {
			send(g, noon.Add(time.Duration(n)*time.Second), i, fmt.Sprintf("%s:%d", office, port),
				msg{agent: "sipvicious", callID: fmt.Sprint("scan", port, n)}.bytes())
		}
	}
	g := newGuard(t, registrar())
	registerPhones(g, office, 2)
	// Forged from a phone's own address and port: nobody is cut off, an alarm is told.
	scanned(g, outsidePhones, 40001)
	now := noon.Add(10 * time.Second)
	for _, port := range []int{40001, 40002} {
		wantSays(t, newClient(g, fmt.Sprintf("%s:%d", office, port), "204").register(now, ""), "allow allow")
	}
	if g.BanCounts().Alarms == 0 || len(g.Bans().List(now)) != 0 || len(g.Blocks(now, netip.MustParsePrefix(office+"/32"))) != 0 {
		t.Errorf("counts %+v, bans %v", g.BanCounts(), g.Bans().List(now))
	}
	// Over TCP nobody forges it: that connection is banned, and no other.
	scanned(g, overTCP(), 50001)
	if list := g.Bans().List(now); len(list) != 1 || list[0].Port != 50001 || list[0].Prefix.String() != office+"/32" {
		t.Fatalf("bans: %+v", list)
	}
	wantSays(t, newClient(g, office+":50001", "204").register(now, ""), "drop ban")
	wantSays(t, newClient(g, office+":50002", "204").register(now, ""), "allow allow")
	if x := explainOf(g, now, office); x.Account == nil || len(x.Account.Bans) != 1 ||
		!strings.Contains(strings.Join(x.Fix, "\n"), "sbc bans remove "+office+"/32") {
		t.Errorf("%+v\n%v", x.Account, x.Fix)
	}
}

// A carrier's NAT with forty phones of which one has the wrong password.
func TestOneBadPhoneBehindANAT(t *testing.T) {
	const nated = "198.51.100.77"
	g := newGuard(t, registrar())
	registerPhones(g, nated, 40)
	bad := newClient(g, nated+":40000", "bad")
	good := make([]*client, 40)
	for n := range good {
		good[n] = newClient(g, fmt.Sprintf("%s:%d", nated, 41000+n), fmt.Sprint(300+n))
	}
	for second := range 120 {
		now := noon.Add(time.Duration(second) * time.Second)
		if second%5 == 0 {
			bad.guess(now)
		}
		c := good[second%40]
		wantSays(t, c.register(now, ""), "allow allow")
		nonce := fmt.Sprint("fine", second)
		g.Challenged(now, addrPort(c.source), nonce)
		wantSays(t, c.register(now, nonce), "allow allow")
		c.outcome(now, Success)
	}
	list := g.Bans().List(noon.Add(2 * time.Minute))
	if len(list) != 1 || list[0].AoR != "bad@example.com" || list[0].Prefix.String() != nated+"/32" {
		t.Fatalf("bans: %+v", list)
	}
	now := noon.Add(2 * time.Minute)
	wantSays(t, newClient(g, nated+":40777", "bad").register(now, ""), "drop ban")
	wantSays(t, newClient(g, nated+":40778", "%42ad").register(now, ""), "drop ban") // however it is written
	wantSays(t, newClient(g, "192.0.2.1", "bad").register(now, ""), "allow allow")
}

func TestAnOfficeThatComesBackIsNotBanned(t *testing.T) {
	g := newGuard(t, registrar())
	for n := range 50 {
		c := newClient(g, fmt.Sprintf("192.0.2.10:%d", 40000+n), fmt.Sprint(200+n))
		wantSays(t, c.register(noon, ""), "allow allow")
		nonce := fmt.Sprint("n", n)
		g.Challenged(noon, addrPort(c.source), nonce)
		wantSays(t, c.register(noon, nonce), "allow allow")
		c.outcome(noon, Success)
		registerPhones(g, "192.0.2.10", 1)
	}
	if x := explainOf(g, noon, "192.0.2.10"); x.Account != nil {
		t.Errorf("%+v", x.Account)
	}
}

func TestWhatCounts(t *testing.T) {
	tcp := overTCP()
	for name, c := range map[string]struct {
		config Config
		m      msg
		times  int
		want   int // points of the address
	}{
		"malformed":                 {m: msg{extra: "Content-Length: 9\r\n"}, times: 3, want: 6},
		"scanner":                   {m: msg{agent: "sipvicious"}, times: 1, want: 10},
		"scanner, reject":           {config: Config{DenyUserAgents: []UserAgentConfig{{Match: "x", Action: "reject"}}}, m: msg{agent: "x"}, times: 1, want: 10},
		"scanner, shadow":           {config: Config{DenyUserAgents: []UserAgentConfig{{Match: "x", Shadow: true}}}, m: msg{agent: "x"}, times: 5},
		"scanner's ACK":             {m: msg{method: "ACK", agent: "sipvicious"}, times: 5},
		"scanner's CANCEL":          {m: msg{method: "CANCEL", agent: "sipvicious"}, times: 5},
		"scanner's answer":          {m: msg{status: 200, extra: "Server: sipvicious\r\n"}, times: 5},
		"malformed answer":          {m: msg{status: 200, extra: "Content-Length: 9\r\n"}, times: 5},
		"stranger":                  {m: msg{}, times: 50},
		"over limit":                {config: Config{RateLimits: []RateLimitConfig{{Limits: map[string]string{"INVITE": "1/day"}, Burst: ptr(1)}}}, m: msg{}, times: 9},
		"over limit, action ban":    {config: Config{RateLimits: []RateLimitConfig{{Limits: map[string]string{"INVITE": "1/day"}, Burst: ptr(1), Action: "ban"}}}, m: msg{}, times: 9, want: 8},
		"white-listed":              {config: Config{WhiteList: []WhiteEntry{{Range: []string{"192.0.2.66"}, Exempt: []string{"bans"}}}}, m: msg{agent: "sipvicious"}, times: 1, want: 10},
		"points 0":                  {config: Config{Bans: BansConfig{Points: ptr(0)}}, m: msg{agent: "sipvicious"}, times: 5},
		"the same request repeated": {m: msg{agent: "sipvicious", callID: "same"}, times: 12, want: 10},
	} {
		g := newGuard(t, &c.config)
		for n := range c.times {
			m := c.m
			m.cseq, m.branch = 1, fmt.Sprint("z9hG4bK", n)
			if m.callID == "" {
				m.callID = fmt.Sprint("c", n)
			}
			send(g, noon, tcp, "192.0.2.66", m.bytes())
		}
		got := 0
		if x := explainOf(g, noon, "192.0.2.66"); x.Account != nil && len(x.Account.Points) > 0 {
			got = x.Account.Points[0].Points
			if name == "white-listed" && !strings.Contains(x.Account.Points[0].Then, "no ban") {
				t.Errorf("%s: then %s", name, x.Account.Points[0].Then)
			}
		}
		if got != c.want || len(g.Bans().List(noon)) != 0 {
			t.Errorf("%s: %d points, want %d; bans %v", name, got, c.want, g.Bans().List(noon))
		}
	}
}

func TestARuleWithActionBanBansAtOnce(t *testing.T) {
	config := Config{DenyUserAgents: []UserAgentConfig{{Match: "evil", Action: "ban"}}}
	g := newGuard(t, &config)
	wantSays(t, send(g, noon, overTCP(), "192.0.2.66", msg{agent: "evil"}.bytes()), "drop user-agent")
	list := g.Bans().List(noon)
	if len(list) != 1 || list[0].Reason != "met a rule that bans" || !strings.Contains(list[0].Evidence[1], `INVITE from "evil"`) {
		t.Fatalf("bans: %+v", list)
	}
	// Over UDP it may be forged: a block of the port.
	send(g, noon, outsidePhones, "192.0.2.67", msg{agent: "evil"}.bytes())
	if len(g.Bans().List(noon)) != 1 || len(g.Blocks(noon, netip.MustParsePrefix("192.0.2.67/32"))) != 1 {
		t.Error("a forged packet bans")
	}
	// Inside nobody is banned.
	send(g, noon, &nat.Interface{Side: nat.Inside, Realm: nat.Phones, Transport: nat.TCP}, "10.9.9.9", msg{agent: "evil"}.bytes())
	if len(g.Bans().List(noon)) != 1 || g.BanCounts().Alarms != 1 {
		t.Errorf("inside: %+v, %v", g.BanCounts(), g.Bans().List(noon))
	}
}

func TestAPhonesOwnMessageRulesAreNoAttack(t *testing.T) {
	g := newGuard(t, registrar())
	registerPhones(g, "198.51.100.77", 1)
	s := Subject{Side: nat.Outside, Realm: nat.Phones, Transport: nat.TCP, Source: addrPort("198.51.100.77:9"), Request: true, Method: MethodMessage, Proven: true}
	s.Key = SourceKey(s.Source.Addr())
	p := &Packet{Now: noon, Interface: overTCP(), Data: msg{}.bytes(), View: scanned(msg{}.bytes())}
	for n := range 10 {
		s.CallID = fmt.Appendf(nil, "m%d", n)
		v := deedDrop.refuse(403, causeMessage)
		g.judge(p, &s, &v, g.Rules(), g.directory())
	}
	if x := explainOf(g, noon, "198.51.100.77"); x.Account != nil {
		t.Errorf("%+v", x.Account)
	}
	v := deedBan.refuse(403, causeMessage) // but what he wants banned is
	s.CallID = []byte("ban")
	g.judge(p, &s, &v, g.Rules(), g.directory())
	if list := g.Bans().List(noon); len(list) != 1 || list[0].Port != 9 {
		t.Errorf("%+v", list)
	}
}

func TestIPv6IsBannedByItsNetwork(t *testing.T) {
	g := newGuard(t, registrar())
	for n := range 4 { // a new address in the same /64 each time
		c := newClient(g, fmt.Sprintf("[2001:db8:1::%d]:5070", n+1), "204")
		c.i = overTCP()
		if !c.guess(noon) {
			t.Fatal("refused")
		}
	}
	if list := g.Bans().List(noon); len(list) != 1 || list[0].Prefix.String() != "2001:db8:1::/64" {
		t.Fatalf("%+v", list)
	}
	// Where a phone is registered in that /64, only the guilty flow or user is.
	g = newGuard(t, registrar())
	registerPhones(g, "2001:db8:1::99", 1)
	for range 4 {
		c := newClient(g, "[2001:db8:1::1]:5070", "204")
		c.i = overTCP()
		for n := range 4 {
			c.n = n * 10
			c.guess(noon)
		}
	}
	if list := g.Bans().List(noon); len(list) != 1 || list[0].AoR != "204@example.com" || list[0].Prefix.String() != "2001:db8:1::/64" {
		t.Fatalf("%+v", list)
	}
}
