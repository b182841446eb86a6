package call

import (
	"time"

	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// openRecord opens the record: a CDR exists from the moment a call does.
func (c *Call) openRecord(now time.Time, ev tu.Arrived) {
	m := ev.Msg
	c.cdr = tu.CDR{
		Call: c.id, From: m.From.URI.User, To: m.URI.User, Source: ev.Flow.Remote.String(), Start: now,
		CallIDs: [2]string{m.CallID, c.legs[callee].callID}, Direction: "outbound",
	}
	if ev.Peer.Kind == tu.KindTrunk {
		c.cdr.Direction = "inbound"
	}
	c.cdrName(ev.Peer)
}

func (c *Call) cdrName(p *tu.Peer) {
	switch p.Kind {
	case tu.KindTrunk:
		c.cdr.Trunk = p.Name
	case tu.KindNode:
		c.cdr.Node = p.Name
	case tu.KindPhone: // its address of record stands in From or To
	}
}

func (c *Call) cdrPeer(name string) {
	if c.cdr.Direction == "inbound" {
		c.cdr.Node = name
	} else {
		c.cdr.Trunk = name
	}
}

// wall is a moment of the call as wall time: its start and what has passed since, so that the times of one record agree
// with each other and with its duration however the clock was set meanwhile.
func (c *Call) wall(now time.Time) time.Time { return c.cdr.Start.Add(now.Sub(c.cdr.Start)) }

// close finishes the record. It is written once.
func (c *Call) close(now time.Time, code int, why reason.Reason, by string) tu.CDR {
	r := c.cdr
	r.End, r.Code, r.Reason, r.EndedBy = c.wall(now), code, why, by
	r.Attempts = len(c.attempts)
	if b := &c.legs[callee]; b.peer != nil {
		c.cdrName(b.peer)
		r.Trunk, r.Node = c.cdr.Trunk, c.cdr.Node
		r.Destination = b.hop.Flow.Remote.String()
	}
	if !c.answerAt.IsZero() {
		r.Duration = now.Sub(c.answerAt).Seconds()
		r.Code = 200 // what the caller heard, however the call ended
	}
	return r
}
