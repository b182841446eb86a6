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

// The evidence keeps, for each source, what it sent lately and how often it was refused. Strangers and known peers
// have places of their own, so strangers never overwrite what is known of a peer.
const (
	strangerRecords = 32
	knownRecords    = 64
	maxUser         = 40 // bytes of a user part that a record keeps
	maxAgent        = 48 // bytes of a User-Agent that a record keeps
	evidenceWays    = 8  // sources that compete for room in a set
	evidenceIdle    = 10 * time.Minute

	// evidencePause is how often a refusal is written down of a source whose records of refusals are full and of which the
	// latest says the same. All are counted.
	evidencePause = 100 * time.Millisecond

	// placePause is how often a set that is full of sources which are not idle gives one of them up. Where more come again
	// and again than there is room for, all the rest would only wipe each other out.
	placePause = 100 * time.Millisecond
)

// record is one message of a source, of fixed size and without pointers.
type record struct {
	fate
	at       time.Duration // since the State's base
	seq      uint32        // of the source's messages
	userLen  uint8
	agentLen uint8
	user     [maxUser]byte
	agent    [maxAgent]byte
}

// fate is where a message arrived and what became of it.
type fate struct {
	rule      uint64 // key of the rule that decided, 0: none
	shadow    uint64 // key of the shadow rule that would have refused it, 0: none
	alarm     uint64 // key of the rule with action alarm that it met, 0: none
	code      uint16
	port      uint16
	method    Method
	action    Action
	cause     cause
	transport nat.Transport
	side      nat.Side
	realm     nat.Realm
	response  bool
	malformed bool // the scan refused it: its method means nothing
}

// dossier is what is kept of one source besides its records.
type dossier struct {
	source   [16]byte // SourceKey
	taken    bool
	first    time.Duration
	last     time.Duration
	refused  uint32 // messages refused
	passed   uint32 // requests allowed outside live dialogs
	shadowed uint32 // messages that a shadow rule would have refused
	reasons  [reasonCount]uint32
	methods  [methodCount]uint32 // refused requests by method
	rates    [methodCount]pace
	good     ring // a quarter of the records: allowed
	bad      ring // the rest: refused
	latest   fate // of the latest record of a refusal
	written  time.Duration
}

// pace is how fast a source sends requests of one method: the most in any minute of the clock.
type pace struct {
	minute  int32
	current uint16
	peak    uint16
}

// ring is where the next record goes, and how many there are.
type ring struct{ at, len uint8 }

type evidence struct {
	seed      maphash.Seed
	strangers dossierTable
	known     dossierTable
}

// dossierTable is a set-associative table of dossiers with their records.
type dossierTable struct {
	each    int // records of a source
	sets    []dossierSet
	records []record
	once    []atomic.Uint32 // tags of sources that were seen once and found no room; empty: all find room
}

// dossierSet stands apart from its dossiers, so that all sets together are small enough to stay in a cache.
type dossierSet struct {
	mu       sync.Mutex
	tags     [evidenceWays]uint32 // a hash of the source of each dossier, 0: free; a packet rarely needs to look further
	ranks    [evidenceWays]rank
	given    time.Duration // when it last gave a source up that was not idle
	dossiers []dossier
}

// rank is what decides which dossier gives way.
type rank struct {
	last time.Duration // as the dossier's
	seen uint64        // messages
}

// onceEach is for how many sources that were seen once there is a mark, for each that has a dossier.
const onceEach = 16

func (e *evidence) init(seed maphash.Seed, strangers, known int) {
	e.seed = seed
	e.strangers.init(strangers, strangerRecords)
	e.strangers.once = make([]atomic.Uint32, max(1, strangers)*onceEach)
	e.known.init(known, knownRecords)
}

func (t *dossierTable) init(sources, each int) {
	t.each = each
	t.sets = make([]dossierSet, max(1, sources/evidenceWays))
	t.records = make([]record, len(t.sets)*evidenceWays*each)
	dossiers := make([]dossier, len(t.sets)*evidenceWays)
	for i := range t.sets {
		t.sets[i].dossiers = dossiers[i*evidenceWays:][:evidenceWays]
	}
}

func (e *evidence) table(known bool) *dossierTable {
	if known {
		return &e.known
	}
	return &e.strangers
}

// with calls f under lock with the dossier of a source, making room for it if need be. The second argument is the
// dossier's records. A stranger who finds all places taken gets one when he comes again, unless too many do: a flood of
// forged sources, one packet each, then costs little and wipes nothing out, while an honest device that is refused repeats
// itself. The hash is hashOf the source.
func (e *evidence) with(known bool, source netip.Addr, h uint64, now time.Duration, f func(*dossier, []record)) {
	t, n, key, tag := e.lock(known, source, h)
	s := &t.sets[n]
	defer s.mu.Unlock()
	i := s.find(key, tag)
	if i < 0 {
		if len(t.once) > 0 && !slices.Contains(s.tags[:], 0) && t.mark(n, tag) {
			return
		}
		if i = s.victim(now); s.tags[i] != 0 && !s.ranks[i].idle(now) {
			if s.given != 0 && now-s.given < placePause {
				return
			}
			s.given = now
		}
		s.tags[i] = tag
		s.dossiers[i] = dossier{source: key, taken: true, first: now, last: now}
	}
	d := &s.dossiers[i]
	f(d, t.recordsOf(n, i))
	s.ranks[i] = rank{d.last, uint64(d.refused) + uint64(d.passed)}
}

