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

	"sallyport/nat/natlab"
	"sallyport/sbc/demo"
	"sallyport/sbc/message"
)

// TestEveryDatagramTwice: a network that delivers everything twice, the copy later than what follows it, changes no outcome.
func TestEveryDatagramTwice(t *testing.T) {
	for _, way := range []string{"in", "out"} {
		for _, e := range endings {
			t.Run(way+" "+e.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l := newLab(t, labConfig, natlab.Options{Seed: 5, Link: natlab.Link{Duplicate: 1, Delay: 5 * time.Millisecond, Jitter: 40 * time.Millisecond, Reorder: true}})
					defer l.close()
					from, callee, to := l.provider, l.pbx, trunkSocket
					if way == "out" {
						from, callee, to = l.pbx, l.provider, pbxSocket
					}
					arrived := 0
					callee.Incoming = func(*message.Message) demo.Script {
						arrived++
						s := e.callee
						s.SDP = sdpAt(callee.Addr.Addr(), 4002)
						return s
					}
					caller := e.caller
					caller.SDP = sdpAt(from.Addr.Addr(), 4000)
					if r := l.call(from, to, "+4930123", caller); r.Code != e.code {
						t.Errorf("the caller heard %d, want %d (%s)", r.Code, e.code, r.Why)
					}
					l.empty()
					if cdrs := l.cdrs.all(); len(cdrs) != 1 || cdrs[0].Code != e.code || arrived > 1 {
						t.Errorf("%d calls arrived, CDRs %+v", arrived, cdrs)
					}
				})
			})
		}
	}
}

// long is a description of about so many bytes.
func long(addr netip.Addr, port, size int) []byte {
	b := sdpAt(addr, port)
	for i := 0; len(b) < size; i++ {
		b = fmt.Appendf(b, "a=x-%d:%s\r\n", i, strings.Repeat("y", 80))
	}
	return b
}

// TestLongMessages of up to 16 KiB cross the gate over UDP, in both directions, headers and bodies; a peer on UDP stays there. What is
// longer is refused to somebody who is known.
func TestLongMessages(t *testing.T) {
	for _, size := range []int{1300, 1472, 1500, 4 << 10, 8 << 10, 14 << 10} {
		for _, out := range []bool{false, true} {
			t.Run(fmt.Sprint(size, " out=", out), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l := newGate(t, labConfig, natlab.Options{Seed: 1})
					defer l.close()
					from, to, gate := l.wire(providerAt), l.wire(pbxAt), trunkSocket
					if out {
						from, to, gate = to, from, pbxSocket
					}
					head := message.Header{Name: "Subject", Value: strings.Repeat("z", size/2)}
					invite := withBody(from.request("INVITE", gate, "+4930123", head), long(from.at.Addr(), 4000, size/2))
					from.send(gate, invite)
					arrived := to.want("INVITE")
					if s, _ := arrived.Get("Subject"); s != head.Value || !bytes.Contains(arrived.Body, []byte("a=x-5:")) {
						t.Errorf("%d bytes arrived, the subject has %d", len(write(t, arrived)), len(s))
					}
					to.reply(arrived, 200, long(to.at.Addr(), 4002, size))
					final := from.want("200 INVITE")
					if len(final.Body) < size-200 {
						t.Errorf("a description of %d bytes came as one of %d", size, len(final.Body))
					}
					caller, callee := l.ends(from, to, gate, invite, arrived, final)
					from.send(gate, caller.within("ACK", 1))
					to.want("ACK")
					hangup(caller, callee)
					l.empty()
				})
			})
		}
	}
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, labConfig, natlab.Options{Seed: 1})
		defer l.close()
		from, to := l.wire(providerAt), l.wire(pbxAt)
		invite := withBody(from.request("INVITE", trunkSocket, "+4930123"), long(from.at.Addr(), 4000, 17<<10))
		from.send(trunkSocket, invite)
		if m := from.next(time.Second); m == nil || m.Status != 513 {
			t.Errorf("17 KiB are answered %v", m)
		}
		to.quiet(time.Second)
		l.empty()
	})
}

