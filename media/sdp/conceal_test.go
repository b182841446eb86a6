package sdp

import (
	"bytes"
	"strings"
	"testing"
)

func TestConceal(t *testing.T) {
	tests := []struct {
		line string
		goes bool
	}{
		{"u=http://pbx.example/", true}, {"e=a@b", true}, {"p=+49 30", true}, {"i=x", true}, {"k=prompt", true},
		{"b=AS:64", false}, {"r=7d 1h 0 25h", false}, {"z=0 0", false},
		{"a=tool:x", true}, {"a=TOOL:x", true}, {"a=source-filter: incl IN IP4 * 10.0.0.7", true},
		{"a=altc:1 IP4 pbx 4000", true}, {"a=ccap:1 IN IP4 10.0.0.1", true}, {"a=path:msrp://pbx.example:7394/x;tcp", true},
		{"a=control:rtsp://cam/1", true},
		{"a=x-private:10.0.0.7", true}, {"a=x:10.0.0.7:4000", true}, {"a=x:(10.0.0.7)", true}, {"a=x:10.0.0.7.", true},
		{"a=x:[2001:db8::1]:4000", true}, {"a=x:2001:db8::1", true}, {"a=x:y=10.0.0.7,z", true}, {"a=ssrc:1 cname:carol@10.0.0.7", true},
		{"a=ssrc:1 cname:carol@fd00::7", true}, {"a=ssrc:1 cname:carol", false}, {"a=x:_10.0.0.7_", true},
		{"a=rtpmap:0 PCMU/8000", false}, {"a=fmtp:96 v=1.2.3.4", false}, {"a=x:1.2.3", false}, {"a=x:1.2.3.4.5", false},
		{"a=x:v1.2.3.456", false}, {"a=fingerprint:sha-1 6B:8B:F0:65:5F:78:E2:51", false}, {"a=x:12:30:45", false},
		{"a=setup:actpass", false}, {"a=ptime:20", false}, {"a=rtcp-mux", false}, {"a=rtcp-fb:* nack", false},
		{"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj|2^20|1:32", false},
		{"a=extmap:3 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time", false}, {"a=T38FaxVersion:0", false},
	}
	for _, tt := range tests {
		for where, in := range map[string][]byte{"session": base(tt.line), "stream": streamOf(tt.line)} {
			s := must(t, in)
			s.Conceal()
			if gone := !bytes.Contains(s.Bytes(), []byte(tt.line+"\r\n")); gone != tt.goes {
				t.Errorf("%s in the %s: gone %v", tt.line, where, gone)
			}
			if !tt.goes && !bytes.Equal(s.Bytes(), in) {
				t.Errorf("%s: something else changed", tt.line)
			}
		}
	}
}

func TestConcealKeepsICEAndRTCP(t *testing.T) {
	in := streamOf("a=candidate:1 1 UDP 1 10.0.0.1 4000 typ host", "a=ice-ufrag:x", "a=rtcp:4001 IN IP4 10.0.0.1")
	s := must(t, in)
	if s.Conceal(); !bytes.Equal(s.Bytes(), in) {
		t.Errorf("%s", s.Bytes())
	}
	s = must(t, base("a=rtcp:4001 IN IP4 10.0.0.1"))
	if s.Conceal(); strings.Contains(string(s.Bytes()), "a=rtcp") {
		t.Error("a session has no RTCP port (RFC 3605 §2.1)")
	}
}

func TestDropCandidates(t *testing.T) {
	ice := []string{"a=candidate:1 1 UDP 1 10.0.0.1 4000 typ host", "a=Candidate:x", "a=ice-ufrag:x", "a=ice-pwd:y", "a=ice-lite",
		"a=ICE-options:trickle", "a=end-of-candidates", "a=remote-candidates:1 10.0.0.1 4000", "a=ice-mismatch"}
	s := must(t, streamOf(append(ice, "a=icecream", "a=mid:0")...))
	s.DropCandidates()
	if got, want := s.Bytes(), streamOf("a=icecream", "a=mid:0"); !bytes.Equal(got, want) {
		t.Errorf("%s", got)
	}
	s = must(t, base(ice...))
	if s.DropCandidates(); !bytes.Equal(s.Bytes(), base()) {
		t.Errorf("%s", s.Bytes())
	}
}
