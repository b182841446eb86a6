package transaction

import (
	"sallyport/nat"
	"sallyport/sbc/message"
)

// The other client machine (RFC 3261 §17.1.2, figure 6):
//
//	trying ─ 1xx ─▶ proceeding      both ─ final ─▶ completed ─ Timer K ─▶ end
//	   both ─ Timer F, transport error ─▶ end

// otherRetries is Timer E: min(2·E, T2) while trying, T2 once a provisional has come.
func (t *Table) otherRetries(c *client) {
	if c.state == proceeding {
		c.interval = t.cfg.T2
	}
	c.backOff(t.now, t.cfg.T2)
}

// otherResponse takes a response to a request other than INVITE. A CANCEL is such a request, and nobody's.
func (t *Table) otherResponse(c *client, m *message.Message, from nat.Flow) {
	switch {
	case !c.waiting():
		// "any response received while in this state is absorbed": the final one is passed up once.
	case m.Status < 200:
		// Timers E and F run on: the request is sent again until it is answered.
		c.state = proceeding
		t.ringing(c)
		t.report(c, Effect{Kind: Provisional, Msg: m, Flow: from})
	default:
		wait := lasting(c.to.Transport, t.cfg.T4)
		t.settled(c, completed, wait)
		t.report(c, Effect{Kind: Response, Msg: m, Flow: from})
		t.byUser.drop(c.user, c)
		if wait == 0 {
			t.endClient(c)
			return
		}
		t.queue.settle(&c.timer)
	}
}

// otherFailed takes a transport error (RFC 3261 §17.1.4): the user is told and the transaction ends.
func (t *Table) otherFailed(c *client) {
	t.report(c, Effect{Kind: Failed})
	t.endClient(c)
}

// otherLost takes that who has said that it works on the request is gone: the user is told and the transaction ends. An answer
// that comes after that is a stray.
func (t *Table) otherLost(c *client) {
	t.report(c, Effect{Kind: Lost})
	t.endClient(c)
}
