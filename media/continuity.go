package media

import "time"

// continuity is what one peer hears: whatever sources take turns behind the gate, for it they are one SSRC, one sequence
// and one clock (RFC 3550 §8.1: a receiver takes another SSRC for another participant; §A.1: and a jump for a loss). Until
// something behind the gate changes, it only watches.
//
// Sequence numbers are counted with their cycles, as receivers report them (RFC 3550 §6.4.1).
type continuity struct {
	at      int64  // when the clock stood at stamp
	stamp   uint32 // the latest timestamp that the peer has heard
	ssrc    uint32 // the first SSRC that the peer has heard, and the only one
	now     segment
	frame   uint16 // how much lies between two packets in a row, in frameUnit
	started bool
	altered bool // the peer does not hear what is sent
	past    uint8
	before  [segmentsKept]segment // the past ones, the latest first, for what comes late
}

// segmentsKept is for two sources that take turns, with a packet left out of each.
const segmentsKept = 3

// segment is a run of one source's packets whose numbers are shifted alike. Segments follow each other without overlap in
// what the peer hears.
type segment struct {
	ssrc  uint32 // the source's own
	max   uint32 // its highest number
	shift uint32 // from the source's numbers to the peer's
	clock uint32 // the same for timestamps
	last  uint32 // the source's timestamp at max
	count uint32 // how many numbers up to max are its own, at most maxMisorder
}

// Figures of a change from one source to another.
const (
	longestFrame = int64(200 * time.Millisecond)
	frameUnit    = int64(10 * time.Microsecond)
	clockAgrees  = int64(100 * time.Millisecond) // a known source whose clock is so near goes on with it
	leadAtMost   = int64(100 * time.Millisecond) // of the peer's clock over the time elapsed
	longestEvent = int64(10 * time.Second)       // a telephone event's timestamp stays where it began (RFC 4733 §2.1)
	farAway      = 1 << 20                       // no distance between two sequence numbers
)

// take finds a packet's place in what the peer hears: the segment whose shifts count for it, nil if there is none. begins
// says that the packet does not go on with what was heard.
func (t *continuity) take(now int64, clock uint32, h *header) (g *segment, begins bool) {
	if !t.started {
		*t = continuity{
			at: now, stamp: h.stamp, ssrc: h.ssrc, started: true,
			now: segment{ssrc: h.ssrc, max: uint32(h.seq), last: h.stamp, count: maxMisorder},
		}
		return &t.now, false
	}
	n := t.now.ahead(h)
	if n == 1 || t.past == 0 && n > 0 && n < maxDropout {
		t.forward(now, clock, h, n)
		return &t.now, false
	}
	if t.now.holds(n) {
		return &t.now, false // late, or a repeat
	}
	past, b := t.earlier(h)
	switch {
	case past != nil && past.holds(b) && !(n > 0 && n <= -b):
		return past, false
	case n > 0 && n < maxDropout && !(b > 0 && b < n):
		t.forward(now, clock, h, n)
		return &t.now, false
	case late(n), late(b):
		return nil, false // what is left of its numbers is somebody else's
	case b > 0 && b < maxDropout:
		return &t.now, t.join(now, clock, h, past.max+uint32(b), past)
	case n != farAway:
		// RFC 3550 §A.1: a jump. The source has restarted, or numbers its packets by no rule at all.
		past = &t.now
	}
	return &t.now, t.join(now, clock, h, uint32(h.seq), past)
}

// earlier is the past segment that a packet belongs to, else the latest one of its source, and how far the packet lies
// ahead of it.
func (t *continuity) earlier(h *header) (g *segment, b int) {
	b = farAway
	for i := range t.before[:t.past] {
		x := &t.before[i]
		d := x.ahead(h)
		if x.holds(d) {
			return x, d
		}
		if g == nil && d != farAway {
			g, b = x, d
		}
	}
	return g, b
}

// holds reports whether the number that lies so far ahead of a segment's highest is one of it.
func (g *segment) holds(ahead int) bool { return ahead <= 0 && -ahead < int(g.count) }

func late(n int) bool { return n <= 0 && n > -maxMisorder }

// ahead is how far a packet lies before the segment's highest number, negative behind it.
func (g *segment) ahead(h *header) int {
	if h.ssrc != g.ssrc {
		return farAway
	}
	return int(int16(h.seq - uint16(g.max)))
}

