package sbc_test

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat/natlab"
)

// TestADeclinedStreamEndsNoCall: a caller offers video, the callee has none. The silence of that stream is agreed, and the call
// lives as long as its audio does.
func TestADeclinedStreamEndsNoCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, labConfig, natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		offer := append(sdpAt(providerAt.Addr(), 4000), "m=video 4010 RTP/AVP 97\r\na=rtpmap:97 VP8/90000\r\n"...)
		answer := append(sdpAt(pbxAt.Addr(), 4002), "m=video 0 RTP/AVP 97\r\n"...)
		c := l.talk(itsp, pbx, trunkSocket, offer, answer)
		for seq := range byte(150) { // longer than the media timeout
			l.relay.Inject(told(t, c.shown[0], 0), netip.AddrPortFrom(providerAt.Addr(), 4000), rtp(0, seq))
			time.Sleep(time.Second)
		}
		pbx.quiet(0, "BYE")
		itsp.quiet(0, "BYE")
		if g := l.gate.Gauges(); g.Calls != 1 {
			t.Fatalf("%d calls", g.Calls)
		}
		hangup(c.caller, c.callee)
		l.empty()
	})
}
