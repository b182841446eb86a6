package policy

import (
	"fmt"
	"hash/maphash"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport/nat"
	"sallyport/sbc/scan"
)

// provenAs sends a request with a nonce and reports whether it proves its source.
func provenAs(g *Guard, now time.Time, source, nonce string) bool {
	data := msg{method: "REGISTER", callID: fmt.Sprint("p", now, source, nonce), extra: fmt.Sprintf("Authorization: Digest nonce=\"%s\"\r\n", nonce)}.bytes()
	var s Subject
	var view scan.View
	p := &Packet{Now: now, Interface: outsidePhones, Source: addrPort(source), Data: data, View: &view, ScanErr: scan.Scan(data, &view)}
	s.readSource(p.Interface, p.Source)
	s.readMessage(p)
	g.state.conduct.proofs.see(g.state.age(now), &s)
	return s.Proven
}

func TestWhatProvesASource(t *testing.T) {
	g := newGuard(t, registrar())
	g.Challenged(noon, addrPort("192.0.2.66:5070"), "secret")
	g.Challenged(noon, addrPort("[::ffff:192.0.2.67]:5070"), "mapped")
	g.Challenged(noon, addrPort("192.0.2.68:5070"), "")
	for _, c := range []struct {
		after         time.Duration
		source, nonce string
		want          bool
	}{
		{0, "192.0.2.66:5070", "secret", true},
		{0, "192.0.2.66:5070", "secret", true},  // a phone uses a nonce again
		{0, "192.0.2.66:6000", "secret", true},  // its NAT gave it another port
		{0, "192.0.2.66:5070", "Secret", false}, // guessed
		{0, "192.0.2.66:5070", "", false},       // no nonce at all
		{0, "192.0.2.67:5070", "secret", false}, // another's
		{0, "192.0.2.67:5070", "mapped", true},  // IPv4 in IPv6 spelling is IPv4
		{0, "192.0.2.68:5070", "", false},       // an empty one proves nothing
		{9 * time.Minute, "192.0.2.66:5070", "secret", true},
		{10 * time.Minute, "192.0.2.66:5070", "secret", false}, // too old
	} {
		if got := provenAs(g, noon.Add(c.after), c.source, c.nonce); got != c.want {
			t.Errorf("after %v %s with %q: %v", c.after, c.source, c.nonce, got)
		}
	}
}

// TestAnAnswerSpeaksForItselfAlone: who forges the address and port of somebody that has answered a challenge does not get him
// banned; what carries the answer itself does.
func TestAnAnswerSpeaksForItselfAlone(t *testing.T) {
	g := newGuard(t, registrar())
	c := newClient(g, "192.0.2.66:5070", "204")
	g.Challenged(noon, addrPort(c.source), "n")
	wantSays(t, c.register(noon, "n"), "allow allow")
	at := noon.Add(time.Minute)
	for n := range 8 {
		forged := msg{agent: "sipvicious", callID: fmt.Sprint("forged", n)}
		send(g, at, outsidePhones, c.source, forged.bytes())
		forged.callID += "guessed"
		forged.extra = "Authorization: Digest nonce=\"guessed\"\r\n"
		send(g, at, outsidePhones, c.source, forged.bytes())
	}
	if list := g.Bans().List(at); len(list) != 0 {
		t.Errorf("banned by what others sent: %+v", list)
	}
	if list := g.Blocks(at, netip.MustParsePrefix("192.0.2.66/32")); len(list) != 1 || list[0].Source != addrPort(c.source) {
		t.Errorf("blocks %+v", list)
	}
	for n := range 2 {
		own := msg{agent: "sipvicious", callID: fmt.Sprint("own", n), extra: "Authorization: Digest nonce=\"n\"\r\n"}
		send(g, at, outsidePhones, c.source, own.bytes())
	}
	if len(g.Bans().List(at)) != 1 {
		t.Error("what answers the challenge is proven")
	}
}

func TestStrangersDoNotTakeThePhonesPlace(t *testing.T) {
	g := newGuard(t, registrar())
	registerPhones(g, "198.51.100.77", 1)
	g.Challenged(noon, addrPort("198.51.100.77:40122"), "phone")
	for n := range uint32(50_000) {
		g.Challenged(noon.Add(time.Second), netip.AddrPortFrom(addr4(0x40000000+n), 5060), fmt.Sprint(n))
	}
	if !provenAs(g, noon.Add(2*time.Second), "198.51.100.77:40122", "phone") {
		t.Error("the phone's challenge is forgotten")
	}
}

// A nonce that a source got while it was a stranger still proves it as a phone, and the other way round.
func TestProofOutlivesAChangeOfStanding(t *testing.T) {
	g := newGuard(t, registrar())
	g.Challenged(noon, addrPort("198.51.100.77:1"), "before")
	registerPhones(g, "198.51.100.77", 1)
	g.Challenged(noon, addrPort("198.51.100.77:1"), "after")
	if !provenAs(g, noon, "198.51.100.77:1", "before") {
		t.Error("before")
	}
	g.RemovePhone(netip.MustParseAddr("198.51.100.77"))
	if !provenAs(g, noon, "198.51.100.77:1", "after") {
		t.Error("after")
	}
}

