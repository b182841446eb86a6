//go:build linux

package steer

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"sallyport/media"
	"sallyport/media/epoll"
	"sallyport/nat"
)

// loadVariable tells a child the number of streams and the generator's ports.
const loadVariable = "SALLYPORT_STEER_LOAD"

// load is what a child relays: streams between the generator's addresses, each stream with addresses of its own.
type load struct {
	cfg     media.Config
	streams int
	peers   [2]netip.AddrPort // of the first stream; each further one has the next addresses
}

// loadOf is the load of a child, by its process id: all of it on loopback.
func loadOf(pid, streams int, ports [2]uint16) load {
	return load{
		cfg: media.Config{
			Addresses: [2]netip.Addr{ownOf(pid, 18), ownOf(pid, 19)}, Workers: 1,
			First: 22000, Last: 22000 + uint16(2*streams) - 1, DSCP: 46,
		},
		streams: streams,
		peers:   [2]netip.AddrPort{netip.AddrPortFrom(ownOf(pid, 16), ports[0]), netip.AddrPortFrom(ownOf(pid, 17), ports[1])},
	}
}

func (l *load) next() {
	for side, at := range l.peers {
		l.peers[side] = netip.AddrPortFrom(at.Addr().Next(), at.Port())
	}
}

func init() {
	for role, relay := range map[string]func(load) (func() uint64, error){
		"steer": func(l load) (func() uint64, error) { return relayOf(l, New(Options{Process: true})) },
		"steer-low": func(l load) (func() uint64, error) {
			l.cfg.LowLatency = true
			return relayOf(l, New(Options{Process: true}))
		},
		"epoll": func(l load) (func() uint64, error) { return relayOf(l, epoll.New(epoll.Options{Process: true})) },
		"epoll-low": func(l load) (func() uint64, error) {
			l.cfg.LowLatency = true
			return relayOf(l, epoll.New(epoll.Options{Process: true}))
		},
		"floor":     func(l load) (func() uint64, error) { return floorOf(l, false) },
		"connected": func(l load) (func() uint64, error) { return floorOf(l, true) },
	} {
		roles[role] = func() error {
			var streams int
			var ports [2]uint16
			if _, err := fmt.Sscan(os.Getenv(loadVariable), &streams, &ports[0], &ports[1]); err != nil {
				return err
			}
			return serve(loadOf(os.Getpid(), streams, ports), relay)
		}
	}
}

// serve relays a load until its input ends, and tells processor time and packets.
func serve(l load, relay func(load) (packets func() uint64, err error)) error {
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(256 << 20)
	runtime.GOMAXPROCS(2)
	packets, err := relay(l)
	if err != nil {
		return err
	}
	start := epoll.ProcessorTime()
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	fmt.Printf("cpu %d packets %d\n", (epoll.ProcessorTime() - start).Nanoseconds(), packets())
	return nil
}

// relayOf sets the streams up on a back end and names their ports.
func relayOf(l load, b media.Backend) (packets func() uint64, err error) {
	p, err := media.New(l.cfg, b, 1)
	if err != nil {
		return nil, err
	}
	var ids []media.ID
	for range l.streams {
		id, local, err := p.Reserve(time.Now())
		if err != nil {
			return nil, err
		}
		for side, peer := range l.peers {
			w := media.Want{RTP: peer, Payloads: [2]uint64{1}, Send: true, Receive: true, Final: true}
			if err := p.Point(id, nat.Side(side), w); err != nil {
				return nil, err
			}
		}
		fmt.Println(local[nat.Outside], local[nat.Inside])
		ids = append(ids, id)
		l.next()
	}
	return func() (n uint64) {
		for _, id := range ids {
			legs, _ := p.Stats(id)
			n += legs[nat.Outside].Sent + legs[nat.Inside].Sent
		}
		return n
	}, nil
}

// floorOf is the raw-syscall relay that back ends are measured against: a socket for each port, a plain epoll loop and a
// fixed table. It checks nothing. Connected sockets save it a route for each packet, and let it hear one peer alone.
func floorOf(l load, connected bool) (packets func() uint64, err error) {
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := &floor{poll: poll, connected: connected}
	for n := range l.streams {
		var fds [2]int
		var local [2]netip.AddrPort
		for side, a := range l.cfg.Addresses {
			local[side] = netip.AddrPortFrom(a, l.cfg.First+uint16(2*n))
			if fds[side], err = bind(local[side]); err != nil {
				return nil, err
			}
			o := options{fd: fds[side]}
			o.mark(false, l.cfg.DSCP)
			f.table = append(f.table, make([]hop, max(0, fds[side]+1-len(f.table)))...)
			o.err = errors.Join(o.err, unix.EpollCtl(poll, unix.EPOLL_CTL_ADD, fds[side], &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fds[side])}))
			if connected {
				o.err = errors.Join(o.err, unix.Connect(fds[side], sockaddr(l.peers[side])))
			}
			if o.err != nil {
				return nil, o.err
			}
		}
		for side, fd := range fds {
			h := hop{out: int32(fds[1-side])}
			h.to.Family, h.to.Addr = unix.AF_INET, l.peers[1-side].Addr().As4()
			setNetPort(&h.to.Port, l.peers[1-side].Port())
			f.table[fd] = h
		}
		fmt.Println(local[0], local[1])
		l.next()
	}
	go f.run()
	return func() uint64 { return f.packets }, nil
}

