package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport/nat"
)

// TestPhonesAreKnownByAddress: any port of an address with a binding, at the phones' door outside alone, and as long as
// there is one binding left.
func TestPhonesAreKnownByAddress(t *testing.T) {
	g := newGuard(t, &Config{Phones: PhonesConfig{Registrar: true}})
	a := netip.MustParseAddr("198.51.100.77")
	n := 0
	meets := func(i *nat.Interface, source, want string) {
		t.Helper()
		n++
		wantSays(t, send(g, noon, i, source, msg{branch: fmt.Sprint("z9hG4bK", n)}.bytes()), want)
	}
	meets(outsidePhones, "198.51.100.77:5060", "drop not-registered")
	g.AddPhone(a)
	g.AddPhone(netip.MustParseAddr("::ffff:198.51.100.77")) // the same address, as a socket of both families says it
	if g.Phones() != 2 {
		t.Error(g.Phones())
	}
	meets(outsidePhones, "198.51.100.77:5060", "allow allow")
	meets(outsidePhones, "198.51.100.77:40199", "allow allow")
	meets(outsidePhones, "198.51.100.78:5060", "drop not-registered")
	meets(outsideTrunks, "198.51.100.77", "drop unknown-trunk")
	meets(insidePhones, "198.51.100.77", "reject 403 stranger")
	g.SetPeers(testPeers()) // a reload
	g.SetRules(noon, compile(t, &Config{}))
	g.RemovePhone(a)
	meets(outsidePhones, "198.51.100.77:5060", "allow allow")
	g.RemovePhone(a)
	meets(outsidePhones, "198.51.100.77:5060", "drop not-registered")
	g.RemovePhone(a) // one too many is nothing
	g.AddPhone(netip.Addr{})
	if g.Phones() != 0 || g.phones.used != 0 {
		t.Errorf("%d phones at %d addresses", g.Phones(), g.phones.used)
	}
	g.AddPhone(a)
	meets(outsidePhones, "198.51.100.77:5060", "allow allow")
}

// TestKnows: who is no stranger where.
func TestKnows(t *testing.T) {
	g := newGuard(t, &Config{})
	g.AddPhone(netip.MustParseAddr("198.51.100.77"))
	for source, want := range map[string]string{
		"198.51.100.77": "[outside/phones]", "::ffff:198.51.100.77": "[outside/phones]", "203.0.113.20": "[outside/trunks]",
		"10.0.0.10": "[inside/phones inside/trunks]", "192.0.2.66": "[]",
	} {
		got := []string{}
		for _, i := range []*nat.Interface{outsidePhones, outsideTrunks, insidePhones, insideTrunks} {
			if g.Knows(i, netip.MustParseAddr(source)) {
				got = append(got, i.Side.String()+"/"+i.Realm.String())
			}
		}
		if fmt.Sprint(got) != want {
			t.Errorf("%s is known at %v, want %s", source, got, want)
		}
	}
}

// TestPhonesOfIPv6AreKnownWhole: a neighbour in the same /64 is no phone, though its limits are counted with it.
func TestPhonesOfIPv6AreKnownWhole(t *testing.T) {
	g := newGuard(t, &Config{})
	g.AddPhone(netip.MustParseAddr("2001:db8:7::7%eth0"))
	wantSays(t, send(g, noon, outsidePhones, "[2001:db8:7::7]:5060", msg{}.bytes()), "allow allow")
	wantSays(t, send(g, noon, outsidePhones, "[2001:db8:7::8]:5060", msg{}.bytes()), "drop not-registered")
}

