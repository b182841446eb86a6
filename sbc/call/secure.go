package call

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"sallyport/media/sdp"
	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// SRTP ends at the gate: each leg has keys of its own, exchanged in its own descriptions (RFC 4568), and those of one never
// reach the other. What is protected on one leg may be plain on the other, as each leg's setting has it.
//
// Our keys come from the call's seed, as its ids do, through AES in counter mode: 128 bits that nobody can guess, however
// long the key of the suite. They are as secret as the signalling that carries them.

// seal is what one description of a leg says of one stream's protection.
type seal struct {
	ours   bool      // its keys are our affair: RTP of a profile that SDP can key
	proto  string    // of its m= line, which the answer repeats
	tag    int       // of the line that counts
	crypto tu.Crypto // no suite: no keys in SDP
	dtls   handshake
	place
}

// sealed reports whether the stream is SRTP.
func (s *seal) sealed() bool { return s.crypto.Suite != tu.NoCrypto || s.dtls.on }

// seals are the two sides of the last offer: of the leg that made it, and of the one that got it from us. It stands until
// the next one; answers to it may be several (RFC 3261 §13.2.2.4).
type seals struct{ by, to []seal }

// errSRTP refuses a description for what it says of SRTP.
func errSRTP(text string) error {
	return &errMedia{code: 488, why: reason.MediaForbidden, text: "SDP: " + text, tell: text}
}

// warning tells a peer why its description is refused, where that helps it: a Warning of ours (RFC 3261 §20.43).
func (c *Call) warning(to int, err error) []message.Header {
	e, ok := errors.AsType[*errMedia](err)
	if !ok || e.tell == "" {
		return nil
	}
	code := cmp.Or(e.warn, 399) // "arbitrary information to be presented to a human user"
	return []message.Header{{Name: "Warning", Value: strconv.Itoa(code) + " " + c.legs[to].hop.Here.Signal.String() + " \"" + e.tell + "\""}}
}

// refuseMedia refuses the caller's INVITE for a description that cannot be passed, and leaves word of it for who asks why.
func (c *Call) refuseMedia(now time.Time, from int, err error, do []tu.Action) []tu.Action {
	code, why := verdict(err)
	extra := c.warning(caller, err)
	if l := &c.legs[from]; len(extra) > 0 {
		e, _ := errors.AsType[*errMedia](err)
		do = append(do, tu.Note{
			Source: l.hop.Flow.Remote, Side: l.peer.Side, Realm: l.peer.Realm, Method: "INVITE", Code: code, Why: why, Text: e.tell,
		})
	}
	return c.refuseWith(now, code, why, "sbc", do, extra...)
}

// answering tells whether a description of a leg answers one of ours: those of responses do, but for an INVITE that had
// none, and that of an ACK (RFC 3261 §13.2.1).
func (c *Call) answering(from int, m *message.Message) bool {
	switch {
	case m.Method == "PRACK" && m.IsRequest():
		return c.pledged(m) // what a reliable response has offered (RFC 3262 §5)
	case m.IsRequest():
		return m.Method == "ACK"
	case m.Method != "INVITE":
		return true
	case c.won < 0:
		return c.offered
	}
	return !slices.ContainsFunc(c.relays, func(r relay) bool {
		return r.from == 1-from && r.delayed && !r.answered && r.req.Method == m.Method
	})
}

// unseal reads what a leg's description says of the protection of its streams, into the proposal.
func (c *Call) unseal(from int, s *sdp.Session, answer bool, p *proposal) error {
	p.seals = make([]seal, len(p.aims))
	var refused []int
	var why error
	for i := range p.aims {
		line, lines := s.At(i), s.Cryptos(i)
		x := &p.seals[i]
		x.ours, x.proto = keyedHere(s, i) && !line.Rejected(), line.Proto
		x.place = place{mid: s.Mid(i), bundled: s.Bundled(i)}
		if !x.ours {
			continue
		}
		err := error(nil)
		switch {
		case c.shakes(from, i, s, answer):
			err = c.shake(from, i, s, answer, x)
		case answer:
			err = c.unsealAnswer(from, i, &line, lines, x)
		default:
			err = c.unsealOffer(from, i, &line, lines, x)
		}
		switch {
		case err != nil && answer:
			return err
		case err != nil:
			refused = append(refused, i)
			if why == nil {
				why = err
			}
		default:
			x.protects(&p.aims[i])
		}
	}
	if answer {
		return nil
	}
	return c.takeOne(s, p, refused, why)
}

