package registrar

import (
	"strconv"
	"strings"

	"sallyport/nat"
	"sallyport/sbc/header"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// outgoing writes the REGISTER for a node.
func (r *Register) outgoing(hop tu.Hop) *message.Message {
	in := r.msg
	m := &message.Message{
		Method: "REGISTER", URI: message.URI{Scheme: "sip", Host: r.set.Domain},
		From: header.RewriteNameAddr(in.From, r.set.Domain), To: header.RewriteNameAddr(in.To, r.set.Domain),
		CallID: r.names.callID, CSeq: in.CSeq, MaxForwards: 70,
		Headers: make([]message.Header, 0, len(in.Headers)+1),
	}
	if in.MaxForwards >= 0 {
		m.MaxForwards = in.MaxForwards - 1
	}
	m.From.Tag = r.names.tag
	switch {
	case r.wish.star:
		m.Add("Contact", "*")
	default:
		for i := range r.wish.list {
			if a := &r.wish.list[i]; !a.yields {
				explicit := a.explicit || r.set.Inside > 0 && !a.removal()
				m.Headers = append(m.Headers, message.Header{Name: "Contact", Value: a.towardsPBX(&hop.Here, explicit, r.set.asks(a))})
			}
		}
	}
	header.Copy(header.PhoneToPBX, in, m, header.Hosts{
		RequestURI: r.set.Domain, From: r.set.Domain, To: r.set.Domain, Identity: r.set.Domain,
	})
	r.cleanExpires(m)
	header.Finish(r.peer, hop.Peer, in, m)
	return m
}

// cleanExpires replaces an Expires that cannot be read by what it is taken for: PBX and gate shall not read it differently. A
// lifetime is the one that the gate asks for.
func (r *Register) cleanExpires(m *message.Message) {
	for i := range m.Headers {
		if h := &m.Headers[i]; h.Name == "Expires" {
			if h.Value = r.wish.expires; r.set.Inside > 0 && h.Value != "0" {
				h.Value = strconv.FormatUint(uint64(r.set.asks(&asked{expires: 1})), 10)
			}
		}
	}
}

// towardsPBX is our Contact in the place of the phone's: its token at our address as the node sees it, with those of the
// phone's parameters that say what it is and wants.
func (a *asked) towardsPBX(here *tu.Local, explicit bool, expires uint32) string {
	v := make([]byte, 0, 160)
	v = append(append(v, "<sip:"...), a.token...)
	v = append(v, '@')
	if at := here.Signal; at.Addr().Is6() {
		v = append(at.Addr().AppendTo(append(v, '[')), ']')
		v = strconv.AppendUint(append(v, ':'), uint64(at.Port()), 10)
	} else {
		v = at.AppendTo(v)
	}
	if here.Transport != nat.UDP {
		v = append(append(v, ";transport="...), here.Transport.Param()...)
	}
	v = append(v, '>')
	if a.q != "" {
		v = append(append(v, ";q="...), a.q...)
	}
	if explicit {
		v = strconv.AppendUint(append(v, ";expires="...), uint64(expires), 10)
	}
	for p := range params(a.contact.Params) {
		if name, _, _ := strings.Cut(p, "="); passes(name) {
			v = append(append(v, ';'), p...)
		}
	}
	return string(v)
}

// passes tells the parameters of a Contact that mean something to the PBX: what the phone is (RFC 3840 feature tags,
// +sip.instance). What concerns the way to the phone (reg-id and ob of RFC 5626, pub-gruu, received, …) is between the phone
// and us.
func passes(name string) bool {
	name = strings.TrimSpace(name)
	if strings.HasPrefix(name, "+") {
		return true
	}
	switch strings.ToLower(name) {
	case "methods", "audio", "video", "text", "application", "data", "control", "automata", "class", "duplex", "mobility",
		"description", "events", "priority", "languages", "type", "schemes", "extensions", "actor", "isfocus":
		return true
	}
	return false
}

// notice keeps what the request shows of the outside, so that nothing of it goes in.
func (r *Register) notice() {
	s, m := &r.brought, r.msg
	s.Hosts, s.IDs, s.Addrs = r.room.hosts[:0], r.room.ids[:0], r.room.addrs[:0]
	s.AddID(m.CallID)
	s.AddID(m.From.Tag)
	s.AddAddr(r.source)
	for i := range m.Via {
		s.AddHost(m.Via[i].Host)
		s.AddID(m.Via[i].Branch)
	}
	for i := range r.wish.list {
		s.AddHost(r.wish.list[i].contact.URI.Host)
	}
}
