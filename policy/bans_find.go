package policy

import (
	"net/netip"
	"time"

	"sallyport/nat"
)

// find is the narrowest ban of whole sources, made by hand or from evidence, that holds for a source at a realm, or nil.
// It goes on to wider ones where the narrowest has ended, is of another realm or of the other kind.
func (b *Bans) find(now time.Time, source netip.Addr, realm nat.Realm, auto bool) *Ban {
	table := b.table.Load()
	node, ok := table.Lookup(source)
	for ok {
		ban := node.hand
		if auto {
			ban = node.auto
		}
		if ban != nil && !ban.ended(now) && ban.holdsAt(realm) {
			return ban
		}
		wider := node.prefix.Bits() - 1
		if wider < 0 {
			return nil
		}
		node, ok = table.LookupPrefix(netip.PrefixFrom(source, wider).Masked())
	}
	return nil
}

// findNarrow is a ban of the message's port or user that holds, or nil. Only an address that has such a ban pays for it.
func (b *Bans) findNarrow(now time.Time, s *Subject, auto bool) *Ban {
	table := b.table.Load()
	source := s.Source.Addr()
	node, ok := table.Lookup(source)
	for ok {
		for _, ban := range node.narrow {
			if ban.Auto == auto && !ban.ended(now) && ban.holdsAt(s.Realm) && ban.isAbout(s) {
				return ban
			}
		}
		wider := node.prefix.Bits() - 1
		if wider < 0 {
			return nil
		}
		node, ok = table.LookupPrefix(netip.PrefixFrom(source, wider).Masked())
	}
	return nil
}

// isAbout reports whether a ban of a port or a user is about a message.
func (ban *Ban) isAbout(s *Subject) bool {
	if ban.Port != 0 && ban.Port != s.Source.Port() {
		return false
	}
	if ban.user == "" {
		return true
	}
	var b [maxUserName]byte
	return string(s.userName(&b)) == ban.user
}

// mayHold reports whether any ban covers a source, ended or not.
func (b *Bans) mayHold(source netip.Addr) bool { return b.table.Load().Contains(source) }

// binding is the ban that refuses a message, or nil. Alarm is true where evidence is held against a trunk or a node.
func (b *Bans) binding(now time.Time, s *Subject) (ban *Ban, alarm bool) {
	source := s.Source.Addr()
	if !b.mayHold(source) {
		return nil, false
	}
	if ban = b.find(now, source, s.Realm, false); ban != nil {
		return ban, false
	}
	if ban = b.findNarrow(now, s, false); ban != nil {
		return ban, false
	}
	switch {
	case s.Kind().system():
		// Anyone can forge a datagram of a trunk's: evidence never shuts a trunk or a node out.
		return nil, b.find(now, source, s.Realm, true) != nil || b.findNarrow(now, s, true) != nil
	case s.Kind() == Phone:
		// One phone behind an address, or somebody who forges it, never shuts the others behind it out.
		return b.findNarrow(now, s, true), false
	}
	if ban = b.find(now, source, s.Realm, true); ban == nil {
		ban = b.findNarrow(now, s, true)
	}
	return ban, false
}
