package sdp

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const withEvents = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n" +
	"m=audio 4000 RTP/AVP 0 101  8\r\nb=AS:64\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\n" +
	"m=video 4002 RTP/AVP 101\r\na=rtpmap:101 H264/90000"

func TestDropFormats(t *testing.T) {
	for _, tt := range []struct {
		name    string
		stream  int
		numbers []uint8
		changed bool
		want    string // what is left of the stream's lines
	}{
		{"one", 0, []uint8{101}, true, "m=audio 4000 RTP/AVP 0 8|b=AS:64|a=ptime:20"},
		{"one that is not there", 0, []uint8{96}, true, "m=audio 4000 RTP/AVP 0 101 8|b=AS:64|a=rtpmap:101 telephone-event/8000|a=fmtp:101 0-15|a=ptime:20"},
		{"several", 0, []uint8{0, 101}, true, "m=audio 4000 RTP/AVP 8|b=AS:64|a=ptime:20"},
		{"all", 0, []uint8{0, 8, 101}, false, "m=audio 4000 RTP/AVP 0 101  8|b=AS:64|a=rtpmap:101 telephone-event/8000|a=fmtp:101 0-15|a=ptime:20"},
		{"the only one", 1, []uint8{101}, false, "m=video 4002 RTP/AVP 101|a=rtpmap:101 H264/90000"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := Parse([]byte(withEvents))
			if err != nil {
				t.Fatal(err)
			}
			if got := s.DropFormats(tt.stream, tt.numbers...); got != tt.changed {
				t.Errorf("changed: %v", got)
			}
			if got := linesOf(s, tt.stream); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestAddFormat(t *testing.T) {
	for _, tt := range []struct {
		name       string
		stream     int
		parameters string
		want       string
	}{
		{"among others", 0, "0-15", "m=audio 4000 RTP/AVP 0 101  8 97|b=AS:64|a=rtpmap:101 telephone-event/8000|a=fmtp:101 0-15|a=rtpmap:97 x/8000|a=fmtp:97 0-15|a=ptime:20"},
		{"without parameters, at the very end", 1, "", "m=video 4002 RTP/AVP 101 97|a=rtpmap:101 H264/90000|a=rtpmap:97 x/8000"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := Parse([]byte(withEvents))
			if err != nil {
				t.Fatal(err)
			}
			s.AddFormat(tt.stream, 97, "x/8000", tt.parameters)
			if got := linesOf(s, tt.stream); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if _, err := Parse(s.Bytes()); err != nil {
				t.Error(err)
			}
		})
	}
}

// What is added and taken out again leaves a description that says the same of all other formats.
func TestFormatsComeAndGo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, err := Parse([]byte(withEvents))
		if err != nil {
			t.Fatal(err)
		}
		before := s.Formats(0)
		number := rapid.Uint8Range(96, 100).Draw(t, "number")
		s.AddFormat(0, number, "telephone-event/48000", "0-16")
		if list := s.Formats(0); len(list) != len(before)+1 || list[len(before)].Number != number || !list[len(before)].Is("telephone-event") {
			t.Fatalf("%v", list)
		}
		if !s.DropFormats(0, number) {
			t.Fatal("not dropped")
		}
		for i, f := range s.Formats(0) {
			if f != before[i] {
				t.Fatalf("%v, before %v", f, before[i])
			}
		}
	})
}

func linesOf(s *Session, i int) string {
	var list []string
	for _, l := range s.media[i] {
		list = append(list, l.text)
	}
	return strings.Join(list, "|")
}
