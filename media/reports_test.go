package media_test

import (
	"net/netip"
	"testing"
	"time"

	pionrtcp "github.com/pion/rtcp"
	"pgregory.net/rapid"

	"sallyport/media"
	"sallyport/nat"
)

// Both peers of the scene's reports: the phone outside with SSRC 1, the PBX inside with SSRC 77.
const (
	callerSSRC = 1
	calleeSSRC = 77
)

// ntp is a moment of some sender's own clock, which has nothing to do with ours.
func ntp(at time.Time) uint64 {
	d := at.Sub(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC))
	return uint64(d/time.Second)<<32 | uint64(d%time.Second)<<32/uint64(time.Second)
}

func middle(ntp uint64) uint32 { return uint32(ntp >> 16) }

func sender(ssrc uint32, at uint64, blocks ...pionrtcp.ReceptionReport) []byte {
	return must(pionrtcp.Marshal([]pionrtcp.Packet{
		&pionrtcp.SenderReport{SSRC: ssrc, NTPTime: at, RTPTime: 160, PacketCount: 1, OctetCount: 160, Reports: blocks},
		pionrtcp.NewCNAMESourceDescription(ssrc, "a@b"),
	}))
}

func receiver(ssrc uint32, blocks ...pionrtcp.ReceptionReport) []byte {
	return must(pionrtcp.Marshal([]pionrtcp.Packet{&pionrtcp.ReceiverReport{SSRC: ssrc, Reports: blocks}, pionrtcp.NewCNAMESourceDescription(ssrc, "a@b")}))
}

// speaking is an answered call on which both have spoken.
func speaking(t testing.TB) *scene {
	s := newScene(t, public(media.Off))
	for n := range 200 {
		s.both(uint16(n))
	}
	return s
}

// both sends a packet from either side.
func (s *scene) both(n uint16) {
	s.pass(20 * time.Millisecond)
	s.rtpFrom(phone, rtp(0, n, callerSSRC))
	s.sim.Inject(s.local[nat.Inside], pbx, rtp(0, n, calleeSSRC))
}

func (s *scene) pbxReports(payload []byte) media.Rejection {
	at := s.local[nat.Inside]
	return s.sim.Inject(netip.AddrPortFrom(at.Addr(), at.Port()+1), pbxRTCP, payload)
}

func (s *scene) legs() [2]media.LegStats {
	legs, ok := s.plane.Stats(s.id)
	if !ok {
		s.t.Fatal("no stats")
	}
	return legs
}

// What the phone says of the PBX's audio is a figure of its leg; the round trip is that between us and it, whatever the
// clocks of both say.
func TestReports(t *testing.T) {
	s := speaking(t)
	stamp := ntp(s.now)
	s.pbxReports(sender(calleeSSRC, stamp))
	s.pass(75 * time.Millisecond) // 45 ms on the way there and back, 30 ms at the phone
	s.rtcpFrom(phoneRTCP, receiver(callerSSRC, pionrtcp.ReceptionReport{
		SSRC: calleeSSRC, FractionLost: 12, TotalLost: 7, LastSequenceNumber: 199, Jitter: 24, LastSenderReport: middle(stamp), Delay: 30 * 65536 / 1000,
	}))
	legs := s.legs()
	out, in := &legs[nat.Outside], &legs[nat.Inside]
	if out.Reports != 1 || out.FarLost != 7 || out.FarSent != 200 || out.FarJitter != 3*time.Millisecond {
		t.Errorf("%+v", out)
	}
	if d := out.RoundTrip - 45*time.Millisecond; d < -100*time.Microsecond || d > 100*time.Microsecond {
		t.Errorf("round trip %v, want 45 ms", out.RoundTrip)
	}
	if in.Reports != 0 || in.RoundTrip != 0 {
		t.Errorf("the PBX has said nothing: %+v", in)
	}
	// The other way round, in a sender's report.
	stamp = ntp(s.now)
	s.rtcpFrom(phoneRTCP, sender(callerSSRC, stamp))
	s.pass(5 * time.Millisecond)
	s.pbxReports(sender(calleeSSRC, 1<<40, pionrtcp.ReceptionReport{SSRC: 99}, pionrtcp.ReceptionReport{SSRC: callerSSRC, TotalLost: 1<<24 - 3, LastSenderReport: middle(stamp)}))
	legs = s.legs()
	if in.Reports != 1 || in.FarLost != 0 || in.RoundTrip != 5*time.Millisecond {
		t.Errorf("%+v", in)
	}
}

