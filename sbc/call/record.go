package call

import (
	"time"

	"sallyport/nat"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// openRecord opens the record: a CDR exists from the moment a call does.
func (c *Call) openRecord(now time.Time, ev tu.Arrived) {
	m := ev.Msg
	c.cdr = tu.CDR{
		Call: c.id, Correlation: c.cdr.Correlation, From: m.From.URI.UserName(), To: m.URI.UserName(), Source: ev.Flow.Remote.String(),
		Start: now, CallIDs: [2]string{m.CallID, c.legs[callee].callID}, Direction: "inbound",
		Transports: [2]string{ev.Flow.Transport.String()},
	}
	c.cdrAgent(caller, m)
	if !c.began.IsZero() {
		c.cdr.Start = c.began
	}
	if ev.Peer.Kind == tu.KindNode {
		c.cdr.Direction = "outbound"
		if ev.Peer.Realm == nat.Phones {
			c.cdr.To = m.To.URI.UserName() // the Request-URI has a token
		}
	}
	c.cdrName(ev.Peer)
}

// Resume makes the call go on with the record of one that the PBX has challenged: a challenged INVITE and its retry are one
// call. id and start are those of the first; it is told before the INVITE arrives.
func (c *Call) Resume(id string, start time.Time) { c.id, c.began = id, start }

// ID is the call's name in its record and in listings.
func (c *Call) ID() string { return c.id }

// Answered is when the callee took the call; zero: not yet.
func (c *Call) Answered() time.Time { return c.answerAt }

// Correlate names what the call has in common with others: a call that crosses the gate twice is two calls, two records and
// one correlation.
func (c *Call) Correlate(with string) { c.cdr.Correlation = with }

// Correlation is that name, empty if there is none.
func (c *Call) Correlation() string { return c.cdr.Correlation }

func (c *Call) cdrName(p *tu.Peer) {
	switch p.Kind {
	case tu.KindTrunk:
		c.cdr.Trunk = p.Name
	case tu.KindNode:
		c.cdr.Node = p.Name
	case tu.KindPhone:
		c.cdr.AoR = p.Name
	}
}

// cdrPeer notes who was asked for, where there was no way to it.
func (c *Call) cdrPeer(name string) {
	switch {
	case c.cdr.Direction == "inbound":
		c.cdr.Node = name
	case c.legs[caller].peer.Realm == nat.Phones:
		c.cdr.AoR = name
	default:
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
	r.Attempts, r.Media = len(c.attempts), c.Carries()
	if b := &c.legs[callee]; b.peer != nil && !c.loops(callee) {
		c.cdrName(b.peer)
		r.Trunk, r.Node, r.AoR = c.cdr.Trunk, c.cdr.Node, c.cdr.AoR
		r.Destination = b.hop.Flow.Remote.String()
	}
	c.Way(&r)
	if !c.answerAt.IsZero() {
		r.Duration = now.Sub(c.answerAt).Seconds()
		r.Code = 200 // what the caller heard, however the call ended
	}
	return r
}
