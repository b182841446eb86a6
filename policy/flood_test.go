package policy

import (
	"flag"
	"fmt"
	"hash/maphash"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport/nat"
	"sallyport/sbc/scan"
)

var forgedSources = flag.Uint("forged", 1_000_000, "how many forged sources TestManyForgedSources sends from")

// forged is the nth source of a flood: an IPv4 address, or an address in a /64 of its own.
func forged(n uint32, v6 bool) netip.Addr {
	if !v6 {
		return addr4(0x20000000 + n*2654435761)
	}
	return netip.AddrFrom16([16]byte{0x2a, 0, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n), 6: byte(n * 7), 15: 1})
}

// flooded is a guard in a flood, beside people who go about their business.
type flooded struct {
	g       *Guard
	view    scan.View
	data    []byte
	reached int
	n       int
}

func newFlooded(t testing.TB, sizes Sizes, c *Config) *flooded {
	t.Helper()
	g, err := New(Options{Now: noon, Seed: maphash.MakeSeed(), Rules: compile(t, c), Sizes: sizes})
	must(t, err)
	g.SetPeers(testPeers()[:3])
	f := &flooded{g: g, data: msg{method: "REGISTER", agent: "Yealink SIP-T46U 108.86.0.45"}.bytes()}
	must(t, scan.Scan(f.data, &f.view))
	return f
}

// forge sends one REGISTER of a forged source.
func (f *flooded) forge(now time.Time, source netip.Addr) {
	p := Packet{Now: now, Interface: outsidePhones, Source: netip.AddrPortFrom(source, 5060), Data: f.data, View: &f.view}
	if f.g.Check(&p).Action == Allow {
		f.reached++
	}
}

// honest sends a new request that must pass.
func (f *flooded) honest(t interface{ Fatalf(string, ...any) }, now time.Time, i *nat.Interface, source, method string) {
	f.n++
	m := msg{method: method, callID: fmt.Sprint("honest", f.n), branch: fmt.Sprint("z9hG4bKh", f.n), cseq: f.n}
	if v := send(f.g, now, i, source, m.bytes()); v.Action != Allow {
		t.Fatalf("%s from %s at %s after %s: %s", method, source, i, now.Sub(noon), says(v))
	}
}

// TestForgedSourcesStarveNobody, at small tables and at random: phones that keep within their limits, a trunk and a call
// pass, whatever the flood does and in whichever order things happen.
func TestForgedSourcesStarveNobody(t *testing.T) {
	alone(t)
	rapid.Check(t, func(t *rapid.T) {
		f := newFlooded(&testing.T{}, small, &Config{Phones: PhonesConfig{Registrar: true}, Strangers: StrangersConfig{Rate: "5/second", Burst: ptr(10)}})
		v6 := rapid.Bool().Draw(t, "IPv6")
		f.g.AddPhone(netip.MustParseAddr("198.51.100.77"))
		f.g.AddPhone(netip.MustParseAddr("2001:db8:7::7"))
		f.g.Live().Add("ours", netip.MustParseAddr("198.51.100.77"))
		now, sent := noon, uint32(0)
		for range rapid.IntRange(1, 12).Draw(t, "rounds") {
			for range rapid.IntRange(0, 4000).Draw(t, "forged") {
				sent++
				f.forge(now.Add(time.Duration(sent%4000)*time.Millisecond), forged(sent, v6))
			}
			now = now.Add(4 * time.Second) // 15 REGISTERs a minute
			f.honest(t, now, outsidePhones, "198.51.100.77:40000", "REGISTER")
			f.honest(t, now, outsidePhones, "[2001:db8:7::7]:5060", "REGISTER")
			f.honest(t, now, outsideTrunks, "203.0.113.20", "INVITE")
			f.honest(t, now, insideTrunks, "10.0.0.10", "INVITE")
			if v := send(f.g, now, outsidePhones, "198.51.100.77", msg{method: "BYE", toTag: "ours", branch: "z9hG4bKbye"}.bytes()); says(v) != "allow live-dialog" {
				t.Fatalf("a call's BYE meets %s", says(v))
			}
		}
		if most := 5*int(now.Sub(noon).Seconds()+4) + 10; f.reached > most {
			t.Fatalf("%d forged requests passed, at most %d may", f.reached, most)
		}
	})
}

// TestManyForgedSources fills the tables at their default sizes many times over, with IPv4 addresses and IPv6 /64s. Ten
// million take half a minute: go test -run ManyForged -forged 10000000.
func TestManyForgedSources(t *testing.T) {
	alone(t)
	sources := uint32(*forgedSources)
	if testing.Short() || raceDetector {
		sources = min(sources, 300_000)
	}
	f := newFlooded(t, Sizes{}, &Config{Phones: PhonesConfig{Registrar: true}})
	const debtor = "198.51.100.99"
	for n := range 40 {
		f.g.AddPhone(addr4(0x0A000000 + uint32(n)))
	}
	f.g.Live().Add("ours", netip.MustParseAddr("192.0.2.50"))
	passing(f.g, noon, outsidePhones, debtor, "REGISTER", 4)
	const perSecond = 30_000
	for n := range sources {
		now := noon.Add(time.Duration(n) * time.Second / perSecond)
		f.forge(now, forged(n, n%2 == 1))
		if n%(perSecond/20) == 0 {
			f.honest(t, now, outsideTrunks, "203.0.113.20", "INVITE")
		}
		if n%(perSecond*4/40) == 0 { // forty phones, each every four seconds
			f.honest(t, now, outsidePhones, addr4(0x0A000000+n/(perSecond*4/40)%40).String(), "REGISTER")
			if v := send(f.g, now, outsidePhones, "192.0.2.50", msg{method: "INFO", toTag: "ours", branch: fmt.Sprint("z9hG4bKi", n)}.bytes()); says(v) != "allow live-dialog" {
				t.Fatalf("a request of a call meets %s", says(v))
			}
		}
	}
	end := noon.Add(time.Duration(sources) * time.Second / perSecond)
	if most := int(50*end.Sub(noon).Seconds()) + 100; f.reached > most {
		t.Errorf("%d forged requests passed, at most %d may", f.reached, most)
	}
	// Nobody took the room of the known, and who owed something owes it still.
	for _, l := range f.g.Levels(end) {
		if l.Name == "limiter known peers" && l.Most > 40 {
			t.Errorf("%+v", l)
		}
	}
	// A phone that registers now, at the height of the flood, finds its room.
	f.g.AddPhone(netip.MustParseAddr("198.51.100.55"))
	if n := passing(f.g, end, outsidePhones, "198.51.100.55", "REGISTER", 4); n != 4 {
		t.Errorf("%d of 4 REGISTERs of a new phone pass", n)
	}
}
