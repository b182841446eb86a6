package media

import (
	"encoding/binary"
	"errors"
	"sync/atomic"
)

// A leg may be tapped: the packet path leaves a copy of each of its datagrams in a ring of its worker, and somebody else
// takes them out (Drain). Where the ring is full a datagram is relayed all the same, and its copy is lost and counted. A
// leg that is not tapped pays for one comparison.

// Tap says what of a leg's datagrams is copied. Bits may be joined.
type Tap uint8

// The forms of a copy.
const (
	TapWire  Tap = 1 << iota // as on the wire
	TapClear                 // without what SRTP does to it; of a leg without SRTP that is the same

	tapForms = TapWire | TapClear
)

// Tapped is the copy of a datagram.
type Tapped struct {
	At         int64 // in the engine's time
	Leg        int32
	Generation uint32    // of the leg's stream
	Remote     Endpoint  // who sent it, or whom it was sent to
	Sent       bool      // it left; else it came
	Form       Tap       // what Data is, or both where there is no difference
	Why        Rejection // of one that came
	Data       []byte
}

// onlooker is a worker's way out for copies. Only that worker touches it, the ring's far end apart.
type onlooker struct {
	ring    atomic.Pointer[tapRing] // nil: no leg was tapped yet
	open    [2]int                  // places of the copies of the datagram that is being judged; below 0: none
	judging bool
	_       [cacheLine]byte // threads would slow each other down
}

// tapped is what the engine knows of taps.
type tapped struct {
	forms     []Tap      // by leg
	onlookers []onlooker // by worker
}

func newTapped(layout Layout) tapped {
	return tapped{make([]Tap, layout.Legs()), make([]onlooker, max(1, layout.Workers))}
}

// Tapped reports whether a command asks for copies.
func (c *Command) Tapped() bool { return !c.Free && c.tap != 0 }

// tap gives both legs of a command their wanted state.
func (e *Engine) tap(c *Command) flags {
	renew(&e.forms[c.Leg], c.tap)
	renew(&e.forms[c.Leg+1], c.tap)
	if c.tap == 0 {
		return 0
	}
	if o := &e.onlookers[e.share.Worker(int(c.Leg))]; o.ring.Load() == nil {
		o.ring.Store(newTapRing(tapRingSize))
	}
	return flagTapped
}

// watched is Packet for a tapped leg.
func (e *Engine) watched(now int64, i int, from Endpoint, buf []byte) Verdict {
	l, o := &e.legs[i], &e.onlookers[e.share.Worker(i)]
	ring := o.ring.Load()
	// Until it has been judged nobody sees the copy; one on which the engine fails keeps this reason.
	o.judging = true
	o.open = [2]int{ring.put(&Tapped{now, int32(i), l.generation, from, false, e.forms[i], RejectedInternal, buf}), -1}
	v := e.judge(now, i, from, buf)
	why := v.Why
	if why == RejectedDTLS && l.is(flagDTLS) {
		why = Accepted // it has been taken for the handshake
	}
	for _, at := range o.open {
		ring.judged(at, why)
	}
	if v.Own && v.Why == Accepted {
		ring.put(&Tapped{now, v.Out, l.generation, v.To, true, e.forms[v.Out], Accepted, v.Data})
	}
	o.judging = false
	ring.publish()
	return v
}

// bare notes what SRTP protected in a datagram that came.
func (e *Engine) bare(now int64, i int, l *leg, from Endpoint, plain []byte) {
	if !l.is(flagSecure) || e.forms[i]&TapClear == 0 {
		return
	}
	o := &e.onlookers[e.share.Worker(i)]
	ring := o.ring.Load()
	if e.forms[i] == TapClear {
		ring.amend(o.open[0], plain)
		return
	}
	ring.reform(o.open[0], TapWire)
	o.open[1] = ring.put(&Tapped{now, int32(i), l.generation, from, false, TapClear, RejectedInternal, plain})
}

// leaves notes what leaves to the peer of a tapped leg, in a form that it is wanted in.
func (e *Engine) leaves(now int64, out int32, p *leg, form Tap, buf []byte) {
	if form &= e.forms[out]; form == 0 {
		return
	}
	o := &e.onlookers[e.share.Worker(int(out))]
	ring := o.ring.Load()
	ring.put(&Tapped{now, out, p.generation, p.remote, true, form, Accepted, buf})
	if !o.judging { // the engine sends of itself
		ring.publish()
	}
}

