package call

import (
	"errors"
	"fmt"
	"net/netip"

	"sallyport/media/sdp"
	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// mediaState is what stands between a leg's peer and us: what it has said last, what it was told last.
type mediaState struct {
	in      []byte // its last SDP in force, as it came
	out     []byte // the last SDP it was told
	session uint64 // our o= id towards it
	version uint64 // and version (RFC 3264 §8)
	epoch   uint32 // counts its descriptions: a new one permits a new latch
	aims    []tu.Aim
	early   []netip.Prefix // addresses of all its early dialogs, until the answer
}

// sdpKind tells offers from answers.
type sdpKind uint8

const (
	offerSDP sdpKind = iota
	answerSDP
)

// proposal is one leg's description, edited for the other: not in force until it is accepted.
type proposal struct {
	empty   bool   // there was no description
	in, out []byte // as it came, as the other leg gets it
	body    []byte // the whole body around out, if it had several parts
	version uint64
	session uint64
	aims    []tu.Aim // where the leg that sent it wants its media
}

// into puts the body that the other leg gets into a message.
func (p *proposal) into(out, from *message.Message) {
	if p.empty {
		copyBody(out, from)
		return
	}
	out.Body = p.body
	out.Set("Content-Type", contentType(from))
}

// propose puts in force what the leg's peer said.
func (s *mediaState) propose(p proposal) {
	if p.empty {
		return
	}
	if !sameBody(s.in, p.in) {
		s.epoch++
	}
	s.in, s.aims = p.in, p.aims
}

// told puts in force what the leg's peer was told.
func (s *mediaState) told(p proposal) {
	if p.empty {
		return
	}
	s.out, s.session, s.version = p.out, p.session, p.version
}

// errMedia ends an offer or a call: its own code and reason.
type errMedia struct {
	code int
	why  reason.Reason
	text string
}

func (e *errMedia) Error() string { return e.text }

// verdict is the SIP code and reason of an error.
func verdict(err error) (int, reason.Reason) {
	if e, ok := errors.AsType[*errMedia](err); ok {
		return e.code, e.why
	}
	return 500, reason.Internal
}

func sdpOf(m *message.Message) []byte {
	from, to, ok := sdp.FindSDP(contentType(m), m.Body)
	if !ok {
		return nil
	}
	return m.Body[from:to]
}

// edit reads the description that one leg sent and writes what the other leg gets: our addresses, our ports, our origin.
// Nothing is in force yet.
func (c *Call) edit(from int, m *message.Message, kind sdpKind) (proposal, error) {
	start, end, ok := sdp.FindSDP(contentType(m), m.Body)
	if !ok {
		return proposal{empty: true}, nil
	}
	raw := m.Body[start:end]
	s, err := sdp.Parse(raw)
	if err != nil {
		return proposal{}, &errMedia{code: 488, why: reason.Malformed, text: "SDP: " + err.Error()}
	}
	to := &c.legs[1-from]
	p := proposal{in: raw}
	for i := range s.Len() {
		if i >= len(c.streams) {
			s.Reject(i)
			continue
		}
		line := s.At(i)
		aim, err := c.aim(from, &line)
		if err != nil {
			return proposal{}, err
		}
		p.aims = append(p.aims, aim)
		port := c.streams[i].At(to.peer.Side).Port()
		if line.Rejected() || !line.Datagram() {
			s.Reject(i)
			continue
		}
		s.SetMedia(i, to.hop.Here.Media, port, port+1)
	}
	s.DropCandidates()
	p.session, p.version = to.media.session, to.media.version
	if p.session == 0 {
		p.session, p.version = uint64(c.ids.Number()), 1
		to.media.session, to.media.version = p.session, p.version
	}
	s.SetOrigin("-", p.session, p.version, to.hop.Here.Media)
	if out := s.Bytes(); len(to.media.out) > 0 && !sdp.Equal(out, to.media.out) {
		// "the version in the o= line MUST increment by one from the previous" where the description differs (RFC 3264
		// §8).
		p.version++
		s.SetOrigin("-", p.session, p.version, to.hop.Here.Media)
	}
	p.out = s.Bytes()
	p.body = rebuild(m.Body, start, end, p.out)
	return p, nil
}

func rebuild(body []byte, start, end int, part []byte) []byte {
	if start == 0 && end == len(body) {
		return part
	}
	out := make([]byte, 0, len(body)-(end-start)+len(part))
	out = append(append(out, body[:start]...), part...)
	return append(out, body[end:]...)
}

// aim is the relay's wanted state for one leg of a stream, from what the leg's peer says of it.
func (c *Call) aim(from int, line *sdp.Media) (tu.Aim, error) {
	l := &c.legs[from]
	a := tu.Aim{
		Latch: l.peer.Media.Latch, Sources: append(l.media.early[:len(l.media.early):len(l.media.early)], l.peer.Media.Sources...),
		Payloads: tu.Payloads(line.Payloads), Mux: line.Mux, Opaque: !line.IsRTP(),
		Timeout: l.peer.Media.Timeout, Hold: l.peer.Media.Hold, Epoch: l.media.epoch + 1,
		Fallback: l.hop.Flow.Remote.Addr().Unmap(),
	}
	if line.Rejected() || !line.Datagram() {
		return a, nil
	}
	if line.Hold() {
		a.Receive = line.Direction.Sends()
		return a, nil
	}
	a.Send, a.Receive = line.Direction.Receives(), line.Direction.Sends()
	if !line.Addr.IsValid() {
		return a, &errMedia{code: 488, why: reason.MediaForbidden, text: fmt.Sprintf("SDP: %q is no address literal", line.Host)}
	}
	if why, bad := c.set.forbidden(l, line.Addr); bad {
		return a, &errMedia{code: 488, why: reason.MediaForbidden, text: "SDP: " + why}
	}
	if c.set.alien(l, line.Addr) {
		// No destination and no error: the signalling address with the SDP's port, until the latch.
		a.RTP = netip.AddrPortFrom(netip.Addr{}, line.Port)
		return a, nil
	}
	a.RTP = netip.AddrPortFrom(line.Addr, line.Port)
	a.RTCP = line.RTCP
	return a, nil
}

// forbidden judges a media address that a leg's peer named.
func (s *Settings) forbidden(l *leg, addr netip.Addr) (why string, bad bool) {
	return nat.ForbiddenDestination(addr, s.Destinations[l.peer.Side])
}

// alien reports whether an outside address cannot be where the peer really is: with a latch anything unlike the
// signalling source, without one only what is private to some network.
func (s *Settings) alien(l *leg, addr netip.Addr) bool {
	source := l.hop.Flow.Remote.Addr()
	switch {
	case l.peer.Side == nat.Inside:
		return false
	case l.peer.Media.Latch == tu.LatchOff:
		return nat.Unroutable(addr, source, s.Internal)
	default:
		return nat.Alien(addr, source, s.Internal)
	}
}

// points are the relay commands that put a proposal's aims in force for the leg that sent it.
func (p *proposal) points(c *Call, from int) []tu.Action {
	do := make([]tu.Action, 0, len(p.aims))
	for i, a := range p.aims {
		do = append(do, tu.Point{Stream: i, Side: c.legs[from].peer.Side, Aim: a})
	}
	return do
}

// settle points both legs after an answer: payload types are those that either side named, for each may send what the
// other listed.
func (c *Call) settle(final bool, do []tu.Action) []tu.Action {
	a, b := c.legs[caller].media.aims, c.legs[callee].media.aims
	for i := range min(len(a), len(b)) {
		x, y := a[i], b[i]
		both := tu.Payloads{x.Payloads[0] | y.Payloads[0], x.Payloads[1] | y.Payloads[1]}
		x.Payloads, y.Payloads = both, both
		x.Final, y.Final = final, final
		do = append(do,
			tu.Point{Stream: i, Side: c.legs[caller].peer.Side, Aim: x},
			tu.Point{Stream: i, Side: c.legs[callee].peer.Side, Aim: y})
	}
	return do
}

// settleEarly puts the description of a provisional answer in force: the last one feeds, and until the 2xx media may
// come from all early dialogs.
func (c *Call) settleEarly(p proposal, do []tu.Action) []tu.Action {
	if p.empty {
		return do
	}
	b := &c.legs[callee].media
	for _, a := range p.aims {
		if addr := a.RTP.Addr(); addr.IsValid() && len(b.early) < maxEarly {
			b.early = append(b.early, netip.PrefixFrom(addr, addr.BitLen()))
		}
	}
	b.propose(p)
	c.legs[caller].media.told(p)
	if len(c.invite.Body) > 0 {
		return c.settle(false, do)
	}
	return append(do, p.points(c, callee)...)
}

// declineOffer gives an ACK the answer that declines every stream of an offer.
func declineOffer(ack *message.Message, offer []byte) {
	if len(offer) == 0 {
		return
	}
	s, err := sdp.Parse(offer)
	if err != nil {
		return
	}
	s.RejectAll()
	s.SetOrigin("-", 1, 1, netip.IPv4Unspecified())
	ack.Body = s.Bytes()
	ack.Set("Content-Type", "application/sdp")
}
