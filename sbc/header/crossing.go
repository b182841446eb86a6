package header

import (
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// DirectionOf is the way of a message from one peer to the other; to may be unknown yet.
func DirectionOf(from, to *tu.Peer) Direction {
	switch {
	case from.Kind == tu.KindTrunk:
		return TrunkToPBX
	case from.Kind == tu.KindPhone:
		return PhoneToPBX
	case to != nil && to.Kind == tu.KindPhone:
		return PBXToPhone
	default:
		return PBXToTrunk
	}
}

// HostsFor are the hosts that a message of a peer bears towards a hop. From a trunk it is
// our own address, never pbx.domain: PBXes challenge their own domain.
func HostsFor(dir Direction, from *tu.Peer, to tu.Hop) Hosts {
	h := Hosts{RequestURI: to.Peer.Host, To: to.Peer.Host, From: to.Here.Signal.String(), Trusted: from.Trusted}
	if dir != TrunkToPBX && to.Peer.Domain != "" {
		h.From = to.Peer.Domain
	}
	h.Identity = h.From
	return h
}

// Forwards is the Max-Forwards of the other leg: absent is fine, else one less (RFC 7332 §4).
func Forwards(m *message.Message) int {
	if m.MaxForwards < 0 {
		return 70
	}
	return max(0, m.MaxForwards-1)
}
