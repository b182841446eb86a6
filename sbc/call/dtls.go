package call

import (
	"bytes"
	"net/netip"
	"slices"
	"strconv"

	"sallyport/media/sdp"
	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// DTLS-SRTP and ICE end at the gate, as keys in SDP do: each leg has a handshake of its own, with a certificate of ours that
// its descriptions vouch for (RFC 5763), and its own checks, which we answer and never send (RFC 8445, lite). What one leg
// says of its transport (certificate, candidates, bundles, header extensions, sources) never reaches the other.
//
// Streams are not bundled: each has a transport of its own, and the bundle that a browser asks for is accepted with one
// stream in it (RFC 9143 §7.3.3). ICE comes with DTLS only: of a peer that has one without the other, the candidates are
// cut, as an agent would that knows nothing of them.

// handshake is what a description of a leg says of a stream whose keys come of a handshake, and of where its peer is.
type handshake struct {
	on     bool
	peer   tu.Identity // who the peer is, and who begins; of an offer of ours: nobody yet
	ours   sdp.Setup   // what we say of who begins
	mux    bool        // RTCP on the RTP port
	apart  bool        // or on a port of its own, where there are checks then, too (RFC 5761 §5.1.3)
	theirs sdp.ICE     // the peer's credentials; empty: it has no ICE, or none that checks
	ice    tu.ICE      // ours; zero: as theirs
}

func shaken(x seal) bool { return x.dtls.on }

// checked reports whether the peer shows where it is by checks.
func (h *handshake) checked() bool { return h.on && h.ice != tu.ICE{} }

// place is what a description of a leg says of a stream in relation to its others.
type place struct {
	mid     string
	bundled bool
}

// browser reports whether a leg's peer is a phone in a browser: it speaks by WebSocket, and knows no media but this.
func (l *leg) browser() bool { return l.phone() && l.hop.Flow.Transport == nat.WSS }

// print is the fingerprint of our certificate for a stream. It stays that which the peer was told first.
func (c *Call) print(stream int) tu.Fingerprint {
	if stream < len(c.prints) {
		return c.prints[stream]
	}
	return tu.Fingerprint{}
}

// shakes tells whether a stream of a leg's description is to be keyed by a handshake: an answer where we have offered one,
// an offer that says so, or that has a certificate and no keys, if it may have it here.
func (c *Call) shakes(from, i int, s *sdp.Session, answer bool) bool {
	line := s.At(i)
	_, _, rtp := line.Profile()
	switch {
	case !rtp || line.Rejected():
		return false
	case answer:
		return i < len(c.seals.to) && c.seals.to[i].dtls.on
	case line.ByHandshake():
		return true
	case len(s.Cryptos(i)) > 0:
		return false
	}
	if secure, _, _ := line.Profile(); secure {
		return s.Fingerprinted(i)
	}
	// The plain profile with a certificate: protection that may be had (RFC 8643).
	_, usable := s.Fingerprint(i)
	return usable && c.mayShake(from, i)
}

// mayShake reports whether a leg's streams may be keyed by handshakes: browsers know nothing else, whatever the setting.
func (c *Call) mayShake(l, i int) bool {
	return c.print(i).Hash != tu.NoHash && (c.legs[l].peer.Media.SRTP != tu.SRTPOff || c.legs[l].browser())
}

// checks tells whether the peer of a stream of a description shows where it is by checks. One that only answers them, as
// we do, is sent media where it says (RFC 8445 §6.1.1 leaves two of that kind their default candidates).
func (c *Call) checks(from, i int, s *sdp.Session, answer bool) bool {
	if _, ok := s.ICE(i); !ok || s.Lite() || !c.shakes(from, i, s, answer) {
		return false
	}
	return !answer || c.seals.to[i].dtls.checked()
}

// shake reads what a leg's description says of a handshake.
func (c *Call) shake(from, i int, s *sdp.Session, answer bool, x *seal) error {
	print, usable := fingerprint(s, i)
	switch {
	case answer && !s.Fingerprinted(i):
		return errSRTP("DTLS-SRTP was offered and not answered")
	case !answer && c.print(i).Hash == tu.NoHash:
		return errSRTP("DTLS-SRTP is not possible here")
	case !answer && !c.mayShake(from, i):
		return errSRTP("SRTP is not taken here")
	case !usable:
		return errSRTP("no certificate fingerprint that can be checked: sha-256, sha-384 or sha-512 (a=fingerprint)")
	}
	line := s.At(i)
	x.dtls = handshake{on: true, peer: tu.Identity{Print: print}, mux: line.Mux, apart: !line.Mux}
	checks := c.checks(from, i, s, answer)
	if checks {
		x.dtls.theirs, _ = s.ICE(i)
	}
	if answer {
		asked := &c.seals.to[i].dtls
		x.dtls.mux = line.Mux && asked.mux
		x.dtls.apart = !x.dtls.mux
		if checks {
			x.dtls.ice = asked.ice
		}
		return x.dtls.answered(s.Setup(i))
	}
	now := c.legs[from].media.shaken(i)
	if checks {
		x.dtls.ice = c.credentials(now, x.dtls.theirs)
	}
	return x.dtls.asked(s.Setup(i), now)
}

// fingerprint is that of a peer's certificate.
func fingerprint(s *sdp.Session, i int) (p tu.Fingerprint, ok bool) {
	f, ok := s.Fingerprint(i)
	if !ok {
		return p, false
	}
	p.Hash = map[string]tu.Hash{"sha-256": tu.SHA256, "sha-384": tu.SHA384, "sha-512": tu.SHA512}[f.Hash]
	copy(p.Value[:], f.Value)
	return p, p.Hash != tu.NoHash
}

// shaken is what is in force of a stream's handshake.
func (s *mediaState) shaken(i int) handshake {
	if i < len(s.seals) {
		return s.seals[i].dtls
	}
	return handshake{}
}

// asked is our role by an offer. We leave the beginning to the peer, whose records then open its NAT, unless it insists on
// having it from us; an association that stands keeps its roles (RFC 8842 §5.3, §5.5).
func (h *handshake) asked(setup sdp.Setup, now handshake) error {
	h.peer.Role, h.ours = tu.Passive, sdp.Passive
	switch setup {
	case sdp.Passive:
		h.peer.Role, h.ours = tu.Active, sdp.Active
	case sdp.ActPass, sdp.NoSetup: // RFC 4145 §4: "active" is what an offer means that says nothing
		if setup == sdp.ActPass && now.on && now.peer.Print == h.peer.Print && now.peer.Role == tu.Active {
			h.peer.Role, h.ours = tu.Active, sdp.Active
		}
	case sdp.Active:
	default:
		return errSRTP("a=setup: actpass, active or passive is expected")
	}
	return nil
}

// answered is our role by the answer to an offer that has left it to the peer. "The answerer MUST NOT" leave it to us again
// (RFC 5763 §5); one that does, or says nothing, mostly begins.
func (h *handshake) answered(setup sdp.Setup) error {
	switch setup {
	case sdp.Passive:
		h.peer.Role, h.ours = tu.Active, sdp.Active
	case sdp.Active, sdp.ActPass, sdp.NoSetup:
		h.peer.Role, h.ours = tu.Passive, sdp.Passive
	default:
		return errSRTP("a=setup: active or passive is expected")
	}
	return nil
}

// credentials are ours towards a peer: the same for the whole call, until the peer has others, which restarts ICE: "the
// answerer MUST change" both then, too (RFC 8839 §4.4.1.1.1, RFC 8445 §9).
func (c *Call) credentials(now handshake, theirs sdp.ICE) tu.ICE {
	if now.checked() && now.theirs == theirs {
		return now.ice
	}
	return c.newCredentials()
}

// newCredentials are 48 and 144 bits of the call's seed, as ice-char (RFC 8839 §5.4).
func (c *Call) newCredentials() (out tu.ICE) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	a, b := c.ids.Block(), c.ids.Block()
	bits := append(a[:], b[:]...)
	for i := range out.Fragment {
		out.Fragment[i] = alphabet[bits[i]&63]
	}
	for i := range out.Password {
		out.Password[i] = alphabet[bits[len(out.Fragment)+i]&63]
	}
	return out
}

