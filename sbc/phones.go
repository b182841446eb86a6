package sbc

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"sallyport/nat"
	"sallyport/sbc/config"
	"sallyport/sbc/event"
	"sallyport/sbc/exchange"
	"sallyport/sbc/header"
	"sallyport/sbc/message"
	"sallyport/sbc/registrar"
	"sallyport/sbc/tu"
)

// phones is what the assembly keeps of roaming phones. All of it belongs to whoever has the core's turn.
type phones struct {
	book      *registrar.Book
	registrar *registrar.Settings
	exchanges *exchange.Settings
	events    *event.Settings
	decoys    *header.Decoys

	template *tu.Peer              // of every phone; the three below are made of it
	known    *tu.Peer              // a source address with bindings, whoever speaks
	stranger *tu.Peer              // a source without any
	peers    map[nat.Flow]*tu.Peer // flows with bindings, until one of theirs changes
	ported   map[string]bool       // tokens of bindings whose media came from other ports than their SDP said
	sealed   map[string]sealing    // of the last call of a binding, by token

	keeper        tu.UserID
	nonces        nonces
	held          held
	visits        visits
	subscriptions map[string]int                    // by the address-of-record of the phone that has a leg of them
	watching      map[tu.UserID]watch               // subscriptions in progress
	followers     map[string]map[tu.UserID]struct{} // calls and subscriptions with a leg of a phone, by its token
	follows       map[tu.UserID]string              // that token
	kept          *keeping                          // what outlives the program; nil: nothing
}

// watch is a subscription in progress and the name that it counts for.
type watch struct {
	user *event.Subscription
	aor  string
}

const (
	subscriptionsMost = 128     // of one binding, as an attendant's lamps need; and of all phones without one together
	watchingMost      = 100_000 // of all: 25,000 phones with four each
)

func newPhones(names *tu.NameKey, tags *tu.TagKey) *phones {
	p := &phones{
		book: registrar.NewBook(), peers: map[nat.Flow]*tu.Peer{}, ported: map[string]bool{}, sealed: map[string]sealing{}, subscriptions: map[string]int{},
		watching: map[tu.UserID]watch{}, followers: map[string]map[tu.UserID]struct{}{}, follows: map[tu.UserID]string{},
	}
	p.registrar = &registrar.Settings{Book: p.book, Names: names, Tags: tags}
	p.decoys = &header.Decoys{}
	p.registrar.Decoys = p.decoys
	p.exchanges = &exchange.Settings{Names: names, Tags: tags, Decoys: p.decoys}
	p.events = &event.Settings{Names: names, Tags: tags, Decoys: p.decoys}
	return p
}

// configure takes a configuration; users that run see it at once.
func (p *phones) configure(w *world) {
	s := w.snap
	template := w.phone
	p.template = &template
	known, stranger := template, template
	stranger.Stranger = true
	p.known, p.stranger = &known, &stranger
	clear(p.peers)
	r := p.registrar
	r.Domain, r.Outside, r.Keepalive, r.Internal = s.PBX.Domain, s.Phones.Outside, s.Phones.Keepalive, w.internal
	r.Inside, r.Reauthenticate = s.Phones.Inside, s.Phones.Reauthenticate
	p.book.Hold(s.Phones.Grace, s.Phones.Outside)
	r.Limits = registrar.Limits{Contacts: s.Phones.Contacts, PerSource: s.Phones.PerSource, Bindings: bindingsMost}
	p.exchanges.Domain, p.events.Domain = s.PBX.Domain, s.PBX.Domain
	w.calls.Decoys, w.calls.Ties, w.calls.Behind = p.decoys, p.events.Ties, p.behind
}

// bindingsMost bounds the bindings of all phones.
const bindingsMost = 25_000

// addPhones makes what all roaming phones have in common.
func (w *world) addPhones() {
	s := w.snap
	w.phone = tu.Peer{
		Kind: tu.KindPhone, Side: nat.Outside, Realm: nat.Phones, Host: s.PBX.Domain, Domain: s.PBX.Domain, Symmetric: true,
		Never: w.sockets, Trusted: s.Phones.Trusted,
		Media:          tu.MediaPolicy{Latch: s.Phones.Latch, Timeout: s.Media.Timeout, Hold: s.Media.Hold, SRTP: s.Phones.SRTP, DTMF: s.Phones.DTMF},
		AttemptTimeout: s.PBX.AttemptTimeout, RingTimeout: s.Phones.RingTimeout, TimerC: timerC, Rules: s.Phones.Rules,
		Codecs: s.Phones.Codecs, SessionTimer: s.Phones.SessionTimer, MaxCall: s.Phones.MaxCall,
		Transfer: s.Phones.Transfer, Referral: referralOf(s.Phones.Transfer),
	}
}

