package sbc_test

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat/natlab"
	"sallyport/sbc"
	"sallyport/sbc/demo"
	"sallyport/sbc/message"
)

// seenAt makes the provider say of all that it answers, or of OPTIONS alone, that it sees us at an address.
func (s *subscriber) seenAt(v netip.AddrPort, registers bool) {
	s.provider.Do(func() {
		s.provider.Outside = func(m *message.Message) *message.Message {
			out := s.office.answer(m)
			if out == nil && m.Method == "OPTIONS" {
				out = message.Reply(m, 200, "")
			}
			if out != nil && (registers || m.Method == "OPTIONS") {
				out.Via[0].Received, out.Via[0].RPort = v.Addr().String(), int(v.Port())
			}
			return out
		}
	})
}

// TestAProviderLiesAboutOurAddress: neither the PBX nor another provider is taken for us, whoever says so and wherever.
func TestAProviderLiesAboutOurAddress(t *testing.T) {
	yaml := rewritten(t, accountConfig, "policy:", `  - name: other
    peers: [ { address: "203.0.113.21:5060" } ]
    outbound: { match: ['\+49.*'] }
    keepalive: { method: none }
policy:`)
	yaml = rewritten(t, yaml, "keepalive: { interval: 20s }", "keepalive: { interval: 20s }\n    outbound: { match: ['\\+1.*'] }")
	for _, victim := range []string{"10.0.0.10:5060", "10.0.0.2:5080", "10.9.9.9:5060", "203.0.113.21:5060", "198.51.100.200:5060"} {
		for _, registers := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				s := newSubscriber(t, yaml, natlab.NATOptions{})
				defer s.close()
				other := s.agent("other", secondAt, 12)
				other.Do(func() {
					other.Number = "0301234"
					other.Incoming = scriptOf(demo.Script{Ring: 50 * time.Millisecond, Answer: 200 * time.Millisecond}, sdpAt(other.Addr.Addr(), 4000))
				})
				v := netip.MustParseAddrPort(victim)
				s.seenAt(v, registers)
				time.Sleep(time.Minute)
				is := s.trunk()
				if is.State != "registered" || strings.HasPrefix(is.SeenAs, "10.0.0.") || is.SeenAs == secondAt.String() {
					t.Errorf("%s: %+v", victim, is)
				}
				// 10.9.9.9 is behind a NAT as ours may be, and 198.51.100.200 may be ours: that is between the provider and us.
				if lie := strings.HasPrefix(victim, "10.0.0.") || v == secondAt; s.said("it says that it sees us as "+victim) != map[bool]int{true: 1}[lie] {
					t.Errorf("%s: warned %d times", victim, s.said("it says that it sees us as"))
				}
				for _, number := range []string{"+4930123", "+120123"} {
					if r := s.call(s.pbx, pbxSocket, number, demo.Script{SDP: sdpAt(pbxAt.Addr(), 4002), Hangup: time.Second}); r.Code != 200 {
						t.Errorf("%s, %s: the PBX heard %d (%s)", victim, number, r.Code, r.Why)
					}
				}
			})
		}
	}
}

// TestOneAddressTwoTransports: NAPTR names TCP first and UDP second, both at one address and port, as many providers have it. TCP is
// shut. Each has its own health, and calls go where they are heard.
func TestOneAddressTwoTransports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := newZone(t,
			`provider.example. 30 IN NAPTR 10 10 "s" "SIP+D2T" "" _sip._tcp.provider.example.`,
			`provider.example. 30 IN NAPTR 10 20 "s" "SIP+D2U" "" _sip._udp.provider.example.`,
			"_sip._tcp.provider.example. 30 IN SRV 10 1 5060 a.provider.example.",
			"_sip._udp.provider.example. 30 IN SRV 10 1 5060 a.provider.example.",
			hostA)
		yaml := rewritten(t, accountConfig, "trunks: { udp: 5080 } }\ninside", "trunks: { udp: 5080, tcp: 5080 } }\ninside")
		yaml = rewritten(t, yaml, `registration: { registrar: sip.example.net, proxy: "203.0.113.20:5060", username: "4930555", auth_username: login, password: s3cret }
    keepalive: { interval: 20s }`, `peers: [ { address: provider.example } ]
    keepalive: { interval: 5s }`)
		yaml = rewritten(t, yaml, "mode: register", "mode: address")
		s := newSubscriber(t, yaml, natlab.NATOptions{}, func(o *sbc.Options) { o.DNS = z })
		defer s.close()
		time.Sleep(time.Minute)
		list, err := s.gate.Control(nil).Trunks(s.ctx)
		if err != nil {
			t.Fatal(err)
		}
		states := map[string]string{}
		for _, p := range list[0].Peers {
			states[p.Transport+" "+p.Address] = p.State + ", " + p.Answer
		}
		if len(states) != 2 || states["udp 203.0.113.20:5060"] != "up, 200 OK" || states["tcp 203.0.113.20:5060"] != "unknown, unreachable" {
			t.Errorf("%v", states)
		}
		for range 3 {
			if r := s.call(s.pbx, pbxSocket, "+4930123", demo.Script{SDP: sdpAt(pbxAt.Addr(), 4002), Hangup: time.Second}); r.Code != 200 {
				t.Errorf("the PBX heard %d (%s)", r.Code, r.Why)
			}
		}
	})
}

// TestNamesThatLeadToOurselves: our own address is a name, too; and a reload says that what was outside is inside.
func TestNamesThatLeadToOurselves(t *testing.T) {
	const at = "198.51.100.50:5060"
	zone := []string{"gate.example. 30 IN A 198.51.100.50", "sip.provider.example. 30 IN A 198.51.100.50"}
	used := func(l *lab) bool {
		list, err := l.gate.Control(nil).Trunks(l.ctx)
		if err != nil || len(list) != 1 || len(list[0].Peers) != 1 {
			l.t.Fatalf("%v %+v", err, list)
		}
		return list[0].Peers[0].Address == at
	}
	t.Run("own", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			yaml := rewritten(t, namedConfig(t), "outside: { address: 203.0.113.10,", "outside: { address: 203.0.113.10, external_address: gate.example,")
			z := newZone(t, zone...)
			l := newNamed(t, yaml, z)
			defer l.close()
			time.Sleep(5 * time.Second)
			if text := l.trunkText(); used(l) || !strings.Contains(text, "not used: "+at+" is our own address") {
				t.Errorf("\n%s", text)
			}
			z.set(t, strings.Replace(zone[0], ".50", ".51", 1), zone[1]) // we move, and it is free for others
			time.Sleep(2 * time.Minute)
			if !used(l) {
				t.Errorf("\n%s", l.trunkText())
			}
		})
	})
	t.Run("inside", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			yaml := namedConfig(t)
			l := newNamed(t, yaml, newZone(t, zone...))
			defer l.close()
			time.Sleep(5 * time.Second)
			if !used(l) {
				t.Fatalf("\n%s", l.trunkText())
			}
			l.mustReload(yaml + "internal_ranges: [ 10.0.0.0/8, 198.51.100.0/24 ]\n")
			if used(l) {
				t.Errorf("after the reload\n%s", l.trunkText())
			}
			time.Sleep(10 * time.Minute)
			if text := l.trunkText(); used(l) || !strings.Contains(text, "198.51.100.50 lies in internal_ranges") {
				t.Errorf("\n%s", text)
			}
		})
	})
}
