package transport

import (
	"errors"
	"net/netip"

	"sallyport/nat"
	"sallyport/policy"
	"sallyport/sbc/scan"
)

// endpoint is one open UDP interface with its reader.
type endpoint struct {
	reader
	conn    PacketConn
	batches batchConn // conn, for the reader alone
	shedder Shedder   // the guard, if it is one
	buffer  int
}

// batchConn reads as many datagrams at once as there are.
type batchConn interface {
	// ReadBatch waits until there is a datagram at least, and reports how many it has. They stay until the next call.
	ReadBatch() (int, error)
	// Datagram is one of them, and who sent it.
	Datagram(i int) ([]byte, netip.AddrPort)
}

// single is a batchConn whose batches are of one datagram.
type single struct {
	PacketConn
	in  []byte
	n   int
	src netip.AddrPort
}

func (s *single) ReadBatch() (n int, err error) {
	s.n, s.src, err = s.ReadFromUDPAddrPort(s.in)
	return 1, err
}

func (s *single) Datagram(int) ([]byte, netip.AddrPort) { return s.in[:s.n], s.src }

func newEndpoint(c *Config, face nat.Interface, conn PacketConn, buffer int) *endpoint {
	e := &endpoint{conn: conn, buffer: buffer}
	if several, ok := conn.(batchConn); ok {
		e.batches = several
	} else {
		e.batches = &single{PacketConn: conn, in: make([]byte, scan.MaxDatagram)}
	}
	e.reader = reader{door: newDoor(c, face), line: e}
	e.shedder, _ = c.Guard.(Shedder)
	return e
}

func (e *endpoint) start() { e.done.Go(e.run) }

// close ends the reader and waits for it.
func (e *endpoint) close() {
	close(e.closing)
	_ = e.conn.Close()
	e.done.Wait()
}

// run reads until the endpoint is closed.
func (e *endpoint) run() {
	for {
		n, err := e.batches.ReadBatch()
		if err != nil {
			if !e.survive(err) {
				return
			}
			continue
		}
		e.failing = 0
		for i := range n {
			e.receive(e.batches.Datagram(i))
		}
	}
}

// survive deals with a read error. It reports false when the endpoint is closed.
func (e *endpoint) survive(err error) bool {
	var icmp interface{ Unreachable() netip.AddrPort }
	if errors.As(err, &icmp) {
		e.count.unreachable.Add(1)
		e.unreachable(nat.Flow{Interface: e.face.ID, Transport: nat.UDP, Remote: icmp.Unreachable()})
		return true
	}
	return e.door.survive("cannot read from the socket", err)
}

// receive takes one datagram through all checks.
func (e *endpoint) receive(data []byte, src netip.AddrPort) {
	defer e.recovered()
	e.count.received.Add(1)
	e.count.receivedBytes.Add(uint64(len(data)))
	src = netip.AddrPortFrom(src.Addr().Unmap(), src.Port())
	if src.Port() == 0 {
		e.count.ignored.Add(1) // RFC 768: no reply is possible, so no peer sends that
		return
	}
	now := e.Now()
	if e.shedder != nil && e.shedder.Shed(now, &e.face, src) {
		e.count.dropped.Add(1)
		return
	}
	err := scan.Scan(data, &e.view)
	e.judge(now, data, err, nat.Flow{Interface: e.face.ID, Transport: nat.UDP, Remote: src})
}

// insist gives up at once: to a datagram's sender a full inbox looks like a loss on the wire.
func (e *endpoint) insist(Packet) Outcome { return Dropped }

func (e *endpoint) delivered() {}

// who is judged by address.
func (e *endpoint) who() *policy.Peer { return nil }

// reply sends a stateless answer to the packet's source.
func (e *endpoint) reply(b []byte) error { return e.send(nat.Flow{Remote: e.packet.Source}, b) }

// send writes one datagram and counts what became of it.
func (e *endpoint) send(f nat.Flow, b []byte) error {
	_, err := e.conn.WriteToUDPAddrPort(b, f.Remote)
	switch {
	case err == nil:
		e.count.sent.Add(1)
		e.count.sentBytes.Add(uint64(len(b)))
	case errors.Is(err, ErrLost):
		e.count.lost.Add(1)
	default:
		e.count.failed.Add(1)
	}
	return err
}
