//go:build linux

package epoll

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"sallyport/media"
)

// roleVariable makes the test binary a child that relays: "engine" or "floor".
const roleVariable = "SALLYPORT_RELAY_ROLE"

// loadVariable tells the child the number of streams and the generator's ports.
const loadVariable = "SALLYPORT_RELAY_LOAD"

func TestMain(m *testing.M) {
	role := os.Getenv(roleVariable)
	if role == "" {
		goleak.VerifyTestMain(m)
		return
	}
	var streams int
	var ports [2]uint16
	_, err := fmt.Sscan(os.Getenv(loadVariable), &streams, &ports[0], &ports[1])
	if err == nil {
		if role == "engine" {
			err = Serve(context.Background(), benchLoad(os.Getpid(), streams, ports), os.Stdin, os.Stdout)
		} else {
			err = runFloor(benchLoad(os.Getpid(), streams, ports), os.Stdin, os.Stdout)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// benchLoad is the load of a child, by its process id: all of it on loopback.
func benchLoad(pid, streams int, ports [2]uint16) Load {
	return Load{
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

// BenchmarkRelayProcess compares the engine alone in a process of its own with a raw-syscall relay: processor time of a
// relayed packet, medians of five interleaved runs of three seconds.
func BenchmarkRelayProcess(b *testing.B) {
	for _, streams := range []int{250, 500} {
		b.Run(strconv.Itoa(streams)+"calls", func(b *testing.B) {
			const runs, packets = 5, 150
			var engine, floor []float64
			var lost float64
			for range runs {
				f, e := relayFor(b, "floor", streams, packets), relayFor(b, "engine", streams, packets)
				floor, engine = append(floor, f.perPacket), append(engine, e.perPacket)
				lost = max(lost, e.lost)
			}
			slices.Sort(floor)
			slices.Sort(engine)
			b.ReportMetric(0, "ns/op") // one pass takes half a minute; the figures below are the benchmark
			b.ReportMetric(engine[runs/2], "ns/packet")
			b.ReportMetric(floor[runs/2], "floor-ns/packet")
			b.ReportMetric(engine[runs/2]/floor[runs/2], "ratio")
			b.ReportMetric(100*lost, "%lost")
		})
	}
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
