package sbc

import (
	"cmp"
	"slices"
	"strings"

	"sallyport/nat"
	"sallyport/policy"
	"sallyport/sbc/config"
	"sallyport/sbc/transport"
)

// classes are the classes (nat.Flow) of connections of TLS that we make to trunks: one for each different settings, so that trunks that
// want the same share the connections to an address, and no others do. A number stands for its settings as long as the program
// runs: a reload that leaves them as they are leaves the connections in use, one that changes a file makes another class, and what
// began before it goes on in its own.
//
// They never change; a configuration makes the next ones from those before it.
type classes struct {
	numbers map[settings]uint32
	of      map[uint32]*class
	ways    map[way]uint32    // of the configuration in force
	first   map[string]uint32 // likewise, of a trunk's first way
	last    uint32            // number
	turn    uint64            // of configurations
}

// settings are what two ends prove to each other.
type settings struct {
	files fingerprint // of our certificate and of the authorities of theirs; zero: those of outside.tls and of the system
	names string      // one of which the peer must prove, a line each; empty: its address
}

// way is how a configuration leads to a trunk: by a name of a peer or registrar, or by addresses, which have none.
type way struct{ trunk, host string }

// class is settings, and whose they are.
type class struct {
	settings settings
	who      *transport.Identity
	trunks   []string // in file order; of one that is not in force: whose it was
	ways     []way
	retired  uint64 // the turn at which it went out of force; 0: it is in force
}

// retiredMost bounds the classes that are kept for what began in them. They come of files that an administrator changes.
const retiredMost = 256

// next are the classes of a configuration: as it is written, for what DNS says changes no class.
func (c *classes) next(snap *config.Snapshot, read map[string]*trunkTLS) *classes {
	out := &classes{numbers: map[settings]uint32{}, of: map[uint32]*class{}, ways: map[way]uint32{}, first: map[string]uint32{}, turn: 1}
	if c != nil {
		out.last, out.turn = c.last, c.turn+1
	}
	for i := range snap.Trunks {
		t := &snap.Trunks[i]
		for _, host := range hostsOf(t) {
			out.add(c, way{t.Name, host}, read[t.Name])
		}
	}
	for _, x := range out.of {
		if len(x.trunks) == 1 {
			x.who.Peer = trunkPeer(x.trunks[0])
		}
	}
	out.retire(c)
	return out
}

// hostsOf are the names by which a trunk is reached, each once; "" stands for addresses.
func hostsOf(t *config.Trunk) (out []string) {
	list := t.Peers
	if t.Registration != nil {
		list = slices.Concat(list, t.Registration.Targets)
	}
	for _, p := range list {
		if !slices.Contains(out, p.Name.Host) {
			out = append(out, p.Name.Host)
		}
	}
	if len(out) == 0 {
		out = []string{""} // it calls, and is not called
	}
	return out
}

// trunkPeer is a trunk as the guard knows it.
func trunkPeer(name string) *policy.Peer {
	return &policy.Peer{Kind: policy.Trunk, Side: nat.Outside, Realm: nat.Trunks, Name: name}
}

// add gives a way its class: a peer that is called by a name must prove that name, not where DNS says that it is (RFC 5922 §4: the
// domain that the request was meant for), and none of the names that other trunks call by the same address.
func (c *classes) add(before *classes, w way, own *trunkTLS) {
	var who transport.Identity
	s := settings{}
	if own != nil {
		who, s.files = own.who, own.files
	}
	if len(who.Names) == 0 && w.host != "" {
		who.Names = []string{w.host}
	}
	s.names = strings.Join(who.Names, "\n")
	n, known := c.numbers[s]
	if !known {
		if n = before.number(s); n == 0 {
			c.last++
			n = c.last
		}
		c.numbers[s], c.of[n] = n, &class{settings: s, who: &who}
	}
	x := c.of[n]
	if !slices.Contains(x.trunks, w.trunk) {
		x.trunks = append(x.trunks, w.trunk)
	}
	x.ways = append(x.ways, w)
	c.ways[w] = n
	if c.first[w.trunk] == 0 {
		c.first[w.trunk] = n
	}
}

// retire keeps what was in force before, the latest of it.
func (c *classes) retire(before *classes) {
	if before == nil {
		return
	}
	var gone []uint32
	for n, old := range before.of {
		if c.of[n] == nil {
			x := *old
			x.retired = cmp.Or(x.retired, c.turn)
			c.of[n], c.numbers[x.settings] = &x, n
			gone = append(gone, n)
		}
	}
	slices.SortFunc(gone, func(a, b uint32) int { return cmp.Or(cmp.Compare(c.of[b].retired, c.of[a].retired), cmp.Compare(b, a)) })
	for _, n := range gone[min(len(gone), retiredMost):] {
		delete(c.numbers, c.of[n].settings)
		delete(c.of, n)
	}
}

// number is that of settings; 0: they have none.
func (c *classes) number(s settings) uint32 {
	if c == nil {
		return 0
	}
	return c.numbers[s]
}

// towards is the class of a trunk's connections to a peer that is called by a name, or "" by its address.
func (c *classes) towards(trunk, host string) uint32 {
	if c == nil {
		return 0
	}
	if n := c.ways[way{trunk, host}]; n != 0 {
		return n
	}
	return c.first[trunk]
}

// trunks are those that connections of a class are made for.
func (c *classes) trunks(n uint32) []string {
	if c == nil || n == 0 || c.of[n] == nil {
		return nil
	}
	return c.of[n].trunks
}

// identity is what a new connection of a class must prove; nil: its address. What began before its trunk's settings changed has the new
// ones where it needs another connection: the old certificate may have ended, or its key been lost.
func (c *classes) identity(n uint32) *transport.Identity {
	if c == nil || c.of[n] == nil {
		return nil
	}
	x := c.of[n]
	if x.retired == 0 {
		return x.who
	}
	var heir uint32
	for _, w := range x.ways {
		switch now := c.ways[w]; {
		case now == 0 || now == heir:
		case heir != 0:
			return x.who // which of the trunks asks, nobody knows
		default:
			heir = now
		}
	}
	if heir == 0 {
		return x.who
	}
	who := *c.of[heir].who
	who.Peer = x.who.Peer
	return &who
}
