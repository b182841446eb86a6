package transport

import (
	"errors"
	"hash/maphash"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap"

	"sallyport/nat"
	"sallyport/policy"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/scan"
)

// endpoint is one open interface with its reader.
type endpoint struct {
	*Config
	face   nat.Interface
	conn   PacketConn
	buffer int
	count  sums
	tags   maphash.Seed // of the To tags of stateless answers

	closing chan struct{}
	done    sync.WaitGroup

	// Of the reader alone:
	in      []byte
	reply   []byte
	view    scan.View
	packet  policy.Packet
	failing int       // read errors in a row
	warned  time.Time // when the last fault was logged
}

func newEndpoint(c *Config, face nat.Interface, conn PacketConn, buffer int) *endpoint {
	return &endpoint{
		Config: c, face: face, conn: conn, buffer: buffer, tags: maphash.MakeSeed(),
		closing: make(chan struct{}), in: make([]byte, scan.MaxDatagram),
	}
}

// close ends the reader and waits for it.
func (e *endpoint) close() {
	close(e.closing)
	_ = e.conn.Close()
	e.done.Wait()
}

// run reads until the endpoint is closed.
func (e *endpoint) run() {
	for {
		n, src, err := e.conn.ReadFromUDPAddrPort(e.in)
		if err == nil {
			e.failing = 0
			e.receive(e.in[:n], src)
			continue
		}
		if !e.survive(err) {
			return
		}
	}
}

// survive deals with a read error. It reports false when the endpoint is closed.
func (e *endpoint) survive(err error) bool {
	var icmp interface{ Unreachable() netip.AddrPort }
	switch {
	case errors.As(err, &icmp):
		e.count.unreachable.Add(1)
		e.tell(icmp.Unreachable())
		return true
	case errors.Is(err, net.ErrClosed):
		select {
		case <-e.closing:
			return false
		default: // somebody else closed it: said below, and waited for our own Close
		}
	}
	e.count.readErrors.Add(1)
	e.fault("cannot read from the socket", zap.Error(err))
	// An error that stays must not turn the loop into a spin.
	e.failing++
	pause := time.NewTimer(min(time.Millisecond<<min(e.failing, 10), time.Second))
	defer pause.Stop()
	select {
	case <-e.closing:
		return false
	case <-pause.C:
		return true
	}
}

func (e *endpoint) tell(remote netip.AddrPort) {
	defer e.recovered()
	e.Handler.Unreachable(e.face.ID, remote)
}

// recovered keeps the reader alive after a panic: the message is lost, the fault is logged without its bytes.
func (e *endpoint) recovered() {
	if p := recover(); p != nil {
		e.count.panics.Add(1)
		e.fault("internal error while handling a message", zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
	}
}

// fault logs at most once a minute: whoever can cause it once can cause it a million times.
func (e *endpoint) fault(text string, fields ...zap.Field) {
	now := e.Now()
	if !e.warned.IsZero() && now.Sub(e.warned) < time.Minute {
		return
	}
	e.warned = now
	e.Log.Error(text, append(fields, zap.Stringer("side", e.face.Side), zap.Stringer("realm", e.face.Realm))...)
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
	e.packet = policy.Packet{
		Now: e.Now(), Interface: &e.face, Source: src, Data: data, View: &e.view, ScanErr: scan.Scan(data, &e.view),
	}
	v := e.Guard.Check(&e.packet)
	if v.Warn {
		e.warn(&v)
	}
	switch v.Action {
	case policy.Allow:
		if e.packet.ScanErr != nil {
			e.malformed(e.packet.ScanErr) // a guard lets nothing on that the scan refused; the parser would not take it
			return
		}
		e.admit(v)
	case policy.Ignore:
		e.count.ignored.Add(1)
	case policy.Reject:
		e.count.rejected.Add(1)
		e.refuse(&v, e.packet.ScanErr)
	default:
		e.count.dropped.Add(1)
	}
}

// admit parses what the guard let through and hands it on.
func (e *endpoint) admit(v policy.Verdict) {
	src := e.packet.Source
	m, err := message.Parse(e.packet.Data, &e.view) // copies: the buffer is free again
	if err != nil {
		e.malformed(err)
		return
	}
	m.SetSource(src)
	switch e.Handler.Deliver(Packet{
		Interface: &e.face,
		Flow:      nat.Flow{Interface: e.face.ID, Transport: nat.UDP, Remote: src},
		Msg:       m,
		Verdict:   v,
	}) {
	case Accepted:
		e.count.delivered.Add(1)
	case Busy:
		e.count.busy.Add(1)
		e.answer(503, "")
	default:
		e.count.overflow.Add(1)
	}
}

// malformed asks the guard once more, now that the parser has found what the scan could not see: it keeps the evidence
// and knows who may be told. Known peers get the right 4xx, strangers silence (DESIGN §6, promise 9).
func (e *endpoint) malformed(err error) {
	e.count.malformed.Add(1)
	e.packet.ScanErr = err
	v := e.Guard.Check(&e.packet)
	if v.Warn {
		e.warn(&v)
	}
	if v.Action == policy.Reject {
		e.refuse(&v, err)
	}
}

// refuse answers a verdict. Where the message itself is at fault, the parser knows the better code.
func (e *endpoint) refuse(v *policy.Verdict, err error) {
	code, phrase := v.Code, ""
	if r := message.Refusal(err); r != nil && v.Reason == reason.Malformed {
		code, phrase = r.Code, r.Text()
	}
	e.answer(code, phrase)
}

// answer sends a stateless response to the packet's source, once. ShortReply refuses what must not be answered (ACK,
// responses) and what would be much larger than the request.
func (e *endpoint) answer(code int, phrase string) {
	var extra []message.Header
	if code == 503 {
		// RFC 3261 §21.5.4; spread, so that all who were refused do not come back at once.
		extra = []message.Header{{Name: "Retry-After", Value: strconv.Itoa(5 + rand.IntN(26))}}
	}
	out, err := message.ShortReply(e.reply[:0], e.packet.Data, &e.view, e.packet.Source, code, phrase, e.tag(), extra...)
	if err != nil {
		return
	}
	e.reply = out
	if e.send(out, e.packet.Source) == nil {
		e.count.replies.Add(1)
	}
}

// tag makes the To tag of a stateless response: the same for every repeat of the request (RFC 3261 §8.2.7).
func (e *endpoint) tag() string {
	var h maphash.Hash
	h.SetSeed(e.tags)
	for _, s := range [...]scan.Span{e.view.CallID, e.view.FromTag, e.view.Branch} {
		_, _ = h.Write(e.view.Bytes(s))
		_ = h.WriteByte(0)
	}
	return strconv.FormatUint(h.Sum64(), 36)
}

// send writes one datagram and counts what became of it.
func (e *endpoint) send(b []byte, dst netip.AddrPort) error {
	_, err := e.conn.WriteToUDPAddrPort(b, dst)
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

func (e *endpoint) warn(v *policy.Verdict) {
	e.Log.Warn("message of a source that should be known: "+v.Action.String(),
		zap.Stringer("side", e.face.Side), zap.Stringer("realm", e.face.Realm),
		zap.Stringer("src", e.packet.Source), zap.ByteString("method", e.view.Bytes(e.view.Method)),
		zap.Int("code", v.Code), zap.String("reason", string(v.Reason)))
}
