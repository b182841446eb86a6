package media

import (
	"encoding/binary"
	"time"
)

// What the engine does by the clock, and not because a datagram came: it plays Tones, and notices that an event of which
// nothing more is heard must be over. A back end asks Due before it waits, and calls Play once that time has come. While
// there is nothing to do, that is one comparison.

// agenda is what a worker has to do at some time. Only that worker touches it.
type agenda struct {
	due  int64   // the earliest of all; never: nothing
	news bool    // something has been published that a Sweep should look at soon
	busy []int32 // RTP legs whose keypads wait for something
	buf  [tonePacket + Tailroom]byte
	_    [cacheLine]byte // threads would slow each other down
}

func newAgendas(layout Layout) []agenda {
	list := make([]agenda, max(1, layout.Workers))
	for i := range list {
		list[i] = agenda{due: never, busy: make([]int32, 0, layout.Legs()/2)}
	}
	return list
}

// Due is when a worker's Play has something to do, in the engine's time; far in the future where there is nothing.
func (e *Engine) Due(worker int) int64 { return e.agendas[worker].due }

// News reports whether something was published since the last call that a Sweep should look at soon, and forgets it.
func (e *Engine) News(worker int) bool {
	a := &e.agendas[worker]
	if !a.news {
		return false
	}
	a.news = false
	return true
}

// Play does what is due at a time. send is handed each packet that leaves and reports whether it could be sent; Data is
// valid until it returns. Play allocates nothing.
func (e *Engine) Play(now int64, worker int, send func(Verdict) bool) {
	a := &e.agendas[worker]
	if now < a.due {
		return
	}
	a.due = never
	kept := a.busy[:0]
	for _, i := range a.busy {
		k := &e.keypads[i>>1]
		if at := e.keep(now, i, k, a, send); at != never {
			a.due = min(a.due, at)
			kept = append(kept, i)
		} else {
			k.listed = false
		}
	}
	a.busy = kept
}

// attend puts a leg's keypad on the agenda of its worker. There is room for all.
func (e *Engine) attend(i int, k *keypad, at int64) {
	a := &e.agendas[e.share.Worker(i)]
	if !k.listed {
		k.listed = true
		a.busy = append(a.busy, int32(i))
	}
	a.due = min(a.due, at)
}

// keep does what is due on one leg and returns when something will be due again.
func (e *Engine) keep(now int64, i int32, k *keypad, a *agenda, send func(Verdict) bool) (at int64) {
	l := &e.legs[i]
	if l.state == stateFree || l.generation != k.generation {
		return never // its stream has ended
	}
	at = never
	if x := &k.ear; x.phase == earHearing {
		if at = x.at + earSilence; now >= at {
			e.tellDigit(int(i), k)
			at = never
		}
	}
	if k.player.phase != playIdle {
		if e.play(now, i, l, k, a, send); k.player.phase != playIdle {
			at = min(at, k.player.next)
		}
	}
	return at
}

// player sends a leg's tones, one after the other.
type player struct {
	phase  playPhase
	first  bool  // the packet to come is the first one of its event
	left   uint8 // ends still to be sent
	again  uint8 // ends of the segment before that are still to be sent
	tone   Tone
	stamp  uint32 // RTP timestamp of the event, or of its present segment
	before uint32 // length of the segments before that one, in units of the clock
	units  uint32 // how long the event has lasted
	total  uint32 // … and is to last
	played uint32 // Tones.Serial of the tone that was begun last
	next   int64  // when the next packet is due
}

type playPhase uint8

const (
	playIdle     playPhase = iota // everything that was asked for has been played
	playResting                   // the gap before the next one
	playSounding                  // an event lasts
	playEnding                    // it is over, which is said three times
)

