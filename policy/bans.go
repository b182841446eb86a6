package policy

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gaissmai/bart"

	"sallyport/nat"
	"sallyport/sbc/userpart"
)

// Ban refuses sources for a time: an address or a prefix, one port of an address, or one user from an address. It is a
// plain value; its JSON is what is kept over restarts.
type Ban struct {
	Prefix   netip.Prefix `json:"prefix"`
	Port     uint16       `json:"port,omitempty"`     // only what this port of the address sends: one flow; 0: all
	AoR      string       `json:"aor,omitempty"`      // only requests of this user, user or user@host; empty: of everybody
	Realms   []nat.Realm  `json:"-"`                  // empty: all
	Until    time.Time    `json:"until,omitzero"`     // zero: until it is removed
	Since    time.Time    `json:"since"`              // when it was made
	Reason   string       `json:"reason"`             // why, in the words of who made it
	By       string       `json:"by,omitempty"`       // who made it: the operator's uid, or "evidence"
	Auto     bool         `json:"auto,omitempty"`     // made from evidence: trunks and nodes raise an alarm instead
	Count    int          `json:"count,omitempty"`    // how many bans from evidence this is, those that are forgiven not counted
	Evidence []string     `json:"evidence,omitempty"` // what counted, one clause a line
	Scope    []string     `json:"realms,omitempty"`   // Realms by name, filled by List

	user  string // folded user part of AoR
	place place  // where the offence that made it happened
	score int    // points that made it
}

// place is where something happened; known is false for what an operator did.
type place struct {
	known     bool
	side      nat.Side
	realm     nat.Realm
	transport nat.Transport
}

// byEvidence is who makes automatic bans.
const byEvidence = "evidence"

// mostBans caps the table. A full one refuses further bans; it never drops one that holds.
const mostBans = 100_000

// byHandShare is the part of the table, one of so many, that is left to bans by hand: however many addresses attack, the
// operator can still ban a prefix of them.
const byHandShare = 16

// mostNarrow caps the automatic bans of ports and users at one address. Who comes from ever new ports gains nothing by
// them, and looking through them costs time.
const mostNarrow = 64

// Bans is the table of bans, in memory. Readers never wait: each change makes a new table that shares what did not
// change with the old one.
type Bans struct {
	mu      sync.Mutex
	most    int
	all     map[banKey]*banEntry // in force
	ends    banQueue             // those of them that end by themselves
	past    map[banKey]*banEntry // automatic ones that have ended and are not forgiven yet
	forgets banQueue             // the same ones
	table   atomic.Pointer[bart.Table[*banNode]]
	draft   *bart.Table[*banNode]    // the next table while many changes are under way, else nil
	forgive atomic.Int64             // policy.bans.most: what it takes to be forgiven one
	lifted  func(p netip.Prefix) int // forgets what else is held against the sources; returns how many blocks it lifted
	news    banNews
}

// banKey names one ban.
type banKey struct {
	prefix netip.Prefix
	port   uint16
	user   string
	auto   bool
}

// banNode is all bans of exactly one prefix. It never changes.
type banNode struct {
	prefix     netip.Prefix
	hand, auto *Ban
	narrow     []*Ban // of a port or a user
}

func (b *Bans) init(most int) {
	b.most = most
	b.all, b.past = make(map[banKey]*banEntry), make(map[banKey]*banEntry)
	b.table.Store(new(bart.Table[*banNode]))
	b.forgive.Store(int64(defaultMostBan))
}

// BanPrefix is what banning one address means: the address itself, of IPv6 its /64.
func BanPrefix(a netip.Addr) netip.Prefix { return SourcePrefix(a) }

// Key names the ban among all others, in one line: the key to keep it under.
func (ban *Ban) Key() string {
	return strings.TrimSpace(ban.keyless() + userpart.Escaped(foldUser(ban.AoR)))
}

// IsUnder reports whether a ban may have been kept under a key: its own, or of that what is no spelling of a user, which earlier
// programs had otherwise.
func (ban *Ban) IsUnder(key string) bool {
	return key == ban.Key() || ban.AoR != "" && strings.HasPrefix(key, ban.keyless())
}

// keyless is what stands before the user in a key.
func (ban *Ban) keyless() string {
	how := "hand"
	if ban.Auto {
		how = "auto"
	}
	return fmt.Sprintf("%s %s %d ", how, ban.Prefix.Masked(), ban.Port)
}

