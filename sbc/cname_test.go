package sbc_test

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"

	"sallyport/nat/natlab"
)

// telling is a receiver report of nobody, SDES that tells whose it is, and a goodbye that tells why.
func telling(cname string) []byte {
	text := append([]byte{1, 2, 3, 4, 1, byte(len(cname))}, cname...)
	text = append(text, 6, 12)
	text = append(text, "Asterisk 1.8"...)
	text = append(text, make([]byte, 4-len(text)%4)...)
	b := append(rtcp(), 0x81, 202, 0, byte(len(text)/4))
	b = append(b, text...)
	return append(append(b, 0x81, 203, 0, 4, 1, 2, 3, 4, 10), "shut down\x00\x00"...)
}

// TestNobodyIsNamed: RTCP of every stream, in both directions, tells which streams are of one participant, by a name that is none of
// its own, the same in the description, and another one in the next call.
func TestNobodyIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, labConfig, natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		const cname = "root@pbx.lan.example"
		seen := map[string]bool{}
		for range 2 {
			offer := append(sdpAt(providerAt.Addr(), 4000), "m=video 4010 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"...)
			answer := append(sdpAt(pbxAt.Addr(), 4002), "m=video 4012 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=ssrc:9 cname:"+cname+"\r\n"...)
			c := l.talk(itsp, pbx, trunkSocket, offer, answer)
			names := map[string]bool{}
			_, rest, _ := strings.Cut(string(c.shown[0]), "a=ssrc:9 cname:")
			name, _, _ := strings.Cut(rest, "\r\n")
			names[name] = true
			for n := range 2 {
				near, far := above(told(t, c.shown[1], n)), above(told(t, c.shown[0], n))
				names[l.named(pbxSound.Port()+uint16(10*n)+1, true, near.Port(), cname)] = true
				l.named(providerSound.Port()+uint16(10*n)+1, false, far.Port(), "alice@laptop.example")
			}
			if len(names) != 1 || name == "" || seen[name] {
				t.Errorf("one participant is %v, and was %v", names, seen)
			}
			seen[name] = true
			itsp.send(trunkSocket, c.caller.within("BYE", 2))
			pbx.reply(pbx.want("BYE"), 200, nil)
			itsp.want("200 BYE")
		}
	})
}

// named sends RTCP to a port of the gate and returns the name that comes out in the place of the one in it.
func (l *lab) named(from uint16, inside bool, gate uint16, cname string) string {
	l.t.Helper()
	at, peer := gateOutside, providerAt.Addr()
	if inside {
		at, peer = gateInside, pbxAt.Addr()
	}
	l.sounds.drain()
	l.relay.Inject(netip.AddrPortFrom(at, gate), netip.AddrPortFrom(peer, from), telling(cname))
	got := l.sounds.drain()
	if len(got) != 1 || len(got[0].payload) < 20 {
		l.t.Fatalf("%d datagrams for %q", len(got), cname)
	}
	b := []byte(got[0].payload)
	for _, text := range []string{cname[:4], cname[len(cname)-4:], "Asterisk", "shut"} {
		if bytes.Contains(b, []byte(text)) {
			l.t.Errorf("%s in %q", text, b)
		}
	}
	// The report, SDES of one chunk with a CNAME, a goodbye.
	if n := len(b); n != 8+4+24+8 || b[9] != 202 || b[16] != 1 || b[17] != 16 || b[n-7] != 203 {
		l.t.Fatalf("%q", b)
	}
	return string(b[18:34])
}
