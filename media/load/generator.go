//go:build linux

package load

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"sallyport/nat"
)

// Generator is all endpoints of a load.
type Generator struct {
	fds     [2]int // by nat.Side
	ports   [2]uint16
	flows   []flow
	result  Result
	batches [2]outgoing
	in      incoming
}

// Result is what a run has shown.
type Result struct {
	Sent, Arrived int
	Least         int           // arrived of the stream and direction that fared worst
	Strange       int           // arrived where they should not, or from an address that is not the stream's
	Took          time.Duration // of the sending; longer than planned where the generator is at its limit
	Delays        Histogram
}

// Lost is the share of packets that did not arrive.
func (r *Result) Lost() float64 { return 1 - float64(r.Arrived)/float64(max(1, r.Sent)) }

// Missed is the share of packets that did not arrive, or only after a time that nobody waits for them.
func (r *Result) Missed(patience time.Duration) float64 {
	return 1 - float64(r.Arrived-r.Delays.Over(patience))/float64(max(1, r.Sent))
}

// Rate is how many packets a second were sent.
func (r *Result) Rate() float64 { return float64(r.Sent) / r.Took.Seconds() }

// flow is one direction of a stream: who sends, and to which port of the relay.
type flow struct {
	side   int
	from   [4]byte
	to     unix.RawSockaddrInet4
	packet [packetSize]byte
	seq    uint16
	heard  int // packets of the present run that have arrived
}

const (
	packetSize = 172
	stampAt    = 12 // where a packet carries the moment of its sending
	tick       = 200 * time.Microsecond
	linger     = 300 * time.Millisecond // for the last ones to arrive
	receive    = 8 << 20                // bytes of a receive buffer
)

// NewGenerator opens the sockets, each with a port that is free, in the network namespace of the calling thread.
func NewGenerator() (*Generator, error) {
	return NewGeneratorAcross(func(_ nat.Side, open func()) { open() })
}

// NewGeneratorAcross has each side's socket opened by enter, which may lead into a network namespace of its own.
func NewGeneratorAcross(enter func(side nat.Side, open func())) (*Generator, error) {
	g := &Generator{}
	for side := range g.fds {
		var fd int
		var port uint16
		var err error
		enter(nat.Side(side), func() { fd, port, err = everywhere() })
		if err != nil {
			g.Close()
			return nil, fmt.Errorf("media/load: socket of the generator: %w", err)
		}
		g.fds[side], g.ports[side] = fd, port
	}
	g.in.prepare()
	return g, nil
}

// everywhere opens a socket on all addresses.
func everywhere() (fd int, port uint16, err error) {
	if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
		return 0, 0, err
	}
	// Forced, where allowed: the generator must not be what loses packets.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receive) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receive)
	}
	err = errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1), unix.Bind(fd, &unix.SockaddrInet4{}))
	at, nameErr := unix.Getsockname(fd)
	if err = errors.Join(err, nameErr); err != nil {
		_ = unix.Close(fd)
		return 0, 0, err
	}
	return fd, uint16(at.(*unix.SockaddrInet4).Port), nil
}

// Close gives the ports back.
func (g *Generator) Close() {
	for _, fd := range g.fds {
		if fd > 0 {
			_ = unix.Close(fd)
		}
	}
}

// Ports are the ports of all endpoints, by nat.Side.
func (g *Generator) Ports() [2]uint16 { return g.ports }

// Add takes in streams.
func (g *Generator) Add(streams ...Stream) {
	for _, s := range streams {
		for side := range s.Peers {
			f := flow{side: side, from: s.Peers[side].Addr().As4(), to: sockaddr(s.Relay[side])}
			f.packet[0] = 0x80                                               // RFC 3550 §5.1: version 2, payload type 0
			binary.BigEndian.PutUint32(f.packet[8:], uint32(len(g.flows)+1)) // SSRC, by which an arrival is known
			g.flows = append(g.flows, f)
		}
	}
}

// Run sends a number of packets for each stream and direction, pace apart, then waits for the stragglers. It ends early
// where the rate is far beyond this machine.
func (g *Generator) Run(pace time.Duration, each int) Result {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	g.send(pace, each)
	g.result.Least = each
	for i := range g.flows {
		g.result.Least = min(g.result.Least, g.flows[i].heard)
	}
	return g.result
}

func (g *Generator) send(pace time.Duration, each int) {
	g.result = Result{}
	for i := range g.flows {
		g.flows[i].heard = 0
	}
	total := each * len(g.flows)
	start, planned := time.Now(), pace*time.Duration(each)
	for next := 0; next < total; {
		gone := time.Since(start)
		if gone > 2*planned+time.Second {
			break
		}
		due := min(total, int(float64(gone)/float64(pace)*float64(len(g.flows)))+1)
		for n := 0; next < due && n < 4*atOnce; next, n = next+1, n+1 {
			g.put(&g.flows[next%len(g.flows)])
		}
		g.flush()
		g.drain()
		if next == due {
			pause()
		}
	}
	g.result.Took = time.Since(start)
	for end := time.Now().Add(linger); g.result.Arrived < g.result.Sent && time.Now().Before(end); pause() {
		g.drain()
	}
}

// pause keeps the scheduler out of a sleep that is shorter than its hand-over.
func pause() {
	rest := unix.NsecToTimespec(int64(tick))
	_, _, _ = unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&rest)), 0, 0)
}

// put queues the next packet of a flow.
func (g *Generator) put(f *flow) {
	b := &g.batches[f.side]
	if b.n == atOnce {
		g.flush()
	}
	f.seq++
	binary.BigEndian.PutUint16(f.packet[2:], f.seq)
	binary.BigEndian.PutUint32(f.packet[4:], uint32(f.seq)*160)
	binary.BigEndian.PutUint64(f.packet[stampAt:], uint64(time.Now().UnixNano()))
	b.add(f)
}

func (g *Generator) flush() {
	for side := range g.batches {
		g.result.Sent += g.batches[side].send(g.fds[side])
	}
}

// drain takes what has arrived.
func (g *Generator) drain() {
	for side, fd := range g.fds {
		for n := atOnce; n == atOnce; {
			n = g.in.receive(fd)
			for i := range n {
				g.judge(side, i)
			}
		}
	}
}

// judge looks at one arrival. The packet of a flow comes out at the side where it did not go in, from the port to which
// the flow of the other direction goes.
func (g *Generator) judge(side, i int) {
	g.result.Arrived++
	packet := &g.in.buf[i]
	g.result.Delays.Add(time.Duration(g.in.when[i].at.Nano() - int64(binary.BigEndian.Uint64(packet[stampAt:]))))
	k := int(binary.BigEndian.Uint32(packet[8:])) - 1
	if k < 0 || k >= len(g.flows) || g.flows[k].side == side || g.flows[k^1].to != g.in.from[i] {
		g.result.Strange++
		return
	}
	g.flows[k].heard++
}
