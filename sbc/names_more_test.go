package sbc_test

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"sallyport/nat/natlab"
	"sallyport/sbc"
	"sallyport/sbc/api"
	"sallyport/sbc/demo"
	"sallyport/sbc/message"
)

func trunksText(list []api.Trunk) string { return api.TrunksText(list, time.UTC) }

// TestExternalAddressByName: what the world sees of us is a name's address; a changed one counts for new dialogs.
func TestExternalAddressByName(t *testing.T) {
	for _, tt := range []struct{ name, from, to string }{
		{"of the side", "outside: { address: 203.0.113.10,", "outside: { address: 203.0.113.10, external_address: gate.example.net,"},
		{"of the trunk", "keepalive: { method: none }", "external_address: gate.example.net\n    keepalive: { method: none }"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				z := newZone(t, "gate.example.net. 30 IN A 198.51.100.5")
				l := newNamed(t, rewritten(t, labConfig, tt.from, tt.to), z)
				defer l.close()
				itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
				caller, callee := l.connect(pbx, itsp, pbxSocket)
				z.set(t, "gate.example.net. 30 IN A 198.51.100.6")
				time.Sleep(35 * time.Second)
				m := withBody(caller.within("INVITE", 0), hold(sdpAt(pbxAt.Addr(), 4000)))
				caller.send(pbxSocket, m)
				again := itsp.want("INVITE")
				if got := contactOf(t, again); got.Addr().String() != "198.51.100.5" || !strings.Contains(string(again.Body), "c=IN IP4 198.51.100.5") {
					t.Errorf("the call's address has changed:\n%s", again)
				}
				itsp.reply(again, 200, sdpAt(providerAt.Addr(), 4002))
				pbx.want("200 INVITE")
				pbx.send(pbxSocket, caller.within("ACK", m.CSeq))
				itsp.want("ACK")
				fresh := withBody(pbx.request("INVITE", pbxSocket, "+4930124"), sdpAt(pbxAt.Addr(), 4100))
				pbx.send(pbxSocket, fresh)
				invite := itsp.want("INVITE")
				if got := contactOf(t, invite); got.Addr().String() != "198.51.100.6" || invite.Via[0].Host != "198.51.100.6" ||
					!strings.Contains(string(invite.Body), "c=IN IP4 198.51.100.6") || strings.Contains(invite.String(), "203.0.113.10") {
					t.Errorf("a new call shows\n%s", invite)
				}
				invite.Via[0].Host = gateOutside.String() // the NAT in front of the gate
				itsp.reply(invite, 486, nil)
				pbx.want("486 INVITE")
				hangup(callee, caller)
				l.empty()
			})
		})
	}
}

