package core

import (
	"time"

	"go.uber.org/zap"

	"sallyport/sbc/tu"
)

// contain runs f and survives its panic: it is logged and counted, what f had not done stays undone. Whatever a message
// or a user can reach runs inside it, so that one of them cannot end the calls of all.
func (c *Core) contain(what string, id tu.UserID, f func()) (sound bool) {
	defer func() {
		if r := recover(); r != nil {
			c.gauges.Panics.Add(1)
			c.cfg.Log.Error(what+"; the rest goes on, please report the stack", zap.Uint64("user", uint64(id)),
				zap.Any("panic", r), zap.Stack("stack"))
		}
	}()
	f()
	return true
}

// turnsMost is how many events a user may hear in one round: those that it causes itself (a Route that asks for a Route …)
// must have an end. More than all transactions of the table can time out in one moment.
const turnsMost = 1 << 17

// step lets a user handle an event and runs its actions. A panic in Step has sent nothing: the user is aborted.
func (c *Core) step(now time.Time, u *user, ev tu.Event) {
	if u.round != c.round {
		u.round, u.turns = c.round, 0
	}
	if u.turns++; u.turns > turnsMost {
		c.gauges.Panics.Add(1)
		c.cfg.Log.Error("a call keeps itself busy without end; it was aborted", zap.Uint64("user", uint64(u.id)))
		c.abort(now, u)
		return
	}
	sound := c.contain("a call failed and is aborted", u.id, func() {
		do := u.tu.Step(now, ev, c.actions[:0])
		c.actions = do
		for _, a := range do {
			if c.execute(now, u, a); u.ended || u.broken {
				break
			}
		}
		if !u.ended && !u.broken {
			c.clock.set(u, u.tu.Deadline())
		}
	})
	clear(c.actions)
	if !sound || u.broken {
		c.abort(now, u)
	}
}

// abort ends a user that can no longer be trusted: each thing that its Abort wants is tried for itself, then whatever it
// still holds is taken from it.
func (c *Core) abort(now time.Time, u *user) {
	if u.aborted || u.ended {
		return
	}
	u.aborted = true
	var do []tu.Action
	c.contain("an aborted call could not say how to end", u.id, func() { do = u.tu.Abort(now, nil) })
	for _, a := range do {
		if u.ended {
			break
		}
		c.contain("an aborted call could not end in order", u.id, func() { c.execute(now, u, a) })
	}
	c.end(now, u)
}

// end forgets a user with all it holds. Its transactions live out their time in the table.
func (c *Core) end(now time.Time, u *user) {
	if u.ended {
		return
	}
	u.ended = true
	c.clock.drop(u)
	delete(c.users, u.id)
	const what = "an ended call could not be cleared away"
	for len(u.dialogs) > 0 {
		c.contain(what, u.id, func() { c.closeDialog(u, u.dialogs[len(u.dialogs)-1]) })
	}
	for len(u.streams) > 0 {
		c.contain(what, u.id, func() { c.releaseLast(now, u) })
	}
	c.contain(what, u.id, func() { c.effects = c.table.Disown(now, uint64(u.id), c.effects) })
	c.contain(what, u.id, func() { c.cfg.Assembly.Ended(u.id, u.tu) })
}
