package policy

import (
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport/nat"
)

// crowd sends first messages of n forged strangers within a window, so that there is no attention left.
func (f *flooded) crowd(now time.Time, n uint32) {
	for i := range n {
		f.forge(now, forged(i, false))
	}
}

// newShedding is a guard in the middle of a flood at noon.
func newShedding(t testing.TB, c *Config) *flooded {
	f := newFlooded(t, small, c)
	f.crowd(noon, attentionMost)
	return f
}

// shed asks about a datagram.
func (f *flooded) shed(now time.Time, i *nat.Interface, source string) bool {
	return f.g.Shed(now, i, addrPort(source))
}

func TestOnlyNewcomersAreShedAndOnlyInAFlood(t *testing.T) {
	f := newFlooded(t, small, &Config{Phones: PhonesConfig{Registrar: true}})
	f.crowd(noon, attentionMost-1)
	if f.shed(noon, outsidePhones, "192.0.2.66") {
		t.Fatal("shed before there was no attention left")
	}
	f.crowd(noon, 1)
	for _, source := range []string{"192.0.2.66", "2001:db8::66"} {
		a := netip.AddrPortFrom(netip.MustParseAddr(source), 5060).String()
		if !f.shed(noon, outsidePhones, a) {
			t.Errorf("%s comes for the first time and is looked at", source)
		}
		if f.shed(noon.Add(time.Millisecond), outsidePhones, a) {
			t.Errorf("%s comes again and is shed", source)
		}
	}
	if n := f.g.Counters().Get(nat.Outside, nat.Phones, nat.UDP, "strangers-budget", Drop); n < 2 || f.g.Counters().Shed() != 2 {
		t.Errorf("%d counted, %d shed", n, f.g.Counters().Shed())
	}
	if f.shed(noon.Add(attentionWindow), outsidePhones, "192.0.2.67") {
		t.Error("shed in the next window, in which nobody has come yet")
	}
	tcp := &nat.Interface{Side: nat.Outside, Realm: nat.Phones, Transport: nat.TCP}
	if f.shed(noon, tcp, "192.0.2.68") || f.shed(noon, insidePhones, "192.0.2.68") {
		t.Error("shed what cannot be forged, or comes from inside")
	}
	if !f.shed(noon, outsideTrunks, "192.0.2.68") {
		t.Error("at the trunks' door strangers have all the attention")
	}
}

// TestWhoIsKnownIsNeverShed: everybody of whom something is known or written.
func TestWhoIsKnownIsNeverShed(t *testing.T) {
	for name, c := range map[string]struct {
		source string
		door   *nat.Interface
		before func(g *Guard)
	}{
		"trunk":           {"203.0.113.20", outsideTrunks, func(*Guard) {}},
		"trunk elsewhere": {"203.0.113.20", outsidePhones, func(*Guard) {}},
		"phone":           {"198.51.100.77", outsidePhones, func(g *Guard) { registerPhones(g, "198.51.100.77", 1) }},
		"phone, IPv6":     {"2001:db8:7::7", outsidePhones, func(g *Guard) { registerPhones(g, "2001:db8:7::7", 1) }},
		"phone that has just left": {"198.51.100.77", outsidePhones, func(g *Guard) {
			registerPhones(g, "198.51.100.77", 1)
			g.RemovePhone(netip.MustParseAddr("198.51.100.77"))
		}},
		"call": {"192.0.2.50", outsidePhones, func(g *Guard) { g.Live().Add("our1", netip.MustParseAddr("192.0.2.50")) }},
		"call, moved": {"192.0.2.51", outsidePhones, func(g *Guard) {
			g.Live().Add("our1", addr4(1))
			g.Live().Add("our1", netip.MustParseAddr("192.0.2.51"))
		}},
		"ringing":      {"192.0.2.50", outsidePhones, func(g *Guard) { g.Live().AddInvite("c", "b", netip.MustParseAddr("192.0.2.50")) }},
		"challenged":   {"192.0.2.52", outsidePhones, func(g *Guard) { g.Challenged(noon, addrPort("192.0.2.52"), "n") }},
		"admitted":     {"192.0.2.53", outsidePhones, func(g *Guard) { send(g, noon, outsidePhones, "192.0.2.53", msg{method: "REGISTER"}.bytes()) }},
		"white-listed": {"192.0.2.40", outsidePhones, func(*Guard) {}},
		"black-listed": {"192.0.2.200", outsidePhones, func(*Guard) {}},
		"banned":       {"192.0.2.54", outsidePhones, func(g *Guard) { must(t, g.Bans().Add(noon, Ban{Prefix: netip.MustParsePrefix("192.0.2.54/32")})) }},
	} {
		f := newFlooded(t, small, &Config{Phones: PhonesConfig{Registrar: true}, WhiteList: []WhiteEntry{{Range: []string{"192.0.2.40"}}},
			BlackList: []BlackEntry{{Range: []string{"192.0.2.128/25"}}}, Strangers: StrangersConfig{Burst: ptr(1000)}})
		c.before(f.g)
		f.crowd(noon, attentionMost)
		source := netip.AddrPortFrom(netip.MustParseAddr(c.source), 5060).String()
		for n := range 3 {
			if f.shed(noon.Add(time.Duration(n)*time.Millisecond), c.door, source) {
				t.Errorf("%s was shed", name)
			}
		}
	}
}

