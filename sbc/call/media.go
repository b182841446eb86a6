package call

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"sallyport/media/sdp"
	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// mediaState is what stands between a leg's peer and us: what it has said last, what it was told last.
type mediaState struct {
	in    []byte         // its last SDP in force, as it came
	out   []byte         // the last SDP it was told that is in force
	aims  []tu.Aim       // where it wants its media, by in
	epoch uint32         // counts its descriptions: a new one permits a new latch
	early []netip.Prefix // addresses of all its early dialogs, until the answer
	bid   bool           // in is an offer of its own, made within the call, so that its directions are what it wants

	formats []formats // the payload types of in
	books   []book    // every number that it knows, by stream

	seals []seal     // of in: how its streams are protected
	voice []seal     // how streams were when they were RTP last, those that are not now
	own   [][]ownKey // our keys towards it, by stream

	other uint32 // a bit for each stream that hears of us in the other family than the leg's signalling

	session uint64 // our o= id towards it
	spoken
}

// proposal is one leg's description, edited for the other: not in force until it is accepted.
type proposal struct {
	in, out []byte // as it came, as the other leg gets it
	body    []byte // the whole body around out, if it had several parts
	aims    []tu.Aim
	formats []formats
	seals   []seal
	places  []int // where the m= lines stood, as it came; nil: as they stand in in
}

// empty reports whether there was no description.
func (p *proposal) empty() bool { return len(p.in) == 0 }

// into puts the body that the other leg gets into a message.
func (p *proposal) into(out, from *message.Message) {
	if p.empty() {
		copyBody(out, from)
		return
	}
	out.Body = p.body
	out.Add("Content-Type", contentType(from))
}

// adopt puts a proposal in force: what one leg said, and what the other was told.
func (c *Call) adopt(from int, p proposal) {
	if p.empty() {
		return
	}
	l := &c.legs[from].media
	c.legs[from].places = p.places
	if !bytes.Equal(l.in, p.in) {
		l.epoch++
	}
	for i := range p.aims {
		p.aims[i].Epoch = l.epoch
	}
	l.keepVoice(p.seals)
	l.retire(p.seals)
	l.in, l.aims, l.formats, l.seals, l.bid = p.in, p.aims, p.formats, p.seals, false
	for i := range p.formats {
		l.book(i).learn(p.formats[i].said, true)
	}
	c.legs[1-from].media.out = p.out
}

// errMedia ends an offer or a call: its own code and reason.
type errMedia struct {
	code int
	why  reason.Reason
	text string
	tell string // what the peer that is refused may know of it; empty: nothing
	warn int    // the code of the Warning that tells it; 0: 399, for a person to read
	hop  bool   // a matter of the hop that it would go to: another one may take it
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
	if len(m.Body) == 0 {
		return nil
	}
	from, to, ok := sdp.FindSDP(contentType(m), m.Body)
	if !ok {
		return nil
	}
	return m.Body[from:to]
}

// described reports whether a message has a session description.
func described(m *message.Message) bool { return len(sdpOf(m)) > 0 }

// edit reads the description that one leg sent and writes what the other leg gets: our addresses, our ports, our origin.
// Nothing is in force yet, but what it returns must be sent: the version of the next description counts from it.
func (c *Call) edit(from int, m *message.Message) (proposal, error) {
	return c.describe(from, m, nil)
}

// editAnswer is edit for an answer to that offer.
func (c *Call) editAnswer(from int, m *message.Message, offer *proposal) (proposal, error) {
	p, err := c.describe(from, m, offer)
	if err == nil && strange(p.formats, offer.formats) {
		return proposal{}, errNoCodec
	}
	return p, err
}

// editCallee is edit for what the callee says of the INVITE in a pair, -1 for none: an answer, if the INVITE had an offer.
func (c *Call) editCallee(i int, m *message.Message) (proposal, error) {
	if c.offered {
		return c.editAnswer(callee, m, c.askedIn(i))
	}
	return c.edit(callee, m)
}

// describe is edit; of an offer, offer is nil.
func (c *Call) describe(from int, m *message.Message, offer *proposal) (proposal, error) {
	answer := c.answering(from, m)
	return c.describeAs(from, m, offer, stance{read: answer, write: answer})
}

// stance tells whether a description is read as an answer, and whether it is written as one. Mostly it is both or neither.
type stance struct{ read, write bool }

