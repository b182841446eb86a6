package sbc

import (
	"go.uber.org/zap"

	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// renewing are the phones' subscriptions at nodes that went down. Each phone is told to subscribe anew, so many a second: a
// PBX whose one half has just died must not meet all lamps of the house in the same instant.
type renewing struct {
	queue  []tu.UserID
	queued map[tu.UserID]struct{}
}

// renewalsMost is how many subscriptions are ended a second for their phones to make them anew.
const renewalsMost = 50

// lostNode puts the subscriptions at a node that is down into the queue; in no order, so that the lamps of one phone do not
// come in one burst. A node that comes back before their turn may have forgotten them: they are renewed all the same.
func (a *assembly) lostNode(node string) {
	r := &a.renewing
	before := len(r.queue)
	for id, w := range a.phones.watching {
		if _, twice := r.queued[id]; twice || !w.user.At(node) {
			continue
		}
		if r.queued == nil {
			r.queued = map[tu.UserID]struct{}{}
		}
		r.queued[id] = struct{}{}
		r.queue = append(r.queue, id)
	}
	if n := len(r.queue) - before; n > 0 {
		a.sbc.log.Info("subscriptions of phones are renewed", zap.String("node", node), zap.Int("count", n))
	}
}

// renew ends those whose turn it is: a NOTIFY tells the phone "deactivated", upon which it subscribes at a node that lives.
// As long as there is none they wait.
func (a *assembly) renew() {
	r := &a.renewing
	if len(r.queue) == 0 || !a.book.Available(tu.KindNode) {
		return
	}
	n := 0
	for n < renewalsMost && len(r.queue) > 0 {
		id := r.queue[0]
		r.queue = r.queue[1:]
		delete(r.queued, id)
		if _, still := a.phones.watching[id]; !still {
			continue
		}
		a.sbc.core.Tell(id, tu.Hangup{Code: 503, Why: reason.NoPBX})
		n++
	}
	if len(r.queue) == 0 {
		r.queue, r.queued = nil, nil
	}
}