const (
	tonePacket = minRTP + eventSize
	toneEvery  = int64(20 * time.Millisecond) // between updates; RFC 4733 §2.5.1.2 asks for one in 50 ms at least
	toneEnds   = 3                            // RFC 4733 §2.5.1.4: the last packet is sent "a total of three times"
	// The last end comes two updates behind the event's end, so a further one makes a gap of 60 ms: a receiver needs 40 ms
	// to tell two equal digits apart (ITU-T Q.24).
	toneGap  = toneEvery
	toneLate = 5 * toneEvery // a thread that was held up longer does not hurry after
)

// setKeys gives an RTP leg's keypad its wanted state. was are the leg's flags before.
func (e *Engine) setKeys(now int64, i int, l *leg, was flags, c *Command) {
	if i&1 == 1 || (l.flags|was)&flagEvents == 0 {
		return
	}
	k, x := &e.keypads[i>>1], e.board.annex(i)
	if k.generation != l.generation {
		*k = keypad{generation: l.generation, listed: k.listed, player: player{played: c.keyed.played}}
		if c.keyed.told {
			// The engine before this one told of an event whose end may come once more.
			k.ear = ear{phase: earTold, stamp: c.keyed.stamp}
			x.eventStamp.Store(c.keyed.stamp)
		}
		x.played.Store(k.player.played)
	}
	k.events, k.tones = c.events, c.tones
	if k.player.phase == playIdle && k.pending() > 0 {
		k.player.phase, k.player.next = playResting, now
		e.attend(i, k, now)
	}
	if k.player.phase >= playSounding {
		l.flags |= flagPlaying
	}
}

// pending is how many tones have been asked for and not begun. Of more than a list holds the oldest are lost.
func (k *keypad) pending() uint8 {
	n := int32(k.tones.Serial - k.player.played)
	return uint8(max(0, min(n, int32(k.tones.Count))))
}

// play sends the packet that is due, if one is.
func (e *Engine) play(now int64, i int32, l *leg, k *keypad, a *agenda, send func(Verdict) bool) {
	p := &k.player
	if now < p.next {
		return
	}
	if k.events.Payload == 0 || !l.is(flagSend) {
		// RFC 3264 §5.1: a peer that does not listen is not sent anything, and what was meant for now is not said later.
		e.silence(i, l, k)
		return
	}
	if p.phase == playResting && !e.begin(now, i, l, k) {
		return
	}
	s := sayer{e: e, now: now, i: i, l: l, k: k, a: a, send: send}
	if p.again > 0 { // "… for each event and for each segment" (RFC 4733 §2.5.1.4)
		p.again--
		s.say(p.stamp-eventLong, eventLong, 0)
	}
	if p.phase == playSounding {
		p.units = min(p.units+k.events.clock()/uint32(time.Second/time.Duration(toneEvery)), p.total)
		if p.units-p.before > eventLong {
			// RFC 4733 §2.5.1.3: the segment's last packet has no end bit, and the next one begins where it ended.
			s.say(p.stamp, eventLong, 0)
			p.stamp, p.before, p.again = p.stamp+eventLong, p.before+eventLong, toneEnds-1
		}
		if p.units == p.total {
			p.phase, p.left = playEnding, toneEnds
		}
	}
	if p.phase == playEnding {
		p.left--
		s.say(p.stamp, p.units-p.before, eventEnd)
		if p.left == 0 {
			p.phase = playResting
			l.flags &^= flagPlaying
		}
	} else {
		s.say(p.stamp, p.units-p.before, 0)
	}
	if p.next += toneEvery; now-p.next > toneLate {
		p.next = now + toneEvery
	}
}

// silence ends what a leg plays and forgets what it was to play.
func (e *Engine) silence(i int32, l *leg, k *keypad) {
	k.player = player{played: k.player.played}
	if k.pending() > 0 {
		k.player.played = k.tones.Serial
		e.board.annex(int(i)).played.Store(k.player.played)
	}
	l.flags &^= flagPlaying
}

