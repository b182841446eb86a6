package policy

import (
	"hash/maphash"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sallyport/nat"
)

// phones are the source addresses with registered phones behind them. Readers never wait: they walk a chain of a hash
// table whose links are replaced one at a time. It is no larger than the table of bindings, whose owner keeps it, and what
// is remembered of those that have just left.
type phones struct {
	seed  maphash.Seed
	heads []atomic.Pointer[site]

	mu       sync.Mutex // of the one who changes it
	total    int
	used     int           // addresses with bindings
	ticked   time.Duration // when Tick was last called, since the State's base
	departed []departure   // addresses that nobody is left at, oldest first
}

// site is what is known of an address, or of an IPv6 /64.
type site struct {
	at    netip.Prefix
	count atomic.Int32 // bindings
	past  atomic.Pointer[[]crowd]
	next  atomic.Pointer[site] // of the chain
}

// crowd is how many bindings there were until lately, and how long that counts. In a list each is smaller and counts longer
// than the one before it.
type crowd struct {
	count       int32
	made, until time.Duration
}

// departure is a site that may be forgotten at a time, if nobody has come back.
type departure struct {
	site  *site
	until time.Duration
}

// The bounds of what is remembered of phones that have left.
const (
	crowdLife    = 10 * time.Minute // docs/policy.md, Strangers: who was registered within that time
	crowdGrain   = 30 * time.Second // what leaves within so long of each other is remembered as one
	mostDeparted = 25_000           // addresses that are remembered though nobody is left there
	phoneChains  = 1 << 14
)

// registered is what such an address is at the phones' listeners outside: a phone, whose name the guard does not know.
var registered = Peer{Kind: Phone, Side: nat.Outside, Realm: nat.Phones}

func (p *phones) init(seed maphash.Seed) {
	p.seed = seed
	p.heads = make([]atomic.Pointer[site], phoneChains)
}

// AddPhone says that a phone has registered from a source address. It is called once for each binding; the address is
// known, whatever the port, until RemovePhone was called as often. A new list of peers changes nothing about it. Limits
// with per_phone have room for it at once.
func (g *Guard) AddPhone(source netip.Addr) {
	p, a := &g.phones, source.Unmap().WithZone("")
	if !a.IsValid() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.total++
	if p.make(exactly(a)).count.Add(1) == 1 {
		p.used++
	}
	if !a.Is4() {
		p.make(SourcePrefix(a)).count.Add(1)
	}
}

// RemovePhone says that a binding at a source address has ended, or has moved away from it. An address that has none
// left is a stranger's again; one that had none stays as it is. Limits with per_phone remember it for ten minutes, counted
// from the last Tick.
func (g *Guard) RemovePhone(source netip.Addr) {
	p, a := &g.phones, source.Unmap().WithZone("")
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.find(exactly(a))
	if at == nil || at.count.Load() == 0 {
		return
	}
	p.total--
	if at.count.Load() == 1 {
		p.used--
	}
	if a.Is4() {
		p.leave(at)
		return
	}
	if at.count.Add(-1) == 0 {
		p.forget(at) // its /64 is what counts
	}
	p.leave(p.find(SourcePrefix(a)))
}

// leave takes one binding from a site, and remembers that it was there. The lock is held.
func (p *phones) leave(at *site) {
	n, until := at.count.Load(), p.ticked+crowdLife
	var kept []crowd
	if past := at.past.Load(); past != nil {
		for _, c := range *past {
			if c.until > p.ticked && c.count > n {
				kept = append(kept, c)
			}
		}
	}
	if last := len(kept) - 1; last >= 0 && p.ticked < kept[last].made+crowdGrain {
		kept[last].until = until
	} else {
		kept = append(kept, crowd{n, p.ticked, until})
	}
	at.past.Store(&kept)
	if at.count.Add(-1) > 0 {
		return
	}
	if len(p.departed) >= mostDeparted {
		p.expire(mostDeparted/64, p.departed[mostDeparted/64].until)
	}
	p.departed = append(p.departed, departure{at, until})
}

// sweepMost is how many departed addresses one tick forgets, so that whoever registers meanwhile does not wait.
const sweepMost = 1024

// tick tells the time, and forgets addresses that nobody has come back to.
func (p *phones) tick(now time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ticked = max(p.ticked, now)
	p.expire(sweepMost, now)
}

