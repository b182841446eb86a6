//go:build linux

package load

import (
	"math/bits"
	"time"
)

// Histogram counts durations with a resolution of three per cent, in a room of fixed size.
type Histogram struct {
	counts [buckets]uint32
	total  int
}

const (
	fine    = 5 // bits of a duration that are told apart
	buckets = (64 - fine) << fine
)

// Add counts a duration; a negative one, of clocks that disagree, as none.
func (h *Histogram) Add(d time.Duration) {
	h.counts[bucket(uint64(max(0, d)))]++
	h.total++
}

// Quantile is the duration that a share of those counted does not exceed; 0 if there were none.
func (h *Histogram) Quantile(share float64) time.Duration {
	want, seen := int(share*float64(h.total)), 0
	for i, n := range h.counts {
		if seen += int(n); n > 0 && seen > min(want, h.total-1) {
			return time.Duration(lowest(i))
		}
	}
	return 0
}

// Over is how many of those counted are longer than a duration, as far as the resolution tells.
func (h *Histogram) Over(d time.Duration) (n int) {
	for _, more := range h.counts[bucket(uint64(max(0, d)))+1:] {
		n += int(more)
	}
	return n
}

// bucket is a value's place: its leading bits, and how many follow.
func bucket(v uint64) int {
	shift := max(0, bits.Len64(v)-fine-1)
	return shift<<fine + int(v>>shift)
}

// lowest is the least value of a bucket.
func lowest(i int) uint64 {
	shift := max(0, i>>fine-1)
	return uint64(i-shift<<fine) << shift
}
