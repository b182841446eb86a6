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

	"sallyport/media"
	"sallyport/nat/natlab"
	"sallyport/sbc/reason"
)

// rtp is an RTP packet of a payload type (RFC 3550 §5.1).
func rtp(pt, seq byte) []byte {
	return append([]byte{0x80, pt, 0, seq, 0, 0, 0, seq, 1, 2, 3, 4}, make([]byte, 160)...)
}

// rtcp is an empty receiver report (RFC 3550 §6.4.2).
func rtcp() []byte { return []byte{0x80, 201, 0, 1, 1, 2, 3, 4} }

// told is where a description says that audio goes: the address, and the port of its nth m= line.
func told(t *testing.T, sdp []byte, n int) netip.AddrPort {
	t.Helper()
	var addr netip.Addr
	var ports []uint16
	for line := range strings.Lines(string(sdp)) {
		line = strings.TrimSpace(line)
		if rest, ok := strings.CutPrefix(line, "c=IN IP"); ok && !addr.IsValid() {
			addr = netip.MustParseAddr(rest[2:])
			if (rest[0] == '6') != addr.Is6() {
				t.Errorf("%q says the wrong family", line)
			}
		}
		if strings.HasPrefix(line, "m=") {
			var port uint16
			if _, err := fmt.Sscan(strings.Fields(line)[1], &port); err != nil {
				t.Fatalf("%v in\n%s", err, sdp)
			}
			ports = append(ports, port)
		}
	}
	if n >= len(ports) || !addr.IsValid() {
		t.Fatalf("no m= line %d in\n%s", n, sdp)
	}
	return netip.AddrPortFrom(addr, ports[n])
}

func above(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr(), a.Port()+1) }

// talk is a call whose descriptions were kept.
type talk struct {
	caller, callee *party
	shown          [2][]byte // to the caller, to the callee
}

func (l *lab) talk(from, to *wire, gate netip.AddrPort, offer, answer []byte) talk {
	l.t.Helper()
	invite := withBody(from.request("INVITE", gate, "+4930123"), offer)
	from.send(gate, invite)
	arrived := to.want("INVITE")
	to.reply(arrived, 200, answer)
	final := from.want("200 INVITE")
	caller, callee := l.ends(from, to, gate, invite, arrived, final)
	from.send(gate, caller.within("ACK", 1))
	to.want("ACK")
	return talk{caller, callee, [2][]byte{final.Body, arrived.Body}}
}

// hear sends a packet to the gate and checks where it comes out; the zero AddrPort: nowhere.
func (l *lab) hear(from, gate netip.AddrPort, payload []byte, leaves, to netip.AddrPort) {
	l.t.Helper()
	l.hearAs(from, gate, payload, leaves, to, payload)
}

// hearAs is hear where the packet changes on its way.
func (l *lab) hearAs(from, gate netip.AddrPort, payload []byte, leaves, to netip.AddrPort, want []byte) {
	l.t.Helper()
	l.sounds.drain()
	l.relay.Inject(gate, from, payload)
	got := l.sounds.drain()
	if !to.IsValid() {
		if len(got) > 0 {
			l.t.Errorf("%s → %s should go nowhere, and goes to %s", from, gate, got[0].to)
		}
		return
	}
	if len(got) != 1 || got[0].from != leaves || got[0].to != to || got[0].payload != string(want) {
		l.t.Errorf("%s → %s: %d datagrams come out, want one %s → %s with %.12x: %v", from, gate, len(got), leaves, to, want, addrs(got))
	}
}

func addrs(list []sound) (out []string) {
	for _, s := range list {
		out = append(out, fmt.Sprintf("%s → %s with %.12x", s.from, s.to, s.payload))
	}
	return out
}

var (
	providerSound = netip.AddrPortFrom(providerAt.Addr(), 4000)
	pbxSound      = netip.AddrPortFrom(pbxAt.Addr(), 4002)
	nowhere       netip.AddrPort
)

