package core

import (
	"net/netip"
	"strconv"
	"time"

	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/transaction"
	"sallyport/sbc/tu"
)

// refuse answers a server transaction that has no user. A stranger that came so far gets silence: what is said to
// strangers, the guard has said.
func (c *Core) refuse(now time.Time, e *transaction.Effect, peer *tu.Peer, a Answer) {
	if i := reason.Index(a.Why); i >= 0 {
		c.gauges.Refused[i].Add(1)
	}
	if a.Code == 0 || peer == nil {
		c.table.Drop(now, e.ID)
		return
	}
	resp := c.answerTo(e.Msg, a.Code)
	resp.Headers = append(resp.Headers, a.Headers...)
	if a.RetryAfter > 0 {
		resp.Add("Retry-After", strconv.Itoa(a.RetryAfter))
	}
	c.respond(now, nil, tu.Respond{Tx: tu.TxID(e.ID), Msg: resp})
}

func (c *Core) answerTo(m *message.Message, code int) *message.Message {
	resp := message.Reply(m, code, "")
	if resp.To.Tag == "" {
		resp.To.Tag = c.ids.Tag()
	}
	return resp
}

// overloadRetry is what a peer is asked to wait when the gate is full, in seconds.
const overloadRetry = "10"

// overload answers a request that found no room in the table, without keeping state.
func (c *Core) overload(e *transaction.Effect) {
	c.gauges.Overload.Add(1)
	if peer, _, _ := c.cfg.Assembly.Identify(e.Flow); peer == nil || e.Msg.Method == "ACK" {
		return
	}
	resp := c.answerTo(e.Msg, 503)
	resp.Add("Retry-After", overloadRetry)
	c.write(resp, e.Flow)
}

// replyFlow is where the responses to a request go (RFC 3261 §18.2.2, RFC 3581 §4): streams, strangers, phones and
// symmetric peers to the source; others to the source address, and to the source port only where rport asks for it.
func (c *Core) replyFlow(m *message.Message, from nat.Flow) nat.Flow {
	if from.Transport.Reliable() || len(m.Via) == 0 || m.Via[0].RPort >= 0 {
		return from
	}
	peer, _, _ := c.cfg.Assembly.Identify(from)
	if peer == nil || peer.Symmetric || peer.Kind == tu.KindPhone {
		return from
	}
	from.Remote = netip.AddrPortFrom(from.Remote.Addr(), portOr5060(m.Via[0].Port))
	return from
}

// portOr5060 is the port of an address that names none (RFC 3261 §18.2.2, §19.1.2).
func portOr5060(port uint16) uint16 {
	if port == 0 {
		return 5060
	}
	return port
}