// referralOf is what becomes of phones' own REFERs. Its call, and the leg that it leads to, would stand on the same side as the
// PBX that is to be transferred: that is for the PBX to do.
func referralOf(way tu.Transfer) tu.Transfer {
	if way == tu.TransferLocal {
		return tu.TransferPass
	}
	return way
}

// serves reports whether phones may register in a domain.
func (w *world) serves(host string) bool { return served(w.snap, host) }

// served reports whether a host, as URIs write it, is one of those that a configuration has phones register with.
func served(snap *config.Snapshot, host string) bool {
	return slices.Contains(snap.Phones.Domains, message.PlainHost(host))
}

// aor is the address-of-record that a phone's From means: every domain that we serve stands for the PBX's.
func (w *world) aor(u message.URI) string {
	if !w.serves(u.Host) {
		return ""
	}
	return u.AoR(w.snap.PBX.Domain)
}

// identify is who stands behind a flow of the phones' listeners: it is never nobody, since what the guard lets in here is
// answered.
func (p *phones) identify(f nat.Flow) *tu.Peer {
	if peer := p.peers[f]; peer != nil {
		return peer
	}
	on := p.book.OnFlow(f)
	if len(on) == 0 {
		if p.book.At(f.Interface, f.Remote.Addr()) > 0 {
			return p.known
		}
		return p.stranger
	}
	peer := *p.template
	peer.Name, peer.Token, peer.Ported = on[0].AoR, on[0].Token, p.isPorted(on[0])
	peer.Sealed, peer.Profile = p.sealing(on[0])
	peer.Keyed, peer.Checked = p.sealed[on[0].Token].keyed, p.sealed[on[0].Token].checked
	for _, b := range on {
		peer.AoRs = append(peer.AoRs, b.AoR)
	}
	p.peers[f] = &peer
	return &peer
}

// peer is a phone by one of its bindings.
func (p *phones) peer(b *registrar.Binding) *tu.Peer {
	peer := *p.template
	peer.Name, peer.Token, peer.Ported = b.AoR, b.Token, p.isPorted(b)
	peer.Sealed, peer.Profile = p.sealing(b)
	peer.Keyed, peer.Checked = p.sealed[b.Token].keyed, p.sealed[b.Token].checked
	for _, x := range p.book.OnFlow(b.Flow) {
		peer.AoRs = append(peer.AoRs, x.AoR)
	}
	return &peer
}

// isPorted reports whether the NAT of a phone is known to change ports: its signalling shows it, or its media did. Then
// the port in its SDP is not worth waiting for, and its user is heard from the first word on.
func (p *phones) isPorted(b *registrar.Binding) bool {
	if p.ported[b.Token] {
		return true
	}
	named := b.Contact.URI.Port
	if named == 0 {
		named = 5060
	}
	return b.Flow.Transport == nat.UDP && (b.NAT == nat.KindPort || b.NAT == nat.KindAddress) && named != b.Flow.Remote.Port()
}

// sealing tells whether a phone is better offered SRTP than plain RTP, and by which profile: as its last call was. TLS for its
// signalling says nothing about that: a phone that cannot do SRTP refuses a call that is offered with it.
func (p *phones) sealing(b *registrar.Binding) (sealed bool, profile string) {
	last := p.sealed[b.Token]
	return last.srtp, last.profile
}

// sealing is how the audio of a phone's last call was.
type sealing struct {
	srtp    bool
	profile string
	keyed   bool // by DTLS
	checked bool // with ICE
}

// learnPorts learns from a call's record whether the media of a phone came from another port than its SDP said, and whether
// it was SRTP.
func (p *phones) learnPorts(r *tu.CDR) {
	at := r.Source
	if r.Direction == "outbound" {
		at = r.Destination
	}
	for _, b := range p.book.AoR(r.AoR) {
		if b.Flow.Remote.String() != at {
			continue
		}
		if len(r.Media) > 0 && !r.Answer.IsZero() {
			m := &r.Media[0].Outside
			p.sealed[b.Token] = sealing{
				srtp: m.SRTP != "", profile: cmp.Or(m.Profile, "RTP/AVP"), keyed: m.SRTP == tu.ByHandshake, checked: m.ICE,
			}
			delete(p.peers, b.Flow)
		}
		for i := range r.Media {
			if m := &r.Media[i].Outside; m.Latched && m.Ported != p.ported[b.Token] {
				p.setPorted(b.Token, m.Ported)
				delete(p.peers, b.Flow)
			}
		}
	}
}