// describeAs is describe, of a description whose part in offer and answer is known.
func (c *Call) describeAs(from int, m *message.Message, offer *proposal, as stance) (proposal, error) {
	p := proposal{}
	if as.read && offer != nil && described(m) {
		var lost bool
		if m, p.places, lost = answerTo(m, offer.out); lost && c.won < 0 {
			return proposal{}, errNoStream
		}
	}
	raw := sdpOf(m)
	if len(raw) == 0 {
		return proposal{}, nil
	}
	s, err := sdp.Parse(raw)
	if err != nil {
		return proposal{}, &errMedia{code: 488, why: reason.Malformed, text: "SDP: " + err.Error()}
	}
	to := &c.legs[1-from]
	p.in = raw
	if !c.conditional {
		s.DropPreconditions()
	}
	if !as.read {
		c.choose(from, s)
	}
	if err := c.restrict(from, s, as.write); err != nil {
		return proposal{}, err
	}
	if p.aims, err = c.aims(from, s, func(i int) bool { return c.checks(from, i, s, as.read) }); err != nil {
		return proposal{}, err
	}
	if err := c.unseal(from, s, as.read, &p); err != nil {
		return proposal{}, err
	}
	c.unplace(s, &p)
	if as.write {
		c.untell(from, s)
	}
	c.relayLines(from, s, &p, offer)
	told := c.sealFor(1-from, s, as.write, &p)
	s.DropCandidates()
	c.transports(1-from, s, as.write, told, &p)
	p.out = c.sign(to, s)
	p.body = p.out
	if len(raw) < len(m.Body) {
		start, end, _ := sdp.FindSDP(contentType(m), m.Body)
		p.body = slices.Concat(m.Body[:start], p.out, m.Body[end:])
	}
	return p, nil
}

// relayLines gives each m= line our port for it, and refuses those that have none.
func (c *Call) relayLines(from int, s *sdp.Session, p *proposal, offer *proposal) {
	to := &c.legs[1-from]
	p.formats = make([]formats, len(p.aims))
	for i := range s.Len() {
		if i >= len(p.aims) {
			s.Reject(i) // no port was to be had
			continue
		}
		line := s.At(i)
		if line.Rejected() || !line.Datagram() {
			p.formats[i].dead = true
			s.Reject(i)
			continue
		}
		p.formats[i] = c.renumber(from, i, s, &line)
		if !c.matchEvents(from, i, s, &line, &p.formats[i], offer) {
			p.formats[i].dead = offer != nil
			s.Reject(i)
			continue
		}
		port := c.streams[i].At(to.peer.Side).Port()
		s.SetMedia(i, to.mediaAt(i), port, port+1)
	}
}

// aims are the relay's wanted state for one leg, for each m= line that has a port. They are read before anything is
// edited: one c= line may count for all streams. checked tells where the peer shows where it is by checks.
func (c *Call) aims(from int, s *sdp.Session, checked func(i int) bool) ([]tu.Aim, error) {
	out := make([]tu.Aim, min(s.Len(), len(c.streams)))
	for i := range out {
		line := s.At(i)
		a, err := c.aim(from, i, &line, checked(i))
		if err != nil {
			return nil, err
		}
		a.Police, a.Clock = police(s, i, &line), clock(s, i)
		if !keyedThere(s, i) {
			a.CNAMEs = c.cnames
		}
		out[i] = a
	}
	return out, nil
}

// aim is the relay's wanted state for one leg of a stream, from what the leg's peer says of it.
func (c *Call) aim(from, i int, line *sdp.Media, checked bool) (tu.Aim, error) {
	l := &c.legs[from]
	a := tu.Aim{
		Latch: l.peer.Media.Latch, Sources: l.peer.Media.Sources, Payloads: tu.Payloads(line.Payloads), Mux: line.Mux,
		Opaque: !line.IsRTP(), Timeout: l.peer.Media.Timeout, Hold: l.peer.Media.Hold,
		Fallback: l.fallback(),
	}
	if line.Rejected() || !line.Datagram() {
		return a, nil
	}
	if checked {
		a.Send, a.Receive, a.Fallback = line.Direction.Receives(), line.Direction.Sends(), netip.Addr{}
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
		if l.peer.Ported && a.Latch == tu.LatchStrict {
			a.Latch = tu.LatchPorted
		}
		a.RTP = netip.AddrPortFrom(netip.Addr{}, line.Port)
		a.RTCP = netip.AddrPortFrom(netip.Addr{}, line.RTCP.Port())
		return a, nil
	}
	if !l.hears(i, line.Addr) {
		return a, errFamily
	}
	a.RTP = netip.AddrPortFrom(line.Addr, line.Port)
	a.RTCP = line.RTCP
	if host := line.RTCP.Addr(); host.IsValid() && host != line.Addr {
		// RTCP may go elsewhere (RFC 3605), but nowhere that RTP may not.
		if _, bad := c.set.forbidden(l, host); bad || c.set.alien(l, host) || host.Is4() != line.Addr.Is4() {
			a.RTCP = netip.AddrPort{}
		}
	}
	return a, nil
}

