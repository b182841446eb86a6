package policy

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sallyport/nat"
	"sallyport/sbc/scan"
)

// articleNames are the twelve strings that administrators of sipXcom were told to deny, as they were written.
var articleNames = []string{
	"VaxSIPUserAgent/3.1", "VaxSIPUserAgent", "sipcli/v1.8", "CiscoSystemsSIP-IPPhone", "Cisco/SPA504G-7.4.9c", "one-X",
	"pplsip", "eyeBeam", "friendly-scanner", "eyeBeam release 3006o stamp", "sipcli", "UsaAirport",
}

// scannerAgents are what scanning tools call themselves: sipvicious (svmap, svwar, svcrack and svcrash say
// friendly-scanner, sipvicious PRO its name), and those that copy it or phones.
var scannerAgents = []string{
	"friendly-scanner", "friendly-scanner/0.2.8", "SIPVicious", "sipvicious/0.3.4", "SIPVicious PRO 6.0", "friendly-request", "sundayddr",
	"sip-scan", "iWar", "sipsak 0.9.6", "sipsak 0.9.8.1", "siparmyknife", "Nmap NSE", "nmap-sip", "sipptk", "gulp", "(friendly-scanner)", "my-friendly-scanner",
	"sipcli/v1.8", "sipcli 1.9", "VaxSIPUserAgent/3.5", "eyeBeam release 3006o stamp 17551", "eyeBeam release 3007n stamp 17816",
	"Cisco/SPA504G-7.4.9c", "one-X Communicator 6", "UsaAirport 1", "pplsip/1",
}

// spell writes a header field in a way that RFC 3261 §7.3.1 allows and the next hop reads the same: any case, white
// space around the colon, folded before and between the words, more behind it.
func spell(name string, pick func(n int) int) string {
	header := []string{"User-Agent", "user-agent", "USER-AGENT", "uSeR-aGeNt"}[pick(4)] + []string{":", " :", "\t:", " \t :"}[pick(4)] +
		[]string{"", " ", "\t", "   ", "\r\n ", " \r\n\t", "\r\n \t "}[pick(7)]
	value := []string{name, strings.ToUpper(name), strings.ToLower(name), swapCase(name)}[pick(4)]
	if fold := pick(3); fold > 0 {
		value = strings.ReplaceAll(value, " ", []string{"", "\r\n ", " \r\n\t"}[fold])
	}
	return header + value + []string{"", " ", "\t", " 17551", "/2", "/v1.8 (x)", "\r\n 17551", " \t stamp", "\r\n "}[pick(9)] + "\r\n"
}

func swapCase(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c |= 0x20; 'a' <= c && c <= 'z' && i%2 == 0 {
			b[i] ^= 0x20
		}
	}
	return string(b)
}

// denied reports whether the phone's message is refused for its name.
func denied(t fataler, g *Guard, i *nat.Interface, m msg) bool {
	v := send(g, noon, i, "198.51.100.7", m.bytes())
	if v.Reason == "malformed" || v.Action == Ignore {
		t.Fatalf("%q is malformed: the test is", m.bytes())
	}
	return v.Refused() && v.Reason == "user-agent"
}

type fataler interface{ Fatalf(string, ...any) }

// TestEveryNameInEverySpellingIsBlocked goes through all names with spellings of all kinds, at every transport.
func TestEveryNameInEverySpellingIsBlocked(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	branch, g := 0, newGuard(t, &Config{Bans: BansConfig{Points: ptr(0)}})
	for _, name := range append(append([]string{}, articleNames...), scannerAgents...) {
		for range 150 {
			for tr := nat.UDP; tr <= nat.WSS; tr++ {
				branch++
				i := &nat.Interface{Side: nat.Outside, Realm: nat.Phones, Transport: tr}
				field := spell(name, random.IntN)
				if m := (msg{extra: field, branch: fmt.Sprint("z9hG4bKs", branch)}); !denied(t, g, i, m) {
					t.Fatalf("%q passes at %s", field, tr)
				}
			}
		}
	}
}

// TestANameBesideOthersIsBlocked: whichever of several fields it stands in.
func TestANameBesideOthersIsBlocked(t *testing.T) {
	honest := "User-Agent: Yealink SIP-T46U\r\n"
	for _, name := range articleNames {
		bad := "User-Agent: " + name + "\r\n"
		for n, fields := range []string{honest + bad, bad + honest, honest + honest + bad, "User-Agent:\r\n" + bad, honest + "Subject: x\r\n" + bad} {
			g := newGuard(t, &Config{})
			if !denied(t, g, outsidePhones, msg{extra: fields}) {
				t.Errorf("%s beside others (%d) passes", name, n)
			}
		}
		// One more than anybody looks at is no way around.
		g := newGuard(t, &Config{})
		v := send(g, noon, outsidePhones, "192.0.2.66", msg{extra: strings.Repeat(honest, scan.MaxAgents) + bad}.bytes())
		if !v.Refused() {
			t.Errorf("%s hides behind %d others", name, scan.MaxAgents)
		}
	}
}