// TestWhatIsRememberedEnds: calls that end and challenges that nobody answers leave nothing behind.
func TestWhatIsRememberedEnds(t *testing.T) {
	f := newShedding(t, &Config{Phones: PhonesConfig{Registrar: true}})
	a := netip.MustParseAddr("192.0.2.50")
	f.g.Live().Add("our1", a)
	f.g.Live().Add("our1", a)
	f.g.Live().Remove("our1")
	f.g.Live().Remove("our1")
	if f.g.state.vouched.of(a).holds(0) {
		t.Error("a call that has ended is still remembered")
	}
	f.g.Challenged(noon, addrPort("192.0.2.52"), "n")
	later := noon.Add((vouchedLife + 2) * time.Second)
	f.crowd(later, attentionMost)
	if !f.shed(later, outsidePhones, "192.0.2.52") {
		t.Error("a challenge is remembered for ever")
	}
}

// TestAttentionGrowsWithTheBudget: who lets more strangers pass a second has them looked at.
func TestAttentionGrowsWithTheBudget(t *testing.T) {
	for rate, want := range map[string]uint64{"": 100, "50/second": 100, "10000/second": 4000} {
		if r := compile(t, &Config{Strangers: StrangersConfig{Rate: rate}}); r.attention != want {
			t.Errorf("%q: %d, want %d", rate, r.attention, want)
		}
	}
}

// TestSheddingChangesNoVerdict: with and without it the same requests of the known pass, no more of the strangers', and an
// honest stranger who repeats himself is looked at.
func TestSheddingChangesNoVerdict(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := newFlooded(&testing.T{}, small, &Config{Phones: PhonesConfig{Registrar: true}, Strangers: StrangersConfig{Rate: "20/second", Burst: ptr(20)}})
		f.g.AddPhone(netip.MustParseAddr("198.51.100.77"))
		sent, honest := uint32(0), 0
		for tick := range rapid.IntRange(1, 30).Draw(t, "ticks") {
			now := noon.Add(time.Duration(tick) * 250 * time.Millisecond)
			for range rapid.IntRange(0, 600).Draw(t, "forged") {
				sent++
				if a := forged(sent, sent%3 == 0); !f.g.Shed(now, outsidePhones, netip.AddrPortFrom(a, 5060)) {
					f.forge(now, a)
				}
			}
			if tick%16 == 0 {
				if f.g.Shed(now, outsidePhones, addrPort("198.51.100.77:4000")) {
					t.Fatal("a phone was shed")
				}
				f.honest(t, now, outsidePhones, "198.51.100.77:4000", "REGISTER")
			}
			// A newcomer, and half a second later his repeat.
			source := netip.AddrPortFrom(addr4(0x0C000000+uint32(tick)), 5060)
			first := f.g.Shed(now, outsidePhones, source)
			if first && f.g.Shed(now.Add(time.Millisecond), outsidePhones, source) {
				honest++
			}
		}
		if honest > 1 {
			t.Fatalf("%d newcomers were shed twice", honest)
		}
		if most := 20*8 + 20; f.reached > most {
			t.Fatalf("%d strangers' requests passed", f.reached)
		}
	})
}

func TestShedAllocatesNothing(t *testing.T) {
	f := newShedding(t, &Config{Phones: PhonesConfig{Registrar: true}})
	n := uint32(1 << 20)
	if a := testing.AllocsPerRun(1000, func() {
		n++
		f.g.Shed(noon, outsidePhones, netip.AddrPortFrom(forged(n, n%2 == 0), 5060))
	}); a != 0 {
		t.Errorf("%v allocations", a)
	}
}

// TestAdmittedBranchesAreNeverMissed: an entry may take a branch for one that was let through, but for the life of a
// transaction never one that was for another.
func TestAdmittedBranchesAreNeverMissed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var v voucher
		now, admitted := time.Duration(rapid.Int64Range(0, int64(400*24*time.Hour)).Draw(t, "age")), map[uint64]time.Duration{}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			now += time.Duration(rapid.Int64Range(0, int64(20*time.Second)).Draw(t, "step"))
			branch := rapid.Uint64Range(0, 100).Draw(t, "branch")
			if rapid.Bool().Draw(t, "admit") {
				v.admit(now, branch)
				admitted[branch] = now
			}
			behind := max(0, now-time.Duration(rapid.IntRange(0, 2000).Draw(t, "behind"))*time.Millisecond)
			for branch, at := range admitted {
				if now-at < repeatLife && !v.mayHaveAdmitted(behind, branch) {
					t.Fatalf("branch %d, let through %v ago, is unknown", branch, now-at)
				}
			}
		}
	})
	var v voucher
	v.admit(0, 1)
	if v.mayHaveAdmitted(0, 2) || v.mayHaveAdmitted(2*repeatLife, 1) || (&voucher{}).mayHaveAdmitted(0, 0) {
		t.Error("an entry knows what it cannot know")
	}
}