// forward takes the present source's next packet; n-1 have been lost, or come late.
func (t *continuity) forward(now int64, clock uint32, h *header, n int) {
	g := &t.now
	if d := h.stamp - g.last; n == 1 && d > 0 && d <= units(longestFrame, clock) {
		t.frame = uint16(duration(d, clock) / frameUnit)
	}
	g.max += uint32(n)
	g.last = h.stamp
	g.count = min(g.count+uint32(n), maxMisorder)
	t.heard(now, clock, h.stamp+g.clock)
}

// heard notes the timestamp that the peer has heard, if it is the latest. One far behind means that the source has set
// its clock anew, a little behind is a telephone event's.
func (t *continuity) heard(now int64, clock, stamp uint32) {
	if d := int32(stamp - t.stamp); d > 0 || d < -int32(units(longestEvent, clock)) {
		t.stamp, t.at = stamp, now
	}
}

// join lets another source go on where the last one stopped, or the same one after a jump: the next number, and the
// timestamp that the time elapsed makes. seq is its number with cycles, known the segment of before, if there is one: its
// clock goes on where it agrees. It reports whether the clock did not.
func (t *continuity) join(now int64, clock uint32, h *header, seq uint32, known *segment) (begins bool) {
	g := segment{ssrc: h.ssrc, max: seq, shift: t.now.max + t.now.shift + 1 - seq, last: h.stamp, count: 1}
	elapsed := units(now-t.at, clock)
	switch {
	case known != nil && h.stamp == known.last && seq-known.max < maxDropout: // the next packet of a telephone event
		g.clock = known.clock
	case known != nil && t.agrees(elapsed, clock, h.stamp+known.clock):
		g.clock = known.clock
		t.heard(now, clock, h.stamp+g.clock)
	default:
		// Another source's frame must not begin within the last one, but the clock must not run away either.
		step := max(1, elapsed)
		if known == nil && t.at-now < leadAtMost {
			step = max(step, units(int64(t.frame)*frameUnit, clock))
		}
		g.clock = t.stamp + step - h.stamp
		t.stamp += step
		t.at = max(now, t.at+duration(step, clock))
		begins = true
	}
	t.split(0)
	t.now = g
	return begins
}

// agrees reports whether a timestamp is about what the time elapsed makes it.
func (t *continuity) agrees(elapsed, clock, stamp uint32) bool {
	off := int32(stamp - t.stamp - elapsed)
	near := int32(units(clockAgrees, clock))
	return int32(stamp-t.stamp) > 0 && off >= -near && off <= near
}

// skip leaves a packet of the present source out, so that the peer misses nothing.
func (t *continuity) skip(now int64, clock uint32, h *header) {
	if !t.started {
		return
	}
	n := t.now.ahead(h)
	if n <= 0 || n >= maxDropout {
		return // it was missed already
	}
	t.split(n - 1)
	t.now.max += uint32(n)
	t.now.shift--
	t.now.last = h.stamp
	t.heard(now, clock, h.stamp+t.now.clock)
}

// split ends the present segment, so that the numbers of the next may be shifted otherwise. The next more numbers are its
// own, if they come late. One of which nothing was heard is none.
func (t *continuity) split(more int) {
	if t.now.count > 0 {
		copy(t.before[1:], t.before[:])
		g := &t.before[0]
		*g = t.now
		g.max += uint32(more)
		g.count = min(g.count+uint32(more), maxMisorder)
		t.past = min(t.past+1, segmentsKept)
	}
	t.now.count, t.altered = 0, true
}

// insert takes the next number of what the peer hears for a packet that the engine makes itself, and tells the SSRC and
// where the clock stands. What the source sends next comes behind it. It reports false where the peer has heard nothing
// yet.
func (t *continuity) insert(now int64, clock uint32) (ssrc uint32, seq uint16, stamp uint32, ok bool) {
	if !t.started {
		return 0, 0, 0, false
	}
	t.split(0)
	t.now.shift++
	return t.ssrc, uint16(t.now.max + t.now.shift), t.stamp + max(1, units(now-t.at, clock)), true
}

// units is a time in units of a clock, at most an hour; duration is the reverse.
func units(d int64, clock uint32) uint32 {
	d = min(max(d, 0), int64(time.Hour))
	return uint32(d/1e6*int64(clock)/1e3 + d%1e6*int64(clock)/1e9)
}

func duration(stamps, clock uint32) int64 { return int64(stamps) * 1e9 / int64(clock) }
