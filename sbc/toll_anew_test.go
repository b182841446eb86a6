package sbc_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// anew is a provider that may transfer and redirect, at the cost of the house.
var anew = []string{"    keepalive: { method: none }", "    keepalive: { method: none }\n    referral: local\n    redirect: follow"}

// TestReferralIsJudged: a provider may have itself transferred, but not to what a rule on calls forbids.
func TestReferralIsJudged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newTollGate(t, `{ name: premium, numbers: ["+882"] }`, anew...)
		defer g.close()
		provider, pbx := g.connect(g.provider, g.pbx, trunkSocket)
		provider.refer("<sip:+88299@203.0.113.10>")
		provider.notified("SIP/2.0 603 Decline\r\n")
		g.provider.quiet(100 * time.Millisecond)
		if lines := g.lines(); len(lines) != 1 || !strings.Contains(lines[0], "rule=premium") || !strings.Contains(lines[0], "+88299") {
			t.Errorf("the log has %q", lines)
		}
		if text := g.why("203.0.113.20"); !strings.Contains(text, "fraud") {
			t.Errorf("nothing is known of it: %s", text)
		}
		provider.refer("<sip:+49777@203.0.113.10>")
		m := g.provider.want("INVITE")
		g.provider.reply(m, 486, nil)
		provider.notified("SIP/2.0 486 Busy Here\r\n")
		hangup(provider, pbx)
		g.empty()
	})
}

// TestTransferredMinutesCount: the minutes of what a provider has itself transferred to are the budget's, and it has no more calls at a
// time than any caller.
func TestTransferredMinutesCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newTollGate(t, `{ name: abroad, numbers: ["+44"], per: trunk, concurrent: 1 }`, anew...)
		defer g.close()
		provider, pbx := g.connect(g.provider, g.pbx, trunkSocket)
		provider.refer("<sip:+44777@203.0.113.10>")
		m := g.provider.want("INVITE")
		if g.refused(g.pbx, g.dials(g.pbx, "204", "+44123")) != 403 {
			t.Error("the transfer that rings does not count")
		}
		g.provider.reply(m, 486, nil)
		provider.notified("SIP/2.0 486 Busy Here\r\n")
		time.Sleep(2 * time.Second)
		if !g.talks(g.pbx, "204", "+44123", time.Second) {
			t.Error("a transfer that failed counts for ever")
		}
		provider.refer("<sip:+44777@203.0.113.10>")
		m = g.provider.want("INVITE")
		g.provider.reply(m, 200, sdpAt(providerAt.Addr(), 4010))
		g.provider.want("ACK")
		pbx.reoffered(sdpAt(pbxAt.Addr(), 4002))
		provider.notified("SIP/2.0 200 OK\r\n")
		provider.byed()
		time.Sleep(2 * time.Second)
		if g.refused(g.pbx, g.dials(g.pbx, "204", "+44123")) != 403 {
			t.Error("what was transferred does not count")
		}
		pbx.ask("BYE")
		g.provider.reply(g.provider.want("BYE"), 200, nil)
		time.Sleep(2 * time.Second)
		if !g.talks(g.pbx, "204", "+44123", time.Second) {
			t.Error("it counts when it is over")
		}
		g.empty()
	})
}

// TestRedirectionIsJudged: the number that a provider redirects to is judged as one that the PBX calls.
func TestRedirectionIsJudged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newTollGate(t, `{ name: premium, numbers: ["+882"] }`, anew...)
		defer g.close()
		for _, to := range []string{"<sip:+88299@203.0.113.20>", "<tel:+88299>", "<sip:%2B88299@203.0.113.20>"} {
			m := g.dials(g.pbx, "204", "+49123")
			g.pbx.send(pbxSocket, m)
			g.provider.reply(g.provider.want("INVITE"), 302, nil, field("Contact: "+to))
			if got := g.pbx.final(pbxSocket, m); got.Status != 403 {
				t.Errorf("%s: the PBX hears %d", to, got.Status)
			}
			g.provider.quiet(100*time.Millisecond, "INVITE")
		}
		m := g.dials(g.pbx, "204", "+49123")
		g.pbx.send(pbxSocket, m)
		g.provider.reply(g.provider.want("INVITE"), 302, nil, field("Contact: <sip:+49777@h>"))
		if next := g.provider.want("INVITE"); next.URI.User != "+49777" {
			t.Errorf("it goes on to %s", next.URI)
		} else {
			g.provider.reply(next, 486, nil)
		}
		if got := g.pbx.final(pbxSocket, m); got.Status != 486 {
			t.Errorf("the PBX hears %d", got.Status)
		}
		g.empty()
	})
}
