package registrar

import (
	"net/netip"
	"slices"
	"time"

	"sallyport/nat"
	"sallyport/sbc/credentials"
	"sallyport/sbc/message"
)

// Book holds the bindings of all phones. It belongs to whoever has the core's turn. What its methods return is good within
// that turn and not the caller's to change.
type Book struct {
	tokens  map[string]*entry
	aors    map[string][]*Binding   // in order of registration
	flows   map[nat.Flow][]*Binding // those that are not lost
	at      map[seen]int
	sources map[netip.Addr][]string // tokens, by limitKey
	clock   alarms[*entry]
	changes []Change
	high    int
	arrived uint64 // numbers the REGISTERs in order of arrival

	// fresh are flows that gained their first binding or lost their last one since the Keeper looked.
	fresh   []nat.Flow
	watched bool // there is a Keeper
	resync  bool // there were too many: it must look through all

	impressions memory[[]string] // what first REGISTERs showed of the way, by Call-ID
	departures  memory[mark]     // tokens that were removed, with the REGISTER that did it
	names       memory[ids]      // of REGISTERs that were challenged, by Call-ID: their retries have the same
	suspects    credentials.Suspects

	busy    map[string]int // REGISTERs of an address-of-record with bindings that are on their way to the PBX
	least   uint32         // seconds that the PBX has asked for by a 423
	figures Figures
	census  census

	spare, outside time.Duration // see Hold
	outage         outage
}

// seen is an address as an interface sees it.
type seen struct {
	iface uint16
	addr  netip.Addr
}

// entry is the place of a token in the Book.
type entry struct {
	b     *Binding
	order uint64 // of the REGISTER that wrote it
	ids   ids    // of that one towards the PBX: a refresh has the same
	index int

	login  credentials.Login // what the PBX knows the phone as
	owed   bool              // a REGISTER of this phone went to the PBX, which has accepted none since
	asking int               // refreshes of this phone that are on their way to the PBX
	held   bool              // an outage is to blame if its time runs out
	kept   time.Time         // until when it is kept beyond its time; zero: no longer
	told   bool              // the census has it among those that are held
}

// ids are those of a REGISTER towards the PBX, and what they are a function of besides its Call-ID.
type ids struct{ fromTag, who, callID, tag string }

func (e *entry) due() time.Time {
	if end := e.b.end(); end.After(e.kept) {
		return end
	}
	return e.kept
}
func (e *entry) place() *int { return &e.index }

// NewBook makes an empty one.
func NewBook() *Book {
	return &Book{
		tokens: map[string]*entry{}, aors: map[string][]*Binding{}, flows: map[nat.Flow][]*Binding{}, at: map[seen]int{},
		sources: map[netip.Addr][]string{}, census: census{nodes: map[string]int{}},
	}
}

// Token is the binding that a token stands for, or nil.
func (b *Book) Token(token string) *Binding {
	if e := b.tokens[token]; e != nil {
		return e.b
	}
	return nil
}

// AoR lists the bindings of an address-of-record in order of registration.
func (b *Book) AoR(aor string) []*Binding { return b.aors[aor] }

// OnFlow lists the bindings of exactly this flow in order of registration. A lost flow has none.
func (b *Book) OnFlow(f nat.Flow) []*Binding { return b.flows[f] }

// At counts the bindings, lost ones too, whose phone was seen at an address by an interface.
func (b *Book) At(iface uint16, a netip.Addr) int { return b.at[seen{iface, a.Unmap()}] }

// Speaks is the binding of an address-of-record that a request from a flow may be from: the one of exactly this flow, else
// one of the same interface and address, else nil. A NAT may well have given another port (RFC 4787 §4.1).
func (b *Book) Speaks(aor string, f nat.Flow) *Binding {
	var near *Binding
	for _, x := range b.aors[aor] {
		if x.Flow == f && !x.Lost {
			return x
		}
		if near == nil && x.Flow.Interface == f.Interface && x.Flow.Remote.Addr().Unmap() == f.Remote.Addr().Unmap() {
			near = x
		}
	}
	return near
}

// Len counts the bindings.
func (b *Book) Len() int { return len(b.tokens) }

// High is the most there ever were.
func (b *Book) High() int { return b.high }

// All yields every binding, in no order. The Book must not change meanwhile.
func (b *Book) All(yield func(*Binding) bool) {
	for _, e := range b.tokens {
		if !yield(e.b) {
			return
		}
	}
}

// Changes are those since the last call, in order.
func (b *Book) Changes() []Change {
	out := b.changes
	b.changes = nil
	return out
}

// Next is when Expire has something to do; the zero time: never.
func (b *Book) Next() time.Time {
	if e, ok := b.clock.first(); ok {
		return e.due()
	}
	return time.Time{}
}

// Expire drops the bindings whose time is over: what the phone was told, and a little grace; in an outage more.
func (b *Book) Expire(now time.Time) {
	for {
		e, ok := b.clock.first()
		if !ok || e.due().After(now) {
			return
		}
		if kept := b.until(now, e); !kept.IsZero() {
			e.kept = kept
			b.countHeld(e)
			b.clock.set(e)
			continue
		}
		b.remove(e)
	}
}