// TestGuessesUnderOneCallIDAllCount: an attacker who never changes Call-ID and CSeq gains nothing.
func TestGuessesUnderOneCallIDAllCount(t *testing.T) {
	g := newGuard(t, registrar())
	source := addrPort("192.0.2.66:5070")
	for n := range 4 {
		nonce := fmt.Sprint("n", n)
		g.Challenged(noon, source, nonce)
		data := msg{method: "REGISTER", callID: "same", cseq: 1, branch: fmt.Sprint("z9hG4bK", n), extra: "Authorization: Digest nonce=\"" + nonce + "\"\r\n"}.bytes()
		wantSays(t, send(g, noon, outsidePhones, source.String(), data), "allow allow")
		for range 2 { // told twice by mistake: counted once
			g.Outcome(noon, Outcome{Source: source, Realm: nat.Phones, AoR: "204@example.com", Kind: WrongDigest, CallID: "same", CSeq: 1})
		}
		if n < 3 && len(g.Bans().List(noon)) != 0 {
			t.Fatalf("banned after %d", n+1)
		}
	}
	if len(g.Bans().List(noon)) != 1 {
		t.Error("not banned")
	}
}

func TestProofsEqualAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var p proofs
		p.init(maphash.MakeSeed(), 4096)
		model := map[string]time.Duration{}
		now := time.Duration(0)
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			now += time.Duration(rapid.IntRange(0, 120).Draw(t, "step")) * time.Second
			a := netip.AddrPortFrom(addr4(rapid.Uint32Range(1, 3).Draw(t, "a")), 1)
			nonce := rapid.SampledFrom([]string{"x", "y"}).Draw(t, "nonce")
			key := a.String() + nonce
			if rapid.Bool().Draw(t, "pass") {
				p.passed(now, a, nonce, rapid.Bool().Draw(t, "known"))
				model[key] = now
				continue
			}
			born, there := model[key]
			if got, want := p.answered(now, a.Addr(), []byte(nonce)), there && now-born < nonceLife; got != want {
				t.Fatalf("%s at %v: %v, want %v", key, now, got, want)
			}
		}
	})
}

func TestBlocksEqualAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b blockTable
		b.init(maphash.MakeSeed(), 4096)
		model := map[netip.AddrPort]time.Duration{}
		now := time.Duration(0)
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			now += time.Duration(rapid.IntRange(0, 40).Draw(t, "step")) * time.Second
			a := netip.AddrPortFrom(addr4(rapid.Uint32Range(1, 3).Draw(t, "a")), rapid.Uint16Range(1, 3).Draw(t, "port"))
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0:
				b.add(a, now+mostBlock, tally{scanner: 1})
				model[a] = now + mostBlock
			case 1:
				want := 0
				for s, until := range model {
					if s.Addr() == a.Addr() && now < until {
						want++
						delete(model, s)
					}
				}
				if got := b.lift(now, netip.PrefixFrom(a.Addr(), 32)); got != want {
					t.Fatalf("%d lifted, want %d", got, want)
				}
			default:
				if got, want := b.holds(now, a), now < model[a]; got != want {
					t.Fatalf("%s at %v: %v, want %v", a, now, got, want)
				}
			}
		}
	})
}

func TestConductIsCapped(t *testing.T) {
	alone(t)
	g := newGuard(t, registrar())
	for n := range uint32(20_000) {
		source := netip.AddrPortFrom(addr4(0x40000000+n), 5060)
		for k := range 2 {
			send(g, noon, outsidePhones, source.String(), msg{agent: "sipvicious", callID: fmt.Sprint("c", n, k)}.bytes())
		}
		g.Challenged(noon, source, fmt.Sprint(n))
		for k := range uint32(3) {
			o := Outcome{Source: netip.AddrPortFrom(addr4(0x50000000+4*n+k), 5060), AoR: fmt.Sprint("user", n), Kind: WrongDigest, CallID: fmt.Sprint(n, k)}
			g.Outcome(noon, o)
			o.CallID += "again"
			g.Outcome(noon, o)
		}
	}
	for _, l := range g.Levels(noon) {
		if l.Used > l.Cap {
			t.Errorf("%+v", l)
		}
		switch l.Name {
		case "blocked ports", "slowed users", "points strangers":
			if l.Used < l.Cap/2 {
				t.Errorf("%+v is not filled", l)
			}
		}
	}
	// Everything empties by itself.
	late := noon.Add(time.Hour)
	g.Tick(late)
	for _, l := range g.Levels(late) {
		if l.Used != 0 && (l.Name == "blocked ports" || l.Name == "slowed users") {
			t.Errorf("an hour later: %+v", l)
		}
	}
}
