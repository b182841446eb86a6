package call

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sallyport/media/sdp"
)

// TestLinesEvened: a description gets what another one has beyond it, declined, and loses it again.
func TestLinesEvened(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		kinds := rapid.SliceOfN(rapid.SampledFrom([]string{"audio", "video", "image"}), 1, 6)
		spec := func(list []string) string {
			for i := range list {
				list[i] += ":4000"
			}
			return strings.Join(list, ",")
		}
		body, told := describe(itsp1, spec(kinds.Draw(t, "body"))), describe(itsp1, spec(kinds.Draw(t, "told")))
		out := evened(body, told)
		if mLines(out) != max(mLines(body), mLines(told)) {
			t.Fatalf("%d and %d lines make %d", mLines(body), mLines(told), mLines(out))
		}
		s, err := sdp.Parse(out)
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		other, _ := sdp.Parse(told)
		for i := mLines(body); i < s.Len(); i++ {
			if a, b := s.At(i), other.At(i); !a.Rejected() || a.Type != b.Type || a.Proto != b.Proto {
				t.Errorf("line %d is %s %s %d", i, a.Type, a.Proto, a.Port)
			}
		}
		if got := picked(out, inOrder(mLines(body))); string(got) != string(body) {
			t.Errorf("%q comes back as %q", body, got)
		}
	})
}

// TestLinesOfOthers: what is no list of streams, or a longer one, stays as it is.
func TestLinesOfOthers(t *testing.T) {
	body := describe(itsp1, "audio:4000,video:4002")
	for _, told := range []string{"", "v=0\r\n", string(describe(itsp1, "audio:4000"))} {
		if got := evened(body, []byte(told)); string(got) != string(body) {
			t.Errorf("%q makes it %q", told, got)
		}
	}
	if got := evened([]byte("v=0\nm=audio 4000 RTP/AVP 0"), body); mLines(got) != 2 || !strings.HasSuffix(string(got), "\r\nc=IN IP4 0.0.0.0\r\n") {
		t.Errorf("%q", got)
	}
}

// TestPlacesOfAnswers: a line answers the one at its own place, else the first of its kind that nothing else answers.
func TestPlacesOfAnswers(t *testing.T) {
	for _, x := range []struct {
		offer, answer string
		want          string // the offer's order
		lost          bool
	}{
		{"audio:4000", "audio:5000", "audio:5000", false},
		{"audio:4000,video:4002", "audio:5000", "audio:5000,video:0", false},
		{"video:4000,audio:4002", "audio:5000", "video:0,audio:5000", false},
		{"video:4000,audio:4002", "audio:5000,video:5002", "video:5002,audio:5000", false},
		{"video:4000,audio:4002", "audio:5000,video:0", "video:0,audio:5000", false},
		{"audio:4000,image:4002", "image:5000", "audio:0,image:5000", false},
		{"image:4000", "audio:0,image:5002", "image:5002", false},
		{"audio:4000,video:4002,audio:4004", "audio:5000,audio:5002", "audio:5000,video:0,audio:5002", false},
		{"audio:0,audio:4002", "audio:5000", "audio:0,audio:5000", false},
		{"audio:0,audio:4002", "audio:5000,audio:0", "audio:0,audio:5000", false},
		{"audio:4000,audio:4002", "audio:0,audio:5002", "audio:0,audio:5002", false},
		{"audio:4000", "audio:5000,video:5002", "audio:5000", false},
		{"audio:4000", "video:5002,audio:5000", "audio:5000", false},
		{"audio:4000,video:0", "audio:5000,video:5002", "audio:5000,video:0", false},
		{"audio:4000,video:4002", "audio:5000,image:0", "audio:5000,video:0", false},
		{"audio:4000", "image:5000", "audio:0", true},
		{"image:4000", "audio:5000", "image:0", true},
		{"audio:4000", "audio:0,video:0", "audio:0", false},
		{"audio:0", "audio:5000", "audio:0", true},
	} {
		m, _, lost := answerTo(sdpMessage(describe(node1, x.answer)), describe(itsp1, x.offer))
		s, err := sdp.Parse(sdpOf(m))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for i := range s.Len() {
			at := s.At(i)
			got = append(got, fmt.Sprintf("%s:%d", at.Type, at.Port))
		}
		if list := strings.Join(got, ","); list != x.want || lost != x.lost {
			t.Errorf("%s answered by %s: %s %v, want %s", x.offer, x.answer, list, lost, x.want)
		}
	}
}