// TestANonceBesideOthersProves: whichever of several credentials it stands in, and wherever there.
func TestANonceBesideOthersProves(t *testing.T) {
	for n, fields := range []string{
		"Authorization: Digest realm=\"other\", nonce=\"x\"\r\nProxy-Authorization: Digest realm=\"r\", nonce=\"real\"\r\n",
		"Authorization: Digest realm=\"r\", nonce = real\r\nAuthorization: Digest realm=\"other\", nonce=\"x\"\r\n",
		"Authorization: Digest nonce=\"x\", nonce=\"\", realm=\"r\", nonce=\"real\"\r\n",
	} {
		g := newGuard(t, registrar())
		at := addrPort("192.0.2.66:5070")
		g.Challenged(noon, at, "real")
		send(g, noon, outsidePhones, at.String(), msg{method: "REGISTER", callID: "a", extra: fields}.bytes())
		if !g.state.conduct.proofs.proven(g.state.age(noon), at) {
			t.Errorf("%d: the answer proves nothing", n)
		}
	}
	g := newGuard(t, registrar())
	if v := send(g, noon, outsidePhones, "192.0.2.66", msg{extra: strings.Repeat("Authorization: Digest nonce=\"x\"\r\n", scan.MaxNonces+1)}.bytes()); !v.Refused() {
		t.Error("one hides behind more than anybody looks at")
	}
}

// TestAResponseSaysServer: RFC 3261 §20.35.
func TestAResponseSaysServer(t *testing.T) {
	for _, name := range articleNames {
		g := newGuard(t, &Config{})
		if v := send(g, noon, outsidePhones, phone, msg{status: 200, extra: "Server: " + name + "\r\n"}.bytes()); says(v) != "drop user-agent" {
			t.Errorf("%s: %s", name, says(v))
		}
	}
}

// elsewhere puts a word where it has nothing to say.
var elsewhere = map[string]func(m *msg, word string) func(string) string{
	"From, display name":  func(*msg, string) func(string) string { return replacing(`"Bob" <`, `"%s" <`) },
	"From, bare name":     func(*msg, string) func(string) string { return replacing(`"Bob" <`, `%s <`) },
	"From, user":          func(*msg, string) func(string) string { return replacing("sip:204@", "sip:%s@") },
	"To, user":            func(*msg, string) func(string) string { return replacing("<sip:100@", "<sip:%s@") },
	"Request-URI":         func(*msg, string) func(string) string { return replacing("INVITE sip:100@", "INVITE sip:%s@") },
	"Call-ID":             func(*msg, string) func(string) string { return replacing("Call-ID: c1", "Call-ID: %s") },
	"Via, branch":         func(*msg, string) func(string) string { return replacing("z9hG4bK1", "z9hG4bK%s") },
	"Subject":             func(m *msg, w string) func(string) string { m.extra = "Subject: " + w + "\r\n"; return nil },
	"X-User-Agent":        func(m *msg, w string) func(string) string { m.extra = "X-User-Agent: " + w + "\r\n"; return nil },
	"Server of a request": func(m *msg, w string) func(string) string { m.extra = "Server: " + w + "\r\n"; return nil },
	"SDP, session": func(m *msg, w string) func(string) string {
		m.body = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=" + w + "\r\n"
		return nil
	},
	"SDP, a line that looks like a field": func(m *msg, w string) func(string) string {
		m.body = "v=0\r\nUser-Agent: " + w + "\r\n"
		return nil
	},
}

func replacing(old, with string) func(string) string {
	return func(word string) string { return old + "\x00" + fmt.Sprintf(with, word) }
}

// TestTheWordsElsewhereAreHonest: sipXcom looked for them anywhere in the packet.
func TestTheWordsElsewhereAreHonest(t *testing.T) {
	for _, name := range append(append([]string{}, articleNames...), shippedScanners...) {
		word := strings.NewReplacer(" ", "-", "/", "-").Replace(name)
		for place, put := range elsewhere {
			m := msg{agent: "Yealink SIP-T46U 108.86.0.45"}
			f := put(&m, word)
			text := string(m.bytes())
			if f != nil {
				old, with, _ := strings.Cut(f(word), "\x00")
				changed := strings.Replace(text, old, with, 1)
				if changed == text {
					t.Fatalf("%s: nothing replaced", place)
				}
				text = changed
			}
			g := newGuard(t, &Config{})
			if v := send(g, noon, outsidePhones, phone, []byte(text)); says(v) != "allow allow" {
				t.Errorf("%s in %s: %s", word, place, says(v))
			}
		}
	}
}