// first reports whether a stranger comes for the first time lately, and remembers that he came. He is named by hashOf.
func (e *evidence) first(h uint64) bool {
	return e.strangers.mark(int(h%uint64(len(e.strangers.sets))), tagOf(h))
}

// mark notes that a source has been seen, and reports whether that is news.
func (t *dossierTable) mark(set int, tag uint32) bool {
	return t.once[(int(tag)^set)%len(t.once)].Swap(tag) != tag
}

// tagOf is the part of a hash that names a source within its set; never 0.
func tagOf(h uint64) uint32 { return uint32(h>>32) | 1 }

// look calls f with the dossier of a source if there is one.
func (e *evidence) look(known bool, source netip.Addr, f func(*dossier, []record)) bool {
	t, n, key, tag := e.lock(known, source, hashOf(e.seed, source))
	s := &t.sets[n]
	defer s.mu.Unlock()
	i := s.find(key, tag)
	if i >= 0 {
		f(&s.dossiers[i], t.recordsOf(n, i))
	}
	return i >= 0
}

// lock locks the set that a source belongs to.
func (e *evidence) lock(known bool, source netip.Addr, h uint64) (t *dossierTable, set int, key [16]byte, tag uint32) {
	t, key = e.table(known), source.As16()
	set, tag = int(h%uint64(len(t.sets))), tagOf(h)
	t.sets[set].mu.Lock()
	return t, set, key, tag
}

// recordsOf is the room for the records of a dossier.
func (t *dossierTable) recordsOf(set, i int) []record {
	from := (set*evidenceWays + i) * t.each
	return t.records[from : from+t.each]
}

func (s *dossierSet) find(key [16]byte, tag uint32) int {
	for i, x := range s.tags {
		if x == tag && s.dossiers[i].source == key {
			return i
		}
	}
	return -1
}

// victim is the dossier that a new source replaces: a free one, else one long idle, else the one that holds least. A
// flood of forged sources, one packet each, so competes with itself and not with those who were refused again and
// again, whose administrator will ask why.
func (s *dossierSet) victim(now time.Duration) int {
	best := 0
	for i := range s.ranks {
		if s.tags[i] == 0 {
			return i
		}
		if s.ranks[i].less(s.ranks[best], now) {
			best = i
		}
	}
	return best
}

func (r rank) idle(now time.Duration) bool { return now-r.last > evidenceIdle }

func (r rank) less(o rank, now time.Duration) bool {
	if idle := r.idle(now); idle != o.idle(now) {
		return idle
	}
	return r.seen < o.seen || r.seen == o.seen && r.last < o.last
}

// note adds one message to a dossier.
func (d *dossier) note(at time.Duration, s *Subject, v *Verdict, rules *Rules, records []record) {
	f, seq, good := fateOf(s, v, rules), d.refused+d.passed, len(records)/4
	d.last = at
	if f.shadow != 0 {
		d.shadowed++
	}
	if !f.response && !f.malformed {
		d.rates[f.method].count(at)
	}
	if !f.refused() {
		d.passed++
		d.good.next(records[:good]).write(at, seq, f, s)
		return
	}
	d.refused++
	d.reasons[f.cause]++
	if !f.response {
		d.methods[f.method]++
	}
	if int(d.bad.len) == len(records)-good && f == d.latest && at-d.written < evidencePause {
		return
	}
	d.latest, d.written = f, at
	d.bad.next(records[good:]).write(at, seq, f, s)
}

// merge adds what another dossier counts of the same source.
func (d *dossier) merge(o *dossier) {
	if !d.taken {
		*d = *o
		return
	}
	d.first, d.last = min(d.first, o.first), max(d.last, o.last)
	d.refused += o.refused
	d.passed += o.passed
	d.shadowed += o.shadowed
	for i := range d.reasons {
		d.reasons[i] += o.reasons[i]
	}
	for i := range d.methods {
		d.methods[i] += o.methods[i]
		d.rates[i].peak = max(d.rates[i].peak, o.rates[i].peak)
	}
}

func (p *pace) count(at time.Duration) {
	minute := int32(at / time.Minute)
	if p.minute != minute {
		p.minute, p.current = minute, 0
	}
	if p.current < 1<<16-1 {
		p.current++
	}
	p.peak = max(p.peak, p.current)
}

// next is the record to write, the oldest one where there is no more room.
func (g *ring) next(records []record) *record {
	r := &records[g.at]
	g.at = uint8((int(g.at) + 1) % len(records))
	g.len = uint8(min(int(g.len)+1, len(records)))
	return r
}

// recent returns copies of all records, newest first.
func (d *dossier) recent(records []record) []record {
	good := len(records) / 4
	out := make([]record, 0, int(d.good.len)+int(d.bad.len))
	out = append(out, records[:d.good.len]...)
	out = append(out, records[good:good+int(d.bad.len)]...)
	sortNewest(out)
	return out
}
