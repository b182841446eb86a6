//go:build linux

package load

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"sallyport/media"
	"sallyport/media/sim"
)

// planVariable makes the test binary a floor; connectedVariable one with connected sockets.
const (
	planVariable      = "SALLYPORT_LOAD_PLAN"
	connectedVariable = "SALLYPORT_LOAD_CONNECTED"
)

func TestMain(m *testing.M) {
	if text := os.Getenv(planVariable); text != "" {
		plan, err := ParsePlan(text)
		if err == nil {
			err = Floor(plan, os.Getenv(connectedVariable) != "", os.Stdin, os.Stdout)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// small is a plan on loopback addresses that no other run of these tests uses.
func small(ports [2]uint16) Plan {
	own := func(kind byte) netip.Addr {
		return netip.AddrFrom4([4]byte{127, kind, byte(os.Getpid() >> 8), byte(os.Getpid())})
	}
	return Plan{
		Streams: 10, Relay: [2]netip.Addr{own(28), own(29)}, First: 22000,
		Peers: [2]netip.AddrPort{netip.AddrPortFrom(own(26), ports[0]), netip.AddrPortFrom(own(27), ports[1])},
	}
}

func generator(t *testing.T) *Generator {
	t.Helper()
	g, err := NewGenerator()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	return g
}

// floorOf starts a floor in a process of its own and returns its process id.
func floorOf(t *testing.T, plan Plan, connected bool) int {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "GODEBUG=asyncpreemptoff=1", planVariable+"="+plan.String())
	if connected {
		cmd.Env = append(cmd.Env, connectedVariable+"=1")
	}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the floor ends with %v", err)
		}
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the floor says %q: %v", line, err)
	}
	return cmd.Process.Pid
}

// Every packet of a small load comes out where it should, each from an address of its own.
func TestFloor(t *testing.T) {
	for name, connected := range map[string]bool{"connected": true, "not connected": false} {
		t.Run(name, func(t *testing.T) {
			g := generator(t)
			plan := small(g.Ports())
			pid := floorOf(t, plan, connected)
			g.Add(plan.Fixed()...)
			r := g.Run(20*time.Millisecond, 5)
			if r.Sent != 100 || r.Arrived != 100 || r.Least != 5 || r.Strange != 0 || r.Lost() != 0 {
				t.Errorf("%d sent, %d arrived, at least %d of each stream, %d strange", r.Sent, r.Arrived, r.Least, r.Strange)
			}
			if r.Delays.total != 100 || r.Delays.Quantile(0.5) > r.Delays.Quantile(0.99) || r.Rate() <= 0 {
				t.Errorf("%d delays, %v at the median, %v at 99 %%", r.Delays.total, r.Delays.Quantile(0.5), r.Delays.Quantile(0.99))
			}
			if r.Missed(0) != 1 || r.Missed(time.Minute) != 0 {
				t.Errorf("to a listener who does not wait %v are missed, to one who waits for a minute %v", r.Missed(0), r.Missed(time.Minute))
			}
			if spent, err := ProcessorTime(pid); err != nil || spent <= 0 {
				t.Errorf("the floor has used %v: %v", spent, err)
			}
		})
	}
}

