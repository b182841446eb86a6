package sbc_test

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat/natlab"
)

// Strangers send what the PBX's parser drops without a word. The node is asked, and answers; what rings there goes on.
func TestUnreadableREGISTERsKillNoNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, rewritten(t, doorConfig, `  health: { interval: 0 }`, "  health: { interval: 10s }\ntrunks:\n"+
			"  - name: itsp\n    peers: [ { address: \"203.0.113.20:5060\" } ]\n    keepalive: { method: none }"), natlab.Options{Seed: 6})
		defer l.close()
		pbx := l.mate(pbxAt)
		time.Sleep(12 * time.Second)
		itsp := l.wire(providerAt)
		invite := withBody(itsp.request("INVITE", trunkSocket, "+4930123"), sdpAt(providerAt.Addr(), 4000))
		itsp.send(trunkSocket, invite)
		arrived := pbx.must("INVITE", time.Second)
		pbx.reply(arrived, 180, nil)
		itsp.want("180 INVITE")
		for i := range 3 {
			at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(1 + i)}), 5060)
			w := l.wire(at)
			m := w.registers(fmt.Sprint(300+i), "<sip:x@192.0.2.1>")
			m.Add("Authorization", `Digest username="x",,= "`) // the PBX's parser drops it
			w.send(phoneSocket, m)
		}
		if pbx.hears("CANCEL", 8*time.Second) != nil {
			t.Error("the ringing call is given up")
		}
	})
}
