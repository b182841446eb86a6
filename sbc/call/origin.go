package call

import (
	"bytes"

	"sallyport/media/sdp"
	"sallyport/sbc/message"
)

// Each leg has one session id of ours in o=, for all that it is told, and a version that rises with each description that is another one.

// spoken is what a leg was told last, be it in force or refused.
type spoken struct {
	version uint64 // in o= (RFC 3264 §8)
	fresh   bool   // it has been in no other description yet
	sent    []byte // in the call's order of m= lines
	shown   []byte // in the peer's, where that is another one; nil: it was told sent
}

// told is what the leg was told last, and tell has it so again where nothing of it was sent.
func (s *mediaState) told() spoken  { return s.spoken }
func (s *mediaState) tell(t spoken) { s.spoken = t }

// sign makes a description ours: one session id a leg, "and the version MUST increment by one from the previous" where it
// differs (RFC 3264 §8). A refused description counts: there are peers that compare with what they saw, not with what
// they took.
func (c *Call) sign(to *leg, s *sdp.Session) []byte {
	l := &to.media
	if l.session == 0 {
		l.session, l.version = uint64(c.ids.Number())+1, 1
	}
	s.SetOrigin("-", l.session, l.version, to.hop.Here.Media)
	out := s.Bytes()
	l.fresh = l.shown != nil || !bytes.Equal(out, l.sent)
	if l.fresh && l.sent != nil {
		l.version++
		s.SetOrigin("-", l.session, l.version, to.hop.Here.Media)
		out = s.Bytes()
	}
	l.sent, l.shown = out, nil
	return out
}

// order is peersOrder of what is sent to a leg as a description of its own: another one than the last has a version of its own.
func (l *leg) order(m *message.Message, places []int) {
	if places == nil || !described(m) {
		return
	}
	body, media := picked(sdpOf(m), places), &l.media
	switch {
	case media.shown != nil && bytes.Equal(withoutOrigin(body), withoutOrigin(media.shown)):
		body = media.shown
	case !media.fresh:
		media.version++
		if s, err := sdp.Parse(body); err == nil {
			s.SetOrigin("-", media.session, media.version, l.hop.Here.Media)
			body = s.Bytes()
		}
	}
	media.shown, media.fresh = body, false
	*m = *withSDP(m, body)
}

// withoutOrigin is a description behind its o= line.
func withoutOrigin(b []byte) []byte {
	at := bytes.Index(b, []byte("\no="))
	if at < 0 {
		return b
	}
	end := bytes.IndexByte(b[at+1:], '\n')
	if end < 0 {
		return b
	}
	return b[at+1+end:]
}
