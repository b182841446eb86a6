package core

import (
	"time"

	"go.uber.org/zap"

	"sallyport/sbc/transaction"
	"sallyport/sbc/tu"
)

// execute runs one action of the closed list.
func (c *Core) execute(now time.Time, u *user, a tu.Action) {
	switch a := a.(type) {
	case tu.Respond:
		c.respond(now, u, a)
	case tu.Drop:
		c.table.Drop(now, transaction.ID(a.Tx))
	case tu.Send:
		c.send(now, u, a)
	case tu.SendAck:
		c.sendAck(now, a)
	case tu.Cancel:
		c.cancel(now, u, a)
	case tu.OpenDialog:
		c.openDialog(u, a)
	case tu.CloseDialog:
		c.closeDialog(u, dialogKey{side: a.Side, callID: a.CallID, local: a.Local})
	case tu.Ping:
		c.transmit(now, a.Flow, doubleCRLF)
	case tu.Route:
		a.User = u.id
		c.tell(u.id, c.cfg.Assembly.Route(now, a))
	case tu.Reserve:
		c.reserve(now, u, a)
	case tu.Point:
		c.point(u, a)
	case tu.Release:
		for len(u.streams) > 0 {
			c.releaseLast(now, u)
		}
	case tu.Record:
		c.record(u, a)
	case tu.Health:
		c.cfg.Assembly.Health(now, a)
	case tu.Occupy:
		c.cfg.Assembly.Occupy(now, u.id, a)
	case tu.Vacate:
		c.cfg.Assembly.Unlease(u.id, a.Ref)
	case tu.Registration:
		c.cfg.Assembly.Registered(now, a)
	case tu.Note:
		c.cfg.Assembly.Note(now, a)
	case tu.End:
		c.end(now, u)
	default:
		c.cfg.Log.DPanic("an action without an executor", zap.Any("action", a))
	}
}
