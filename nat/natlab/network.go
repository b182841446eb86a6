package natlab

import (
	"container/heap"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Options are the settings of a network.
type Options struct {
	Seed   uint64 // of every random decision; equal seeds and equal sends give equal losses
	Link   Link   // the path between any two hosts that Impair says nothing about; the zero Link is perfect
	Buffer int    // receive buffer of a UDP socket, bytes; 0: 1 MiB
	Window int    // receive buffer of a stream, and what a writer may be ahead of its peer, bytes; 0: 64 KiB
}

// Counters are the network's sums since it was made, ICMP messages counted under ICMP only once they are delivered.
// When nothing is under way, Sent + Duplicated is the sum of Delivered, Lost, TooLong, NoHost, NoPort, Overflow and
// Filtered. Segments of streams count under Segments and nowhere else.
type Counters struct {
	Sent       uint64 // datagrams handed over by sockets and Inject
	Delivered  uint64 // copies put into a socket's buffer
	Lost       uint64 // by Link.Loss
	Duplicated uint64 // extra copies by Link.Duplicate
	TooLong    uint64 // over Link.MTU
	NoHost     uint64 // to an address nobody has, or a host that is down
	NoPort     uint64 // to a port nobody listens on
	Overflow   uint64 // the receiver's buffer was full
	Filtered   uint64 // by a NAT box: no mapping, not allowed by its filter, no hairpin, no free port
	Truncated  uint64 // the reader's buffer was too short
	ICMP       uint64 // port unreachable messages handed to sockets that asked for them
	Segments   uint64 // handed over by streams, repeats included
}

// node is what has an address on the network: a host, or a NAT box with hosts behind it. It is called under the
// network's lock and may call forward.
type node interface{ receive(p *packet) }

// uplink is where a host puts what it sends: the network, or the inner side of a NAT box. It is called under the
// network's lock.
type uplink interface{ forward(p *packet) }

// packet is one datagram, the ICMP message about one, or a segment of a stream, under way.
type packet struct {
	src, dst netip.AddrPort
	data     []byte
	icmp     bool // "port unreachable": src is where the lost datagram was going
	segment  *segment

	next node          // who it arrives at; nil: whoever has dst's address by then
	tick *Stream       // no packet at all: this stream wants to be called
	at   time.Duration // of arrival, since the network's start
	seq  uint64        // order of sending: breaks ties
}

// datagram tells what the counters and observers are about.
func (p *packet) datagram() bool { return !p.icmp && p.segment == nil }

// Network joins hosts. All methods may be called from any goroutine of its bubble.
type Network struct {
	seed   uint64
	buffer int
	window int
	start  time.Time

	mu      sync.Mutex // guards all below; taken before a socket's own lock
	public  lan
	all     []*Host // behind NAT boxes as well
	links   map[route]Link
	paths   map[route]*path
	transit transit
	seq     uint64
	timer   *time.Timer
	armed   time.Duration // what the timer is set to; 0: not set
	observe func(Datagram)
	count   Counters
	closed  bool
}

// Datagram is what an observer is shown.
type Datagram struct {
	At       time.Time
	Src, Dst netip.AddrPort
	Payload  []byte // of the network: read only, keep a copy
}

// New makes a network without hosts.
func New(o Options) *Network {
	if o.Buffer <= 0 {
		o.Buffer = 1 << 20
	}
	if o.Window <= 0 {
		o.Window = 64 << 10
	}
	return &Network{
		seed:   o.Seed,
		buffer: o.Buffer,
		window: o.Window,
		start:  time.Now(),
		public: make(lan),
		links:  map[route]Link{{}: o.Link},
		paths:  make(map[route]*path),
	}
}

// Host returns the host of an address, which it creates at the first call.
func (n *Network) Host(addr netip.Addr) *Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.host(n.public, n, addr)
}

// lan is who has which address where one hop reaches all: the public network, or the inner side of a NAT box.
type lan map[netip.Addr]node

// host finds or makes the host of an address.
func (n *Network) host(in lan, up uplink, addr netip.Addr) *Host {
	if taken, ok := in[addr]; ok {
		h, ok := taken.(*Host)
		if !ok {
			panic("natlab: " + addr.String() + " is the address of a NAT box: give the host another one")
		}
		return h
	}
	h := &Host{
		net: n, addr: addr, up: up,
		conns: make(map[uint16]*PacketConn), streams: make(map[pair]*Stream), listeners: make(map[uint16]*Listener),
	}
	in[addr], n.all = h, append(n.all, h)
	return h
}

// Impair sets the path for datagrams of one direction. The zero Addr stands for any address; the most exact setting
// wins: (from, to), (from, any), (any, to), (any, any). Datagrams under way stay as they are.
func (n *Network) Impair(from, to netip.Addr, l Link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.links[route{from, to}] = l
}

// Observe shows every datagram to f at the moment it is sent, before any loss, in order: on the public network, so
// behind the NAT boxes that it has crossed. f runs under the network's lock and must not call the network. Nil ends it.
func (n *Network) Observe(f func(Datagram)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.observe = f
}

// Inject puts a datagram on the network with any source address: what a stranger who forges it does.
func (n *Network) Inject(src, dst netip.AddrPort, b []byte) error {
	return n.send(n, &packet{src: src, dst: dst, data: slices.Clone(b)})
}