// TestAudioFlowsBothWays, RTP and RTCP, through hold and resume, and the CDR tells how much.
func TestAudioFlowsBothWays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, labConfig, natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		c := l.talk(itsp, pbx, trunkSocket, sdpAt(providerAt.Addr(), 4000), sdpAt(pbxAt.Addr(), 4002))
		outside, inside := told(t, c.shown[0], 0), told(t, c.shown[1], 0)
		if outside.Addr() != gateOutside || inside.Addr() != gateInside || outside.Port()%2 != 0 {
			t.Errorf("told %s and %s", outside, inside)
		}
		for i := range byte(50) {
			l.hear(providerSound, outside, rtp(0, i), inside, pbxSound)
			l.hear(pbxSound, inside, rtp(0, i), outside, providerSound)
			time.Sleep(20 * time.Millisecond)
		}
		l.hear(above(providerSound), above(outside), rtcp(), above(inside), above(pbxSound))
		l.hear(above(pbxSound), above(inside), rtcp(), above(outside), above(providerSound))
		l.hear(strangerAt, outside, rtp(0, 99), nowhere, nowhere)
		l.hear(netip.AddrPortFrom(pbxAt.Addr(), 4002), outside, rtp(0, 99), nowhere, nowhere)

		// Hold by the PBX (sendonly: music), then resume with another port.
		m := withBody(c.callee.within("INVITE", 0), hold(sdpAt(pbxAt.Addr(), 4002)))
		c.callee.send(c.callee.gate, m)
		arrived := itsp.want("INVITE")
		if !bytes.Contains(arrived.Body, []byte("a=sendonly")) || told(t, arrived.Body, 0) != outside {
			t.Errorf("hold is told as\n%s", arrived.Body)
		}
		itsp.reply(arrived, 200, append(sdpAt(providerAt.Addr(), 4000), "a=recvonly\r\n"...))
		pbx.want("200 INVITE")
		pbx.send(c.callee.gate, c.callee.within("ACK", m.CSeq))
		itsp.want("ACK")
		l.hear(pbxSound, inside, rtp(0, 60), outside, providerSound)
		l.hear(providerSound, outside, rtp(0, 60), nowhere, nowhere)

		m = withBody(c.callee.within("INVITE", 0), sdpAt(pbxAt.Addr(), 4010))
		c.callee.send(c.callee.gate, m)
		itsp.reply(itsp.want("INVITE"), 200, sdpAt(providerAt.Addr(), 4000))
		pbx.want("200 INVITE")
		pbx.send(c.callee.gate, c.callee.within("ACK", m.CSeq))
		itsp.want("ACK")
		moved := netip.AddrPortFrom(pbxAt.Addr(), 4010)
		closed := rtp(0, 61)
		closed[3] = 60 // what was said while held is not missed
		l.hearAs(providerSound, outside, rtp(0, 61), inside, moved, closed)
		l.hear(moved, inside, rtp(0, 61), outside, providerSound)
		l.hear(above(moved), above(inside), rtcp(), above(outside), above(providerSound))

		hangup(c.caller, c.callee)
		time.Sleep(time.Second)
		l.hear(providerSound, outside, rtp(0, 62), nowhere, nowhere)
		r := l.record()
		if len(r.Media) != 1 {
			t.Fatalf("media of the CDR: %+v", r.Media)
		}
		out, in := r.Media[0].Outside, r.Media[0].Inside
		if out.Packets != 52 || in.Packets != 52 || out.Bytes == 0 || out.Rejected < 2 || in.Rejected != 0 || out.Sent != 54 || in.Sent != 52 || out.Lost != 10 {
			t.Errorf("the CDR says %+v", r.Media[0])
		}
		l.empty()
	})
}