func (p *phones) setPorted(token string, on bool) {
	if on {
		p.ported[token] = true
	} else {
		delete(p.ported, token)
	}
}

// phoneHop is the way to a phone.
func (a *assembly) phoneHop(b *registrar.Binding) tu.Hop {
	target := b.Target()
	hop := tu.Hop{ID: b.Token, Peer: a.phones.peer(b), Flow: b.Flow, Target: &target}
	if i := a.world.interfaces[b.Flow.Interface]; i != nil {
		hop.Here = a.world.local(i, b.Flow.Remote.Addr(), netip.Addr{})
	}
	return hop
}

// settleBindings does what follows from changes of bindings: the guard's known addresses, connections to be kept, the store,
// and calls of phones that have moved.
func (a *assembly) settleBindings() {
	news := false
	for changes := a.phones.book.Changes(); len(changes) > 0; changes = a.phones.book.Changes() {
		for _, ch := range changes {
			news = a.settleBinding(ch.Old, ch.New) || news
		}
	}
	if news && a.phones.keeper != 0 {
		a.sbc.core.Tell(a.phones.keeper, tu.Tick{})
	}
}

// settleBinding does so for one change. It reports whether that was more than a refresh.
func (a *assembly) settleBinding(before, after *registrar.Binding) (news bool) {
	p, guard := a.phones, a.sbc.guard
	switch {
	case before == nil:
		guard.AddPhone(after.Flow.Remote.Addr())
	case after == nil:
		guard.RemovePhone(before.Flow.Remote.Addr())
		delete(p.ported, before.Token)
		delete(p.sealed, before.Token)
	case before.Flow.Remote.Addr() != after.Flow.Remote.Addr():
		guard.AddPhone(after.Flow.Remote.Addr())
		guard.RemovePhone(before.Flow.Remote.Addr())
	}
	refreshed := before != nil && after != nil && before.Flow == after.Flow && before.Token == after.Token && before.Lost == after.Lost
	for _, b := range []*registrar.Binding{before, after} {
		if b == nil || refreshed {
			continue
		}
		delete(p.peers, b.Flow)
		if b.Flow.Transport.Reliable() {
			if bound := len(p.book.OnFlow(b.Flow)) > 0; !a.sbc.sockets.Keep(b.Flow, bound) && bound {
				p.book.Lost(b.Flow) // it ended before the PBX had answered
			}
		}
	}
	a.tellBinding(before, after)
	if p.kept != nil {
		p.kept.note(a.world, before, after)
	}
	if before != nil && after != nil && before.Flow != after.Flow {
		a.moved(after)
	}
	return !refreshed
}

// moved tells those that have a leg of a phone where it is now.
func (a *assembly) moved(b *registrar.Binding) {
	ev := tu.Moved{Token: b.Token, Flow: b.Flow, Here: a.phoneHop(b).Here}
	for id := range a.phones.followers[b.Token] {
		a.sbc.core.Tell(id, ev)
	}
}

// follow notes that a user has a leg of the phone with a token.
func (p *phones) follow(token string, id tu.UserID) {
	if token == "" {
		return
	}
	if p.followers[token] == nil {
		p.followers[token] = map[tu.UserID]struct{}{}
	}
	p.followers[token][id] = struct{}{}
	p.follows[id] = token
}

func (p *phones) unfollow(id tu.UserID) {
	token, ok := p.follows[id]
	if !ok {
		return
	}
	delete(p.follows, id)
	if delete(p.followers[token], id); len(p.followers[token]) == 0 {
		delete(p.followers, token)
	}
}

// lost hears that a connection is gone.
func (a *assembly) lost(f nat.Flow) {
	a.phones.book.Lost(f)
	a.settleBindings()
	a.lostRegistrar(f)
}

// expire does for phones what is due by time alone.
func (a *assembly) expire(now time.Time) {
	a.phones.book.Expire(now)
	a.settleBindings()
	a.startKeeper()
	for _, r := range a.phones.held.due(now) {
		a.write(r)
	}
}

// startKeeper starts the user that keeps the ways to phones open, once there are listeners for phones.
func (a *assembly) startKeeper() {
	has := slices.ContainsFunc(a.world.snap.Interfaces, func(i nat.Interface) bool {
		return i.Side == nat.Outside && i.Realm == nat.Phones
	})
	if has && a.phones.keeper == 0 {
		a.phones.keeper = a.sbc.core.Start(func(_ tu.UserID, seed tu.Seed) tu.User {
			return registrar.NewKeeper(a.phones.registrar, seed)
		})
	}
}
