package sbc_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat"
	"sallyport/nat/natlab"
	"sallyport/sbc/demo"
	"sallyport/sbc/message"
)

// homestead is a peer of the lab in one family, and the gate as it knows it.
type homestead struct {
	at     netip.AddrPort // of the peer
	gate   netip.Addr
	sound  netip.AddrPort
	family string
}

// trunkEnds and pbxEnds are the provider and the PBX in either family.
var (
	trunkEnds = []homestead{
		{providerAt, gateOutside, providerSound, "IPv4"},
		{netip.MustParseAddrPort("[2001:db8::20]:5060"), netip.MustParseAddr("2001:db8::10"), netip.MustParseAddrPort("[2001:db8::20]:4000"), "IPv6"},
	}
	pbxEnds = []homestead{
		{pbxAt, gateInside, pbxSound, "IPv4"},
		{netip.MustParseAddrPort("[fd00::a]:5060"), netip.MustParseAddr("fd00::2"), netip.MustParseAddrPort("[fd00::a]:4002"), "IPv6"},
	}
)

// familyConfig is a gate with the addresses that the two ends need, or with both families on both sides.
func familyConfig(trunk, pbx homestead, both bool) string {
	outside, inside := `"`+trunk.gate.String()+`"`, `"`+pbx.gate.String()+`"`
	if both {
		outside, inside = `[ 203.0.113.10, "2001:db8::10" ]`, `[ 10.0.0.2, "fd00::2" ]`
	}
	return fmt.Sprintf(`
outside: { address: %s, phones: { udp: 5060, tcp: 5060 }, trunks: { udp: 5080 } }
inside: { address: %s, phones: { udp: 5060 }, trunks: { udp: 5080 } }
internal_ranges: [ 10.0.0.0/8, 192.168.0.0/16, "fd00::/8" ]
media: { ports: 30000-31000 }
pbx:
  domain: example.com
  nodes: [ { address: "%s" } ]
  health: { interval: 0 }
trunks:
  - name: itsp
    peers: [ { address: "%s" } ]
    outbound: { match: ["^\\+?[0-9]{5,15}$"] }
    keepalive: { method: none }
policy: { rate_limits: [] }
`, outside, inside, pbx.at, trunk.at)
}

// watches fails the test where a side hears of an address of the other one.
func (l *lab) watches(trunk, pbx homestead) {
	l.net.Observe(func(d natlab.Datagram) {
		l.ladder.note(d)
		inside := d.Src.Addr() == pbx.gate && d.Dst == pbx.at
		outside := d.Src.Addr() == trunk.gate && d.Dst == trunk.at
		for _, secret := range []string{"203.0.113.", "2001:db8:", "198.51.100."} {
			if inside && bytes.Contains(d.Payload, []byte(secret)) {
				l.t.Errorf("%s shows inside:\n%s", secret, d.Payload)
			}
		}
		for _, secret := range []string{"10.0.0.", "fd00:"} {
			if outside && bytes.Contains(d.Payload, []byte(secret)) {
				l.t.Errorf("%s shows outside:\n%s", secret, d.Payload)
			}
		}
	})
}

// TestEveryPairOfFamilies: a provider and a PBX of any families call each other through a gate that has what they need, or both
// families on both sides; RTP and RTCP, hold and resume, counted in the record.
func TestEveryPairOfFamilies(t *testing.T) {
	for _, trunk := range trunkEnds {
		for _, pbx := range pbxEnds {
			for _, both := range []bool{false, true} {
				for _, out := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s trunk %s pbx both=%v out=%v", trunk.family, pbx.family, both, out), func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) { familyCall(t, trunk, pbx, both, out) })
					})
				}
			}
		}
	}
}