// TestEarlyAudioAndDelayedOffer: ringing tone before the answer; an INVITE without an offer.
func TestEarlyAudioAndDelayedOffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, labConfig, natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		invite := withBody(itsp.request("INVITE", trunkSocket, "100"), sdpAt(providerAt.Addr(), 4000))
		itsp.send(trunkSocket, invite)
		arrived := pbx.want("INVITE")
		pbx.reply(arrived, 183, sdpAt(pbxAt.Addr(), 4002))
		early := itsp.want("183 INVITE")
		outside, inside := told(t, early.Body, 0), told(t, arrived.Body, 0)
		l.hear(pbxSound, inside, rtp(0, 1), outside, providerSound)
		pbx.reply(arrived, 486, nil)
		itsp.final(trunkSocket, invite)
		l.hear(pbxSound, inside, rtp(0, 2), nowhere, nowhere)

		bare := itsp.request("INVITE", trunkSocket, "101")
		itsp.send(trunkSocket, bare)
		arrived = pbx.want("INVITE")
		if len(arrived.Body) != 0 {
			t.Errorf("an offer that nobody made:\n%s", arrived.Body)
		}
		pbx.reply(arrived, 200, sdpAt(pbxAt.Addr(), 4002))
		final := itsp.want("200 INVITE")
		caller, callee := l.ends(itsp, pbx, trunkSocket, bare, arrived, final)
		itsp.send(trunkSocket, withBody(caller.within("ACK", 1), sdpAt(providerAt.Addr(), 4000)))
		ack := pbx.want("ACK")
		outside, inside = told(t, final.Body, 0), told(t, ack.Body, 0)
		if inside.Addr() != gateInside || outside.Addr() != gateOutside {
			t.Errorf("told %s and %s", outside, inside)
		}
		l.hear(providerSound, outside, rtp(0, 1), inside, pbxSound)
		l.hear(pbxSound, inside, rtp(0, 1), outside, providerSound)
		hangup(callee, caller)
		l.empty()
	})
}

// TestASilentCallEnds: no packet either way for media.timeout; one way is enough to go on.
func TestASilentCallEnds(t *testing.T) {
	yaml := rewritten(t, labConfig, "30000-31000 }", "30000-31000, timeout: 30s, hold_timeout: 5m }")
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, yaml, natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		c := l.talk(itsp, pbx, trunkSocket, sdpAt(providerAt.Addr(), 4000), sdpAt(pbxAt.Addr(), 4002))
		inside := told(t, c.shown[1], 0)
		for i := range 200 {
			l.relay.Inject(inside, pbxSound, rtp(0, byte(i)))
			time.Sleep(time.Second)
		}
		if n := l.gate.Gauges().Calls; n != 1 {
			t.Fatal("one-way silence ended a call")
		}
		stopped := time.Now()
		bye := itsp.want("BYE")
		if after := time.Since(stopped); after < 28*time.Second || after > 33*time.Second {
			t.Errorf("ended %v after the last packet", after)
		}
		itsp.reply(bye, 200, nil)
		pbx.reply(pbx.want("BYE"), 200, nil)
		if r := l.record(); r.Reason != reason.MediaTimeout || r.EndedBy != "sbc" || r.Code != 200 {
			t.Errorf("CDR %+v", r)
		}
		l.empty()
	})
}

// TestAHeldCallHasItsOwnTimer.
func TestAHeldCallHasItsOwnTimer(t *testing.T) {
	yaml := rewritten(t, labConfig, "30000-31000 }", "30000-31000, timeout: 30s, hold_timeout: 5m }")
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, yaml, natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		c := l.talk(itsp, pbx, trunkSocket, sdpAt(providerAt.Addr(), 4000), sdpAt(pbxAt.Addr(), 4002))
		m := withBody(c.callee.within("INVITE", 0), append(sdpAt(pbxAt.Addr(), 4002), "a=inactive\r\n"...))
		c.callee.send(c.callee.gate, m)
		itsp.reply(itsp.want("INVITE"), 200, append(sdpAt(providerAt.Addr(), 4000), "a=inactive\r\n"...))
		pbx.want("200 INVITE")
		pbx.send(c.callee.gate, c.callee.within("ACK", m.CSeq))
		itsp.want("ACK")
		time.Sleep(4 * time.Minute)
		if n := l.gate.Gauges().Calls; n != 1 {
			t.Fatal("a held call ended too early")
		}
		time.Sleep(70 * time.Second)
		itsp.reply(itsp.want("BYE"), 200, nil)
		pbx.reply(pbx.want("BYE"), 200, nil)
		if r := l.record(); r.Reason != reason.MediaTimeout {
			t.Errorf("CDR %+v", r)
		}
	})
}

func withLine(sdp []byte, lines string) []byte { return append(bytes.Clone(sdp), lines...) }

