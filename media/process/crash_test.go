//go:build linux

package process_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"sallyport/media"
	"sallyport/media/process"
	"sallyport/nat"
)

// kill -9 of the media process while RTP flows: the call goes on, on the same ports, with its figures.
func TestMediaProcessDies(t *testing.T) {
	o, log := options(t, t.TempDir())
	b := process.New(o)
	p := plane(t, config(24200), b)
	c := setUp(t, p, 50)
	for range 3 {
		c.talk(t)
	}
	// A phone behind a NAT: its port is learned, by the first packet.
	c.peers[0].last(t, c.local[0], c.peers[1])
	moved := newPeer(t, 50)
	w := wants(netip.AddrPortFrom(own(50), 9))
	w.Fallback, w.Latch, w.Epoch = own(50), media.Delayed, 1
	if err := p.Point(c.id, nat.Outside, w); err != nil {
		t.Fatal(err)
	}
	c.peers[0] = moved
	c.talk(t)
	before, _ := p.Stats(c.id)
	if !before[0].Latched || before[0].Remote != moved.at {
		t.Fatalf("not latched: %+v", before[0])
	}
	// A release that nobody hears.
	lost := setUp(t, p, 52)
	lost.talk(t)
	old := b.State().PID
	if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	p.Release(time.Now(), lost.id)
	// From the PBX alone: the phone is found though it says nothing.
	talk(t, c.peers[1], c.local[1], moved)
	c.talk(t)
	state := b.State()
	if state.Lost != 1 || state.PID == old || p.Gauges().Renewals != 1 {
		t.Errorf("state %+v, gauges %+v", state, p.Gauges())
	}
	after, _ := p.Stats(c.id)
	for side := range after {
		if after[side].Packets <= before[side].Packets || after[side].Sent <= before[side].Sent {
			t.Errorf("%v: figures went back from %+v to %+v", nat.Side(side), before[side], after[side])
		}
	}
	if !strings.Contains(log.String(), "is lost") {
		t.Error("nobody was told")
	}
}

// A process that ends again and again costs no more than the calls on it, and another goodbye finds it gone.
func TestMediaProcessDiesAgain(t *testing.T) {
	o, _ := options(t, t.TempDir())
	b := process.New(o)
	p := plane(t, config(24300), b)
	c := setUp(t, p, 54)
	for range 3 {
		c.talk(t)
		pid := b.State().PID
		if pid != 0 {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		until(t, "another process", func() bool { s := b.State(); return s.PID != 0 && s.PID != pid })
	}
	c.talk(t)
	_ = syscall.Kill(b.State().PID, syscall.SIGKILL)
	if err := p.Close(); err != nil { // while nobody is there
		t.Fatal(err)
	}
}

// beSignalling is a gate that has one call, and is killed. Its arguments: the socket, the two peers, the first port.
func beSignalling() int {
	_ = os.Setenv(roleVariable, "media")
	var first uint16
	var a, b netip.Addr
	fmt.Sscan(os.Args[4], &first)
	a, b = netip.MustParseAddr(os.Args[5]), netip.MustParseAddr(os.Args[6])
	backend := process.New(process.Options{
		Socket: os.Args[1], Build: "old", Program: os.Args[0], Arguments: []string{os.Args[1], "test"},
	})
	cfg := media.Config{Addresses: [2]netip.Addr{a, b}, First: first, Last: first + 19, DSCP: 46, Silence: time.Second}
	p, err := media.New(cfg, backend, 3)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	id, local, err := p.Reserve(time.Now())
	if err != nil {
		fmt.Println(err)
		return 1
	}
	for side := range local {
		if err := p.Point(id, nat.Side(side), wants(netip.MustParseAddrPort(os.Args[2+side]))); err != nil {
			fmt.Println(err)
			return 1
		}
	}
	half, halfLocal, _ := p.Reserve(time.Now()) // it rings: one side has been told
	_ = p.Point(half, nat.Inside, wants(netip.MustParseAddrPort(os.Args[3])))
	if err := backend.Sync(context.Background()); err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println(local[0], local[1], uint64(id), backend.State().PID, halfLocal[0], halfLocal[1], uint64(half))
	select {}
}

// kill -9 of signalling: audio goes on untouched; who comes next finds the legs in use and hands their ports to nobody
// until they are silent or released.
func TestSignallingDies(t *testing.T) {
	dir := t.TempDir()
	o, _ := options(t, dir)
	a, b := newPeer(t, 56), newPeer(t, 57)
	child := exec.Command(os.Args[0], o.Socket, a.at.String(), b.at.String(), "24400", own(33).String(), own(34).String())
	child.Env = append(os.Environ(), roleVariable+"=signalling")
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var at [4]string
	var ids [2]media.ID
	var pid int
	if _, err := fmt.Fscan(out, &at[0], &at[1], &ids[0], &pid, &at[2], &at[3], &ids[1]); err != nil {
		t.Fatalf("the signalling process said %v: %v", at, err)
	}
	c := &call{local: [2]netip.AddrPort{netip.MustParseAddrPort(at[0]), netip.MustParseAddrPort(at[1])}, peers: [2]*peer{a, b}}
	c.talk(t)
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	for range 20 {
		c.talk(t)
	}
	var refused *process.RefusedError
	if _, err := media.New(config(24460), process.New(o), 1); !errors.As(err, &refused) ||
		!strings.Contains(err.Error(), "calls run on it") || !strings.Contains(err.Error(), "ports 24460-24479 instead of 24400-24419") {
		t.Fatalf("another range while calls run: %v", err)
	}
	backend := process.New(o)
	cfg := config(24400)
	cfg.Silence = time.Second
	p := plane(t, cfg, backend)
	if backend.State().PID != pid {
		t.Fatalf("process %d instead of %d", backend.State().PID, pid)
	}
	c.talk(t)
	orphans := p.Orphans()
	if len(orphans) != 2 || orphans[0].Local != c.local || orphans[0].ID != ids[0] || orphans[0].Legs[0].Packets < 20 ||
		orphans[1].ID != ids[1] || orphans[1].Local[0].String() != at[2] || orphans[1].Local[1].String() != at[3] {
		t.Fatalf("orphans %+v of %v %v", orphans, at, ids)
	}
	taken := map[string]bool{at[0]: true, at[1]: true, at[2]: true, at[3]: true}
	for range 8 { // of ten pairs a side
		id, local, err := p.Reserve(time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if taken[local[0].String()] || taken[local[1].String()] || id == ids[0] || id == ids[1] {
			t.Fatalf("%v was handed out", local)
		}
	}
	if _, local, err := p.Reserve(time.Now()); err == nil {
		t.Fatalf("%v of an orphan was handed out", local)
	}
	p.Release(time.Now(), ids[1])
	freed := map[media.ID]*[2]media.LegStats{}
	sweep := func() bool {
		for _, h := range p.Sweep(time.Now()) {
			if h.Kind == media.Freed {
				freed[h.ID] = h.Last
			}
		}
		return len(freed) > 0
	}
	until(t, "the end of a released orphan", func() bool { c.talk(t); return sweep() })
	if freed[ids[1]] == nil || len(p.Orphans()) != 1 {
		t.Fatalf("freed %v", freed)
	}
	// Silence.
	until(t, "the end of a silent orphan", func() bool { sweep(); return freed[ids[0]] != nil })
	if last := freed[ids[0]]; last[0].Packets < 20 || last[1].Packets < 20 {
		t.Errorf("last figures %+v", last)
	}
	if g := p.Gauges(); g.Orphans != 0 || g.Free != 2 || g.Reserved != 8 {
		t.Errorf("gauges %+v", g)
	}
}