// TestThirtyVias: each hop of a long way has put its Via there; all come back in the answer, and none goes inside.
func TestThirtyVias(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, labConfig, natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		invite := withBody(itsp.request("INVITE", trunkSocket, "+4930123"), sdpAt(providerAt.Addr(), 4000))
		for i := range 29 {
			invite.Via = append(invite.Via, message.Via{Transport: "UDP", Host: fmt.Sprintf("198.51.100.%d", i+1), Branch: fmt.Sprintf("z9hG4bKhop%d", i), RPort: -1})
		}
		itsp.send(trunkSocket, invite)
		arrived := pbx.want("INVITE")
		if len(arrived.Via) != 1 {
			t.Errorf("%d Vias go inside", len(arrived.Via))
		}
		pbx.reply(arrived, 486, nil)
		refused := itsp.want("486 INVITE")
		if len(refused.Via) != 30 || refused.Via[29].Branch != "z9hG4bKhop28" || refused.Via[0].Branch != invite.Via[0].Branch {
			t.Errorf("%d Vias come back: %v", len(refused.Via), refused.Via)
		}
		ack := copyOf(invite)
		ack.Method, ack.To.Tag, ack.Via, ack.Body = "ACK", refused.To.Tag, invite.Via[:1], nil
		ack.Remove("Content-Type")
		itsp.send(trunkSocket, ack)
		l.empty()
	})
}

// TestMergedRequests: the same INVITE by another way is answered 482 (RFC 3261 §8.2.2.2), and one that the PBX has forked is none:
// its Request-URI is another one.
func TestMergedRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, labConfig, natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		invite := withBody(itsp.request("INVITE", trunkSocket, "+4930123"), sdpAt(providerAt.Addr(), 4000))
		itsp.send(trunkSocket, invite)
		arrived := pbx.want("INVITE")
		other := copyOf(invite)
		other.Via = itsp.via()
		itsp.send(trunkSocket, other)
		if refused := itsp.want("482 INVITE"); refused.Via[0].Branch != other.Via[0].Branch {
			t.Errorf("the first one is refused:\n%s", refused)
		}
		pbx.quiet(time.Second, "INVITE")
		pbx.reply(arrived, 486, nil)
		itsp.final(trunkSocket, invite)
		l.empty()

		fork := pbx.request("INVITE", pbxSocket, "+4930124")
		fork = withBody(fork, sdpAt(pbxAt.Addr(), 4002))
		pbx.send(pbxSocket, fork)
		second := copyOf(fork)
		second.URI.User, second.Via = "+4930125", pbx.via()
		pbx.send(pbxSocket, second)
		one, two := itsp.want("INVITE"), itsp.want("INVITE")
		if one.URI.User == two.URI.User || one.CallID == two.CallID {
			t.Errorf("the branches of a fork come as\n%s\n%s", one, two)
		}
		itsp.reply(one, 486, nil)
		itsp.reply(two, 486, nil)
		pbx.want("486 INVITE")
		pbx.want("486 INVITE")
		time.Sleep(time.Minute)
		l.empty()
	})
}

// TestALoopEnds: the provider sends each call back and the PBX sends it out again; Max-Forwards ends it (RFC 3261 §16.3, RFC 7332).
func TestALoopEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, labConfig, natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		send := func(w *wire, gate netip.AddrPort, hops, port int) {
			m := withBody(w.request("INVITE", gate, "+4930123"), sdpAt(w.at.Addr(), port))
			m.MaxForwards = hops
			w.send(gate, m)
		}
		send(pbx, pbxSocket, 6, 4002)
		var open []func()
		for hops := 5; ; hops -= 4 {
			m := itsp.want("INVITE")
			if m.MaxForwards != hops {
				t.Errorf("Max-Forwards %d, want %d", m.MaxForwards, hops)
			}
			send(itsp, trunkSocket, hops-1, 4000)
			open = append(open, func() { itsp.reply(m, 483, nil) })
			if hops == 1 {
				break
			}
			back := pbx.want("INVITE")
			open = append(open, func() { pbx.reply(back, 483, nil) })
			send(pbx, pbxSocket, hops-3, 4002)
		}
		itsp.want("483 INVITE")
		pbx.quiet(400*time.Millisecond, "INVITE")
		for _, ends := range slices.Backward(open) {
			ends()
		}
		pbx.want("483 INVITE")
		pbx.want("483 INVITE")
		l.empty()
	})
}

