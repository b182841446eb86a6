package media_test

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	pionrtp "github.com/pion/rtp"

	"sallyport/media"
	"sallyport/nat"
)

// voices is a call whose outside peer hears one voice; the packets come from inside, where sources take turns.
type voices struct {
	t    testing.TB
	b    *bare
	p    *media.Plane
	id   media.ID
	legs [2]int
}

func newVoices(t testing.TB, inside func(*media.Want)) *voices {
	v := &voices{t: t}
	outside := with(public(media.Off), func(w *media.Want) { w.Continuous = true })
	v.b, v.p, v.id, v.legs = bareCall(t, outside, with(insideWant(), inside))
	return v
}

// voice is a source of one packet each 20 ms.
type voice struct {
	ssrc  uint32
	seq   uint16
	stamp uint32
	pt    uint8
	mark  bool
}

func (s *voice) next() []byte {
	b := must((&pionrtp.Packet{
		Header: pionrtp.Header{
			Version: 2, PayloadType: s.pt, SequenceNumber: s.seq, Timestamp: s.stamp, SSRC: s.ssrc, Marker: s.mark,
		},
		Payload: binary.BigEndian.AppendUint32(nil, s.ssrc^uint32(s.seq)),
	}).Marshal())
	s.seq++
	s.stamp += 160
	return b
}

// say lets a packet of the inside come at this moment and returns what the outside peer hears of it, nil if nothing.
func (v *voices) say(packet []byte) *pionrtp.Packet {
	buf := append(make([]byte, 0, len(packet)+media.Tailroom), packet...)
	got := v.b.engine.Packet(v.b.now, v.legs[nat.Inside], media.EndpointOf(pbx), buf)
	if got.Why != media.Accepted {
		return nil
	}
	var p pionrtp.Packet
	if err := p.Unmarshal(got.Data); err != nil || len(got.Data) != len(packet) {
		v.t.Fatalf("%x became %x: %v", packet, got.Data, err)
	}
	if !slices.Equal(got.Data[12:], packet[12:]) {
		v.t.Fatalf("the payload was changed: %x became %x", packet, got.Data)
	}
	return &p
}

func (v *voices) pass(d time.Duration) { v.b.now += int64(d) }

func (v *voices) point(side nat.Side, w media.Want) {
	if err := v.p.Point(v.id, side, w); err != nil {
		v.t.Fatal(err)
	}
}

const frame = 20 * time.Millisecond

// While one source speaks, packets leave byte for byte, late, repeated and odd ones too.
func TestOneVoicePassesAsItIs(t *testing.T) {
	v := newVoices(t, func(*media.Want) {})
	s := voice{ssrc: 7, seq: 65530, stamp: 4294967000}
	for n := range 300 {
		v.pass(frame)
		p := s.next()
		if n%10 == 3 {
			continue // lost
		}
		for range 1 + n%7/6 {
			buf := append(make([]byte, 0, len(p)+media.Tailroom), p...)
			got := v.b.engine.Packet(v.b.now, v.legs[nat.Inside], media.EndpointOf(pbx), buf)
			if got.Why != media.Accepted || !slices.Equal(got.Data, p) {
				t.Fatalf("packet %d: %v, %x became %x", n, got.Why, p, got.Data)
			}
		}
		if n == 150 { // what was before it all
			old := voice{ssrc: 7, seq: s.seq - 99, stamp: s.stamp - 99*160}
			if got := v.say(old.next()); got == nil || got.SequenceNumber != old.seq-1 {
				t.Fatalf("late: %+v", got)
			}
		}
	}
}

// Another source goes on with the next number, the time elapsed, and a marker bit.
func TestAnotherVoice(t *testing.T) {
	v := newVoices(t, func(*media.Want) {})
	a, b := voice{ssrc: 7, seq: 65534, stamp: 1000}, voice{ssrc: 9, seq: 20, stamp: 999999}
	for range 3 {
		v.pass(frame)
		v.say(a.next())
	}
	held := a.next() // delayed on its way
	v.pass(300 * time.Millisecond)
	got := v.say(b.next())
	if got.SSRC != 7 || got.SequenceNumber != 1 || got.Timestamp != 1000+2*160+300*8 || !got.Marker {
		t.Fatalf("first: %+v", got)
	}
	v.pass(frame)
	if got = v.say(b.next()); got.SSRC != 7 || got.SequenceNumber != 2 || got.Timestamp != 1000+2*160+300*8+160 || got.Marker {
		t.Fatalf("second: %+v", got)
	}
	late := voice{ssrc: 7, seq: 65535, stamp: 1160}
	if got = v.say(late.next()); got.SequenceNumber != 65535 || got.Timestamp != 1160 {
		t.Fatalf("repeat of the old source: %+v", got)
	}
	early := voice{ssrc: 9, seq: 19, stamp: 999999 - 160}
	if got = v.say(early.next()); got != nil {
		t.Fatalf("what was before the change has no number left: %+v", got)
	}
	if got = v.say(held); got.SSRC != 7 || got.SequenceNumber != 3 {
		t.Fatalf("the old source speaks again: %+v", got)
	}
}

