package demo

import (
	"cmp"
	"net/netip"
	"slices"
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
	SDP      []byte                    // offer or answer; nil as caller: a delayed offer
	Reply    func(offer []byte) []byte // the answer to an offer (empty: an offer), instead of SDP
	Reinvite time.Duration             // re-INVITE so long after the ACK; 0: none
	Hold     []byte                    // its SDP
	Hangup   time.Duration             // BYE so long after the ACK; 0: the other side hangs up
	// What follows is called on the agent's goroutine.
	Media     func(sdp []byte) // hears each description of the far side
	Up        func(*Call)      // hears that the call stands: the ACK was sent or came
	Reinvited func(code int)   // hears the final answer to a re-INVITE; 0: none came
	Done      func(Result)     // hears the end of the call
}

// Result is how a call went for one agent.
type Result struct {
	Code     int    // final code of the INVITE; 0: none came
	Why      string // what ended it
	SDP      []byte // the far side's last SDP
	Progress []int  // provisional codes
	// Challenges is how many challenges were answered.
	Challenges int
}

// References of a call's client transactions.
const (
	refBye = 1 + iota
	refInvite
	refReinvite = refInvite + maxTries // the first one; each has a number of its own, since answered INVITEs live on for their copies
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

	login  login
	asked  uint32 // reference of the INVITE in progress: a retry with credentials has another
	invite *message.Message
	server transaction.ID
	final  bool   // the INVITE has its final answer
	giving bool   // we sent a CANCEL
	stands bool   // the first ACK was sent or came
	asking bool   // a re-INVITE of ours waits for its answer
	again  uint32 // re-INVITEs sent
	ended  bool
	bye    bool
	result Result
}

func (a *Agent) newCall(s Script) *Call {
	a.lastID++
	c := &Call{a: a, id: a.lastID, script: s, tag: a.ids.Tag(), asked: refInvite}
	a.calls[c.id], a.tags[c.tag] = c, c
	return c
}

// Call starts a call to a number at an address. It must run on the agent's goroutine (Do).
func (a *Agent) Call(number string, to netip.AddrPort, s Script) *Call {
	uri := a.uri(number, to)
	return a.Invite(uri, message.NameAddr{URI: uri}, to, s)
}

// Invite starts a call to a URI, as to somebody, by an address: that of a proxy. It must run on the agent's goroutine.
func (a *Agent) Invite(target message.URI, to message.NameAddr, by netip.AddrPort, s Script) *Call {
	c := a.newCall(s)
	c.peer = by
	m := a.Request("INVITE", target, to)
	m.From.Tag, m.Headers = c.tag, nil
	c.dress(m, s.SDP)
	c.invite = m
	a.send(c, c.asked, m, by)
	if s.Cancel > 0 {
		a.after(s.Cancel, func() {
			if !c.final {
				c.giving = true
				a.apply(a.table.Cancel(a.now, c.id, c.asked, false, "", nil))
			}
		})
	}
	return c
}

func (c *Call) dress(m *message.Message, sdp []byte) {
	m.Add("Contact", c.a.contact().String())
	m.Add("User-Agent", product+c.a.Name)
	if len(sdp) > 0 {
		m.Add("Content-Type", "application/sdp")
		m.Body = sdp
	}
}

// incoming plays the callee's script.
func (c *Call) incoming(id transaction.ID, m *message.Message, from netip.AddrPort) {
	c.invite, c.server, c.peer = m, id, from
	c.keep(m)
	if d, err := dialog.UAS(m, c.tag); err == nil {
		c.dlg = d
	}
	c.a.respond(id, message.Reply(m, 100, ""))
	if c.script.Ring > 0 || len(c.script.Early) > 0 {
		c.a.after(c.script.Ring, c.ring)
	}
	if c.script.Answer >= 0 {
		c.a.after(c.script.Ring+c.script.Answer, c.answer)
	}
}

func (c *Call) ring() {
	switch {
	case c.final:
	case len(c.script.Early) > 0:
		c.reply(183, c.script.Early)
	default:
		c.reply(180, nil)
	}
}

func (c *Call) answer() {
	if c.final {
		return
	}
	c.final = true
	if c.script.Refuse > 0 {
		c.reply(c.script.Refuse, nil)
		c.result.Code = c.script.Refuse
		c.finish("refused")
		return
	}
	c.up = true
	c.result.Code = 200
	c.reply(200, c.description(c.invite.Body))
}

