package sdp

import (
	"fmt"
	"strings"
	"testing"
)

func TestAlternatives(t *testing.T) {
	const head = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
	stream := func(mid string) string { return "m=audio 4000 RTP/AVP 0\r\na=mid:" + mid + "\r\n" }
	for _, x := range []struct {
		lines, want, left string
	}{
		{stream("1") + stream("2"), "[]", ""},
		{"a=group:ANAT 1 2\r\n" + stream("1") + stream("2"), "[[0 1]]", ""},
		{"a=group:ANAT 2 1\r\n" + stream("1") + stream("2"), "[[1 0]]", ""}, // the order of the group counts (§3)
		{"a=Group:ANAT 1 2\r\na=group:ANAT 3 4\r\n" + stream("1") + stream("2") + stream("3") + stream("4"), "[[0 1] [2 3]]", ""},
		{"a=group:ANAT 1\r\n" + stream("1"), "[]", ""},
		{"a=group:ANAT\r\n" + stream("1"), "[]", ""},
		{"a=group:ANAT 1 1 7\r\n" + stream("1") + stream("2"), "[]", ""},
		{"a=group:LS 1 2\r\n" + stream("1") + stream("2"), "[]", "a=group:LS 1 2\r\n"},
		{"a=group:BUNDLE 1 2\r\na=group:ANAT 2 1\r\n" + stream("1") + stream("2"), "[[1 0]]", "a=group:BUNDLE 1 2\r\n"},
		{"a=group:anat 1 2\r\n" + stream("1") + stream("2"), "[]", "a=group:anat 1 2\r\n"}, // tokens of RFC 5888 are as they are
		{"a=group:\r\n" + stream("1"), "[]", "a=group:\r\n"},
	} {
		s, err := Parse([]byte(head + x.lines))
		if err != nil {
			t.Fatalf("%q: %v", x.lines, err)
		}
		if got := fmt.Sprint(s.Alternatives()); got != x.want {
			t.Errorf("%q: %s, want %s", x.lines, got, x.want)
		}
		s.DropAlternatives()
		left, _, _ := strings.Cut(strings.TrimPrefix(string(s.Bytes()), head), "m=")
		if left != x.left {
			t.Errorf("%q leaves %q, want %q", x.lines, left, x.left)
		}
	}
}
