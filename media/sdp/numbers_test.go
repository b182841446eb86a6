package sdp_test

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sallyport/media/sdp"
)

// stream is a description of one stream with these lines.
func numbered(lines ...string) string {
	return "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n" + strings.Join(lines, "\r\n") + "\r\n"
}

func parsedNumbers(t *testing.T, text string) *sdp.Session {
	t.Helper()
	s, err := sdp.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// same is the identity, with some numbers changed.
func same(pairs ...uint8) *[128]uint8 {
	var to [128]uint8
	for n := range to {
		to[n] = uint8(n)
	}
	for i := 0; i < len(pairs); i += 2 {
		to[pairs[i]] = pairs[i+1]
	}
	return &to
}

// What counts as one codec, and what does not.
func TestFormats(t *testing.T) {
	one := func(lines ...string) string {
		s := parsedNumbers(t, numbered(append([]string{"m=audio 4000 RTP/AVP " + strings.Fields(strings.TrimPrefix(lines[0], "a=rtpmap:"))[0]}, lines...)...))
		return s.Formats(0)[0].Codec
	}
	static := func(n string) string {
		s := parsedNumbers(t, numbered("m=audio 4000 RTP/AVP "+n))
		return s.Formats(0)[0].Codec
	}
	h264 := func(fmtp string) string { return one("a=rtpmap:96 H264/90000", "a=fmtp:96 "+fmtp) }
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{static("0"), one("a=rtpmap:0 PCMU/8000/1"), true},
		{static("0"), one("a=rtpmap:97 pcmu/8000"), true},
		{static("0"), static("8"), false},
		{static("9"), one("a=rtpmap:96 G722/16000"), true},
		{static("10"), static("11"), false},
		{static("96"), static("97"), false},
		{one("a=rtpmap:96 opus/48000/2"), one("a=rtpmap:111 OPUS/48000"), true},
		{one("a=rtpmap:96 opus/48000/2", "a=fmtp:96 useinbandfec=1"), one("a=rtpmap:96 opus/48000/2"), true},
		{one("a=rtpmap:101 telephone-event/8000"), one("a=rtpmap:101 telephone-event/48000"), false},
		{one("a=rtpmap:96 AMR/8000"), one("a=rtpmap:96 AMR/8000", "a=fmtp:96 octet-align=1"), false},
		{one("a=rtpmap:96 AMR/8000", "a=fmtp:96 octet-align=0; mode-set=7"), one("a=rtpmap:96 AMR/8000/1"), true},
		{one("a=rtpmap:96 AMR/8000", "a=fmtp:96 crc=1"), one("a=rtpmap:96 AMR/8000", "a=fmtp:96 octet-align=1"), true},
		{h264("profile-level-id=42e01f;packetization-mode=1"), h264("packetization-mode=1; profile-level-id=42C014"), true},
		{h264("profile-level-id=42e01f;packetization-mode=1"), h264("profile-level-id=42e01f"), false},
		{h264("profile-level-id=42e01f"), h264("profile-level-id=640c1f"), false},
		{h264("profile-level-id=42001f"), h264("packetization-mode=0"), true},
		{h264("profile-level-id=zz"), h264("profile-level-id=zz"), true},
		{one("a=rtpmap:96 VP9/90000"), one("a=rtpmap:96 VP9/90000", "a=fmtp:96 profile-id=2"), false},
		{one("a=rtpmap:96 rtx/90000", "a=fmtp:96 apt=96"), one("a=rtpmap:96 rtx/90000", "a=fmtp:96 apt=96"), true},
		{one("a=rtpmap:96 rtx/90000", "a=fmtp:96 apt=0"), one("a=rtpmap:96 rtx/90000", "a=fmtp:96 apt=8"), false},
	} {
		if (c.a == c.b) != c.same {
			t.Errorf("%q and %q", c.a, c.b)
		}
	}
	s := parsedNumbers(t, numbered("m=audio 4000 RTP/AVP 0 x 0 200 8"))
	if got := s.Formats(0); len(got) != 2 || got[1].Number != 8 || !got[0].Is("PCMU") || got[0].Base() != "pcmu/8000/1" {
		t.Errorf("%v", got)
	}
}