// TestHonestAgentsOfAllKindsPass: names that hold one of the twelve inside a word, and those of phones.
func TestHonestAgentsOfAllKindsPass(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom(articleNames).Draw(t, "name")
		before := rapid.SampledFrom([]string{"My", "x", "z-", "The ", "1", "("}).Draw(t, "before")
		after := rapid.SampledFrom([]string{"", "ish", "2", "-b", ".5", " 1.0"}).Draw(t, "after")
		agent := before + name + after
		for _, scanner := range shippedScanners {
			if strings.Contains(foldASCII(agent), foldASCII(scanner)) {
				return // those are caught anywhere
			}
		}
		g := newGuard(&testing.T{}, &Config{})
		if v := send(g, noon, outsidePhones, phone, msg{agent: agent}.bytes()); says(v) != "allow allow" {
			t.Fatalf("%q: %s", agent, says(v))
		}
	})
	for _, agent := range []string{"MyeyeBeamish", "eyeBeamish", "Alone-X", "one-Xtra", "sipclient/1", "sipcli2", "pplsipper", "UsaAirports", "VaxSIPUserAgentX"} {
		g := newGuard(t, &Config{})
		wantSays(t, send(g, noon, outsidePhones, phone, msg{agent: agent}.bytes()), "allow allow")
	}
}

// TestOneForgedPacketOfTheProvider with a scanner's name: the provider's calls go on.
func TestOneForgedPacketOfTheProvider(t *testing.T) {
	g := newGuard(t, &Config{DenyUserAgents: []UserAgentConfig{{Match: "friendly-scanner", Action: "ban"}}})
	for n := range 50 {
		send(g, noon, outsideTrunks, "203.0.113.20", msg{agent: "friendly-scanner", callID: fmt.Sprint("forged", n), branch: fmt.Sprint("z9hG4bKf", n)}.bytes())
		wantSays(t, send(g, noon, outsideTrunks, "203.0.113.20", msg{callID: fmt.Sprint("call", n), branch: fmt.Sprint("z9hG4bKc", n)}.bytes()), "allow allow")
	}
	if bans := g.Bans().List(noon); len(bans) != 0 {
		t.Errorf("%+v", bans)
	}
}

// TestStreamsMeetTheSameRules: pipelined in one piece or cut at any byte, each message of a stream meets what its datagram
// does.
func TestStreamsMeetTheSameRules(t *testing.T) {
	c := &Config{Bans: BansConfig{Points: ptr(0)}, MessageRules: []MessageRuleConfig{{Name: "no messages", Methods: []string{"MESSAGE"}, Action: "reject"},
		{Name: "no name", Methods: []string{"REGISTER"}, UserAgent: []PatternConfig{{Mode: "absent"}}}, {Name: "dialler", To: []PatternConfig{{Match: "sip:100@"}}, Methods: []string{"INFO"}, Action: "ban"}}}
	var stream []byte
	var want []string
	udp := newGuard(t, c)
	for n, m := range []msg{{agent: "ok"}, {agent: "ONE-X\r\n deskphone"}, {method: "MESSAGE", agent: "ok"}, {method: "REGISTER"}, {method: "REGISTER", agent: "ok"},
		{method: "INFO", agent: "ok"}, {agent: "ok", body: "User-Agent: friendly-scanner\r\n"}, {agent: "friendly-scanner"}} {
		m.branch = fmt.Sprint("z9hG4bKp", n)
		want = append(want, says(send(udp, noon, outsidePhones, phone, m.bytes())))
		stream = append(stream, m.bytes()...)
	}
	for _, piece := range []int{len(stream), 1, 2, 7, 100, 333} {
		for _, tr := range []nat.Transport{nat.TCP, nat.TLS} {
			g, framer := newGuard(t, c), &scan.Framer{}
			var got []string
			for rest := stream; len(rest) > 0; {
				n := min(piece, len(rest))
				if err := framer.Feed(rest[:n]); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
				var view scan.View
				for {
					kind, m, err := framer.Next(&view)
					if err != nil {
						t.Fatal(err)
					}
					if kind != scan.Message {
						break
					}
					got = append(got, says(g.Check(&Packet{Now: noon, Interface: &nat.Interface{Side: nat.Outside, Realm: nat.Phones, Transport: tr},
						Source: addrPort(phone), Data: m, View: &view})))
				}
			}
			if strings.Join(got, ", ") != strings.Join(want, ", ") {
				t.Errorf("%s in pieces of %d:\n%q\n%q", tr, piece, got, want)
			}
		}
	}
	if got := strings.Join(want, ", "); got != "allow allow, drop user-agent, reject 403 message-rule, drop message-rule, allow allow, drop message-rule, allow allow, drop user-agent" {
		t.Error(got)
	}
}
