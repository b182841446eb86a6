package sbc_test

import (
	"encoding/binary"
	"encoding/json"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat/natlab"
	"sallyport/sbc/api"
	"sallyport/sbc/tu"
)

// speaker is an endpoint of a call's audio: it speaks G.711, loses on the way what its network loses, and reports by RTCP what
// it heard.
type speaker struct {
	at, gate netip.AddrPort
	ssrc     uint32
	loses    float64 // share of what it sends that its network loses
	random   *rand.Rand

	seq        uint16
	heard, max int    // of the other one
	stamp      uint32 // of the last sender's report heard
	stampAt    time.Time
}

func (e *speaker) speak(l *lab) {
	b := make([]byte, 172)
	b[0] = 0x80
	binary.BigEndian.PutUint16(b[2:], e.seq)
	binary.BigEndian.PutUint32(b[4:], uint32(e.seq)*160)
	binary.BigEndian.PutUint32(b[8:], e.ssrc)
	e.seq++
	if e.random.Float64() >= e.loses {
		l.relay.Inject(e.gate, e.at, b)
	}
}

// report is a sender's report with a block about the other one (RFC 3550 §6.4.1).
func (e *speaker) report(l *lab, other *speaker) {
	b := make([]byte, 52)
	b[0], b[1] = 0x81, 200
	binary.BigEndian.PutUint16(b[2:], 12)
	binary.BigEndian.PutUint32(b[4:], e.ssrc)
	now := time.Now()
	binary.BigEndian.PutUint32(b[8:], uint32(now.Unix()))
	binary.BigEndian.PutUint32(b[12:], uint32(uint64(now.Nanosecond())<<32/1e9))
	binary.BigEndian.PutUint32(b[28:], other.ssrc)
	binary.BigEndian.PutUint32(b[32:], uint32(max(0, e.max-e.heard))&0xffffff)
	binary.BigEndian.PutUint32(b[36:], uint32(e.max))
	binary.BigEndian.PutUint32(b[40:], 16) // 2 ms of jitter
	if e.stamp != 0 {
		binary.BigEndian.PutUint32(b[44:], e.stamp)
		binary.BigEndian.PutUint32(b[48:], uint32(now.Sub(e.stampAt)*65536/time.Second))
	}
	l.relay.Inject(above(e.gate), above(e.at), b)
}

// hear takes in what has reached the endpoint; trip is how long its network takes to and fro.
func (e *speaker) hear(s sound, trip time.Duration) {
	b := []byte(s.payload)
	switch {
	case s.to == e.at:
		e.heard++
		e.max = max(e.max, int(binary.BigEndian.Uint16(b[2:]))+1)
	case s.to == above(e.at):
		// It stands at the gate: what its network takes shows in the time for which it says that it kept the report.
		e.stamp, e.stampAt = binary.BigEndian.Uint32(b[10:]), time.Now().Add(trip)
	}
}

// converse lets both speak for a time.
func (l *lab) converse(a, b *speaker, trip time.Duration, packets int) {
	l.sounds.drain()
	for n := range packets {
		for _, e := range []*speaker{a, b} {
			e.speak(l)
		}
		time.Sleep(20 * time.Millisecond)
		if n%100 == 50 {
			a.report(l, b)
		}
		if n%100 == 60 {
			b.report(l, a)
		}
		for _, s := range l.sounds.drain() {
			a.hear(s, trip)
			b.hear(s, 0)
		}
	}
}

// TestFiguresTellWhereItSoundsBad: a provider that loses packets and is far away, a PBX that is near. `sbc calls ID` and the
// record say so, in the same words.
func TestFiguresTellWhereItSoundsBad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, labConfig, natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		c := l.talk(itsp, pbx, trunkSocket, sdpAt(providerAt.Addr(), 4000), sdpAt(pbxAt.Addr(), 4002))
		provider := &speaker{at: providerSound, gate: told(t, c.shown[0], 0), ssrc: 1, loses: 0.05, random: rand.New(rand.NewPCG(1, 1))}
		office := &speaker{at: pbxSound, gate: told(t, c.shown[1], 0), ssrc: 2, random: rand.New(rand.NewPCG(2, 2))}
		show := func() api.Stream {
			calls, err := l.control(labConfig).Calls(t.Context())
			if err != nil || len(calls) != 1 {
				t.Fatalf("%v, %v", calls, err)
			}
			full, err := l.control(labConfig).Call(t.Context(), calls[0].ID)
			if err != nil || len(full.Streams) != 1 {
				t.Fatalf("%+v, %v", full, err)
			}
			return full.Streams[0]
		}
		l.converse(provider, office, 60*time.Millisecond, 500)
		s := show()
		out, in := s.Outside.LegStats, s.Inside.LegStats
		if s.Codec != "PCMU" || out.Lost < 10 || out.MOSIn < 3 || out.MOSIn > 4.2 || in.Lost != 0 || in.MOSIn < 4.35 {
			t.Errorf("%+v", s)
		}
		// What the PBX hears has the provider's losses in it, what the provider hears has none.
		if in.Reports != 5 || in.FarLost < 10 || in.MOSOut < 3 || in.MOSOut > 4.2 || out.FarLost != 0 || out.MOSOut < 4.3 {
			t.Errorf("%+v", s)
		}
		if out.RoundTrip < 59 || out.RoundTrip > 61 || in.RoundTrip > 30 {
			t.Errorf("round trips %v and %v ms", out.RoundTrip, in.RoundTrip)
		}
		before := out.MOSIn
		provider.loses = 0.4
		l.converse(provider, office, 60*time.Millisecond, 500)
		s = show()
		if out = s.Outside.LegStats; out.MOSIn > before-0.5 {
			t.Errorf("two packets of five are lost, and MOS goes from %v to %v", before, out.MOSIn)
		}
		// A flood from the provider's own address is bounded, and shows by its reason.
		for range 5000 {
			provider.seq++
			l.relay.Inject(provider.gate, provider.at, append([]byte{0x80, 0, byte(provider.seq >> 8), byte(provider.seq)}, make([]byte, 168)...))
		}
		s = show()
		if out = s.Outside.LegStats; out.Rejections["policed"] < 3000 || out.Rejected != out.Rejections["policed"] {
			t.Errorf("%+v", out)
		}
		if text := (&api.Call{Streams: []api.Stream{s}}).Text(time.Now(), time.UTC); !strings.Contains(text, " policed\n") || !strings.Contains(text, ", MOS ") {
			t.Errorf("\n%s", text)
		}
		hangup(c.caller, c.callee)
		time.Sleep(time.Second)
		r := l.record()
		if len(r.Media) != 1 {
			t.Fatalf("%+v", r)
		}
		if got, want := r.Media[0], (tu.StreamStats{Codec: s.Codec, Packet: s.Packet, AsG711: s.AsG711, Outside: s.Outside.LegStats, Inside: s.Inside.LegStats}); text(got) != text(want) {
			t.Errorf("the record says\n%s\nand the listing\n%s", text(got), text(want))
		}
		l.empty()
	})
}

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
