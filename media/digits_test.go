package media_test

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	pionrtp "github.com/pion/rtp"
	"pgregory.net/rapid"

	"sallyport/media"
	"sallyport/nat"
)

const telephoneEvent = 101

// report is a packet of one event.
type report struct {
	event  uint8
	end    bool
	volume uint8
	units  uint16
}

// events is a packet of telephone events, one behind the other.
func events(seq uint16, stamp, ssrc uint32, list ...report) []byte {
	var payload []byte
	for _, r := range list {
		second := r.volume
		if r.end {
			second |= 0x80
		}
		payload = binary.BigEndian.AppendUint16(append(payload, r.event, second), r.units)
	}
	p := pionrtp.Packet{
		Header:  pionrtp.Header{Version: 2, PayloadType: telephoneEvent, SequenceNumber: seq, Timestamp: stamp, SSRC: ssrc},
		Payload: payload,
	}
	return must(p.Marshal())
}

// keyed is a scene whose phone and PBX both know telephone events. The phone's are told, and not relayed if they are
// converted.
func keyed(t testing.TB, clock uint32, converted bool) *scene {
	w := with(public(media.Off), func(w *media.Want) {
		w.Events = media.Events{Payload: telephoneEvent, Clock: clock, Report: true}
		if converted {
			w.Numbers[telephoneEvent] = media.Discard
		}
	})
	s := newScene(t, w)
	s.point(nat.Inside, keyedPBX(clock, media.Tones{}))
	return s
}

// keyedPBX is the PBX's leg, which is played tones.
func keyedPBX(clock uint32, tones media.Tones) media.Want {
	return with(want("pbx"), func(w *media.Want) {
		w.RTP, w.Continuous, w.Events, w.Tones = pbx, true, media.Events{Payload: telephoneEvent, Clock: clock}, tones
	})
}

// tick lets time pass in steps of a millisecond, as a back end that rings in time.
func (s *scene) tick(d time.Duration) {
	for range d / time.Millisecond {
		s.pass(time.Millisecond)
		s.sim.Play()
	}
}

// heard are the digits that a sweep tells of.
func (s *scene) heard() (list []media.Digit) {
	for _, h := range s.plane.Sweep(s.now) {
		if h.Kind == media.Heard {
			if h.ID != s.id || h.Side != nat.Outside {
				s.t.Errorf("of %v on %v", h.ID, h.Side)
			}
			list = append(list, h.Digit)
		}
	}
	return list
}

func digits(list ...media.Digit) []media.Digit { return list }

