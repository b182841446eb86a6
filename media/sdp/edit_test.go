package sdp

import (
	"bytes"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var (
	ours  = netip.MustParseAddr("198.51.100.5")
	ours6 = netip.MustParseAddr("2001:db8:5::5")
)

// rewrite is what a call does to every description: streams that a relay carries get our address and a port pair,
// others are declined.
func rewrite(s *Session) {
	for i := range s.Len() {
		if m := s.At(i); m.Rejected() || !m.Datagram() {
			s.Reject(i)
			continue
		}
		port := 30000 + 2*uint16(i)
		s.SetMedia(i, ours, port, port+1)
	}
	s.DropCandidates()
	s.SetOrigin("-", 4711, 1, ours)
}

func TestRewriteGolden(t *testing.T) {
	for name, in := range corpus(t) {
		s := must(t, in)
		n := s.Len()
		rewrite(s)
		out := s.Bytes()
		golden := filepath.Join("testdata", "rewritten", name+".sdp")
		if *update {
			if err := os.WriteFile(golden, out, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(out, want) {
			t.Errorf("%s became\n%s\nwant\n%s", name, out, want)
		}
		again := must(t, out)
		if again.Len() != n {
			t.Errorf("%s: %d streams of %d", name, again.Len(), n)
		}
		if rewrite(again); !bytes.Equal(again.Bytes(), out) {
			t.Errorf("%s: a second rewrite changes it:\n%s", name, again.Bytes())
		}
	}
}

// TestNothingOfTheOtherSide is the invariant over whole outputs: no address, host or product of who wrote it.
func TestNothingOfTheOtherSide(t *testing.T) {
	for name, in := range corpus(t) {
		s := must(t, in)
		rewrite(s)
		out := string(s.Bytes())
		for _, secret := range []string{
			"10.0.0.", "172.16.", "192.168.", "203.0.113.", "198.51.100.77", "127.0.0.1", "2001:db8:20", "2001:db8:77", "fd00",
			".internal", ".local", "Asterisk", "FreeSWITCH", "Polycom", "Cisco", "Talk", "mozilla", "BroadWorks", "doorcam",
			"CallServer", "alice", "carol", "Carol", "candidate", "ice-", "sesame",
		} {
			if strings.Contains(out, secret) {
				t.Errorf("%s shows %q:\n%s", name, secret, out)
			}
		}
		for h := range addresses([]byte(out)) {
			if a := literal(string(h)); a != ours && !unspecified(a) {
				t.Errorf("%s names %q", name, h)
			}
		}
	}
}

// TestOnlyWhatMustChange compares line by line: what is neither o=, s=, c=, m=, a=rtcp nor concealed is untouched.
func TestOnlyWhatMustChange(t *testing.T) {
	for name, in := range corpus(t) {
		s := must(t, in)
		before := slices.Collect(s.all())
		rewrite(s)
		after := map[string]bool{}
		for l := range s.all() {
			after[l.text+l.end] = true
		}
		for _, l := range before {
			attr, _ := l.attribute()
			if strings.IndexByte("oscm", l.text[0]) >= 0 || attr == "rtcp" || iceAttribute(attr) || l.reveals() {
				continue
			}
			if !after[l.text+l.end] {
				t.Errorf("%s lost %q", name, l.text)
			}
		}
	}
}

func TestSetMedia(t *testing.T) {
	v, m := "v=0", "m=audio 4000 RTP/AVP 0"
	tests := []struct {
		name     string
		in, want []string
	}{
		{"session", []string{v, "c=IN IP4 10.0.0.1", m}, []string{v, "c=IN IP4 198.51.100.5", "m=audio 30000 RTP/AVP 0"}},
		{"own", []string{v, m, "c=IN IP4 10.0.0.1"}, []string{v, "m=audio 30000 RTP/AVP 0", "c=IN IP4 198.51.100.5"}},
		{"both", []string{v, "c=IN IP4 10.0.0.1", m, "c=IN IP4 10.0.0.2"}, []string{v, "c=IN IP4 198.51.100.5", "m=audio 30000 RTP/AVP 0", "c=IN IP4 198.51.100.5"}},
		{"neither", []string{v, m, "i=x", "b=AS:64"}, []string{v, "m=audio 30000 RTP/AVP 0", "i=x", "c=IN IP4 198.51.100.5", "b=AS:64"}},
		{"other family", []string{v, "c=IN IP6 2001:db8::1", m}, []string{v, "c=IN IP4 198.51.100.5", "m=audio 30000 RTP/AVP 0"}},
		{"host name", []string{v, "c=IN IP4 pbx.example", m}, []string{v, "c=IN IP4 198.51.100.5", "m=audio 30000 RTP/AVP 0"}},
		{"layers", []string{v, m, "c=IN IP4 224.2.1.1/127", "c=IN IP4 224.2.1.2/127", "a=x"}, []string{v, "m=audio 30000 RTP/AVP 0", "c=IN IP4 198.51.100.5", "a=x"}},
		{"hold", []string{v, "c=IN IP4 0.0.0.0", m}, []string{v, "c=IN IP4 0.0.0.0", "m=audio 30000 RTP/AVP 0"}},
		{"hold of a stream", []string{v, "c=IN IP4 10.0.0.1", m, "c=IN IP4 0.0.0.0"}, []string{v, "c=IN IP4 198.51.100.5", "m=audio 30000 RTP/AVP 0", "c=IN IP4 0.0.0.0"}},
		{"pairs", []string{v, "c=IN IP4 10.0.0.1", "m=audio 4000/2 RTP/AVP 0"}, []string{v, "c=IN IP4 198.51.100.5", "m=audio 30000 RTP/AVP 0"}},
		{"blanks", []string{v, "c=IN IP4 10.0.0.1", "m=audio  4000  RTP/AVP  0 "}, []string{v, "c=IN IP4 198.51.100.5", "m=audio  30000  RTP/AVP  0 "}},
		{"rtcp port", []string{v, "c=IN IP4 10.0.0.1", m, "a=rtcp:4001"}, []string{v, "c=IN IP4 198.51.100.5", "m=audio 30000 RTP/AVP 0", "a=rtcp:30001"}},
		{"rtcp address", []string{v, "c=IN IP4 10.0.0.1", m, "a=rtcp:4001 IN IP4 10.0.0.1", "a=rtcp:4005"}, []string{v, "c=IN IP4 198.51.100.5", "m=audio 30000 RTP/AVP 0", "a=rtcp:30001 IN IP4 198.51.100.5"}},
		{"rtcp of a held stream", []string{v, "c=IN IP4 0.0.0.0", m, "a=rtcp:9 IN IP4 0.0.0.0"}, []string{v, "c=IN IP4 0.0.0.0", "m=audio 30000 RTP/AVP 0", "a=rtcp:30001 IN IP4 0.0.0.0"}},
		{"rtcp unspecified, stream not", []string{v, "c=IN IP4 10.0.0.1", m, "a=rtcp:9 IN IP4 0.0.0.0"}, []string{v, "c=IN IP4 198.51.100.5", "m=audio 30000 RTP/AVP 0", "a=rtcp:30001 IN IP4 198.51.100.5"}},
	}
	for _, tt := range tests {
		s := must(t, text(tt.in...))
		s.SetMedia(0, ours, 30000, 30001)
		if got, want := s.Bytes(), text(tt.want...); !bytes.Equal(got, want) {
			t.Errorf("%s:\n%s\nwant\n%s", tt.name, got, want)
		}
	}
}

func TestSetMediaOfSeveralAddresses(t *testing.T) {
	s := must(t, text("v=0", "c=IN IP4 10.0.0.1", "m=audio 4000 RTP/AVP 0", "m=video 4002 RTP/AVP 96", "a=x"))
	s.SetMedia(0, ours, 30000, 30001)
	s.SetMedia(1, ours6, 30002, 30003)
	want := text("v=0", "c=IN IP4 198.51.100.5", "m=audio 30000 RTP/AVP 0", "m=video 30002 RTP/AVP 96", "c=IN IP6 2001:db8:5::5", "a=x")
	if got := s.Bytes(); !bytes.Equal(got, want) {
		t.Errorf("%s", got)
	}
}

func TestSetMediaWithPortZero(t *testing.T) {
	s := must(t, text("v=0", "c=IN IP4 10.0.0.1", "m=audio 4000 RTP/AVP 0", "a=rtcp:4001", "m=video 4002 RTP/AVP 96"))
	s.SetMedia(0, ours, 0, 0)
	s.SetMedia(1, ours, 30002, 30003)
	want := text("v=0", "c=IN IP4 198.51.100.5", "m=audio 0 RTP/AVP 0", "m=video 30002 RTP/AVP 96")
	if got := s.Bytes(); !bytes.Equal(got, want) {
		t.Errorf("%s", got)
	}
	s = must(t, text("v=0", "m=audio 0 RTP/AVP 0"))
	s.SetMedia(0, ours, 0, 0)
	if got := s.Bytes(); !bytes.Equal(got, text("v=0", "m=audio 0 RTP/AVP 0")) {
		t.Errorf("a rejected stream needs no address:\n%s", got)
	}
}

func TestSetOrigin(t *testing.T) {
	tests := []struct {
		name, user string
		addr       netip.Addr
		in, want   []string
	}{
		{"usual", "-", ours, []string{"v=0", "o=root 1 1 IN IP4 10.0.0.1", "s=Asterisk", "m=audio 1 RTP/AVP 0"}, []string{"v=0", "o=- 7 8 IN IP4 198.51.100.5", "s=-", "m=audio 1 RTP/AVP 0"}},
		{"IPv6", "sbc", ours6, []string{"v=0", "o=root 1 1 IN IP4 10.0.0.1", "m=audio 1 RTP/AVP 0"}, []string{"v=0", "o=sbc 7 8 IN IP6 2001:db8:5::5", "m=audio 1 RTP/AVP 0"}},
		{"mapped address", "sbc", netip.MustParseAddr("::ffff:198.51.100.5"), []string{"v=0", "o=x", "m=audio 1 RTP/AVP 0"}, []string{"v=0", "o=sbc 7 8 IN IP4 198.51.100.5", "m=audio 1 RTP/AVP 0"}},
		{"missing", "a b", ours, []string{"v=0", "m=audio 1 RTP/AVP 0"}, []string{"v=0", "o=- 7 8 IN IP4 198.51.100.5", "m=audio 1 RTP/AVP 0"}},
		{"no stream", "", ours, []string{"v=0", "s=x", "c=IN IP4 10.0.0.1"}, []string{"v=0", "o=- 7 8 IN IP4 198.51.100.5", "s=-", "c=IN IP4 198.51.100.5"}},
	}
	for _, tt := range tests {
		s := must(t, text(tt.in...))
		s.SetOrigin(tt.user, 7, 8, tt.addr)
		if got, want := s.Bytes(), text(tt.want...); !bytes.Equal(got, want) {
			t.Errorf("%s:\n%s\nwant\n%s", tt.name, got, want)
		}
	}
}

func TestInsertedLineEnds(t *testing.T) {
	for in, want := range map[string]string{
		"v=0":                          "v=0\r\no=- 1 1 IN IP4 198.51.100.5",
		"v=0\n":                        "v=0\no=- 1 1 IN IP4 198.51.100.5\n",
		"v=0\nm=audio 1 RTP/AVP 0":     "v=0\no=- 1 1 IN IP4 198.51.100.5\nm=audio 30000 RTP/AVP 0\nc=IN IP4 198.51.100.5",
		"v=0\r\nm=audio 1 RTP/AVP 0\n": "v=0\r\no=- 1 1 IN IP4 198.51.100.5\r\nm=audio 30000 RTP/AVP 0\nc=IN IP4 198.51.100.5\n",
	} {
		s := must(t, []byte(in))
		if s.Len() > 0 {
			s.SetMedia(0, ours, 30000, 30001)
		}
		s.SetOrigin("-", 1, 1, ours)
		if got := string(s.Bytes()); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func TestReject(t *testing.T) {
	in := text("v=0", "o=- 1 1 IN IP4 10.0.0.1", "s=x", "c=IN IP4 10.0.0.1", "t=0 0", "a=group:x",
		"m=audio 4000/2 RTP/AVP 0 101", "c=IN IP6 2001:db8::1", "a=rtcp:4001", "a=candidate:1 1 UDP 1 10.0.0.1 4000 typ host", "a=ptime:20",
		"m=video 4002 RTP/AVP 96", "c=IN IP4 10.0.0.2", "a=X-nat:10.0.0.9")
	s := must(t, in)
	s.Reject(0)
	if c, _ := s.Connection(); c != "10.0.0.1" {
		t.Errorf("the session's c= line counts while a stream lives: %q", c)
	}
	s.Reject(1)
	want := text("v=0", "o=- 1 1 IN IP4 10.0.0.1", "s=x", "c=IN IP4 0.0.0.0", "t=0 0", "a=group:x",
		"m=audio 0 RTP/AVP 0 101", "c=IN IP6 ::", "a=ptime:20", "m=video 0 RTP/AVP 96", "c=IN IP4 0.0.0.0")
	if got := s.Bytes(); !bytes.Equal(got, want) {
		t.Errorf("%s", got)
	}
}

func TestRejectBesideOurs(t *testing.T) {
	s := must(t, text("v=0", "c=IN IP4 10.0.0.1", "m=audio 4000 RTP/AVP 0", "m=video 4002 RTP/AVP 96"))
	s.SetMedia(0, ours, 30000, 30001)
	s.Reject(1)
	s.Reject(0)
	if c, _ := s.Connection(); c != ours.String() {
		t.Errorf("our own address needs no blanking: %q", c)
	}
}

func TestRejectAll(t *testing.T) {
	for name, in := range corpus(t) {
		s := must(t, in)
		n := s.Len()
		s.RejectAll()
		s.SetOrigin("-", 1, 1, ours)
		out := must(t, s.Bytes())
		if out.Len() != n {
			t.Fatalf("%s: %d streams of %d", name, out.Len(), n)
		}
		for i := range out.Len() {
			m := out.At(i)
			if was := must(t, in).At(i); !m.Rejected() || m.Type != was.Type || m.Proto != was.Proto || !slices.Equal(m.Formats, was.Formats) {
				t.Errorf("%s stream %d: %+v", name, i, m)
			}
		}
		for h := range addresses(s.Bytes()) {
			if a := literal(string(h)); a != ours && !unspecified(a) {
				t.Errorf("%s names %q", name, h)
			}
		}
		if strings.Contains(string(s.Bytes()), "a=") {
			t.Errorf("%s keeps attributes:\n%s", name, s.Bytes())
		}
	}
}
