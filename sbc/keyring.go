package sbc

import (
	"net/netip"
	"slices"

	"sallyport/sbc/digest"
	"sallyport/sbc/trunk"
	"sallyport/sbc/tu"
)

// keyed gives those who ask peers what these have let earlier calls in by, and forgets what is of no account or address any more: of
// another password, a trunk that is gone, an address that DNS has taken away.
func (a *assembly) keyed(w *world) {
	if a.keys == nil {
		a.keys = digest.NewKeyring()
	}
	w.calls.Keys, a.phones.exchanges.Keys, a.phones.events.Keys = a.keys, a.keys, a.keys
	a.keys.Retain(w.accountAt())
}

// accountAt says with which account a peer is asked at an address; nil: it does not stand there, or has none.
func (w *world) accountAt() func(kind tu.Kind, peer string, remote netip.AddrPort) *tu.Account {
	systems := map[string]*trunk.System{}
	for i := range w.systems {
		s := &w.systems[i]
		if s.Any == nil || s.Any.Account == nil {
			continue
		}
		if s.Kind == tu.KindTrunk {
			systems[s.Name] = s
			continue
		}
		for j := range s.Hops {
			systems[s.Hops[j].Peer.Name] = s // a node is called by its address
		}
	}
	return func(kind tu.Kind, peer string, remote netip.AddrPort) *tu.Account {
		s := systems[peer]
		if s == nil || s.Kind != kind ||
			!slices.ContainsFunc(s.Any.Reach, func(p netip.Prefix) bool { return p.Contains(remote.Addr()) }) {
			return nil
		}
		return s.Any.Account
	}
}