// description is our answer to an offer, or our offer if there is none.
func (c *Call) description(offer []byte) []byte {
	if c.script.Reply != nil {
		return c.script.Reply(offer)
	}
	return c.script.SDP
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

// acked takes an ACK: of the INVITE, or of a re-INVITE of the far side.
func (c *Call) acked(m *message.Message) {
	c.keep(m)
	c.live()
}

// unacked ends a call whose 2xx was never acknowledged (RFC 3261 §13.3.1.4: "the UAS SHOULD … generate a BYE").
func (c *Call) unacked() {
	c.result.Why = "no ACK"
	c.Hangup()
}

// live plays what follows the first ACK.
func (c *Call) live() {
	if c.stands || c.ended {
		return
	}
	c.stands = true
	if c.script.Up != nil {
		c.script.Up(c)
	}
	if c.script.Reinvite > 0 {
		c.a.after(c.script.Reinvite, func() { c.Reinvite(c.script.Hold) })
	}
	if c.script.Hangup > 0 {
		c.a.after(c.script.Hangup, c.Hangup)
	}
}

// Reinvite offers a new description. It must run on the agent's goroutine. It does nothing while the call does not stand
// or an earlier one waits for its answer (RFC 3261 §14.1).
func (c *Call) Reinvite(sdp []byte) {
	if !c.up || c.bye || c.asking {
		return
	}
	c.asking = true
	m := c.dlg.Request("INVITE", 0)
	c.dress(m, sdp)
	c.a.send(c, refReinvite+c.again, m, c.peer)
	c.again++
}

func (c *Call) reinvited(code int) {
	c.asking = false
	if c.script.Reinvited != nil {
		c.script.Reinvited(code)
	}
}

// Hangup sends a BYE. It must run on the agent's goroutine. It does nothing while the call does not stand.
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
		if ref == c.asked && m.Status > 100 {
			c.result.Progress = append(c.result.Progress, m.Status)
			c.keep(m)
		}
	case ref == c.asked:
		if !c.retry(m) {
			c.inviteAnswered(m)
		}
	case ref >= refReinvite:
		if m.Status < 300 {
			ack := c.dlg.Request("ACK", m.CSeq)
			c.keep(m)
			c.sendAck(ack)
		}
		if c.asking && ref == refReinvite+c.again-1 { // no copy
			c.reinvited(m.Status)
		}
	case ref == refBye:
		c.finish("BYE sent")
	}
}

// retry answers a challenge: the same request anew, with credentials and the next number (RFC 3261 §22.2).
func (c *Call) retry(m *message.Message) bool {
	if c.giving || c.asked+1 >= refReinvite || !c.login.challenged(c.a, m) {
		return false
	}
	again := *c.invite
	again.Headers = slices.Clone(c.invite.Headers)
	again.CSeq++
	c.login.sign(c.a, &again)
	c.invite = &again
	c.asked++
	c.result.Challenges++
	c.a.send(c, c.asked, &again, c.peer)
	return true
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
	if c.giving { // the 200 and our CANCEL crossed
		c.result.Why = "answered after CANCEL"
		c.Hangup()
		return
	}
	c.live()
}

func (c *Call) sendAck(ack *message.Message) {
	m := *ack
	m.Via = []message.Via{c.a.via()}
	m.Via[0].RPort = -1
	if b, err := m.Append(nil); err == nil {
		c.a.write(b, c.peer)
	}
}

// request takes a request within the dialog.
func (c *Call) request(id transaction.ID, m *message.Message) {
	resp := message.Reply(m, 200, "")
	switch m.Method {
	case "BYE":
		if !c.bye {
			c.finish("BYE received")
		}
	case "INVITE", "UPDATE":
		if c.asking {
			// RFC 3261 §14.2: "A UAS that receives an INVITE on a dialog while an INVITE it had sent on that dialog is in
			// progress MUST return a 491".
			c.a.respond(id, message.Reply(m, 491, ""))
			return
		}
		c.keep(m)
		if m.Method == "INVITE" || len(m.Body) > 0 {
			c.dress(resp, c.description(m.Body))
		}
	}
	c.a.respond(id, resp)
}

func (c *Call) failed(ref uint32) {
	switch ref {
	case c.asked:
		c.result.Code = 408
		c.finish("no answer")
	case refBye:
		c.finish("BYE unanswered")
	default:
		c.reinvited(0)
	}
}

func (c *Call) keep(m *message.Message) {
	if len(m.Body) > 0 {
		c.result.SDP = m.Body
		if c.script.Media != nil {
			c.script.Media(m.Body)
		}
	}
}

func (c *Call) finish(why string) {
	if c.ended {
		return
	}
	c.ended = true
	c.up = false
	c.result.Why = cmp.Or(c.result.Why, why)
	if c.script.Done != nil {
		c.script.Done(c.result)
	}
	// The dialog is remembered a while: repeats of its last requests must not look like those of a stranger's.
	c.a.after(linger, func() {
		delete(c.a.calls, c.id)
		delete(c.a.tags, c.tag)
		c.a.apply(c.a.table.Disown(c.a.now, c.id, nil))
	})
}

// linger outlasts 64·T1, in which a peer may repeat itself.
const linger = 33 * time.Second
