package sdp

import (
	"net/netip"
	"strings"
	"testing"
)

const twoWays = "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\n" +
	"m=audio 4000 RTP/AVP 0\r\na=rtcp:4001\r\na=sendrecv\r\na=ptime:20\r\nm=video 4010 RTP/AVP 97\r\na=rtpmap:97 VP8/90000\r\n"

func parsed(t *testing.T, text string) *Session {
	t.Helper()
	s, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestSetDirection: the stream alone changes, and says so once.
func TestSetDirection(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		i          int
		d          Direction
		want       string // of the stream, from its m= line
	}{
		{"as it is", twoWays, 0, SendRecv, "m=audio 4000 RTP/AVP 0\r\na=rtcp:4001\r\na=sendrecv\r\na=ptime:20\r\n"},
		{"another", twoWays, 0, RecvOnly, "m=audio 4000 RTP/AVP 0\r\na=rtcp:4001\r\na=ptime:20\r\na=recvonly\r\n"},
		{"it said nothing", twoWays, 1, Inactive, "m=video 4010 RTP/AVP 97\r\na=rtpmap:97 VP8/90000\r\na=inactive\r\n"},
		{"the session says it", strings.Replace(twoWays, "t=0 0\r\n", "t=0 0\r\na=sendonly\r\n", 1), 1, SendRecv,
			"m=video 4010 RTP/AVP 97\r\na=rtpmap:97 VP8/90000\r\na=sendrecv\r\n"},
		{"several", strings.Replace(twoWays, "a=ptime:20\r\n", "a=sendonly\r\na=inactive\r\n", 1), 0, SendOnly,
			"m=audio 4000 RTP/AVP 0\r\na=rtcp:4001\r\na=sendonly\r\n"},
		{"no line end", strings.TrimSuffix(twoWays, "\r\n"), 1, SendOnly, "m=video 4010 RTP/AVP 97\r\na=rtpmap:97 VP8/90000\r\na=sendonly\r\n"},
	} {
		s := parsed(t, tt.text)
		other := s.At(1 - tt.i)
		s.SetDirection(tt.i, tt.d)
		got := string(s.Bytes())
		if again := parsed(t, got); again.At(tt.i).Direction != tt.d || again.At(1-tt.i).Direction != other.Direction {
			t.Errorf("%s: %s and %s", tt.name, again.At(tt.i).Direction, again.At(1-tt.i).Direction)
		}
		if tt.want = strings.TrimSuffix(tt.want, "\r\n"); !strings.Contains(got, tt.want) {
			t.Errorf("%s:\n%s", tt.name, got)
		}
	}
}

// TestSameStreams: directions, addresses and the origin are all that may differ.
func TestSameStreams(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit []string
		same bool
	}{
		{"nothing", []string{"x", "x"}, true},
		{"version", []string{"o=- 1 1", "o=- 1 2"}, true},
		{"held", []string{"a=sendrecv", "a=sendonly"}, true},
		{"a direction less", []string{"a=sendrecv\r\n", ""}, true},
		{"a direction more", []string{"a=rtpmap:97 VP8/90000\r\n", "a=rtpmap:97 VP8/90000\r\na=inactive\r\n"}, true},
		{"the old hold", []string{"c=IN IP4 10.0.0.1", "c=IN IP4 0.0.0.0"}, true},
		{"an address of its own", []string{"m=audio 4000 RTP/AVP 0\r\n", "m=audio 4000 RTP/AVP 0\r\nc=IN IP4 0.0.0.0\r\n"}, true},
		{"RTCP", []string{"a=rtcp:4001\r\n", ""}, true},
		{"a port", []string{"m=audio 4000", "m=audio 4002"}, false},
		{"a codec", []string{"RTP/AVP 0\r\n", "RTP/AVP 0 8\r\n"}, false},
		{"another packet time", []string{"a=ptime:20", "a=ptime:30"}, false},
		{"an attribute less", []string{"a=ptime:20\r\n", ""}, false},
		{"an attribute more", []string{"a=rtpmap:97 VP8/90000\r\n", "a=rtpmap:97 VP8/90000\r\na=label:1\r\n"}, false},
		{"a session attribute", []string{"t=0 0\r\n", "t=0 0\r\na=group:LS\r\n"}, false},
		{"a stream less", []string{"m=video 4010 RTP/AVP 97\r\na=rtpmap:97 VP8/90000\r\n", ""}, false},
	} {
		a, b := parsed(t, twoWays), parsed(t, strings.Replace(twoWays, tt.edit[0], tt.edit[1], 1))
		if a.SameStreams(b) != tt.same || b.SameStreams(a) != tt.same {
			t.Errorf("%s: %v and %v", tt.name, a.SameStreams(b), b.SameStreams(a))
		}
	}
}

// TestRevive: the stream alone has an address again.
func TestRevive(t *testing.T) {
	addr := netip.MustParseAddr("192.0.2.1")
	for _, tt := range []struct {
		name, text string
		want       [2]bool // which streams are held after the first has been revived
	}{
		{"not held", twoWays, [2]bool{false, false}},
		{"by the session", strings.Replace(twoWays, "c=IN IP4 10.0.0.1", "c=IN IP4 0.0.0.0", 1), [2]bool{false, true}},
		{"by itself", strings.Replace(twoWays, "m=audio 4000 RTP/AVP 0\r\n", "m=audio 4000 RTP/AVP 0\r\nc=IN IP4 0.0.0.0\r\n", 1), [2]bool{false, false}},
	} {
		s := parsed(t, tt.text)
		s.Revive(0, addr)
		again := parsed(t, string(s.Bytes()))
		for i, want := range tt.want {
			if line := again.At(i); line.Hold() != want {
				t.Errorf("%s: stream %d held: %v", tt.name, i, line.Hold())
			}
		}
		s.SetMedia(0, netip.MustParseAddr("203.0.113.1"), 30000, 30001)
		if line := s.At(0); line.Addr.String() != "203.0.113.1" {
			t.Errorf("%s: %s", tt.name, line.Addr)
		}
	}
}