func familyCall(t *testing.T, trunk, pbx homestead, both, out bool) {
	l := newGate(t, familyConfig(trunk, pbx, both), natlab.Options{Seed: 1})
	defer l.close()
	l.watches(trunk, pbx)
	a, b := trunk, pbx
	if out {
		a, b = pbx, trunk
	}
	from, to := l.wire(a.at), l.wire(b.at)
	c := l.talk(from, to, netip.AddrPortFrom(a.gate, 5080), sdpAt(a.at.Addr(), int(a.sound.Port())), sdpAt(b.at.Addr(), int(b.sound.Port())))
	near, far := told(t, c.shown[0], 0), told(t, c.shown[1], 0)
	if near.Addr() != a.gate || far.Addr() != b.gate {
		t.Fatalf("told %s and %s", near, far)
	}
	for i := range byte(20) {
		l.hear(a.sound, near, rtp(0, i), far, b.sound)
		l.hear(b.sound, far, rtp(0, i), near, a.sound)
		time.Sleep(20 * time.Millisecond)
	}
	l.hear(above(a.sound), above(near), rtcp(), above(far), above(b.sound))
	l.hear(above(b.sound), above(far), rtcp(), above(near), above(a.sound))

	// The callee holds with music, then goes on at another port.
	m := withBody(c.callee.within("INVITE", 0), hold(sdpAt(b.at.Addr(), int(b.sound.Port()))))
	c.callee.send(c.callee.gate, m)
	arrived := from.want("INVITE")
	if arrived.URI.Host != a.at.Addr().String() || told(t, arrived.Body, 0) != near || contactOf(t, arrived).Addr() != a.gate {
		t.Errorf("hold is told as\n%s", arrived)
	}
	from.reply(arrived, 200, append(sdpAt(a.at.Addr(), int(a.sound.Port())), "a=recvonly\r\n"...))
	to.want("200 INVITE")
	to.send(c.callee.gate, c.callee.within("ACK", m.CSeq))
	from.want("ACK")
	l.hear(b.sound, far, rtp(0, 30), near, a.sound)
	l.hear(a.sound, near, rtp(0, 30), nowhere, nowhere)
	moved := netip.AddrPortFrom(b.at.Addr(), 4010)
	m = withBody(c.callee.within("INVITE", 0), sdpAt(b.at.Addr(), 4010))
	c.callee.send(c.callee.gate, m)
	from.reply(from.want("INVITE"), 200, sdpAt(a.at.Addr(), int(a.sound.Port())))
	to.want("200 INVITE")
	to.send(c.callee.gate, c.callee.within("ACK", m.CSeq))
	from.want("ACK")
	l.hear(moved, far, rtp(0, 31), near, a.sound)
	hangup(c.caller, c.callee)
	time.Sleep(time.Second)
	r := l.record()
	if len(r.Media) != 1 || r.Media[0].Outside.Packets < 20 || r.Media[0].Inside.Packets < 20 || r.Media[0].Outside.Sent < 20 {
		t.Errorf("the record says %+v", r.Media)
	}
	l.empty()
}

// sixPhone is a phone on IPv6, which nobody translates.
func (l *roaming) sixPhone(at string, user string, transport nat.Transport) *demo.Agent {
	l.t.Helper()
	return l.phone(l.net.Host(netip.MustParseAddr(at)), user, 5062, transport)
}

