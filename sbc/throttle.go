package sbc

import (
	"time"

	"sallyport/sbc/core"
	"sallyport/sbc/header"
	"sallyport/sbc/message"
	"sallyport/sbc/registrar"
	"sallyport/sbc/tu"
)

// refreshedHere answers a REGISTER in the PBX's place where it may (phones.registration.inside). Nothing of it reaches the PBX,
// and so it counts for none of its limits.
func (a *assembly) refreshedHere(now time.Time, ev *tu.Arrived) (core.Answer, bool) {
	out, fields, ok := a.phones.registrar.Local(now, ev.Flow, ev.Msg)
	if !ok {
		return core.Answer{}, false
	}
	if ev.Peer.Rules != nil {
		m := message.Reply(ev.Msg, out.Code, "")
		m.Headers = append(m.Headers, fields...)
		header.Finish(nil, ev.Peer, nil, m)
		fields = m.Headers
	}
	a.phones.visits.keep(now, &out, a.phones.book)
	a.settleBindings()
	return core.Answer{Code: out.Code, Headers: fields}, true
}

// moves reports whether the PBX must hear of a phone anew: the node that has its binding is gone from the configuration, is out
// of service while another one is not, or knows us by an address that is no longer ours.
func (a *assembly) moves(b *registrar.Binding) bool {
	usable := a.book.Usable(b.Node)
	stays := false
	for s := range a.book.Nodes {
		if s.Name != pbxPhones {
			continue
		}
		for i := range s.Hops {
			h := &s.Hops[i]
			if h.ID == b.Node {
				stays = h.Here.Signal == b.Told
			} else if !usable && a.book.Usable(h.ID) {
				return true
			}
		}
	}
	return !stays
}