// TestPlacesOfOffers: what a peer with other lines offers stands where it stood, and what is new where it can.
func TestPlacesOfOffers(t *testing.T) {
	for _, x := range []struct {
		known, offer string
		before       []int
		want         []int
	}{
		{"audio,video", "audio", []int{0}, []int{0}},
		{"video,audio", "audio", []int{1}, []int{1}},
		{"video,audio", "audio,video", []int{1}, []int{1, 0}},
		{"video,audio", "audio,audio", []int{1}, []int{1, 2}},
		{"video,audio", "image", []int{1}, []int{1}}, // the peer makes fax of its voice
		{"audio", "video,audio", []int{-1, 0}, []int{1, 0}},
		{"audio,video", "video", nil, []int{1}},
		{"audio,video", "audio,video", nil, nil},
		{"audio,video", "audio,video,image", nil, nil},
		{"audio,video", "image", nil, []int{2}},
		{"", "audio", nil, nil},
	} {
		lines := func(list string) (out []mLine) {
			for kind := range strings.SplitSeq(list, ",") {
				if kind != "" {
					out = append(out, mLine{kind: kind, live: true})
				}
			}
			return out
		}
		places, n := offerPlaces(lines(x.offer), lines(x.known), x.before)
		if got := ordered(places, n); !slices.Equal(got, x.want) {
			t.Errorf("%s offered where %s is known: %v, want %v", x.offer, x.known, got, x.want)
		}
	}
}

// TestAnswersComeBack: in the order that an answer was put into, it is an answer as it stands; and what the peer offers next by the same
// lines comes back to it in its own.
func TestAnswersComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(what string) []byte {
			list := rapid.SliceOfN(rapid.SampledFrom([]string{"audio:4000", "video:4002", "image:4004", "audio:0", "video:0"}), 1, 5).Draw(t, what)
			return describe(itsp1, strings.Join(list, ","))
		}
		offer, answer := draw("offer"), sdpMessage(draw("answer"))
		m, places, _ := answerTo(answer, offer)
		if again, _, _ := answerTo(m, offer); string(again.Body) != string(m.Body) {
			t.Fatalf("%q becomes %q", m.Body, again.Body)
		}
		if places == nil {
			return
		}
		next, there := placed(answer, sdpOf(m), places)
		if there != nil {
			peersOrder(next, there)
		}
		if string(next.Body) != string(answer.Body) {
			t.Fatalf("%q comes back as %q", answer.Body, next.Body)
		}
	})
}

// FuzzLines: no description of a stranger upsets the order of lines.
func FuzzLines(f *testing.F) {
	f.Add([]byte("v=0\r\nm=audio 4000 RTP/AVP 0\r\n"), describe(itsp1, "video:4000,audio:4002"))
	f.Add([]byte("m=\r\nm=x"), describe(itsp1, "audio:4000"))
	f.Add([]byte("v=0\nm=video 0/2 RTP/AVP 0"), describe(itsp1, "audio:4000"))
	f.Fuzz(func(t *testing.T, said, told []byte) {
		if _, err := sdp.Parse(told); err != nil || len(said) == 0 {
			return
		}
		m, places, _ := answerTo(sdpMessage(said), told)
		if _, err := sdp.Parse(said); err == nil {
			if s, err := sdp.Parse(m.Body); err != nil || s.Len() != mLines(told) {
				t.Fatalf("%v: %q", err, m.Body)
			}
		}
		for _, k := range places {
			if k >= mLines(told) {
				t.Fatalf("place %d of %d", k, mLines(told))
			}
		}
		next, there := placed(sdpMessage(said), m.Body, places)
		peersOrder(next, there)
	})
}