// The generator is the endpoints that a plan names: one that hears a packet of another port, or of nobody, says so.
func TestStrangePackets(t *testing.T) {
	g := generator(t)
	plan := small(g.Ports())
	floorOf(t, plan, false)
	streams := plan.Fixed()
	wrong := slices.Clone(streams)
	wrong[0].Relay[0], wrong[1].Relay[0] = streams[1].Relay[0], streams[0].Relay[0] // two calls that are crossed
	g.Add(wrong...)
	if r := g.Run(20*time.Millisecond, 2); r.Sent != 40 || r.Arrived != 40 || r.Strange != 8 || r.Least != 0 {
		t.Errorf("%d sent, %d arrived, %d strange", r.Sent, r.Arrived, r.Strange)
	}
	nobody := generator(t)
	nobody.Add(Stream{Peers: streams[0].Peers, Relay: [2]netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:9"), netip.MustParseAddrPort("127.0.0.1:9")}})
	if r := nobody.Run(time.Millisecond, 3); r.Arrived != 0 || r.Lost() != 1 || r.Missed(time.Hour) != 1 {
		t.Errorf("%d arrived of nothing", r.Arrived)
	}
}

// A plan is pointed at a relay of one pool range that it fills.
func TestPoint(t *testing.T) {
	plan := small([2]uint16{4000, 4002})
	p, err := media.New(plan.Config(), sim.New(time.Now, nil), 1)
	if err != nil {
		t.Fatal(err)
	}
	streams, ids, err := plan.Point(p)
	if err != nil || len(streams) != plan.Streams || len(ids) != plan.Streams {
		t.Fatalf("%d streams, %d ids: %v", len(streams), len(ids), err)
	}
	fixed := plan.Fixed()
	for n, s := range streams {
		if s.Peers != fixed[n].Peers || s.Relay[0].Addr() != plan.Relay[0] || s.Relay[1].Addr() != plan.Relay[1] {
			t.Errorf("stream %d: %v", n, s)
		}
	}
	if _, _, err := plan.Point(p); err == nil || !strings.Contains(err.Error(), "stream 1 of 10") {
		t.Errorf("a relay that is full: %v", err)
	}
}

func TestPlanText(t *testing.T) {
	plan := small([2]uint16{4000, 4002})
	if got, err := ParsePlan(plan.String()); err != nil || got != plan {
		t.Errorf("%v: %v", got, err)
	}
	for text, want := range map[string]string{
		"streams":               "plan",
		`{"Streams":0}`:         "do not fit",
		`{"Streams":40000}`:     "do not fit",
		`{"Spare":-1}`:          "do not fit",
		`{"Streams":1}`:         "IPv4",
		`{"Relay":["::1","::"]`: "plan",
	} {
		if _, err := ParsePlan(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// Addresses go on across a boundary of eight bits and stay in their network of sixteen.
func TestPeerAddresses(t *testing.T) {
	plan := Plan{Peers: [2]netip.AddrPort{netip.MustParseAddrPort("127.16.0.250:1"), netip.MustParseAddrPort("127.17.255.255:2")}}
	for n, want := range map[int][2]string{0: {"127.16.0.250:1", "127.17.255.255:2"}, 6: {"127.16.1.0:1", "127.17.0.5:2"}} {
		for side := range want {
			if got := plan.peer(side, n); got.String() != want[side] {
				t.Errorf("peer %d, side %d: %v", n, side, got)
			}
		}
	}
}

// A plan in parts is the plan.
func TestPart(t *testing.T) {
	plan := small([2]uint16{4000, 4002})
	var list []Stream
	for from := 0; from < plan.Streams; from += 4 {
		list = append(list, plan.Part(from, 4).Fixed()...)
	}
	if !slices.Equal(list, plan.Fixed()) {
		t.Errorf("%v", list)
	}
	if c := plan.Config(); c.Validate() != nil || c.Last != c.First+19 {
		t.Errorf("%+v", c)
	}
	plan.Spare = 3
	if c := plan.Config(); c.Last != c.First+25 {
		t.Errorf("%+v", c)
	}
}

// Quantiles are those of the sorted durations, to a thirty-second.
func TestHistogram(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfN(rapid.Int64Range(0, 1<<40), 1, 200).Draw(t, "durations")
		var h Histogram
		for _, d := range list {
			h.Add(time.Duration(d))
		}
		slices.Sort(list)
		for _, share := range []float64{0, 0.5, 0.99, 1} {
			exact := list[min(int(share*float64(len(list))), len(list)-1)]
			if got := int64(h.Quantile(share)); got > exact || exact-got > exact/32 {
				t.Fatalf("at %v: %d, exactly %d", share, got, exact)
			}
		}
		d := rapid.Int64Range(0, 1<<40).Draw(t, "limit")
		longer := func(than int64) (n int) {
			for _, v := range list {
				if v > than {
					n++
				}
			}
			return n
		}
		if got := h.Over(time.Duration(d)); got > longer(d) || got < longer(d+d/31+1) {
			t.Fatalf("%d are longer than %d, exactly %d", got, d, longer(d))
		}
	})
	var h Histogram
	if h.Quantile(0.5) != 0 {
		t.Error("nothing has a median")
	}
	h.Add(-1)
	h.Add(1<<63 - 1)
	if h.Quantile(0) != 0 || h.Quantile(1) <= 1<<61 {
		t.Errorf("%v to %v", h.Quantile(0), h.Quantile(1))
	}
}

func TestMachine(t *testing.T) {
	if _, err := ProcessorTime(1 << 22); err == nil {
		t.Error("a process that there cannot be has used time")
	}
	if _, err := Keep(maxProcessors - 1); err == nil || !strings.Contains(err.Error(), "processor 1023") {
		t.Errorf("this machine has a thousand processors: %v", err)
	}
	undo, err := Keep(0)
	if err != nil {
		t.Skip(err)
	}
	var during, after unix.CPUSet
	_ = unix.SchedGetaffinity(0, &during)
	runtime.LockOSThread() // looked at where it was undone
	undo()
	_ = unix.SchedGetaffinity(0, &after)
	attr, err := unix.SchedGetAttr(0, 0)
	runtime.UnlockOSThread()
	if during.Count() != 1 || !during.IsSet(0) || after.Count() < during.Count() || err != nil || attr.Policy != unix.SCHED_NORMAL {
		t.Errorf("processors %v, then %v with policy %v: %v", during, after, attr, err)
	}
}

// maxProcessors is how many processors a set has room for.
const maxProcessors = int(len(unix.CPUSet{}) * 64)

// What cannot be opened says which address it was.
func TestFloorErrors(t *testing.T) {
	plan := small([2]uint16{4000, 4002})
	plan.Relay[1] = netip.MustParseAddr("192.0.2.1")
	if _, err := openFloor(plan, false); err == nil || !strings.Contains(err.Error(), "192.0.2.1:22000") {
		t.Errorf("an address of another machine: %v", err)
	}
}
