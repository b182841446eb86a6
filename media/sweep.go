package media

import (
	"time"

	"sallyport/nat"
)

// HintKind says what a hint is about.
type HintKind uint8

// The kinds of hints.
const (
	Silent  HintKind = iota // nothing came from either side for the stream's Timeout, or Hold
	Resumed                 // a silent stream is heard again
	Latched                 // a leg locked a source
	Freed                   // a stream that an earlier run of signalling left has ended
	Heard                   // a leg's peer has sent a telephone event
)

// String is the kind's name in logs.
func (k HintKind) String() string {
	return [...]string{"silent", "resumed", "latched", "freed", "heard"}[k%5]
}

// Hint is word from the relay about one stream.
type Hint struct {
	ID    ID
	Kind  HintKind
	Side  nat.Side     // of Latched and Heard
	Last  *[2]LegStats // of Freed: the last figures, by nat.Side
	Digit              // of Heard
}

// watch is the media timeout of one stream.
type watch struct {
	since   time.Time // silence counts from here at the earliest; zero: from the next sweep
	silent  bool
	told    time.Time // when Silent was last told
	latches [2]uint32 // seen, by nat.Side
	heard   [2]uint32 // digits that have been told, by nat.Side
}

const tellAgain = 5 * time.Second

// change starts the silence anew if a leg's new state alters what is to be expected of it.
func (w *watch) change(pointed bool, old, next *Want) {
	if !pointed || old.Final != next.Final || old.Epoch != next.Epoch ||
		old.Send != next.Send || old.Receive != next.Receive || old.RTP != next.RTP {
		w.since = time.Time{}
	}
}

// limit is how long a stream may be silent; 0 forever. The timeout runs between 2xx and BYE only; a stream that is
// sendrecv on neither leg is held and has the longer one.
func (s *stream) limit() time.Duration {
	for side := range s.want {
		if !s.pointed[side] || !s.want[side].Final {
			return 0
		}
	}
	for side := range s.want {
		if w := &s.want[side]; w.Send && w.Receive && !w.Opaque {
			return w.Timeout
		}
	}
	return max(s.want[0].Hold, s.want[1].Hold)
}

// Sweep is to be called about once a second. It returns what has happened to the streams since the last call: it reads
// the published state of every live stream, so nothing can get lost on the way. A silence is told again every five
// seconds while it lasts, in case the caller could not act on it.
func (p *Plane) Sweep(now time.Time) (hints []Hint) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.latest = now
	hints, p.late = p.late, nil
	p.lately.turn(now, p.board)
	for i := range p.streams {
		s := &p.streams[i]
		if !s.live {
			continue
		}
		id := s.id()
		seen := s.watch.since
		for side, pair := range s.pair {
			at, latches, ok := p.board.glance(pair*2, s.generation)
			if !ok {
				continue
			}
			if latches != s.watch.latches[side] {
				s.watch.latches[side] = latches
				hints = append(hints, Hint{ID: id, Kind: Latched, Side: nat.Side(side)})
			}
			if at.After(seen) && !s.watch.since.IsZero() {
				seen = at
			}
		}
		hints = s.silence(now, seen, id, p.digits(s, hints))
	}
	return p.reclaim(now, hints)
}

// digits appends what the peers of a stream have sent since it was last asked.
func (p *Plane) digits(s *stream, hints []Hint) []Hint {
	for side, pair := range s.pair {
		s.watch.heard[side], hints = p.board.digitsAfter(s.watch.heard[side], pair*2, s.generation, s.id(), nat.Side(side), hints)
	}
	return hints
}

// silence compares the last sign of life with the limit.
func (s *stream) silence(now, seen time.Time, id ID, hints []Hint) []Hint {
	if s.watch.since.IsZero() {
		s.watch.since, seen = now, now
	}
	limit := s.limit()
	was, is := s.watch.silent, limit > 0 && now.Sub(seen) >= limit
	s.watch.silent = is
	switch {
	case is && (!was || now.Sub(s.watch.told) >= tellAgain):
		s.watch.told = now
		return append(hints, Hint{ID: id, Kind: Silent})
	case was && !is:
		return append(hints, Hint{ID: id, Kind: Resumed})
	}
	return hints
}

// glance reads what Sweep needs of a side: the last accepted datagram on either port, and how often RTP was latched.
func (b *Board) glance(leg int, generation uint32) (seen time.Time, latches uint32, ok bool) {
	c := b.cell(leg)
	if c.generation.Load() != generation {
		return seen, 0, false
	}
	if at := c.seen.Load(); at != 0 {
		seen = b.Base.Add(time.Duration(at))
	}
	return seen, c.remotes[0].latches.Load(), true
}