// keyedHere reports whether the protection of a stream is our affair: it is RTP of a profile that SDP or a handshake keys.
func keyedHere(s *sdp.Session, i int) bool {
	line := s.At(i)
	_, _, ok := line.Profile()
	return ok
}

// keyedThere reports whether a stream's packets cannot be changed: the peers have the keys.
func keyedThere(s *sdp.Session, i int) bool {
	line := s.At(i)
	return line.IsRTP() && s.Sealed(i) && !keyedHere(s, i)
}

// protects gives the relay what it protects a stream by.
func (s *seal) protects(a *tu.Aim) {
	if a.Crypto = s.crypto; s.dtls.on {
		a.Peer, a.ICE, a.Mux = s.dtls.peer, s.dtls.ice, s.dtls.mux
	}
}

// unsealOffer chooses from an offer: "the answerer … MUST select … the first one that it supports" in spirit (RFC 4568
// §5.1.2). A profile without S that has keys all the same asks for SRTP where we can.
func (c *Call) unsealOffer(from, i int, line *sdp.Media, lines []sdp.Crypto, x *seal) error {
	setting := c.legs[from].peer.Media.SRTP
	secure, _, _ := line.Profile()
	switch {
	case secure && setting == tu.SRTPOff:
		return errSRTP("SRTP is not taken here")
	case secure && len(lines) == 0:
		return errSRTP("no SRTP key that can be used (a=crypto)")
	case len(lines) == 0 && setting == tu.SRTPRequired:
		return errSRTP("SRTP is required here")
	case len(lines) == 0 || setting == tu.SRTPOff:
		return nil
	}
	first := lines[0] // all suites that are read are ours
	x.tag, x.crypto.Suite = first.Tag, suites[first.Suite]
	copy(x.crypto.Receive[:], first.Key)
	x.crypto.Send = c.keyFor(from, i, x.crypto.Suite)
	return nil
}

// unsealAnswer takes the key of an answer. Where SRTP is required, an offer of it is answered by nothing less.
func (c *Call) unsealAnswer(from, i int, line *sdp.Media, lines []sdp.Crypto, x *seal) error {
	if i >= len(c.seals.to) || !c.seals.to[i].sealed() {
		if c.legs[from].peer.Media.SRTP == tu.SRTPRequired {
			return errSRTP("SRTP is required here") // a stream that was offered as closed, or not at all
		}
		return nil
	}
	asked := &c.seals.to[i]
	for _, l := range lines { // we have offered one: its tag says nothing new, and some answer by a tag of their own
		if suites[l.Suite] == asked.crypto.Suite {
			x.tag, x.crypto = l.Tag, asked.crypto
			copy(x.crypto.Receive[:], l.Key)
			return nil
		}
	}
	if secure, _, _ := line.Profile(); !secure && len(lines) == 0 && c.legs[from].peer.Media.SRTP == tu.SRTPOptional {
		return nil // it should have refused the profile, and means no other thing
	}
	return errSRTP("SRTP was offered and not answered")
}

// sealFor writes the profile and the key that the other leg gets, and returns how its streams are protected by that. p is
// the proposal that unseal has read.
func (c *Call) sealFor(to int, s *sdp.Session, answer bool, p *proposal) (told []seal) {
	s.DropCrypto()
	for i := range p.seals {
		line := s.At(i)
		told = append(told, seal{proto: line.Proto})
		x := &told[i]
		switch {
		case line.Rejected() || !p.seals[i].ours:
			if i < len(c.seals.by) && answer && c.seals.by[i].ours {
				s.SetProtocol(i, c.seals.by[i].proto) // an answer that declines repeats the offer's all the same
			}
			continue
		case answer && i < len(c.seals.by):
			*x = c.seals.by[i]
		case !answer:
			*x = c.sealOf(to, i, s)
		}
		if x.proto != "" {
			s.SetProtocol(i, x.proto)
		}
		if name := suiteName(x.crypto.Suite); name != "" {
			s.AddCrypto(i, sdp.Crypto{Tag: x.tag, Suite: name, Key: x.crypto.Send[:sdp.KeyLen(name)]})
		}
	}
	if !answer {
		c.seals = seals{by: p.seals, to: told}
	}
	return told
}