type floor struct {
	poll      int
	connected bool
	table     []hop // by descriptor
	packets   uint64
}

type hop struct {
	out int32
	to  unix.RawSockaddrInet4
}

func (f *floor) run() {
	runtime.LockOSThread()
	var events [256]unix.EpollEvent
	buf := make([]byte, largest)
	var from unix.RawSockaddrInet4
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(f.poll), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), rawWait, 0, 0)
		if errno != 0 {
			continue
		}
		for i := range n {
			f.relay(events[i].Fd, buf, &from)
		}
	}
}

func (f *floor) relay(fd int32, buf []byte, from *unix.RawSockaddrInet4) {
	size := uint32(unsafe.Sizeof(*from))
	name, length := uintptr(unsafe.Pointer(from)), uintptr(unsafe.Pointer(&size))
	if f.connected {
		name, length = 0, 0
	}
	got, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&buf[0])), largest, 0, name, length)
	if errno != 0 {
		return
	}
	h := &f.table[fd]
	to, toLength := uintptr(unsafe.Pointer(&h.to)), unsafe.Sizeof(h.to)
	if f.connected {
		to, toLength = 0, 0
	}
	if _, _, errno = unix.RawSyscall6(unix.SYS_SENDTO, uintptr(h.out), uintptr(unsafe.Pointer(&buf[0])), got, 0, to, toLength); errno == 0 {
		f.packets++
	}
}

// result is one run of a child.
type result struct {
	perPacket float64 // nanoseconds of processor time
	lost      float64 // share of packets
	late      [2]time.Duration
}

// measure starts a child and sends through it: so many packets for each stream and direction, 20 ms apart.
func measure(tb testing.TB, role string, streams, each int) result {
	tb.Helper()
	g, err := newGenerator()
	if err != nil {
		tb.Fatal(err)
	}
	defer g.close()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "GODEBUG=asyncpreemptoff=1", roleVariable+"="+role,
		loadVariable+"="+fmt.Sprint(streams, g.ports[0], g.ports[1]))
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
	defer func() { _ = stdin.Close() }()
	lines := bufio.NewScanner(stdout)
	if err := g.meet(lines, loadOf(cmd.Process.Pid, streams, g.ports)); err != nil {
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
	if packets == 0 || g.strange != 0 {
		tb.Fatalf("%s: %d packets relayed, %d sent, %d arrived, %d from unexpected addresses", role, packets, g.sent, g.arrived, g.strange)
	}
	return result{perPacket: float64(cpu) / float64(packets), lost: 1 - float64(g.arrived)/float64(g.sent), late: g.late()}
}

// meet reads the relay's addresses until it is ready.
func (g *generator) meet(lines *bufio.Scanner, l load) error {
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
		g.add(l.peers, relay)
		l.next()
	}
	return errors.Join(errors.New("the relay ended before it was ready"), lines.Err())
}

// The measuring itself works: every relay relays all of a small load.
func TestMeasure(t *testing.T) {
	need(t)
	for _, role := range []string{"steer", "steer-low", "epoll", "floor", "connected"} {
		if r := measure(t, role, 10, 5); r.lost != 0 || r.perPacket <= 0 {
			t.Errorf("%s: %+v", role, r)
		}
	}
}

// BenchmarkRelays compares the back ends, each alone in a process of its own, with a raw-syscall epoll relay on unconnected
// and on connected sockets: processor time of a relayed packet, medians of five interleaved runs of three seconds.
func BenchmarkRelays(b *testing.B) {
	need(b)
	for _, streams := range []int{50, 250, 500, 1000} {
		b.Run(strconv.Itoa(streams)+"calls", func(b *testing.B) {
			const runs, packets = 5, 150
			names := []string{"floor", "connected", "epoll", "epoll-low", "steer", "steer-low"}
			all := make(map[string][]result)
			for range runs {
				for _, role := range names {
					all[role] = append(all[role], measure(b, role, streams, packets))
				}
			}
			b.ReportMetric(0, "ns/op") // one pass takes long; the figures below are the benchmark
			median := func(role string) float64 { return medianOf(all[role], func(r result) float64 { return r.perPacket }) }
			for _, role := range names {
				b.ReportMetric(median(role), role+"-ns/packet")
				b.Logf("%d calls, %-10s %6.0f ns/packet  %.2f of floor  %.2f of connected  lost %.2f %%  p50 %3.0f p99 %4.0f µs", streams, role,
					median(role), median(role)/median("floor"), median(role)/median("connected"),
					100*medianOf(all[role], func(r result) float64 { return r.lost }),
					medianOf(all[role], func(r result) float64 { return float64(r.late[0].Nanoseconds()) / 1e3 }),
					medianOf(all[role], func(r result) float64 { return float64(r.late[1].Nanoseconds()) / 1e3 }))
			}
		})
	}
}

func medianOf(list []result, of func(result) float64) float64 {
	var v []float64
	for _, r := range list {
		v = append(v, of(r))
	}
	slices.Sort(v)
	return v[len(v)/2]
}
