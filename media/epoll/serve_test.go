//go:build linux

package epoll

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sallyport/media"
	"sallyport/media/load"
	"sallyport/nat"
)

// planVariable makes the test binary a child that serves a plan.
const planVariable = "SALLYPORT_EPOLL_PLAN"

func TestMain(m *testing.M) {
	text := os.Getenv(planVariable)
	if text == "" {
		goleak.VerifyTestMain(m)
		return
	}
	plan, err := load.ParsePlan(text)
	if err == nil {
		err = Serve(context.Background(), Load{Config: plan.Config(), Streams: plan.Streams, Peers: plan.Peers}, os.Stdin, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// planOf is a plan on loopback addresses that no other run of these tests uses.
func planOf(streams int, ports [2]uint16) load.Plan {
	own := func(kind byte) netip.Addr { return ownOf(os.Getpid(), kind) }
	return load.Plan{
		Streams: streams, Relay: [2]netip.Addr{own(18), own(19)}, First: 22000,
		Peers: [2]netip.AddrPort{netip.AddrPortFrom(own(16), ports[0]), netip.AddrPortFrom(own(17), ports[1])},
	}
}

// All of a small load is relayed, and the words say so.
func TestServe(t *testing.T) {
	g, err := load.NewGenerator()
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	plan := planOf(10, g.Ports())
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "GODEBUG=asyncpreemptoff=1", planVariable+"="+plan.String())
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	for n, s := range plan.Fixed() {
		if !lines.Scan() {
			t.Fatalf("it ends before it is ready: %v", lines.Err())
		}
		for side, text := range strings.Fields(lines.Text()) {
			if s.Relay[side], err = netip.ParseAddrPort(text); err != nil || s.Relay[side].Addr() != plan.Relay[side] {
				t.Fatalf("stream %d: %q", n, lines.Text())
			}
		}
		g.Add(s)
	}
	if !lines.Scan() || lines.Text() != "ready" {
		t.Fatalf("%q, not ready: %v", lines.Text(), lines.Err())
	}
	if r := g.Run(20*time.Millisecond, 5); r.Sent != 100 || r.Arrived != 100 || r.Strange != 0 {
		t.Errorf("%d sent, %d arrived, %d strange", r.Sent, r.Arrived, r.Strange)
	}
	_ = stdin.Close()
	var cpu, packets uint64
	if lines.Scan() {
		_, err = fmt.Sscanf(lines.Text(), "cpu %d packets %d", &cpu, &packets)
	}
	if err != nil || cpu == 0 || packets != 100 {
		t.Errorf("%q: %v", lines.Text(), err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func TestServeErrors(t *testing.T) {
	plan := planOf(2, [2]uint16{4000, 4002})
	p, err := media.New(plan.Config(), New(Options{}), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	if _, err := (Load{Streams: 3, Peers: plan.Peers}).point(p, io.Discard); err == nil || !strings.Contains(err.Error(), "stream 3 of 3") {
		t.Errorf("more streams than ports: %v", err)
	}
	if id, local, err := p.Reserve(time.Now()); err == nil {
		t.Errorf("stream %d of two, at %v", id, local[nat.Outside])
	}
}