// A report about somebody else, one of a time stamp that nobody sent, and one that cannot be true change no figure, and
// are relayed all the same.
func TestReportsOfOthers(t *testing.T) {
	s := speaking(t)
	stamp := ntp(s.now)
	s.pbxReports(sender(calleeSSRC, stamp))
	s.pass(10 * time.Millisecond)
	whole := receiver(callerSSRC, pionrtcp.ReceptionReport{SSRC: calleeSSRC, TotalLost: 5, LastSenderReport: middle(stamp)})
	for name, payload := range map[string][]byte{
		"of another stream": receiver(callerSSRC, pionrtcp.ReceptionReport{SSRC: 4711, TotalLost: 5, LastSenderReport: middle(stamp)}),
		"without blocks":    receiver(callerSSRC),
		"more behind it":    append(append([]byte(nil), whole...), 1, 2, 3, 4, 5),
		"more blocks said":  append([]byte{whole[0] + 1}, whole[1:]...)[:32],
	} {
		if why := s.rtcpFrom(phoneRTCP, payload); why != media.Accepted {
			t.Errorf("%s: %v", name, why)
		}
		legs := s.legs()
		if out := &legs[nat.Outside]; out.Reports != 0 || out.RoundTrip != 0 {
			t.Errorf("%s: %+v", name, out)
		}
	}
	for _, lsr := range []uint32{0, 12345} {
		s.rtcpFrom(phoneRTCP, receiver(callerSSRC, pionrtcp.ReceptionReport{SSRC: calleeSSRC, TotalLost: 5, LastSenderReport: lsr}))
	}
	s.pass(2 * time.Minute)
	s.rtcpFrom(phoneRTCP, whole)
	legs := s.legs()
	if out := &legs[nat.Outside]; out.FarLost != 5 || out.RoundTrip != 0 {
		t.Errorf("%+v", out)
	}
}

// A new stream to the peer begins a new count; what was lost before stays lost.
func TestReportsOfSeveralStreams(t *testing.T) {
	s := speaking(t)
	say := func(ssrc, lost uint32) {
		s.rtcpFrom(phoneRTCP, receiver(callerSSRC, pionrtcp.ReceptionReport{SSRC: ssrc, TotalLost: lost}))
	}
	say(calleeSSRC, 3)
	say(calleeSSRC, 4)
	for n := range uint16(3) {
		s.sim.Inject(s.local[nat.Inside], pbx, rtp(0, 9000+n, 78))
	}
	say(calleeSSRC, 9) // late, of the stream before
	say(78, 2)
	say(78, 6)
	if legs := s.legs(); legs[nat.Outside].FarLost != 4+6 {
		t.Errorf("%+v", legs[nat.Outside])
	}
}

// Of a peer that hears one stream whatever happens behind us the reports are of that one.
func TestReportsOfContinuity(t *testing.T) {
	w := with(public(media.Off), func(w *media.Want) { w.Continuous = true })
	s := newScene(t, w)
	for n := range uint16(60) {
		s.sim.Inject(s.local[nat.Inside], pbx, rtp(0, n, calleeSSRC))
		s.pass(20 * time.Millisecond)
	}
	for n := range uint16(60) { // another source behind the PBX
		s.sim.Inject(s.local[nat.Inside], pbx, rtp(0, 30000+n, 78))
		s.pass(20 * time.Millisecond)
	}
	s.rtpFrom(phone, rtp(0, 1, callerSSRC))
	stamp := ntp(s.now)
	s.pbxReports(sender(78, stamp))
	s.pass(8 * time.Millisecond)
	s.rtcpFrom(phoneRTCP, receiver(callerSSRC, pionrtcp.ReceptionReport{SSRC: calleeSSRC, TotalLost: 2, LastSenderReport: middle(stamp)}))
	if legs := s.legs(); legs[nat.Outside].FarLost != 2 || legs[nat.Outside].RoundTrip != 8*time.Millisecond {
		t.Errorf("%+v", legs[nat.Outside])
	}
}

// RTCP on the RTP port says the same.
func TestReportsOnOnePort(t *testing.T) {
	s := newScene(t, with(public(media.Off), func(w *media.Want) { w.Mux = true }))
	for n := range 10 {
		s.both(uint16(n))
	}
	stamp := ntp(s.now)
	s.pbxReports(sender(calleeSSRC, stamp))
	s.pass(9 * time.Millisecond)
	s.rtpFrom(phone, receiver(callerSSRC, pionrtcp.ReceptionReport{SSRC: calleeSSRC, TotalLost: 1, LastSenderReport: middle(stamp)}))
	if legs := s.legs(); legs[nat.Outside].FarLost != 1 || legs[nat.Outside].RoundTrip != 9*time.Millisecond {
		t.Errorf("%+v", legs[nat.Outside])
	}
}

