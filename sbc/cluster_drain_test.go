package sbc_test

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat/natlab"
)

// TestADrainedNodeIsLeft: by command, or because the configuration no longer has it, a node gets no new call and no phone; its call goes
// on by it to the end, and a phone's next requests find the other node.
func TestADrainedNodeIsLeft(t *testing.T) {
	for _, how := range []string{"drained", "removed"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				yaml := rewritten(t, rewritten(t, clusterConfig, "interval: 2s", "interval: 0"), "31000 }", "31000, timeout: 10m }")
				l := newGate(t, yaml, natlab.Options{Seed: 4})
				defer l.close()
				nodes := []*wire{l.wire(pbxAt), l.wire(otherPBXAt)}
				phone := l.wire(phoneAt)
				reg := phone.registers("204", "<sip:204@"+phoneAt.String()+">")
				phone.send(phoneSocket, reg)
				registered(t, phone, nodes)
				caller, _, by := l.through(phone, phoneSocket, phone.asks("INVITE", "204", user("100", "example.com")), nodes...)
				other := nodes[0]
				if by == other {
					other = nodes[1]
				}
				if how == "drained" {
					(&cluster{lab: l}).takeOut(by.at, "drained", true)
				} else {
					kept := `nodes: [ { address: "` + other.at.String() + `" } ]`
					l.mustReload(rewritten(t, yaml, `nodes: [ { address: "10.0.0.10:5060" }, { address: "10.0.0.11:5060" } ]`, kept))
				}
				phone.send(phoneSocket, phone.again(reg))
				registered(t, phone, []*wire{other})
				by.quiet(time.Second)
				ask := withBody(phone.asks("INVITE", "204", user("101", "example.com")), sdpAt(phoneAt.Addr(), 4010))
				phone.send(phoneSocket, ask)
				in := other.want("INVITE")
				other.reply(in, 486, nil)
				phone.send(phoneSocket, ackOf(ask, phone.want("486 INVITE")))
				other.want("ACK")
				phone.send(phoneSocket, caller.within("BYE", 0))
				bye := by.want("BYE") // it lives
				path(t, bye, by.at)
				by.reply(bye, 200, nil)
				phone.want("200 BYE")
				l.empty()
			})
		})
	}
}

// TestAPhoneKeepsItsNode: calls of a phone go to the node that has its registration, wherever its user would go by itself.
func TestAPhoneKeepsItsNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, rewritten(t, clusterConfig, "interval: 2s", "interval: 0"), natlab.Options{Seed: 4})
		defer l.close()
		nodes := map[netip.AddrPort]*wire{pbxAt: l.wire(pbxAt), otherPBXAt: l.wire(otherPBXAt)}
		phone := l.wire(phoneAt)
		for _, name := range []string{"201", "202", "203", "204", "205", "206"} {
			phone.send(phoneSocket, phone.registers(name, "<sip:"+name+"@"+phoneAt.String()+">"))
			home := netip.AddrPort{}
			for at, n := range nodes {
				if m := n.next(50 * time.Millisecond); m != nil && m.Method == "REGISTER" {
					n.reply(m, 200, nil, echo(t, m, 3600)...)
					home = at
				}
			}
			phone.want("200 REGISTER")
			for range 3 {
				phone.send(phoneSocket, phone.asks("MESSAGE", name, user("100", "example.com")))
				m := nodes[home].want("MESSAGE")
				nodes[home].reply(m, 200, nil)
				phone.want("200 MESSAGE")
			}
		}
		l.empty()
	})
}