// Every place where a number stands, and none where one only looks like it.
func TestRenumber(t *testing.T) {
	in := numbered(
		"m=audio 4000 RTP/AVP 96  0 101 63 100",
		"a=rtpmap:96 opus/48000/2", "a=fmtp:96 minptime=10;maxaveragebitrate=96",
		"a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-16,96,101",
		"a=rtpmap:63 red/48000/2", "a=fmtp:63 96/96",
		"a=rtpmap:100 rtx/48000", "a=fmtp:100 rtx-time=100; apt=96",
		"a=rtcp-fb:96 nack", "a=rtcp-fb:* transport-cc", "a=imageattr:96 send *", "a=framesize:96 96-96",
		"a=rid:96 send max-pt=96;pt=96,101", "a=rtpmap:98 stray/8000", "a=ptime:96", "a=fmtp:x 96",
	)
	want := numbered(
		"m=audio 4000 RTP/AVP 111  97 96 63 102",
		"a=rtpmap:111 opus/48000/2", "a=fmtp:111 minptime=10;maxaveragebitrate=96",
		"a=rtpmap:96 telephone-event/8000", "a=fmtp:96 0-16,96,101",
		"a=rtpmap:63 red/48000/2", "a=fmtp:63 111/111",
		"a=rtpmap:102 rtx/48000", "a=fmtp:102 rtx-time=100; apt=111",
		"a=rtcp-fb:111 nack", "a=rtcp-fb:* transport-cc", "a=imageattr:111 send *", "a=framesize:111 96-96",
		"a=rid:96 send max-pt=96;pt=111,96", "a=ptime:96", "a=fmtp:x 96", "a=rtpmap:97 PCMU/8000",
	)
	s := parsedNumbers(t, in)
	s.Renumber(0, same(96, 111, 101, 96, 0, 97, 100, 102))
	if got := string(s.Bytes()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// SSRCs that nobody keeps to are not told; keys that the peers agree upon are seen.
func TestSourcesAndKeys(t *testing.T) {
	s := parsedNumbers(t, numbered("m=audio 4000 RTP/AVP 0", "a=ssrc:1 cname:x", "a=ssrc-group:FID 1 2", "a=ssrc-not:1",
		"m=audio 4002 RTP/SAVP 0", "m=audio 4004 RTP/AVP 0", "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x"))
	s.DropSources(0)
	if got := string(s.Bytes()); strings.Contains(got, "a=ssrc:") || strings.Contains(got, "ssrc-group") || !strings.Contains(got, "a=ssrc-not") {
		t.Error(got)
	}
	if s.Sealed(0) || !s.Sealed(1) || !s.Sealed(2) {
		t.Error("sealed", s.Sealed(0), s.Sealed(1), s.Sealed(2))
	}
}

// Whose a source is stays to be seen, under another name.
func TestNamesOfSources(t *testing.T) {
	in := []string{"m=video 4000 RTP/AVP 96", "a=ssrc:1 cname:root@10.0.0.2", "a=ssrc:1 msid:a b", "a=SSRC:2 CNAME:x:y z", "a=ssrc:3 cname", "a=ssrc-group:FID 1 2",
		"a=x-cname:root", "m=audio 4002 RTP/AVP 0", "a=ssrc:4 cname:root"}
	s := parsedNumbers(t, numbered(in...))
	s.NameSources(0, func(name string) string { return "<" + name + ">" })
	in[1], in[3] = "a=ssrc:1 cname:<root@10.0.0.2>", "a=ssrc:2 cname:<x:y z>"
	if got := string(s.Bytes()); got != numbered(in...) {
		t.Errorf("got\n%s\nwant\n%s", got, numbered(in...))
	}
}

// There and back again: nothing is lost, nothing else is touched.
func TestRenumberBack(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		numbers := rapid.SliceOfNDistinct(rapid.Uint8Range(35, 127), 1, 6, rapid.ID).Draw(rt, "numbers")
		others := rapid.SliceOfNDistinct(rapid.Uint8Range(35, 127), len(numbers), len(numbers), rapid.ID).Draw(rt, "others")
		text := "m=audio 4000 RTP/AVP"
		var lines []string
		for i, n := range numbers {
			name := rapid.SampledFrom([]string{"opus/48000/2", "red/8000", "rtx/8000", "iLBC/8000"}).Draw(rt, "name")
			text += " " + itoa(n)
			at := itoa(numbers[(i+1)%len(numbers)])
			lines = append(lines, "a=rtpmap:"+itoa(n)+" "+name, "a=rtcp-fb:"+itoa(n)+" nack")
			switch name {
			case "red/8000":
				lines = append(lines, "a=fmtp:"+itoa(n)+" "+at+"/"+at)
			case "rtx/8000":
				lines = append(lines, "a=fmtp:"+itoa(n)+" apt="+at)
			}
		}
		in := numbered(append([]string{text}, lines...)...)
		s := parsedNumbers(t, in)
		there, back := same(), same()
		for i, n := range numbers {
			there[n], back[others[i]] = others[i], n
		}
		before := s.Formats(0)
		s.Renumber(0, there)
		s = parsedNumbers(t, string(s.Bytes()))
		for i, f := range s.Formats(0) {
			if f.Number != others[i] || f.Codec != before[i].Codec {
				rt.Fatalf("%v became %v", before[i], f)
			}
		}
		s.Renumber(0, back)
		if got := string(s.Bytes()); got != in {
			rt.Fatalf("got\n%s\nwant\n%s", got, in)
		}
	})
}