// TestNodesByName: the nodes of the PBX are the targets of a name, in their order.
func TestNodesByName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := newZone(t, "_sip._udp.pbx.example.com. 30 IN SRV 1 1 5060 one.example.com.", "_sip._udp.pbx.example.com. 30 IN SRV 2 1 5060 two.example.com.",
			"one.example.com. 30 IN A 10.0.0.10", "two.example.com. 30 IN A 10.0.0.11", "vm.example.com. 30 IN A 10.0.0.12")
		yaml := rewritten(t, labConfig, `    - { address: "10.0.0.10:5060" }`+"\n", "    - { address: pbx.example.com }\n", `    - { address: "10.0.0.11:5060", priority: 2 }`+"\n", "  sources: vm.example.com\n")
		l := newNamed(t, yaml, z)
		defer l.close()
		provider, one, two := l.agent("provider", providerAt, 10), l.agent("one", pbxAt, 11), l.agent("two", otherPBXAt, 12)
		answer := func(a *demo.Agent) {
			a.Incoming = scriptOf(demo.Script{Answer: time.Millisecond, Hangup: time.Second}, sdpAt(a.Addr.Addr(), 4002))
		}
		answer(one)
		answer(two)
		place := func(node netip.AddrPort) {
			t.Helper()
			l.cdrs.forget()
			r := l.call(provider, trunkSocket, "100", demo.Script{SDP: sdpAt(providerAt.Addr(), 4000)})
			time.Sleep(time.Second)
			if got := l.cdrs.all(); r.Code != 200 || len(got) != 1 || got[0].Node != node.String() {
				t.Errorf("%d, %+v", r.Code, got)
			}
		}
		place(pbxAt)
		l.net.Host(pbxAt.Addr()).Down(true)
		place(otherPBXAt)
		l.net.Host(pbxAt.Addr()).Down(false)
		z.set(t, "_sip._udp.pbx.example.com. 30 IN SRV 1 1 5060 two.example.com.", "two.example.com. 30 IN A 10.0.0.11", "vm.example.com. 30 IN A 10.0.0.12")
		time.Sleep(time.Minute)
		place(otherPBXAt)
		nodes, err := l.gate.Control(nil).Nodes(l.ctx)
		if err != nil || len(nodes) != 1 || nodes[0].Address != otherPBXAt.String() || nodes[0].Name != "pbx.example.com" {
			t.Errorf("%+v, %v", nodes, err)
		}
		// "further addresses the PBX sends from": a call out from there
		vm := l.agent("vm", netip.MustParseAddrPort("10.0.0.12:5060"), 13)
		provider.Incoming = scriptOf(demo.Script{Answer: time.Millisecond, Hangup: time.Second}, sdpAt(providerAt.Addr(), 4002))
		if r := l.call(vm, pbxSocket, "+4930123", demo.Script{SDP: sdpAt(vm.Addr.Addr(), 4000)}); r.Code != 200 {
			t.Errorf("from a source by name: %d (%s)", r.Code, r.Why)
		}
		l.empty()
	})
}

// TestSourcesByName: who may call in, and who may send audio.
func TestSourcesByName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := newZone(t, "out.provider.example. 30 IN A 203.0.113.40")
		yaml := rewritten(t, labConfig, "    outbound:", "    sources: [ 203.0.113.20, out.provider.example ]\n    outbound:")
		l := newNamed(t, yaml, z)
		defer l.close()
		pbx, itsp := l.wire(pbxAt), l.wire(providerAt)
		out, later := l.wire(netip.MustParseAddrPort("203.0.113.40:5060")), l.wire(netip.MustParseAddrPort("203.0.113.41:5060"))
		taken := func(from *wire, want bool) {
			t.Helper()
			m := withBody(from.request("INVITE", trunkSocket, "100"), sdpAt(providerAt.Addr(), 4000))
			from.send(trunkSocket, m)
			if !want {
				from.quiet(2 * time.Second)
				pbx.quiet(time.Second)
				return
			}
			pbx.reply(pbx.want("INVITE"), 486, nil)
			pbx.want("ACK")
			from.final(trunkSocket, m)
		}
		taken(itsp, true)
		taken(out, true)
		taken(later, false)
		z.set(t, "out.provider.example. 30 IN A 203.0.113.41")
		time.Sleep(40 * time.Second)
		taken(itsp, true)
		taken(later, true)
		taken(out, false)
	})
}

// TestAReloadBringsNames, and takes them away.
func TestAReloadBringsNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := newZone(t, srvFirst, "a.provider.example. 30 IN A 203.0.113.21")
		l := newNamed(t, labConfig, z)
		defer l.close()
		old, itsp, pbx := l.wire(providerAt), l.wire(otherProviderAt), l.wire(pbxAt)
		if z.asked != 0 {
			t.Errorf("asked %d times without a name", z.asked)
		}
		stays, callee := l.connect(pbx, old, pbxSocket)
		l.mustReload(namedConfig(t))
		caller, other := l.connect(pbx, itsp, pbxSocket)
		l.reinvite(callee, stays)
		l.mustReload(labConfig)
		z.mu.Lock()
		asked := z.asked
		z.mu.Unlock()
		hangup(caller, other)
		hangup(stays, callee)
		time.Sleep(10 * time.Minute)
		if z.asked != asked {
			t.Errorf("asked %d times for a name that is gone", z.asked-asked)
		}
		l.empty()
	})
}

