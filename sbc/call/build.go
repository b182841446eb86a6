package call

import (
	"net/netip"
	"slices"
	"strconv"
	"time"

	"sallyport/media/sdp"
	"sallyport/nat"
	"sallyport/sbc/dialog"
	"sallyport/sbc/header"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// hostsFor are the hosts that a message in a direction bears (BEHAVIOUR: realms and host parts).
func hostsFor(dir header.Direction, hop tu.Hop) header.Hosts {
	own := hop.Here.Signal.String()
	h := header.Hosts{RequestURI: hop.Peer.Host, To: hop.Peer.Host, From: own}
	switch dir {
	case header.TrunkToPBX:
		// "our inside trunks address (never pbx.domain: PBXes challenge their own domain)".
	case header.PBXToTrunk:
		if hop.Peer.Domain != "" {
			h.From = hop.Peer.Domain
		}
	default:
		h.From = hop.Peer.Domain
	}
	h.Identity = h.From
	return h
}

// hosts are those of a message from one leg to the other, with what a phone may send besides the table.
func (c *Call) hosts(from int) (header.Direction, header.Hosts) {
	dir := c.direction(from)
	h := hostsFor(dir, c.legs[1-from].hop)
	h.Trusted = c.legs[from].peer.Trusted
	return dir, h
}

// contactUser is the user part of our Contact for a URI that stands in Request-URI, From or To.
func contactUser(u message.URI) string {
	if u.Scheme == "sip" || u.Scheme == "sips" {
		return u.User
	}
	return "" // a urn has none
}

// contact is our Contact towards a leg: the number it knows, at our address as it sees it.
func (c *Call) contact(to int) message.Header {
	l := &c.legs[to]
	u := message.URI{Scheme: "sip", User: l.user, Host: l.hop.Here.Signal.Addr().String(), Port: l.hop.Here.Signal.Port()}
	switch t := l.hop.Here.Transport; {
	case t == nat.TLS && l.secure:
		// "If the request that initiated the dialog contained a SIPS URI in the Request-URI … or the Contact …, the
		// Contact … MUST be a SIPS URI" (RFC 3261 §12.1.1), which means TLS by itself.
		u.Scheme = "sips"
	case t != nat.UDP:
		u.Params = ";transport=" + t.String()
	}
	n := message.NameAddr{URI: u}
	return message.Header{Name: "Contact", Value: n.String()}
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

// carriesContact: RFC 3261 §20.10 and table 2; RFC 3311 §8.
func carriesContact(method string) bool {
	switch method {
	case "INVITE", "UPDATE", "NOTIFY":
		return true
	default:
		return false
	}
}

// forwards is the Max-Forwards of the other leg: absent is fine, else one less (RFC 7332 §4).
func forwards(m *message.Message) int {
	if m.MaxForwards < 0 {
		return 70
	}
	return max(0, m.MaxForwards-1)
}

// answer sends a response of our own within a dialog.
func (c *Call) answer(from int, tx tu.TxID, req *message.Message, code int, do []tu.Action, extra ...message.Header) []tu.Action {
	m := message.Reply(req, code, "")
	m.Headers = append(m.Headers, extra...)
	return c.respond(from, tx, m, do)
}

// respond sends a response to a leg.
func (c *Call) respond(to int, tx tu.TxID, m *message.Message, do []tu.Action) []tu.Action {
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
	if far.Status >= 200 && far.Status < 300 {
		capable(m)
	}
	return m
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
	hop.Flow = nextHop(hop, d)
	return hop
}

// nextHop is the flow of RFC 3261 §12.2.1.1: the first route, else the remote target. It must lie within the peer's
// addresses, else the flow of the set-up is used: nobody can send our requests elsewhere by a Contact.
func nextHop(hop tu.Hop, d *dialog.Dialog) nat.Flow {
	if hop.Peer.Kind == tu.KindPhone {
		return hop.Flow // its Contact is an address of its own network, or none at all
	}
	uri := d.NextHop()
	addr, err := netip.ParseAddr(uri.Host)
	if err != nil {
		return hop.Flow
	}
	port := uri.Port
	switch {
	case port != 0:
	case hop.Flow.Transport == nat.TLS:
		port = 5061 // RFC 3261 §19.1.2
	default:
		port = 5060
	}
	to := netip.AddrPortFrom(addr.Unmap(), port)
	if slices.Contains(hop.Peer.Never, to) {
		return hop.Flow // it would come back to us (RFC 3261 §16.3)
	}
	for _, p := range hop.Peer.Reach {
		if p.Contains(to.Addr()) {
			// Over a stream: by a connection to there, if need be a new one. The one that the set-up came by leads to a
			// port that only its owner could have opened.
			hop.Flow.Remote, hop.Flow.Conn = to, 0
			break
		}
	}
	return hop.Flow
}

// notice keeps what a message of this leg shows of its side, so that the other leg never does.
func (l *leg) notice(m *message.Message, source netip.Addr) {
	s := &l.brought
	s.AddID(m.CallID)
	s.AddID(m.From.Tag)
	s.AddID(m.To.Tag)
	s.AddAddr(source.Unmap())
	if m.IsRequest() {
		for i := range m.Via {
			s.AddHost(m.Via[i].Host)
			if m.To.Tag == "" { // of the INVITE; a call has too many of them to note all
				s.AddID(m.Via[i].Branch)
			}
		}
	}
	if list, star, err := m.Contacts(); err == nil && !star {
		for i := range list {
			s.AddHost(list[i].URI.Host)
		}
	}
	if list, err := m.NameAddrs("Record-Route"); err == nil {
		for i := range list {
			s.AddHost(list[i].URI.Host)
		}
	}
}

func seconds(d time.Duration) string { return strconv.Itoa(int(d / time.Second)) }
