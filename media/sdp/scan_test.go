package sdp

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func hostsOf(b []byte) (all []string) {
	for h := range addresses(b) {
		all = append(all, string(h))
	}
	return all
}

func TestAddresses(t *testing.T) {
	tests := []struct {
		line string
		want []string
	}{
		{"o=- 1 1 IN IP4 10.0.0.1", []string{"10.0.0.1"}},
		{"o=door station 3 1 1 IN IP4 pbx.example ", []string{"pbx.example"}},
		{"o=10.0.0.9", []string{"10.0.0.9"}},
		{"o=", nil},
		{"c=IN IP4 10.0.0.1", []string{"10.0.0.1"}},
		{"c=IN IP4 224.2.1.1/127/3", []string{"224.2.1.1"}},
		{"c=IN\tIP6  2001:db8::1", []string{"2001:db8::1"}},
		{"c=IN IP4", nil},
		{"a=rtcp:4001", nil},
		{"a=rtcp:4001 IN IP4 10.0.0.1", []string{"10.0.0.1"}},
		{"a=RTCP:4001 IN IP6 2001:db8::1", []string{"2001:db8::1"}},
		{"a=rtcp-mux", nil},
		{"a=candidate:1 1 UDP 2130706303 10.0.0.1 4000 typ host", []string{"10.0.0.1"}},
		{"a=candidate:1 1 UDP 1694498687 198.51.100.77 4000 typ srflx raddr 10.0.0.1 rport 4000", []string{"198.51.100.77", "10.0.0.1"}},
		{"a=candidate:1 1 UDP 1 x.local 4000 typ host", []string{"x.local"}},
		{"a=candidate:1 1 UDP", nil},
		{"a=remote-candidates:1 10.0.0.1 4000 2 10.0.0.2 4001", []string{"10.0.0.1", "10.0.0.2"}},
		{"a=x:10.0.0.1", nil},
		{"m=audio 4000 RTP/AVP 0", nil},
		{"", nil}, {"c", nil}, {"a=", nil}, {"no SDP at all", nil},
	}
	for _, tt := range tests {
		for _, end := range []string{"", "\n", "\r\n"} {
			if got := hostsOf([]byte(tt.line + end)); !slices.Equal(got, tt.want) {
				t.Errorf("%q: %q, want %q", tt.line, got, tt.want)
			}
		}
	}
	all := streamOf("a=rtcp:4001 IN IP4 10.0.0.3")
	if got := hostsOf(all); !slices.Equal(got, []string{"10.0.0.1", "10.0.0.1", "10.0.0.3"}) {
		t.Errorf("%q", got)
	}
	for range addresses(all) {
		break // stopping early is allowed
	}
}

