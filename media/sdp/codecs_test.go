package sdp

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func described(t *testing.T, lines ...string) *Session {
	t.Helper()
	s, err := Parse([]byte(strings.Join(append([]string{"v=0", "o=- 1 1 IN IP4 192.0.2.1", "s=-", "c=IN IP4 192.0.2.1", "t=0 0"}, lines...), "\r\n") + "\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestCodecs(t *testing.T) {
	s := described(t,
		"m=audio 4000 RTP/AVP 111 0 9 96 101 102 x 200",
		"a=rtpmap:111 opus/48000/2", "a=rtpmap:9 G722/16000", "a=rtpmap: 96  iLBC/8000 ", "a=RTPMAP:101 telephone-event/8000", "a=rtpmap:0 PCMU/8000", "a=rtpmap:5 nonsense/1",
		"m=audio 4002 RTP/AVP 18 97 13 63", "a=rtpmap:97 speex/x", "a=rtpmap:63 red/48000/2", "a=rtpmap:wrong",
		"m=image 4004 udptl t38")
	for i, want := range []string{
		"[{111 opus 48000} {0 PCMU 8000} {9 G722 8000} {96 iLBC 8000} {101 telephone-event 8000} {102  0}]",
		"[{18 G729 8000} {97 speex 0} {13 CN 8000} {63 red 48000}]",
		"[]",
	} {
		if got := fmt.Sprint(s.Codecs(i)); got != want {
			t.Errorf("stream %d: %s, want %s", i, got, want)
		}
	}
	var speech []string
	for _, c := range slices.Concat(s.Codecs(0), s.Codecs(1)) {
		if c.Speech() {
			speech = append(speech, c.Name)
		}
	}
	if got := strings.Join(speech, " "); got != "opus PCMU G722 iLBC  G729 speex" {
		t.Errorf("speech: %q", got)
	}
	c := s.Codecs(0)[3]
	if !c.Is("ILBC") || c.Is("iLB") {
		t.Error("names are compared otherwise")
	}
}

// A list of formats without end costs no more than an honest one.
func TestCodecsAreBounded(t *testing.T) {
	s := described(t, "m=audio 4000 RTP/AVP"+strings.Repeat(" 0 1 2", 5000))
	if n := len(s.Codecs(0)); n != 3 {
		t.Errorf("%d codecs", n)
	}
}

func TestPacketTimes(t *testing.T) {
	for lines, want := range map[string][2]time.Duration{
		"":                          {},
		"a=ptime:20":                {20 * time.Millisecond, 0},
		"a=maxptime:150":            {0, 150 * time.Millisecond},
		"a=ptime:30\na=maxptime:60": {30 * time.Millisecond, 60 * time.Millisecond},
		"a=ptime:2.5":               {2500 * time.Microsecond, 0},
		"a=ptime: 40 ":              {40 * time.Millisecond, 0},
		"a=ptime:0":                 {}, "a=ptime:-20": {}, "a=ptime:NaN": {}, "a=ptime:1e9": {}, "a=ptime:Inf": {}, "a=ptime:x": {}, "a=ptime": {},
	} {
		list := []string{"m=audio 4000 RTP/AVP 0"}
		if lines != "" {
			list = append(list, strings.Split(lines, "\n")...)
		}
		usual, most := described(t, list...).PacketTimes(0)
		if usual != want[0] || most != want[1] {
			t.Errorf("%q: %v and %v, want %v", lines, usual, most, want)
		}
	}
}

// Whatever a description says of its codecs, it is read without harm.
func FuzzCodecs(f *testing.F) {
	f.Add("0 8 101", "rtpmap:101 telephone-event/8000")
	f.Add("96", "rtpmap:96 opus/48000/2")
	f.Add("0", "ptime:20")
	f.Add("300 -1 x", "rtpmap:/")
	f.Fuzz(func(t *testing.T, formats, attribute string) {
		s, err := Parse([]byte("v=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\nt=0 0\nm=audio 4000 RTP/AVP " + formats + "\na=" + attribute + "\n"))
		if err != nil || s.Len() == 0 {
			return
		}
		for _, c := range s.Codecs(0) {
			if c.Payload > 127 || strings.ContainsAny(c.Name, " /\r\n") && c.Name != strings.TrimSpace(c.Name) {
				t.Errorf("%+v", c)
			}
		}
		usual, most := s.PacketTimes(0)
		if usual < 0 || most < 0 || usual > time.Second || most > time.Second {
			t.Errorf("%v %v", usual, most)
		}
	})
}
