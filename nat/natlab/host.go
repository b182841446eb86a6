package natlab

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
)

// Host is a machine with one address.
type Host struct {
	net  *Network
	addr netip.Addr
	up   uplink

	// Under the network's lock:
	conns     map[uint16]*PacketConn
	streams   map[pair]*Stream
	listeners map[uint16]*Listener
	errors    bool // sockets hear of ICMP
	hidden    bool // closed ports answer nothing
	down      bool
	next      uint16 // next ephemeral port to try
}

// Addr is the host's address.
func (h *Host) Addr() netip.Addr { return h.addr }

// ReceiveErrors makes reads of this host's sockets return an *ICMPError when a datagram they sent met a closed port,
// as IP_RECVERR does. Off by default, as on a real socket.
func (h *Host) ReceiveErrors(on bool) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	h.errors = on
}

// Restart is a machine that loses its power and comes up again: every socket fails with net.ErrClosed and sends
// nothing. Peers of its streams hear a reset when they next send.
func (h *Host) Restart() {
	h.net.mu.Lock()
	conns := slices.Collect(maps.Values(h.conns))
	h.endStreams(net.ErrClosed)
	h.net.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
	}
}

// Hide makes closed ports of this host answer nothing: a packet filter that drops. By default they answer ICMP port
// unreachable, or a reset.
func (h *Host) Hide(on bool) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	h.hidden = on
}

// Down cuts the host off: it neither sends nor receives, and its sockets notice nothing. Streams that outlive it go on
// once it is up again.
func (h *Host) Down(down bool) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	h.down = down
}

// The ephemeral ports of RFC 6335 §6.
const firstEphemeral, lastEphemeral = 49152, 65535

// ListenUDP opens a socket on a port; 0 takes a free one. An error wraps syscall.EADDRINUSE where the port is taken,
// as a real one does.
func (h *Host) ListenUDP(port uint16) (*PacketConn, error) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	if h.net.closed {
		return nil, net.ErrClosed
	}
	if port == 0 {
		port = h.freePort(func(p uint16) bool { return h.conns[p] != nil })
	}
	if _, taken := h.conns[port]; taken || port == 0 {
		return nil, fmt.Errorf("listen udp %s: %w", netip.AddrPortFrom(h.addr, port), syscall.EADDRINUSE)
	}
	c := &PacketConn{host: h, local: netip.AddrPortFrom(h.addr, port), buffer: h.net.buffer}
	c.wake = sync.NewCond(&c.mu)
	h.conns[port] = c
	return c, nil
}

// freePort finds an ephemeral port, or 0.
func (h *Host) freePort(taken func(uint16) bool) uint16 {
	for range lastEphemeral - firstEphemeral + 1 {
		if h.next < firstEphemeral {
			h.next = firstEphemeral
		}
		p := h.next
		h.next++ // wraps to 0, which is below the first
		if !taken(p) {
			return p
		}
	}
	return 0
}

// forward puts what a socket sends on the host's uplink.
func (h *Host) forward(p *packet) {
	if !h.down {
		h.net.sent(p)
		h.up.forward(p)
	}
}

// receive takes a packet that has arrived.
func (h *Host) receive(p *packet) {
	if p.segment != nil {
		if !h.down {
			h.receiveSegment(p)
		}
		return
	}
	count := &h.net.count
	c := h.conns[p.dst.Port()]
	if p.icmp {
		if c != nil && h.errors && !h.down && c.push(p) {
			count.ICMP++
		}
		return
	}
	if h.down {
		count.NoHost++
		return
	}
	if c == nil {
		count.NoPort++
		// RFC 1122 §4.1.3.1: a datagram to a port without a listener should be answered by port unreachable.
		if !h.hidden {
			h.up.forward(&packet{src: p.dst, dst: p.src, icmp: true})
		}
		return
	}
	if c.push(p) {
		count.Delivered++
	} else {
		count.Overflow++
	}
}
