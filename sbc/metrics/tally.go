package metrics

import (
	"math"
	"sync/atomic"

	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// Closed lists of labels.
var (
	directions = [...]string{"inbound", "outbound"}
	results    = [...]string{"answered", "busy", "cancelled", "unanswered", "rejected", "failed"}
	enders     = [...]string{"caller", "callee", "sbc"}
	classes    = [...]string{"none", "2xx", "3xx", "4xx", "5xx", "6xx", "full"}
	sides      = [...]string{"outside", "inside"}
	ways       = [...]string{"in", "out"}
)

// Buckets, in seconds but for scores and ratios.
var (
	setupBuckets    = []float64{0.5, 1, 2, 5, 10, 15, 20, 30, 45, 60, 120, 180}
	dialBuckets     = []float64{0.1, 0.25, 0.5, 1, 2, 3, 5, 8, 12, 20}
	durationBuckets = []float64{1, 5, 15, 30, 60, 180, 600, 1800, 3600, 7200, 14400}
	mosBuckets      = []float64{1.5, 2, 2.5, 3, 3.3, 3.6, 3.8, 4, 4.2, 4.4}
	lossBuckets     = []float64{0, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5}
	jitterBuckets   = []float64{0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2}
)

// Counts are what a histogram has observed.
type Counts struct {
	Count   uint64
	Sum     float64
	Buckets map[float64]uint64 // how many were at most so much
}

// bins count observations. Observing allocates nothing and takes no lock; one goroutine does it.
type bins struct {
	bounds []float64
	counts []atomic.Uint64 // one more than bounds
	sum    atomic.Uint64   // bits of a float64
}

func newBins(bounds []float64) bins {
	return bins{bounds: bounds, counts: make([]atomic.Uint64, len(bounds)+1)}
}

func (b *bins) observe(v float64) {
	if math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
		return // the sum would be none any more
	}
	i := 0
	for i < len(b.bounds) && v > b.bounds[i] {
		i++
	}
	b.counts[i].Add(1)
	b.sum.Store(math.Float64bits(math.Float64frombits(b.sum.Load()) + v))
}

// read may run beside observe: a call that ends meanwhile is in this scrape or in the next.
func (b *bins) read() *Counts {
	c := &Counts{Buckets: make(map[float64]uint64, len(b.bounds)), Sum: math.Float64frombits(b.sum.Load())}
	for i := range b.counts {
		c.Count += b.counts[i].Load()
		if i < len(b.bounds) {
			c.Buckets[b.bounds[i]] = c.Count
		}
	}
	return c
}

// Tally counts calls by their records. Record is called by one goroutine at a time, and costs a call end a few additions;
// everything else may be called from any.
type Tally struct {
	ended                     [len(directions)][len(results)][len(enders)]atomic.Uint64
	reasons                   [len(reason.All)]atomic.Uint64
	setup, postDial, duration [len(directions)]bins

	mos          [len(sides)][len(ways)]bins
	loss, jitter [len(sides)]bins
	packets      [len(sides)][len(ways)]atomic.Uint64
	lost         [len(sides)]atomic.Uint64

	peers atomic.Pointer[peers]
}

// peers are the counts of the systems that the configuration names. The maps never change.
type peers struct{ trunks, nodes map[string]*peerTally }

type peerTally struct {
	attempts [len(classes)]atomic.Uint64
	ended    [len(directions)][len(results)]atomic.Uint64
}

// NewTally makes a tally that knows no trunk and no node.
func NewTally() *Tally {
	t := &Tally{}
	for i := range directions {
		t.setup[i], t.postDial[i], t.duration[i] = newBins(setupBuckets), newBins(dialBuckets), newBins(durationBuckets)
	}
	for i := range sides {
		t.loss[i], t.jitter[i] = newBins(lossBuckets), newBins(jitterBuckets)
		for k := range ways {
			t.mos[i][k] = newBins(mosBuckets)
		}
	}
	t.peers.Store(&peers{})
	return t
}

// Name says which trunks and nodes are counted by name. Those that were keep their counts; calls of others count in the sums
// alone.
func (t *Tally) Name(trunks, nodes []string) {
	if t == nil {
		return
	}
	was := t.peers.Load()
	t.peers.Store(&peers{named(trunks, was.trunks), named(nodes, was.nodes)})
}

func named(names []string, was map[string]*peerTally) map[string]*peerTally {
	out := make(map[string]*peerTally, len(names))
	for _, name := range names {
		if out[name] = was[name]; out[name] == nil {
			out[name] = &peerTally{}
		}
	}
	return out
}

