package policy

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport/nat"
	"sallyport/sbc/scan"
)

func TestBansConfigIsValidated(t *testing.T) {
	for want, c := range map[string]BansConfig{
		"":                     {Points: ptr(0), Within: time.Second, First: time.Second, Factor: ptr(1), Most: maxBanTime},
		"policy.bans.points":   {Points: ptr(-1)},
		"policy.bans.factor":   {Factor: ptr(0)},
		"policy.bans.within":   {Within: time.Millisecond},
		"policy.bans.first":    {First: -time.Second},
		"policy.bans.most":     {Most: maxBanTime + 1},
		"is longer than":       {First: time.Hour, Most: time.Minute},
		"every ban as long as": {Factor: ptr(maxBanFactor + 1)},
	} {
		err := (&Config{Bans: c}).Validate()
		if want == "" != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", c, err, want)
		}
	}
	c := &Config{DenyUserAgents: []UserAgentConfig{{Match: "evil", Action: "ban"}}, RateLimits: []RateLimitConfig{}}
	if w := compile(t, c).Warnings(); strings.Contains(fmt.Sprint(w), "it only drops") {
		t.Errorf("warnings %q", w)
	}
	c.Bans.Points = ptr(0)
	if w := fmt.Sprint(compile(t, c).Warnings()); !strings.Contains(w, "policy.deny_user_agents[0] has action ban, and policy.bans.points is 0: it only drops") {
		t.Errorf("warnings %q", w)
	}
	r := compile(t, &Config{})
	if want := (banRules{20, time.Minute, 10 * time.Minute, 6, 24 * time.Hour, false}); r.bans != want {
		t.Errorf("defaults are %+v", r.bans)
	}
}

// guilty are packets that count against their source, and those that what came of it refuses.
func guilty(g *Guard) map[string]*Packet {
	list := map[string]*Packet{}
	packet := func(name string, i *nat.Interface, source string, data []byte) {
		view := &scan.View{}
		err := scan.Scan(data, view)
		list[name] = &Packet{Now: noon, Interface: i, Source: addrPort(source), Data: data, View: view, ScanErr: err}
	}
	signed := "Authorization: Digest username=\"204\", nonce=\"n\"\r\n"
	registerPhones(g, "198.51.100.77", 1)
	must(nil2(), g.Bans().Add(noon, Ban{Prefix: netip.MustParsePrefix("192.0.2.1/32"), Auto: true}))
	must(nil2(), g.Bans().Add(noon, Ban{Prefix: netip.MustParsePrefix("198.51.100.77/32"), Auto: true, Port: 5}))
	must(nil2(), g.Bans().Add(noon, Ban{Prefix: netip.MustParsePrefix("198.51.100.77/32"), Auto: true, AoR: "204@example.com"}))
	must(nil2(), g.Bans().Add(noon, Ban{Prefix: netip.MustParsePrefix("203.0.113.20/32"), Auto: true}))
	g.state.conduct.blocks.add(addrPort("192.0.2.2:5060"), time.Hour, tally{})
	g.state.conduct.slowed.slow(0, time.Hour, "204", "")
	g.Challenged(noon, addrPort("192.0.2.3"), "n")
	packet("banned", outsidePhones, "192.0.2.1", msg{}.bytes())
	packet("banned port", outsidePhones, "198.51.100.77:5", msg{}.bytes())
	packet("banned user", outsidePhones, "198.51.100.77:6", msg{}.bytes())
	packet("blocked", outsidePhones, "192.0.2.2", msg{}.bytes())
	packet("slowed", outsidePhones, "192.0.2.4", msg{extra: signed}.bytes())
	packet("suspected trunk", outsideTrunks, "203.0.113.20", msg{agent: "sipvicious"}.bytes())
	packet("malformed trunk", outsideTrunks, "203.0.113.20", msg{extra: "Content-Length: 9\r\n"}.bytes())
	packet("proven", outsidePhones, "192.0.2.3", msg{method: "REGISTER", extra: signed}.bytes())
	packet("scanner", outsidePhones, "192.0.2.5", msg{agent: "sipvicious"}.bytes())
	packet("scanner, no Call-ID", outsidePhones, "192.0.2.6", []byte("OPTIONS sip:a SIP/2.0\r\nUser-Agent: sipvicious\r\n\r\n"))
	packet("scanner IPv6", outsidePhones, "[2001:db8::66]:5060", msg{agent: "sipvicious"}.bytes())
	packet("malformed IPv6", outsidePhones, "[2001:db8::67]:5060", msg{extra: "Content-Length: 9\r\n"}.bytes())
	return list
}

