package call

import (
	"net/netip"

	"sallyport/media/sdp"
	"sallyport/nat"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// errFamily refuses a description whose addresses have a family that the leg's side has no socket of: "one or more network
// address formats contained in the session description are not available" (RFC 3261 §20.43, warn-code 301).
var errFamily = &errMedia{
	code: 488, why: reason.MediaForbidden, text: "SDP: an address of a family that we have no address of there",
	tell: "Incompatible network address formats", warn: 301,
}

// hears has a leg's media hear of us in the family of an address that its peer named, and reports whether it can. A peer may
// signal by one and have its media in the other (RFC 6157 §4.1). Of a leg with a latch the flow decides: an address of another family
// than that of its packets shows nothing but that something translates on the way.
func (l *leg) hears(addr netip.Addr) bool {
	here := &l.hop.Here
	if !here.Media.IsValid() || here.Media.Unmap().Is4() == addr.Unmap().Is4() {
		return true
	}
	if !here.Other.IsValid() || l.peer.Media.Latch != tu.LatchOff {
		return false
	}
	here.Media, here.Other = here.Other, here.Media
	return true
}

// choose takes of an offer's alternatives the first whose address can be reached, and declines the others with port 0, as an
// answerer who knows them does (RFC 4091 §5). The other leg hears of one stream.
func (c *Call) choose(from int, s *sdp.Session) {
	lists := s.Alternatives()
	if len(lists) == 0 {
		return
	}
	for _, list := range lists {
		taken := -1
		for _, i := range list {
			if line := s.At(i); taken < 0 && !line.Rejected() && c.reaches(from, line.Addr) {
				taken = i
			}
		}
		for _, i := range list {
			if taken >= 0 && i != taken {
				s.Reject(i)
			}
		}
	}
	s.DropAlternatives()
}

// reaches reports whether media can be sent to an address that a leg's peer named, in the family in which it hears of us.
func (c *Call) reaches(from int, addr netip.Addr) bool {
	l := &c.legs[from]
	if !addr.IsValid() || l.hop.Here.Media.IsValid() && l.hop.Here.Media.Unmap().Is4() != addr.Is4() {
		return false
	}
	_, bad := nat.ForbiddenDestination(addr, c.set.Destinations[l.peer.Side])
	return !bad
}