// begin takes the next tone up, if there is one.
func (e *Engine) begin(now int64, i int32, l *leg, k *keypad) bool {
	n := k.pending()
	if n == 0 {
		k.player = player{played: k.player.played}
		return false
	}
	clock := k.events.clock()
	p := player{
		phase: playSounding, first: true, tone: k.tones.List[k.tones.Count-n], played: k.tones.Serial - uint32(n) + 1, next: now,
	}
	p.total = max(1, uint32(uint64(p.tone.Duration)*uint64(clock)/1000))
	k.player = p
	l.flags |= flagPlaying
	// A digit that is cut off by the end of this process is none that another one may repeat.
	e.board.annex(int(i)).played.Store(p.played)
	return true
}

// sayer sends reports of one event at one time.
type sayer struct {
	e    *Engine
	now  int64
	i    int32
	l    *leg
	k    *keypad
	a    *agenda
	send func(Verdict) bool
}

// say sends one report. The event begins with the first one, at the time of the stream that the peer hears.
func (s *sayer) say(stamp, units uint32, end byte) {
	e, p, clock := s.e, &s.k.player, s.k.events.clock()
	ssrc, seq, at, ok := e.interject(s.now, s.i, clock)
	if !ok {
		h := opening(s.i, s.l.generation)
		e.heard[s.i>>1].take(s.now, clock, &h)
		ssrc, seq, at = h.ssrc, h.seq, h.stamp
	}
	b := s.a.buf[:tonePacket]
	b[0], b[1] = 2<<6, s.k.events.Payload
	if p.first { // RFC 4733 §2.5.1.2: the marker bit is set in the first packet of an event alone
		p.first, p.stamp, stamp = false, at, at
		b[1] |= 0x80
	}
	binary.BigEndian.PutUint16(b[2:], seq)
	binary.BigEndian.PutUint32(b[4:], stamp)
	binary.BigEndian.PutUint32(b[8:], ssrc)
	b[12], b[13] = p.tone.Event, end|p.tone.Volume&volumeMask
	binary.BigEndian.PutUint16(b[14:], uint16(units))
	if s.l.remote.port == 0 {
		return // nowhere yet; time goes on
	}
	if v := e.depart(s.now, s.i, s.l, b); v.Why == Accepted && !s.send(v) {
		e.Unsent(v)
	}
}

// opening begins a stream of which nothing has been heard yet. Its numbers are to differ from those of others (RFC 3550
// §5.1), and there is no chance here: they follow from which stream it is.
func opening(i int32, generation uint32) header {
	x := uint64(generation)<<32 | uint64(uint32(i))
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	x ^= x >> 31
	y := x * 0x9e3779b97f4a7c15
	return header{class: classRTP, ssrc: uint32(x) | 1, stamp: uint32(x >> 32), seq: uint16(y>>48) >> 1} // RFC 3711 §3.3.1: below 2^15
}

// keyed is what an engine takes over from one before it: what has been played and told is not played or told again.
type keyed struct {
	told   bool
	stamp  uint32 // RTP timestamp of the event that was told last
	played uint32
}

func (k *keyed) appendTo(b []byte) []byte {
	told := byte(0)
	if k.told {
		told = 1
	}
	b = binary.LittleEndian.AppendUint32(append(b, told), k.stamp)
	return binary.LittleEndian.AppendUint32(b, k.played)
}

func (k *keyed) read(r *record) bool {
	told := r.byte()
	k.told, k.stamp, k.played = told == 1, r.uint32(), r.uint32()
	return told <= 1
}

// keyed reads what a leg has played and told.
func (b *Board) keyed(leg int, generation uint32) (k keyed) {
	if c, x := b.cell(leg), b.annexOf(leg); c.generation.Load() == generation {
		k = keyed{told: c.heard.Load() > 0 || x.eventStamp.Load() != 0, stamp: x.eventStamp.Load(), played: x.played.Load()}
	}
	return k
}