// TestAPhoneOnIPv6 registers at a PBX on IPv4, is called and calls, over UDP and TCP.
func TestAPhoneOnIPv6(t *testing.T) {
	for _, tr := range []nat.Transport{nat.UDP, nat.TCP} {
		t.Run(tr.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				defer func(before netip.AddrPort) { phoneSocket = before }(phoneSocket)
				phoneSocket = netip.MustParseAddrPort("[2001:db8::10]:5060")
				l := newRoaming(t, familyConfig(trunkEnds[0], pbxEnds[0], true), natlab.Options{Seed: 3})
				defer l.close()
				l.watches(trunkEnds[1], pbxEnds[0])
				phone := l.sixPhone("2001:db8:7::5", "204", tr)
				phone.Incoming = scriptOf(demo.Script{Ring: 100 * time.Millisecond, Answer: time.Second}, sdpAt(phone.Addr.Addr(), 4000))
				l.pbx.Incoming = scriptOf(demo.Script{Ring: 100 * time.Millisecond, Answer: time.Second}, sdpAt(pbxAt.Addr(), 4002))
				registration, out := l.register(phone, demo.RegisterOptions{})
				if out.Code != 200 || len(out.Contacts) != 1 || out.Contacts[0].URI.Host != "2001:db8:7::5" {
					t.Fatalf("registered with %+v", out)
				}
				time.Sleep(10 * time.Minute)
				if r := l.ring("204", demo.Script{SDP: sdpAt(pbxAt.Addr(), 4004), Hangup: 2 * time.Second}); r.Code != 200 {
					t.Errorf("the PBX heard %d (%s)", r.Code, r.Why)
				}
				held := demo.Script{SDP: sdpAt(phone.Addr.Addr(), 4000), Reinvite: time.Second, Hold: hold(sdpAt(phone.Addr.Addr(), 4000)), Hangup: 3 * time.Second}
				if r := l.call(phone, phoneSocket, "100", held); r.Code != 200 || r.Challenges != 1 {
					t.Errorf("the phone heard %d after %d challenges (%s)", r.Code, r.Challenges, r.Why)
				}
				if got := l.registered(); len(got) != 1 || !strings.Contains(got[0], "[2001:db8:7::5]:") {
					t.Errorf("registered: %v", got)
				}
				phone.Do(registration.End)
				l.empty()
			})
		})
	}
}

// TestAPhoneBehindATranslator lives in a network that has IPv6 alone. Its packets reach us from an IPv4 address that it has never heard
// of (RFC 6146); its Via, Contact and descriptions name addresses that we cannot reach. It is what any phone behind a NAT is.
func TestAPhoneBehindATranslator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, familyConfig(trunkEnds[0], pbxEnds[0], false), natlab.Options{Seed: 3})
		defer l.close()
		pbx, own := l.wire(pbxAt), netip.MustParseAddrPort("[2001:db8:64::5]:5062")
		phone := l.wire(netip.MustParseAddrPort("198.51.100.64:40164"))
		says := func(m *message.Message) *message.Message {
			for i := range m.Via {
				m.Via[i].Host, m.Via[i].Port = own.Addr().String(), own.Port()
			}
			if _, has := m.Get("Contact"); has {
				m.Set("Contact", "<sip:204@"+own.String()+">")
			}
			return m
		}
		register := phone.request("REGISTER", phoneSocket, "")
		register.URI, register.From.URI, register.To.URI = uri("sip:example.com"), uri("sip:204@example.com"), uri("sip:204@example.com")
		register.Add("Contact", "<sip:204@"+own.String()+">")
		phone.send(phoneSocket, says(register))
		asked := pbx.want("REGISTER")
		contact, _ := asked.Get("Contact")
		pbx.reply(asked, 200, nil, message.Header{Name: "Contact", Value: contact + ";expires=3600"})
		if answer := phone.want("200 REGISTER"); !strings.Contains(answer.String(), own.String()) {
			t.Errorf("its own Contact is missing in\n%s", answer)
		}
		invite := withBody(phone.request("INVITE", phoneSocket, "100"), sdpAt(own.Addr(), 4000))
		invite.From.URI, invite.To.URI = uri("sip:204@example.com"), uri("sip:100@example.com")
		phone.send(phoneSocket, says(invite))
		arrived := pbx.want("INVITE")
		pbx.reply(arrived, 200, sdpAt(pbxAt.Addr(), 4002))
		final := phone.want("200 INVITE")
		caller, callee := l.ends(phone, pbx, phoneSocket, invite, arrived, final)
		phone.send(phoneSocket, says(caller.within("ACK", 1)))
		pbx.want("ACK")
		outside, inside := told(t, final.Body, 0), told(t, arrived.Body, 0)
		// Its media comes from a port that the translator has chosen; two packets are not enough to believe it.
		sound := netip.MustParseAddrPort("198.51.100.64:51000")
		time.Sleep(600 * time.Millisecond)
		for i := range byte(3) {
			l.relay.Inject(outside, sound, rtp(0, i))
			time.Sleep(20 * time.Millisecond)
		}
		l.hear(sound, outside, rtp(0, 3), inside, pbxSound)
		l.hear(pbxSound, inside, rtp(0, 1), outside, sound)
		l.hear(netip.MustParseAddrPort("[2001:db8:64::5]:4000"), outside, rtp(0, 9), nowhere, nowhere)
		phone.send(phoneSocket, says(caller.within("BYE", 0)))
		phone.want("200 BYE")
		pbx.reply(pbx.want("BYE"), 200, nil)
		_ = callee
		time.Sleep(5 * time.Minute)
		if g := l.gate.Gauges(); g.Calls != 0 || g.Streams != 0 || g.Panics != 0 {
			t.Errorf("left behind: %+v", g)
		}
	})
}