// TestAProbeNamesItsEntry: what is told of an address names the line that it came from.
func TestAProbeNamesItsEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, seen := observer.New(zap.WarnLevel)
		yaml := rewritten(t, probing, `    peers: [ { address: "203.0.113.20:5060" } ]`+"\n",
			"    peers:\n      - { address: \"203.0.113.22:5060\" }\n      - { address: sip.provider.example }\n")
		l := newNamed(t, yaml, twoPlaces(t), func(o *sbc.Options) { o.Log = zap.New(core) })
		defer l.close()
		time.Sleep(10 * time.Minute)
		for _, want := range []string{
			"lab.yaml:14:20: trunks[0].peers[0].address: 203.0.113.22:5060 ", "lab.yaml:15:20: trunks[0].peers[1].address: 203.0.113.20:5060 ",
			"lab.yaml:15:20: trunks[0].peers[1].address: 203.0.113.21:5060 ",
		} {
			if seen.FilterMessageSnippet(want).Len() != 1 {
				t.Errorf("nobody says %q: %v", want, seen.All())
			}
		}
	})
}

// TestHealthOutlivesAnAnswer: what is known of an address stays when another comes and goes.
func TestHealthOutlivesAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := newZone(t, srvFirst, hostA)
		yaml := rewritten(t, namedConfig(t), "keepalive: { method: none }", "keepalive: { interval: 10s, failures: 2 }")
		l := newGate(t, yaml, natlab.Options{Seed: 1}, func(o *sbc.Options) { o.DNS = z })
		defer l.close()
		l.agent("provider", providerAt, 10)
		time.Sleep(20 * time.Second)
		z.set(t, srvFirst, srvSecond, hostA, hostB)
		time.Sleep(35 * time.Second)
		l.net.Host(providerAt.Addr()).Down(true)
		l.agent("other", otherProviderAt, 12)
		time.Sleep(time.Minute)
		trunks, err := l.gate.Control(nil).Trunks(l.ctx)
		if err != nil || len(trunks[0].Peers) != 2 || trunks[0].Peers[0].State != "down" || trunks[0].Peers[1].State != "up" {
			t.Fatalf("%+v, %v", trunks, err)
		}
		since := trunks[0].Peers[0].Since
		z.set(t, srvFirst, hostA)
		time.Sleep(time.Minute)
		trunks, err = l.gate.Control(nil).Trunks(l.ctx)
		if err != nil || len(trunks[0].Peers) != 1 || trunks[0].Peers[0].State != "down" || !trunks[0].Peers[0].Since.Equal(since) {
			t.Errorf("%+v, %v", trunks, err)
		}
	})
}

// TestPhonesRegisterAtTheName of our own address.
func TestPhonesRegisterAtTheName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := newZone(t, "gate.example.net. 60 IN A 198.51.100.5")
		l := newNamed(t, rewritten(t, labConfig, "outside: { address: 203.0.113.10,", "outside: { address: 203.0.113.10, external_address: gate.example.net,"), z)
		defer l.close()
		phone, pbx := l.wire(netip.MustParseAddrPort("203.0.113.77:5060")), l.wire(pbxAt)
		for _, host := range []string{"gate.example.net", "198.51.100.5", "other.example.net"} {
			m := phone.request("REGISTER", netip.AddrPortFrom(gateOutside, 5060), "201")
			m.URI = message.URI{Scheme: "sip", Host: host}
			m.To.URI.Host, m.From.URI.Host = host, host
			m.Add("Expires", "60")
			phone.send(netip.AddrPortFrom(gateOutside, 5060), m)
			if host == "other.example.net" {
				pbx.quiet(time.Second)
				continue
			}
			pbx.reply(pbx.want("REGISTER"), 403, nil)
			phone.want("403 REGISTER")
		}
	})
}