// Record counts a call.
func (t *Tally) Record(r *tu.CDR) {
	if t == nil {
		return // nobody watches
	}
	way, what, by := index(directions[:], r.Direction), resultOf(r), index(enders[:], r.EndedBy)
	t.ended[way][what][by].Add(1)
	if i := reason.Index(r.Reason); i >= 0 {
		t.reasons[i].Add(1)
	}
	if r.PostDial > 0 {
		t.postDial[way].observe(r.PostDial)
	}
	if !r.Answer.IsZero() {
		t.setup[way].observe(r.Answer.Sub(r.Start).Seconds())
		t.duration[way].observe(r.Duration)
	}
	named := t.peers.Load()
	if p := named.trunks[r.Trunk]; p != nil {
		p.ended[way][what].Add(1)
	}
	asked := named.nodes
	if r.Direction == "outbound" {
		asked = named.trunks
	}
	for i := range r.Tries {
		if p := asked[r.Tries[i].Peer]; p != nil {
			p.attempts[classOf(&r.Tries[i])].Add(1)
		}
	}
	for i := range r.Media {
		for side, l := range [...]*tu.LegStats{&r.Media[i].Outside, &r.Media[i].Inside} {
			t.leg(side, l)
		}
	}
}

// leg counts the media of one leg.
func (t *Tally) leg(side int, l *tu.LegStats) {
	t.packets[side][0].Add(l.Packets)
	t.packets[side][1].Add(l.Sent)
	t.lost[side].Add(l.Lost)
	if l.Packets > 0 {
		t.loss[side].observe(float64(l.Lost) / float64(l.Packets+l.Lost))
		t.jitter[side].observe(l.Jitter / 1e3)
	}
	for k, score := range [...]float64{l.MOSIn, l.MOSOut} {
		if score > 0 { // 0: it is not known
			t.mos[side][k].observe(score)
		}
	}
}

// index finds a word of a closed list; another one counts as the last.
func index(list []string, word string) int {
	for i, w := range list {
		if w == word {
			return i
		}
	}
	return len(list) - 1
}

// resultOf is what became of a call, as an index of results.
func resultOf(r *tu.CDR) int {
	switch {
	case r.Code >= 200 && r.Code < 300:
		return 0
	case r.Code == 486, r.Code == 600, r.Code == 603:
		return 1
	case r.Code == 487:
		return 2
	case r.Code == 408, r.Code == 480:
		return 3
	case r.Code >= 500 && r.Code < 600:
		return 5
	}
	return 4
}

// classOf is what became of one hop, as an index of classes.
func classOf(x *tu.Try) int {
	switch {
	case x.Unsent:
		return len(classes) - 1
	case x.Code < 200 || x.Code > 699:
		return 0
	}
	return x.Code/100 - 1
}

// Collect adds what was counted to a scrape. Every series of a closed list is there from the start: a counter that appears with
// its first event hides it from rate().
func (t *Tally) Collect(s *Scrape) {
	for d, direction := range directions {
		for w, result := range results {
			for b, by := range enders {
				s.Add(CallsEnded, float64(t.ended[d][w][b].Load()), direction, result, by)
			}
		}
		s.observed(CallSetup, t.setup[d].read(), direction)
		s.observed(PostDial, t.postDial[d].read(), direction)
		s.observed(CallDuration, t.duration[d].read(), direction)
	}
	for i, r := range reason.All {
		if n := t.reasons[i].Load(); n > 0 {
			s.Add(CallReasons, float64(n), string(r))
		}
	}
	for i, side := range sides {
		for k, way := range ways {
			s.Add(MediaPackets, float64(t.packets[i][k].Load()), side, way)
			s.observed(MediaMOS, t.mos[i][k].read(), side, way)
		}
		s.Add(MediaLost, float64(t.lost[i].Load()), side)
		s.observed(MediaLoss, t.loss[i].read(), side)
		s.observed(MediaJitter, t.jitter[i].read(), side)
	}
	t.collectPeers(s)
}

func (t *Tally) collectPeers(s *Scrape) {
	named := t.peers.Load()
	for name, p := range named.trunks {
		for i, class := range classes {
			s.Add(TrunkAttempts, float64(p.attempts[i].Load()), name, class)
		}
		for d, direction := range directions {
			for w, result := range results {
				s.Add(TrunkEnded, float64(p.ended[d][w].Load()), name, direction, result)
			}
		}
	}
	for name, p := range named.nodes {
		for i, class := range classes {
			s.Add(NodeAttempts, float64(p.attempts[i].Load()), name, class)
		}
	}
}
