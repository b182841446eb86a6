package policy

import (
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/gaissmai/bart"

	"sallyport/nat"
)

// phones are the source addresses with registered phones behind them. Readers never wait: each change makes a new table
// that shares with the old one what did not change. It is no larger than the table of bindings, whose owner keeps it.
type phones struct {
	mu    sync.Mutex
	count map[netip.Addr]int // bindings at an address
	total int
	table atomic.Pointer[bart.Lite] // the addresses
}

// registered is what such an address is at the phones' listeners outside: a phone, whose name the guard does not know.
var registered = Peer{Kind: Phone, Side: nat.Outside, Realm: nat.Phones}

func (p *phones) init() {
	p.count = make(map[netip.Addr]int)
	p.table.Store(new(bart.Lite))
}

// AddPhone says that a phone has registered from a source address. It is called once for each binding; the address is
// known, whatever the port, until RemovePhone was called as often. A new list of peers changes nothing about it.
func (g *Guard) AddPhone(source netip.Addr) {
	p, a := &g.phones, source.Unmap().WithZone("")
	if !a.IsValid() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count[a]++
	p.total++
	if p.count[a] == 1 {
		p.table.Store(p.table.Load().InsertPersist(netip.PrefixFrom(a, a.BitLen())))
	}
}

// RemovePhone says that a binding at a source address has ended, or has moved away from it. An address that has none
// left is a stranger's again; one that had none stays as it is.
func (g *Guard) RemovePhone(source netip.Addr) {
	p, a := &g.phones, source.Unmap().WithZone("")
	p.mu.Lock()
	defer p.mu.Unlock()
	n, there := p.count[a]
	if !there {
		return
	}
	p.total--
	if n > 1 {
		p.count[a] = n - 1
		return
	}
	delete(p.count, a)
	p.table.Store(p.table.Load().DeletePersist(netip.PrefixFrom(a, a.BitLen())))
}

// Phones is how many bindings the guard knows of, at all addresses together.
func (g *Guard) Phones() int {
	g.phones.mu.Lock()
	defer g.phones.mu.Unlock()
	return g.phones.total
}

// at is how many bindings there are at an address.
func (p *phones) at(source netip.Addr) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count[source]
}

// addresses is how many addresses have bindings.
func (p *phones) addresses() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.count)
}

// known reports whether phones are registered at a source address.
func (p *phones) known(source netip.Addr) bool { return p.table.Load().Lookup(source) }

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

// known reports whether a source is a peer anywhere: its evidence then has a place that strangers cannot take.
func (d directory) known(source netip.Addr) bool {
	return d.peers.known(source) || d.phones.known(source)
}
