package call

import (
	"net/netip"
	"slices"
	"strconv"
	"time"

	"sallyport/media/sdp"
	"sallyport/sbc/dialog"
	"sallyport/sbc/header"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// contact is our Contact towards a leg.
func (c *Call) contact(to int) message.Header {
	l := &c.legs[to]
	return header.Contact(l.hop, l.user, l.secure)
}

// dress gives a request the fields that are ours on every leg.
func (c *Call) dress(m *message.Message, to int) {
	if carriesContact(m.Method) {
		m.Headers = append(m.Headers, c.contact(to))
	}
}

// capable adds our Allow where the far side gave none: "Allow … SHOULD be present in the INVITE" and in its 2xx (RFC 3261
// §13.2.1, §13.3.1.4).
func capable(m *message.Message) {
	if _, said := m.Get("Allow"); !said && (m.Method == "INVITE" || m.Method == "UPDATE") {
		m.Add("Allow", allow)
	}
}

// carriesContact: RFC 3261 §20.10 and table 2; RFC 3311 §8; RFC 3515 §2.2.
func carriesContact(method string) bool {
	switch method {
	case "INVITE", "UPDATE", "NOTIFY", "REFER":
		return true
	default:
		return false
	}
}

// answer sends a response of our own within a dialog.
func (c *Call) answer(from int, tx tu.TxID, req *message.Message, code int, do []tu.Action, extra ...message.Header) []tu.Action {
	m := message.Reply(req, code, "")
	m.Headers = append(m.Headers, extra...)
	c.lastHand(from, nil, m)
	return c.respond(from, tx, m, do)
}

// respond sends a response to a leg.
func (c *Call) respond(to int, tx tu.TxID, m *message.Message, do []tu.Action) []tu.Action {
	c.answerTimer(to, m)
	if l := &c.legs[to]; m.Status < 300 && negotiates(m.Method) && !c.bids(tx) {
		l.order(m, l.asked)
	}
	return append(do, tu.Respond{Tx: tx, Side: c.legs[to].peer.Side, Msg: m, Hide: &c.legs[1-to].brought})
}

// relayed makes of the far leg's response the near leg's, without body: status, phrase, and the fields that may pass.
func (c *Call) relayed(far, req *message.Message, from int) *message.Message {
	near := 1 - from
	m := message.Reply(req, far.Status, far.Reason)
	m.Headers = slices.Grow(m.Headers, len(far.Headers)+3)
	dir, hosts := c.hosts(from)
	header.Copy(dir, far, m, hosts)
	if far.Status < 300 {
		c.dress(m, near)
	}
	c.conditions(far, m)
	if far.Status >= 200 && far.Status < 300 {
		capable(m)
	}
	c.lastHand(near, far, m)
	return m
}

// lastHand is the last hand on a message to a leg. in is what it was made of; nil: it is our own. What is added to it afterwards,
// body, Contact and tag, no rule can name.
func (c *Call) lastHand(to int, in, out *message.Message) {
	header.Finish(c.legs[1-to].peer, c.legs[to].peer, in, out)
}

// copyBody passes a body that is no offer or answer: INFO, MESSAGE, NOTIFY and the like carry text that is not ours to edit.
func copyBody(out, in *message.Message) {
	if len(in.Body) == 0 {
		return
	}
	body, ok := mute(contentType(in), in.Body)
	if !ok {
		return
	}
	out.Body = body
	out.Set("Content-Type", contentType(in))
}

// mute takes addresses and ports out of session descriptions that are no offer or answer, as in the 200 to an OPTIONS: they
// say what a peer can do, not where (RFC 3264 §9). One that cannot be read does not pass, nor a body of no type.
func mute(kind string, body []byte) ([]byte, bool) {
	if kind == "" {
		return nil, false
	}
	out, done := []byte(nil), 0
	for start, end := range sdp.Parts(kind, body) {
		s, err := sdp.Parse(body[start:end])
		if err != nil {
			return nil, false
		}
		for i := range s.Len() {
			s.Reject(i)
		}
		s.DropTransports()
		s.DropCandidates()
		s.SetOrigin("-", 1, 1, netip.IPv4Unspecified())
		out = append(append(out, body[done:start]...), s.Bytes()...)
		done = end
	}
	if done == 0 {
		return body, true
	}
	return append(out, body[done:]...), true
}

// hopOf is where a request of a dialog with a leg goes now.
func (c *Call) hopOf(to int, d *dialog.Dialog) tu.Hop {
	hop := c.legs[to].hop
	hop.Flow = hop.Toward(d.NextHop())
	return hop
}

func seconds(d time.Duration) string { return strconv.Itoa(int(d / time.Second)) }

// hosts are the way of a message of a leg, and the hosts that it bears towards the other one.
func (c *Call) hosts(from int) (header.Direction, header.Hosts) {
	dir := header.DirectionOf(c.legs[from].peer, c.legs[1-from].peer)
	return dir, header.HostsFor(dir, c.legs[from].peer, c.legs[1-from].hop)
}
