package policy

import (
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// offence is something that counts against who did it.
type offence uint8

// The offences, as the configuration and docs/policy.md (Bans) name them.
const (
	overLimit   offence = iota // where the limit's action is ban
	malformed                  // what the raw scan refuses
	wrongDigest                // the PBX refused credentials that were not stale
	unknownUser                // the PBX knows nobody of that name; only strangers
	nowhere                    // an INVITE that leads nowhere; only strangers
	scanner                    // refused by a user-agent or message rule
	byRule                     // a rule whose action is ban: bans at once
	offences
)

var (
	offencePoints = [offences]int{1, 2, 5, 2, 2, 10, 0}
	offenceNames  = [offences]string{"over limit", "malformed", "wrong digest", "unknown user", "INVITE to nowhere", "scanner",
		"met a rule that bans"}
)

// String is the offence in words.
func (o offence) String() string { return offenceNames[o] }

// tally counts offences.
type tally [offences]uint16

func (t tally) points() (n int) {
	for o, count := range t {
		n += int(count) * offencePoints[o]
	}
	return n
}

// String names what counts, worst first: "2 wrong digest, 1 malformed".
func (t tally) String() string {
	var parts []string
	for _, o := range [...]offence{byRule, scanner, wrongDigest, malformed, unknownUser, nowhere, overLimit} {
		if t[o] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", t[o], o))
		}
	}
	return strings.Join(parts, ", ")
}

// unit is who a score is kept for: always the smallest that the evidence can hold against.
type unit uint8

// The units. What is proven stands behind what is not, and what is not can never take its place.
const (
	unitPort    unit = iota // an address and port, unproven: a short block
	unitWatched             // a trunk, a node, a white-listed source, a registered phone that may be forged: an alarm
	unitName                // a user name, whoever tries it
	unitAddress             // a stranger's address, proven: a ban
	unitFlow                // an address and port among registered phones, proven
	unitUser                // a user at such an address, proven
)

func (u unit) proven() bool { return u >= unitAddress }

// scoreKey names one score.
type scoreKey struct {
	source [16]byte // zero for a name
	id     uint64   // port, or keyed hash of the user
	unit   unit
}

// scoreSlots is what the window is cut into: twelve whole slots, and the one that now is in.
const scoreSlots = 13

const scoreWays = 8

// score is what counts against one unit within the window.
type score struct {
	key     scoreKey
	taken   bool
	several bool     // a name: tried from more than one source
	first   [16]byte // a name: the first one
	points  int      // when it last changed; what has left the window since is still in it
	width   time.Duration
	slot    int64 // number of the newest slot
	slots   [scoreSlots]tally
	sums    [offences]uint32 // of all slots
	nameLen uint8
	name    [maxUserName]byte // of the user
}

// scoreTable is a set-associative table of fixed size.
type scoreTable struct {
	seed maphash.Seed
	sets []scoreSet
}

type scoreSet struct {
	mu     sync.Mutex
	tags   [scoreWays]uint32 // a hash of each key that was ever there; most look-ups go no further
	scores [scoreWays]score
}

func (t *scoreTable) init(seed maphash.Seed, capacity int) {
	t.seed = seed
	t.sets = make([]scoreSet, max(1, capacity/scoreWays))
}

// with calls f under lock with a score brought up to now, making room for it if make is set and there is any. A score
// that f leaves empty gives its room back.
func (t *scoreTable) with(now, window time.Duration, key scoreKey, make bool, f func(*score)) bool {
	var b [25]byte
	copy(b[:], key.source[:])
	binary.LittleEndian.PutUint64(b[16:], key.id)
	b[24] = byte(key.unit)
	h := maphash.Bytes(t.seed, b[:])
	s, tag := &t.sets[h%uint64(len(t.sets))], tagOf(h)
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.find(key, tag)
	if i < 0 && make {
		if i = s.room(now, key.unit.proven()); i >= 0 {
			s.tags[i], s.scores[i] = tag, score{key: key, taken: true}
		}
	}
	if i < 0 {
		return false
	}
	found := &s.scores[i]
	found.advance(now, window)
	f(found)
	found.points = found.total().points()
	if found.points == 0 {
		found.taken = false
	}
	return true
}

