package natlab

import (
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
	"time"
)

// Link is what a path does to datagrams of one direction.
type Link struct {
	Loss      float64       // share that vanishes, 0 to 1; 1 is a cut cable
	Duplicate float64       // share that arrives twice, 0 to 1; the copy has a jitter of its own
	Delay     time.Duration // every datagram takes so long
	Jitter    time.Duration // and up to so much longer, evenly spread
	Reorder   bool          // jitter lets a datagram overtake another; otherwise each pair of hosts keeps its order
	MTU       int           // longest IP packet, bytes; longer ones vanish, as where fragments are filtered; 0: no limit
}

// route is one direction between two addresses; in a setting the zero Addr stands for any.
type route struct{ from, to netip.Addr }

// hash tells routes apart in the seed of their random sequences, equally in every process.
func (r route) hash() uint64 {
	h := fnv.New64a()
	from, to := r.from.As16(), r.to.As16()
	_, _ = h.Write(from[:]) // never fails
	_, _ = h.Write(to[:])
	return h.Sum64()
}

// path is the state of one direction between two hosts.
type path struct {
	rng  *rand.Rand
	last time.Duration // latest arrival so far
}

// happens draws only where something can happen, so that a perfect path costs nothing.
func (w *path) happens(share float64) bool { return share > 0 && w.rng.Float64() < share }

func (w *path) jitter(most time.Duration) time.Duration {
	if most <= 0 {
		return 0
	}
	return time.Duration(w.rng.Int64N(int64(most)))
}

// headerSize is what IP and UDP add to a payload (RFC 791, 8200, 768).
func headerSize(a netip.Addr) int {
	if a.Is4() {
		return 20 + 8
	}
	return 40 + 8
}