// A source that restarts its numbers goes on; a packet that is merely very late takes one number and breaks nothing.
func TestRestart(t *testing.T) {
	v := newVoices(t, func(*media.Want) {})
	s := voice{ssrc: 7, seq: 500, stamp: 1000}
	for range 3 {
		v.pass(frame)
		v.say(s.next())
	}
	stray := voice{ssrc: 7, seq: 300, stamp: 50}
	if got := v.say(stray.next()); got.SequenceNumber != 503 {
		t.Fatalf("stray: %+v", got)
	}
	v.pass(frame)
	if got := v.say(s.next()); got.SequenceNumber != 504 || got.Timestamp != 1000+3*160 || got.Marker {
		t.Fatalf("after the stray one: %+v", got)
	}
	v.pass(frame)
	s = voice{ssrc: 7, seq: 40000, stamp: 77}
	if got := v.say(s.next()); got.SequenceNumber != 505 || got.Timestamp != 1000+4*160 || !got.Marker {
		t.Fatalf("restart: %+v", got)
	}
}

// A telephone event whose packets alternate with another source's keeps its timestamp: it is one digit.
func TestEventBetweenVoices(t *testing.T) {
	v := newVoices(t, func(*media.Want) {})
	a := voice{ssrc: 7, seq: 1, stamp: 1000}
	v.say(a.next())
	e := voice{ssrc: 8, seq: 9, stamp: 5000, pt: 101, mark: true}
	var stamps []uint32
	last := uint16(1)
	for range 8 {
		v.pass(frame / 2)
		p := v.say(e.next())
		e.stamp, e.mark = 5000, false
		stamps = append(stamps, p.Timestamp)
		v.pass(frame / 2)
		q := v.say(a.next())
		if p.SequenceNumber != last+1 || q.SequenceNumber != last+2 {
			t.Fatalf("%d, %d after %d", p.SequenceNumber, q.SequenceNumber, last)
		}
		if want := a.stamp - 160; q.Timestamp != want || q.Marker {
			t.Fatalf("the voice was moved: %+v, want %d", q, want)
		}
		last = q.SequenceNumber
	}
	if slices.Min(stamps) != slices.Max(stamps) {
		t.Fatalf("one event under several timestamps: %v", stamps)
	}
}

// What is not relayed leaves no hole: a payload type that the peer does not take, and a hold that only the relay keeps.
func TestNoHoles(t *testing.T) {
	v := newVoices(t, func(w *media.Want) { w.Numbers.Set(96, 111); w.Numbers[13] = media.Discard })
	s := voice{ssrc: 7, seq: 100, stamp: 1000, pt: 96}
	last := uint16(99)
	check := func(p *pionrtp.Packet) {
		t.Helper()
		if p == nil || p.SequenceNumber != last+1 || p.PayloadType != 111 || p.Timestamp != s.stamp-160 {
			t.Fatalf("%+v after %d", p, last)
		}
		last++
	}
	for n := range 40 {
		v.pass(frame)
		if s.pt = 96; n%5 == 4 {
			s.pt = 13
			if p := v.say(s.next()); p != nil {
				t.Fatalf("comfort noise: %+v", p)
			}
			continue
		}
		check(v.say(s.next()))
	}
	s.pt = 96
	v.point(nat.Outside, with(public(media.Off), func(w *media.Want) { w.Continuous, w.Send = true, false }))
	for range 5000 { // beyond what a jump is
		v.pass(frame)
		if v.say(s.next()) != nil {
			t.Fatal("heard while held")
		}
	}
	v.point(nat.Outside, with(public(media.Off), func(w *media.Want) { w.Continuous = true }))
	check(v.say(s.next()))
	// One that comes late from before a discarded one fits in where it was.
	lost := s.next()
	last++
	s.pt = 13
	v.say(s.next())
	if p := v.say(lost); p == nil || p.SequenceNumber != last {
		t.Fatalf("late: %+v, want %d", p, last)
	}
	s.pt = 96
	check(v.say(s.next()))
}