func TestDigitsAreHeardOnce(t *testing.T) {
	five := media.Digit{Event: 5, Volume: 10, Duration: 100}
	at := func(units uint16) report { return report{5, false, 10, units} }
	over := func(units uint16) report { return report{5, true, 10, units} }
	for _, tt := range []struct {
		name    string
		clock   uint32
		packets [][]byte
		wait    time.Duration
		want    []media.Digit
	}{
		{"as it should be", 8000, [][]byte{
			events(1, 1000, 1, at(160)), events(2, 1000, 1, at(480)), events(3, 1000, 1, over(800)), events(4, 1000, 1, over(800)), events(5, 1000, 1, over(800)),
		}, 0, digits(five)},
		{"only the last end arrives", 8000, [][]byte{events(5, 1000, 1, over(800))}, 0, digits(five)},
		{"no end arrives", 8000, [][]byte{events(1, 1000, 1, at(160)), events(2, 1000, 1, at(800))}, time.Second, digits(five)},
		{"no end has arrived yet", 8000, [][]byte{events(1, 1000, 1, at(160)), events(2, 1000, 1, at(800))}, 100 * time.Millisecond, nil},
		{"the next one begins instead of an end", 8000, [][]byte{
			events(1, 1000, 1, at(800)), events(6, 3000, 1, report{11, true, 7, 1600}),
		}, 0, digits(five, media.Digit{Event: 11, Volume: 7, Duration: 200})},
		{"twice the same", 8000, [][]byte{
			events(1, 1000, 1, over(800)), events(2, 1000, 1, over(800)), events(3, 3000, 1, over(800)), events(4, 3000, 1, over(800)),
		}, 0, digits(five, five)},
		{"an end comes behind the next beginning", 8000, [][]byte{
			events(1, 1000, 1, over(800)), events(3, 3000, 1, at(160)), events(2, 1000, 1, over(800)), events(4, 3000, 1, over(800)),
		}, 0, digits(five, five)},
		{"updates come out of order", 8000, [][]byte{
			events(1, 1000, 1, at(160)), events(3, 1000, 1, at(640)), events(2, 1000, 1, at(320)), events(4, 1000, 1, over(800)),
		}, 0, digits(five)},
		{"a clock of 48 kHz", 48000, [][]byte{events(1, 1000, 1, at(960)), events(2, 1000, 1, over(4800))}, 0, digits(five)},
		{"longer than the field (RFC 4733 §2.5.1.3)", 8000, [][]byte{
			events(1, 1000, 1, at(0xFFFF)), events(2, 1000, 1, at(0xFFFF)), events(3, 1000+0xFFFF, 1, at(160)),
			events(4, 1000+0xFFFF, 1, over(801)),
		}, 0, digits(media.Digit{Event: 5, Volume: 10, Duration: (0xFFFF + 801) / 8})},
		{"longer than can be told", 8000, longEvent(20), 0, digits(media.Digit{Event: 5, Volume: 10, Duration: 65535})},
		{"several in a packet (RFC 4733 §2.5.1.5)", 8000, [][]byte{
			events(1, 1000, 1, over(800), report{6, true, 10, 800}), events(2, 1000, 1, over(800), report{6, true, 10, 800}, at(160)),
			events(3, 2600, 1, over(800)),
		}, 0, digits(five, media.Digit{Event: 6, Volume: 10, Duration: 100}, five)},
		{"a sender whose clock stands still", 8000, [][]byte{
			events(1, 1000, 1, over(800)), events(2, 1000, 1, over(800)), events(3, 1000, 1, report{6, true, 10, 800}),
		}, 0, digits(five, media.Digit{Event: 6, Volume: 10, Duration: 100})},
		{"another source takes over", 8000, [][]byte{events(1, 1000, 1, at(800)), events(1, 1000, 2, over(800))}, 0, digits(five, five)},
		{"volume with the reserved bit", 8000, [][]byte{events(1, 1000, 1, report{5, true, 0x4a, 800})}, 0, digits(five)},
		{"cut short", 8000, [][]byte{events(1, 1000, 1, over(800))[:15], events(1, 1000, 1)}, time.Second, nil},
		{"not telephone events", 8000, [][]byte{rtp(0, 1, 1)}, time.Second, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := keyed(t, tt.clock, false)
			for _, p := range tt.packets {
				if why := s.rtpFrom(phone, p); why != media.Accepted {
					t.Errorf("not relayed: %v", why)
				}
				s.tick(20 * time.Millisecond)
			}
			s.tick(tt.wait)
			if got := s.heard(); !slices.Equal(got, tt.want) {
				t.Errorf("heard %v, want %v", got, tt.want)
			}
			if again := s.heard(); len(again) != 0 {
				t.Errorf("heard %v again", again)
			}
		})
	}
}

// longEvent is one of so many whole segments.
func longEvent(segments uint32) (list [][]byte) {
	for n := range segments {
		list = append(list, events(uint16(n), 1000+n*0xFFFF, 1, report{5, n == segments-1, 10, 0xFFFF}))
	}
	return list
}

// What is converted is not relayed, what comes while the peer may not be heard is not told, and nothing is told unasked.
func TestDigitsAreToldWhereTheyAreWanted(t *testing.T) {
	over := events(1, 1000, 1, report{5, true, 10, 800})
	s := keyed(t, 8000, true)
	if why := s.rtpFrom(phone, over); why != media.RejectedDiscarded {
		t.Errorf("converted: %v", why)
	}
	if len(s.heard()) != 1 {
		t.Error("not heard")
	}
	s.point(nat.Outside, with(public(media.Off), func(w *media.Want) {
		w.Events, w.Receive = media.Events{Payload: telephoneEvent, Report: true}, false
	}))
	s.rtpFrom(phone, events(2, 5000, 1, report{5, true, 10, 800}))
	s.point(nat.Outside, with(public(media.Off), func(w *media.Want) { w.Events = media.Events{Payload: telephoneEvent} }))
	s.rtpFrom(phone, events(3, 9000, 1, report{5, true, 10, 800}))
	s.point(nat.Outside, public(media.Off))
	s.rtpFrom(phone, events(4, 15000, 1, report{5, true, 10, 800}))
	if why := s.rtpFrom(third, events(4, 15000, 1, report{5, true, 10, 800})); why != media.RejectedSource {
		t.Errorf("a stranger's: %v", why)
	}
	if got := s.heard(); len(got) != 0 {
		t.Errorf("heard %v", got)
	}
}