// wantsHandshake tells whether a stream is offered to a leg with a handshake: as it is in force there, or as its other
// streams are; to browsers always; to a phone whose last call had one, unless it has just refused it.
func (c *Call) wantsHandshake(to, i int) bool {
	l := &c.legs[to]
	if now := l.media.voices(); i < len(now) && now[i].ours {
		return now[i].dtls.on
	}
	switch {
	case !c.mayShake(to, i):
		return false
	case l.browser(), slices.ContainsFunc(l.media.seals, shaken):
		return true
	}
	return l.peer.Keyed && !(to == callee && c.swapped)
}

// handshakeOf is how a stream is offered to such a leg.
func (c *Call) handshakeOf(to, i int) seal {
	l := &c.legs[to]
	now := l.media.shaken(i)
	x := seal{ours: true, proto: sdp.HandshakeName(true), dtls: handshake{on: true, ours: sdp.ActPass, mux: true, apart: !l.browser()}}
	if now.on {
		x.proto, x.place, x.dtls.ice, x.dtls.apart = l.media.seals[i].proto, l.media.seals[i].place, now.ice, now.apart
		return x
	}
	if _, _, ok := (&sdp.Media{Proto: l.peer.Profile}).Profile(); ok && l.peer.Keyed {
		x.proto = l.peer.Profile
	}
	if l.browser() || l.peer.Checked {
		x.dtls.ice = c.newCredentials()
		x.place = place{mid: strconv.Itoa(i), bundled: !slices.ContainsFunc(l.media.seals, shaken)}
		if i < len(l.media.seals) && l.media.seals[i].mid != "" {
			x.place.mid = l.media.seals[i].mid
		}
	}
	return x
}

