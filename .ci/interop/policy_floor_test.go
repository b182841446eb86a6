//go:build interop

package interop

import (
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// hearing in floorRole makes the test's binary a program that receives datagrams, counts them, and does nothing else.
const hearing = "hear"

// hear receives at the phones' door with the program's own system call a datagram, on the runtime's poller as it does.
func hear() {
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(gateOutside+":5060")))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	access, _ := conn.SyscallConn()
	_ = access.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20)
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVERR, 1)
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RXQ_OVFL, 1)
	})
	count := 0
	ask := make(chan os.Signal, 1)
	signal.Notify(ask, syscall.SIGINT)
	go func() {
		<-ask
		fmt.Println("heard", count)
		os.Exit(0)
	}()
	var (
		b       [65535]byte
		from    unix.RawSockaddrInet6
		oob     [128]byte
		vector  unix.Iovec
		message unix.Msghdr
	)
	receive := func(fd uintptr) bool {
		for {
			vector.Base = &b[0]
			vector.SetLen(len(b))
			message = unix.Msghdr{Name: (*byte)(unsafe.Pointer(&from)), Namelen: uint32(unsafe.Sizeof(from)), Iov: &vector, Iovlen: 1, Control: &oob[0]}
			message.SetControllen(len(oob))
			_, _, errno := unix.RawSyscall(unix.SYS_RECVMSG, fd, uintptr(unsafe.Pointer(&message)), unix.MSG_DONTWAIT)
			if errno != unix.EINTR {
				return errno != unix.EAGAIN
			}
		}
	}
	for access.Read(receive) == nil {
		count++
	}
}

// profile names a folder for what perf records of each flood.
var profile = flag.String("profile", "", "folder for perf's records of TestBenchDrop")

// floods are what is dropped: by the limit of its sources, for its name, for the ban of its source.
var floods = []struct {
	name, reason string
	list         func() []forged
}{
	{"REGISTER over the limit", "limit-exceeded", func() []forged { return strangers(20, saying(0)) }},
	{"name of a scanner", "user-agent", func() []forged { return strangers(floodSources, saying(6)) }},
	{"source that is banned", "ban", func() []forged { return strangers(250, saying(0)) }},
}

// saying is strangerSays of one kind.
func saying(kind int) func(int, netip.AddrPort) string {
	return func(_ int, src netip.AddrPort) string { return strangerSays(kind, src) }
}

const benchFlood = 4 * time.Second

// arrivals are how the packets of a flood come: one after the other, each wakes the receiver; or three hundred at once, which
// wait for him. Every network is somewhere between. What a wake costs depends on where the scheduler finds a CPU and hides the
// rest, so that the first is only told.
var arrivals = []struct {
	name  string
	pause time.Duration // of the sender
	cpu   int           // of the receiver; the sender has CPU 0
	most  float64       // times the floor
}{
	{"one by one", 0, 1, 0},
	{"300 at once", 10 * time.Millisecond, 0, 1.3},
}

// TestBenchDrop prints the CPU that a dropped packet costs, beside that of a program that only receives the same packets. They
// take turns. A ratio above 1.3 fails it where the packets wait for their receiver; no time is asserted.
func TestBenchDrop(t *testing.T) {
	if !*bench {
		t.Skip("make bench-peers runs it")
	}
	costs := map[[2]int][2][]float64{}
	for range *rounds {
		for h := range arrivals {
			for i, f := range floods {
				c := costs[[2]int{h, i}]
				t.Run(arrivals[h].name+"/"+f.name+"/floor", func(t *testing.T) { c[0] = append(c[0], hearingCost(t, i, h)) })
				t.Run(arrivals[h].name+"/"+f.name, func(t *testing.T) { c[1] = append(c[1], droppingCost(t, i, h)) })
				costs[[2]int{h, i}] = c
			}
		}
	}
	if t.Failed() {
		return
	}
	t.Logf("CPU a dropped packet at %d a second, medians of %d interleaved runs of %v:", *floodRate, *rounds, benchFlood)
	for h, how := range arrivals {
		for i, f := range floods {
			c := costs[[2]int{h, i}]
			slices.Sort(c[0])
			slices.Sort(c[1])
			a, b := c[1][len(c[1])/2], c[0][len(c[0])/2]
			t.Logf("  %-12s %-24s %5.2f µs, receiving alone %5.2f µs: %.2f ×   runs %.2f %.2f", how.name, f.name, a, b, a/b, c[1], c[0])
			if how.most > 0 && a > how.most*b {
				t.Errorf("%s, %s: a dropped packet costs %.2f × what receiving it does, want at most %.1f ×", how.name, f.name, a/b, how.most)
			}
		}
	}
}

// floodable is a world in which forged packets arrive.
func floodable(t *testing.T) *world {
	w := newWorld(t)
	w.in(t, nsGate, "ip", "route", "add", forgedNetwork, "via", provider)
	return w
}

