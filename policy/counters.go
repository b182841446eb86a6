package policy

import (
	"sync/atomic"

	"sallyport/nat"
	"sallyport/sbc/reason"
)

const (
	reasonCount    = len(reason.All)
	transportCount = 4 // UDP, TCP, TLS, WSS
)

// Counters count every verdict where it was made, by side, realm, transport, reason and action.
type Counters struct {
	verdicts [2][2][transportCount][reasonCount][actionCount]atomic.Uint64
	ignored  [2][2][transportCount]atomic.Uint64
	sheds    atomic.Uint64
}

// Count is one line of Counters.
type Count struct {
	Side      nat.Side
	Realm     nat.Realm
	Transport nat.Transport
	Reason    reason.Reason // empty for what was ignored
	Action    Action
	Count     uint64
}

func (c *Counters) add(s *Subject, v *Verdict) {
	c.verdicts[s.Side][s.Realm][s.Transport][v.cause][v.Action].Add(1)
}

// shed counts a datagram that nobody looked at, beside those that found the strangers' budget empty.
func (c *Counters) shed(i *nat.Interface) {
	c.sheds.Add(1)
	c.verdicts[i.Side][i.Realm][i.Transport][causeBudget][Drop].Add(1)
}

// Shed is how many of the datagrams that were dropped for want of the strangers' budget were not even looked at.
func (c *Counters) Shed() uint64 { return c.sheds.Load() }

// Get is one counter.
func (c *Counters) Get(side nat.Side, realm nat.Realm, t nat.Transport, r reason.Reason, a Action) uint64 {
	i := reason.Index(r)
	if i < 0 {
		return 0
	}
	return c.verdicts[side][realm][t][i][a].Load()
}

// Ignored is how many keep-alives and how much junk arrived.
func (c *Counters) Ignored(side nat.Side, realm nat.Realm, t nat.Transport) uint64 {
	return c.ignored[side][realm][t].Load()
}

// Each yields every counter that is not zero, in a fixed order.
func (c *Counters) Each(yield func(Count) bool) {
	for side := range c.verdicts {
		for realm := range c.verdicts[side] {
			for t := range c.verdicts[side][realm] {
				n := Count{Side: nat.Side(side), Realm: nat.Realm(realm), Transport: nat.Transport(t), Action: Ignore}
				if n.Count = c.ignored[side][realm][t].Load(); n.Count > 0 && !yield(n) {
					return
				}
				if !c.each(n, yield) {
					return
				}
			}
		}
	}
}

func (c *Counters) each(n Count, yield func(Count) bool) bool {
	table := &c.verdicts[n.Side][n.Realm][n.Transport]
	for i := range table {
		for a := range table[i] {
			n.Reason, n.Action, n.Count = reason.All[i], Action(a), table[i][a].Load()
			if n.Count > 0 && !yield(n) {
				return false
			}
		}
	}
	return true
}
