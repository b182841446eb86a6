package media_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	pionrtp "github.com/pion/rtp"
	"pgregory.net/rapid"

	"sallyport/media"
	"sallyport/nat"
)

// told is a packet as the PBX hears it.
type told struct {
	at     time.Duration // since the first one
	pt     uint8
	marker bool
	seq    uint16
	stamp  uint32
	ssrc   uint32
	report
}

// audit reads what the PBX has heard so far and proves that it is one stream without a gap.
func (s *scene) audit() []told {
	s.t.Helper()
	var list []told
	for n, d := range s.out {
		if d.dest != pbx {
			continue
		}
		var p pionrtp.Packet
		if err := p.Unmarshal([]byte(d.payload)); err != nil {
			s.t.Fatal(err)
		}
		x := told{at: s.times[n], pt: p.PayloadType, marker: p.Marker, seq: p.SequenceNumber, stamp: p.Timestamp, ssrc: p.SSRC}
		if p.PayloadType == telephoneEvent {
			b := p.Payload
			x.report = report{b[0], b[1]&0x80 != 0, b[1] & 0x3f, binary.BigEndian.Uint16(b[2:])}
		}
		if before := len(list) - 1; before >= 0 && (x.seq != list[before].seq+1 || x.ssrc != list[before].ssrc) {
			s.t.Errorf("packet %d: %d of %x after %d of %x", n, x.seq, x.ssrc, list[before].seq, list[before].ssrc)
		}
		list = append(list, x)
	}
	return list
}

// listens notes when each datagram leaves.
func (s *scene) listens() {
	began := s.now
	s.observe = func() { s.times = append(s.times, s.now.Sub(began)) }
	s.times = nil
	s.out = nil
}

// speak has the phone send audio for a time, while the engine plays.
func (s *scene) speak(d time.Duration, seq *uint16) {
	for range d / (20 * time.Millisecond) {
		s.rtpFrom(phone, rtp(0, *seq, 77))
		*seq++
		s.tick(20 * time.Millisecond)
	}
}

func tones(serial uint32, list ...media.Tone) media.Tones {
	t := media.Tones{Serial: serial, Count: uint8(len(list))}
	copy(t.List[:], list)
	return t
}

func tone(event uint8, ms uint16) media.Tone {
	return media.Tone{Event: event, Volume: 10, Duration: ms}
}

// TestToneAmongAudio looks at every packet of a digit of 100 ms (RFC 4733 §2.5.1).
func TestToneAmongAudio(t *testing.T) {
	s := keyed(t, 8000, false)
	s.listens()
	seq := uint16(100)
	s.speak(200*time.Millisecond, &seq)
	s.point(nat.Inside, keyedPBX(8000, tones(1, tone(7, 100))))
	s.tick(time.Millisecond)
	s.speak(400*time.Millisecond, &seq)
	var digit, audio []told
	for n, x := range s.audit() {
		if x.pt != telephoneEvent {
			audio = append(audio, x)
			continue
		}
		if len(digit) == 0 && (!x.marker || n != 10) {
			t.Errorf("the first packet comes at %d: %+v", n, x)
		}
		digit = append(digit, x)
	}
	var lengths []uint16
	for n, x := range digit {
		lengths = append(lengths, x.units)
		if x.stamp != digit[0].stamp || x.marker != (n == 0) || x.event != 7 || x.volume != 10 || x.end != (n >= 4) ||
			x.at != digit[0].at+time.Duration(n)*20*time.Millisecond {
			t.Errorf("packet %d: %+v", n, x)
		}
	}
	if want := []uint16{160, 320, 480, 640, 800, 800, 800}; !slices.Equal(lengths, want) {
		t.Errorf("durations %v, want %v", lengths, want)
	}
	// Audio that came meanwhile is not heard, and what comes after goes on with its own clock.
	if len(audio) >= 30 || len(audio) < 22 {
		t.Errorf("%d packets of audio", len(audio))
	}
	if last := audio[len(audio)-1]; last.stamp != audio[0].stamp+29*160 {
		t.Errorf("the clock has moved by %d", last.stamp-audio[0].stamp)
	}
	if begin := digit[0].stamp - audio[9].stamp; begin < 1 || begin > 161+8 {
		t.Errorf("the digit begins %d units behind the last audio", begin)
	}
}

