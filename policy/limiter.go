package policy

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// limiter holds the debt of sources: one token bucket for each (limit, source). Known peers have a table of their own,
// so that no number of forged strangers takes their room. A table never evicts a bucket that is owed something: a
// bucket is recycled only when it is full again, which is the same as never having existed. A source that finds no
// room shares one bucket per limit with all others that found none.
type limiter struct {
	strangers, known bucketTable
	shared           atomic.Pointer[map[uint64]*sharedBuckets]
}

// size is what a limit allows one source: how many messages a second, and how many at once. It may change from one
// message to the next, as phones register and leave; the debt stays, clipped to the burst.
type size struct{ perSecond, burst float64 }

// debt is a token bucket told from its empty side: what has been taken and not yet been given back. A full bucket owes
// nothing, whatever its size. The zero value owes nothing.
type debt struct {
	tokens rate.Limiter // its own lock is never contended: whoever holds the debt has one
	size   size         // that tokens was set to; zero: nothing was ever taken
}

// slack makes up for the rounding of sums of fractions: a message that is due at an instant is due.
const slack = 1e-9

// origin stands for a State's base on the axis of rate.Limiter, which wants points in time.
var origin = time.Unix(0, 0)

// now is what is owed at a time. Readers' clocks differ by a little: one that is behind sees the debt as it was.
func (d *debt) now(at time.Duration) float64 {
	if d.size == (size{}) {
		return 0
	}
	return max(0, d.size.burst-d.tokens.TokensAt(origin.Add(at)))
}

// take takes one message out of a bucket of a size. It reports false if there is none left.
func (d *debt) take(at time.Duration, z size) bool {
	if d.size != z {
		d.owe(at, z, d.now(at))
	}
	return d.tokens.AllowN(origin.Add(at), 1)
}

// owe makes it a bucket of a size with a debt, clipped to the burst: one that was empty a second ago and has been given
// the rest since, however slowly it fills from now on.
func (d *debt) owe(at time.Duration, z size, owed float64) {
	left, now := z.burst-min(max(owed, 0), z.burst), origin.Add(at)
	*d = debt{size: z}
	d.tokens.SetBurstAt(now.Add(-time.Second), int(z.burst))
	d.tokens.SetLimitAt(now.Add(-time.Second), rate.Limit(left))
	d.tokens.SetLimitAt(now, rate.Limit(z.perSecond))
}

// left is how many messages are left in a bucket of a size.
func (d *debt) left(at time.Duration, z size) float64 { return z.burst - min(d.now(at), z.burst) }

// sharedBuckets are the buckets of a limit that belong to no source: for those that found no room in a table. Of the
// strangers' budget the first is for what they ask, the second for their answers to challenges.
type sharedBuckets struct{ strangers, known sharedBucket }

// sharedBucket is a bucket of a fixed size that many readers take from.
type sharedBucket struct {
	mu   sync.Mutex
	size size
	debt debt
}

func (b *sharedBucket) take(at time.Duration) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.debt.take(at, b.size)
}

func (b *sharedBucket) left(at time.Duration) float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.debt.left(at, b.size)
}

const limiterShards = 64

// bucketTable is a hash table of fixed size, cut into shards that are locked one by one.
type bucketTable struct {
	seed   maphash.Seed
	shards [limiterShards]bucketShard
}

type bucketShard struct {
	mu      sync.Mutex
	heads   []int32 // hash → first bucket of its chain, -1: none
	buckets []bucket
	used    int // buckets that have ever been handed out
	hand    int // where the search for a bucket to recycle goes on
}

// bucket is one token bucket. The shard's lock covers it.
type bucket struct {
	key    uint64   // of the limit
	source [16]byte // SourceKey
	head   int32    // its chain
	next   int32    // in its chain
	debt   debt
}

// recycleTries is how many buckets one search looks at. It bounds the cost of a packet when a table is full; the next
// search goes on where this one stopped.
const recycleTries = 8

func (t *bucketTable) init(seed maphash.Seed, capacity int) {
	t.seed = seed
	each := max(1, (capacity+limiterShards-1)/limiterShards)
	for i := range t.shards {
		s := &t.shards[i]
		s.heads = make([]int32, each)
		for j := range s.heads {
			s.heads[j] = -1
		}
		s.buckets = make([]bucket, each)
	}
}

// at finds the shard and the chain of a (limit, source).
func (t *bucketTable) at(key uint64, source [16]byte) (*bucketShard, int32) {
	var b [24]byte
	binary.LittleEndian.PutUint64(b[:], key)
	copy(b[8:], source[:])
	h := maphash.Bytes(t.seed, b[:])
	s := &t.shards[h%limiterShards]
	return s, int32(h / limiterShards % uint64(len(s.heads)))
}

// find returns the bucket of a (limit, source), or nil. The shard is locked.
func (s *bucketShard) find(head int32, key uint64, source [16]byte) *bucket {
	for i := s.heads[head]; i >= 0; i = s.buckets[i].next {
		if b := &s.buckets[i]; b.key == key && b.source == source {
			return b
		}
	}
	return nil
}

