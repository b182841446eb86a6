package media_test

import (
	"math"
	"net/netip"
	"slices"
	"testing"
	"time"

	pionrtp "github.com/pion/rtp"
	"pgregory.net/rapid"

	"sallyport/media"
	"sallyport/nat"
)

// bare is a back end that holds nothing but the engine, for tests of the packet function itself.
type bare struct {
	engine *media.Engine
	layout media.Layout
	now    int64
}

func (b *bare) Open(l media.Layout, _ media.Listener) (*media.Board, error) {
	b.layout, b.engine, b.now = l, media.NewEngine(l, time.Unix(1e9, 0)), 1e9
	return b.engine.Board(), nil
}
func (b *bare) Post(c media.Command) { b.engine.Apply(b.now, &c) }
func (b *bare) Close() error         { return nil }

// bareCall is a call on a bare engine: the leg numbers of its RTP ports.
func bareCall(t testing.TB, outside, inside media.Want) (b *bare, p *media.Plane, id media.ID, legs [2]int) {
	b = &bare{}
	p, err := media.New(sceneConfig(), b, 1)
	if err != nil {
		t.Fatal(err)
	}
	id, local, err := p.Reserve(time.Unix(1e9+1, 0))
	if err != nil {
		t.Fatal(err)
	}
	for side, w := range []media.Want{outside, inside} {
		if err := p.Point(id, nat.Side(side), w); err != nil {
			t.Fatal(err)
		}
		legs[side], _ = b.layout.Leg(local[side])
	}
	return b, p, id, legs
}

func insideWant() media.Want {
	return with(want("pbx"), func(w *media.Want) { w.RTP = pbx })
}

