package media

import (
	"math/bits"
	"time"
)

// Delay is the time that datagrams spent in the relay, from the kernel's stamp on their arrival to the return of the call
// that sent them. It is measured on a sample.
type Delay struct {
	Samples       uint64
	P50, P99, Max time.Duration // Max: the upper bound of the highest bucket that was hit
}

// Buckets grow by a quarter of an octave's width: four to each doubling. The first holds all below 1.024 µs, the last all
// above four seconds.
const (
	delayShift = 10 // 1.024 µs
	delaySteps = 4
)

// delayBucket is the bucket of a delay in nanoseconds.
func delayBucket(ns int64) int {
	n := uint64(max(ns, 0)) >> delayShift
	if n == 0 {
		return 0
	}
	octave := bits.Len64(n) - 1
	quarter := int(uint64(max(ns, 0)) >> (delayShift + octave - 2) & 3)
	return min(1+octave*delaySteps+quarter, delayBuckets-1)
}

// delayFloor is the lowest delay of a bucket in nanoseconds.
func delayFloor(bucket int) int64 {
	if bucket == 0 {
		return 0
	}
	octave, quarter := (bucket-1)/delaySteps, (bucket-1)%delaySteps
	return int64(4+quarter) << (delayShift + octave - 2)
}

// delaySane is a delay beyond which the wall clock has been set meanwhile.
const delaySane = int64(10 * time.Second)

// Delayed counts a datagram that a worker has sent: arrived and sent are wall time in nanoseconds, the only clock of which
// the kernel gives stamps.
func (e *Engine) Delayed(worker int, arrived, sent int64) {
	if ns := sent - arrived; ns >= 0 && ns < delaySane && uint(worker) < MaxWorkers {
		e.board.head.delays[worker][delayBucket(ns)].Add(1)
	}
}

// histogram counts delays by bucket.
type histogram [delayBuckets]uint64

// delays are those of all workers since the board's beginning.
func (b *Board) delays() (h histogram) {
	for w := range b.head.delays {
		for i := range h {
			h[i] += b.head.delays[w][i].Load()
		}
	}
	return h
}

// since is what has been counted since an earlier reading of the same board.
func (h histogram) since(earlier *histogram) histogram {
	for i := range h {
		h[i] -= min(h[i], earlier[i])
	}
	return h
}

// delay reads percentiles off a histogram. Within a bucket delays are taken to be spread evenly, so a percentile is off by
// an eighth of itself at most where they are not.
func (h *histogram) delay() (d Delay) {
	for i, n := range h {
		d.Samples += n
		if n > 0 {
			d.Max = time.Duration(delayFloor(i + 1))
		}
	}
	d.P50, d.P99 = h.quantile(d.Samples, 0.50), h.quantile(d.Samples, 0.99)
	return d
}

func (h *histogram) quantile(samples uint64, q float64) time.Duration {
	rank := q * float64(samples)
	for i, n := range h {
		if n == 0 || rank > float64(n) {
			rank -= float64(n)
			continue
		}
		low, high := delayFloor(i), delayFloor(i+1)
		return time.Duration(float64(low) + float64(high-low)*rank/float64(n))
	}
	return 0
}

// delayWindow is how long a reading of the delays looks back at least, once it can: twice as long at most.
const delayWindow = 30 * time.Second

// lately keeps what a reading looks back to.
type lately struct {
	at            time.Time
	before, since histogram // readings at the beginning of the last window and of this one
}

// turn begins a new window when the present one has lasted.
func (l *lately) turn(now time.Time, b *Board) {
	switch {
	case l.at.IsZero():
		l.at = now
	case now.Sub(l.at) >= delayWindow:
		l.at, l.before, l.since = now, l.since, b.delays()
	}
}
