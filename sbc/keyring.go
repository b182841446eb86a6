package sbc

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"go.uber.org/zap"

	"sallyport/sbc/digest"
	"sallyport/sbc/trunk"
	"sallyport/sbc/tu"
)

// keyed gives those who ask peers what these have let earlier calls in by, and forgets what is of no account or address any more: of
// another password, a trunk that is gone, an address that DNS has taken away.
func (a *assembly) keyed(w *world) {
	if a.keys == nil {
		a.keys = digest.NewKeyring()
		a.keys.Judged = a.judged
	}
	w.calls.Keys, a.phones.exchanges.Keys, a.phones.events.Keys = a.keys, a.keys, a.keys
	a.keys.Retain(w.accountAt())
	maps.DeleteFunc(a.denials, func(name string, _ toldDenial) bool { return !a.book.Denied(name) })
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

// denialEvery is how often at most the log says of a trunk that it refuses user name or password: some ask for them for a part of the
// numbers alone, and let others in.
const denialEvery = 10 * time.Minute

// toldDenial is when the log said so, and whether it has not said yet that it is over.
type toldDenial struct {
	at   time.Time
	open bool
}

// judged hears what a peer makes of our account. A trunk that refuses it is put aside, which is said once, until it lets us in.
func (a *assembly) judged(now time.Time, p *tu.Peer, refused bool) {
	if p.Kind != tu.KindTrunk {
		return // all nodes have one account: there is no other one to turn to
	}
	last := a.denials[p.Name]
	switch {
	case !refused && a.book.Admit(p.Name, now) && last.open:
		a.denials[p.Name] = toldDenial{at: last.at}
		a.sbc.log.Info("the trunk takes user name and password again", zap.String("trunk", p.Name))
	case refused && a.book.Deny(p.Name, now, time.Time{}) && (last.at.IsZero() || now.Sub(last.at) >= denialEvery):
		if a.denials == nil {
			a.denials = map[string]toldDenial{}
		}
		a.denials[p.Name] = toldDenial{now, true}
		a.sbc.log.Warn("the trunk refuses user name or password of our calls: others are tried first from now on\n"+
			"  hint: correct trunks["+p.Name+"].credentials or .registration and reload, then it counts as before at once", zap.String("trunk", p.Name))
	}
}

// judgedAtRegistrar is judged of a registration, which tells of it itself. Before the registrar is asked again nobody can have thought
// better of it, but for who lets a call in.
func (a *assembly) judgedAtRegistrar(now time.Time, was, is *tu.Registration) {
	switch {
	case is.State == tu.Registered && was.Wrong:
		a.book.Admit(is.Trunk, now)
	case is.Wrong && (!was.Wrong || is.Failed != was.Failed):
		a.book.Deny(is.Trunk, now, is.Next)
	}
}
