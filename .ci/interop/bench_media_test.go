//go:build interop

package interop

import (
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/media/load"
)

// relayRun is a contender under one load.
type relayRun struct {
	nanoseconds float64 // of processor time, user and system, a packet that arrived
	lost        float64 // share
	missed      float64 // share: lost, or later than a listener waits
	p50, p99    time.Duration
	rate        float64 // packets a second that were sent
	resident    float64 // bytes
}

// relayFigures are all that was measured, by contender.
type relayFigures struct {
	runs   map[string]map[int][]relayRun // by calls
	most   map[string][]float64          // packets a second without loss
	setups map[string][]float64          // a second
	absent map[string]string             // why a contender is left out
}

// The loads of the comparison.
const (
	voicePace    = 20 * time.Millisecond
	warmUp       = 15  // packets of each stream and direction that are not counted: half of them teach the latch
	measured     = 150 // those that are: three seconds
	middleCalls  = 500
	churnFor     = 2 * time.Second
	churnCalls   = 250
	lossAccepted = 0.001
	jitterBuffer = 100 * time.Millisecond // what comes later is lost to the listener, however large the relay's queues are
	steady       = 0.97                   // of the wanted rate; less is the generator's limit
)

var relayCalls = []int{50, 250, middleCalls, 1000}

// TestRelays prints what the relays cost beside a relay of raw system calls and beside rtpengine in user space: processor
// time of a packet, added delay, packets a second without loss, memory of a call, set-ups a second. The contenders take
// turns on the same processors; the figures are medians. It asserts no time.
func TestRelays(t *testing.T) {
	if !*bench {
		t.Skip("make bench-media runs it")
	}
	if why := canCompare(); why != "" {
		t.Skip(why)
	}
	w := newWorld(t)
	f := &relayFigures{runs: map[string]map[int][]relayRun{}, most: map[string][]float64{}, setups: map[string][]float64{}, absent: map[string]string{}}
	begun := time.Now()
	for round := range *rounds {
		for _, calls := range relayCalls {
			names := []string{noRelay, floorConnected, floorPlain, rtpengineName, epollName, steerName, epollLow, steerLow}
			turn(names, round)
			for _, name := range names {
				f.run(t, w, name, calls)
			}
		}
		names := []string{noRelay, floorConnected, rtpengineName, epollName, steerName}
		turn(names, round)
		for _, name := range names {
			f.search(t, w, name)
		}
		for _, name := range []string{rtpengineName, epollName, steerName} {
			f.churn(t, w, name)
		}
		t.Logf("round %d of %d, %v so far", round+1, *rounds, time.Since(begun).Round(time.Second))
	}
	t.Logf("medians of %d interleaved rounds, generator on processor %d, relay on processor %d\n%s\n%s", *rounds, generatorProcessor, relayProcessor, f.table(), f.bars())
}

// TestRelaysCarry proves the instruments: each contender carries every packet of a small load to where it should go.
func TestRelaysCarry(t *testing.T) {
	if why := canCompare(); why != "" {
		t.Skip(why)
	}
	w := newWorld(t)
	f := &relayFigures{absent: map[string]string{}}
	for _, name := range columns {
		f.with(t, w, name, 5, 5, func(c *carrying, g *load.Generator) {
			if r := drive(t, c, g, voicePace, 10*voicePace); r.lost != 0 {
				t.Errorf("%s: %.0f %% of the packets are lost", name, 100*r.lost)
			}
			if c.churn == nil {
				return
			}
			if n, err := c.churn(100 * time.Millisecond); n == 0 || err != nil {
				t.Errorf("%s: %d set-ups: %v", name, n, err)
			}
		})
	}
}

// turn begins each round with another contender.
func turn(names []string, round int) {
	n := round % len(names)
	copy(names, append(slices.Clone(names[n:]), names[:n]...))
}

