package sbc_test

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat/natlab"
	"sallyport/sbc"
	"sallyport/sbc/reason"
)

// mannered is the lab's configuration with presets on its trunk.
func mannered(t *testing.T, presets string) string {
	t.Helper()
	yaml := rewritten(t, labConfig, "keepalive: { method: none }", "preset: [ "+presets+" ]\n    keepalive: { method: none }")
	return rewritten(t, yaml, "media: { ports: 30000-31000 }", "media: { ports: 30000-31000, timeout: 60s, hold_timeout: 10m }")
}

// reoffer lets a party send a re-INVITE that the gate answers by itself, and returns the answer's description.
func reoffer(p *party, body []byte) []byte {
	m := withBody(p.within("INVITE", 0), body)
	p.send(p.gate, m)
	ok := p.want("200 INVITE")
	p.send(p.gate, p.within("ACK", m.CSeq))
	return ok.Body
}

// TestHoldThatNobodyHearsOf: a provider that takes no hold gets the PBX's music, from wherever it comes, and no message; what it says goes
// nowhere meanwhile, and to the phone again afterwards. The call does not end by the provider's silence, but by the bound of holds.
func TestHoldThatNobodyHearsOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, mannered(t, "no-hold-reinvite, no-session-timer"), natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		c := l.talk(itsp, pbx, trunkSocket, sdpAt(providerAt.Addr(), 4000), sdpAt(pbxAt.Addr(), 4002))
		outside, inside := told(t, c.shown[0], 0), told(t, c.shown[1], 0)
		l.hear(providerSound, outside, rtp(0, 1), inside, pbxSound)

		// The PBX has a server for music, at another address.
		music := netip.MustParseAddrPort("10.0.0.30:7000")
		answer := reoffer(c.callee, hold(sdpAt(music.Addr(), 7000)))
		if !bytes.Contains(answer, []byte("a=recvonly")) || told(t, answer, 0) != inside {
			t.Errorf("hold is answered by\n%s", answer)
		}
		for i := byte(10); i < 20; i++ {
			l.hear(music, inside, rtp(0, i), outside, providerSound)
			time.Sleep(20 * time.Millisecond)
		}
		l.hear(providerSound, outside, rtp(0, 2), nowhere, nowhere)
		l.hear(pbxSound, inside, rtp(0, 20), nowhere, nowhere) // the phone itself is not heard

		answer = reoffer(c.callee, append(sdpAt(pbxAt.Addr(), 4002), "a=inactive\r\n"...))
		if !bytes.Contains(answer, []byte("a=inactive")) {
			t.Errorf("inactive is answered by\n%s", answer)
		}
		l.hear(providerSound, outside, rtp(0, 3), nowhere, nowhere)
		l.hear(pbxSound, inside, rtp(0, 21), nowhere, nowhere)
		time.Sleep(5 * time.Minute) // longer than media.timeout
		if g := l.gate.Gauges(); g.Calls != 1 {
			t.Fatalf("%d calls after a long hold", g.Calls)
		}

		answer = reoffer(c.callee, sdpAt(pbxAt.Addr(), 4002))
		if bytes.Contains(answer, []byte("only")) || bytes.Contains(answer, []byte("inactive")) {
			t.Errorf("the resumption is answered by\n%s", answer)
		}
		l.sounds.drain()
		l.relay.Inject(outside, providerSound, rtp(0, 4))
		l.relay.Inject(inside, pbxSound, rtp(0, 22))
		if got := l.sounds.drain(); len(got) != 2 || got[0].to != pbxSound || got[1].to != providerSound {
			t.Errorf("after the resumption: %v", addrs(got))
		}
		itsp.quiet(time.Second)

		// More than that: the provider is asked.
		m := withBody(c.callee.within("INVITE", 0), bytes.Replace(sdpAt(pbxAt.Addr(), 4002), []byte("RTP/AVP 0 101"), []byte("RTP/AVP 8 101"), 1))
		c.callee.send(c.callee.gate, m)
		itsp.reply(itsp.want("INVITE"), 488, nil)
		pbx.want("488 INVITE")
		ack := c.callee.within("ACK", m.CSeq)
		ack.Via = m.Via // that of a refusal belongs to its transaction (RFC 3261 §17.1.1.3)
		pbx.send(c.callee.gate, ack)
		closed := rtp(0, 5)
		closed[3] = 3 // what was said while held is not missed
		l.hearAs(providerSound, outside, rtp(0, 5), inside, pbxSound, closed)

		// A hold that is forgotten ends.
		reoffer(c.callee, hold(sdpAt(pbxAt.Addr(), 4002)))
		time.Sleep(11 * time.Minute)
		itsp.reply(itsp.want("BYE"), 200, nil)
		pbx.reply(pbx.want("BYE"), 200, nil)
		if r := l.record(); r.Reason != reason.MediaTimeout {
			t.Errorf("it ended by %s", r.Reason)
		}
		l.empty()
	})
}

