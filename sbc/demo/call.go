package demo

import (
	"net/netip"
	"time"

	"sallyport/sbc/dialog"
	"sallyport/sbc/message"
	"sallyport/sbc/transaction"
)

// Script is what an agent does in one call. Times count from the step before; a negative time means never.
type Script struct {
	// As callee.
	Ring   time.Duration // 180 so long after the INVITE; 0: no 180
	Early  []byte        // SDP of a 183 instead of the 180
	Answer time.Duration // 200 so long after that
	Refuse int           // final code instead of the 200
	// As caller.
	Cancel time.Duration // CANCEL so long after the INVITE; 0: none
	// As either.
	SDP      []byte        // offer or answer; nil as caller: a delayed offer
	Reinvite time.Duration // re-INVITE so long after the ACK; 0: none
	Hold     []byte        // its SDP
	Hangup   time.Duration // BYE so long after the ACK; 0: the other side hangs up
	// Done hears the end of the call, on the agent's goroutine.
	Done func(Result)
}

// Result is how a call went for one agent.
type Result struct {
	Code     int    // final code of the INVITE; 0: none came
	Why      string // what ended it
	SDP      []byte // the far side's last SDP
	Progress []int  // provisional codes
}

// References of a call's client transactions.
const (
	refInvite = 1 + iota
	refReinvite
	refBye
)

// Call is one call of an agent.
type Call struct {
	a      *Agent
	id     uint64
	script Script
	tag    string
	peer   netip.AddrPort
	dlg    dialog.Dialog
	up     bool
	ack    *message.Message

	invite *message.Message
	server transaction.ID
	caller bool
	final  bool
	ended  bool
	bye    bool
	result Result
}

func (a *Agent) newCall(s Script) *Call {
	a.lastID++
	c := &Call{a: a, id: a.lastID, script: s, tag: a.ids.Tag()}
	a.calls[c.id] = c
	return c
}

// Call starts a call to a number at an address. It must run on the agent's goroutine (Do).
func (a *Agent) Call(number string, to netip.AddrPort, s Script) *Call {
	c := a.newCall(s)
	c.caller, c.peer = true, to
	m := &message.Message{
		Method: "INVITE", URI: sipURI(number, to), CallID: a.ids.CallID() + "@" + a.Addr.Addr().String(), CSeq: 1, MaxForwards: 70,
		From: message.NameAddr{URI: sipURI(a.Name, a.Addr), Tag: c.tag}, To: message.NameAddr{URI: sipURI(number, to)},
	}
	c.dress(m, s.SDP)
	c.invite = m
	a.send(c, refInvite, m, to)
	if s.Cancel > 0 {
		a.after(s.Cancel, func() {
			if !c.final {
				a.apply(a.table.Cancel(a.now, c.id, refInvite, nil))
			}
		})
	}
	return c
}

func sipURI(user string, at netip.AddrPort) message.URI {
	return message.URI{Scheme: "sip", User: user, Host: at.Addr().String(), Port: at.Port()}
}

func (c *Call) dress(m *message.Message, sdp []byte) {
	contact := message.NameAddr{URI: sipURI(c.a.Name, c.a.Addr)}
	m.Add("Contact", contact.String())
	m.Add("User-Agent", "Sallyport demo "+c.a.Name)
	if len(sdp) > 0 {
		m.Add("Content-Type", "application/sdp")
		m.Body = sdp
	}
}

func (c *Call) owns(m *message.Message) bool {
	return c.dlg.CallID == m.CallID && c.dlg.Local.Tag == m.To.Tag
}

// incoming plays the callee's script.
func (c *Call) incoming(id transaction.ID, m *message.Message, from netip.AddrPort) {
	c.invite, c.server, c.peer = m, id, from
	c.keep(m)
	if d, err := dialog.UAS(m, c.tag); err == nil {
		c.dlg = d
	}
	c.a.respond(id, message.Reply(m, 100, ""))
	ring := func() {
		if c.final {
			return
		}
		code := 180
		if len(c.script.Early) > 0 {
			code = 183
		}
		c.reply(code, c.script.Early)
	}
	if c.script.Ring > 0 || len(c.script.Early) > 0 {
		c.a.after(c.script.Ring, ring)
	}
	if c.script.Answer < 0 {
		return
	}
	c.a.after(c.script.Ring+c.script.Answer, func() {
		if c.final {
			return
		}
		c.final = true
		if c.script.Refuse > 0 {
			c.reply(c.script.Refuse, nil)
			c.finish("refused")
			return
		}
		c.up = true
		c.result.Code = 200
		c.reply(200, c.script.SDP)
	})
}