// digitsIn reads digits as a receiver does.
func digitsIn(list []told) (out []media.Tone, gaps []time.Duration) {
	var end time.Duration
	var stamp uint32
	for _, x := range list {
		if x.pt != telephoneEvent {
			continue
		}
		if x.marker && end > 0 {
			gaps = append(gaps, x.at-end)
		}
		if x.end && x.stamp != stamp {
			stamp, end = x.stamp, x.at
			out = append(out, media.Tone{Event: x.event, Volume: x.volume, Duration: x.units / 8})
		}
	}
	return out, gaps
}

// A list may come again, and grow; each digit is played once, in order, with a gap that a receiver needs.
func TestTonesArePlayedOnce(t *testing.T) {
	s := keyed(t, 8000, false)
	s.listens()
	one, two, three := tone(1, 160), tone(2, 40), tone(3, 90)
	say := func(x media.Tones) { s.point(nat.Inside, keyedPBX(8000, x)) }
	say(tones(1, one))
	say(tones(1, one))
	s.tick(50 * time.Millisecond)
	say(tones(2, one, two))
	s.tick(5 * time.Millisecond)
	say(tones(3, one, two, three))
	say(tones(3, one, two, three))
	s.tick(2 * time.Second)
	say(tones(3, one, two, three))
	say(tones(2, one, two)) // late
	s.tick(time.Second)
	got, gaps := digitsIn(s.audit())
	if want := []media.Tone{one, two, three}; !slices.Equal(got, want) {
		t.Errorf("played %v, want %v", got, want)
	}
	for _, g := range gaps {
		if g < 50*time.Millisecond || g > 100*time.Millisecond {
			t.Errorf("a gap of %v", g)
		}
	}
	say(tones(4, two, three, one))
	s.tick(time.Second)
	if got, _ := digitsIn(s.audit()); len(got) != 4 || got[3] != one {
		t.Errorf("played %v", got)
	}
}

// Of more digits than a list holds the oldest are lost, and none comes twice.
func TestTonesThatWereNeverListed(t *testing.T) {
	s := keyed(t, 8000, false)
	s.listens()
	s.point(nat.Inside, keyedPBX(8000, tones(20, tone(1, 40), tone(2, 40))))
	s.tick(2 * time.Second)
	if got, _ := digitsIn(s.audit()); len(got) != 2 {
		t.Errorf("played %v", got)
	}
}

// A peer that has heard nothing yet is sent a stream of its own, which audio then goes on with.
func TestToneBeforeAnyAudio(t *testing.T) {
	s := keyed(t, 8000, false)
	s.listens()
	s.point(nat.Inside, keyedPBX(8000, tones(1, tone(7, 100))))
	s.tick(500 * time.Millisecond)
	seq := uint16(40000)
	s.speak(100*time.Millisecond, &seq)
	list := s.audit()
	if len(list) != 7+5 || list[0].ssrc == 0 {
		t.Fatalf("%d packets: %+v", len(list), list)
	}
	// 500 ms lie between the first report and the first audio, as far as the gate can tell.
	if d := list[7].stamp - list[0].stamp; d < 3000 || d > 5000 {
		t.Errorf("audio begins %d units behind the digit", d)
	}
	other := keyed(t, 8000, false)
	second, _, err := other.plane.Reserve(other.now)
	if err != nil || second == other.id {
		t.Fatal(err)
	}
}