// hearingCost is the floor for flood i, in microseconds.
func hearingCost(t *testing.T, i, how int) float64 {
	t.Helper()
	h := arrivals[how]
	w := floodable(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := w.start(t, nsGate, "hearing", "env", floorRole+"="+hearing, self)
	until(t, "the floor listens", 10*time.Second, func() bool { return p.ended() || bound(p.pid(), gateOutside+":5060") })
	f := w.forger(t, nsOutside, floods[i].list())
	before := running(t, p)
	pinned(t, p, h.cpu)
	f.run(*floodRate, benchFlood, h.pause)
	time.Sleep(200 * time.Millisecond)
	spent := running(t, p) - before
	p.signal(syscall.SIGINT)
	if _, err := p.wait(5 * time.Second); err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(p.log)
	n, err := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(string(text), "heard")))
	if err != nil || n == 0 {
		t.Fatalf("the floor has heard %q", text)
	}
	t.Logf("floor, %s: %d sent, %d heard, %v of CPU, %.2f µs each", floods[i].name, f.sent.Load(), n, spent, spent.Seconds()*1e6/float64(n))
	return spent.Seconds() * 1e6 / float64(n)
}

// droppingCost is that of the program.
func droppingCost(t *testing.T, i, how int) float64 {
	t.Helper()
	h := arrivals[how]
	w := floodable(t)
	g := w.run(t, strings.Replace(fmt.Sprintf(flooded, w.dir), "level: info", "level: error", 1), gateOutside+":5060", gateOutside+":5080")
	w.party(t, nsInside, node1+":5060", gateInside+":5060", func(m message) []string { return []string{m.reply("403 Forbidden", node1+":5060", "")} })
	if floods[i].reason == "ban" {
		if out, code := g.verb("bans", "add", "198.18.0.0/16"); code != 0 {
			t.Fatal(out)
		}
	}
	f := w.forger(t, nsOutside, floods[i].list())
	f.run(1000, 500*time.Millisecond, time.Millisecond) // what the limit lets pass
	time.Sleep(200 * time.Millisecond)
	o := g.overview(t)
	before, counted, dropped := running(t, g.process), o.decided("phones", "", ""), o.decided("phones", "drop", "")
	pinned(t, g.process, h.cpu)
	if *profile != "" {
		g.profiled(t, floods[i].reason)
	}
	f.run(*floodRate, benchFlood, h.pause)
	time.Sleep(200 * time.Millisecond)
	spent := running(t, g.process) - before
	o = g.overview(t)
	counted, dropped = o.decided("phones", "", "")-counted, o.decided("phones", "drop", "")-dropped
	if dropped == 0 || dropped < counted*98/100 {
		t.Errorf("%s: %d of %d dropped: the figure would mean nothing\n%+v", floods[i].name, dropped, counted, o.Counts)
	}
	t.Logf("sallyport, %s: %d dropped, %v of CPU, %.2f µs each; %d by the kernel", floods[i].name, dropped, spent, spent.Seconds()*1e6/float64(counted), o.drops("phones"))
	g.stop(t)
	return spent.Seconds() * 1e6 / float64(counted)
}

// running is the time that a process has been on a CPU, to the nanosecond; what cpu reads is counted in ticks, which meet a
// process that runs for a part of each millisecond by chance.
func running(t *testing.T, p *process) (total time.Duration) {
	t.Helper()
	list, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", p.pid()))
	for _, path := range list {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		ns, _, _ := strings.Cut(string(text), " ")
		n, err := strconv.ParseInt(ns, 10, 64)
		if err != nil {
			t.Fatalf("%s: %q", path, text)
		}
		total += time.Duration(n)
	}
	if total == 0 {
		t.Fatalf("%s: the kernel does not tell how long it has run", p.name)
	}
	return total
}

// pinned keeps a process, and the test's thread that sends to it, on a CPU each. Where they meet by chance decides more of
// what a packet costs than the programs do.
func pinned(t *testing.T, p *process, cpu int) {
	t.Helper()
	runtime.LockOSThread() // until the test ends: its thread ends with it
	var own, other unix.CPUSet
	own.Set(0)
	other.Set(cpu % runtime.NumCPU())
	if err := unix.SchedSetaffinity(0, &own); err != nil {
		t.Fatal(err)
	}
	list, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", p.pid()))
	for _, path := range list {
		if id, err := strconv.Atoi(filepath.Base(path)); err == nil {
			_ = unix.SchedSetaffinity(id, &other)
		}
	}
}

// profiled has perf look at the program meanwhile.
func (g *gate) profiled(t *testing.T, name string) {
	t.Helper()
	g.w.start(t, nsGate, "perf-"+name, "perf", "record", "-q", "-g", "-F", "997", "-p", strconv.Itoa(g.pid()), "-o", filepath.Join(*profile, name+".perf"), "--", "sleep", "5")
}