// The marker bit and payload types: the map, and redundant audio whose blocks name them (RFC 2198).
func TestNumbering(t *testing.T) {
	v := newVoices(t, func(w *media.Want) {
		w.Numbers.Set(96, 111)
		w.Numbers.Set(63, 97)
		w.Numbers[128] = 63 + 1
	})
	red := []byte{0x80, 0x80 | 63, 0, 1, 0, 0, 0, 1, 0, 0, 0, 7, 0x80 | 96, 1, 2, 3, 0x80 | 5, 1, 2, 3, 96, 96, 96}
	want := []byte{0x80, 0x80 | 97, 0, 1, 0, 0, 0, 1, 0, 0, 0, 7, 0x80 | 111, 1, 2, 3, 0x80 | 5, 1, 2, 3, 111, 96, 96}
	got := v.b.engine.Packet(v.b.now, v.legs[nat.Inside], media.EndpointOf(pbx), append(make([]byte, 0, 100), red...))
	if got.Why != media.Accepted || !slices.Equal(got.Data, want) {
		t.Fatalf("%v\n%x\n%x", got.Why, got.Data, want)
	}
	for end := 12; end < len(red); end++ { // cut short: nothing is read behind its end
		v.b.engine.Packet(v.b.now, v.legs[nat.Inside], media.EndpointOf(pbx), slices.Clip(slices.Clone(red[:end])))
	}
}

// Rewriting allocates nothing, for packets and reports alike.
func TestRewritingDoesNotAllocate(t *testing.T) {
	v := newVoices(t, func(w *media.Want) { w.Numbers.Set(96, 111); w.Mux = true; w.Continuous = true })
	a, b := voice{ssrc: 7, pt: 96}, voice{ssrc: 8, pt: 96}
	packets := [][]byte{a.next(), b.next(), rtcp(7), a.next(), rtcp(8)}
	work := make([]byte, 0, 500)
	if n := testing.AllocsPerRun(500, func() {
		for _, p := range packets {
			v.b.now += 20e6
			v.b.engine.Packet(v.b.now, v.legs[nat.Inside], media.EndpointOf(pbx), append(work, p...))
		}
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

// What it costs to watch a voice, and to rewrite one.
func BenchmarkVoice(b *testing.B) {
	for _, how := range []string{"plain", "watched", "rewritten"} {
		b.Run(how, func(b *testing.B) {
			outside := with(public(media.Off), func(w *media.Want) { w.Continuous = how != "plain" })
			e, _, _, legs := bareCall(b, outside, insideWant())
			from, first, packet := media.EndpointOf(pbx), rtp(0, 9, 2), rtp(0, 1, 1)
			if how == "rewritten" {
				e.engine.Packet(e.now, legs[nat.Inside], from, first)
			}
			work := make([]byte, 0, 500)
			seq := uint16(1)
			b.ReportAllocs()
			for b.Loop() {
				e.now += 20e6
				seq++
				p := append(work, packet...)
				binary.BigEndian.PutUint16(p[2:], seq)
				e.engine.Packet(e.now, legs[nat.Inside], from, p)
			}
		})
	}
}

// FuzzVoices lets sources say anything: three bytes are a packet's source and type, a step of its numbers and one of the time.
// Whatever it is, one SSRC is heard, nothing but the header changes, and the numbers go no further than a loss explains.
func FuzzVoices(f *testing.F) {
	f.Add([]byte{0, 1, 1, 0, 1, 1, 1, 1, 1, 0, 1, 1, 2, 200, 9, 3, 1, 1})
	f.Add([]byte{0, 255, 0, 0, 128, 0, 4, 1, 1, 0, 1, 1})
	f.Fuzz(func(t *testing.T, plan []byte) {
		v := newVoices(t, func(w *media.Want) { w.Numbers[13] = media.Discard; w.Numbers.Set(96, 97) })
		var sources [4]voice
		for i := range sources {
			sources[i] = voice{ssrc: uint32(i), seq: uint16(i) * 16384}
		}
		var first *pionrtp.Packet
		top := uint16(0)
		for ; len(plan) >= 3; plan = plan[3:] {
			s := &sources[plan[0]&3]
			s.pt = [4]uint8{0, 13, 96, 101}[plan[0]>>2&3]
			if step := int8(plan[1]); plan[0]&0x80 != 0 {
				s.seq += uint16(step) * 300
			} else {
				s.seq += uint16(step)
			}
			s.stamp += uint32(plan[2]) << (plan[0] >> 4 & 3 * 8)
			v.pass(time.Duration(plan[2]) * time.Millisecond)
			p := v.say(s.next())
			if p == nil {
				continue
			}
			if first == nil {
				first, top = p, p.SequenceNumber
			}
			if p.SSRC != first.SSRC || p.PayloadType == 13 || p.PayloadType == 96 {
				t.Fatalf("%+v", p.Header)
			}
			if ahead := int16(p.SequenceNumber - top); ahead > 0 {
				if ahead >= 3000 {
					t.Fatalf("number %d after %d", p.SequenceNumber, top)
				}
				top = p.SequenceNumber
			}
		}
	})
}