// The gate of the hot path: nothing is allocated, whatever arrives.
func TestPacketDoesNotAllocate(t *testing.T) {
	b, _, _, legs := bareCall(t, natted(media.Strict), insideWant())
	from := media.EndpointOf(phone)
	stranger := media.EndpointOf(third)
	packets := [][]byte{rtp(0, 1, 1), rtp(0, 2, 1), rtcp(1), stun(), nil, {1}}
	n := testing.AllocsPerRun(1000, func() {
		b.now += 20e6
		for _, p := range packets {
			for leg := range legs {
				for i := range 2 {
					v := b.engine.Packet(b.now, legs[leg]+i, from, p)
					if v.Why == media.Accepted && b.now%7 == 0 {
						b.engine.Unsent(v)
					}
					b.engine.Packet(b.now, legs[leg]+i, stranger, p)
				}
			}
		}
	})
	if n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

// Warming tells who sends what comes on a leg, and leaves all that is known of it as it is.
func TestWarm(t *testing.T) {
	b, p, id, legs := bareCall(t, natted(media.Strict), insideWant())
	from := media.EndpointOf(phone)
	for seq := range uint16(5) {
		b.now += 20e6
		b.engine.Packet(b.now, legs[nat.Outside], from, rtp(0, seq, 1))
	}
	before, _ := p.Stats(id)
	if n := testing.AllocsPerRun(10, func() {
		for leg := range b.layout.Legs() {
			b.engine.Warm(leg)
		}
		b.engine.Warm(-1) // a bug of the back end is judged, not stumbled over
		b.engine.Warm(b.layout.Legs())
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if after, _ := p.Stats(id); after != before {
		t.Errorf("was %+v, is %+v", before, after)
	}
	for side, leg := range legs {
		if out, touched := b.engine.Warm(leg); int(out) != legs[1-side] || touched == 0 {
			t.Errorf("leg %d is sent by %d (%d), want %d", leg, out, touched, legs[1-side])
		}
	}
	free := (max(legs[0], legs[1]) + 2) % b.layout.Legs()
	if out, touched := b.engine.Warm(free); out != 0 || touched != 0 {
		t.Errorf("free leg %d: %d, %d", free, out, touched)
	}
}

func BenchmarkPacket(b *testing.B) {
	e, _, _, legs := bareCall(b, public(media.Strict), insideWant())
	from, packet := media.EndpointOf(phone), rtp(0, 1, 1)
	b.ReportAllocs()
	for b.Loop() {
		e.now += 20e6
		packet[3]++
		if packet[3] == 0 {
			packet[2]++
		}
		e.engine.Packet(e.now, legs[nat.Outside], from, packet)
	}
}

// BenchmarkPacketOfMany is the packet of one of a thousand calls, each with its own rows of the tables, as they are met on the
// way.
func BenchmarkPacketOfMany(b *testing.B) {
	cfg := sceneConfig()
	cfg.First, cfg.Last = 20000, 22999
	back := &bare{}
	p, err := media.New(cfg, back, 1)
	if err != nil {
		b.Fatal(err)
	}
	var legs []int
	for range 1000 {
		id, local, err := p.Reserve(time.Unix(1e9+1, 0))
		if err != nil {
			b.Fatal(err)
		}
		for side, w := range []media.Want{public(media.Strict), insideWant()} {
			if err := p.Point(id, nat.Side(side), w); err != nil {
				b.Fatal(err)
			}
		}
		leg, _ := back.layout.Leg(local[nat.Outside])
		legs = append(legs, leg)
	}
	from, packet, seq := media.EndpointOf(phone), rtp(0, 1, 1), uint16(0)
	b.ReportAllocs()
	for b.Loop() {
		back.now += 20e6
		seq++
		packet[2], packet[3] = byte(seq>>8), byte(seq)
		for _, leg := range legs {
			back.engine.Packet(back.now, leg, from, packet)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(legs)), "ns/packet")
}

// What the relay reports about a stream: packets, bytes, losses, changes of SSRC.
func TestStatistics(t *testing.T) {
	s := newScene(t, public(media.Off))
	s.talk(phone, 1, 1, 10)
	s.talk(phone, 1, 14, 6) // 11, 12, 13 are lost
	s.rtcpFrom(phoneRTCP, rtcp(1))
	s.rtpFrom(third, rtp(0, 1, 1))
	s.rtcpFrom(third, rtcp(1))
	s.talk(phone, 2, 500, 4) // the first packet of another SSRC may be a stray one; it counts as packet only
	s.talk(phone, 2, 506, 2) // 504, 505 are lost
	s.expect(phone)
	legs, _ := s.plane.Stats(s.id)
	out, in := legs[nat.Outside], legs[nat.Inside]
	if out.Packets != 22 || out.Bytes != 22*172 || out.Control != 1 || out.Lost != 5 || out.SSRCChanges != 1 {
		t.Errorf("outside %+v", out)
	}
	if out.RejectedTotal() != 2 || out.Rejected[media.RejectedSource] != 2 {
		t.Errorf("rejected %v", out.Rejected)
	}
	if out.Sent != 1 || in.Sent != 23 || in.Packets != 1 || out.Remote != phone || out.Latched {
		t.Errorf("outside %+v, inside %+v", out, in)
	}
	if !out.LastSeen.Equal(s.now) {
		t.Errorf("last seen %v, now %v", out.LastSeen, s.now)
	}
	if g := s.plane.Gauges(); g.Rejected[media.RejectedSource] != 2 {
		t.Errorf("gauges %+v", g)
	}
}

// A second SSRC between the packets of the first (RFC 4588) is no change.
func TestInterleavedSSRC(t *testing.T) {
	s := newScene(t, public(media.Off))
	for n := range uint16(10) {
		s.talk(phone, 1, n, 1)
		s.talk(phone, 2, 1000+n, 1)
	}
	if st := s.outside(); st.SSRCChanges != 0 || st.Lost != 0 || st.Packets != 20 {
		t.Fatalf("%+v", st)
	}
}

// The jitter against the formula of RFC 3550 §6.4.1 in floating point.
func TestJitter(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		clock := rapid.SampledFrom([]uint32{8000, 16000, 48000, 90000}).Draw(rt, "clock")
		stamp := rapid.Uint32().Draw(rt, "stamp")
		s := newScene(t, with(public(media.Off), func(w *media.Want) { w.Clock = clock }))
		var jitter, before float64
		sent := time.Duration(0)
		for n := range uint16(50) {
			late := time.Duration(rapid.IntRange(0, 19).Draw(rt, "ms")) * time.Millisecond
			arrival := sent + late
			s.now = time.Date(2030, 1, 1, 0, 0, 1, 0, time.UTC).Add(arrival)
			p := pionrtp.Packet{Header: pionrtp.Header{Version: 2, PayloadType: 111, SequenceNumber: n, SSRC: 1, Timestamp: stamp + uint32(sent.Seconds()*float64(clock))}}
			s.rtpFrom(phone, must(p.Marshal()))
			if n > 0 {
				jitter += (math.Abs(late.Seconds()-before) - jitter) / 16
			}
			before = late.Seconds()
			sent += 20 * time.Millisecond
		}
		if got := s.outside().Jitter.Seconds(); math.Abs(got-jitter) > 1e-6 {
			rt.Fatalf("jitter %v s, want %v s", got, jitter)
		}
	})
}

// Packets of one timestamp, as in a telephone event, and a clock that is set anew leave the jitter alone.
func TestJitterOfEvents(t *testing.T) {
	s := newScene(t, public(media.Off))
	s.talk(phone, 1, 1, 5)
	for n := range uint16(20) {
		p := pionrtp.Packet{Header: pionrtp.Header{Version: 2, PayloadType: 101, SequenceNumber: 6 + n, SSRC: 1, Timestamp: 5 * 160}}
		s.pass(20 * time.Millisecond)
		s.rtpFrom(phone, must(p.Marshal()))
	}
	if st := s.outside(); st.Jitter != 0 || st.Lost != 0 {
		t.Fatalf("%+v", st)
	}
	p := pionrtp.Packet{Header: pionrtp.Header{Version: 2, SequenceNumber: 26, SSRC: 1, Timestamp: 1 << 30}}
	s.rtpFrom(phone, must(p.Marshal()))
	if st := s.outside(); st.Jitter != 0 {
		t.Fatalf("%+v", st)
	}
}

// FuzzPacket throws anything at a call in any latch mode. Whatever happens, a packet goes only where signalling said,
// and comes only from whom signalling vouched for.
func FuzzPacket(f *testing.F) {
	for _, seed := range [][]byte{rtp(0, 1, 1), rtcp(1), stun(), dtls(), {}, {0x80}, tagged(rtp(0, 2, 1))} {
		for mode := range uint8(3) {
			f.Add(mode, uint8(0), uint8(1), seed)
			f.Add(mode|0x1c, uint8(1), uint8(0), seed)
		}
	}
	sources := []netip.AddrPort{phone, mappedPort, third, pbx, phoneRTCP, netip.MustParseAddrPort("203.0.113.10:30000"), {}}
	f.Fuzz(func(t *testing.T, how, where, who uint8, buf []byte) {
		outside := with(natted(media.Mode(how%3)), func(w *media.Want) {
			w.Mux, w.Opaque, w.Receive = how&4 != 0, how&8 != 0, how&16 == 0
		})
		b, _, _, legs := bareCall(t, outside, insideWant())
		from := sources[int(who)%len(sources)]
		leg := legs[where&1] + int(where>>1&1)
		kept := slices.Clone(buf)
		for range 5 {
			b.now += 200e6
			v := b.engine.Packet(b.now, leg, media.EndpointOf(from), buf)
			if v.Why != media.Accepted {
				continue
			}
			if from.Addr() != phone.Addr() && from.Addr() != pbx.Addr() {
				t.Fatalf("a packet from %v was relayed", from)
			}
			to := v.To.AddrPort()
			if int(v.Out) < 0 || int(v.Out) >= b.layout.Legs() || v.Out == int32(leg) || int(v.Out)/2 == leg/2 {
				t.Fatalf("leg %d relays to leg %d", leg, v.Out)
			}
			if to.Addr() != phone.Addr() && to.Addr() != pbx.Addr() {
				t.Fatalf("relayed to %v", to)
			}
		}
		if !slices.Equal(kept, buf) {
			t.Fatal("the datagram was changed")
		}
	})
}
