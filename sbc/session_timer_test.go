package sbc_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat/natlab"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
)

// timersConfig has media that may be silent for ever, so that nothing but session timers ends a call.
func timersConfig(t *testing.T) string {
	return rewritten(t, labConfig, "30000-31000 }", "30000-31000, timeout: 0, hold_timeout: 0 }")
}

// TestASessionTimerOnOneLegOnly: the trunk is asked each fifteen minutes, the PBX never; audio goes on all the while, until the
// trunk has gone without a word.
func TestASessionTimerOnOneLegOnly(t *testing.T) {
	yaml := timersConfig(t)
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, yaml, natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		c := l.talk(itsp, pbx, trunkSocket, sdpAt(providerAt.Addr(), 4000), sdpAt(pbxAt.Addr(), 4002))
		outside, inside := told(t, c.shown[0], 0), told(t, c.shown[1], 0)
		var refresh *message.Message
		for range 3 {
			time.Sleep(899 * time.Second)
			refresh = itsp.want("INVITE")
			if se, _ := refresh.Get("Session-Expires"); se != "1800;refresher=uac" || !bytes.Equal(refresh.Body, c.shown[0]) {
				t.Errorf("the refresh has Session-Expires %q and says\n%s", se, refresh.Body)
			}
			itsp.reply(refresh, 200, sdpAt(providerAt.Addr(), 4000))
			itsp.want("ACK")
			l.hear(providerSound, outside, rtp(0, 1), inside, pbxSound)
			l.hear(pbxSound, inside, rtp(0, 1), outside, providerSound)
		}
		pbx.quiet(time.Second)
		time.Sleep(900 * time.Second)
		itsp.want("INVITE") // which has no answer any more
		bye := pbx.want("BYE")
		pbx.reply(bye, 200, nil)
		itsp.reply(itsp.want("BYE"), 200, nil)
		if r := l.record(); r.Reason != reason.Timeout || r.EndedBy != "sbc" || r.Code != 200 || r.Duration < 3600 {
			t.Errorf("CDR %+v", r)
		}
		time.Sleep(time.Minute)
		l.empty()
	})
}

// TestASessionThatNobodyRefreshes: the caller has promised to do it, and is gone.
func TestASessionThatNobodyRefreshes(t *testing.T) {
	yaml := timersConfig(t)
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, yaml, natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		invite := withBody(itsp.request("INVITE", trunkSocket, "+4930123", field("Supported: timer"), field("Session-Expires: 300;refresher=uac")),
			sdpAt(providerAt.Addr(), 4000))
		itsp.send(trunkSocket, invite)
		arrived := pbx.want("INVITE")
		if se, told := arrived.Get("Session-Expires"); told {
			t.Errorf("the PBX hears of a session timer that is not its own: %s", se)
		}
		pbx.reply(arrived, 200, sdpAt(pbxAt.Addr(), 4002))
		final := itsp.want("200 INVITE")
		if se, _ := final.Get("Session-Expires"); se != "300;refresher=uac" {
			t.Errorf("granted: %q", se)
		}
		caller, _ := l.ends(itsp, pbx, trunkSocket, invite, arrived, final)
		itsp.send(trunkSocket, caller.within("ACK", 1))
		pbx.want("ACK")
		answered := time.Now()
		time.Sleep(250 * time.Second)
		pbx.reply(pbx.want("BYE"), 200, nil)
		itsp.reply(itsp.want("BYE"), 200, nil)
		if after := time.Since(answered); after < 267*time.Second || after > 269*time.Second {
			t.Errorf("ended after %v", after)
		}
		if r := l.record(); r.Reason != reason.SessionExpired {
			t.Errorf("CDR %+v", r)
		}
		l.empty()
	})
}

// TestFaxInTheCall: the voice becomes UDPTL and voice again, on the same ports; meanwhile silence is measured by the fax's time.
func TestFaxInTheCall(t *testing.T) {
	yaml := rewritten(t, labConfig, "30000-31000 }", "30000-31000, timeout: 30s, hold_timeout: 5m }")
	lines := []string{"a=T38FaxVersion:0\r\n", "a=T38FaxMaxBuffer:262\r\n", "a=T38FaxUdpEC:t38UDPRedundancy\r\n"}
	image := func(at netip.AddrPort) []byte {
		return fmt.Appendf(nil, "v=0\r\no=- 1 2 IN IP4 %s\r\ns=-\r\nc=IN IP4 %s\r\nt=0 0\r\nm=image %d udptl t38\r\n%s",
			at.Addr(), at.Addr(), at.Port(), strings.Join(lines, ""))
	}
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, yaml, natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		c := l.talk(itsp, pbx, trunkSocket, sdpAt(providerAt.Addr(), 4000), sdpAt(pbxAt.Addr(), 4002))
		outside, inside := told(t, c.shown[0], 0), told(t, c.shown[1], 0)
		reoffer := func(offer, answer []byte) *message.Message {
			m := withBody(c.callee.within("INVITE", 0), offer)
			c.callee.send(c.callee.gate, m)
			arrived := itsp.want("INVITE")
			itsp.reply(arrived, 200, answer)
			pbx.want("200 INVITE")
			pbx.send(c.callee.gate, c.callee.within("ACK", m.CSeq))
			itsp.want("ACK")
			return arrived
		}
		arrived := reoffer(image(pbxSound), image(providerSound))
		for _, line := range append(lines, " udptl t38\r\n") {
			if !bytes.Contains(arrived.Body, []byte(line)) {
				t.Errorf("%q is missing in\n%s", line, arrived.Body)
			}
		}
		l.hear(providerSound, outside, []byte{0, 1, 6, 1, 2, 3, 0, 0}, inside, pbxSound)
		l.hear(pbxSound, inside, []byte{0, 7, 6, 1, 2, 3, 0, 0}, outside, providerSound)
		time.Sleep(4 * time.Minute) // a page that is turned by hand
		if n := l.gate.Gauges().Calls; n != 1 {
			t.Fatal("a fax was taken for silence")
		}
		l.hear(pbxSound, inside, []byte{0, 8, 6, 1, 2, 3, 0, 0}, outside, providerSound)
		reoffer(sdpAt(pbxAt.Addr(), 4002), sdpAt(providerAt.Addr(), 4000))
		l.hear(providerSound, outside, rtp(0, 1), inside, pbxSound)
		l.hear(providerSound, outside, []byte{0, 1, 6, 1, 2, 3, 0, 0}, nowhere, nowhere)
		itsp.reply(itsp.want("BYE"), 200, nil) // half a minute of silence ends voice
		pbx.reply(pbx.want("BYE"), 200, nil)
		if r := l.record(); r.Reason != reason.MediaTimeout {
			t.Errorf("CDR %+v", r)
		}
		l.empty()
	})
}
