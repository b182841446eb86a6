package core

import (
	"time"

	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// cancel gives an INVITE of a user up. The table makes the CANCEL of the INVITE, which has passed the leak guard; the
// Reason is the other leg's word, and passes it here.
func (c *Core) cancel(now time.Time, u *user, a tu.Cancel) {
	if a.Quiet { // "no 1xx within attempt_timeout"
		c.cfg.Assembly.Attempted(now, u.id, a.Ref, 0)
	}
	c.answered(u.id, a.Ref) // who has given up wants no other node to be asked
	why := ""
	if a.Reason != "" {
		m := message.Message{Method: "CANCEL", Headers: []message.Header{{Name: "Reason", Value: a.Reason}}}
		if c.guardLeaks(a.Side, &m, a.Hide) {
			why, _ = m.Get("Reason")
		}
	}
	c.effects = c.table.Cancel(now, uint64(u.id), uint32(a.Ref), a.Quiet, why, c.effects)
}
