package sdp

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func describedBy(lines string) []byte {
	return []byte("v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n" + strings.ReplaceAll(lines, "|", "\r\n") + "\r\n")
}

func TestRestrict(t *testing.T) {
	const phone = "m=audio 4000 RTP/AVP 9 0 8 18 101 13|a=rtpmap:9 G722/8000|a=rtpmap:101 telephone-event/8000|a=fmtp:101 0-15|a=fmtp:18 annexb=no|a=ptime:20"
	const browser = "m=audio 9 RTP/AVP 63 111 110 9 13|a=rtpmap:111 opus/48000/2|a=rtcp-fb:111 transport-cc|a=rtcp-fb:* nack|a=rtpmap:63 red/48000/2|a=fmtp:63 111/111|" +
		"a=rtpmap:110 telephone-event/48000"
	const video = "m=video 9 RTP/AVP 96 97 98 99 100 101 102|a=rtpmap:96 VP8/90000|a=rtpmap:97 rtx/90000|a=fmtp:97 apt=96|a=rtpmap:98 H264/90000|a=rtpmap:99 rtx/90000|" +
		"a=fmtp:99 apt=98|a=rtpmap:100 red/90000|a=rtpmap:101 rtx/90000|a=fmtp:101 apt=100|a=rtpmap:102 ulpfec/90000"
	for _, tt := range []struct {
		name, lines, names string
		ordered            bool
		want               string // empty: no codec is left, nothing is changed
	}{
		{"static, without rtpmap", phone, "PCMA,PCMU", true, "m=audio 4000 RTP/AVP 8 0 101 13|a=rtpmap:101 telephone-event/8000|a=fmtp:101 0-15|a=ptime:20"},
		{"in the order that it has", phone, "pcma,pcmu", false, "m=audio 4000 RTP/AVP 0 8 101 13|a=rtpmap:101 telephone-event/8000|a=fmtp:101 0-15|a=ptime:20"},
		{"everything listed, nothing changed", phone, "g722,PCMU,PCMA,G729", true, phone},
		{"a static one that an rtpmap names", phone, "g722", true, "m=audio 4000 RTP/AVP 9 101 13|a=rtpmap:9 G722/8000|a=rtpmap:101 telephone-event/8000|a=fmtp:101 0-15|a=ptime:20"},
		{"one that is not there", phone, "opus", true, ""},
		{"events alone are no codec", phone, "telephone-event", true, ""},
		{"none", phone, "", true, ""},
		{"redundancy goes with its codec", browser, "OPUS", true, "m=audio 9 RTP/AVP 63 111 110|a=rtpmap:111 opus/48000/2|a=rtcp-fb:111 transport-cc|a=rtcp-fb:* nack|a=rtpmap:63 red/48000/2|a=fmtp:63 111/111|a=rtpmap:110 telephone-event/48000"},
		{"redundancy without its codec", browser, "G722", true, "m=audio 9 RTP/AVP 9 110 13|a=rtcp-fb:* nack|a=rtpmap:110 telephone-event/48000"},
		{"redundancy moves with its codec", browser, "G722,opus", true, "m=audio 9 RTP/AVP 9 63 111 110 13|a=rtpmap:111 opus/48000/2|a=rtcp-fb:111 transport-cc|a=rtcp-fb:* nack|a=rtpmap:63 red/48000/2|a=fmtp:63 111/111|a=rtpmap:110 telephone-event/48000"},
		{"repetition goes with what it repeats", video, "H264", true, "m=video 9 RTP/AVP 98 99 100 101 102|a=rtpmap:98 H264/90000|a=rtpmap:99 rtx/90000|a=fmtp:99 apt=98|a=rtpmap:100 red/90000|a=rtpmap:101 rtx/90000|a=fmtp:101 apt=100|a=rtpmap:102 ulpfec/90000"},
		{"repetition moves with it", video, "H264,VP8", true, "m=video 9 RTP/AVP 98 99 96 97 100 101 102|a=rtpmap:96 VP8/90000|a=rtpmap:97 rtx/90000|a=fmtp:97 apt=96|a=rtpmap:98 H264/90000|a=rtpmap:99 rtx/90000|a=fmtp:99 apt=98|a=rtpmap:100 red/90000|a=rtpmap:101 rtx/90000|a=fmtp:101 apt=100|a=rtpmap:102 ulpfec/90000"},
		{"a number that says nothing", "m=audio 4000 RTP/AVP 77 8", "PCMA", true, "m=audio 4000 RTP/AVP 8"},
		{"several formats of one name", "m=audio 4000 RTP/AVP 0 97 96|a=rtpmap:97 AMR/8000|a=rtpmap:96 AMR/8000", "amr,PCMU", true, "m=audio 4000 RTP/AVP 97 96 0|a=rtpmap:97 AMR/8000|a=rtpmap:96 AMR/8000"},
		{"a loop", "m=audio 4000 RTP/AVP 96 97 0|a=rtpmap:96 rtx/8000|a=fmtp:96 apt=97|a=rtpmap:97 rtx/8000|a=fmtp:97 apt=96", "PCMU", true, "m=audio 4000 RTP/AVP 0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := Parse(describedBy(tt.lines))
			if err != nil {
				t.Fatal(err)
			}
			want := tt.want
			if want == "" {
				want = tt.lines
			}
			if left := s.Restrict(0, strings.FieldsFunc(tt.names, func(r rune) bool { return r == ',' }), tt.ordered); left != (tt.want != "") {
				t.Errorf("left: %v", left)
			}
			if got := linesOf(s, 0); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func TestKindOf(t *testing.T) {
	for name, want := range map[string]string{
		"PCMA": "audio", "opus": "audio", "x-new": "audio", "": "audio", "h264": "video", "vp8": "video", "AV1": "video", "T140": "text",
	} {
		if got := KindOf(name); got != want {
			t.Errorf("%s is %s", name, got)
		}
	}
}

// TestRestrictKeepsWhatItNames: of any list and any stream, what is named stays in the order of the names, no other codec
// does, and nothing else of the description changes.
func TestRestrictKeepsWhatItNames(t *testing.T) {
	all := []string{"PCMU", "PCMA", "G722", "opus", "G729", "telephone-event", "CN", "rtx", "red"}
	rapid.Check(t, func(t *rapid.T) {
		has := rapid.SliceOfN(rapid.SampledFrom(all), 1, 9).Draw(t, "has")
		names := rapid.SliceOfDistinct(rapid.SampledFrom(all[:5]), func(s string) string { return s }).Draw(t, "names")
		lines := "m=audio 4000 RTP/AVP"
		for i := range has {
			lines += " " + []string{"96", "97", "98", "99", "100", "101", "102", "103", "104"}[i]
		}
		for i, name := range has {
			lines += "|a=rtpmap:" + []string{"96", "97", "98", "99", "100", "101", "102", "103", "104"}[i] + " " + name + "/8000"
		}
		before := describedBy(lines + "|a=sendrecv|m=image 5000 udptl t38|a=T38FaxVersion:0")
		s, err := Parse(before)
		if err != nil {
			t.Fatal(err)
		}
		common := slices.ContainsFunc(has, func(n string) bool { return slices.Contains(names, n) })
		if s.Restrict(0, names, true) != common {
			t.Fatalf("%v of %v", names, has)
		}
		if !common {
			if !bytes.Equal(s.Bytes(), before) {
				t.Fatalf("changed to\n%s", s.Bytes())
			}
			return
		}
		last := -1
		for _, c := range s.Codecs(0) {
			if !c.Speech() {
				continue
			}
			at := slices.Index(names, c.Name)
			if at < last {
				t.Fatalf("%s stands behind a later one in\n%s", c.Name, s.Bytes())
			}
			last = at
		}
		for _, n := range has {
			want := !slices.Contains(all[:5], n) && n != "rtx" || slices.Contains(names, n)
			if got := strings.Contains(string(s.Bytes()), " "+n+"/8000"); got != want {
				t.Fatalf("%s: %v in\n%s", n, got, s.Bytes())
			}
		}
		if !bytes.HasSuffix(s.Bytes(), []byte("a=sendrecv\r\nm=image 5000 udptl t38\r\na=T38FaxVersion:0\r\n")) {
			t.Fatalf("more is changed:\n%s", s.Bytes())
		}
		once := s.Bytes()
		if s.Restrict(0, names, true); !bytes.Equal(s.Bytes(), once) {
			t.Fatalf("a second time changes it:\n%s\n%s", once, s.Bytes())
		}
	})
}

func FuzzRestrict(f *testing.F) {
	for _, b := range corpus(f) {
		f.Add(b, "PCMA,opus")
	}
	f.Add([]byte("v=0\r\nm=audio 1 RTP/AVP 0 rtx 96 300\r\na=rtpmap:96 red/8000\r\na=fmtp:96 0/0\r\n"), "pcmu")
	f.Fuzz(func(t *testing.T, b []byte, list string) {
		s, err := Parse(b)
		if err != nil {
			return
		}
		names := strings.Split(list, ",")
		for i := range s.Len() {
			left := s.Restrict(i, names, true)
			for _, c := range s.Codecs(i) {
				if left && c.Name != "" && c.Speech() && !c.Is("flexfec-03") && !slices.ContainsFunc(names, func(n string) bool { return c.Is(n) }) {
					t.Fatalf("%s stays of %q:\n%s", c.Name, names, s.Bytes())
				}
			}
		}
		again, err := Parse(s.Bytes())
		if err != nil || again.Len() != s.Len() {
			t.Fatalf("%v:\n%q", err, s.Bytes())
		}
	})
}
