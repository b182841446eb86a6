//go:build interop

package interop

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sallyport/media"
	"sallyport/media/load"
	relayprocess "sallyport/media/process"
)

// relayPlanVariable tells a floor its plan; relayFloor and relayFloorConnected are what it is asked for in floorRole.
const (
	relayPlanVariable   = "SALLYPORT_RELAY_PLAN"
	relayFloor          = "relay"
	relayFloorConnected = "relay, connected"
)

// The processors of the comparison: what else either does meets all contenders alike.
const generatorProcessor, relayProcessor = 0, 1

// carrying is a relay with the streams of a plan set up.
type carrying struct {
	*process // nil: nobody carries, the endpoints hear each other
	streams  []load.Stream
	churn    func(d time.Duration) (setups int, err error) // sets streams up and down again; nil: it cannot
	close    func() error                                  // nil: killing it is enough
}

func (c *carrying) end(t *testing.T) {
	t.Helper()
	if c.close != nil {
		if err := c.close(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if c.process != nil {
		c.kill()
	}
}

// The names of the contenders.
const (
	noRelay        = "no relay"
	floorConnected = "floor"
	floorPlain     = "floor, unconnected"
	rtpengineName  = "rtpengine"
	epollName      = "epoll"
	steerName      = "steer"
	epollLow       = "epoll, low"
	steerLow       = "steer, low"
)

// relayContenders start a relay in a process of its own, with the streams of a plan.
var relayContenders = map[string]func(*testing.T, *world, load.Plan) (*carrying, error){
	noRelay:        startNobody,
	floorConnected: floorStarter(relayFloorConnected),
	floorPlain:     floorStarter(relayFloor),
	rtpengineName:  startRTPEngine,
	epollName:      ownStarter("epoll", false),
	steerName:      ownStarter("steer", false),
	epollLow:       ownStarter("epoll", true),
	steerLow:       ownStarter("steer", true),
}

// kept is a command line on the relay's processor, before all ordinary threads there.
func kept(args ...string) []string {
	return append([]string{"chrt", "-f", "1", "taskset", "-c", fmt.Sprint(relayProcessor)}, args...)
}

// relayNumber makes the names of a world's relays differ.
var relayNumber atomic.Int32

func (w *world) startKept(t *testing.T, name string, args ...string) *process {
	t.Helper()
	return w.start(t, nsGate, fmt.Sprintf("%s-%d", name, relayNumber.Add(1)), kept(args...)...)
}

// startNobody lets the endpoints hear each other: what is seen then is the generator alone.
func startNobody(_ *testing.T, _ *world, plan load.Plan) (*carrying, error) {
	c := &carrying{streams: plan.Fixed()}
	for n := range c.streams {
		s := &c.streams[n]
		s.Relay = [2]netip.AddrPort{s.Peers[1], s.Peers[0]}
	}
	return c, nil
}

// floorStarter starts this test's binary as the relay of raw system calls.
func floorStarter(role string) func(*testing.T, *world, load.Plan) (*carrying, error) {
	return func(t *testing.T, w *world, plan load.Plan) (*carrying, error) {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		p := w.startKept(t, "floor", "env", floorRole+"="+role, relayPlanVariable+"="+plan.String(), "GODEBUG=asyncpreemptoff=1", self)
		until(t, "the floor is ready", 10*time.Second, func() bool { return p.ended() || strings.HasPrefix(p.text(), "ready") })
		if p.ended() {
			return nil, errors.New(p.tail())
		}
		return &carrying{process: p, streams: plan.Fixed()}, nil
	}
}

// relayFloorMain is what the floor's process does.
func relayFloorMain(connected bool) {
	plan, err := load.ParsePlan(os.Getenv(relayPlanVariable))
	if err == nil {
		err = load.Floor(plan, connected, forever{}, os.Stdout)
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// forever is an input that says nothing and does not end: the floor is killed.
type forever struct{}

func (forever) Read([]byte) (int, error) { select {} }

// text is all that the process has said.
func (p *process) text() string {
	text, _ := os.ReadFile(p.log)
	return string(text)
}

// ownStarter starts the media process as the program does, and speaks to it as signalling does.
func ownStarter(backend string, low bool) func(*testing.T, *world, load.Plan) (*carrying, error) {
	return func(t *testing.T, w *world, plan load.Plan) (*carrying, error) {
		path, err := filepath.Abs(*binary)
		if err != nil {
			return nil, err
		}
		socket := filepath.Join(w.dir, fmt.Sprintf("media-%d.sock", relayNumber.Add(1)))
		p := w.startKept(t, "media", path, "media", "serve", "--backend", backend, "--socket", socket)
		until(t, "the media process listens", 10*time.Second, func() bool {
			_, err := os.Stat(socket)
			return p.ended() || err == nil
		})
		if p.ended() {
			return nil, errors.New(p.tail())
		}
		b := relayprocess.New(relayprocess.Options{Socket: socket, Build: "bench"})
		cfg := plan.Config()
		cfg.LowLatency = low
		plane, err := media.New(cfg, b, 1)
		if err != nil {
			p.kill()
			return nil, err
		}
		c := &carrying{process: p, close: plane.Close, churn: func(d time.Duration) (int, error) { return churn(plane, b, plan, d) }}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		for from := 0; from < plan.Streams && err == nil; from += setUpAtOnce {
			var some []load.Stream
			if some, _, err = plan.Part(from, setUpAtOnce).Point(plane); err == nil {
				err = b.Sync(ctx)
			}
			c.streams = append(c.streams, some...)
		}
		if is := b.State().Backend; err == nil && !strings.HasPrefix(is, backend) {
			err = fmt.Errorf("it carries by %s", is)
		}
		if err != nil {
			c.end(t)
			return nil, err
		}
		return c, nil
	}
}

// setUpAtOnce is how many streams are pointed before the media process is asked whether it has them: calls do not come by
// the thousand at once, and memory would keep the trace of the queue.
const setUpAtOnce = 50

// churn sets streams up and ends them, as calls do that nobody answers: ports taken, both sides pointed, ports given back,
// each in the table of the media process before the next step. A command that still waits is replaced by the next one for
// the same leg; nothing is to be gained by that here.
func churn(plane *media.Plane, b *relayprocess.Backend, plan load.Plan, d time.Duration) (setups int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), d+10*time.Second)
	defer cancel()
	plan.Streams = plan.Spare
	for end := time.Now().Add(d); time.Now().Before(end); setups += plan.Streams {
		_, ids, err := plan.Point(plane)
		if err == nil {
			err = b.Sync(ctx)
		}
		if err != nil {
			return 0, err
		}
		for _, id := range ids {
			plane.Release(time.Now(), id)
		}
		if err := b.Sync(ctx); err != nil {
			return 0, err
		}
	}
	return setups, nil
}

// relayPlan is the plan of a number of calls, on loopback in the gate's namespace.
func relayPlan(calls int, ports [2]uint16) load.Plan {
	return load.Plan{
		Streams: calls, First: 30000,
		Relay: [2]netip.Addr{netip.MustParseAddr("127.0.1.1"), netip.MustParseAddr("127.0.2.1")},
		Peers: [2]netip.AddrPort{
			netip.AddrPortFrom(netip.MustParseAddr("127.16.0.1"), ports[0]),
			netip.AddrPortFrom(netip.MustParseAddr("127.17.0.1"), ports[1]),
		},
	}
}

// generator opens the endpoints in the gate's namespace.
func (w *world) generator(t *testing.T) (g *load.Generator) {
	t.Helper()
	var err error
	w.visit(t, nsGate, func() { g, err = load.NewGenerator() })
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// canCompare says why the comparison is not possible here; "": it is.
func canCompare() string {
	if runtime.NumCPU() < 2 {
		return "one processor is too few: generator and relay need one each"
	}
	if out, err := exec.Command(kept("true")[0], kept("true")[1:]...).CombinedOutput(); err != nil {
		return fmt.Sprintf("no real-time priority here: %v %s", err, out)
	}
	return ""
}