// forbidden judges a media address that a leg's peer named.
func (s *Settings) forbidden(l *leg, addr netip.Addr) (why string, bad bool) {
	if here := &l.hop.Here; l.peer.Side == nat.Outside && !addr.IsLoopback() && (addr == here.Media || addr == here.Signal.Addr()) {
		return "our own address", true // by which this peer alone may know us
	}
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

// point aims one leg of every stream at what its peer has said, before there is an answer.
func (c *Call) point(from int, do []tu.Action) []tu.Action {
	for i, a := range c.legs[from].media.aims {
		do = c.pointAt(from, i, a, do)
	}
	return do
}

func (c *Call) pointAt(from, stream int, a tu.Aim, do []tu.Action) []tu.Action {
	if early := c.legs[from].media.early; len(early) > 0 {
		a.Sources = slices.Concat(early, a.Sources)
	}
	return append(do, tu.Point{Stream: stream, Side: c.legs[from].peer.Side, Aim: a})
}

// settle points both legs after an answer.
func (c *Call) settle(final bool, do []tu.Action) []tu.Action {
	a, b := c.legs[caller].media.aims, c.legs[callee].media.aims
	faxing := c.faxing()
	for i := range min(len(a), len(b)) {
		x, y := a[i], b[i]
		if faxing {
			patient(&x)
			patient(&y)
		}
		bound(&x, &y)
		muxed(&x, &y)
		c.number(i, &x, &y)
		c.keypads(i, &x, &y)
		c.held(&x, &y)
		if c.dead(i) {
			idle(&x)
			idle(&y)
		}
		x.Final, y.Final = final, final
		do = c.pointAt(callee, i, y, c.pointAt(caller, i, x, do))
	}
	return do
}

// dead reports whether a stream is declined by the description of either leg that is in force.
func (c *Call) dead(i int) bool {
	for l := range c.legs {
		if list := c.legs[l].media.formats; i < len(list) && list[i].dead {
			return true
		}
	}
	return false
}

// idle is the state of a declined stream: "no media is sent" on either leg (RFC 3264 §6), and its silence ends no call.
func idle(a *tu.Aim) {
	a.Send, a.Receive, a.RTP, a.RTCP = false, false, netip.AddrPort{}, netip.AddrPort{}
	a.Timeout, a.Hold = 0, 0
}

// muxed has RTCP on the RTP port where both peers have agreed on it (RFC 5761 §5.1.1): what one says of it the other hears,
// unless the keys come of a handshake, whose leg has an agreement of its own.
func muxed(x, y *tu.Aim) {
	if x.Peer.Role == tu.NoDTLS && y.Peer.Role == tu.NoDTLS {
		x.Mux = x.Mux && y.Mux
		y.Mux = x.Mux
	}
}

// settleEarly puts the description of a provisional answer in force: the last one feeds, and until the 2xx media may
// come from all early dialogs. i is its pair, or -1.
func (c *Call) settleEarly(i int, p proposal, do []tu.Action) []tu.Action {
	if p.empty() {
		return do
	}
	b := &c.legs[callee].media
	for _, a := range p.aims {
		addr := a.RTP.Addr()
		if !addr.IsValid() || len(b.early) >= maxEarly {
			continue
		}
		if one := netip.PrefixFrom(addr, addr.BitLen()); !slices.Contains(b.early, one) {
			b.early = append(b.early, one)
		}
	}
	c.adopt(callee, p)
	c.early = p
	if i >= 0 {
		c.pairs[i].early = p
	}
	if c.offered {
		return c.settle(false, do)
	}
	return c.point(callee, do)
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
