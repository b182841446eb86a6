package sdp

import (
	"bytes"
	"strings"
	"testing"
)

func TestUntouchedComesOutByteForByte(t *testing.T) {
	for name, b := range corpus(t) {
		lf := bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n"))
		cut := bytes.TrimRight(b, "\r\n")
		mixed := bytes.Replace(b, []byte("\r\n"), []byte("\n"), 3)
		blank := append(bytes.Clone(b), "\r\n\n"...)
		for _, in := range [][]byte{b, lf, cut, mixed, blank} {
			if got := must(t, in).Bytes(); !bytes.Equal(got, in) {
				t.Errorf("%s:\n%q\nbecame\n%q", name, in, got)
			}
		}
	}
}

func TestParseRefuses(t *testing.T) {
	long := strings.Repeat("a=x\r\n", MaxLines)
	tests := []struct{ name, in, want string }{
		{"empty", "", "line 1: empty"},
		{"blank lines only", "\r\n\r\n", "line 1: empty"},
		{"not SDP", "hello\r\n", "want v=0"},
		{"first line", "o=- 1 1 IN IP4 10.0.0.1\r\nv=0\r\n", "line 1"},
		{"version", "v=1\r\n", "line 1"},
		{"NUL", "v=0\r\ns=a\x00b\r\n", "line 2: NUL"},
		{"CR inside", "v=0\r\ns=a\rc=IN IP4 10.0.0.1\r\n", "line 2: CR"},
		{"CR at the end", "v=0\r\ns=a\r", "line 2: CR"},
		{"blank line inside", "v=0\r\n\r\ns=a\r\n", "line 2"},
		{"no letter", "v=0\r\n=a\r\n", "line 2"},
		{"blank before the equals sign", "v=0\r\ns =a\r\n", "line 2"},
		{"upper case", "v=0\r\nC=IN IP4 10.0.0.1\r\n", "line 2: unknown type"},
		{"unknown letter", "v=0\r\nx=1\r\n", "line 2: unknown type"},
		{"second origin", "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\no=- 1 1 IN IP4 10.0.0.1\r\n", "line 3: second o="},
		{"second description", "v=0\r\ns=a\r\nv=0\r\n", "line 3: second v="},
		{"origin of a stream", "v=0\r\nm=audio 1 RTP/AVP 0\r\no=- 1 1 IN IP4 10.0.0.1\r\n", "line 3"},
		{"port", "v=0\r\nm=audio 65536 RTP/AVP 0\r\n", "line 2"},
		{"negative port", "v=0\r\nm=audio -1 RTP/AVP 0\r\n", "line 2"},
		{"no protocol", "v=0\r\nm=audio 4000\r\n", "line 2"},
		{"no ports", "v=0\r\nm=audio 4000/0 RTP/AVP 0\r\n", "line 2: m= line"},
		{"number of ports", "v=0\r\nm=audio 4000/x RTP/AVP 0\r\n", "line 2"},
		{"short connection", "v=0\r\nc=IN IP4\r\n", "line 2: c= line"},
		{"empty connection", "v=0\r\nc=IN IP4 /127\r\n", "line 2: c= line"},
		{"rtcp", "v=0\r\nm=audio 4000 RTP/AVP 0\r\na=rtcp:x\r\n", "line 3"},
		{"rtcp without value", "v=0\r\nm=audio 4000 RTP/AVP 0\r\na=RTCP\r\n", "line 3"},
		{"too many lines", "v=0\r\n" + long, "lines"},
		{"too many streams", "v=0\r\n" + strings.Repeat("m=audio 0 RTP/AVP 0\r\n", MaxMedia+1), "m= lines"},
		{"too large", "v=0\r\ns=" + strings.Repeat("x", MaxBytes), "bytes"},
	}
	for _, tt := range tests {
		s, err := Parse([]byte(tt.in))
		if err == nil || s != nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one with %q", tt.name, err, tt.want)
		}
	}
}

func TestParseAccepts(t *testing.T) {
	for name, in := range map[string]string{
		"only a version":      "v=0",
		"at the limit":        "v=0\r\n" + strings.Repeat("a=x\r\n", MaxLines-1),
		"all streams":         "v=0\r\n" + strings.Repeat("m=audio 0 RTP/AVP 0\r\n", MaxMedia),
		"no formats":          "v=0\r\nm=audio 0 RTP/AVP\r\n",
		"blanks":              "v=0 \r\nm=audio  4000   RTP/AVP  0 \r\nc=IN  IP4  10.0.0.1 \r\n",
		"foreign network":     "v=0\r\nc=ATM NSAP 47.0091.8100.0000.0060.3e64.fd01.0060.3e64.fd01.00\r\n",
		"telephone network":   "v=0\r\nc=PSTN E164 +441134960123\r\n",
		"empty values":        "v=0\r\ns=\r\na=\r\n",
		"bytes above 127":     "v=0\r\ns=J\xf6rg\r\n",
		"t behind c":          "v=0\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\n",
		"attribute not rtcp":  "v=0\r\na=rtcpx:y\r\n",
		"origin with 5 words": "v=0\r\no=- 1 IN IP4 10.0.0.1\r\n",
	} {
		s, err := Parse([]byte(in))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if got := string(s.Bytes()); got != in {
			t.Errorf("%s: %q became %q", name, in, got)
		}
	}
}

func TestOrigin(t *testing.T) {
	tests := []struct {
		in   string
		want Origin
		ok   bool
	}{
		{"o=- 1 2 IN IP4 10.0.0.1", Origin{"-", "1", "2", "10.0.0.1"}, true},
		{"o=door station 3 -17 -3 in ip4 192.168.7.9", Origin{"door station 3", "-17", "-3", "192.168.7.9"}, true},
		{"o=x 912345678901234567890 1 IN IP6 2001:db8::5", Origin{"x", "912345678901234567890", "1", "2001:db8::5"}, true},
		{"o=x 1 1 IN IP4 pbx.example.internal", Origin{"x", "1", "1", "pbx.example.internal"}, true},
		{"o=1 IN IP4 10.0.0.1", Origin{}, false},
		{"o=", Origin{}, false},
		{"s=-", Origin{}, false},
	}
	for _, tt := range tests {
		got, ok := must(t, text("v=0", tt.in)).Origin()
		if got != tt.want || ok != tt.ok {
			t.Errorf("%s: %+v %v", tt.in, got, ok)
		}
	}
}

func TestConnection(t *testing.T) {
	if h, ok := must(t, base()).Connection(); h != "10.0.0.1" || !ok {
		t.Errorf("%q %v", h, ok)
	}
	if h, ok := must(t, text("v=0", "m=audio 1 RTP/AVP 0", "c=IN IP4 10.0.0.1")).Connection(); ok {
		t.Errorf("the session has no c= line, got %q", h)
	}
	if h, _ := must(t, text("v=0", "c=IN IP4 224.2.1.1/127/3")).Connection(); h != "224.2.1.1" {
		t.Errorf("%q", h)
	}
}

func BenchmarkRewrite(b *testing.B) {
	in := corpus(b)["polycom-offer"]
	b.ReportAllocs()
	for b.Loop() {
		s, err := Parse(in)
		if err != nil {
			b.Fatal(err)
		}
		rewrite(s)
		_ = s.Bytes()
	}
}
