package call

import (
	"slices"

	"sallyport/sbc/tu"
)

// Fax over IP (ITU-T T.38) is a stream of datagrams that are no RTP: UDPTL passes as it comes, and what its m= line and
// attributes say is never touched, nor bounded by a list of codecs. It begins as a re-INVITE which offers an image in the
// place of the voice, or beside it, and which is refused (488, 415, 606) by who cannot do it: the voice goes on then as it
// was, and the fax with it, by G.711. No key in SDP protects UDPTL: the stream is plain on a leg with SRTP, too.

// faxing reports whether a stream of both descriptions in force carries fax.
func (c *Call) faxing() bool {
	a, b := c.legs[caller].media.aims, c.legs[callee].media.aims
	for i := range min(len(a), len(b)) {
		if fax(&a[i]) && fax(&b[i]) {
			return true
		}
	}
	return false
}

// fax reports whether an aim is that of a fax stream which has a port: its packets are policed as no others are.
func fax(a *tu.Aim) bool {
	return a.Opaque && a.Police == (tu.Police{Rate: faxRate}) && a.RTP.Port() != 0
}

// patient gives the voice that is silent beside a fax the fax's time.
func patient(a *tu.Aim) {
	if a.Timeout > 0 && (a.Hold == 0 || a.Hold > a.Timeout) {
		a.Timeout = a.Hold
	}
}

// keepVoice remembers how streams are protected that are no RTP any more, or closed: the voice that comes back has its keys
// again.
func (s *mediaState) keepVoice(next []seal) {
	for i := range s.seals {
		if !s.seals[i].ours || i < len(next) && next[i].ours {
			continue
		}
		for len(s.voice) <= i {
			s.voice = append(s.voice, seal{})
		}
		s.voice[i] = s.seals[i]
	}
}

// voices are how streams are protected, or were when they were RTP last.
func (s *mediaState) voices() []seal {
	if s.voice == nil {
		return s.seals
	}
	now := slices.Clone(s.seals)
	for i := range now {
		if !now[i].ours && i < len(s.voice) {
			now[i] = s.voice[i]
		}
	}
	return now
}
