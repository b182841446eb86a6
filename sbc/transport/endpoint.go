package transport

import (
	"errors"
	"net/netip"
	"sync/atomic"

	"sallyport/nat"
	"sallyport/sbc/scan"
)

// endpoint is one open UDP interface with its reader.
type endpoint struct {
	reader
	conn    PacketConn
	batches batchConn // conn, for the reader alone
	held    bundler   // conn, if it is one
	told    func(bytes int, err error)
	rounds  *rounds // of all endpoints; nil: nothing is held
	shedder Shedder // the guard, if it is one
	buffer  int
}

// batchConn reads as many datagrams at once as there are.
type batchConn interface {
	// ReadBatches waits for datagrams and lets take work off each batch, until it wants no more or there is an error.
	ReadBatches(take func(n int) (more bool)) error
	// Datagram is one of the batch that take works off, and who sent it.
	Datagram(i int) ([]byte, netip.AddrPort)
}

// bundler sends several datagrams at once. Its methods are safe for concurrent use.
type bundler interface {
	// Hold keeps a copy until Flush; false: it does not, send it otherwise.
	Hold(b []byte, dst netip.AddrPort) bool
	// Flush sends what was held and tells of each what became of it.
	Flush(told func(bytes int, err error))
}

// rounds are the batches that readers work off at the moment. What is sent meanwhile waits for the end of one of them, well
// under a millisecond, and leaves together.
type rounds struct {
	open atomic.Int32
	all  func() []opening // whose datagrams may wait
}

// end ends a round. Whoever holds something back looks afterwards whether a round is still open, so nothing stays.
func (r *rounds) end() {
	r.open.Add(-1)
	for _, o := range r.all() {
		if e, ok := o.(*endpoint); ok {
			e.flush()
		}
	}
}

// single is a batchConn whose batches are of one datagram.
type single struct {
	PacketConn
	in  []byte
	n   int
	src netip.AddrPort
}

func (s *single) ReadBatches(take func(n int) (more bool)) (err error) {
	for more := true; more; more = take(1) {
		if s.n, s.src, err = s.ReadFromUDPAddrPort(s.in); err != nil {
			return err
		}
	}
	return nil
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
	e.held, _ = conn.(bundler)
	e.told = e.sum
	e.shedder, _ = c.Guard.(Shedder)
	return e
}

func (e *endpoint) start() { e.done.Go(e.run) }

// close ends the reader and waits for it.
func (e *endpoint) close() {
	close(e.closing)
	e.flush()
	_ = e.conn.Close()
	e.done.Wait()
}

// run reads until the endpoint is closed.
func (e *endpoint) run() {
	for {
		if err := e.batches.ReadBatches(e.take); err != nil && !e.survive(err) {
			return
		}
	}
}

// take works off a batch.
func (e *endpoint) take(n int) (more bool) {
	e.failing = 0
	if n > 1 && e.rounds != nil {
		e.rounds.open.Add(1)
		defer e.rounds.end()
	}
	for i := range n {
		e.receive(e.batches.Datagram(i))
	}
	return true
}

// survive deals with a read error. It reports false when the endpoint is closed.
func (e *endpoint) survive(err error) bool {
	var icmp interface{ Unreachable() netip.AddrPort }
	if errors.As(err, &icmp) {
		e.count.unreachable.Add(1)
		e.unreachable(icmp.Unreachable())
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

// reply sends a stateless answer to the packet's source.
func (e *endpoint) reply(b []byte) error { return e.send(nat.Flow{Remote: e.packet.Source}, b) }

// send writes one datagram and counts what became of it. One that is held back fails silently: it counts as lost, too.
func (e *endpoint) send(f nat.Flow, b []byte) error {
	if e.holds(f.Remote, b) {
		return nil
	}
	_, err := e.conn.WriteToUDPAddrPort(b, f.Remote)
	e.sum(len(b), err)
	return err
}

// holds keeps a datagram back for the end of a round, if one is open.
func (e *endpoint) holds(to netip.AddrPort, b []byte) bool {
	if e.held == nil || e.rounds == nil || e.rounds.open.Load() == 0 {
		return false
	}
	if !e.held.Hold(b, to) {
		e.flush() // it is full: in order
		return false
	}
	if e.rounds.open.Load() == 0 {
		e.flush()
	}
	return true
}

func (e *endpoint) flush() {
	if e.held != nil {
		e.held.Flush(e.told)
	}
}

func (e *endpoint) sum(bytes int, err error) {
	switch {
	case err == nil:
		e.count.sent.Add(1)
		e.count.sentBytes.Add(uint64(bytes))
	case errors.Is(err, ErrLost):
		e.count.lost.Add(1)
	default:
		e.count.failed.Add(1)
	}
}