func (c *Call) reply(code int, sdp []byte) {
	m := message.Reply(c.invite, code, "")
	m.To.Tag = c.tag
	c.dress(m, sdp)
	c.a.respond(c.server, m)
}

func (c *Call) cancelled() {
	if c.final {
		return
	}
	c.final = true
	c.reply(487, nil)
	c.result.Code = 487
	c.finish("cancelled")
}

// acked: the callee's side is up.
func (c *Call) acked(m *message.Message) {
	c.keep(m)
	c.script.Answer = 0
	c.live()
}

// live plays what follows the ACK.
func (c *Call) live() {
	if c.script.Reinvite > 0 {
		c.a.after(c.script.Reinvite, func() {
			if c.up && !c.bye {
				m := c.dlg.Request("INVITE", 0)
				c.dress(m, c.script.Hold)
				c.a.send(c, refReinvite, m, c.peer)
			}
		})
	}
	if c.script.Hangup > 0 {
		c.a.after(c.script.Hangup, c.Hangup)
	}
}

// Hangup sends a BYE. It must run on the agent's goroutine.
func (c *Call) Hangup() {
	if !c.up || c.bye {
		return
	}
	c.bye = true
	c.a.send(c, refBye, c.dlg.Request("BYE", 0), c.peer)
}

// response takes what the far side answers.
func (c *Call) response(ref uint32, m *message.Message) {
	switch {
	case m.Status < 200:
		if ref == refInvite && m.Status > 100 {
			c.result.Progress = append(c.result.Progress, m.Status)
			c.keep(m)
		}
	case ref == refInvite:
		c.inviteAnswered(m)
	case ref == refReinvite && m.Status < 300:
		ack := c.dlg.Request("ACK", m.CSeq)
		c.keep(m)
		c.sendAck(ack)
	case ref == refBye:
		c.finish("BYE sent")
	}
}

func (c *Call) inviteAnswered(m *message.Message) {
	if m.Status >= 300 {
		c.final = true
		c.result.Code = m.Status
		c.finish("refused")
		return
	}
	if c.ack != nil { // a copy
		if m.To.Tag == c.dlg.Remote.Tag {
			c.sendAck(c.ack)
		}
		return
	}
	c.keep(m)
	d, err := dialog.UAC(c.invite, m)
	if err != nil {
		c.finish("no dialog")
		return
	}
	c.dlg, c.final, c.up = d, true, true
	c.result.Code = m.Status
	c.ack = c.dlg.Request("ACK", m.CSeq)
	if len(c.invite.Body) == 0 && len(c.script.Hold) > 0 {
		c.ack.Add("Content-Type", "application/sdp")
		c.ack.Body = c.script.Hold
	}
	c.sendAck(c.ack)
	c.live()
}

func (c *Call) sendAck(ack *message.Message) {
	m := *ack
	m.Via = []message.Via{{
		Transport: "UDP", Host: c.a.Addr.Addr().String(), Port: c.a.Addr.Port(), Branch: c.a.ids.Branch(), RPort: -1,
	}}
	if b, err := m.Append(nil); err == nil {
		c.a.write(b, c.peer)
	}
}

// request takes a request within the dialog.
func (c *Call) request(id transaction.ID, m *message.Message) {
	c.keep(m)
	resp := message.Reply(m, 200, "")
	switch m.Method {
	case "BYE":
		c.a.respond(id, resp)
		if !c.bye {
			c.finish("BYE received")
		}
	case "INVITE", "UPDATE":
		c.dress(resp, c.script.SDP)
		c.a.respond(id, resp)
	default:
		c.a.respond(id, resp)
	}
}

func (c *Call) failed(ref uint32) {
	switch ref {
	case refInvite:
		c.result.Code = 408
		c.finish("no answer")
	case refBye:
		c.finish("BYE unanswered")
	}
}

func (c *Call) keep(m *message.Message) {
	if len(m.Body) > 0 {
		c.result.SDP = m.Body
	}
}

func (c *Call) finish(why string) {
	if c.ended {
		return
	}
	c.ended = true
	c.up = false
	c.result.Why = why
	if c.script.Done != nil {
		c.script.Done(c.result)
	}
	// The dialog is remembered a while: repeats of its last requests must not look like those of a stranger's.
	c.a.after(linger, func() {
		delete(c.a.calls, c.id)
		c.a.apply(c.a.table.Disown(c.a.now, c.id, nil))
	})
}

// linger outlasts 64·T1, in which a peer may repeat itself.
const linger = 33 * time.Second