// TestAPeerRestartsInMidCall: a provider that has lost its calls sends a new INVITE with the Call-ID, the tag and the CSeq of before.
// That is another call, no merged request; and its 481 to a re-INVITE of the old one ends that on both legs.
func TestAPeerRestartsInMidCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, labConfig, natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		invite := withBody(itsp.request("INVITE", trunkSocket, "+4930123"), sdpAt(providerAt.Addr(), 4000))
		itsp.send(trunkSocket, invite)
		arrived := pbx.want("INVITE")
		pbx.reply(arrived, 200, sdpAt(pbxAt.Addr(), 4002))
		old, callee := l.ends(itsp, pbx, trunkSocket, invite, arrived, itsp.want("200 INVITE"))
		itsp.send(trunkSocket, old.within("ACK", 1))
		pbx.want("ACK")
		time.Sleep(time.Minute)

		again := copyOf(invite)
		again.Via = itsp.via()
		itsp.send(trunkSocket, again)
		other := pbx.want("INVITE")
		if other.CallID == arrived.CallID {
			t.Error("the new call has the ids of the old one")
		}
		pbx.reply(other, 200, sdpAt(pbxAt.Addr(), 4004))
		final := itsp.want("200 INVITE")
		fresh, freshCallee := l.ends(itsp, pbx, trunkSocket, again, other, final)
		itsp.send(trunkSocket, fresh.within("ACK", 1))
		pbx.want("ACK")

		m := withBody(callee.within("INVITE", 0), hold(sdpAt(pbxAt.Addr(), 4002)))
		pbx.send(callee.gate, m)
		itsp.reply(itsp.want("INVITE"), 481, nil)
		pbx.want("481 INVITE")
		bye := pbx.want("BYE")
		if bye.CallID != arrived.CallID {
			t.Errorf("the wrong call ends:\n%s", bye)
		}
		pbx.reply(bye, 200, nil)
		time.Sleep(time.Minute)
		if g := l.gate.Gauges(); g.Calls != 1 {
			t.Errorf("%d calls, want the new one", g.Calls)
		}
		hangup(fresh, freshCallee)
		l.empty()
	})
}

// TestALostAckAndALostBye: a 200 that nobody acknowledges is repeated, and after 64*T1 both legs hear BYE (RFC 3261 §13.3.1.4); a BYE
// whose 200 is lost is answered again each time.
func TestALostAckAndALostBye(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, labConfig, natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		invite := withBody(itsp.request("INVITE", trunkSocket, "+4930123"), sdpAt(providerAt.Addr(), 4000))
		itsp.send(trunkSocket, invite)
		pbx.reply(pbx.want("INVITE"), 200, sdpAt(pbxAt.Addr(), 4002))
		itsp.want("200 INVITE")
		pbx.want("ACK")
		began := time.Now()
		pbx.reply(pbx.want("BYE"), 200, nil)
		if took := time.Since(began); took < 31*time.Second || took > 33*time.Second {
			t.Errorf("BYE after %v", took)
		}
		itsp.reply(itsp.want("BYE"), 200, nil)
		l.empty()

		caller, callee := l.connect(itsp, pbx, trunkSocket)
		bye := caller.ask("BYE")
		itsp.want("200 BYE")
		pbx.reply(pbx.want("BYE"), 200, nil)
		clear(itsp.seen) // a copy of the answer counts again
		itsp.send(trunkSocket, bye)
		itsp.want("200 BYE")
		pbx.quiet(time.Second, "BYE")
		_ = callee
		l.empty()
	})
}

// copyOf is a message that may be changed without the other.
func copyOf(m *message.Message) *message.Message {
	c := *m
	c.Via, c.Headers = slices.Clone(m.Via), slices.Clone(m.Headers)
	return &c
}