// Lost notes that a connection is gone: its bindings stay until they expire, but nothing reaches them. A datagram's flow
// has no connection to lose.
func (b *Book) Lost(f nat.Flow) {
	if !f.Transport.Reliable() {
		return
	}
	for _, x := range slices.Clone(b.flows[f]) {
		if x.Lost {
			continue
		}
		lost := *x
		lost.Lost = true
		b.swap(b.tokens[x.Token], &lost)
	}
}

// Restore takes the bindings of an earlier run; those that have expired, and a second one of a token, are left out. What has
// expired while no program ran is held, see Hold. It makes no Changes. Programs before had users as they were spelled: what was two is one.
func (b *Book) Restore(list []Binding, now time.Time) {
	order := func(x, y Binding) int { return x.Since.Compare(y.Since) }
	for _, x := range slices.SortedStableFunc(slices.Values(list), order) {
		if x.AoR = canonical(x.AoR); x.Token == "" || x.AoR == "" || b.tokens[x.Token] != nil {
			continue
		}
		kept := x
		// As moments of this run: the clock may be set while it runs, and wall times would not follow.
		kept.Expires, kept.ExpiresPBX = now.Add(x.Expires.Sub(now)), now.Add(x.ExpiresPBX.Sub(now))
		if !x.Accepted.IsZero() {
			kept.Accepted = now.Add(x.Accepted.Sub(now))
		}
		e := &entry{b: &kept, index: -1}
		if !kept.end().After(now) {
			e.held = true
			if e.kept = b.until(now, e); e.kept.IsZero() {
				continue
			}
		}
		b.restore(e)
	}
	b.outage.last = now
}

// canonical is a kept address-of-record as message.URI.AoR writes it today; empty: it names nobody.
func canonical(aor string) string {
	user, host := message.SplitAoR(aor)
	if user == "" {
		return ""
	}
	return user + "@" + host
}

// insert adds a binding under a new token.
func (b *Book) insert(e *entry) {
	b.restore(e)
	b.changes = append(b.changes, Change{New: e.b})
}

// restore is insert without a Change.
func (b *Book) restore(e *entry) {
	x := e.b
	b.tokens[x.Token] = e
	b.aors[x.AoR] = append(b.aors[x.AoR], x)
	b.attach(x)
	b.census.add(x)
	b.countHeld(e)
	b.clock.set(e)
	b.high = max(b.high, len(b.tokens))
}

// remove drops a binding.
func (b *Book) remove(e *entry) {
	x := e.b
	delete(b.tokens, x.Token)
	drop(b.aors, x.AoR, x)
	b.detach(x)
	b.census.drop(x)
	b.clock.drop(e)
	e.free()
	b.countHeld(e)
	b.changes = append(b.changes, Change{Old: x})
}

// swap puts a newer binding in the place of an entry's.
func (b *Book) swap(e *entry, x *Binding) {
	old := e.b
	e.b = x
	b.census.drop(old)
	b.census.add(x)
	b.countHeld(e)
	list := b.aors[x.AoR]
	list[slices.Index(list, old)] = x
	if old.Flow == x.Flow && old.Lost == x.Lost {
		if on := b.flows[x.Flow]; !x.Lost {
			on[slices.Index(on, old)] = x
		}
	} else {
		b.detach(old)
		b.attach(x)
	}
	b.clock.set(e)
	b.changes = append(b.changes, Change{Old: old, New: x})
}

// attach files a binding under its flow and source.
func (b *Book) attach(x *Binding) {
	a := x.Flow.Remote.Addr().Unmap()
	b.at[seen{x.Flow.Interface, a}]++
	b.sources[limitKey(a)] = append(b.sources[limitKey(a)], x.Token)
	if x.Lost {
		return
	}
	if len(b.flows[x.Flow]) == 0 {
		b.tellKeeper(x.Flow)
	}
	b.flows[x.Flow] = append(b.flows[x.Flow], x)
}

func (b *Book) detach(x *Binding) {
	a := x.Flow.Remote.Addr().Unmap()
	less(b.at, seen{x.Flow.Interface, a})
	drop(b.sources, limitKey(a), x.Token)
	if x.Lost {
		return
	}
	drop(b.flows, x.Flow, x)
	if len(b.flows[x.Flow]) == 0 {
		b.tellKeeper(x.Flow)
	}
}

// freshMost bounds what waits for the Keeper to look; beyond it looks through all flows.
const freshMost = 1024

func (b *Book) tellKeeper(f nat.Flow) {
	switch {
	case !b.watched || b.resync:
	case len(b.fresh) >= freshMost:
		b.fresh, b.resync = nil, true
	default:
		b.fresh = append(b.fresh, f)
	}
}

// fromSource counts the bindings of a source, IPv6 by /64, over all interfaces.
func (b *Book) fromSource(a netip.Addr) int { return len(b.sources[limitKey(a.Unmap())]) }

// limitKey is what a limit per source counts by: who has one IPv6 address has 2⁶⁴ of them.
func limitKey(a netip.Addr) netip.Addr {
	if a.Is4() || !a.IsValid() {
		return a
	}
	p, _ := a.WithZone("").Prefix(64)
	return p.Addr()
}

func drop[K, V comparable](m map[K][]V, key K, x V) {
	list := m[key]
	i := slices.Index(list, x)
	if i < 0 {
		return
	}
	if len(list) == 1 {
		delete(m, key)
		return
	}
	m[key] = slices.Delete(list, i, i+1)
}

func less[K comparable](m map[K]int, key K) {
	if m[key]--; m[key] <= 0 {
		delete(m, key)
	}
}