// sealOf is how a stream is offered to a leg: as it is in force there, else as the leg's setting and what is known of the
// peer have it.
func (c *Call) sealOf(to, i int, d *sdp.Session) seal {
	if c.wantsHandshake(to, i) {
		return c.handshakeOf(to, i)
	}
	l, line := &c.legs[to], d.At(i)
	was, feedback, _ := line.Profile()
	feedback = feedback && !line.ByHandshake() // what a browser has says nothing of other equipment
	x := seal{ours: true, tag: 1}
	wanted, suite, like := c.wantsSeal(to), offeredSuite, ""
	now := l.media.voices()
	switch {
	case i < len(now) && now[i].ours:
		wanted, like = now[i].sealed() || l.peer.Media.SRTP == tu.SRTPRequired, now[i].proto
		if now[i].sealed() {
			suite = now[i].crypto.Suite
		}
	case wanted == l.peer.Sealed && l.peer.Kind == tu.KindPhone:
		like = l.peer.Profile
	}
	if was != wanted {
		feedback = feedback && d.Feedback(i) // equipment that has SAVPF alone need not find AVPF behind us
	}
	secure := wanted
	if s, f, ok := (&sdp.Media{Proto: like}).Profile(); ok {
		secure, feedback = wanted && (s || !l.keysUnderPlain(now, i)), f
	}
	x.proto = sdp.ProfileName(secure, feedback)
	if wanted {
		x.crypto.Suite, x.crypto.Send = suite, c.keyFor(to, i, suite)
	}
	return x
}

// keysUnderPlain reports whether a leg is known to have keys under the plain profile: by the stream in force, or by its
// last call.
func (l *leg) keysUnderPlain(now []seal, i int) bool {
	if i < len(now) && now[i].ours {
		return now[i].sealed()
	}
	return l.peer.Sealed
}

// wantsSeal tells whether a leg of which nothing is in force is offered SRTP.
func (c *Call) wantsSeal(to int) bool {
	l := &c.legs[to]
	switch l.peer.Media.SRTP {
	case tu.SRTPRequired:
		return true
	case tu.SRTPOptional:
		if slices.ContainsFunc(l.media.seals, func(x seal) bool { return x.sealed() }) {
			return true // its other streams are
		}
		return l.peer.Sealed != (to == callee && c.swapped)
	default:
		return false
	}
}

// otherwise offers a callee whose SRTP is optional the other form, once, where it refuses the first one: it is not known
// beforehand what a phone can do, and "488 Not Acceptable Here" is what it says to a profile that it has not.
func (c *Call) otherwise(code int) bool {
	b := &c.legs[callee]
	if code != 488 && code != 415 && code != 606 || c.swapped || !c.offered || b.peer.Media.SRTP != tu.SRTPOptional || b.browser() ||
		!slices.ContainsFunc(c.seals.to, func(x seal) bool { return x.ours }) {
		return false
	}
	at := len(c.attempts)
	c.hops = slices.Insert(slices.Clone(c.hops), at, c.attempts[at-1].hop)
	c.swapped = true
	c.cseq++ // it is another request to the same server, no repeat (RFC 3261 §8.1.3.5)
	return true
}

// keepSeals gives aims that were read anew from a description in force the keys that go with it.
func (m *mediaState) keepSeals(aims []tu.Aim) {
	for i := range min(len(aims), len(m.aims)) {
		aims[i].Crypto, aims[i].Peer, aims[i].ICE, aims[i].Mux = m.aims[i].Crypto, m.aims[i].Peer, m.aims[i].ICE, m.aims[i].Mux
	}
}

// protected tells a record how a stream is protected on each side.
func (c *Call) protected(i int, to *tu.StreamStats) {
	for l := range c.legs {
		m := &c.legs[l].media
		if i >= len(m.seals) || !m.seals[i].ours {
			continue
		}
		at := &to.Inside
		if c.legs[l].peer.Side == nat.Outside {
			at = &to.Outside
		}
		at.SRTP, at.Profile = suiteName(m.seals[i].crypto.Suite), strings.ToUpper(m.seals[i].proto)
		if m.seals[i].dtls.on {
			at.SRTP, at.ICE = tu.ByHandshake, m.seals[i].dtls.checked()
		}
		if at.Profile == sdp.ProfileName(false, false) {
			at.Profile = ""
		}
	}
}