func nil2() *testing.T { return &testing.T{} }

func TestWhatCountsAllocatesNothing(t *testing.T) {
	config := busyConfig()
	config.Bans.Points = ptr(maxBanPoints) // sentences are rare, and may cost
	for name := range guilty(newGuard(t, config)) {
		g := newGuard(t, config)
		p := guilty(g)[name]
		g.SetSecurityLog(func(LogLine) {})
		step := time.Duration(0)
		at := bytes.Index(p.Data, []byte("Call-ID: c1"))
		if n := testing.AllocsPerRun(2000, func() {
			step += 20 * time.Millisecond
			p.Now = noon.Add(step)
			if at >= 0 { // a request of its own each time, so that each one counts
				i := int(step / (20 * time.Millisecond))
				p.Data[at+9], p.Data[at+10] = byte('A'+i/64%64), byte('A'+i%64)
			}
			g.Check(p)
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func TestReadersShareTheEvidence(t *testing.T) {
	g := newGuard(t, busyConfig())
	list := guilty(g)
	g.SetSecurityLog(func(LogLine) {})
	var mu sync.Mutex
	made := 0
	g.OnBan(func(Ban) { mu.Lock(); made++; mu.Unlock() })
	var wg sync.WaitGroup
	for reader := range 3 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(reader), 1))
			for n := range 300 {
				for _, p := range list {
					q := *p
					q.Now = noon.Add(time.Duration(n) * time.Millisecond)
					if rnd.IntN(2) == 0 {
						q.Source = netip.AddrPortFrom(addr4(rnd.Uint32N(20)), 5060)
					}
					g.Check(&q)
					g.Outcome(q.Now, Outcome{Source: q.Source, Transport: nat.TCP, Kind: OutcomeKind(rnd.IntN(4)), AoR: "204@x", CallID: fmt.Sprint(n), CSeq: rnd.Uint32N(9)})
				}
			}
		})
	}
	wg.Go(func() {
		for n := range 100 {
			now := noon.Add(time.Duration(n) * time.Millisecond)
			g.SetRules(now, compile(t, busyConfig()))
			for i := range uint32(20) {
				g.Explain(now, addr4(i))
				g.Bans().Remove(netip.PrefixFrom(addr4(i), 32))
			}
			g.Slowed(now)
			g.Unslow("204")
			g.Levels(now)
			g.Tick(now)
		}
	})
	wg.Wait()
	mu.Lock()
	defer mu.Unlock()
	if made == 0 {
		t.Error("nobody was banned")
	}
}

// BenchmarkOffence is what a flood of forged scanners costs, each from an address of its own.
func BenchmarkOffence(b *testing.B) {
	g := newGuard(b, busyConfig())
	data := msg{method: "OPTIONS", agent: "friendly-scanner"}.bytes()
	p := &Packet{Now: noon, Interface: outsidePhones, Data: data, View: scanned(data)}
	n := uint32(0)
	b.ReportAllocs()
	for b.Loop() {
		n++
		p.Source = netip.AddrPortFrom(addr4(n), 5060)
		p.Now = p.Now.Add(30 * time.Microsecond)
		g.Check(p)
	}
}