// room returns the index of a bucket that nobody is owed, unlinked, or -1. The shard is locked.
func (s *bucketShard) room(at time.Duration) int32 {
	if s.used < len(s.buckets) {
		s.used++
		return int32(s.used - 1)
	}
	for range min(recycleTries, len(s.buckets)) {
		i := int32(s.hand)
		s.hand = (s.hand + 1) % len(s.buckets)
		if s.buckets[i].debt.now(at) == 0 {
			s.unlink(i)
			return i
		}
	}
	return -1
}

func (s *bucketShard) unlink(i int32) {
	at := &s.heads[s.buckets[i].head]
	for *at != i {
		at = &s.buckets[*at].next
	}
	*at = s.buckets[i].next
}

// take charges one message of a limit, named by its key, to a source. It reports false if the limit has none left for
// it.
func (l *limiter) take(at time.Duration, key uint64, z size, source netip.Addr, known bool) bool {
	t, src := l.table(known), source.As16()
	s, head := t.at(key, src)
	s.mu.Lock()
	b := s.find(head, key, src)
	if b == nil {
		i := s.room(at)
		if i < 0 {
			s.mu.Unlock()
			o := l.overflow(key, known)
			return o != nil && o.take(at)
		}
		b = &s.buckets[i]
		*b = bucket{key: key, source: src, head: head, next: s.heads[head]}
		if owed := l.brought(at, key, src, known); owed > 0 {
			b.debt.owe(at, z, owed)
		}
		s.heads[head] = i
	}
	ok := b.debt.take(at, z)
	s.mu.Unlock()
	return ok
}

// brought is what a source owes from the start: a phone what it owed as a stranger, before it had registered.
func (l *limiter) brought(at time.Duration, key uint64, source [16]byte, known bool) float64 {
	if !known {
		return 0
	}
	s, head := l.strangers.at(key, source)
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.find(head, key, source); b != nil {
		return b.debt.now(at)
	}
	return 0
}

// level is how many messages a source may send now; at most the burst. Shared says that it has no bucket of its own
// because the table is full.
func (l *limiter) level(at time.Duration, key uint64, z size, source netip.Addr, known bool) (tokens float64, shared bool) {
	t, src := l.table(known), source.As16()
	s, head := t.at(key, src)
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.find(head, key, src); b != nil {
		return b.debt.left(at, z), false
	}
	if s.used < len(s.buckets) || s.recyclable(at) {
		return z.burst - min(l.brought(at, key, src, known), z.burst), false
	}
	if o := l.overflow(key, known); o != nil {
		return o.left(at), true
	}
	return 0, true
}

// recyclable reports whether room would find a bucket. The shard is locked.
func (s *bucketShard) recyclable(at time.Duration) bool {
	for i := range min(recycleTries, len(s.buckets)) {
		if s.buckets[(s.hand+i)%len(s.buckets)].debt.now(at) == 0 {
			return true
		}
	}
	return false
}

func (l *limiter) table(known bool) *bucketTable {
	if known {
		return &l.known
	}
	return &l.strangers
}

// overflow is the shared bucket of a limit, nil if its rules were never installed.
func (l *limiter) overflow(key uint64, known bool) *sharedBucket {
	shared := l.shared.Load()
	if shared == nil {
		return nil
	}
	o := (*shared)[key]
	switch {
	case o == nil:
		return nil
	case known:
		return &o.known
	}
	return &o.strangers
}

// install makes the shared buckets of a rule set, keeping the debt of those that stay.
func (l *limiter) install(at time.Duration, limits []limit) {
	var old map[uint64]*sharedBuckets
	if p := l.shared.Load(); p != nil {
		old = *p
	}
	shared := make(map[uint64]*sharedBuckets, len(limits))
	for i := range limits {
		m := &limits[i]
		o := &sharedBuckets{}
		o.strangers.size, o.known.size = m.size(1), m.size(1)
		if was := old[m.key]; was != nil {
			o.strangers.debt.owe(at, o.strangers.size, was.strangers.owes(at))
			o.known.debt.owe(at, o.known.size, was.known.owes(at))
		}
		shared[m.key] = o
	}
	l.shared.Store(&shared)
}

// owes is the debt of a shared bucket. What is taken of it while a reload is under way is forgiven.
func (b *sharedBucket) owes(at time.Duration) float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.debt.now(at)
}

// used is how many buckets of a table have been handed out: its high-water mark.
func (t *bucketTable) used() (n, capacity int) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		n, capacity = n+s.used, capacity+len(s.buckets)
		s.mu.Unlock()
	}
	return n, capacity
}

// owed is how many buckets of a table are in debt at a time: its level.
func (t *bucketTable) owed(at time.Duration) (n int) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		for j := range s.used {
			if s.buckets[j].debt.now(at) > 0 {
				n++
			}
		}
		s.mu.Unlock()
	}
	return n
}
