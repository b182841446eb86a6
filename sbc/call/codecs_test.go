package call

import (
	"strings"
	"testing"

	"sallyport/media/sdp"
	"sallyport/sbc/tu"
)

// session is a description with one stream.
func session(t *testing.T, lines ...string) *sdp.Session {
	t.Helper()
	s, err := sdp.Parse([]byte("v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n" + strings.Join(lines, "\r\n") + "\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What each kind of stream may send, beside what it really sends at most: packets a second and bytes with headers.
func TestPolice(t *testing.T) {
	for _, c := range []struct {
		name  string
		lines []string
		want  tu.Police
		rate  uint32 // of a peer that does all it may
		size  uint16
	}{
		{"G.711", []string{"m=audio 4000 RTP/AVP 0 8 101", "a=rtpmap:101 telephone-event/8000"}, tu.Police{Rate: 300, Size: 1800}, 2 * 100, 12 + 480},
		{"G.711 of 20 ms", []string{"m=audio 4000 RTP/AVP 8", "a=ptime:20"}, tu.Police{Rate: 300, Size: 1800}, 100, 12 + 160},
		{"G.729", []string{"m=audio 4000 RTP/AVP 18 13"}, tu.Police{Rate: 300, Size: 400}, 2 * 100, 12 + 200 + 16},
		{"G.729 of 300 ms", []string{"m=audio 4000 RTP/AVP 18", "a=maxptime:300"}, tu.Police{Rate: 300, Size: 500}, 100, 12 + 300},
		{"G.711 of 5 ms", []string{"m=audio 4000 RTP/AVP 0", "a=ptime:5"}, tu.Police{Rate: 500, Size: 1800}, 2 * 200, 12 + 40},
		{"two codecs", []string{"m=audio 4000 RTP/AVP 18 0"}, tu.Police{Rate: 300, Size: 1800}, 100, 172},
		{"redundancy", []string{"m=audio 4000 RTP/AVP 63 18", "a=rtpmap:63 red/8000"}, tu.Police{Rate: 300, Size: 800}, 100, 12 + 9 + 3*60},
		{"opus", []string{"m=audio 4000 RTP/SAVPF 111", "a=rtpmap:111 OPUS/48000/2"}, tu.Police{Rate: 500, Size: 13000}, 400, 12 + 1275 + 16},
		{"not known", []string{"m=audio 4000 RTP/AVP 0 99", "a=rtpmap:99 x-mine/8000"}, tu.Police{Rate: 500}, 400, 2000},
		{"not said", []string{"m=audio 4000 RTP/AVP 99"}, tu.Police{Rate: 500}, 400, 2000},
		{"events alone", []string{"m=audio 4000 RTP/AVP 101", "a=rtpmap:101 telephone-event/8000"}, tu.Police{Rate: 300}, 100, 16},
		{"video", []string{"m=video 4000 RTP/AVP 96", "a=rtpmap:96 H264/90000"}, tu.Police{Rate: 2000}, 1500, 1400},
		{"fax", []string{"m=image 4000 udptl t38"}, tu.Police{Rate: 400}, 100, 400},
		{"something else", []string{"m=application 4000 UDP/BFCP *"}, tu.Police{Rate: 2000}, 100, 1400},
	} {
		s := session(t, c.lines...)
		line := s.At(0)
		got := police(s, 0, &line)
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
		if got.Rate != 0 && got.Rate < c.rate || got.Size != 0 && got.Size < c.size {
			t.Errorf("%s: %+v is too tight for %d packets of %d bytes", c.name, got, c.rate, c.size)
		}
	}
}

func TestBound(t *testing.T) {
	x := tu.Aim{Police: tu.Police{Rate: 300, Size: 400}, Clock: 48000, Payloads: tu.Payloads{1 << 8, 1 << 47}}
	y := tu.Aim{Police: tu.Police{Rate: 500}, Clock: 16000, Payloads: tu.Payloads{1 << 9}}
	bound(&x, &y)
	if want := (tu.Police{Rate: 500}); x.Police != want || y.Police != want || x.Clock != 16000 || y.Clock != 16000 {
		t.Errorf("%+v %+v", x, y)
	}
	x.Clock, y.Clock, y.Payloads = 48000, 16000, tu.Payloads{7}
	bound(&y, &x)
	if x.Clock != 48000 || y.Clock != 48000 {
		t.Errorf("%+v %+v", x, y)
	}
}

func TestAgreed(t *testing.T) {
	audio := func(formats string, attributes ...string) *sdp.Session {
		return session(t, append([]string{"m=audio 4000 RTP/AVP " + formats}, attributes...)...)
	}
	for _, c := range []struct {
		a, b *sdp.Session
		want string
	}{
		{audio("0 8 101", "a=rtpmap:101 telephone-event/8000"), audio("8 101", "a=rtpmap:101 telephone-event/8000"), "PCMA"},
		{audio("8"), audio("0 8"), "PCMA"},
		{audio("111 0", "a=rtpmap:111 opus/48000/2"), audio("96 0", "a=rtpmap:96 OPUS/48000/2"), "OPUS"},
		{audio("101 0", "a=rtpmap:101 telephone-event/8000"), audio("101 0 8", "a=rtpmap:101 telephone-event/8000"), "PCMU"},
		{audio("18"), audio("0"), ""},
		{audio("99"), audio("99"), ""},
		{audio("97", "a=rtpmap:97 speex/8000"), audio("97", "a=rtpmap:97 speex/16000"), ""},
		{audio("0"), nil, ""},
		{nil, nil, ""},
		{session(t, "m=video 4000 RTP/AVP 31"), session(t, "m=video 4000 RTP/AVP 31"), ""},
		{session(t, "m=image 4000 udptl t38"), session(t, "m=image 4000 udptl t38"), ""},
	} {
		if got := agreed(c.a, c.b, 0); got.Name != c.want {
			t.Errorf("%q, want %q", got.Name, c.want)
		}
	}
	if got := agreed(audio("0"), audio("0"), 1); got.Name != "" {
		t.Errorf("of no stream: %q", got.Name)
	}
}

// A record says what its streams carried, by the descriptions in force.
func TestCarries(t *testing.T) {
	p := talking(t)
	if got := p.c.Carries(); len(got) != 1 || got[0].Codec != "PCMU" || got[0].Packet != 0 {
		t.Errorf("%+v", got)
	}
	p.c.legs[callee].media.in = []byte("v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\na=ptime:30\r\n")
	if got := p.c.Carries(); got[0].Packet != 30 {
		t.Errorf("%+v", got)
	}
	for name, want := range map[string]string{"ILBC": "iLBC", "OPUS": "opus", "pcma": "PCMA", "G729": "G729"} {
		if got := codecName(name); got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// Both legs are policed once there is an answer, by what either may send.
func TestAimsArePoliced(t *testing.T) {
	p := talking(t)
	for i := range p.c.legs {
		a := p.c.legs[i].media.aims[0]
		if want := (tu.Police{Rate: 300, Size: 1800}); a.Police != want {
			t.Errorf("leg %d: %+v, want %+v", i, a.Police, want)
		}
	}
}
