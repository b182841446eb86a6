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
)

// record is one message of a source, of fixed size and without pointers.
type record struct {
	at        time.Duration // since the State's base
	rule      uint64        // key of the rule that decided, 0: none
	shadow    uint64        // key of the shadow rule that would have refused it, 0: none
	alarm     uint64        // key of the rule with action alarm that it met, 0: none
	seq       uint32        // of the source's messages
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
	userLen   uint8
	agentLen  uint8
	user      [maxUser]byte
	agent     [maxAgent]byte
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
}

// pace is how fast a source sends requests of one method: the most in any minute of the clock.
type pace struct {
	minute  int32
	current uint16
	peak    uint16
}

// ring is where the next record goes, and how many there are.
type ring struct{ next, len uint8 }

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

type dossierSet struct {
	mu       sync.Mutex
	tags     [evidenceWays]uint32 // a hash of the source of each dossier, 0: free; a packet rarely needs to look further
	dossiers [evidenceWays]dossier
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
}

func (e *evidence) table(known bool) *dossierTable {
	if known {
		return &e.known
	}
	return &e.strangers
}

// with calls f under lock with the dossier of a source, making room for it if need be. The second argument is the
// dossier's records. A stranger who finds all places taken gets one when he comes again: a flood of forged sources, one
// packet each, then costs little and wipes nothing out, while an honest device that is refused repeats itself.
func (e *evidence) with(known bool, source netip.Addr, now time.Duration, f func(*dossier, []record)) {
	t, n, key, tag := e.lock(known, source)
	s := &t.sets[n]
	defer s.mu.Unlock()
	i := s.find(key, tag)
	if i < 0 {
		if len(t.once) > 0 && !slices.Contains(s.tags[:], 0) && t.mark(n, tag) {
			return
		}
		i = s.victim(now)
		s.tags[i] = tag
		s.dossiers[i] = dossier{source: key, taken: true, first: now, last: now}
	}
	f(&s.dossiers[i], t.recordsOf(n, i))
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
	t, n, key, tag := e.lock(known, source)
	s := &t.sets[n]
	defer s.mu.Unlock()
	i := s.find(key, tag)
	if i >= 0 {
		f(&s.dossiers[i], t.recordsOf(n, i))
	}
	return i >= 0
}

// lock locks the set that a source belongs to.
func (e *evidence) lock(known bool, source netip.Addr) (t *dossierTable, set int, key [16]byte, tag uint32) {
	t, key = e.table(known), source.As16()
	h := hashOf(e.seed, source)
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
	for i := range s.dossiers {
		d := &s.dossiers[i]
		if !d.taken {
			return i
		}
		if d.less(&s.dossiers[best], now) {
			best = i
		}
	}
	return best
}

func (d *dossier) less(o *dossier, now time.Duration) bool {
	idle, otherIdle := now-d.last > evidenceIdle, now-o.last > evidenceIdle
	if idle != otherIdle {
		return idle
	}
	a, b := uint64(d.refused)+uint64(d.passed), uint64(o.refused)+uint64(o.passed)
	return a < b || a == b && d.last < o.last
}

// note adds one message to a dossier.
func (d *dossier) note(records []record, r *record) {
	d.last = r.at
	r.seq = d.refused + d.passed
	if r.shadow != 0 {
		d.shadowed++
	}
	refused := r.action == Drop || r.action == Reject
	good := len(records) / 4
	if refused {
		d.refused++
		d.reasons[r.cause]++
		if !r.response {
			d.methods[r.method]++
		}
		d.bad.push(records[good:], r)
	} else {
		d.passed++
		d.good.push(records[:good], r)
	}
	if !r.response && !r.malformed {
		d.rates[r.method].count(r.at)
	}
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

func (g *ring) push(records []record, r *record) {
	records[g.next] = *r
	g.next = uint8((int(g.next) + 1) % len(records))
	g.len = uint8(min(int(g.len)+1, len(records)))
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