// Look hands what a worker's ring holds to take, at most some dozens of copies, and how many were lost since the last
// time; what it is handed is valid until it returns. Look reports whether there may be more. One goroutine at a time may
// look at a worker; it need not be the worker's.
func (e *Engine) Look(worker int, take func(list []Tapped, lost int)) (more bool) {
	ring := e.onlookers[worker].ring.Load()
	if ring == nil {
		return false
	}
	list, lost, end := ring.look()
	if len(list) == 0 && lost == 0 {
		return false
	}
	take(list, lost)
	ring.release(end)
	return len(list) == maxTapped
}

// MaxTapped bounds the copies of one Look, and of one datagram between processes.
const maxTapped = 64

// The layout of a copy's record. Data follows, filled up to a multiple of eight bytes.
const (
	tapSize    = 0 // of the record
	tapLength  = 4 // of the data
	tapAt      = 8
	tapRemote  = 16 // hi, lo, port
	tapSent    = 34
	tapForm    = 35
	tapLeg     = 36
	tapStream  = 40 // generation
	tapWhy     = 44
	tapHeadLen = 48
)

// tapRecord is the length of the record of so much data.
func tapRecord(data int) int { return (tapHeadLen + data + 7) &^ 7 }

// encode writes a copy's record; b has its length.
func (t *Tapped) encode(b []byte) {
	le := binary.LittleEndian
	le.PutUint32(b[tapSize:], uint32(len(b)))
	le.PutUint32(b[tapLength:], uint32(len(t.Data)))
	le.PutUint64(b[tapAt:], uint64(t.At))
	le.PutUint64(b[tapRemote:], t.Remote.hi)
	le.PutUint64(b[tapRemote+8:], t.Remote.lo)
	le.PutUint16(b[tapRemote+16:], t.Remote.port)
	b[tapSent] = 0
	if t.Sent {
		b[tapSent] = 1
	}
	b[tapForm] = byte(t.Form)
	le.PutUint32(b[tapLeg:], uint32(t.Leg))
	le.PutUint32(b[tapStream:], t.Generation)
	le.PutUint32(b[tapWhy:], uint32(t.Why))
	copy(b[tapHeadLen:], t.Data)
}

// AppendTo appends the copy's record, for another process.
func (t *Tapped) AppendTo(b []byte) []byte {
	n := len(b)
	b = append(b, make([]byte, tapRecord(len(t.Data)))...)
	t.encode(b[n:])
	return b
}

// Size is the length of the copy's record.
func (t *Tapped) Size() int { return tapRecord(len(t.Data)) }

// errTapped says that a record is none of a copy.
var errTapped = errors.New("media: the record of a tapped datagram is not well formed: both processes must be of one build")

// DecodeTapped reads the first record of b and returns what follows it. Data is part of b.
func DecodeTapped(b []byte) (t Tapped, rest []byte, err error) {
	if len(b) < tapHeadLen {
		return t, nil, errTapped
	}
	le := binary.LittleEndian
	size, length := int(le.Uint32(b[tapSize:])), int(le.Uint32(b[tapLength:]))
	if length > len(b) || size != tapRecord(length) || size > len(b) {
		return t, nil, errTapped
	}
	t = Tapped{
		At: int64(le.Uint64(b[tapAt:])), Leg: int32(le.Uint32(b[tapLeg:])), Generation: le.Uint32(b[tapStream:]),
		Remote: Endpoint{le.Uint64(b[tapRemote:]), le.Uint64(b[tapRemote+8:]), le.Uint16(b[tapRemote+16:])},
		Sent:   b[tapSent] == 1, Form: Tap(b[tapForm]), Data: b[tapHeadLen : tapHeadLen+length : tapHeadLen+length],
	}
	why := le.Uint32(b[tapWhy:])
	if why >= uint32(rejections) || b[tapSent] > 1 || t.Form == 0 || t.Form > tapForms || t.Leg < 0 {
		return t, nil, errTapped
	}
	t.Why = Rejection(why)
	return t, b[size:], nil
}