// Target says whom the ban is about: 198.51.100.7/32, 198.51.100.7:40122, or 204 from 198.51.100.7/32.
func (ban *Ban) Target() string {
	text := ban.Prefix.String()
	if ban.Port != 0 {
		text = netip.AddrPortFrom(ban.Prefix.Addr(), ban.Port).String()
	}
	if ban.AoR != "" {
		text = ban.AoR + " from " + text
	}
	return text
}

func (ban *Ban) key() banKey { return banKey{ban.Prefix, ban.Port, ban.user, ban.Auto} }

// Add makes a ban, or replaces the one of the same target. One by hand stands in place of an automatic one, too; an
// automatic one leaves those by hand alone.
func (b *Bans) Add(now time.Time, ban Ban) error {
	if !ban.Until.IsZero() && !ban.Until.After(now) {
		return fmt.Errorf("the ban would have ended at %s already; give a time to come or none", ban.Until.Format(time.RFC3339))
	}
	ban.Since = now
	if err := ban.settle(); err != nil {
		return err
	}
	b.mu.Lock()
	err := b.add(now, &ban)
	b.mu.Unlock()
	b.news.deliver()
	return err
}

// add puts a settled ban in force. The caller holds the lock.
func (b *Bans) add(now time.Time, ban *Ban) error {
	key := ban.key()
	if b.all[key] == nil {
		most := b.most
		if ban.Auto {
			most -= b.most / byHandShare
		}
		if len(b.all) >= most {
			b.expire(now)
		}
		if len(b.all) >= most {
			return fmt.Errorf("the table of bans is full (%d); remove some, or ban a wider prefix", len(b.all))
		}
		if node, _ := b.table.Load().Get(ban.Prefix); ban.Auto && ban.narrow() && node != nil && len(node.narrow) >= mostNarrow {
			return fmt.Errorf("%d ports or users of %s are banned already", mostNarrow, ban.Prefix)
		}
	}
	b.put(ban)
	if !ban.Auto {
		key.auto = true
		if e := b.all[key]; e != nil {
			b.replace(now, e)
		}
	}
	b.news.add(*ban, made)
	return nil
}

// settle checks a ban and brings it into the form in which it is kept: masked, cut to length, printable.
func (ban *Ban) settle() error {
	switch {
	case !ban.Prefix.IsValid():
		return fmt.Errorf("a ban needs an address or a prefix such as 192.0.2.0/24")
	case ban.Prefix.Addr().Is4In6():
		return fmt.Errorf("prefix %s is IPv4 in IPv6 spelling; write the IPv4 prefix", ban.Prefix)
	case ban.Prefix.Bits() == 0:
		return fmt.Errorf("a ban of %s would shut everybody out; close the listener instead", ban.Prefix)
	case ban.Port != 0 && !ban.Prefix.IsSingleIP():
		return fmt.Errorf("a ban of port %d needs a single address, not %s", ban.Port, ban.Prefix)
	}
	ban.Prefix = ban.Prefix.Masked()
	ban.AoR = plain(ban.AoR, maxAoR)
	ban.user = foldUser(ban.AoR)
	if ban.AoR != "" && ban.user == "" {
		return fmt.Errorf("the ban of user %q names no user; write 204 or 204@example.com", ban.AoR)
	}
	ban.Realms, ban.Scope = realmsNamed(ban.Realms, ban.Scope), nil
	ban.Reason, ban.By = plain(ban.Reason, maxBanText), plain(ban.By, maxBanText)
	ban.Count = min(max(ban.Count, 0), mostBanCount)
	ban.Evidence = slices.Clone(ban.Evidence[:min(len(ban.Evidence), maxEvidence)])
	for i, line := range ban.Evidence {
		ban.Evidence[i] = plain(line, maxBanText)
	}
	return nil
}

// realmsNamed completes realms by what a stored ban names; unknown names are left out. The names are List's to give.
func realmsNamed(realms []nat.Realm, names []string) []nat.Realm {
	if len(realms) == 0 && len(names) > 0 {
		return realmsOf(names)
	}
	return slices.Clone(realms)
}

// narrow reports a ban of a port or a user.
func (ban *Ban) narrow() bool { return ban.Port != 0 || ban.user != "" }

