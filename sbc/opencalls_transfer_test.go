package sbc_test

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestTheJournalKnowsATransferFromACall: what the third leg does is none of what the call's record says of its beginning.
func TestTheJournalKnowsATransferFromACall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrashes(t, "")
		defer c.close()
		k := c.dials()
		time.Sleep(time.Second)
		k.callee.refer("<sip:205@example.com>")
		third := c.pbx.want("INVITE")
		c.pbx.reply(third, 180, nil)
		k.callee.notified("SIP/2.0 180 Ringing\r\n")
		c.pbx.reply(third, 200, sdpAt(pbxAt.Addr(), 4004))
		c.pbx.want("ACK")
		k.caller.reoffered(sdpAt(providerAt.Addr(), 4000))
		k.callee.notified("SIP/2.0 200 OK\r\n")
		k.callee.byed()
		time.Sleep(time.Second)
		list := c.crash().entries(t)
		if len(list) != 1 {
			t.Fatalf("the journal has %d calls", len(list))
		}
		for _, r := range list {
			if r.Attempts != 1 || !r.Ringing.IsZero() || len(r.Transfers) != 1 || r.Transfers[0].To != "205" {
				t.Errorf("the journal has %+v: want one attempt, no ringing, one transfer", r)
			}
		}
	})
}
