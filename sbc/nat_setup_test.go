package sbc_test

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat"
	"sallyport/nat/natlab"
	"sallyport/sbc/demo"
	"sallyport/sbc/message"
)

// TestNATEarlyAudio: who is called plays tones before he answers, and hears the caller, through both calls of a hairpin.
func TestNATEarlyAudio(t *testing.T) {
	for _, far := range []string{"phone", "provider"} {
		t.Run(far, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newAudible(t, roamingConfig, natlab.Options{Seed: 13}, proxying(true))
				defer l.close()
				one := l.handset(l.home(7, strictest).Host(private), "204", 5060, nat.UDP, private).registers()
				callee, number, leaves := (*end)(nil), "+49301234", []*handset{one}
				if far == "phone" {
					two := l.handset(l.home(8, strictest).Host(private), "205", 5060, nat.UDP, private).registers()
					callee, number, leaves = two.end, "205", append(leaves, two)
				} else {
					callee = l.end(l.provider, l.voice(l.net.Host(providerAt.Addr()), 4000, providerAt.Addr()))
				}
				l.do(callee.agent, func() {
					callee.agent.Incoming = func(*message.Message) demo.Script {
						return callee.script(demo.Script{Ring: 100 * time.Millisecond, Early: callee.voice.sdp(), Answer: 8 * time.Second})
					}
				})
				one.calls(number)
				time.Sleep(time.Second)
				l.bothWays(one.voice, callee.voice, 100, 2*latching)
				l.bothWays(one.voice, callee.voice, 100, 0)
				call := one.stands()
				callee.stands()
				speak(1, one.voice, callee.voice)
				l.bothWays(one.voice, callee.voice, 100, 0)
				hangs(call, one.end, callee)
				for _, h := range leaves {
					h.leaves()
				}
				l.settled()
				l.correlated(1, true)
			})
		})
	}
}

// TestNATDelayedOffer: an INVITE without a description crosses the gate twice; the ACK brings the answer.
func TestNATDelayedOffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newAudible(t, roamingConfig, natlab.Options{Seed: 13}, proxying(true))
		defer l.close()
		one := l.handset(l.home(7, strictest).Host(private), "204", 5060, nat.UDP, private).registers()
		two := l.handset(l.home(8, strictest).Host(private), "205", 5060, nat.TCP, private).registers()
		one.agent.Do(func() {
			s := one.script(demo.Script{Hold: one.voice.sdp()})
			s.SDP = nil
			one.agent.Call("205", phoneSocket, s)
		})
		call := one.stands()
		two.stands()
		l.bothWays(one.voice, two.voice, 100, 2*latching)
		hangs(call, one.end, two.end)
		one.leaves()
		two.leaves()
		l.settled()
		l.correlated(1, true)
	})
}

// TestNATMovesWhileItRings: the box gives a phone another port between its 180 and its 200. The ACK must follow the 200,
// or the phone gives the call up after half a minute.
func TestNATMovesWhileItRings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newAudible(t, roamingConfig, natlab.Options{Seed: 13}, nil)
		defer l.close()
		home := l.home(7, strictest)
		h, pbx := l.handset(home.Host(private), "204", 5060, nat.UDP, private).registers(), l.pbxEnd()
		l.do(h.agent, func() {
			h.agent.Incoming = func(*message.Message) demo.Script {
				return h.script(demo.Script{Ring: 100 * time.Millisecond, Answer: 4 * time.Second})
			}
		})
		pbx.rings("204")
		time.Sleep(time.Second)
		home.Rebind()
		call := pbx.stands()
		h.stands()
		l.bothWays(pbx.voice, h.voice, 100, latching)
		hangs(call, pbx, h.end)
		h.leaves()
		l.settled()
	})
}

// TestNATForkedCall: a user with a phone at home and one on the road. Both ring; the one that answers has the call.
func TestNATForkedCall(t *testing.T) {
	for _, winner := range []int{0, 1} {
		synctest.Test(t, func(t *testing.T) {
			l := newAudible(t, roamingConfig, natlab.Options{Seed: 14}, proxying(true))
			defer l.close()
			caller := l.handset(l.home(7, strictest).Host(private), "205", 5060, nat.UDP, private).registers()
			hosts := []*natlab.Host{l.home(8, strictest).Host(private), l.home(9, natlab.NATOptions{}).Host(netip.MustParseAddr("192.168.1.2"))}
			var rings [2]*handset
			for i, tr := range []nat.Transport{nat.UDP, nat.TCP} {
				h := l.handset(hosts[i], "204", 5060, tr, hosts[i].Addr()).registers()
				answer := 30 * time.Second
				if i == winner {
					answer = 2 * time.Second
				}
				l.do(h.agent, func() {
					h.agent.Incoming = func(*message.Message) demo.Script {
						return h.script(demo.Script{Ring: 100 * time.Millisecond, Answer: answer})
					}
				})
				rings[i] = h
			}
			caller.calls("204")
			call := caller.stands()
			rings[winner].stands()
			rings[1-winner].ended("cancelled")
			l.bothWays(caller.voice, rings[winner].voice, 100, 2*latching)
			hangs(call, caller.end, rings[winner].end)
			for _, h := range []*handset{caller, rings[0], rings[1]} {
				h.leaves()
			}
			l.settled()
			codes := map[int]int{}
			for _, r := range l.cdrs.all() {
				codes[r.Code]++
			}
			if codes[200] != 2 || codes[487] != 1 || len(codes) != 2 {
				t.Errorf("records of a call to two phones: %v", codes)
			}
		})
	}
}
