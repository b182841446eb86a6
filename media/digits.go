package media

import (
	"encoding/binary"
	"time"

	"sallyport/nat"
)

// Digit is a telephone event that a leg's peer has sent.
type Digit struct {
	Event    uint8  // RFC 4733 §3.2: 0-9, 10 for *, 11 for #, 12-15 for A-D
	Volume   uint8  // dBm0 without the sign, 0-63
	Duration uint16 // milliseconds
}

// keypad is what an RTP leg has to do with telephone events: a table of its own beside the legs, of which only the rows of
// legs with flagEvents are touched. It holds no pointers.
type keypad struct {
	generation uint32 // of the stream that the rest belongs to
	listed     bool   // on its worker's agenda
	events     Events
	ear        ear
	tones      Tones // asked for
	player     player
}

// ear follows the events of a leg's peer. The same event comes many times: in updates that say how long it has lasted, and
// three times at its end (RFC 4733 §2.5.1.4). SSRC and timestamp tell it from the next one.
type ear struct {
	phase  earPhase
	event  uint8
	volume uint8
	fromIt bool // ssrc counts; else an engine before this one told of the event
	ssrc   uint32
	stamp  uint32 // of the event, or of its present segment
	before uint32 // length of the segments before that one, in units of the clock
	units  uint32 // length so far of the present one
	at     int64  // when something new was last heard of it
}

type earPhase uint8

const (
	earIdle    earPhase = iota // nothing has been heard yet
	earHearing                 // an event lasts
	earTold                    // it is over, and has been told
)

const (
	eventSize = 4      // RFC 4733 §2.3
	eventMost = 8      // events of one packet that are read (RFC 4733 §2.5.1.5)
	eventLong = 0xFFFF // what the duration field holds; longer events are cut into segments (RFC 4733 §2.5.1.3)

	slowestClock = 1000 // nobody measures keys by less

	eventEnd    = 0x80
	volumeMask  = 0x3f
	lateWithin  = 5                                       // seconds: an older timestamp is a packet that came late
	earSilence  = int64(150 * time.Millisecond)           // three updates of 50 ms missed: the end was lost (RFC 4733 §2.5.2.2)
	longestTold = time.Duration(65535) * time.Millisecond // what a Digit can say
)

// listen takes what a leg's peer has sent in its payload type for telephone events.
func (e *Engine) listen(now int64, i int, l *leg, h *header, buf []byte) {
	k := &e.keypads[i>>1]
	if h.class != classRTP || h.pt != k.events.Payload || !k.events.Report || !l.is(flagReceive) {
		return
	}
	stamp, p := h.stamp, payloadOf(buf)
	for range eventMost {
		if len(p) < eventSize {
			return
		}
		units := uint32(binary.BigEndian.Uint16(p[2:]))
		e.hearEvent(now, i, k, h.ssrc, stamp, p, units)
		// RFC 4733 §2.5.1.5: each further event begins where the one before it ends.
		stamp, p = stamp+units, p[eventSize:]
	}
}

// hearEvent takes one report of one event.
func (e *Engine) hearEvent(now int64, i int, k *keypad, ssrc, stamp uint32, p []byte, units uint32) {
	x := &k.ear
	event, end := p[0], p[1]&eventEnd != 0
	same := x.phase != earIdle && (x.ssrc == ssrc || !x.fromIt)
	switch ahead := int32(stamp - x.stamp); {
	case same && ahead == 0 && x.phase == earTold && (!x.fromIt || x.event == event):
		x.ssrc, x.event, x.fromIt = ssrc, event, true
		return // its end is said three times
	case same && x.fromIt && ahead == 0 && x.event == event:
	case same && x.fromIt && ahead < 0 && ahead > -lateWithin*int32(k.events.clock()):
		return
	case same && x.phase == earHearing && ahead == eventLong && x.event == event:
		// RFC 4733 §2.5.1.3: "a new segment … with the RTP timestamp set to the time at which the previous segment ended".
		x.before, x.stamp, x.units = x.before+eventLong, stamp, 0
	default:
		if x.phase == earHearing { // another one has begun, so this one is over: its end was lost
			e.tellDigit(i, k)
		}
		*x = ear{phase: earHearing, event: event, ssrc: ssrc, stamp: stamp, fromIt: true}
	}
	x.at, x.volume, x.units = now, p[1]&volumeMask, max(x.units, units)
	if end {
		e.tellDigit(i, k)
		return
	}
	e.attend(i, k, now+earSilence)
}

// tellDigit publishes the event that is over.
func (e *Engine) tellDigit(i int, k *keypad) {
	x := &k.ear
	x.phase = earTold
	long := min(time.Duration(x.before+x.units)*time.Second/time.Duration(k.events.clock()), longestTold)
	e.board.annex(i).eventStamp.Store(x.stamp)
	e.board.hear(i, Digit{Event: x.event, Volume: x.volume, Duration: uint16(long / time.Millisecond)})
	e.agendas[e.share.Worker(i)].news = true
	e.board.head.hints.Add(1)
}

// clock is the RTP clock of the events in Hz.
func (v *Events) clock() uint32 {
	if v.Clock < slowestClock || v.Clock > fastestClock {
		return 8000
	}
	return v.Clock
}

// payloadOf is what stands behind the header of an RTP packet that has been parsed, without padding.
func payloadOf(buf []byte) []byte {
	at := minRTP + 4*int(buf[0]&0x0f)
	if buf[0]&0x10 != 0 {
		at += 4 + 4*int(binary.BigEndian.Uint16(buf[at+2:]))
	}
	p := buf[at:]
	if buf[0]&0x20 != 0 && len(p) > 0 { // RFC 3550 §5.1: the last byte counts the padding, itself included
		p = p[:max(0, len(p)-int(p[len(p)-1]))]
	}
	return p
}

// hear puts a digit into a leg's ring. Each slot names the digit that it holds: a reader who is late knows it.
func (b *Board) hear(leg int, d Digit) {
	c := b.cell(leg)
	n := c.heard.Load() + 1
	b.digits[leg>>1][(n-1)%digitSlots].Store(uint64(n)<<32 | uint64(d.Event)<<24 | uint64(d.Volume)<<16 | uint64(d.Duration))
	c.heard.Store(n)
}

// digitsAfter appends a hint for each digit that a side's peer has sent since a number of digits, and returns the number
// of now. Of more than the ring holds the oldest are lost.
func (b *Board) digitsAfter(told uint32, leg int, generation uint32, id ID, side nat.Side, hints []Hint) (uint32, []Hint) {
	c := b.cell(leg)
	heard := c.heard.Load()
	if heard == told || c.generation.Load() != generation {
		return told, hints
	}
	for n := max(told, heard-min(heard, digitSlots)) + 1; n <= heard; n++ {
		v := b.digits[leg>>1][(n-1)%digitSlots].Load()
		if uint32(v>>32) != n {
			continue // it has been overwritten meanwhile
		}
		d := Digit{Event: uint8(v >> 24), Volume: uint8(v >> 16), Duration: uint16(v)}
		hints = append(hints, Hint{ID: id, Kind: Heard, Side: side, Digit: d})
	}
	return heard, hints
}
