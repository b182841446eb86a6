package policy

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// mostBlock is how long evidence that anyone could have forged holds against one address and port.
const mostBlock = 60 * time.Second

const blockWays = 4

// Block is a port of an address that is refused for a short time, because what came from there spoke against it and did
// not prove its source.
type Block struct {
	Source   netip.AddrPort `json:"source"`
	Until    time.Time      `json:"until"`
	Evidence string         `json:"evidence"`
}

// blockTable holds the blocks: a set-associative table of fixed size. A full set gives up the block that ends first.
type blockTable struct {
	seed   maphash.Seed
	latest atomic.Int64 // when the last of them ends: behind it nobody looks
	sets   []blockSet
}

type blockSet struct {
	mu   sync.Mutex
	tags [blockWays]uint32 // a hash of each source; most look-ups go no further
	ways [blockWays]block
}

// block is one (address, port). Times are ages of the State.
type block struct {
	source [16]byte
	port   uint16
	until  time.Duration
	counts tally
}

func (t *blockTable) init(seed maphash.Seed, capacity int) {
	t.seed = seed
	t.sets = make([]blockSet, max(1, capacity/blockWays))
}

func (t *blockTable) set(source [16]byte, port uint16) (s *blockSet, tag uint32) {
	var b [18]byte
	copy(b[:], source[:])
	binary.LittleEndian.PutUint16(b[16:], port)
	h := maphash.Bytes(t.seed, b[:])
	return &t.sets[h%uint64(len(t.sets))], tagOf(h)
}

// add blocks a source until an age.
func (t *blockTable) add(source netip.AddrPort, until time.Duration, counts tally) {
	a := source.Addr().As16()
	s, tag := t.set(a, source.Port())
	s.mu.Lock()
	victim := 0
	for i := range s.ways {
		b := &s.ways[i]
		if b.source == a && b.port == source.Port() {
			victim = i
			break
		}
		if b.until < s.ways[victim].until {
			victim = i
		}
	}
	s.tags[victim], s.ways[victim] = tag, block{a, source.Port(), until, counts}
	s.mu.Unlock()
	for {
		latest := t.latest.Load()
		if int64(until) <= latest || t.latest.CompareAndSwap(latest, int64(until)) {
			return
		}
	}
}

// holds reports whether a source is blocked now.
func (t *blockTable) holds(now time.Duration, source netip.AddrPort) bool {
	if int64(now) >= t.latest.Load() {
		return false
	}
	a := source.Addr().As16()
	s, tag := t.set(a, source.Port())
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.ways {
		if b := &s.ways[i]; s.tags[i] == tag && b.source == a && b.port == source.Port() {
			return now < b.until
		}
	}
	return false
}

// lift ends the blocks of all sources in a prefix and returns how many there were.
func (t *blockTable) lift(now time.Duration, p netip.Prefix) (n int) {
	t.each(now, func(source netip.AddrPort, b *block) {
		if p.Contains(source.Addr()) {
			b.until = now
			n++
		}
	})
	return n
}

// each calls f under lock with every block that holds.
func (t *blockTable) each(now time.Duration, f func(netip.AddrPort, *block)) {
	if int64(now) >= t.latest.Load() {
		return
	}
	for i := range t.sets {
		s := &t.sets[i]
		s.mu.Lock()
		for j := range s.ways {
			if b := &s.ways[j]; now < b.until {
				f(netip.AddrPortFrom(netip.AddrFrom16(b.source).Unmap(), b.port), b)
			}
		}
		s.mu.Unlock()
	}
}

// Blocks lists the blocks that hold for the addresses in a prefix, by address and port.
func (g *Guard) Blocks(now time.Time, p netip.Prefix) []Block {
	var list []Block
	g.state.conduct.blocks.each(g.state.age(now), func(source netip.AddrPort, b *block) {
		if p.Contains(source.Addr()) {
			list = append(list, Block{source, g.state.base.Add(b.until), b.counts.String()})
		}
	})
	slices.SortFunc(list, func(a, b Block) int { return a.Source.Compare(b.Source) })
	return list
}

// len is how many blocks hold.
func (t *blockTable) len(now time.Duration) (n int) {
	t.each(now, func(netip.AddrPort, *block) { n++ })
	return n
}
