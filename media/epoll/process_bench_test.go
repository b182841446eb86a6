//go:build linux

package epoll_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"sallyport/media"
	"sallyport/media/epoll"
	"sallyport/media/process"
	"sallyport/nat"
)

// roleVariable makes the test binary a child that relays; play says how.
const roleVariable = "SALLYPORT_RELAY_ROLE"

// loadVariable tells the child the number of streams and the generator's ports.
const loadVariable = "SALLYPORT_RELAY_LOAD"

// socketVariable tells a media process its socket.
const socketVariable = "SALLYPORT_RELAY_SOCKET"

func TestMain(m *testing.M) {
	role := os.Getenv(roleVariable)
	if role == "" {
		goleak.VerifyTestMain(m)
		return
	}
	if err := play(role); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// play is what a child does.
func play(role string) error {
	if role == "media" {
		if err := process.Become(); err != nil {
			return err
		}
		return process.Serve(context.Background(), process.ServeOptions{Socket: os.Getenv(socketVariable), Build: "bench", Follow: true})
	}
	var streams int
	var ports [2]uint16
	if _, err := fmt.Sscan(os.Getenv(loadVariable), &streams, &ports[0], &ports[1]); err != nil {
		return err
	}
	load := benchLoad(os.Getpid(), streams, ports)
	switch role {
	case "floor":
		return runFloor(load, os.Stdin, os.Stdout)
	case "within":
		return runWithin(load, os.Stdin, os.Stdout)
	case "eager":
		load.Config.LowLatency = true
	}
	return epoll.Serve(context.Background(), load, os.Stdin, os.Stdout)
}

// runWithin is the back end as it runs within a program that does more than media, with the same words on in and out.
func runWithin(load epoll.Load, in io.Reader, out io.Writer) error {
	plane, err := media.New(load.Config, epoll.New(epoll.Options{}), 1)
	if err != nil {
		return err
	}
	ids, err := load.Point(plane, out)
	if err != nil {
		return err
	}
	start := epoll.ProcessorTime()
	fmt.Fprintln(out, "ready")
	_, _ = io.Copy(io.Discard, in)
	used := epoll.ProcessorTime() - start
	fmt.Fprintf(out, "cpu %d packets %d\n", used.Nanoseconds(), relayed(plane, ids))
	return plane.Close()
}

func relayed(plane *media.Plane, ids []media.ID) (packets uint64) {
	for _, id := range ids {
		legs, _ := plane.Stats(id)
		packets += legs[nat.Outside].Sent + legs[nat.Inside].Sent
	}
	return packets
}

func ownOf(pid int, kind byte) netip.Addr {
	return netip.AddrFrom4([4]byte{127, kind, byte(pid >> 8), byte(pid)})
}

// benchLoad is the load of a child, by its process id: all of it on loopback.
func benchLoad(pid, streams int, ports [2]uint16) epoll.Load {
	return epoll.Load{
		Config: media.Config{
			Addresses: [2]netip.Addr{ownOf(pid, 18), ownOf(pid, 19)},
			First:     22000, Last: 22000 + uint16(2*streams) - 1, DSCP: 46,
		},
		Streams: streams,
		Peers:   [2]netip.AddrPort{netip.AddrPortFrom(ownOf(pid, 16), ports[0]), netip.AddrPortFrom(ownOf(pid, 17), ports[1])},
	}
}

// result is one run of a child.
type result struct {
	perPacket float64 // nanoseconds of processor time
	lost      float64 // share of packets
}

// contenders are what the benchmark compares: a raw-syscall relay, the engine alone, each packet at once and gathered, the
// whole media process behind its socket, and the back end within another program.
var contenders = []struct {
	name string
	run  func(tb testing.TB, streams, each int) result
}{
	{"floor", childFor("floor")},
	{"eager", childFor("eager")},
	{"engine", childFor("engine")},
	{"process", processFor},
	{"within", childFor("within")},
}

func childFor(role string) func(testing.TB, int, int) result {
	return func(tb testing.TB, streams, each int) result { return relayFor(tb, role, streams, each) }
}

// BenchmarkRelayProcess compares processor time of a relayed packet, medians of five interleaved runs of three seconds.
func BenchmarkRelayProcess(b *testing.B) {
	for _, streams := range []int{50, 250, 500} {
		b.Run(strconv.Itoa(streams)+"calls", func(b *testing.B) {
			const runs, packets = 5, 150
			costs := make([][]float64, len(contenders))
			var lost float64
			for range runs {
				for i, c := range contenders {
					r := c.run(b, streams, packets)
					costs[i] = append(costs[i], r.perPacket)
					if c.name != "floor" {
						lost = max(lost, r.lost)
					}
				}
			}
			for i := range costs {
				slices.Sort(costs[i])
			}
			b.ReportMetric(0, "ns/op") // one pass takes minutes; the figures below are the benchmark
			for i, c := range contenders {
				b.ReportMetric(costs[i][runs/2], c.name+"-ns/packet")
				if i > 0 {
					b.ReportMetric(costs[i][runs/2]/costs[0][runs/2], c.name+"/floor")
				}
			}
			b.ReportMetric(100*lost, "%lost")
		})
	}
}

// processFor sends through a media process that stands behind its socket; its processor time is the kernel's word.
func processFor(tb testing.TB, streams, each int) result {
	tb.Helper()
	g, err := newGenerator()
	if err != nil {
		tb.Fatal(err)
	}
	defer g.close()
	socket := filepath.Join(tb.TempDir(), "media.sock")
	tb.Setenv(socketVariable, socket)
	tb.Setenv(roleVariable, "media")
	backend := process.New(process.Options{Socket: socket, Build: "bench", Program: os.Args[0]})
	load := benchLoad(os.Getpid(), streams, g.ports)
	plane, err := media.New(load.Config, backend, 1)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = plane.Close() }()
	var words bytes.Buffer
	ids, err := load.Point(plane, &words)
	if err != nil {
		tb.Fatal(err)
	}
	if err := backend.Sync(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	fmt.Fprintln(&words, "ready")
	if err := g.meet(bufio.NewScanner(&words), load.Peers); err != nil {
		tb.Fatal(err)
	}
	start := timeOf(tb, backend.State().PID)
	g.run(each)
	used, packets := timeOf(tb, backend.State().PID)-start, relayed(plane, ids)
	if packets == 0 || g.strange != 0 {
		tb.Fatalf("%d packets relayed, %d sent, %d arrived, %d from unexpected addresses", packets, g.sent, g.arrived, g.strange)
	}
	return result{float64(used) / float64(packets), 1 - float64(g.arrived)/float64(g.sent)}
}

// timeOf is another process's processor time (clock_getcpuclockid(3)).
func timeOf(tb testing.TB, pid int) int64 {
	tb.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|2), &ts); err != nil {
		tb.Fatal(err)
	}
	return ts.Nano()
}