// unplace has addresses count for nothing that ICE has instead, and declines what a peer with ICE has besides: nobody else
// could check there.
func (c *Call) unplace(s *sdp.Session, p *proposal) {
	if !slices.ContainsFunc(p.seals, func(x seal) bool { return x.dtls.checked() }) {
		return
	}
	for i := range p.seals {
		if p.seals[i].dtls.checked() {
			s.Unplace(i)
			continue
		}
		if _, ice := s.ICE(i); ice && !p.seals[i].ours {
			s.Reject(i)
			p.aims[i].Send, p.aims[i].Receive = false, false
		}
	}
}

// transports writes how the streams of a description get to a leg, where either leg has a handshake. told is how they are
// protected there.
func (c *Call) transports(to int, s *sdp.Session, answer bool, told []seal, p *proposal) {
	by := c.seals.by
	if !answer {
		by = c.legs[to].media.seals // the names of its streams stay
	}
	apart := slices.ContainsFunc(told, shaken) || slices.ContainsFunc(p.seals, shaken) || slices.ContainsFunc(by, shaken)
	list := make([]*sdp.Transport, s.Len())
	for i := range list {
		line := s.At(i)
		t := &sdp.Transport{Shared: !apart}
		if i < len(by) {
			t.Mid = by[i].mid
		}
		switch {
		case line.Rejected():
		case i >= len(told) || !told[i].ours && !p.seals[i].ours:
			continue // fax, or what has keys that are not ours
		case told[i].dtls.on:
			c.transport(to, i, &told[i], t)
			p.aims[i].Mux = p.aims[i].Mux && p.seals[i].dtls.on
		default:
			t.Shared = !p.seals[i].dtls.on // else it is plain on both legs: as they agree
		}
		list[i] = t
	}
	s.SetTransports(list)
}

// transport is how one stream gets to a leg by a handshake.
func (c *Call) transport(to, i int, x *seal, t *sdp.Transport) {
	h, print := &x.dtls, c.print(i)
	names := [...]string{tu.SHA256: "sha-256", tu.SHA384: "sha-384", tu.SHA512: "sha-512"}
	sizes := [...]int{tu.SHA256: 32, tu.SHA384: 48, tu.SHA512: 64}
	t.Print = sdp.Fingerprint{Hash: names[print.Hash], Value: print.Value[:sizes[print.Hash]]}
	t.Setup, t.Mux, t.Mid, t.Bundled = h.ours, h.mux, x.mid, x.bundled
	if h.checked() {
		l := &c.legs[to]
		t.ICE = sdp.ICE{Fragment: string(h.ice.Fragment[:]), Password: string(h.ice.Password[:])}
		t.Candidate, t.Control = netip.AddrPortFrom(l.mediaAt(i), c.streams[i].At(l.peer.Side).Port()), h.apart
	}
}

// concernsUs reports whether an offer says nothing that the other leg is to know: that the checks have ended, or begin again
// (RFC 8839 §4.4.1.1.1, §4.4.1.2.2).
func (c *Call) concernsUs(from int, p *proposal) bool {
	far := &c.legs[1-from].media
	return slices.ContainsFunc(p.seals, func(x seal) bool { return x.dtls.checked() }) &&
		len(far.in) > 0 && bytes.Equal(p.out, far.out) && bytes.Equal(far.out, far.sent)
}

// answerHere answers such an offer by what the other leg has said last.
func (c *Call) answerHere(from, i int, ev tu.Arrived, p proposal, do []tu.Action) []tu.Action {
	said := &message.Message{
		Method: ev.Msg.Method, Status: 200, Body: c.legs[1-from].media.in,
		Headers: []message.Header{{Name: "Content-Type", Value: "application/sdp"}},
	}
	q, err := c.editAnswer(1-from, said, &p)
	if err != nil {
		code, _ := verdict(err)
		return c.answer(from, ev.Tx, ev.Msg, code, do)
	}
	q.places = c.legs[1-from].places
	c.adopt(from, p)
	c.adopt(1-from, q)
	return c.answerRefresh(from, i, ev, c.settle(true, do))
}