// Who only listens measures by extended reports (RFC 3611 §4.4, §4.5), and may say how it sounded (§4.7).
func TestExtendedReports(t *testing.T) {
	s := speaking(t)
	stamp := ntp(s.now)
	s.pbxReports(must(pionrtcp.Marshal([]pionrtcp.Packet{
		&pionrtcp.ReceiverReport{SSRC: calleeSSRC},
		&pionrtcp.ExtendedReport{SenderSSRC: calleeSSRC, Reports: []pionrtcp.ReportBlock{&pionrtcp.ReceiverReferenceTimeReportBlock{NTPTimestamp: stamp}}},
	})))
	s.pass(30 * time.Millisecond)
	s.rtcpFrom(phoneRTCP, must(pionrtcp.Marshal([]pionrtcp.Packet{
		&pionrtcp.ReceiverReport{SSRC: callerSSRC, Reports: []pionrtcp.ReceptionReport{{SSRC: calleeSSRC, TotalLost: 2}}},
		&pionrtcp.ExtendedReport{SenderSSRC: callerSSRC, Reports: []pionrtcp.ReportBlock{
			&pionrtcp.DLRRReportBlock{Reports: []pionrtcp.DLRRReport{{SSRC: 4, LastRR: 5}, {SSRC: calleeSSRC, LastRR: middle(stamp), DLRR: 10 * 65536 / 1000}}},
			&pionrtcp.VoIPMetricsReportBlock{SSRC: calleeSSRC, LossRate: 3, DiscardRate: 64, EndSystemDelay: 80, RFactor: 80, MOSLQ: 41, MOSCQ: 127},
			&pionrtcp.VoIPMetricsReportBlock{SSRC: 4711, DiscardRate: 1, MOSCQ: 11},
		}},
	})))
	legs := s.legs()
	out := &legs[nat.Outside]
	if d := out.RoundTrip - 20*time.Millisecond; d < -100*time.Microsecond || d > 100*time.Microsecond {
		t.Errorf("round trip %v, want 20 ms", out.RoundTrip)
	}
	if out.FarDiscarded != 0.25 || out.FarMOS != 4.1 {
		t.Errorf("%+v", out)
	}
}

// An engine that begins in the middle of a call counts what is lost from then on, beside what the one before counted.
func TestReportsSurvive(t *testing.T) {
	f := &far{}
	p, err := media.New(farConfig(false, 1), f, 1)
	if err != nil {
		t.Fatal(err)
	}
	id, local, err := p.Reserve(f.clock())
	if err != nil {
		t.Fatal(err)
	}
	for side, w := range [2]media.Want{public(media.Off), insideWant()} {
		if err := p.Point(id, nat.Side(side), w); err != nil {
			t.Fatal(err)
		}
	}
	outside, _ := f.layout.Leg(local[nat.Outside])
	inside, _ := f.layout.Leg(local[nat.Inside])
	next := uint16(0)
	hear := func(count int) {
		for range count {
			f.now += int64(20 * time.Millisecond)
			f.engine.Packet(f.now, inside, media.EndpointOf(pbx), rtp(0, next, calleeSSRC))
			next++
		}
	}
	say := func(lost uint32) {
		f.engine.Packet(f.now, outside+1, media.EndpointOf(phoneRTCP), receiver(callerSSRC, pionrtcp.ReceptionReport{SSRC: calleeSSRC, TotalLost: lost}))
	}
	hear(200)
	say(5)
	f.crash()
	hear(100)
	say(8) // three more, but nobody knows which of the engines sent them
	say(9)
	if legs, _ := p.Stats(id); legs[nat.Outside].FarLost != 6 || legs[nat.Outside].FarSent != 300 || legs[nat.Outside].Reports != 3 {
		t.Errorf("%+v", legs[nat.Outside])
	}
}

// Whatever a peer keeps a report and however long it is under way, the round trip comes out right.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := newScene(t, public(media.Off))
		for n := range 3 {
			s.both(uint16(n))
		}
		for range rapid.IntRange(1, 6).Draw(rt, "earlier") {
			s.pbxReports(sender(calleeSSRC, ntp(s.now)))
			s.pass(time.Duration(rapid.IntRange(1, 5000).Draw(rt, "between")) * time.Millisecond)
		}
		stamp := ntp(s.now)
		s.pbxReports(sender(calleeSSRC, stamp))
		for n := rapid.IntRange(0, 3).Draw(rt, "later"); n > 0; n-- {
			s.pass(time.Millisecond)
			s.pbxReports(sender(calleeSSRC, ntp(s.now)))
		}
		sent := s.now.Add(-time.Duration(int64(ntp(s.now)-stamp) * int64(time.Second) >> 32))
		kept := time.Duration(rapid.IntRange(0, 20000).Draw(rt, "kept")) * time.Millisecond
		trip := time.Duration(rapid.IntRange(5, 2000).Draw(rt, "trip")) * time.Millisecond
		s.now = sent.Add(kept + trip)
		s.rtcpFrom(phoneRTCP, receiver(callerSSRC, pionrtcp.ReceptionReport{SSRC: calleeSSRC, LastSenderReport: middle(stamp), Delay: uint32(kept * 65536 / time.Second)}))
		legs := s.legs()
		if d := legs[nat.Outside].RoundTrip - trip; d < -time.Millisecond || d > time.Millisecond {
			rt.Fatalf("round trip %v, want %v", legs[nat.Outside].RoundTrip, trip)
		}
	})
}
