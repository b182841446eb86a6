package policy

import (
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport/nat"
	"sallyport/sbc/reason"
	"sallyport/sbc/scan"
)

func TestNewNeedsASeed(t *testing.T) {
	if _, err := New(Options{Now: noon}); err == nil || !strings.Contains(err.Error(), "MakeSeed") {
		t.Errorf("error is %v", err)
	}
	if _, err := New(Options{Now: noon, Seed: maphash.MakeSeed(), Sizes: small}); err != nil {
		t.Error(err)
	}
}

func TestVerdictsAreCounted(t *testing.T) {
	g := newGuard(t, &Config{})
	for range 3 {
		send(g, noon, outsideTrunks, "192.0.2.66", msg{}.bytes())
	}
	send(g, noon, outsideTrunks, "203.0.113.20", msg{}.bytes())
	send(g, noon, outsideTrunks, "203.0.113.20", msg{}.bytes())
	send(g, noon, insidePhones, "10.9.9.9", msg{}.bytes())
	send(g, noon, insidePhones, "10.9.9.9", nil)
	var got []string
	for c := range g.Counters().Each {
		got = append(got, fmt.Sprintf("%s/%s %s %s %q %d", c.Side, c.Realm, c.Transport, c.Action, c.Reason, c.Count))
	}
	want := []string{
		`outside/trunks udp allow "allow" 1`, `outside/trunks udp allow "live-dialog" 1`, `outside/trunks udp drop "unknown-trunk" 3`,
		`inside/phones udp ignore "" 1`, `inside/phones udp reject "stranger" 1`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("counters are\n%s", strings.Join(got, "\n"))
	}
	for range g.Counters().Each {
		break
	}
	if g.Counters().Get(nat.Outside, nat.Trunks, nat.UDP, "nonsense", Drop) != 0 {
		t.Error("a reason that does not exist has a count")
	}
}

func TestRulesCountTheirHitsOverReloads(t *testing.T) {
	config := &Config{RateLimits: []RateLimitConfig{}, DenyUserAgents: []UserAgentConfig{{Match: "evil"}, {Match: "phone", Shadow: true}}}
	g := newGuard(t, config)
	send(g, noon, outsidePhones, phone, msg{agent: "evil phone"}.bytes())
	config.DenyUserAgents = append([]UserAgentConfig{{Match: "first"}}, config.DenyUserAgents...)
	g.SetRules(noon, compile(t, config))
	send(g, noon, outsidePhones, phone, msg{agent: "evil"}.bytes())
	var got []string
	for _, h := range g.RuleHits() {
		got = append(got, fmt.Sprint(h.Rule.Name, " ", h.Enforced, " ", h.Shadow))
	}
	if want := "[first 0 0 evil 2 0 phone 0 1]"; fmt.Sprint(got) != want {
		t.Errorf("hits are %v, want %s", got, want)
	}
}

func TestLevelsShowTables(t *testing.T) {
	g := newGuard(t, scarce("INVITE"))
	send(g, noon, outsidePhones, phone, msg{}.bytes())
	send(g, noon, outsidePhones, "192.0.2.66", msg{}.bytes())
	g.Live().Add("our1", addr4(1))
	must(t, g.Bans().Add(noon, Ban{Prefix: BanPrefix(addr4(9))}))
	var got []string
	for _, l := range g.Levels(noon) {
		got = append(got, fmt.Sprintf("%s %d/%d", l.Name, l.Used, l.Cap))
	}
	want := "limiter strangers 1/4096, limiter known peers 1/1024, live dialogs and INVITEs 1/64, bans 1/64, bans not forgiven 0/64, " +
		"blocked ports 0/64, slowed users 0/1024, points strangers 0/256, points known peers 0/64, " +
		"evidence strangers 1/64, evidence known peers 1/64"
	if s := strings.Join(got, ", "); s != want {
		t.Errorf("levels are %s\nwant %s", s, want)
	}
}