// Who does not listen, or has not agreed on events, is played nothing, and what was meant for now is not said later.
func TestTonesForThoseWhoDoNotListen(t *testing.T) {
	for name, change := range map[string]func(*media.Want){
		"hold":      func(w *media.Want) { w.Send = false },
		"no events": func(w *media.Want) { w.Events = media.Events{} },
	} {
		for _, when := range []time.Duration{0, 50 * time.Millisecond} {
			t.Run(fmt.Sprint(name, " ", when), func(t *testing.T) {
				s := keyed(t, 8000, false)
				s.listens()
				s.point(nat.Inside, keyedPBX(8000, tones(1, tone(1, 100))))
				s.tick(when)
				began := len(s.out)
				s.point(nat.Inside, with(keyedPBX(8000, tones(2, tone(1, 100), tone(2, 100))), change))
				s.tick(time.Second)
				if got := len(s.out); got != began {
					t.Errorf("%d packets after the end", got-began)
				}
				s.point(nat.Inside, keyedPBX(8000, tones(2, tone(1, 100), tone(2, 100))))
				s.tick(time.Second)
				if got := len(s.out); name == "hold" && got != began {
					t.Errorf("%d packets later", got-began)
				}
				seq := uint16(1)
				s.speak(100*time.Millisecond, &seq)
				if got := len(s.out) - began; got < 5 {
					t.Errorf("audio is not heard any more: %d packets", got)
				}
			})
		}
	}
}

// RFC 4733 §2.5.1.3: five seconds at 48 kHz are more than the field holds.
func TestLongToneIsCut(t *testing.T) {
	s := keyed(t, 48000, false)
	s.listens()
	s.point(nat.Inside, keyedPBX(48000, tones(1, tone(3, 5000))))
	s.tick(6 * time.Second)
	list := s.audit()
	segments := map[uint32]int{}
	markers, ends := 0, 0
	for _, x := range list {
		if x.units == 0xFFFF {
			segments[x.stamp-list[0].stamp]++
			if x.end {
				t.Errorf("a segment with an end: %+v", x)
			}
		}
		if x.marker {
			markers++
		}
		if x.end {
			ends++
		}
	}
	last := list[len(list)-1]
	if total := last.stamp - list[0].stamp + uint32(last.units); total != 240000 || markers != 1 || ends != 3 {
		t.Errorf("%d units, %d markers, %d ends", total, markers, ends)
	}
	if len(segments) != 3 || segments[0] != 3 || segments[0xFFFF] != 3 || segments[2*0xFFFF] != 3 {
		t.Errorf("the ends of segments: %v", segments)
	}
}

// What one engine plays another one hears: every digit, its volume and its length, even where two of three packets are
// lost.
func TestTonesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := &quiet{t: t}
		clock := rapid.SampledFrom([]uint32{8000, 16000, 48000}).Draw(t, "clock")
		a, b := keyed(q, clock, false), keyed(q, clock, false)
		var list []media.Tone
		for range rapid.IntRange(1, media.MaxTones).Draw(t, "count") {
			list = append(list, media.Tone{
				Event: rapid.Uint8Range(0, 16).Draw(t, "event"), Volume: rapid.Uint8Range(0, 63).Draw(t, "volume"),
				Duration: rapid.Uint16Range(40, 5000).Draw(t, "duration"),
			})
		}
		a.point(nat.Inside, keyedPBX(clock, tones(uint32(len(list)), list...)))
		var got []media.Digit
		// An end is said three times, of which one arrives. The last ones of a segment may stand between those of the event.
		seen, streak, lost := 0, 0, map[string]int{}
		for range 50 * 1000 / 20 {
			a.pass(20 * time.Millisecond)
			a.sim.Play()
			b.pass(20 * time.Millisecond)
			b.sim.Play()
			for ; seen < len(a.out); seen++ {
				said := a.out[seen].payload[4:] // timestamp, SSRC and what is said of the event
				if streak < 2 && lost[string(said)] < 2 && rapid.IntRange(0, 3).Draw(t, "lost") == 0 {
					streak++
					lost[string(said)]++
					continue
				}
				streak = 0
				b.rtpFrom(phone, []byte(a.out[seen].payload))
			}
			got = append(got, b.heard()...)
		}
		if len(got) != len(list) {
			t.Fatalf("heard %v, played %v", got, list)
		}
		for n, d := range got {
			if d.Event != list[n].Event || d.Volume != list[n].Volume || d.Duration != list[n].Duration {
				t.Errorf("digit %d: heard %v, played %v", n, d, list[n])
			}
		}
	})
}
