package demo

import (
	"cmp"
	"net/netip"
	"time"

	"sallyport/sbc/message"
	"sallyport/sbc/scan"
	"sallyport/sbc/transaction"
)

func (a *Agent) receive(b []byte, from netip.AddrPort) {
	if a.Trace != nil {
		a.Trace(false, from, b)
	}
	var v scan.View
	if scan.Scan(b, &v) != nil {
		return
	}
	m, err := message.Parse(b, &v)
	if err != nil {
		return
	}
	m.SetSource(from)
	f := a.flow(from)
	if m.IsRequest() {
		a.apply(a.table.Request(a.now, m, f, f, nil))
	} else {
		a.apply(a.table.Response(a.now, m, f, nil))
	}
}

// apply does what the transaction table asks for.
func (a *Agent) apply(effects []transaction.Effect) {
	for i := range effects {
		e := &effects[i]
		switch e.Kind {
		case transaction.Transmit:
			a.write(e.Bytes, e.Flow.Remote)
		case transaction.NewRequest:
			a.request(e)
		case transaction.Cancelled:
			a.call(e.User, func(c *Call) { c.cancelled() })
		case transaction.AckFor2xx:
			a.call(e.User, func(c *Call) { c.acked(e.Msg) })
		case transaction.NotAcked:
			a.call(e.User, func(c *Call) { c.unacked() })
		case transaction.Response, transaction.Provisional:
			a.answered(e.User, e.Ref, e.Msg)
		case transaction.Timeout, transaction.Failed, transaction.Lost:
			a.answered(e.User, e.Ref, nil)
		case transaction.StrayAck, transaction.Full, transaction.LateAnswer:
			// Nothing an agent on a quiet network would act on.
		}
	}
}

func (a *Agent) call(id uint64, f func(*Call)) {
	if c := a.calls[id]; c != nil {
		f(c)
	}
}

// answered passes a response on; nil: none comes.
func (a *Agent) answered(id uint64, ref uint32, m *message.Message) {
	if heard := a.asks[id]; heard != nil && (m == nil || m.Status >= 200) {
		delete(a.asks, id)
		heard(m)
		return
	}
	a.call(id, func(c *Call) {
		if m == nil {
			c.failed(ref)
		} else {
			c.response(ref, m)
		}
	})
}

func (a *Agent) write(b []byte, to netip.AddrPort) {
	if a.Trace != nil {
		a.Trace(true, to, b)
	}
	_, _ = a.conn.WriteToUDPAddrPort(b, to) // a lost datagram is repeated by its transaction
}

// request takes a request that opened a server transaction.
func (a *Agent) request(e *transaction.Effect) {
	m := e.Msg
	c := a.tags[m.To.Tag]
	if m.To.Tag != "" && c != nil && c.dlg.CallID == m.CallID {
		a.table.Own(e.ID, c.id, "")
		c.request(e.ID, m)
		return
	}
	if resp := a.outside(m); resp != nil {
		if resp.To.Tag == "" {
			resp.To.Tag = a.ids.Tag()
		}
		a.respond(e.ID, resp)
		return
	}
	script := Script{Answer: 10 * time.Millisecond}
	if a.Incoming != nil {
		script = a.Incoming(m)
	}
	c = a.newCall(script)
	a.table.Own(e.ID, c.id, c.tag)
	c.incoming(e.ID, m, e.Flow.Remote)
}

// outside is the answer to a request outside calls; nil: it is an INVITE to be served.
func (a *Agent) outside(m *message.Message) *message.Message {
	first := m.To.Tag == ""
	switch {
	case first && m.Method == "REGISTER" && a.Registrar != nil:
		return a.Registrar.register(a, m)
	case first && m.Method == "INVITE" && a.Registrar != nil:
		return a.Registrar.admit(a, m)
	case first && m.Method == "INVITE":
		return nil
	}
	if a.Outside != nil {
		if resp := a.Outside(m); resp != nil {
			return resp
		}
	}
	if first {
		return message.Reply(m, 200, "")
	}
	return message.Reply(m, 481, "")
}

func (a *Agent) respond(id transaction.ID, m *message.Message) {
	effects, err := a.table.Respond(a.now, id, m, nil)
	if err == nil {
		a.apply(effects)
	}
}

// send opens a client transaction for a call.
func (a *Agent) send(c *Call, ref uint32, m *message.Message, to netip.AddrPort) {
	a.open(c.id, ref, m, to)
}

// open opens a client transaction.
func (a *Agent) open(user uint64, ref uint32, m *message.Message, to netip.AddrPort) {
	m.Via = []message.Via{a.via()}
	effects, err := a.table.Send(a.now, user, ref, m, a.flow(to), nil)
	if err == nil {
		a.apply(effects)
	}
}

func (a *Agent) via() message.Via {
	return message.Via{Transport: a.transport.Via(), Host: a.Addr.Addr().String(), Port: a.Addr.Port(), Branch: a.ids.Branch()}
}

// Ask sends a request outside calls, without Via, to an address; heard gets its final response, or nil where none comes. It
// must run on the agent's goroutine.
func (a *Agent) Ask(m *message.Message, to netip.AddrPort, heard func(*message.Message)) {
	a.lastID++
	a.asks[a.lastID] = heard
	a.open(a.lastID, 1, m, to)
}

// Request is a request outside calls from the agent's own address-of-record, for Ask. It must run on the agent's goroutine.
func (a *Agent) Request(method string, uri message.URI, to message.NameAddr) *message.Message {
	return &message.Message{
		Method: method, URI: uri, CallID: a.ids.CallID() + "@" + a.Addr.Addr().String(), CSeq: 1, MaxForwards: 70,
		From: message.NameAddr{URI: a.own(), Tag: a.ids.Tag()}, To: to,
		Headers: []message.Header{{Name: "User-Agent", Value: product + a.Name}},
	}
}

// product begins every User-Agent.
const product = "Sallyport demo "

func (a *Agent) number() string { return cmp.Or(a.Number, a.Name) }

// own is its address-of-record.
func (a *Agent) own() message.URI { return a.uri(a.number(), a.Addr) }

// uri is a number as the agent names it: in its domain, or at an address.
func (a *Agent) uri(user string, at netip.AddrPort) message.URI {
	if a.Domain != "" {
		return message.URI{Scheme: "sip", User: user, Host: a.Domain}
	}
	return sipURI(user, at)
}

func sipURI(user string, at netip.AddrPort) message.URI {
	return message.URI{Scheme: "sip", User: user, Host: at.Addr().String(), Port: at.Port()}
}

// contact is where it says that it can be reached.
func (a *Agent) contact() message.NameAddr {
	u := sipURI(a.number(), a.Addr)
	if a.transport.Reliable() {
		u.Params = ";transport=" + a.transport.Param()
	}
	return message.NameAddr{URI: u}
}