func itoa(n uint8) string { return string(appendInt(nil, n)) }

func appendInt(b []byte, n uint8) []byte {
	if n >= 10 {
		b = appendInt(b, n/10)
	}
	return append(b, '0'+n%10)
}

// FuzzRenumber renumbers anything that parses: the identity changes nothing but attributes of numbers that are not listed,
// a swap keeps the codecs, and the result parses.
func FuzzRenumber(f *testing.F) {
	f.Add([]byte(numbered("m=audio 4000 RTP/AVP 96 0", "a=rtpmap:96 red/8000", "a=fmtp:96 0/0", "a=rtcp-fb:96 nack", "a=rid:1 send pt=96")))
	f.Add([]byte(numbered("m=video 4000 RTP/AVP 96 97", "a=rtpmap:97 rtx/90000", "a=fmtp:97 apt=96", "a=fmtp:96", "a=rtpmap:96")))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := sdp.Parse(b)
		if err != nil {
			return
		}
		for i := range s.Len() {
			line := s.At(i)
			if !line.IsRTP() {
				continue
			}
			before := s.Formats(i)
			s.Renumber(i, same(96, 97, 97, 96))
			again, err := sdp.Parse(s.Bytes())
			if err != nil {
				t.Fatalf("%v: %q", err, s.Bytes())
			}
			after := again.Formats(i)
			if len(after) != len(before) {
				t.Fatalf("%v became %v", before, after)
			}
			for k, x := range before {
				n := x.Number
				if n == 96 || n == 97 {
					n ^= 1
				}
				if after[k].Number != n || !strings.HasPrefix(x.Codec, "?") && !strings.Contains(x.Codec, "?") && after[k].Base() != x.Base() {
					t.Fatalf("%v became %v in %q", before, after, s.Bytes())
				}
			}
			if slices.ContainsFunc(s.Formats(i), func(x sdp.Format) bool { return x.Number > 127 }) {
				t.Fatal("no payload type")
			}
		}
	})
}
