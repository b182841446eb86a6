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

// sharedBuckets are the buckets of a limit that belong to no source: for those that found no room in a table. Of the
// strangers' budget only the first is used.
type sharedBuckets struct{ strangers, known rate.Limiter }

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

// bucket is one token bucket. The limiter's own mutex is never contended: the shard's covers it.
type bucket struct {
	key    uint64   // of the limit
	source [16]byte // SourceKey
	head   int32    // its chain
	next   int32    // in its chain
	burst  int      // what the limiter was last set to
	rate   rate.Limit
	tokens rate.Limiter
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
func (s *bucketShard) room(now time.Time) int32 {
	if s.used < len(s.buckets) {
		s.used++
		return int32(s.used - 1)
	}
	for range min(recycleTries, len(s.buckets)) {
		i := int32(s.hand)
		s.hand = (s.hand + 1) % len(s.buckets)
		if b := &s.buckets[i]; b.tokens.TokensAt(now) >= float64(b.burst) {
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

// take charges one message to a source. It reports false if the limit has none left for it.
func (l *limiter) take(now time.Time, m *limit, source netip.Addr, known bool) bool {
	t := l.table(known)
	src := source.As16()
	s, head := t.at(m.key, src)
	s.mu.Lock()
	b := s.find(head, m.key, src)
	if b == nil {
		i := s.room(now)
		if i < 0 {
			s.mu.Unlock()
			o := l.overflow(m.key, known)
			return o != nil && o.AllowN(now, 1)
		}
		b = &s.buckets[i]
		b.key, b.source, b.head, b.next = m.key, src, head, s.heads[head]
		b.burst, b.rate = m.burst, m.rate
		fill(&b.tokens, m.rate, m.burst)
		s.heads[head] = i
	} else if b.burst != m.burst || b.rate != m.rate {
		b.adjust(now, m)
	}
	ok := b.tokens.AllowN(now, 1)
	s.mu.Unlock()
	return ok
}

// fill makes a limiter's bucket full: it last changed so long ago that any rate has filled it.
func fill(l *rate.Limiter, r rate.Limit, burst int) {
	l.SetLimitAt(time.Time{}, r)
	l.SetBurstAt(time.Time{}, burst)
}

// adjust gives a bucket the rate and burst of a reloaded rule. Its debt stays, clipped to the new burst.
func (b *bucket) adjust(now time.Time, m *limit) {
	debt := float64(b.burst) - b.tokens.TokensAt(now)
	b.burst, b.rate = m.burst, m.rate
	owe(&b.tokens, now, m.rate, m.burst, debt)
}

// owe makes a limiter that owes debt tokens now: one that was empty as long ago as the rest took to come in.
func owe(l *rate.Limiter, now time.Time, r rate.Limit, burst int, debt float64) {
	left := float64(burst) - min(max(debt, 0), float64(burst))
	since := now.Add(-time.Duration(left / float64(r) * float64(time.Second)))
	*l = rate.Limiter{}
	l.SetLimitAt(since, r)
	l.SetBurstAt(since, burst)
}

// level is how many messages a source may send now; at most the burst. Shared says that it has no bucket of its own
// because the table is full.
func (l *limiter) level(now time.Time, m *limit, source netip.Addr, known bool) (tokens float64, shared bool) {
	t := l.table(known)
	src := source.As16()
	s, head := t.at(m.key, src)
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.find(head, m.key, src); b != nil {
		debt := float64(b.burst) - b.tokens.TokensAt(now)
		return float64(m.burst) - min(max(debt, 0), float64(m.burst)), false
	}
	if s.used < len(s.buckets) || s.recyclable(now) {
		return float64(m.burst), false
	}
	if o := l.overflow(m.key, known); o != nil {
		return o.TokensAt(now), true
	}
	return 0, true
}

// recyclable reports whether room would find a bucket. The shard is locked.
func (s *bucketShard) recyclable(now time.Time) bool {
	for i := range min(recycleTries, len(s.buckets)) {
		b := &s.buckets[(s.hand+i)%len(s.buckets)]
		if b.tokens.TokensAt(now) >= float64(b.burst) {
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
func (l *limiter) overflow(key uint64, known bool) *rate.Limiter {
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
func (l *limiter) install(now time.Time, limits []limit) {
	var old map[uint64]*sharedBuckets
	if p := l.shared.Load(); p != nil {
		old = *p
	}
	shared := make(map[uint64]*sharedBuckets, len(limits))
	for i := range limits {
		m := &limits[i]
		o := &sharedBuckets{}
		if was := old[m.key]; was != nil {
			carry(&o.strangers, &was.strangers, now, m)
			carry(&o.known, &was.known, now, m)
		} else {
			fill(&o.strangers, m.rate, m.burst)
			fill(&o.known, m.rate, m.burst)
		}
		shared[m.key] = o
	}
	l.shared.Store(&shared)
}

// carry moves the debt of a shared bucket into its successor.
func carry(to, from *rate.Limiter, now time.Time, m *limit) {
	owe(to, now, m.rate, m.burst, float64(from.Burst())-from.TokensAt(now))
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

// owed is how many buckets of a table are in debt now: its level.
func (t *bucketTable) owed(now time.Time) (n int) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		for j := range s.used {
			if b := &s.buckets[j]; b.tokens.TokensAt(now) < float64(b.burst) {
				n++
			}
		}
		s.mu.Unlock()
	}
	return n
}
