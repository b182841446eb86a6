package media_test

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"sallyport/media"
	"sallyport/nat"
)

// While a tone is played nothing is allocated, and while none is, a back end has nothing to ask for.
func TestTonesDoNotAllocate(t *testing.T) {
	s := keyed(t, 8000, false)
	layout := media.Layout{Addresses: sceneConfig().Addresses, First: 30000, Pairs: 50, Blocks: 2, Workers: 1}
	e := media.NewEngine(layout, s.now)
	f := &far{layout: layout, engine: e, base: s.now, now: 1e9}
	p, err := media.New(sceneConfig(), f, 1)
	if err != nil {
		t.Fatal(err)
	}
	id, local, err := p.Reserve(s.now)
	if err != nil {
		t.Fatal(err)
	}
	if due := e.Due(0); due < int64(24*365*time.Hour) {
		t.Errorf("due at %d", due)
	}
	heard := with(public(media.Off), func(w *media.Want) { w.Events = media.Events{Payload: telephoneEvent, Report: true} })
	if err := p.Point(id, nat.Outside, heard); err != nil {
		t.Fatal(err)
	}
	if err := p.Point(id, nat.Inside, keyedPBX(8000, tones(8, slices.Repeat([]media.Tone{tone(1, 5000)}, 8)...))); err != nil {
		t.Fatal(err)
	}
	leg, _ := layout.Leg(local[nat.Outside])
	from, sent, seq := media.EndpointOf(phone), 0, uint16(0)
	send := func(media.Verdict) bool { sent++; return true }
	packet, buf := events(0, 0, 1, report{5, true, 10, 800}), make([]byte, 0, 64)
	if n := testing.AllocsPerRun(500, func() {
		f.now += int64(20 * time.Millisecond)
		if e.Due(0) <= f.now {
			e.Play(f.now, 0, send)
		}
		seq++
		buf = append(buf[:0], packet...)
		binary.BigEndian.PutUint16(buf[2:], seq)
		binary.BigEndian.PutUint32(buf[4:], uint32(seq)*1000)
		e.Packet(f.now, leg, from, buf)
		e.News(0)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if sent < 400 {
		t.Errorf("%d packets sent", sent)
	}
	if got := len(p.Sweep(s.now)); got < 8 {
		t.Errorf("%d hints", got)
	}
}

// A new engine goes on where the one before was: no digit is played or told twice, none is lost that was told to signalling's
// table, and one that lasts is heard to its end.
func TestDigitsInAnotherEngine(t *testing.T) {
	f := &far{}
	p, err := media.New(farConfig(false, 2), f, 1)
	if err != nil {
		t.Fatal(err)
	}
	id, local, err := p.Reserve(f.clock())
	if err != nil {
		t.Fatal(err)
	}
	out, sent := 0, []uint8{}
	worker := func() int { n, _ := f.layout.Leg(local[0]); return f.layout.Worker(n) }()
	run := func(d time.Duration) {
		for range d / (5 * time.Millisecond) {
			f.now += int64(5 * time.Millisecond)
			f.engine.Play(f.now, worker, func(v media.Verdict) bool {
				out++
				if v.Data[1]&0x80 != 0 {
					sent = append(sent, v.Data[12])
				}
				return true
			})
		}
	}
	hear := func(seq uint16, stamp uint32, r report) {
		leg, _ := f.layout.Leg(local[nat.Outside])
		f.engine.Packet(f.now, leg, media.EndpointOf(phone), append(make([]byte, 0, 64), events(seq, stamp, 9, r)...))
	}
	var got []uint16
	sweep := func() {
		for _, h := range p.Sweep(f.clock()) {
			if h.Kind == media.Heard {
				got = append(got, h.Duration)
			}
		}
	}
	point := func(side nat.Side, w media.Want) {
		if err := p.Point(id, side, w); err != nil {
			t.Fatal(err)
		}
	}
	point(nat.Outside, with(public(media.Off), func(w *media.Want) { w.Events = media.Events{Payload: telephoneEvent, Report: true} }))
	point(nat.Inside, keyedPBX(8000, tones(3, tone(1, 100), tone(2, 100), tone(3, 100))))
	run(250 * time.Millisecond)
	hear(1, 1000, report{5, true, 10, 800})
	hear(2, 3000, report{6, false, 10, 800})
	f.crash() // nobody has swept; the second tone sounds
	hear(3, 3000, report{6, true, 10, 1600})
	sweep()
	run(2 * time.Second)
	if !slices.Equal(sent, []uint8{1, 2, 3}) {
		t.Errorf("began %v", sent)
	}
	hear(4, 3000, report{6, true, 10, 1600})
	hear(5, 9000, report{7, true, 10, 2400})
	sweep()
	f.crash()
	hear(6, 9000, report{7, true, 10, 2400}) // its end once more
	sweep()
	hear(7, 19000, report{7, true, 10, 3200})
	sweep()
	run(time.Second)
	if want := []uint16{100, 200, 300, 400}; !slices.Equal(got, want) || len(sent) != 3 {
		t.Errorf("heard %v, want %v; began %v", got, want, sent)
	}
}

// The ports of a call that was played tones play none to the next one.
func TestTonesEndWithTheirCall(t *testing.T) {
	s := keyed(t, 8000, false)
	s.point(nat.Inside, keyedPBX(8000, tones(2, tone(1, 5000), tone(2, 5000))))
	s.rtpFrom(phone, events(1, 1000, 1, report{5, false, 10, 800}))
	s.tick(100 * time.Millisecond)
	s.plane.Release(s.now, s.id)
	s.out = nil
	for range 50 { // every pair is used again
		s.pass(2 * time.Second)
		id, _, err := s.plane.Reserve(s.now)
		if err != nil {
			t.Fatal(err)
		}
		for side, w := range [2]media.Want{public(media.Off), with(want("pbx"), func(w *media.Want) { w.RTP = pbx })} {
			if err := s.plane.Point(id, nat.Side(side), w); err != nil {
				t.Fatal(err)
			}
		}
		s.sim.Play()
	}
	s.tick(time.Second)
	if len(s.out) != 0 || slices.ContainsFunc(s.plane.Sweep(s.now), func(h media.Hint) bool { return h.Kind == media.Heard }) {
		t.Errorf("%d packets", len(s.out))
	}
}