// expire forgets at most so many addresses whose time is up. The lock is held.
func (p *phones) expire(most int, now time.Duration) {
	n := 0
	for ; n < min(most, len(p.departed)) && p.departed[n].until <= now; n++ {
		d := p.departed[n]
		if past := d.site.past.Load(); d.site.count.Load() == 0 && (past == nil || (*past)[len(*past)-1].until <= d.until) {
			p.forget(d.site)
		}
	}
	p.departed = slices.Delete(p.departed, 0, n)
}

// exactly is one address.
func exactly(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

func (p *phones) head(at netip.Prefix) *atomic.Pointer[site] {
	return p.chain(hashOf(p.seed, at.Addr()))
}

func (p *phones) chain(h uint64) *atomic.Pointer[site] { return &p.heads[h%uint64(len(p.heads))] }

// find is the site of an address or a /64, or nil.
func (p *phones) find(at netip.Prefix) *site { return p.findBy(hashOf(p.seed, at.Addr()), at) }

// findBy does so with the hash of its address.
func (p *phones) findBy(h uint64, at netip.Prefix) *site {
	for x := p.chain(h).Load(); x != nil; x = x.next.Load() {
		if x.at == at {
			return x
		}
	}
	return nil
}

// make finds a site or adds it. The lock is held.
func (p *phones) make(at netip.Prefix) *site {
	if x := p.find(at); x != nil {
		return x
	}
	x, head := &site{at: at}, p.head(at)
	x.next.Store(head.Load())
	head.Store(x)
	return x
}

// forget takes a site out of its chain. Who stands on it finds the way on. The lock is held.
func (p *phones) forget(at *site) {
	link := p.head(at.at)
	for x := link.Load(); x != nil; x = link.Load() {
		if x == at {
			link.Store(at.next.Load())
			return
		}
		link = &x.next
	}
}

// Phones is how many bindings the guard knows of, at all addresses together.
func (g *Guard) Phones() int {
	g.phones.mu.Lock()
	defer g.phones.mu.Unlock()
	return g.phones.total
}

// at is how many bindings there are at an address.
func (p *phones) at(source netip.Addr) int {
	if x := p.find(exactly(source)); x != nil {
		return int(x.count.Load())
	}
	return 0
}

// behind is how many bindings there are behind the key that limits are kept by, an address or a /64, or were within the
// last ten minutes, whichever is more.
func (p *phones) behind(now time.Duration, source netip.Addr) int {
	x := p.find(SourcePrefix(source))
	if x == nil {
		return 0
	}
	return x.lately(now)
}

func (x *site) lately(now time.Duration) int {
	n := x.count.Load()
	if past := x.past.Load(); past != nil {
		for _, c := range *past {
			if c.until > now {
				return int(max(n, c.count))
			}
		}
	}
	return int(n)
}

// known reports whether phones are registered at a source address.
func (p *phones) known(source netip.Addr) bool { return p.at(source) > 0 }

// directory says who a source is, from the list of peers and the registered phones.
type directory struct {
	peers  *peerTable
	phones *phones
}

// Knows reports whether a source is a known peer, a registered phone among them, at a listener: its connections are not
// counted with those of strangers.
func (g *Guard) Knows(i *nat.Interface, source netip.Addr) bool {
	return g.directory().find(i.Side, i.Realm, source.Unmap().WithZone("")) != nil
}

func (g *Guard) directory() directory { return directory{g.peers.Load(), &g.phones} }

// find is what a source is at a realm of a side, or nil for a stranger. What the list of peers says comes first.
func (d directory) find(side nat.Side, realm nat.Realm, source netip.Addr) *Peer {
	if p := d.peers.find(side, realm, source); p != nil {
		return p
	}
	if side == nat.Outside && realm == nat.Phones && d.phones.known(source) {
		return &registered
	}
	return nil
}

// identify fills in who a source is and how many phones are behind it. Phones register at one door, and count there.
func (d directory) identify(now time.Duration, s *Subject) {
	a := s.Source.Addr()
	s.Peer, s.peers = d.peers.find(s.Side, s.Realm, a), d.peers
	if s.Side != nat.Outside || s.Realm != nat.Phones {
		return
	}
	x := d.phones.find(exactly(a))
	if s.Peer == nil && x != nil && x.count.Load() > 0 {
		s.Peer = &registered
	}
	if !a.Is4() {
		x = d.phones.find(SourcePrefix(a))
	}
	if x != nil {
		s.Behind = x.lately(now)
	}
}

// known reports whether a source is a peer anywhere: its evidence then has a site that strangers cannot take.
func (d directory) known(source netip.Addr) bool {
	return d.peers.known(source) || d.phones.known(source)
}