// with starts a contender with a load of its own, and room for spare calls more, and hands it over; it is gone afterwards.
func (f *relayFigures) with(t *testing.T, w *world, name string, calls, spare int, do func(c *carrying, g *load.Generator)) {
	t.Helper()
	if f.absent[name] != "" {
		return
	}
	g := w.generator(t)
	defer g.Close()
	plan := relayPlan(calls, g.Ports())
	plan.Spare = spare
	c, err := relayContenders[name](t, w, plan)
	if err != nil {
		f.absent[name] = strings.TrimSpace(err.Error())
		t.Logf("%s is left out: %v", name, err)
		return
	}
	defer c.end(t)
	g.Add(c.streams...)
	do(c, g)
}

// drive sends and measures. A pace other than voice's makes a higher rate of the same streams.
func drive(t *testing.T, c *carrying, g *load.Generator, pace, lasting time.Duration) (r relayRun) {
	t.Helper()
	undo, err := load.Keep(generatorProcessor)
	if err != nil {
		t.Fatal(err)
	}
	defer undo()
	g.Run(voicePace, warmUp)
	before := c.spent(t)
	got := g.Run(pace, int(lasting/pace))
	used := c.spent(t) - before
	if got.Strange != 0 || got.Arrived == 0 && pace == voicePace {
		t.Errorf("%d packets sent, %d arrived, %d of them where they should not: the figure means nothing", got.Sent, got.Arrived, got.Strange)
	}
	r = relayRun{
		nanoseconds: float64(used) / float64(max(1, got.Arrived)), lost: got.Lost(), missed: got.Missed(jitterBuffer), rate: got.Rate(),
		p50: got.Delays.Quantile(0.5), p99: got.Delays.Quantile(0.99),
	}
	if c.process != nil {
		r.resident = float64(resident(t, c.pid())) * 1024
	}
	return r
}

// spent is the processor time of a relay so far.
func (c *carrying) spent(t *testing.T) time.Duration {
	t.Helper()
	if c.process == nil {
		return 0
	}
	d, err := load.ProcessorTime(c.pid())
	if err != nil {
		t.Error(err, c.tail())
	}
	return d
}

func (f *relayFigures) run(t *testing.T, w *world, name string, calls int) {
	t.Helper()
	f.with(t, w, name, calls, 0, func(c *carrying, g *load.Generator) {
		if f.runs[name] == nil {
			f.runs[name] = map[int][]relayRun{}
		}
		f.runs[name][calls] = append(f.runs[name][calls], drive(t, c, g, voicePace, measured*voicePace))
	})
}

// search finds the highest rate of 500 calls that a relay carries without loss, by halving. A rate is tried twice before
// it is given up. What waits in the buffers of a thousand sockets is not lost in a second and a half, and yet nobody hears
// it: a packet counts that comes while a jitter buffer waits for it.
func (f *relayFigures) search(t *testing.T, w *world, name string) {
	t.Helper()
	wanted := []float64{40e3, 50e3, 60e3, 70e3, 80e3, 100e3, 120e3, 140e3, 160e3, 180e3, 200e3, 220e3, 240e3, 260e3, 280e3, 300e3}
	best := 0.0
	for low, high := 0, len(wanted); low < high; {
		middle := (low + high) / 2
		good := false
		for try := 0; try < 2 && !good; try++ {
			f.with(t, w, name, middleCalls, 0, func(c *carrying, g *load.Generator) {
				pace := time.Duration(2 * middleCalls / wanted[middle] * 1e9)
				r := drive(t, c, g, pace, 1500*time.Millisecond)
				if good = r.missed <= lossAccepted; good {
					best = max(best, r.rate)
					good = r.rate >= steady*wanted[middle] // else more is not to be had from the generator
				}
			})
		}
		if good {
			low = middle + 1
		} else {
			high = middle
		}
	}
	if f.absent[name] == "" {
		f.most[name] = append(f.most[name], best)
	}
}

func (f *relayFigures) churn(t *testing.T, w *world, name string) {
	t.Helper()
	f.with(t, w, name, 1, churnCalls, func(c *carrying, _ *load.Generator) {
		begun := time.Now()
		n, err := c.churn(churnFor)
		if err != nil {
			t.Errorf("%s: set-ups: %v", name, err)
			return
		}
		f.setups[name] = append(f.setups[name], float64(n)/time.Since(begun).Seconds())
	})
}