// paths are one packet for every way through the guard.
func paths(g *Guard) map[string]*Packet {
	g.AddPhone(netip.MustParseAddr("198.51.100.77"))
	g.AddPhone(netip.MustParseAddr("2001:db8:7::7"))
	g.Live().Add("our1", netip.MustParseAddr("192.0.2.50"))
	_ = g.Bans().Add(noon, Ban{Prefix: netip.MustParsePrefix("192.0.2.99/32")})
	list := map[string]*Packet{}
	for name, p := range map[string]struct {
		i      *nat.Interface
		source string
		data   []byte
	}{
		"trunk":         {outsideTrunks, "203.0.113.20", msg{}.bytes()},
		"node response": {insideTrunks, "10.0.0.10", msg{status: 200, extra: "Server: Asterisk\r\n"}.bytes()},
		"phone":         {outsidePhones, phone, msg{method: "REGISTER", agent: "Yealink SIP-T46U 108.86.0.45"}.bytes()},
		"registered":    {outsidePhones, "198.51.100.77:40123", msg{method: "SUBSCRIBE", agent: "Snom"}.bytes()},
		"phone IPv6":    {outsidePhones, "[2001:db8:7::7]:5060", msg{method: "REGISTER"}.bytes()},
		"phone astray":  {outsideTrunks, "198.51.100.77", msg{}.bytes()},
		"limited":       {outsidePhones, phone, msg{method: "OPTIONS"}.bytes()},
		"live":          {outsidePhones, "192.0.2.50", msg{method: "BYE", toTag: "our1"}.bytes()},
		"stranger":      {outsideTrunks, "192.0.2.66", msg{}.bytes()},
		"stranger IPv6": {outsidePhones, "[2001:db8::1]:5060", msg{method: "REGISTER"}.bytes()},
		"scanner":       {outsidePhones, "192.0.2.67", msg{method: "OPTIONS", agent: "friendly-scanner"}.bytes()},
		"banned":        {outsidePhones, "192.0.2.99", msg{}.bytes()},
		"inside":        {insideTrunks, "10.9.9.9", msg{}.bytes()},
		"malformed":     {outsideTrunks, "192.0.2.66", msg{extra: "Content-Length: 9\r\n"}.bytes()},
		"keep-alive":    {outsidePhones, phone, []byte("\r\n\r\n")},
		"junk":          {outsidePhones, "192.0.2.66", []byte("\x01\x02\x03 junk")},
		"white":         {outsidePhones, "192.0.2.40", msg{}.bytes()},
	} {
		view := &scan.View{}
		err := scan.Scan(p.data, view)
		list[name] = &Packet{Now: noon, Interface: p.i, Source: addrPort(p.source), Data: p.data, View: view, ScanErr: err}
	}
	return list
}

func busyConfig() *Config {
	return &Config{
		Phones:    PhonesConfig{Registrar: true},
		WhiteList: []WhiteEntry{{Range: []string{"192.0.2.40"}}},
		BlackList: []BlackEntry{{Range: []string{"192.0.2.128/25"}}},
		RateLimits: []RateLimitConfig{
			{Name: "all", Limits: map[string]string{"REGISTER": "15/minute", "INVITE": "10/minute", "OPTIONS": "1/day", "*": "10/second"}},
			{Name: "net", Range: []string{"198.51.100.0/24"}, Limits: map[string]string{"OPTIONS": "1/minute"}, Stack: true},
			{Name: "tried", Range: []string{"any"}, Limits: map[string]string{"REGISTER": "1/minute"}, Shadow: true},
		},
	}
}

func TestCheckAllocatesNothing(t *testing.T) {
	for name, p := range paths(newGuard(t, &Config{})) {
		g := newGuard(t, busyConfig())
		paths(g)
		var lines int
		g.SetSecurityLog(func(LogLine) { lines++ })
		step := time.Duration(0)
		if n := testing.AllocsPerRun(2000, func() {
			step += 20 * time.Millisecond
			p.Now = noon.Add(step)
			g.Check(p)
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func TestReadersShareAGuard(t *testing.T) {
	g := newGuard(t, busyConfig())
	list := paths(g)
	g.SetSecurityLog(func(LogLine) {})
	var wg sync.WaitGroup
	for reader := range 4 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(reader), 1))
			for n := range 1000 {
				for _, p := range list {
					q := *p
					q.Now = noon.Add(time.Duration(n) * time.Millisecond)
					if rnd.IntN(3) == 0 {
						q.Source = netip.AddrPortFrom(addr4(rnd.Uint32()), 5060)
					}
					g.Check(&q)
				}
			}
		})
	}
	wg.Go(func() {
		for n := range 200 {
			now := noon.Add(time.Duration(n) * time.Millisecond)
			g.SetRules(now, compile(t, busyConfig()))
			g.SetPeers(testPeers())
			_ = g.Bans().Add(now, Ban{Prefix: netip.PrefixFrom(addr4(uint32(n)), 32), Until: now.Add(time.Second)})
			g.Live().Add(fmt.Sprint("our", n), addr4(uint32(n)))
			g.Live().Remove(fmt.Sprint("our", n-10))
			g.Explain(now, netip.MustParseAddr("198.51.100.7"))
			g.Challenged(now, netip.AddrPortFrom(addr4(uint32(n)), 5060), fmt.Sprint(n))
			g.AddPhone(addr4(uint32(n)))
			g.RemovePhone(addr4(uint32(n - 20)))
			g.Phones()
			g.Levels(now)
			g.Tick(now)
		}
	})
	wg.Wait()
	total := uint64(0)
	for c := range g.Counters().Each {
		total += c.Count
	}
	if want := uint64(4 * 1000 * len(list)); total != want {
		t.Errorf("%d verdicts counted, want %d", total, want)
	}
}

