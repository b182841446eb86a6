package media_test

import (
	"slices"
	"testing"
	"time"

	"sallyport/media"
	"sallyport/nat"
)

// sweeps passes time in seconds and collects the hints, repeats apart, with the second each came at.
func (s *scene) sweeps(seconds int, each func(second int)) (kinds []media.HintKind, at []int) {
	for n := range seconds {
		for _, h := range s.plane.Sweep(s.now) {
			if h.ID != s.id {
				s.t.Fatalf("hint for %x", h.ID)
			}
			repeat := len(kinds) > 0 && kinds[len(kinds)-1] == h.Kind
			if h.Kind != media.Latched && !repeat {
				kinds, at = append(kinds, h.Kind), append(at, n)
			}
		}
		if each != nil {
			each(n)
		}
		s.pass(time.Second)
	}
	return kinds, at
}

var timeoutCases = []struct {
	name            string
	outside, inside func(*media.Want)
	each            func(s *scene) func(int)
	silentAt        int // second of the one hint; 0: none in 4000 seconds
}{
	{name: "silent both ways", silentAt: 60},
	{name: "not answered", outside: func(w *media.Want) { w.Final = false }},
	{name: "no timeout set", outside: func(w *media.Want) { w.Timeout = 0 }, inside: func(w *media.Want) { w.Timeout = 0 }},
	{name: "one way is enough", each: func(s *scene) func(int) {
		return func(n int) { s.rtpFrom(phone, rtp(0, uint16(n), 1)) }
	}},
	{name: "reports are enough", each: func(s *scene) func(int) {
		return func(n int) {
			if n%50 == 0 {
				s.rtcpFrom(phoneRTCP, rtcp(1))
			}
		}
	}},
	{name: "comfort noise is enough", each: func(s *scene) func(int) {
		return func(n int) {
			if n%50 == 0 {
				s.rtpFrom(phone, rtp(13, uint16(n), 1))
			}
		}
	}},
	{name: "strangers do not count", silentAt: 60, each: func(s *scene) func(int) {
		return func(n int) { s.rtpFrom(third, rtp(0, uint16(n), 1)) }
	}},
	{name: "held with music to come", silentAt: 3600,
		outside: func(w *media.Want) { w.Receive = false }, inside: func(w *media.Want) { w.Send = false }},
	{name: "inactive", silentAt: 3600,
		outside: func(w *media.Want) { w.Send, w.Receive = false, false },
		inside:  func(w *media.Want) { w.Send, w.Receive = false, false }},
	{name: "fax", silentAt: 3600, outside: func(w *media.Want) { w.Opaque = true }, inside: func(w *media.Want) { w.Opaque = true }},
}

func TestMediaTimeout(t *testing.T) {
	for _, c := range timeoutCases {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t, public(media.Off))
			for side, change := range []func(*media.Want){c.outside, c.inside} {
				w := []media.Want{public(media.Off), insideWant()}[side]
				if change != nil {
					change(&w)
				}
				s.point(nat.Side(side), w)
			}
			var each func(int)
			if c.each != nil {
				each = c.each(s)
			}
			kinds, at := s.sweeps(4000, each)
			if c.silentAt == 0 && len(kinds) == 0 {
				return
			}
			if !slices.Equal(kinds, []media.HintKind{media.Silent}) || at[0] != c.silentAt {
				t.Fatalf("hints %v at %v, want one at %d", kinds, at, c.silentAt)
			}
		})
	}
}

func TestSilenceBeginsAtTheAnswer(t *testing.T) {
	early := func(w *media.Want) { w.Final = false }
	s := newScene(t, with(public(media.Off), early))
	s.sweeps(300, nil)
	s.point(nat.Outside, public(media.Off))
	if kinds, at := s.sweeps(100, nil); len(kinds) != 1 || at[0] != 60 {
		t.Fatalf("hints %v at %v", kinds, at)
	}
}

func TestSilenceEnds(t *testing.T) {
	s := newScene(t, public(media.Off))
	kinds, at := s.sweeps(200, func(n int) {
		if n == 100 {
			s.rtpFrom(phone, rtp(0, 1, 1))
		}
	})
	want := []media.HintKind{media.Silent, media.Resumed, media.Silent}
	if !slices.Equal(kinds, want) || !slices.Equal(at, []int{60, 101, 160}) {
		t.Fatalf("hints %v at %v", kinds, at)
	}
	// A repeat of the same state is no sign of life; a resume from hold is a new start.
	s.point(nat.Outside, public(media.Off))
	if kinds, _ := s.sweeps(10, nil); slices.Contains(kinds, media.Resumed) {
		t.Fatalf("hints %v", kinds)
	}
	s.point(nat.Outside, with(public(media.Off), func(w *media.Want) { w.Epoch = 9 }))
	if kinds, at := s.sweeps(100, nil); !slices.Equal(kinds, []media.HintKind{media.Resumed, media.Silent}) || at[1] != 60 {
		t.Fatalf("hints %v at %v", kinds, at)
	}
}

func TestSilenceIsToldAgain(t *testing.T) {
	s := newScene(t, public(media.Off))
	var at []int
	for n := range 72 {
		if len(s.plane.Sweep(s.now)) > 0 {
			at = append(at, n)
		}
		s.pass(time.Second)
	}
	if !slices.Equal(at, []int{60, 65, 70}) {
		t.Fatalf("told at %v", at)
	}
}

func TestLatchedHint(t *testing.T) {
	s := newScene(t, natted(media.Strict))
	s.plane.Sweep(s.now)
	s.pass(time.Second)
	s.talk(mappedPort, phoneSSRC, 1, 3)
	want := []media.Hint{{ID: s.id, Kind: media.Latched, Side: nat.Outside}}
	if got := s.plane.Sweep(s.now); !slices.Equal(got, want) {
		t.Fatalf("hints %v", got)
	}
	if got := s.plane.Sweep(s.now); len(got) != 0 {
		t.Fatalf("hints %v again", got)
	}
	s.plane.Release(s.now, s.id)
	if got := s.plane.Sweep(s.now.Add(time.Hour)); len(got) != 0 {
		t.Fatalf("hints %v of a released stream", got)
	}
}
