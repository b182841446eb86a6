package policy

import (
	"encoding/binary"
	"hash/maphash"
	"sync"
	"time"
)

// A request that was admitted is repeated on UDP until it is answered (RFC 3261 §17.1.1.2, §17.1.2.2): at 0.5, 1.5,
// 3.5 … 31.5 s, eleven times at most. Those repeats, and the CANCEL and the ACKs that belong to an admitted INVITE,
// are not charged again.
const (
	repeatLife  = 32 * time.Second // 64·T1: the life of a transaction
	mostRepeats = 12
)

// requestID is a keyed hash of (listener's side and realm, source address, Call-ID, CSeq number, top branch, method). CANCEL and ACK have that of
// the INVITE they belong to (RFC 3261 §9.1, §17.1.1.3). It is never 0.
type requestID uint64

// identify hashes what makes a request a repeat of another one. What was admitted at one door opens no other.
func identify(seed maphash.Seed, s *Subject) requestID {
	m := s.Method
	if m == MethodCancel || m == MethodAck {
		m = MethodInvite
	}
	var b [38]byte
	a := s.Source.Addr().As16()
	copy(b[:], a[:])
	binary.LittleEndian.PutUint32(b[16:], s.CSeq)
	binary.LittleEndian.PutUint64(b[20:], maphash.Bytes(seed, s.CallID))
	binary.LittleEndian.PutUint64(b[28:], maphash.Bytes(seed, s.Branch))
	b[36], b[37] = byte(m), byte(s.Side)<<1|byte(s.Realm)
	return requestID(maphash.Bytes(seed, b[:]) | 1)
}

// isRepeat reports whether a request was admitted before from the same address, or is the CANCEL or the ACK of one that was.
// A repeat is the same byte for byte: another sent-by, user or answer to a challenge under a branch that was admitted is
// another request to whoever comes behind. On a stream nothing is repeated (RFC 3261 §17.1.1.2), and nothing behind its ACK.
func (st *State) isRepeat(now time.Time, s *Subject) bool {
	key, at := uint64(identify(st.seed, s)), st.age(now)
	switch {
	case s.Method == MethodAck && !s.Trial:
		st.repeats.with(at, key, func(k *agedKey) bool {
			k.counts[0] = mostRepeats
			return true
		})
		fallthrough
	case s.Method == MethodAck || s.Method == MethodCancel:
		return st.repeats.count(at, key, 1, mostRepeats, !s.Trial)
	case s.Transport.Reliable():
		return false
	}
	return st.repeats.with(at, key, func(k *agedKey) bool {
		if k.counts[0] >= mostRepeats || k.text != st.textOf(s) {
			return false
		}
		if !s.Trial {
			k.counts[0]++
		}
		return true
	})
}

// textOf is a keyed hash of a whole message.
func (st *State) textOf(s *Subject) uint32 { return uint32(maphash.Bytes(st.seed, s.Text)) }

// agedTable remembers keys for a fixed life, in two generations of fixed size: a key lives in the generation of its
// birth, so that a flood of births takes at most one of them at a time. It forgets the oldest key of a set early where
// a set is full; what is forgotten is only an exemption.
type agedTable struct {
	life time.Duration
	sets []agedSet
}

const agedWays = 4

// agedSet is a set of both generations. The keys stand together, because most look-ups find nothing and go no further.
type agedSet struct {
	mu     sync.Mutex
	keys   [2][agedWays]uint64 // 0: free
	values [2][agedWays]agedKey
}

// agedKey is what is kept of a key.
type agedKey struct {
	born   time.Duration // since the State's base
	counts [2]uint16
	text   uint32 // of an admitted request: a keyed hash of all of it
}

func (t *agedTable) init(life time.Duration, capacity int) {
	t.life = life
	t.sets = make([]agedSet, max(1, capacity/agedWays))
}

func (t *agedTable) set(key uint64) *agedSet { return &t.sets[key>>1%uint64(len(t.sets))] }

// with calls f under lock with the living entry of a key; it reports false if there is none.
func (t *agedTable) with(now time.Duration, key uint64, f func(*agedKey) bool) bool {
	current := t.generation(now)
	s := t.set(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.find(now, t.life, current, key)
	return k != nil && f(k)
}

// find is the living entry of a key, or nil. The lock is held.
func (s *agedSet) find(now, life time.Duration, current int, key uint64) *agedKey {
	for _, g := range [...]int{current, 1 - current} {
		for i := range s.keys[g] {
			if k := &s.values[g][i]; s.keys[g][i] == key && now-k.born < life {
				return k
			}
		}
	}
	return nil
}

// generation is the one that a key born now belongs to.
func (t *agedTable) generation(now time.Duration) int { return int(now/t.life) & 1 }

// add remembers a key from now on, in place of a dead key or the oldest of its set.
func (t *agedTable) add(now time.Duration, key uint64, first uint16) {
	t.put(now, key, agedKey{counts: [2]uint16{first}})
}

func (t *agedTable) put(now time.Duration, key uint64, value agedKey) {
	s := t.set(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(now, t.life, t.generation(now), key, value)
}

// learn remembers a key from now on and reports true, unless it is alive already.
func (t *agedTable) learn(now time.Duration, key uint64) bool {
	s, g := t.set(key), t.generation(now)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.find(now, t.life, g, key) != nil {
		return false
	}
	s.put(now, t.life, g, key, agedKey{})
	return true
}

func (s *agedSet) put(now, life time.Duration, g int, key uint64, value agedKey) {
	keys, values := &s.keys[g], &s.values[g]
	victim := 0
	for i := range keys {
		if keys[i] == 0 || keys[i] == key || now-values[i].born >= life {
			victim = i
			break
		}
		if values[i].born < values[victim].born {
			victim = i
		}
	}
	value.born = now
	keys[victim], values[victim] = key, value
}

// count raises one of a key's two counters up to most. It reports false beyond that, or if the key is not known.
// Without charge it only looks.
func (t *agedTable) count(now time.Duration, key uint64, which int, most uint16, charge bool) bool {
	return t.with(now, key, func(k *agedKey) bool {
		if k.counts[which] >= most {
			return false
		}
		if charge {
			k.counts[which]++
		}
		return true
	})
}