func TestPeersOfTheSamePrefix(t *testing.T) {
	p := netip.MustParsePrefix("203.0.113.0/24")
	table := newPeerTable([]Peer{
		{p, Trunk, nat.Outside, nat.Trunks, "first"}, {p, Trunk, nat.Outside, nat.Trunks, "second"},
		{netip.MustParsePrefix("203.0.113.9/32"), Trunk, nat.Outside, nat.Trunks, "narrow"}, {}, {Prefix: p},
	})
	if got := table.find(nat.Outside, nat.Trunks, netip.MustParseAddr("203.0.113.20")); got == nil || got.Name != "first" {
		t.Errorf("%+v", got)
	}
	if got := table.find(nat.Outside, nat.Trunks, netip.MustParseAddr("203.0.113.9")); got.Name != "narrow" {
		t.Errorf("%+v", got)
	}
	if table.find(nat.Outside, nat.Phones, p.Addr()) != nil || table.known(netip.MustParseAddr("192.0.2.1")) || !table.known(p.Addr()) {
		t.Error("realm or known")
	}
}

// FuzzGuard sends raw datagrams through scan and guard.
func FuzzGuard(f *testing.F) {
	for _, data := range [][]byte{
		nil, []byte("\r\n\r\n"), []byte("jaK"), msg{}.bytes(), msg{status: 200}.bytes(), msg{method: "ACK", toTag: "our1"}.bytes(),
		msg{method: "REGISTER", agent: "friendly-scanner", extra: "Authorization: Digest nonce=\"x\"\r\n"}.bytes(),
		msg{extra: strings.Repeat("User-Agent: a\r\n", 6)}.bytes(), []byte("INVITE"), []byte("SIP/2.0 200 OK\r\n\r\n"),
	} {
		f.Add(data, uint8(0), uint32(1))
		f.Add(data, uint8(3), uint32(0x0A00000A))
	}
	config := busyConfig()
	config.Strangers.Phones = "answer"
	g := newGuard(f, config)
	g.Live().Add("our1", addr4(1))
	g.SetSecurityLog(func(LogLine) {})
	now := noon
	f.Fuzz(func(t *testing.T, data []byte, where uint8, source uint32) {
		i := door(nat.Side(where&1), nat.Realm(where>>1&1))
		now = now.Add(time.Millisecond)
		var view scan.View
		err := scan.Scan(data, &view)
		v := g.Check(&Packet{Now: now, Interface: i, Source: netip.AddrPortFrom(addr4(source), 5060), Data: data, View: &view, ScanErr: err})
		switch {
		case v.Action == Allow && err != nil:
			t.Errorf("a malformed message is allowed: %v", err)
		case v.Action == Reject && (!view.IsRequest || string(view.Bytes(view.Method)) == "ACK"):
			t.Errorf("what must not be answered is answered %d", v.Code)
		case v.Action == Reject != (v.Code != 0):
			t.Errorf("code %d with %s", v.Code, v.Action)
		case v.Action != Ignore && reason.Index(v.Reason) < 0:
			t.Errorf("reason %q is not in the list", v.Reason)
		}
		if source%8 == 0 {
			if text := explainText(g, now, source); strings.ContainsAny(text, "\x00\x1b\r") {
				t.Errorf("foreign bytes reach the terminal: %q", text)
			}
		}
	})
}

func explainText(g *Guard, now time.Time, source uint32) string {
	x := g.Explain(now, addr4(source))
	return x.Text(time.UTC)
}