func (s *scoreSet) find(key scoreKey, tag uint32) int {
	for i, t := range s.tags {
		if o := &s.scores[i]; t == tag && o.taken && o.key == key {
			return i
		}
	}
	return -1
}

// room is the place that a new score takes, or -1: a free or a stale one, else of the unproven the one with the fewest points,
// else, only for a proven one, of the proven. So a flood of forged sources competes with itself alone.
func (s *scoreSet) room(now time.Duration, proven bool) int {
	best := -1
	for i := range s.scores {
		o := &s.scores[i]
		if !o.taken || o.stale(now) {
			return i
		}
		if o.key.unit.proven() && !proven {
			continue
		}
		if best < 0 || o.weaker(&s.scores[best]) {
			best = i
		}
	}
	return best
}

func (o *score) weaker(p *score) bool {
	if a, b := o.key.unit.proven(), p.key.unit.proven(); a != b {
		return b
	}
	return o.points < p.points || o.points == p.points && o.slot < p.slot
}

// stale reports that all has left the window.
func (o *score) stale(now time.Duration) bool { return int64(now/o.width)-o.slot >= scoreSlots }

// advance moves the window. Where a reload has changed its length, all that counts is taken for new.
func (o *score) advance(now, window time.Duration) {
	width := max(window/(scoreSlots-1), 1)
	slot := int64(now / width)
	switch {
	case o.width == 0:
		o.width, o.slot = width, slot
	case o.width != width:
		all := o.total()
		o.clear()
		o.width, o.slot = width, slot
		for what, n := range all {
			o.slots[slot%scoreSlots][what], o.sums[what] = n, uint32(n)
		}
	default:
		for gone := min(slot-o.slot, scoreSlots); gone > 0; gone-- {
			left := &o.slots[(slot-gone+1)%scoreSlots]
			for what, n := range left {
				o.sums[what] -= uint32(n)
			}
			*left = tally{}
		}
		o.slot = max(o.slot, slot)
	}
}

// total is all that is in the window.
func (o *score) total() (all tally) {
	for what, n := range o.sums {
		all[what] = uint16(min(n, 1<<16-1))
	}
	return all
}

func (o *score) add(what offence) {
	if n := &o.slots[o.slot%scoreSlots][what]; *n < 1<<16-1 {
		*n++
		o.sums[what]++
	}
}

func (o *score) clear() { o.slots, o.sums = [scoreSlots]tally{}, [offences]uint32{} }

// each calls f under lock with a copy of every score of a source, or of all if source is nil, brought up to now.
func (t *scoreTable) each(now, window time.Duration, f func(*score)) {
	for i := range t.sets {
		s := &t.sets[i]
		s.mu.Lock()
		for j := range s.scores {
			if o := s.scores[j]; o.taken {
				if o.advance(now, window); o.total().points() > 0 {
					f(&o)
				}
			}
		}
		s.mu.Unlock()
	}
}

// forget drops the scores of all sources in a prefix.
func (t *scoreTable) forget(p netip.Prefix) {
	for i := range t.sets {
		s := &t.sets[i]
		s.mu.Lock()
		for j := range s.scores {
			o := &s.scores[j]
			if o.taken && o.key.unit != unitName && p.Contains(netip.AddrFrom16(o.key.source).Unmap()) {
				o.taken = false
			}
		}
		s.mu.Unlock()
	}
}

// used is how many scores there are.
func (t *scoreTable) used() (n, limit int) {
	for i := range t.sets {
		s := &t.sets[i]
		s.mu.Lock()
		for j := range s.scores {
			if s.scores[j].taken {
				n++
			}
		}
		s.mu.Unlock()
	}
	return n, len(t.sets) * scoreWays
}
