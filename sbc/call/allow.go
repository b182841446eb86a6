package call

import (
	"slices"
	"strings"

	"sallyport/media/sdp"
	"sallyport/sbc/reason"
)

// A peer's list of codecs bounds what stands in the descriptions that it writes and in those that it gets: in offers in the
// order of its preference, in answers as the answerer has it, since that is what it will send (RFC 3264 §6.1). Where both
// peers have a list, a codec must stand in both, and the order is that of the one who gets the offer. Audio is what a list
// speaks of; video and text are bounded by it only where it names a codec of their kind. Fax and everything else that is
// not RTP is never touched.

// restrict leaves the codecs in a leg's description that both peers may have. A stream without one is declined, as long as
// another one lives (RFC 3264 §6).
func (c *Call) restrict(from int, s *sdp.Session, answer bool) error {
	for _, l := range [2]int{from, 1 - from} {
		peer := c.legs[l].peer
		if len(peer.Codecs) == 0 {
			continue
		}
		var none []int
		alive := false
		for i := range s.Len() {
			line := s.At(i)
			switch {
			case line.Rejected():
			case !bounded(&line, peer.Codecs):
				alive = true
			default:
				if i < len(c.streams) { // its numbers keep their meaning, though they do not pass
					c.legs[from].media.book(i).learn(s.Formats(i), true)
				}
				if s.Restrict(i, peer.Codecs, !answer) {
					alive = true
				} else {
					none = append(none, i)
				}
			}
		}
		if len(none) > 0 && !alive {
			text := "none of the codecs that are taken here: " + strings.Join(peer.Codecs, ", ")
			return &errMedia{code: 488, why: reason.MediaForbidden, text: "SDP: " + text, tell: text, hop: l != from}
		}
		for _, i := range none {
			s.Reject(i)
		}
	}
	return nil
}

// bounded reports whether a list of codecs speaks of a stream.
func bounded(line *sdp.Media, list []string) bool {
	return line.IsRTP() && (line.Type == "audio" || slices.ContainsFunc(list, func(name string) bool { return sdp.KindOf(name) == line.Type }))
}