// relayFor starts a child and sends through it: so many packets for each stream and direction, 20 ms apart.
func relayFor(tb testing.TB, role string, streams, each int) result {
	tb.Helper()
	g, err := newGenerator()
	if err != nil {
		tb.Fatal(err)
	}
	defer g.close()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "GODEBUG=asyncpreemptoff=1",
		roleVariable+"="+role, loadVariable+"="+fmt.Sprint(streams, g.ports[0], g.ports[1]))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	defer stdin.Close()
	lines := bufio.NewScanner(stdout)
	if err := g.meet(lines, benchLoad(cmd.Process.Pid, streams, g.ports).Peers); err != nil {
		tb.Fatal(err)
	}
	g.run(each)
	_ = stdin.Close()
	var cpu, packets uint64
	for lines.Scan() {
		if _, err := fmt.Sscanf(lines.Text(), "cpu %d packets %d", &cpu, &packets); err == nil {
			break
		}
	}
	_, _ = io.Copy(io.Discard, stdout)
	if packets == 0 || g.strange != 0 {
		tb.Fatalf("%s: %d packets relayed, %d sent, %d arrived, %d from unexpected addresses", role, packets, g.sent, g.arrived, g.strange)
	}
	return result{float64(cpu) / float64(packets), 1 - float64(g.arrived)/float64(g.sent)}
}

// meet reads the relay's addresses until it is ready.
func (g *generator) meet(lines *bufio.Scanner, peers [2]netip.AddrPort) error {
	for lines.Scan() {
		if lines.Text() == "ready" {
			return nil
		}
		var relay [2]netip.AddrPort
		for side, text := range strings.Fields(lines.Text()) {
			at, err := netip.ParseAddrPort(text)
			if err != nil || side > 1 {
				return fmt.Errorf("unexpected line %q of the relay", lines.Text())
			}
			relay[side] = at
		}
		g.add(peers, relay)
		for side := range peers {
			peers[side] = netip.AddrPortFrom(peers[side].Addr().Next(), peers[side].Port())
		}
	}
	return errors.Join(errors.New("the relay ended before it was ready"), lines.Err())
}

// Each contender relays every packet of a small load.
func TestServe(t *testing.T) {
	for _, c := range contenders {
		if r := c.run(t, 10, 5); r.lost != 0 || r.perPacket <= 0 {
			t.Errorf("%s: %+v", c.name, r)
		}
	}
}

func TestServeErrors(t *testing.T) {
	load := benchLoad(os.Getpid(), 2, [2]uint16{4000, 4002})
	load.Streams = 3
	plane, err := media.New(load.Config, epoll.New(epoll.Options{}), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = plane.Close() }()
	if _, err := load.Point(plane, io.Discard); err == nil || !strings.Contains(err.Error(), "stream 3 of 3") {
		t.Errorf("more streams than ports: %v", err)
	}
	if err := (&generator{}).meet(bufio.NewScanner(strings.NewReader("nonsense line\n")), load.Peers); err == nil {
		t.Error("the generator believes anything")
	}
}
