package media_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport/media"
	"sallyport/nat"
)

// policed is a call whose phone may send so much.
func policed(t testing.TB, p media.Police) *scene {
	return newScene(t, with(public(media.Off), func(w *media.Want) { w.Police = p }))
}

// speech is what signalling allows a phone with G.711: the rates of media traffic below are judged by it.
var speech = media.Police{Rate: 300, Size: 1800}

// sized is a packet with so much payload.
func sized(seq uint16, size int) []byte { return append(rtp(0, seq, 1)[:12], make([]byte, size-12)...) }

// What a phone does when all goes wrong is not policed: each trace is the gaps between its packets.
func TestPoliceBearsRealTraffic(t *testing.T) {
	every := func(gap time.Duration, n int) (gaps []time.Duration) {
		for range n {
			gaps = append(gaps, gap)
		}
		return gaps
	}
	stalls := func(gap, stall time.Duration, n int) (gaps []time.Duration) {
		for i := range n {
			gaps = append(gaps, every(gap, 100)...)
			gaps = append(gaps, stall-time.Duration(i)) // and then all at once
			gaps = append(gaps, every(20*time.Microsecond, int(stall/gap))...)
		}
		return gaps
	}
	for name, gaps := range map[string][]time.Duration{
		"20 ms":                     every(20*time.Millisecond, 5000),
		"10 ms":                     every(10*time.Millisecond, 5000),
		"10 ms, each sent twice":    every(5*time.Millisecond, 5000),
		"10 ms, stalls of a second": stalls(10*time.Millisecond, time.Second, 10),
		"10 ms, stall of 5 s":       stalls(10*time.Millisecond, 5*time.Second, 3),
		"5 ms, stalls of 2 s":       stalls(5*time.Millisecond, 2*time.Second, 10),
		"20 ms, stall of 10 s":      stalls(20*time.Millisecond, 10*time.Second, 2),
	} {
		t.Run(name, func(t *testing.T) {
			s := policed(t, speech)
			for n, gap := range gaps {
				s.pass(gap)
				if why := s.rtpFrom(phone, rtp(0, uint16(n), 1)); why != media.Accepted {
					t.Fatalf("packet %d: %v", n, why)
				}
			}
		})
	}
}

// A flood from the peer's own address is cut to the rate; what it kept free before is all that goes beyond.
func TestPoliceBoundsAFlood(t *testing.T) {
	s := policed(t, speech)
	relayed := 0
	for n := range 60_000 { // 10 s of 6,000 packets a second
		s.pass(time.Second / 6000)
		switch why := s.rtpFrom(phone, rtp(0, uint16(n), 1)); why {
		case media.Accepted:
			relayed++
		case media.RejectedPolice:
		default:
			t.Fatal(why)
		}
	}
	if most := 10*300 + 4*300 + 1; relayed > most || relayed < 10*300 {
		t.Errorf("%d packets in 10 s, want at most %d", relayed, most)
	}
	if st := s.outside(); st.Rejected[media.RejectedPolice] != uint64(60_000-relayed) || st.Packets != uint64(relayed) {
		t.Errorf("%+v", st)
	}
	// Nobody else pays for it.
	if s.hears() != phone {
		t.Error("the PBX is not heard")
	}
	// And it is over when the flood is.
	s.pass(2 * time.Second)
	if why := s.rtpFrom(phone, rtp(0, 1, 1)); why != media.Accepted {
		t.Error(why)
	}
}

func TestPoliceSize(t *testing.T) {
	s := policed(t, media.Police{Size: 400})
	for size, want := range map[int]media.Rejection{12: media.Accepted, 172: media.Accepted, 400: media.Accepted, 401: media.RejectedPolice, 1400: media.RejectedPolice} {
		if why := s.rtpFrom(phone, sized(1, size)); why != want {
			t.Errorf("%d bytes: %v, want %v", size, why, want)
		}
	}
	// A long packet costs nothing of the rate.
	s = policed(t, media.Police{Rate: 1, Size: 400})
	for range 100 {
		s.rtpFrom(phone, sized(1, 401))
	}
	if why := s.rtpFrom(phone, sized(1, 100)); why != media.Accepted {
		t.Error(why)
	}
}

// RTCP has a bound of its own on its own port, and shares that of RTP where it shares the port.
func TestPoliceOfControl(t *testing.T) {
	s := policed(t, speech)
	relayed := 0
	for range 10_000 { // one second
		s.pass(100 * time.Microsecond)
		if s.rtcpFrom(phoneRTCP, rtcp(1)) == media.Accepted {
			relayed++
		}
	}
	if relayed < 5*75 || relayed > 5*75+1 {
		t.Errorf("%d reports in a second", relayed)
	}
	if why := s.rtpFrom(phone, rtp(0, 1, 1)); why != media.Accepted {
		t.Error("a flood of reports takes the audio:", why)
	}
	long := append(rtcp(1), make([]byte, 1600)...)
	s.pass(time.Minute)
	if why := s.rtcpFrom(phoneRTCP, long); why != media.RejectedPolice {
		t.Error("a long report:", why)
	}
	s = newScene(t, with(public(media.Off), func(w *media.Want) { w.Mux, w.Police = true, media.Police{Rate: 300, Size: 200} }))
	if why := s.rtpFrom(phone, append(rtcp(1), make([]byte, 400)...)); why != media.Accepted {
		t.Error("a report longer than media, on one port:", why)
	}
}

// Where nothing was asked for nothing is policed; and a new bound does not forgive what was sent under the last one.
func TestPoliceChanges(t *testing.T) {
	s := newScene(t, public(media.Off))
	for n := range 5000 {
		if why := s.rtpFrom(phone, sized(uint16(n), 1500)); why != media.Accepted {
			t.Fatal(why)
		}
	}
	tight := with(public(media.Off), func(w *media.Want) { w.Police = media.Police{Rate: 50} })
	s.point(nat.Outside, tight)
	burst := func() (n int) {
		for s.rtpFrom(phone, rtp(0, 1, 1)) == media.Accepted {
			n++
		}
		return n
	}
	if n := burst(); n != 201 {
		t.Errorf("%d packets at once, want 4 s of 50 a second", n)
	}
	s.point(nat.Outside, with(tight, func(w *media.Want) { w.Epoch = 2 }))
	if n := burst(); n != 0 {
		t.Errorf("%d packets after the same bound again", n)
	}
	s.point(nat.Outside, public(media.Off))
	if why := s.rtpFrom(phone, rtp(0, 1, 1)); why != media.Accepted {
		t.Error(why)
	}
}

// Whatever the gaps: never more than rate and burst allow in any window, and never less than the rate for who keeps to it.
func TestPoliceProperty(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		rate := rapid.Uint32Range(1, 2000).Draw(rt, "rate")
		s := policed(t, media.Police{Rate: rate})
		var accepted []time.Time
		for n := range rapid.IntRange(1, 400).Draw(rt, "packets") {
			s.pass(time.Duration(rapid.Int64Range(0, int64(2*time.Second)/int64(rate)).Draw(rt, "gap")))
			if s.rtpFrom(phone, rtp(0, uint16(n), 1)) == media.Accepted {
				accepted = append(accepted, s.now)
			}
		}
		for i := range accepted {
			window := s.now.Sub(accepted[i]).Seconds()
			if most := (window+4)*float64(rate)*1.001 + 2; float64(len(accepted)-i) > most {
				rt.Fatalf("%d packets in %.3f s at %d a second", len(accepted)-i, window, rate)
			}
		}
		if len(accepted) == 0 {
			rt.Fatal("nothing was accepted")
		}
	})
}
