package header

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// TestTheTableIsWellFormed: the allow list is written in canonical names, and holds nothing that never passes.
func TestTheTableIsWellFormed(t *testing.T) {
	for name, r := range table {
		if message.CanonicalName(name) != name {
			t.Errorf("%s is spelt %s in messages", name, message.CanonicalName(name))
		}
		for _, d := range directions {
			out := &message.Message{}
			Copy(d, &message.Message{Headers: []message.Header{{Name: name, Value: "10.0.0.10"}}}, out, testHosts[d])
			if r.ways&(1<<d) == 0 && len(out.Headers) != 0 {
				t.Errorf("%s passes %v", name, d)
			}
		}
	}
	for _, never := range []string{"Server", "User-Agent", "Organization", "Via", "Record-Route", "Route", "Contact", "Call-ID", "CSeq"} {
		if _, listed := table[never]; listed {
			t.Errorf("%s never passes", never)
		}
	}
	for d, name := range map[Direction]string{TrunkToPBX: "trunk to PBX", PBXToPhone: "PBX to phone"} {
		if d.String() != name {
			t.Errorf("%v", d)
		}
	}
}

// places are where a secret can get into a request that opens a dialog; each writes it as it would stand there.
var places = map[string]func(m *message.Message, secret string){
	"Request-URI": func(m *message.Message, s string) { m.URI.Host = s },
	"From":        func(m *message.Message, s string) { m.From.URI.Host = s },
	"To":          func(m *message.Message, s string) { m.To.URI.Host = s },
	"Via":         func(m *message.Message, s string) { m.Via[0].Host = s },
	"Contact": func(m *message.Message, s string) {
		m.Headers[0].Value = "<sip:a@" + bracket(s) + ":5060;transport=udp>"
	},
	"Contact, no user": func(m *message.Message, s string) { m.Headers[0].Value = "<sip:" + bracket(s) + ">" },
	"maddr":            func(m *message.Message, s string) { m.To.URI.Params = ";maddr=" + bracket(s) + ";lr" },
	"Warning":          func(m *message.Message, s string) { m.Add("Warning", "399 "+bracket(s)+":5060 \"x\"") },
	"second Warning":   func(m *message.Message, s string) { m.Add("Warning", "399 x \"y\", 399 "+bracket(s)+" \"x\"") },
	"URL":              func(m *message.Message, s string) { m.Add("Call-Info", "<http://"+bracket(s)+"/a>;purpose=icon") },
	"identity": func(m *message.Message, s string) {
		m.Add("P-Asserted-Identity", "<sip:1@x>, \"y\" <sip:2@"+bracket(s)+">")
	},
	"SDP connection": func(m *message.Message, s string) { describe(m, "c=IN IP4 "+s) },
	"SDP origin":     func(m *message.Message, s string) { describe(m, "o=- 1 1 IN IP4 "+s) },
	"SDP rtcp":       func(m *message.Message, s string) { describe(m, "m=audio 1 RTP/AVP 0\r\na=rtcp:1 IN IP4 "+s) },
	"SDP candidate":  func(m *message.Message, s string) { describe(m, "a=candidate:1 1 UDP 1 "+s+" 1 typ host") },
	"SDP related": func(m *message.Message, s string) {
		describe(m, "a=candidate:1 1 UDP 1 1.2.3.4 1 typ srflx raddr "+s+" rport 1")
	},
	"extension":         func(m *message.Message, s string) { m.Add("X-Node", "sip:"+bracket(s)) },
	"History-Info":      func(m *message.Message, s string) { m.Add("History-Info", "<sip:1@"+bracket(s)+"?Reason=SIP>;index=1") },
	"received":          func(m *message.Message, s string) { m.Via[0].Params = ";x=y" + ";h=" + bracket(s) },
	"spaces all around": func(m *message.Message, s string) { m.Add("X-Node", "  sip:a@"+bracket(s)+"  ") },
}

func describe(m *message.Message, lines string) {
	m.Add("Content-Type", "application/sdp")
	m.Body = []byte("v=0\r\n" + lines + "\r\n")
}

func bracket(host string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}

