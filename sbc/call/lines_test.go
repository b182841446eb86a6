package call

import (
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
		if got := shortened(out, mLines(body)); string(got) != string(body) {
			t.Errorf("%q comes back as %q", body, got)
		}
	})
}

// TestLinesOfOthers: what is no list of streams, or a longer one, stays as it is.
func TestLinesOfOthers(t *testing.T) {
	body := describe(itsp1, "audio:4000,video:4002")
	for _, told := range []string{"", "v=0\r\n", "m=\r\nm=x\r\nm=y\r\n", string(describe(itsp1, "audio:4000"))} {
		if got := evened(body, []byte(told)); string(got) != string(body) {
			t.Errorf("%q makes it %q", told, got)
		}
	}
	if got := evened([]byte("v=0\nm=audio 4000 RTP/AVP 0"), body); mLines(got) != 2 || !strings.HasSuffix(string(got), "\r\nc=IN IP4 0.0.0.0\r\n") {
		t.Errorf("%q", got)
	}
}
