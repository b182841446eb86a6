package call

import (
	"slices"

	"sallyport/media/sdp"
)

// Some phones offer SRTP that may be declined by two streams in the place of one: the same voice under RTP/SAVP and under RTP/AVP
// ("best effort"). Both would be two calls in one; of both the answer takes one, the protected one where it can be had.

// takeOne declines what an offer has besides: the streams in refused, for the reason why, and the plain ones beside a protected one
// of their kind. It returns why where no other stream stands for one of those.
func (c *Call) takeOne(s *sdp.Session, p *proposal, refused []int, why error) error {
	declined := slices.Clone(refused)
	for i := range p.seals {
		plain := p.seals[i].ours && !p.seals[i].sealed() && !slices.Contains(refused, i)
		if plain && p.beside(s, i, refused, (*seal).sealed) {
			declined = append(declined, i)
		}
	}
	for _, i := range refused {
		if !p.beside(s, i, declined, func(*seal) bool { return true }) {
			return why
		}
	}
	for _, i := range declined {
		s.Reject(i)
		p.seals[i] = seal{proto: p.seals[i].proto, place: p.seals[i].place}
		idle(&p.aims[i])
	}
	return nil
}

// beside reports whether a proposal has another stream of the kind of stream i, none of those that are left out, that fits.
func (p *proposal) beside(s *sdp.Session, i int, out []int, fits func(*seal) bool) bool {
	kind := s.At(i).Type
	for j := range p.seals {
		if j != i && p.seals[j].ours && s.At(j).Type == kind && !slices.Contains(out, j) && fits(&p.seals[j]) {
			return true
		}
	}
	return false
}