// Counters returns the sums so far.
func (n *Network) Counters() Counters {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.count
}

// Close ends every socket and drops what is under way. A closed network stays closed.
func (n *Network) Close() {
	n.mu.Lock()
	if n.timer != nil {
		n.timer.Stop()
	}
	n.closed, n.transit, n.armed = true, nil, 0
	var open []*PacketConn
	for _, h := range n.all {
		for _, c := range h.conns {
			open = append(open, c)
		}
		h.endStreams(net.ErrClosed)
	}
	n.mu.Unlock()
	for _, c := range open {
		_ = c.Close()
	}
}

// now is the time since the network's start.
func (n *Network) now() time.Duration { return time.Since(n.start) }

// send hands over a datagram from a host or, for Inject, from anywhere.
func (n *Network) send(up uplink, p *packet) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return net.ErrClosed
	}
	if up == uplink(n) {
		n.sent(p)
	}
	up.forward(p)
	n.flush()
	return nil
}

// sent counts what leaves its sender.
func (n *Network) sent(p *packet) {
	switch {
	case p.segment != nil:
		n.count.Segments++
	case !p.icmp:
		n.count.Sent++
	}
}

// add counts a datagram; ICMP messages and segments have no part in the sum.
func (p *packet) add(counter *uint64) {
	if p.datagram() {
		*counter++
	}
}

// forward sends a packet on its path: lost, doubled, late, or just so.
func (n *Network) forward(p *packet) {
	if p.datagram() && n.observe != nil {
		n.observe(Datagram{At: time.Now(), Src: p.src, Dst: p.dst, Payload: p.data})
	}
	l := n.link(p.src.Addr(), p.dst.Addr())
	if l.MTU > 0 && p.datagram() && len(p.data)+headerSize(p.dst.Addr()) > l.MTU {
		n.count.TooLong++ // streams know the path's MTU
		return
	}
	w := n.path(route{p.src.Addr(), p.dst.Addr()})
	if w.happens(l.Loss) {
		p.add(&n.count.Lost)
		return
	}
	n.depart(w, l, *p)
	if !p.icmp && w.happens(l.Duplicate) {
		p.add(&n.count.Duplicated)
		n.depart(w, l, *p)
	}
}

func (n *Network) depart(w *path, l Link, p packet) {
	p.at = n.now() + l.Delay + w.jitter(l.Jitter)
	if !l.Reorder {
		p.at = max(p.at, w.last)
	}
	w.last = max(w.last, p.at)
	n.enqueue(&p)
}

// enqueue puts a packet among those under way; its time of arrival is set.
func (n *Network) enqueue(p *packet) {
	n.seq++
	p.seq = n.seq
	heap.Push(&n.transit, p)
}

// flush hands over all that is due, in the order of arrival time, then of sending, and sets the timer for the rest.
func (n *Network) flush() {
	for len(n.transit) > 0 {
		if due := n.transit[0].at; due > n.now() {
			n.arm(due)
			return
		}
		p := heap.Pop(&n.transit).(*packet)
		if p.tick != nil {
			p.tick.tick()
			continue
		}
		to := p.next
		if to == nil {
			to = n.public[p.dst.Addr()]
		}
		if to != nil {
			to.receive(p)
		} else {
			p.add(&n.count.NoHost)
		}
	}
	n.armed = 0
}

func (n *Network) arm(due time.Duration) {
	if n.armed == due {
		return
	}
	n.armed = due
	wait := due - n.now()
	if n.timer == nil {
		n.timer = time.AfterFunc(wait, n.expire)
		return
	}
	n.timer.Reset(wait)
}

func (n *Network) expire() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return
	}
	n.armed = 0
	n.flush()
}

func (n *Network) link(from, to netip.Addr) Link {
	var anyone netip.Addr
	for _, r := range [...]route{{from, to}, {from, anyone}, {anyone, to}} {
		if l, ok := n.links[r]; ok {
			return l
		}
	}
	return n.links[route{}]
}

// maxPaths bounds the memory of a flood from forged addresses: paths with nothing under way are forgotten above it.
const maxPaths = 1 << 16

// path returns the state of one direction between two addresses. Each has a random sequence of its own, so that what
// others send at the same moment does not change its losses.
func (n *Network) path(r route) *path {
	if w := n.paths[r]; w != nil {
		return w
	}
	if len(n.paths) >= maxPaths {
		now := n.now()
		for k, w := range n.paths {
			if w.last <= now {
				delete(n.paths, k)
			}
		}
	}
	w := &path{rng: rand.New(rand.NewPCG(n.seed, r.hash()))}
	n.paths[r] = w
	return w
}

// transit is a heap of packets by time of arrival, then order of sending.
type transit []*packet

func (t transit) Len() int { return len(t) }
func (t transit) Less(i, j int) bool {
	if t[i].at != t[j].at {
		return t[i].at < t[j].at
	}
	return t[i].seq < t[j].seq
}
func (t transit) Swap(i, j int) { t[i], t[j] = t[j], t[i] }

// Push is for container/heap only.
func (t *transit) Push(x any) { *t = append(*t, x.(*packet)) }

// Pop is for container/heap only.
func (t *transit) Pop() any {
	old := *t
	p := old[len(old)-1]
	old[len(old)-1] = nil
	*t = old[:len(old)-1]
	return p
}
