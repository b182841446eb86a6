package exchange

import (
	"sallyport/nat"
	"sallyport/sbc/header"
	"sallyport/sbc/tu"
)

// name chooses the ids of what we ask. What a phone asks has ids that are a function of its own, so that the retry after a
// challenge, which the PBX's nonce may be bound to, has the same; elsewhere they are random.
func (e *Exchange) name() {
	m := e.req
	if !e.legs[asker].phone() || e.set.Names == nil {
		e.callID, e.from, e.cseq = e.ids.CallID(), e.ids.Tag(), 1
		return
	}
	aor := m.From.URI.AoR(e.set.Domain)
	e.callID = e.set.Names.CallID("x", m.CallID, m.From.Tag, aor)
	e.from = e.set.Names.Tag(e.set.Tags, "x", m.CallID, m.From.Tag, aor)
	e.cseq = m.CSeq
}

func (e *Exchange) toTag() string {
	if e.tag == "" {
		e.tag = e.ids.Tag()
	}
	if t := e.req.To.Tag; t != "" {
		return t // a request within a dialog that is none keeps the tag it names
	}
	return e.tag
}

// phone reports whether the leg is that of a roaming phone.
func (l *leg) phone() bool { return l.hop.Peer != nil && l.hop.Peer.Kind == tu.KindPhone }

// side is where the leg stands.
func (l *leg) side() nat.Side {
	if l.hop.Peer == nil {
		return nat.Outside
	}
	return l.hop.Peer.Side
}

// hosts are the way of a message of a leg, and the hosts that it bears towards the other one.
func (e *Exchange) hosts(from int) (header.Direction, header.Hosts) {
	dir := header.DirectionOf(e.legs[from].hop.Peer, e.legs[1-from].hop.Peer)
	hosts := header.HostsFor(dir, e.legs[from].hop.Peer, e.legs[1-from].hop)
	if e.legs[from].side() == nat.Inside {
		hosts.User = e.set.Behind
	}
	return dir, hosts
}
