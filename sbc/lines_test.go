package sbc_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"

	"sallyport/nat/natlab"
)

// lines is a description of these m= lines at an address: "video 4000".
func lines(at netip.AddrPort, list ...string) []byte {
	b := fmt.Appendf(nil, "v=0\r\no=- 1 1 IN IP4 %s\r\ns=-\r\nc=IN IP4 %s\r\nt=0 0\r\n", at.Addr(), at.Addr())
	for _, line := range list {
		format := " RTP/AVP 0\r\n"
		if strings.HasPrefix(line, "video") {
			format = " RTP/AVP 97\r\na=rtpmap:97 VP8/90000\r\n"
		}
		b = append(b, "m="+line+format...)
	}
	return b
}

// TestAGatewayAnswersOneLine: a gateway has one m= line, whatever it is offered. The caller gets its own two, the voice arrives where each
// has it, and a hold of the gateway's, by its one line, is answered by one.
func TestAGatewayAnswersOneLine(t *testing.T) {
	for _, out := range []bool{false, true} {
		t.Run(fmt.Sprint("out=", out), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newGate(t, labConfig, natlab.Options{Seed: 1})
				defer l.close()
				from, to, gate := l.wire(providerAt), l.wire(pbxAt), trunkSocket
				if out {
					from, to, gate = to, from, pbxSocket
				}
				c := l.talk(from, to, gate, lines(from.at, "video 4000", "audio 4002"), lines(to.at, "audio 5000"))
				if got := told(t, c.shown[0], 1); got.Port() == 0 || told(t, c.shown[0], 0).Port() != 0 {
					t.Errorf("the caller is told\n%s", c.shown[0])
				}
				callers, callees := netip.AddrPortFrom(from.at.Addr(), 4002), netip.AddrPortFrom(to.at.Addr(), 5000)
				l.hear(callers, told(t, c.shown[0], 1), rtp(0, 1), told(t, c.shown[1], 1), callees)
				l.hear(callees, told(t, c.shown[1], 1), rtp(0, 1), told(t, c.shown[0], 1), callers)

				hold := withBody(c.callee.within("INVITE", 0), append(lines(to.at, "audio 5000"), "a=sendonly\r\n"...))
				to.send(c.callee.gate, hold)
				arrived := from.want("INVITE")
				if n := strings.Count(string(arrived.Body), "m="); n != 2 || told(t, arrived.Body, 1).Port() == 0 {
					t.Errorf("the caller is held by\n%s", arrived.Body)
				}
				from.reply(arrived, 200, append(lines(from.at, "video 0", "audio 4002"), "a=recvonly\r\n"...))
				from.want("ACK")
				if answer := to.want("200 INVITE"); strings.Count(string(answer.Body), "m=") != 1 || told(t, answer.Body, 0).Port() == 0 {
					t.Errorf("the gateway is answered\n%s", answer.Body)
				}
				to.send(c.callee.gate, c.callee.within("ACK", hold.CSeq))
				hangup(c.caller, c.callee)
				l.empty()
			})
		})
	}
}

// TestTwoVoices: two voices are two streams, each with ports of its own, as a recorder's client has one for each who speaks (RFC 7866).
func TestTwoVoices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, labConfig, natlab.Options{Seed: 1})
		defer l.close()
		from, to := l.wire(pbxAt), l.wire(providerAt)
		c := l.talk(from, to, pbxSocket, lines(from.at, "audio 4000", "audio 4002"), lines(to.at, "audio 5000", "audio 5002"))
		for i := range 2 {
			a, b := netip.AddrPortFrom(from.at.Addr(), uint16(4000+2*i)), netip.AddrPortFrom(to.at.Addr(), uint16(5000+2*i))
			l.hear(a, told(t, c.shown[0], i), rtp(0, 1), told(t, c.shown[1], i), b)
			l.hear(b, told(t, c.shown[1], i), rtp(0, 1), told(t, c.shown[0], i), a)
		}
		hangup(c.caller, c.callee)
		l.empty()
	})
}