// TestOrderTreatsPhonesRight: what binds a registered phone, step by step, beside a stranger.
func TestOrderTreatsPhonesRight(t *testing.T) {
	any := []string{"any"}
	once := []RateLimitConfig{{Limits: map[string]string{"*": "1/day"}, Burst: ptr(1)}}
	registrar := PhonesConfig{Registrar: true}
	tight := StrangersConfig{Rate: "1/day", Burst: ptr(1)}
	for _, c := range []struct {
		name            string
		config          Config
		ban             *Ban
		m               msg
		phone, stranger string // what a second message meets
	}{
		{"4: evidence", Config{Phones: registrar}, &Ban{Auto: true}, msg{method: "REGISTER"}, "allow allow", "drop ban"},
		{"3: by hand", Config{Phones: registrar}, &Ban{}, msg{method: "REGISTER"}, "drop ban", "drop ban"},
		{"3: black list", Config{Phones: registrar, BlackList: []BlackEntry{{Range: any}}}, nil, msg{}, "drop black-list", "drop black-list"},
		{"6: sanity", Config{Phones: registrar}, nil, msg{extra: "Content-Length: 9\r\n"}, "reject 400 malformed", "drop malformed"},
		{"7: user agent", Config{Phones: registrar}, nil, msg{agent: "sipcli/v1.8"}, "drop user-agent", "drop user-agent"},
		{"8: limits", Config{Phones: registrar, RateLimits: once}, nil, msg{method: "REGISTER"}, "drop limit-exceeded", "drop limit-exceeded"},
		{"9: budget", Config{Phones: registrar, Strangers: tight}, nil, msg{method: "REGISTER"}, "allow allow", "drop strangers-budget"},
		{"9: budget, forward", Config{Phones: PhonesConfig{Unregistered: "forward"}, Strangers: tight}, nil, msg{}, "allow allow", "drop strangers-budget"},
		{"9: silence costs nothing", Config{Phones: registrar, Strangers: tight}, nil, msg{}, "allow allow", "drop not-registered"},
		{"11: no registrar", Config{}, nil, msg{method: "REGISTER"}, "allow allow", "drop stranger"},
		{"11: drop", Config{Phones: registrar}, nil, msg{}, "allow allow", "drop not-registered"},
		{"11: reject", Config{Phones: PhonesConfig{Unregistered: "reject"}}, nil, msg{}, "allow allow", "reject 403 not-registered"},
		{"11: drop, answer", Config{Strangers: StrangersConfig{Phones: "answer"}}, nil, msg{}, "allow allow", "reject 403 not-registered"},
		{"11: OPTIONS", Config{Phones: registrar}, nil, msg{method: "OPTIONS"}, "allow allow", "drop stranger"},
		{"11: NOTIFY", Config{Phones: PhonesConfig{Unregistered: "forward"}}, nil, msg{method: "NOTIFY"}, "allow allow", "drop stranger"},
		{"response", Config{Phones: registrar}, nil, msg{status: 200}, "allow allow", "drop stranger"},
	} {
		for _, s := range []struct{ source, want string }{{"198.51.100.77", c.phone}, {"192.0.2.66", c.stranger}} {
			g := newGuard(t, &c.config)
			g.AddPhone(netip.MustParseAddr("198.51.100.77"))
			if c.ban != nil {
				ban := *c.ban
				ban.Prefix = BanPrefix(netip.MustParseAddr(s.source))
				must(t, g.Bans().Add(noon, ban))
			}
			send(g, noon, outsidePhones, s.source, c.m.bytes())
			again := c.m
			again.branch = "z9hG4bKagain"
			if got := says(send(g, noon, outsidePhones, s.source, again.bytes())); got != s.want {
				t.Errorf("%s: %s meets %q, want %q", c.name, s.source, got, s.want)
			}
		}
	}
}

// TestAChallengedStrangerIsChargedOnce: REGISTER, 401, REGISTER with credentials cost one of the budget.
func TestAChallengedStrangerIsChargedOnce(t *testing.T) {
	g := newGuard(t, &Config{Phones: PhonesConfig{Registrar: true}, Strangers: StrangersConfig{Rate: "1/day", Burst: ptr(2)}})
	credentials := "Authorization: Digest nonce=\"x\"\r\n"
	for n, want := range []string{"allow allow", "allow allow", "drop strangers-budget"} {
		source := fmt.Sprintf("192.0.2.%d", 60+n)
		wantSays(t, send(g, noon, outsidePhones, source, msg{method: "REGISTER"}.bytes()), want)
		if n < 2 {
			g.Challenged(noon, addrPort(source), "x")
			wantSays(t, send(g, noon, outsidePhones, source, msg{method: "REGISTER", branch: "z9hG4bK2", extra: credentials}.bytes()), "allow allow")
		}
	}
	// Credentials that nobody asked for are a guess like any other.
	wantSays(t, send(g, noon, outsidePhones, "192.0.2.60", msg{method: "REGISTER", branch: "z9hG4bK3", extra: credentials}.bytes()), "drop strangers-budget")
}

