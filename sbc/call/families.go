package call

import (
	"net/netip"
	"slices"

	"sallyport/media/sdp"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// errFamily refuses a description whose addresses have a family that the leg's side has no socket of: "one or more network
// address formats contained in the session description are not available" (RFC 3261 §20.43, warn-code 301).
var errFamily = &errMedia{
	code: 488, why: reason.MediaForbidden, text: "SDP: an address of a family that we have no address of there",
	tell: "Incompatible network address formats", warn: 301,
}

// hears has a stream's peer hear of us in the family of an address that it named, and reports whether it can. A peer may signal by
// one and have its media in the other (RFC 6157 §4.1).
func (l *leg) hears(stream int, addr netip.Addr) bool {
	here := &l.hop.Here
	l.media.other &^= 1 << stream
	if !here.Media.IsValid() || sameFamily(here.Media, addr) {
		return true
	}
	if !l.crosses() || stream >= 32 {
		return false
	}
	l.media.other |= 1 << stream
	return true
}

// crosses reports whether a leg's media may have the other family than its signalling. With a latch the flow decides: an address
// of another family than that of the peer's packets shows nothing but that something translates on the way.
func (l *leg) crosses() bool { return l.hop.Here.Other.IsValid() && l.peer.Media.Latch == tu.LatchOff }

// mediaAt is our address towards the peer of a stream.
func (l *leg) mediaAt(stream int) netip.Addr {
	if here := &l.hop.Here; here.Other.IsValid() && stream < 32 && l.media.other&(1<<stream) != 0 {
		return here.Other
	}
	return l.hop.Here.Media
}

func sameFamily(a, b netip.Addr) bool { return a.Unmap().Is4() == b.Unmap().Is4() }

// choose declines what an offer has besides that which can be reached. Of alternatives it takes the first, and declines the others
// with port 0, as an answerer who knows them does (RFC 4091 §5): the other leg hears of one stream. And a stream whose
// family we have no address of is declined where there is another one, rather than the whole offer.
func (c *Call) choose(from int, s *sdp.Session) {
	for _, list := range s.Alternatives() {
		taken := slices.IndexFunc(list, func(i int) bool { return c.reaches(from, s, i) })
		for at, i := range list {
			if taken >= 0 && at != taken {
				s.Reject(i)
			}
		}
	}
	s.DropAlternatives()
	var lost []int
	left := 0
	for i := range s.Len() {
		switch line := s.At(i); {
		case line.Rejected():
		case !line.Addr.IsValid() || c.reaches(from, s, i):
			left++
		default:
			lost = append(lost, i)
		}
	}
	if left > 0 {
		for _, i := range lost {
			s.Reject(i)
		}
	}
}

// reaches reports whether a stream's address has a family that its leg can send to. What else may be wrong with it is judged later.
func (c *Call) reaches(from int, s *sdp.Session, i int) bool {
	l, line := &c.legs[from], s.At(i)
	if line.Rejected() || !line.Addr.IsValid() {
		return false
	}
	here := l.hop.Here.Media
	return line.Hold() || !here.IsValid() || sameFamily(here, line.Addr) || l.crosses() || c.set.alien(l, line.Addr)
}
