package policy

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gaissmai/bart"

	"sallyport/nat"
)

// Ban refuses a range of sources for a time.
type Ban struct {
	Prefix netip.Prefix `json:"prefix"`
	Realms []nat.Realm  `json:"-"`                // empty: all
	Until  time.Time    `json:"until,omitzero"`   // zero: until it is removed
	Since  time.Time    `json:"since"`            // when it was made
	Reason string       `json:"reason"`           // why, in the words of who made it
	By     string       `json:"by,omitempty"`     // who made it: the operator's uid, or "evidence"
	Auto   bool         `json:"auto,omitempty"`   // made from evidence: trunks and nodes raise an alarm instead
	Scope  []string     `json:"realms,omitempty"` // Realms by name, filled by List
}

// mostBans caps the table. A full one refuses further bans; it never drops one that holds.
const mostBans = 100_000

// Bans is the table of bans, in memory. Readers never wait: each change makes a new table that shares what did not
// change with the old one.
type Bans struct {
	mu    sync.Mutex
	most  int
	all   map[netip.Prefix]*Ban
	table atomic.Pointer[bart.Table[*Ban]]
}

func (b *Bans) init(most int) {
	b.most = most
	b.all = make(map[netip.Prefix]*Ban)
	b.table.Store(new(bart.Table[*Ban]))
}

// BanPrefix is what banning one address means: the address itself, of IPv6 its /64.
func BanPrefix(a netip.Addr) netip.Prefix { return SourcePrefix(a) }

// Add makes a ban, or replaces the one of the same prefix.
func (b *Bans) Add(now time.Time, ban Ban) error {
	if !ban.Prefix.IsValid() {
		return fmt.Errorf("a ban needs an address or a prefix such as 192.0.2.0/24")
	}
	if ban.Prefix.Bits() == 0 {
		return fmt.Errorf("a ban of %s would shut everybody out; close the listener instead", ban.Prefix)
	}
	if !ban.Until.IsZero() && !ban.Until.After(now) {
		return fmt.Errorf("the ban would have ended at %s already; give a time to come or none", ban.Until.Format(time.RFC3339))
	}
	ban.Prefix = ban.Prefix.Masked()
	ban.Since = now
	ban.Realms = slices.Clone(ban.Realms)
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, there := b.all[ban.Prefix]; !there && len(b.all) >= b.most {
		b.expire(now)
		if len(b.all) >= b.most {
			return fmt.Errorf("the table of bans is full (%d); remove some, or ban a wider prefix", b.most)
		}
	}
	b.all[ban.Prefix] = &ban
	b.table.Store(b.table.Load().InsertPersist(ban.Prefix, &ban))
	return nil
}

// Remove lifts the ban of exactly this prefix. It reports false if there is none.
func (b *Bans) Remove(p netip.Prefix) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	p = p.Masked()
	if _, there := b.all[p]; !there {
		return false
	}
	b.drop(p)
	return true
}

// List is all bans that hold now, by prefix.
func (b *Bans) List(now time.Time) []Ban {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expire(now)
	list := make([]Ban, 0, len(b.all))
	for _, ban := range b.all {
		c := *ban
		for _, r := range c.Realms {
			c.Scope = append(c.Scope, r.String())
		}
		list = append(list, c)
	}
	slices.SortFunc(list, func(x, y Ban) int {
		return cmp.Or(x.Prefix.Addr().Compare(y.Prefix.Addr()), cmp.Compare(x.Prefix.Bits(), y.Prefix.Bits()))
	})
	return list
}

// Expire forgets the bans that have ended. They stop counting at once when they end; this only frees their room.
func (b *Bans) Expire(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expire(now)
}

func (b *Bans) expire(now time.Time) {
	for p, ban := range b.all {
		if ban.ended(now) {
			b.drop(p)
		}
	}
}

func (b *Bans) drop(p netip.Prefix) {
	delete(b.all, p)
	b.table.Store(b.table.Load().DeletePersist(p))
}

func (ban *Ban) ended(now time.Time) bool { return !ban.Until.IsZero() && !now.Before(ban.Until) }

// mayHold reports whether any ban covers a source, ended or not.
func (b *Bans) mayHold(source netip.Addr) bool { return b.table.Load().Contains(source) }

// find is the narrowest ban, made by hand or from evidence, that holds for a source at a realm, or nil. It goes on to
// wider ones where the narrowest has ended, is of another realm or of the other kind.
func (b *Bans) find(now time.Time, source netip.Addr, realm nat.Realm, auto bool) *Ban {
	table := b.table.Load()
	ban, ok := table.Lookup(source)
	for ok && (ban.Auto != auto || ban.ended(now) || !ban.holdsAt(realm)) {
		wider := ban.Prefix.Bits() - 1
		if wider < 0 {
			return nil
		}
		ban, ok = table.LookupPrefix(netip.PrefixFrom(source, wider).Masked())
	}
	if !ok {
		return nil
	}
	return ban
}

func (ban *Ban) holdsAt(realm nat.Realm) bool {
	return len(ban.Realms) == 0 || slices.Contains(ban.Realms, realm)
}
