package sbc_test

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat/natlab"
	"sallyport/sbc/message"
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

// TestWhoIsKnownToASilentNode: nobody can ask the node, and what it leaves without a word, or refuses with 503, counts where it was asked by
// somebody who is known by the way that he came.
func TestWhoIsKnownToASilentNode(t *testing.T) {
	for _, tt := range []struct {
		who, method string
		refused     string // what the node becomes where it answers 503, "": it is not tried
		silent      string
	}{
		{"provider", "INVITE", "degraded", "down"},
		{"phone", "INVITE", "degraded", "down"},
		{"phone", "REGISTER", "", "down"},
		{"phone", "MESSAGE", "", "unknown"},
		{"another port of its address", "INVITE", "unknown", "unknown"},
		{"another port of its address", "REGISTER", "", "unknown"},
		{"stranger", "INVITE", "unknown", "unknown"},
		{"stranger", "REGISTER", "", "unknown"},
		{"stranger", "MESSAGE", "", "unknown"},
	} {
		for _, refuses := range []bool{false, true} {
			if refuses && tt.refused == "" {
				continue
			}
			t.Run(fmt.Sprintf("%s, %s, refused %v", tt.who, tt.method, refuses), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					d := newDoor(t, doorConfig, `unregistered: drop`, `unregistered: forward, reachable: [ "1[0-9]{2}" ]`, "policy:", "trunks:\n"+
						"  - name: itsp\n    peers: [ { address: \"203.0.113.20:5060\" } ]\n    keepalive: { method: none }\npolicy:")
					defer d.close()
					d.enter(d.phone, "204")
					from, gate := map[string]*wire{
						"provider": d.wire(providerAt), "phone": d.phone, "another port of its address": d.wire(besideAt), "stranger": d.wire(visitorAt),
					}[tt.who], phoneSocket
					for range 3 {
						var m *message.Message
						switch {
						case tt.who == "provider":
							gate = trunkSocket
							m = withBody(from.request("INVITE", gate, "+4930123"), sdpAt(from.at.Addr(), 4000))
						case tt.method == "REGISTER":
							m = from.registers("204", "<sip:204@"+from.at.String()+">")
						default:
							if m = from.asks(tt.method, "204", user("100", "example.com")); tt.method == "INVITE" {
								withBody(m, sdpAt(from.at.Addr(), 4000))
							}
						}
						from.send(gate, m)
						if in := d.pbx.want(tt.method); refuses {
							d.pbx.reply(in, 503, nil)
						}
					}
					time.Sleep(6 * time.Second)
					want := tt.silent
					if refuses {
						want = tt.refused
					}
					if s := d.states(); s != want {
						t.Errorf("the node is %s, want %s", s, want)
					}
					time.Sleep(5 * time.Minute)
				})
			})
		}
	}
}
