package core

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"sallyport/nat"
)

// Delivery says what became of an inbound message.
type Delivery uint8

// What Deliver answers.
const (
	Accepted Delivery = iota
	Busy              // three quarters full, or busy: a new INVITE should get a stateless 503
	Dropped           // full, or no room for requests outside dialogs
)

// Deliver hands a message to the core from any goroutine. It never blocks: from three quarters of the inbox on new
// INVITEs are refused, in the last eighth every request outside a dialog is dropped, so that dialogs go on.
func (c *Core) Deliver(in Inbound) Delivery {
	level, size := c.network.level(), c.network.size()
	pressed := level >= size*3/4
	// The busy ratio is one of wall time, of which other programs on the machine may steal: it counts with a backlog only.
	if pressed || level >= size/16 && c.gauges.Busy.Load() > busyLimit {
		switch fresh := c.isFresh(in); {
		case fresh && level >= size*7/8:
			c.gauges.InboxDropped.Add(1)
			return Dropped
		case fresh && in.Msg.Method == "INVITE":
			c.gauges.Overload.Add(1)
			return Busy
		}
	}
	if level > 0 || !c.direct(in) {
		if !c.network.push(in) {
			c.gauges.InboxDropped.Add(1)
			return Dropped
		}
	}
	raise(&c.gauges.InboxHigh, int64(level+1))
	c.pump()
	return Accepted
}

// isFresh reports whether a message asks for something new. A To tag that we never gave out makes no dialog.
func (c *Core) isFresh(in Inbound) bool {
	m := in.Msg
	if !m.IsRequest() || m.Method == "CANCEL" || m.Method == "ACK" {
		return false
	}
	return m.To.Tag == "" || c.cfg.Tags != nil && !c.cfg.Tags.Owns([]byte(m.To.Tag))
}

// The errors of Post and Do. What was asked for has not happened, and will not.
var (
	ErrFull     = errors.New("core: the control inbox is full; try again")
	ErrStopped  = errors.New("core: the loop has ended")
	errNotSound = errors.New("core: the function panicked; the log has its stack")
)

// Post runs f in the core's turn, soon. It never blocks. Functions are served before messages; who posts word that
// may get lost (a media hint, a sweep) says it again, who must know uses Do.
func (c *Core) Post(f func(now time.Time)) error {
	select {
	case <-c.stopped:
		return ErrStopped
	default:
	}
	select {
	case c.control <- f:
		return nil
	default:
		return ErrFull
	}
}

// The fates of what Do posted: the core and the caller both reach for it, one of them gets it.
const (
	waiting = iota
	taken
	abandoned
)

// Do runs f in the core's turn and waits for it. With an error f has not run and will not, so that the caller may
// undo what it prepared; but for a panic of f itself, which Do reports too. It must not be called in the core's turn, from
// an Assembly method or a posted function: it would wait for itself.
func (c *Core) Do(ctx context.Context, f func(now time.Time)) error {
	var fate atomic.Int32
	sound, done := false, make(chan struct{})
	err := c.Post(func(now time.Time) {
		if fate.CompareAndSwap(waiting, taken) {
			defer close(done)
			f(now)
			sound = true
		}
	})
	if err != nil {
		return err
	}
	select {
	case <-done:
	case <-ctx.Done():
		err = ctx.Err()
	case <-c.stopped:
		err = ErrStopped
	}
	if err != nil && fate.CompareAndSwap(waiting, abandoned) {
		return err
	}
	<-done // it is running, or has run
	if !sound {
		return errNotSound
	}
	return nil
}

// hintsMost bounds the errors of the network that wait. Strangers can cause them, so they have an inbox of their own: neither the
// administrator nor the relay finds theirs full.
const hintsMost = 256

// hint is an error of the network.
type hint struct {
	to      nat.Flow
	dialled bool // it is the end of a connection of our own
}

// Unreachable tells the core that what was sent on a flow did not arrive: an ICMP error, a connection that could not be made. It
// never blocks; a hint that is lost costs a timer, not a call.
func (c *Core) Unreachable(to nat.Flow) { c.hint(hint{to: to}) }

// Closed tells the core that a connection has ended. What was sent on one that we have dialled was sent on the flow with Conn 0.
func (c *Core) Closed(f nat.Flow, dialled bool) { c.hint(hint{f, dialled}) }

func (c *Core) hint(h hint) {
	select {
	case c.hints <- h:
	default:
	}
}
