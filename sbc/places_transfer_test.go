package sbc_test

import (
	"testing"
	"testing/synctest"

	"sallyport/nat/natlab"
	"sallyport/sbc/dialog"
)

// standing checks how many calls the first trunk and the first node have, and that the ledger says what the calls say.
func (l *lab) standing(when string, trunk, node int) {
	l.t.Helper()
	synctest.Wait()
	nodes, err := l.gate.Control(nil).Nodes(l.ctx)
	if t := l.trunks()[0]; err != nil || t.Calls != trunk || nodes[0].Calls != node {
		l.t.Errorf("%s: the trunk has %d calls, want %d; the node %d, want %d (%v)", when, t.Calls, trunk, nodes[0].Calls, node, err)
	}
	for _, g := range l.audit() {
		if g.Bad {
			l.t.Errorf("%s: %+v", when, g)
		}
	}
}

// TestPlacesOfATransfer: a leg that is exchanged has its place where it stands; who has left has none, and what failed neither.
func TestPlacesOfATransfer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, labConfig, natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx, other := l.wire(providerAt), l.wire(pbxAt), l.wire(otherPBXAt)
		one := l.talk(itsp, pbx, trunkSocket, sdpAt(providerAt.Addr(), 4000), sdpAt(pbxAt.Addr(), 4002))
		l.standing("a call", 1, 1)
		one.callee.refer("<sip:205@example.com>")
		third := pbx.want("INVITE")
		l.standing("a third leg is called", 1, 2)
		pbx.reply(third, 486, nil)
		one.callee.notified("SIP/2.0 486 Busy Here\r\n")
		l.standing("it was busy", 1, 1)
		other.n = 700
		invite := withBody(other.request("INVITE", pbxSocket, "+4930123", field("Replaces: "+named(one.callee)), field("Require: replaces")),
			sdpAt(otherPBXAt.Addr(), 4020))
		other.send(pbxSocket, invite)
		one.caller.reoffered(sdpAt(providerAt.Addr(), 4000))
		final := other.want("200 INVITE")
		taker := &party{wire: other, gate: pbxSocket}
		var err error
		if taker.dlg, err = dialog.UAC(invite, final); err != nil {
			t.Fatal(err)
		}
		other.send(pbxSocket, taker.within("ACK", 1))
		one.callee.byed()
		l.standing("the other node has taken the call", 1, 0)
		hangup(taker, one.caller)
		l.empty()
	})
}

// TestAPlaceGoesWithTheTransferor: who refers and hangs up has its place no more while the third leg is called.
func TestAPlaceGoesWithTheTransferor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, labConfig, natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		one := l.talk(itsp, pbx, trunkSocket, sdpAt(providerAt.Addr(), 4000), sdpAt(pbxAt.Addr(), 4002))
		one.callee.ask("REFER", field("Refer-To: <sip:206@example.com>"), field("Refer-Sub: false"))
		pbx.want("202 REFER")
		third := pbx.want("INVITE")
		one.callee.ask("BYE")
		pbx.want("200 BYE")
		l.standing("it has left", 1, 1)
		pbx.reply(third, 404, nil)
		itsp.reply(itsp.want("BYE"), 200, nil)
		l.empty()
	})
}
