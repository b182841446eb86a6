package sdp

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	psdp "github.com/pion/sdp/v3"
	"pgregory.net/rapid"
)

// descriptions generates descriptions of the kinds that equipment sends, tidy and sloppy. Every address in them is of
// 10.0.0.0/8 or fd00::/8, or unspecified.
func descriptions() *rapid.Generator[[]byte] {
	return rapid.Custom(func(t *rapid.T) []byte {
		end := rapid.SampledFrom([]string{"\r\n", "\n"}).Draw(t, "line end")
		addr := rapid.SampledFrom([]string{"IN IP4 10.0.0.1", "IN IP4 10.9.8.7", "IN IP6 fd00::1", "in ip4 10.0.0.3", "IN IP4 0.0.0.0"})
		attribute := rapid.SampledFrom([]string{
			"a=ptime:20", "a=rtpmap:0 PCMU/8000", "a=fmtp:101 0-15", "a=sendonly", "a=sendrecv", "a=rtcp-mux", "a=mid:0", "b=AS:64",
			"a=candidate:1 1 UDP 1 10.0.0.1 4000 typ host", "a=ice-ufrag:x", "a=rtcp-fb:* nack", "a=tool:x", "a=X-nat:10.0.0.1",
			"a=ssrc:1 cname:a@10.0.0.1", "a=remote-candidates:1 10.0.0.1 4000", "k=prompt", "i=at 10.0.0.1", "a=unknown", "a=",
		})
		lines := []string{"v=0"}
		maybe := func(label string, f func()) {
			if rapid.Bool().Draw(t, label) {
				f()
			}
		}
		maybe("o", func() { lines = append(lines, "o=me too 1 2 "+addr.Draw(t, "origin")) })
		maybe("s", func() { lines = append(lines, "s=Product") })
		maybe("c", func() { lines = append(lines, "c="+addr.Draw(t, "session")) })
		maybe("t", func() { lines = append(lines, "t=0 0") })
		lines = append(lines, rapid.SliceOfN(attribute, 0, 4).Draw(t, "session attributes")...)
		for i := range rapid.IntRange(0, 4).Draw(t, "streams") {
			proto := rapid.SampledFrom([]string{"RTP/AVP 0 101", "RTP/SAVPF 96", "udptl t38", "TCP/MSRP *", "UDP/DTLS/SCTP x"}).Draw(t, "protocol")
			port := rapid.SampledFrom([]string{"4000", "0", "65535", "4000/2"}).Draw(t, "port")
			lines = append(lines, fmt.Sprintf("m=audio %s %s", port, proto))
			for range rapid.IntRange(0, 2).Draw(t, "own c=") {
				lines = append(lines, "c="+addr.Draw(t, "stream"))
			}
			maybe("rtcp", func() { lines = append(lines, fmt.Sprintf("a=rtcp:%d", 4001+i)) })
			maybe("rtcp address", func() { lines = append(lines, "a=rtcp:4001 "+addr.Draw(t, "rtcp")) })
			lines = append(lines, rapid.SliceOfN(attribute, 0, 4).Draw(t, "attributes")...)
		}
		last := rapid.SampledFrom([]string{"", end, end + end}).Draw(t, "last line end")
		return []byte(strings.Join(lines, end) + last)
	})
}

func TestRewriteProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := descriptions().Draw(t, "description")
		s, err := Parse(in)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(s.Bytes(), in) {
			t.Fatalf("identity: %q", s.Bytes())
		}
		n := s.Len()
		rewrite(s)
		out := s.Bytes()
		for h := range addresses(out) {
			if a := literal(string(h)); a != ours && !unspecified(a) {
				t.Fatalf("shows %s:\n%s", h, out)
			}
		}
		if bytes.Contains(out, []byte("10.0.0")) || bytes.Contains(out, []byte("fd00")) || bytes.Contains(out, []byte("Product")) {
			t.Fatalf("leak:\n%s", out)
		}
		again, err := Parse(out)
		if err != nil || again.Len() != n {
			t.Fatalf("%v: %d streams of %d\n%s", err, again.Len(), n, out)
		}
		if rewrite(again); !bytes.Equal(again.Bytes(), out) {
			t.Fatalf("second rewrite:\n%s\nwas\n%s", again.Bytes(), out)
		}
		for i := range n {
			was, is := must2(in).At(i), again.At(i)
			if was.Type != is.Type || was.Proto != is.Proto || was.Direction != is.Direction || was.Payloads != is.Payloads || was.Mux != is.Mux {
				t.Fatalf("stream %d changed: %+v, was %+v", i, is, was)
			}
			if live := is.Port != 0; live && (is.Port != 30000+2*uint16(i) || is.Addr != ours && !is.Hold()) {
				t.Fatalf("stream %d: %v:%d", i, is.Addr, is.Port)
			}
			if was.Hold() != is.Hold() && !is.Rejected() {
				t.Fatalf("stream %d: hold %v became %v", i, was.Hold(), is.Hold())
			}
		}
	})
}

func must2(b []byte) *Session {
	s, err := Parse(b)
	if err != nil {
		panic(err)
	}
	return s
}

// TestReplaceProperties: what Replace was told to take is gone, in whatever order it is told.
func TestReplaceProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := descriptions().Draw(t, "description")
		secret := rapid.SampledFrom([]string{"10.0.0.1", "10.9.8.7", "fd00::1"}).Draw(t, "secret")
		out, hits := Replace(in, func(h []byte) bool { return string(h) == secret }, ours)
		if slices.Contains(hostsOf(out), secret) {
			t.Fatalf("%s stays:\n%s", secret, out)
		}
		if (hits == 0) != bytes.Equal(in, out) {
			t.Fatalf("%d hits", hits)
		}
		if _, more := Replace(out, func(h []byte) bool { return string(h) == secret }, ours); more != 0 {
			t.Fatalf("%d hits left", more)
		}
		if _, err := Parse(out); err != nil {
			t.Fatal(err)
		}
	})
}

// TestPionAgrees holds our reading against an independent one, where that one reads the description at all: it knows
// few media types and protocols, and no sloppiness.
func TestPionAgrees(t *testing.T) {
	read := 0
	agree := func(t *testing.T, name string, in []byte) {
		var p psdp.SessionDescription
		if p.Unmarshal(in) != nil {
			return
		}
		read++
		s := must(t, in)
		if len(p.MediaDescriptions) != s.Len() {
			t.Fatalf("%s: %d streams, they read %d", name, s.Len(), len(p.MediaDescriptions))
		}
		if o, ok := s.Origin(); !ok || o.Username != p.Origin.Username || o.Addr != p.Origin.UnicastAddress {
			t.Errorf("%s: origin %+v", name, o)
		}
		for i, d := range p.MediaDescriptions {
			m := s.At(i)
			if m.Type != d.MediaName.Media || int(m.Port) != d.MediaName.Port.Value || m.Proto != strings.Join(d.MediaName.Protos, "/") ||
				!slices.Equal(m.Formats, d.MediaName.Formats) {
				t.Errorf("%s stream %d: %+v", name, i, m)
			}
			c := p.ConnectionInformation
			if d.ConnectionInformation != nil {
				c = d.ConnectionInformation
			}
			if c != nil && c.Address != nil && c.Address.Address != m.Host {
				t.Errorf("%s stream %d: host %q, they read %q", name, i, m.Host, c.Address.Address)
			}
			if _, mux := d.Attribute("rtcp-mux"); mux != m.Mux {
				t.Errorf("%s stream %d: mux %v", name, i, m.Mux)
			}
		}
	}
	for name, in := range corpus(t) {
		agree(t, name, in)
		s := must(t, in)
		rewrite(s)
		agree(t, name+" rewritten", s.Bytes())
	}
	if read < 25 {
		t.Errorf("the oracle read %d descriptions only", read)
	}
}