func TestReplaceAddress(t *testing.T) {
	old, new4, new6 := netip.MustParseAddr("10.0.0.1"), ours, ours6
	tests := []struct{ line, by4, by6 string }{
		{"o=- 1 1 IN IP4 10.0.0.1", "o=- 1 1 IN IP4 198.51.100.5", "o=- 1 1 IN IP6 2001:db8:5::5"},
		{"o=10.0.0.1", "o=198.51.100.5", "o=2001:db8:5::5"},
		{"c=IN IP4 10.0.0.1", "c=IN IP4 198.51.100.5", "c=IN IP6 2001:db8:5::5"},
		{"c=IN IP6 ::ffff:10.0.0.1", "c=IN IP4 198.51.100.5", "c=IN IP6 2001:db8:5::5"},
		{"c=IN IP4 10.0.0.1/127", "c=IN IP4 198.51.100.5/127", "c=IN IP6 2001:db8:5::5/127"},
		{"a=rtcp:4001 IN IP4 10.0.0.1", "a=rtcp:4001 IN IP4 198.51.100.5", "a=rtcp:4001 IN IP6 2001:db8:5::5"},
		{"c=IN IP4 10.0.0.11", "c=IN IP4 10.0.0.11", "c=IN IP4 10.0.0.11"},
		{"a=x:10.0.0.1", "a=x:10.0.0.1", "a=x:10.0.0.1"},
	}
	for _, tt := range tests {
		in := []byte("v=0\n" + tt.line + "\r\nt=0 0")
		if got, want := string(replaceAddress(in, old, new4)), "v=0\n"+tt.by4+"\r\nt=0 0"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
		if got, want := string(replaceAddress(in, old, new6)), "v=0\n"+tt.by6+"\r\nt=0 0"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestReplaceTakesCandidatesOut(t *testing.T) {
	in := streamOf("a=candidate:1 1 UDP 1 10.0.0.1 4000 typ host", "a=mid:0",
		"a=candidate:2 1 UDP 1 198.51.100.77 4000 typ srflx raddr 10.0.0.1 rport 4000", "a=candidate:3 1 UDP 1 198.51.100.78 4000 typ host",
		"a=remote-candidates:1 10.0.0.1 4000 2 10.0.0.1 4001")
	out, hits := Replace(in, func(h []byte) bool { return string(h) == "10.0.0.1" }, ours)
	want := bytes.ReplaceAll(streamOf("a=mid:0", "a=candidate:3 1 UDP 1 198.51.100.78 4000 typ host"), []byte("10.0.0.1"), []byte(ours.String()))
	if !bytes.Equal(out, want) || hits != 5 {
		t.Errorf("%d hits:\n%s", hits, out)
	}
	if bytes.Equal(in, out) || !bytes.Contains(in, []byte("10.0.0.1")) {
		t.Error("the original stays")
	}
}

func TestReplaceWithoutAHit(t *testing.T) {
	in := streamOf("a=candidate:1 1 UDP 1 10.0.0.1 4000 typ host")
	out, hits := Replace(in, func([]byte) bool { return false }, ours)
	if hits != 0 || &out[0] != &in[0] {
		t.Error("without a hit the same bytes come back")
	}
}

func TestFindSDP(t *testing.T) {
	desc := string(streamOf("a=ptime:20"))
	multi := "preamble\r\n--b1\r\nContent-Type: application/isup; version=itu-t92+\r\n\r\n\x01\x02\x03\r\n--b1\r\n" +
		"content-type:Application/SDP\r\nContent-Disposition: session\r\n\r\n" + desc + "\r\n--b1--\r\nepilogue\r\n"
	tests := []struct {
		name, contentType, body, want string
		ok                            bool
	}{
		{"plain", "application/sdp", desc, desc, true},
		{"case and parameter", "Application/SDP ; charset=utf-8", desc, desc, true},
		{"empty", "application/sdp", "", "", false},
		{"other", "application/dtmf-relay", desc, "", false},
		{"no type", "", desc, "", false},
		{"multipart", "multipart/mixed;boundary=b1", multi, desc, true},
		{"quoted boundary", "multipart/mixed ; boundary=\"b1\"", multi, desc, true},
		{"alternative", "multipart/alternative; x=y; Boundary=b1", multi, desc, true},
		{"bare line feeds", "multipart/mixed;boundary=b1", strings.ReplaceAll(multi, "\r\n", "\n"), strings.ReplaceAll(desc, "\r\n", "\n"), true},
		{"no end", "multipart/mixed;boundary=b1", strings.TrimSuffix(multi, "\r\n--b1--\r\nepilogue\r\n"), desc, true},
		{"boundary missing", "multipart/mixed", multi, "", false},
		{"boundary empty", "multipart/mixed;boundary=\"\"", multi, "", false},
		{"boundary too long", "multipart/mixed;boundary=" + strings.Repeat("b", 71), multi, "", false},
		{"another boundary", "multipart/mixed;boundary=b", multi, "", false},
		{"boundary within a line", "multipart/mixed;boundary=b1", "x--b1\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n", "", false},
		{"no headers", "multipart/mixed;boundary=b1", "--b1\r\n\r\nv=0\r\n--b1--", "", false},
		{"headers without an end", "multipart/mixed;boundary=b1", "--b1\r\nContent-Type: application/sdp\r\n--b1--", "", false},
		{"two descriptions", "multipart/mixed;boundary=b1", strings.Replace(multi, "application/isup", "application/sdp", 1), "", false},
		{"nested", "multipart/mixed;boundary=b2", "--b2\r\nContent-Type: multipart/alternative;boundary=b1\r\n\r\n" + multi + "\r\n--b2--", desc, true},
	}
	for _, tt := range tests {
		from, to, ok := FindSDP(tt.contentType, []byte(tt.body))
		if ok != tt.ok || tt.body[from:to] != tt.want {
			t.Errorf("%s: %v %q", tt.name, ok, tt.body[from:to])
		}
	}
	n := 0
	for from, to := range Parts("multipart/mixed;boundary=b1", []byte(strings.Replace(multi, "application/isup", "application/sdp", 1))) {
		if n++; from >= to {
			t.Errorf("part %d: %d–%d", n, from, to)
		}
	}
	if n != 2 {
		t.Errorf("%d parts", n)
	}
	many := strings.Repeat("--b1\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n", 2*maxParts) + "--b1--"
	n = 0
	for range Parts("multipart/mixed;boundary=b1", []byte(many)) {
		n++
	}
	if n != maxParts {
		t.Errorf("%d parts are looked at, want %d", n, maxParts)
	}
}

func BenchmarkAddresses(b *testing.B) {
	in := corpus(b)["polycom-offer"]
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		for h := range addresses(in) {
			n += len(h)
		}
	}
}