// TestEvidenceOfPhonesIsSafe: strangers who fill their table take nothing from what is known of a phone's address, and
// what it does at another door stands in the same place.
func TestEvidenceOfPhonesIsSafe(t *testing.T) {
	g := newGuard(t, &Config{})
	a := netip.MustParseAddr("198.51.100.77")
	g.AddPhone(a)
	send(g, noon, outsidePhones, "198.51.100.77", msg{}.bytes())
	send(g, noon, outsideTrunks, "198.51.100.77", msg{}.bytes())
	for n := range uint32(5000) {
		send(g, noon.Add(time.Second), outsidePhones, addr4(n).String(), msg{branch: fmt.Sprint("z9hG4bK", n)}.bytes())
	}
	x := g.Explain(noon, a)
	if x.Seen == nil || x.Seen.Passed != 1 || x.Seen.Refused != 1 {
		t.Errorf("%+v", x.Seen)
	}
	if len(x.Known) != 1 || x.Known[0] != (Identity{Side: "outside", Realm: "phones", Kind: "phone", Count: 1}) {
		t.Errorf("%+v", x.Known)
	}
}

// TestAdmittedAtOneDoorOpensNoOther: a repeat is one where the request was admitted, and a new request elsewhere.
func TestAdmittedAtOneDoorOpensNoOther(t *testing.T) {
	g := newGuard(t, &Config{})
	g.AddPhone(netip.MustParseAddr("198.51.100.77"))
	wantSays(t, send(g, noon, outsidePhones, "198.51.100.77", msg{}.bytes()), "allow allow")
	wantSays(t, send(g, noon, outsidePhones, "198.51.100.77", msg{}.bytes()), "allow live-dialog")
	wantSays(t, send(g, noon, outsideTrunks, "198.51.100.77", msg{}.bytes()), "drop unknown-trunk")
	wantSays(t, send(g, noon, outsideTrunks, "198.51.100.77", msg{method: "CANCEL"}.bytes()), "drop unknown-trunk")
	wantSays(t, send(g, noon, outsidePhones, "198.51.100.77", msg{method: "CANCEL"}.bytes()), "allow live-dialog")
}

// TestPhonesEqualAList: a random run of registrations and ends, against a plain list of bindings.
func TestPhonesEqualAList(t *testing.T) {
	sources := make([]netip.Addr, 0, 24)
	for n := range 12 {
		sources = append(sources, netip.AddrFrom4([4]byte{198, 51, 100, byte(n)}), netip.AddrFrom16([16]byte{0x20, 1, 15: byte(n)}))
	}
	rapid.Check(t, func(t *rapid.T) {
		g := newGuard(&testing.T{}, &Config{})
		g.SetPeers(nil)
		var list []netip.Addr
		for range rapid.IntRange(0, 120).Draw(t, "steps") {
			a := rapid.SampledFrom(sources).Draw(t, "source")
			if rapid.Bool().Draw(t, "add") {
				g.AddPhone(a)
				list = append(list, a)
			} else {
				g.RemovePhone(a)
				if i := slices.Index(list, a); i >= 0 {
					list = slices.Delete(list, i, i+1)
				}
			}
		}
		if g.Phones() != len(list) {
			t.Fatalf("%d phones, want %d", g.Phones(), len(list))
		}
		d := g.directory()
		for _, a := range sources {
			n := 0
			for _, b := range list {
				if a == b {
					n++
				}
			}
			p := d.find(nat.Outside, nat.Phones, a)
			if (p != nil) != (n > 0) || d.known(a) != (n > 0) || g.phones.at(a) != n || p != nil && (p.Kind != Phone || p.Name != "") {
				t.Fatalf("%s has %d phones: %+v, counted %d", a, n, p, g.phones.at(a))
			}
		}
	})
}

// TestTrunkIsNoPhoneAtItsOwnDoor: a phone behind a provider's address changes nothing for the provider.
func TestTrunkIsNoPhoneAtItsOwnDoor(t *testing.T) {
	g := newGuard(t, &Config{})
	g.AddPhone(netip.MustParseAddr("203.0.113.20"))
	x := g.Explain(noon, netip.MustParseAddr("203.0.113.20"))
	if len(x.Known) != 2 || x.Known[0].Count != 1 || x.Known[1].Name != "itsp" {
		t.Errorf("%+v", x.Known)
	}
	want := "203.0.113.20   outside/phones · 1 phone registered behind it; outside/trunks · trunk itsp"
	if text := x.Text(time.UTC); text[:len(want)] != want {
		t.Error(text)
	}
}

// BenchmarkPhones is what a binding more or less costs among as many as the table of bindings holds.
func BenchmarkPhones(b *testing.B) {
	g := newGuard(b, &Config{})
	for n := range uint32(25_000) {
		g.AddPhone(addr4(n * 2654435761))
	}
	n := uint32(0)
	b.ReportAllocs()
	for b.Loop() {
		n++
		g.AddPhone(addr4(n | 1<<30))
		g.RemovePhone(addr4(n | 1<<30))
	}
}