// TestAPlantedSecretIsFound puts one secret into one place of a clean request: the guard finds it and repairs it, in
// the peers' hosts and in what the other leg brought, in any case; and the same request without it is left alone.
func TestAPlantedSecretIsFound(t *testing.T) {
	bring := &tu.Secrets{Hosts: []string{"node7.cluster.example", "10.0.0.77"}}
	rapid.Check(t, func(t *rapid.T) {
		secret := rapid.SampledFrom([]string{
			"10.0.0.2", "10.0.0.10", "10.0.0.11", "10.0.0.77", "fd00:10::10", "FD00:0010::10", "pbx.example.internal", "Pbx.Example.INTERNAL", "node7.Cluster.example",
		}).Draw(t, "secret")
		name := rapid.SampledFrom(placeNames()).Draw(t, "place")
		if strings.HasPrefix(name, "SDP") && strings.Contains(secret, ":") && rapid.Bool().Draw(t, "mapped") {
			secret = "::ffff:10.0.0.10"
		}
		m := clean(nat.Outside)
		places[name](m, secret)
		hits, ok := testGuard().Check(nat.Outside, m, bring)
		raw, err := m.Append(nil)
		if hits != 1 || !ok || err != nil {
			t.Fatalf("%s in %s: %d hits, ok %v, %v\n%s", secret, name, hits, ok, err, raw)
		}
		if strings.Contains(strings.ToLower(string(raw)), strings.ToLower(secret)) {
			t.Fatalf("%s stays in %s:\n%s", secret, name, raw)
		}
		// The same place with a host of this side, or of nobody.
		harmless := rapid.SampledFrom([]string{"198.51.100.5", "203.0.113.20", "itsp.example", "example.com", "192.168.7.7", "nobody.example", "2001:db8::1"}).Draw(t, "harmless")
		m = clean(nat.Outside)
		places[name](m, harmless)
		if hits, ok := testGuard().Check(nat.Outside, m, bring); hits != 0 || !ok {
			t.Fatalf("%s in %s: %d hits", harmless, name, hits)
		}
	})
}

// placeNames are in order: a failure replays by index.
func placeNames() []string { return slices.Sorted(maps.Keys(places)) }

// TestWordsOfADialog: From and To of a dialog keep the hosts they were opened with, but what is repaired in their words
// when it is opened stays repaired later.
func TestWordsOfADialog(t *testing.T) {
	m := dialogOf(clean(nat.Outside))
	m.From.Display, m.To.URI.User = `"at 10.0.0.10"`, "10.0.0.10"
	m.From.URI.Host, m.To.URI.Host = "10.0.0.10", "10.0.0.10"
	hits, ok := testGuard().Check(nat.Outside, m, nil)
	if hits != 2 || !ok || m.From.Display != `"at 198.51.100.5"` || m.To.URI.User != "198.51.100.5" || m.From.URI.Host != "10.0.0.10" {
		t.Errorf("%d hits, ok %v: %v, %v", hits, ok, m.From, m.To)
	}
}

// TestGuardIsTheSameOnBothSides: what is forbidden outside is at home inside, and the other way round.
func TestGuardIsTheSameOnBothSides(t *testing.T) {
	hosts := [2][]string{
		nat.Outside: {"198.51.100.5", "203.0.113.20", "itsp.example", "[2001:db8:20::5]"},
		nat.Inside:  {"10.0.0.2", "10.0.0.10", "10.0.0.11", "pbx.example.internal", "pbx", "[fd00:10::10]"},
	}
	for home := range hosts {
		for _, h := range hosts[home] {
			for side := range 2 {
				m := clean(nat.Side(side))
				m.Headers[0].Value = "<sip:1@" + h + ">"
				hits, _ := testGuard().Check(nat.Side(side), m, nil)
				if (hits == 1) != (side != home) {
					t.Errorf("%s leaving %v: %d hits", h, nat.Side(side), hits)
				}
			}
		}
	}
}

// TestSecretsAreBounded: a leg that names ever new hosts is looked at no slower and no longer.
func TestSecretsAreBounded(t *testing.T) {
	bring := &tu.Secrets{}
	for i := range 1000 {
		bring.AddHost("h" + strings.Repeat("x", i%50) + ".example")
		bring.AddID(strings.Repeat("y", i))
	}
	if len(bring.Hosts) > 64 || len(bring.IDs) > 64 {
		t.Fatalf("%d hosts, %d ids", len(bring.Hosts), len(bring.IDs))
	}
	m := clean(nat.Outside)
	if hits, ok := testGuard().Check(nat.Outside, m, bring); hits != 0 || !ok {
		t.Errorf("%d hits", hits)
	}
}