// Remove lifts every ban of exactly this prefix, those of its ports and users too, and forgets what else is held against
// the sources in it: their points, blocks, and how often they were banned. It reports false if nothing was in force.
func (b *Bans) Remove(p netip.Prefix) bool {
	p = p.Masked()
	blocks := 0
	if b.lifted != nil {
		blocks = b.lifted(p)
	}
	b.mu.Lock()
	removed := false
	source := SourcePrefix(p.Addr())
	for _, e := range b.entries(p) {
		// Of IPv6 the address stands for its /64, so a port's ban there belongs to it.
		if q := e.ban.Prefix; q == p || e.ban.narrow() && p == source && p.Contains(q.Addr()) {
			removed = removed || e.living
			b.erase(e)
		}
	}
	b.mu.Unlock()
	b.news.deliver()
	return removed || blocks > 0
}

// RemoveOne lifts the bans of exactly this target: prefix, port and user. It reports false if there are none.
func (b *Bans) RemoveOne(target Ban) bool {
	if target.settle() != nil {
		return false
	}
	b.mu.Lock()
	removed := false
	for _, auto := range []bool{false, true} {
		key := target.key()
		key.auto = auto
		for _, e := range []*banEntry{b.all[key], b.past[key]} {
			if e != nil {
				removed = removed || e.living
				b.erase(e)
			}
		}
	}
	b.mu.Unlock()
	b.news.deliver()
	return removed
}

// RemoveUser lifts the bans of a user, written 204 or 204@example.com, at whatever address. It reports false if there are none.
func (b *Bans) RemoveUser(aor string) bool {
	user := foldUser(aor)
	if user == "" {
		return false
	}
	b.mu.Lock()
	removed := false
	for _, m := range []map[banKey]*banEntry{b.all, b.past} {
		for _, e := range m {
			if e.ban.user == user {
				removed = removed || e.living
				b.erase(e)
			}
		}
	}
	b.mu.Unlock()
	b.news.deliver()
	return removed
}

// entries lists all entries within a prefix, those in the past too.
func (b *Bans) entries(p netip.Prefix) (list []*banEntry) {
	for _, m := range []map[banKey]*banEntry{b.all, b.past} {
		for _, e := range m {
			if q := e.ban.Prefix; p.Bits() <= q.Bits() && p.Contains(q.Addr()) {
				list = append(list, e)
			}
		}
	}
	return list
}

// List is all bans that hold now, by prefix.
func (b *Bans) List(now time.Time) []Ban {
	b.mu.Lock()
	b.expire(now)
	list := values(b.all)
	b.mu.Unlock()
	b.news.deliver()
	return list
}

// OfUser is the bans of a user, written 204 or 204@example.com, that hold now.
func (b *Bans) OfUser(now time.Time, aor string) []Ban {
	user := foldUser(aor)
	return slices.DeleteFunc(b.List(now), func(x Ban) bool { return x.AoR == "" || x.user != user })
}

// Past is the automatic bans that have ended and still make the next one longer.
func (b *Bans) Past(now time.Time) []Ban {
	b.mu.Lock()
	b.expire(now)
	list := values(b.past)
	b.mu.Unlock()
	b.news.deliver()
	return list
}

// Len is how many bans are in force.
func (b *Bans) Len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.all)
}

func (b *Bans) lenPast() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.past)
}

func values(entries map[banKey]*banEntry) []Ban {
	list := make([]Ban, 0, len(entries))
	for _, e := range entries {
		list = append(list, e.ban.named())
	}
	slices.SortFunc(list, func(x, y Ban) int {
		return cmp.Or(x.Prefix.Addr().Compare(y.Prefix.Addr()), cmp.Compare(x.Prefix.Bits(), y.Prefix.Bits()),
			cmp.Compare(x.Port, y.Port), strings.Compare(x.AoR, y.AoR), strings.Compare(strconv.FormatBool(x.Auto), strconv.FormatBool(y.Auto)))
	})
	return list
}

// named is a copy with the names of its realms.
func (ban *Ban) named() Ban {
	c := *ban
	c.Scope = nil
	for _, r := range c.Realms {
		c.Scope = append(c.Scope, r.String())
	}
	return c
}

func (ban *Ban) ended(now time.Time) bool { return !ban.Until.IsZero() && !now.Before(ban.Until) }

func (ban *Ban) holdsAt(realm nat.Realm) bool {
	return len(ban.Realms) == 0 || slices.Contains(ban.Realms, realm)
}