func uri(s string) message.URI {
	u, err := message.ParseURI(s)
	if err != nil {
		panic(err)
	}
	return u
}

// TestLimitsCountNetworksOfIPv6: who has a /64 has any address of it.
func TestLimitsCountNetworksOfIPv6(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		yaml := rewritten(t, familyConfig(trunkEnds[1], pbxEnds[0], false), "policy: { rate_limits: [] }",
			"policy: { strangers: { phones: answer }, rate_limits: [ { name: six, range: any, realms: [phones], limits: { OPTIONS: 6/minute }, burst: 4 } ] }")
		l := newGate(t, yaml, natlab.Options{Seed: 1})
		defer l.close()
		gate := netip.MustParseAddrPort("[2001:db8::10]:5060")
		answered := func(host string) bool {
			w := l.wire(netip.MustParseAddrPort("[" + host + "]:5060"))
			w.send(gate, w.request("OPTIONS", gate, ""))
			return w.next(time.Second) != nil
		}
		var got []bool
		for i := range 6 {
			got = append(got, answered(fmt.Sprintf("2001:db8:9:1::%d", i+1)))
		}
		if want := []bool{true, true, true, true, false, false}; !slices.Equal(got, want) {
			t.Errorf("six hosts of one /64 are answered %v, want %v", got, want)
		}
		if !answered("2001:db8:9:2::1") {
			t.Error("the neighbours' network pays for them")
		}
	})
}

// TestMediaOfAnotherFamily: a provider signals by IPv6 and has its media on IPv4 (RFC 6157 §4.1). Where that side has both, its
// media hears of us in its own family; where it has one, the call is refused, and the refusal says why.
func TestMediaOfAnotherFamily(t *testing.T) {
	for _, both := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			trunk, pbx := trunkEnds[1], pbxEnds[0]
			l := newGate(t, familyConfig(trunk, pbx, both), natlab.Options{Seed: 1})
			defer l.close()
			l.watches(trunk, pbx)
			from, to := l.wire(trunk.at), l.wire(pbx.at)
			gate := netip.AddrPortFrom(trunk.gate, 5080)
			if !both {
				invite := withBody(from.request("INVITE", gate, "+4930123"), sdpAt(providerAt.Addr(), 4000))
				from.send(gate, invite)
				refused := from.final(gate, invite)
				if warning, _ := refused.Get("Warning"); refused.Status != 488 || warning != `301 [2001:db8::10]:5080 "Incompatible network address formats"` {
					t.Errorf("answered\n%s", refused)
				}
				to.quiet(time.Second)
				l.empty()
				return
			}
			c := l.talk(from, to, gate, sdpAt(providerAt.Addr(), 4000), sdpAt(pbxAt.Addr(), 4002))
			outside, inside := told(t, c.shown[0], 0), told(t, c.shown[1], 0)
			if outside.Addr() != gateOutside {
				t.Errorf("its media is told %s", outside)
			}
			l.hear(providerSound, outside, rtp(0, 1), inside, pbxSound)
			l.hear(pbxSound, inside, rtp(0, 1), outside, providerSound)
			hangup(c.caller, c.callee)
			l.empty()
		})
	}
}