// TestMoreThanAudio: video and fax lines get ports of their own; what finds none is answered with port 0.
func TestMoreThanAudio(t *testing.T) {
	const video = "m=video 5000 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
	const fax = "m=image 5002 udptl t38\r\na=T38FaxVersion:0\r\n"
	for _, tt := range []struct {
		ports string
		lines string
		given []bool // which m= lines get a port
	}{
		{"30000-30099", video, []bool{true, true}},
		{"30000-30099", fax, []bool{true, true}},
		{"30000-30099", video + fax, []bool{true, true, true}},
		{"30000-30003", video + fax, []bool{true, true, false}},
		{"30000-30001", video + fax, []bool{true, false, false}},
	} {
		t.Run(tt.ports+tt.lines[:7], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newGate(t, rewritten(t, labConfig, "30000-31000", tt.ports), natlab.Options{Seed: 1})
				defer l.close()
				itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
				c := l.talk(itsp, pbx, trunkSocket, withLine(sdpAt(providerAt.Addr(), 4000), tt.lines), withLine(sdpAt(pbxAt.Addr(), 4002), tt.lines))
				var used []netip.AddrPort
				for i, given := range tt.given {
					out, in := told(t, c.shown[0], i), told(t, c.shown[1], i)
					if (out.Port() != 0) != given || (in.Port() != 0) != given {
						t.Errorf("m= line %d: told %s outside, %s inside", i, out, in)
					}
					if !given {
						continue
					}
					if slices.Contains(used, out) {
						t.Errorf("port %s twice", out)
					}
					used = append(used, out)
					if i == 0 {
						l.hear(providerSound, out, rtp(0, 1), in, pbxSound)
						continue
					}
					payload := rtp(96, 1)
					far := netip.AddrPortFrom(providerAt.Addr(), 5000)
					if strings.Contains(strings.Split(string(c.shown[0]), "\r\nm=")[i+1], "t38") {
						payload, far = []byte{0, 1, 1, 0, 0, 0}, netip.AddrPortFrom(providerAt.Addr(), 5002)
					}
					l.hear(far, out, payload, in, netip.AddrPortFrom(pbxAt.Addr(), far.Port()))
				}
				hangup(c.caller, c.callee)
				l.empty()
				if g := l.gate.Gauges(); g.PortsFree != g.PortsHigh && g.PortsHigh > g.PortsFree {
					t.Errorf("%+v", g)
				}
			})
		})
	}
}

// TestForbiddenMedia: descriptions that name what media must never go to.
func TestForbiddenMedia(t *testing.T) {
	for _, addr := range []string{"127.0.0.1", "169.254.169.254", "224.0.0.1", "255.255.255.255", "203.0.113.10", "10.0.0.2"} {
		t.Run(addr, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newGate(t, labConfig, natlab.Options{Seed: 1})
				defer l.close()
				itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
				invite := withBody(itsp.request("INVITE", trunkSocket, "100"), sdpAt(netip.MustParseAddr(addr), 4000))
				itsp.send(trunkSocket, invite)
				if m := itsp.final(trunkSocket, invite); m.Status != 488 {
					t.Errorf("%s", m)
				}
				pbx.quiet(time.Second)
				if r := l.record(); r.Reason != reason.MediaForbidden || r.Code != 488 {
					t.Errorf("CDR %+v", r)
				}
				l.empty()
			})
		})
	}
}

// TestMediaSources: a provider's media farm may send besides what its SDP says, a stranger may not.
func TestMediaSources(t *testing.T) {
	yaml := rewritten(t, labConfig, "keepalive: { method: none }", "media_sources: [ 203.0.113.128/26 ]\n    keepalive: { method: none }")
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, yaml, natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		c := l.talk(itsp, pbx, trunkSocket, sdpAt(providerAt.Addr(), 4000), sdpAt(pbxAt.Addr(), 4002))
		outside, inside := told(t, c.shown[0], 0), told(t, c.shown[1], 0)
		l.hear(netip.MustParseAddrPort("203.0.113.130:9000"), outside, rtp(0, 1), inside, pbxSound)
		if why := l.relay.Inject(outside, netip.MustParseAddrPort("203.0.113.200:9000"), rtp(0, 2)); why == media.Accepted {
			t.Error("a stranger is heard")
		}
		l.hear(pbxSound, inside, rtp(0, 1), outside, providerSound) // sent to the SDP all the same
		hangup(c.caller, c.callee)
		l.empty()
	})
}