// Of more digits than the ring holds the latest are told.
func TestManyDigitsBetweenSweeps(t *testing.T) {
	s := keyed(t, 8000, false)
	for n := range uint16(20) {
		s.rtpFrom(phone, events(n, 1000*uint32(n+1), 1, report{uint8(n % 12), true, 10, 800}))
	}
	got := s.heard()
	if len(got) != 8 || got[0].Event != 0 || got[7].Event != 7 {
		t.Errorf("heard %v", got)
	}
}

// A hint comes at once, and a flood of packets of one event makes one.
func TestDigitsHint(t *testing.T) {
	s := keyed(t, 8000, false)
	s.rtpFrom(phone, events(1, 1000, 1, report{5, false, 10, 800}))
	select {
	case <-s.plane.Hinted():
		t.Error("a hint before the end")
	default:
	}
	for n := range uint16(3) {
		s.rtpFrom(phone, events(2+n, 1000, 1, report{5, true, 10, 800}))
	}
	select {
	case <-s.plane.Hinted():
	default:
		t.Error("no hint")
	}
	s.heard()
	s.rtpFrom(phone, events(6, 1000, 1, report{5, true, 10, 800}))
	select {
	case <-s.plane.Hinted():
		t.Error("a hint of nothing new")
	default:
	}
}

// However packets are lost, repeated and swapped with their neighbours: as long as one of each event arrives before the
// next one begins, each is heard once, in order.
func TestDigitsSurviveTheNetwork(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := keyed(&quiet{TB: nil, t: t}, 8000, false)
		var want []uint8
		var got []media.Digit
		seq, stamp := uint16(rapid.Uint32().Draw(t, "seq")), rapid.Uint32().Draw(t, "stamp")
		for range rapid.IntRange(1, 8).Draw(t, "digits") {
			event := rapid.Uint8Range(0, 16).Draw(t, "event")
			updates := rapid.IntRange(1, 10).Draw(t, "updates")
			var list [][]byte
			for n := range updates + 3 {
				list = append(list, events(seq, stamp, 9, report{event, n >= updates, 10, uint16(min(n+1, updates+1) * 160)}))
				seq++
			}
			kept := list[rapid.IntRange(0, len(list)-1).Draw(t, "survivor")]
			for i := range list {
				if rapid.IntRange(0, 9).Draw(t, "swap") == 0 && i > 0 {
					list[i-1], list[i] = list[i], list[i-1]
				}
			}
			for _, p := range list {
				if rapid.Bool().Draw(t, "lost") && &p[0] != &kept[0] {
					continue
				}
				for range rapid.IntRange(1, 2).Draw(t, "copies") {
					s.rtpFrom(phone, p)
				}
				s.tick(20 * time.Millisecond)
			}
			want = append(want, event)
			stamp += uint32(updates+1)*160 + rapid.Uint32Range(1, 8000).Draw(t, "gap")
			got = append(got, s.heard()...)
		}
		s.tick(time.Second)
		got = append(got, s.heard()...)
		var codes []uint8
		for _, d := range got {
			codes = append(codes, d.Event)
		}
		if !slices.Equal(codes, want) {
			t.Fatalf("heard %v, want %v", codes, want)
		}
	})
}

// quiet makes of a rapid.T what a scene wants.
type quiet struct {
	testing.TB
	t *rapid.T
}

func (q *quiet) Fatal(args ...any)                 { q.t.Fatal(args...) }
func (q *quiet) Errorf(format string, args ...any) { q.t.Errorf(format, args...) }
func (q *quiet) Helper()                           {}
