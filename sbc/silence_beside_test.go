package sbc_test

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat/natlab"
	"sallyport/sbc/dialog"
	"sallyport/sbc/message"
)

// TestWhoLivesBesideADeadNode: another server on a node's machine is another server. What waits for its word when the node is found
// dead goes on waiting, and gets it.
func TestWhoLivesBesideADeadNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, clusterConfig, natlab.Options{Seed: 4})
		defer l.close()
		itsp, invite, arrived, by, _ := l.calledIn()
		beside := l.wire(netip.AddrPortFrom(by.at.Addr(), 5090))
		ok := message.Reply(arrived, 200, "")
		ok.To.Tag = "far"
		ok.Add("Contact", beside.contact())
		by.send(pbxSocket, withBody(ok, sdpAt(by.at.Addr(), 4002)))
		caller, _ := l.ends(itsp, beside, trunkSocket, invite, arrived, itsp.want("200 INVITE"))
		itsp.send(trunkSocket, caller.within("ACK", invite.CSeq))
		beside.want("ACK")

		hold := withBody(caller.within("INVITE", 0), hold(sdpAt(providerAt.Addr(), 4000)))
		itsp.send(trunkSocket, hold)
		again := beside.want("INVITE")
		beside.reply(again, 100, nil)
		close(by.stop) // it reads nothing any more
		time.Sleep(15 * time.Second)
		if s := l.states(); s != "down up" && s != "up down" {
			t.Fatalf("nodes are %s: this tries nothing", s)
		}
		beside.reply(again, 200, sdpAt(by.at.Addr(), 4002))
		itsp.want("200 INVITE")
		itsp.send(trunkSocket, caller.within("ACK", hold.CSeq))
		beside.want("ACK")
		itsp.send(trunkSocket, caller.within("BYE", 0))
		beside.reply(beside.want("BYE"), 200, nil)
		itsp.want("200 BYE")
		l.cleared()
	})
}

// TestANodeOfTheOtherRealmOnThePath: a node that phones alone are sent to may be on the path of a trunk's call all the same. When it is
// lost, what belongs to the call goes by a node of its group that trunks have.
func TestANodeOfTheOtherRealmOnThePath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		yaml := rewritten(t, clusterConfig, `{ address: "10.0.0.10:5060" }`, `{ address: "10.0.0.10:5060", realms: [phones] }`)
		l := newGate(t, yaml, natlab.Options{Seed: 4})
		defer l.close()
		path, node, itsp := l.mate(pbxAt), l.mate(otherPBXAt), l.wire(providerAt)
		time.Sleep(5 * time.Second)
		invite := withBody(itsp.request("INVITE", trunkSocket, "+4930123"), sdpAt(providerAt.Addr(), 4000))
		itsp.send(trunkSocket, invite)
		arrived := node.must("INVITE", time.Second)
		ok := message.Reply(arrived, 200, "")
		ok.To.Tag = "far"
		ok.Add("Record-Route", "<sip:"+pbxAt.Addr().String()+";lr>")
		ok.Add("Contact", "<sip:far@"+farEndAt.String()+">")
		node.send(pbxSocket, withBody(ok, sdpAt(farEndAt.Addr(), 4002)))
		final := itsp.want("200 INVITE")
		caller := &party{wire: itsp, gate: trunkSocket}
		var err error
		if caller.dlg, err = dialog.UAC(invite, final); err != nil {
			t.Fatal(err)
		}
		itsp.send(trunkSocket, caller.within("ACK", invite.CSeq))
		path.must("ACK", time.Second)

		path.dies("unreachable")
		time.Sleep(15 * time.Second)
		itsp.send(trunkSocket, caller.within("BYE", 0))
		bye := node.must("BYE", time.Second)
		if r, _ := bye.Get("Route"); r != "<sip:10.0.0.11:5060;lr>" && r != "<sip:10.0.0.11;lr>" {
			t.Errorf("by the node that stands in came\n%s", bye)
		}
		node.reply(bye, 200, nil)
		itsp.want("200 BYE")
		l.cleared()
	})
}
