package policy

import (
	"hash/maphash"
	"net/netip"
	"sync/atomic"
	"time"

	"sallyport/nat"
)

// The guard looks at every message of who is known or has been here before. Strangers who come for the first time, by UDP
// and so perhaps from a forged address, are looked at so many a second; beyond that they are dropped before their datagram
// is even scanned. An honest stranger repeats what is not answered (RFC 3261 §17.1.1.2), so he is looked at half a second
// later; a flood of forged sources costs next to nothing.
const (
	attentionWindow = 100 * time.Millisecond
	attentionMost   = 100 // first messages of strangers in a window, whatever policy.strangers says
	attentionShare  = 4   // how many of them are looked at for each one that the strangers' budget pays for
)

// attention counts strangers' messages in the current window.
type attention struct{ window atomic.Uint64 } // number of the window << 24 | messages

func windowOf(at time.Duration) uint64 { return uint64(at/attentionWindow+1) << 24 }

// note counts one message.
func (a *attention) note(at time.Duration) {
	w := windowOf(at)
	for {
		old := a.window.Load()
		next := old + 1
		switch {
		case old>>24 < w>>24:
			next = w | 1
		case old&(1<<24-1) == 1<<24-1:
			return
		}
		if a.window.CompareAndSwap(old, next) {
			return
		}
	}
}

// over reports whether there were most messages in this window.
func (a *attention) over(at time.Duration, most uint64) bool {
	x := a.window.Load()
	return x>>24 == windowOf(at)>>24 && x&(1<<24-1) >= most
}

// vouched remembers of a source that it has a leg in a call, and for a minute that it has been let through or challenged, so
// that what belongs to that is looked at even in a flood. Decide asks it, too, before it looks for a call or a request that
// a message may belong to. Sources that share an entry vouch for each other, which costs nothing but time.
type vouched struct {
	seed    maphash.Seed
	entries []voucher
}

type voucher struct {
	legs  atomic.Int32
	since atomic.Uint32 // the second in which it was let through or challenged, from 1; 0: never
	known atomic.Uint64 // branches of its requests that were let through: the latest second << 40 | a bit for each
}

const (
	vouchedEntries = 1 << 16
	vouchedLife    = 64 // seconds: a transaction, and the one that answers its challenge
	admittedLife   = uint64(repeatLife/time.Second) + 1
	branchBits     = 40
	secondMask     = 1<<(64-branchBits) - 1
)

func (v *vouched) init(seed maphash.Seed) {
	v.seed, v.entries = seed, make([]voucher, vouchedEntries)
}

// hashOf is the keyed hash of an address or a /64 that vouched and the evidence of strangers have in common.
func hashOf(seed maphash.Seed, key netip.Addr) uint64 {
	a := key.As16()
	return maphash.Bytes(seed, a[:])
}

func (v *vouched) of(source netip.Addr) *voucher { return v.at(hashOf(v.seed, SourceKey(source))) }

// at is the entry of a source by hashOf its key.
func (v *vouched) at(h uint64) *voucher { return &v.entries[h%vouchedEntries] }

// hashOf is the hash of a message's source, computed once.
func (st *State) hashOf(s *Subject) uint64 {
	if s.hash == 0 {
		s.hash = hashOf(st.seed, s.Key)
	}
	return s.hash
}

// add notes that a source has been let through or challenged.
func (v *vouched) add(at time.Duration, source netip.Addr) {
	v.of(source).add(at)
}

func (v *voucher) add(at time.Duration) { v.since.Store(uint32(at/time.Second) + 1) }

// admit notes the branch of a request that was let through, by a hash of it.
func (v *voucher) admit(at time.Duration, branch uint64) {
	for {
		old := v.known.Load()
		next := uint64(at/time.Second)<<branchBits | 1<<(branch%branchBits)
		if v.recent(at, old) {
			next |= old & (1<<branchBits - 1)
		}
		if v.known.CompareAndSwap(old, next) {
			return
		}
	}
}

// mayHaveAdmitted is false where no request of this branch was let through lately. It is right to say so of nearly every
// message of a flood, which then costs no look at the requests of all sources.
func (v *voucher) mayHaveAdmitted(at time.Duration, branch uint64) bool {
	known := v.known.Load()
	return known&(1<<(branch%branchBits)) != 0 && v.recent(at, known)
}

// recent reports whether a transaction of that second may still last. Readers' clocks differ by a little.
func (v *voucher) recent(at time.Duration, known uint64) bool {
	const skew = 16
	return (uint64(at/time.Second)+skew-known>>branchBits)&secondMask <= admittedLife+skew
}

// leg notes a leg more or less at a source.
func (v *vouched) leg(source netip.Addr, more int32) {
	if v != nil {
		v.of(source).legs.Add(more)
	}
}

func (v *voucher) holds(at time.Duration) bool {
	since := v.since.Load()
	// Readers' clocks differ by a little: one that is behind may see a second to come.
	return v.legs.Load() > 0 || since != 0 && int32(uint32(at/time.Second)+1-since) <= vouchedLife
}

// Shed reports whether a datagram need not be looked at: it is counted and forgotten. Only strangers outside who come for
// the first time lately are shed, and only while more of them come than there is attention for. It is asked before Check,
// with nothing but the source; what it does not shed is judged as ever.
func (g *Guard) Shed(now time.Time, i *nat.Interface, source netip.AddrPort) bool {
	st, r := g.state, g.rules.Load()
	at := st.age(now)
	if !st.attention.over(at, r.attention) || i.Side != nat.Outside || i.Transport.Reliable() {
		return false
	}
	a := source.Addr().Unmap().WithZone("")
	key := SourceKey(a)
	h := hashOf(st.seed, key)
	if st.vouched.at(h).holds(at) || g.excepted(h, at, r, i.Realm, a) || !st.evidence.first(h) {
		return false
	}
	st.counters.shed(i)
	return true
}

// excepted reports whether something is known of a source: who it is, or what was said or written of it.
func (g *Guard) excepted(h uint64, at time.Duration, r *Rules, realm nat.Realm, a netip.Addr) bool {
	if x := g.phones.findBy(h, SourcePrefix(a)); x != nil && x.lately(at) > 0 || g.peers.Load().known(a) {
		return true
	}
	s := Subject{Side: nat.Outside, Realm: realm, Source: netip.AddrPortFrom(a, 0)}
	for _, said := range r.listedAt(&s) {
		if said[realm].white != 0 || said[realm].black != 0 {
			return true
		}
	}
	return g.state.bans.mayHold(a)
}