// TestEarlyMediaIn183: the ringing that the PBX makes in a 180 is heard by a provider that takes it in 183 alone.
func TestEarlyMediaIn183(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, mannered(t, "early-183, no-100rel, no-update"), natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		invite := withBody(itsp.request("INVITE", trunkSocket, "100"), sdpAt(providerAt.Addr(), 4000))
		invite.Add("Supported", "100rel, timer")
		itsp.send(trunkSocket, invite)
		arrived := pbx.want("INVITE")
		pbx.reply(arrived, 180, sdpAt(pbxAt.Addr(), 4002))
		early := itsp.want("183 INVITE")
		outside, inside := told(t, early.Body, 0), told(t, arrived.Body, 0)
		l.hear(pbxSound, inside, rtp(0, 1), outside, providerSound)
		itsp.quiet(time.Second)
		pbx.reply(arrived, 200, sdpAt(pbxAt.Addr(), 4002))
		final := itsp.want("200 INVITE")
		if allow, _ := final.Get("Allow"); strings.Contains(allow, "UPDATE") || strings.Contains(allow, "PRACK") || !strings.Contains(allow, "INVITE") {
			t.Errorf("the provider is allowed %s", allow)
		}
		caller, callee := l.ends(itsp, pbx, trunkSocket, invite, arrived, final)
		itsp.send(trunkSocket, caller.within("ACK", 1))
		pbx.want("ACK")
		hangup(caller, callee)
		l.empty()
	})
}

// TestTranslationTellsPresets: what they have set stands above what a message becomes.
func TestTranslationTellsPresets(t *testing.T) {
	snap := parse(t, mannered(t, "no-hold-reinvite, plus, no-options"))
	invite := "INVITE sip:+4930123@10.0.0.2:5080 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.10:5060;branch=z9hG4bK1\r\nFrom: <sip:204@example.com>;tag=1\r\n" +
		"To: <sip:+4930123@10.0.0.2>\r\nCall-ID: a\r\nCSeq: 1 INVITE\r\nContact: <sip:204@10.0.0.10>\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
	out, err := sbc.Translate(snap, sbc.Translation{Message: []byte(invite), From: "pbx"})
	if err != nil {
		t.Fatal(err)
	}
	const want = "hold: local (no-hold-reinvite), numbers.format: plus (plus)"
	if got := strings.Join(out.Presets, ", "); got != want || !strings.Contains(out.Text(), "presets of the trunk set  "+want+"\n") {
		t.Errorf("%s\n%s", got, out.Text())
	}
	snap = parse(t, labConfig)
	if out, err = sbc.Translate(snap, sbc.Translation{Message: []byte(invite), From: "pbx"}); err != nil || len(out.Presets) > 0 || strings.Contains(out.Text(), "presets") {
		t.Errorf("%v %v", out.Presets, err)
	}
}
