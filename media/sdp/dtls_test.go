package sdp

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	pionsdp "github.com/pion/sdp/v3"
	"pgregory.net/rapid"
)

// hex is a hash of so many equal bytes.
func hash(one string, n int) string { return strings.TrimSuffix(strings.Repeat(one+":", n), ":") }

func TestFingerprint(t *testing.T) {
	sha256, sha512 := "a=fingerprint:sha-256 "+hash("0A", 32), "a=fingerprint:sha-512 "+hash("0B", 64)
	for name, c := range map[string]struct {
		head, stream []string
		want         string // the hash and the first byte; empty: none that can be checked
	}{
		"none":                        {nil, nil, ""},
		"the session's":               {[]string{sha256}, nil, "sha-256 0A"},
		"the stream's":                {nil, []string{sha256}, "sha-256 0A"},
		"the stream's counts":         {[]string{sha512}, []string{sha256}, "sha-256 0A"},
		"the strongest":               {nil, []string{sha256, sha512, "a=fingerprint:sha-384 " + hash("0C", 48)}, "sha-512 0B"},
		"the first of equals":         {nil, []string{sha256, "a=fingerprint:sha-256 " + hash("0D", 32)}, "sha-256 0A"},
		"any case":                    {nil, []string{"a=Fingerprint:SHA-256 " + hash("ab", 32)}, "sha-256 AB"},
		"weak ones are none":          {nil, []string{"a=fingerprint:sha-1 " + hash("0A", 20), "a=fingerprint:md5 " + hash("0A", 16)}, ""},
		"nor do they hide strong":     {nil, []string{"a=fingerprint:sha-1 " + hash("0A", 20), sha256}, "sha-256 0A"},
		"one of the stream hides":     {[]string{sha256}, []string{"a=fingerprint:sha-1 " + hash("0A", 20)}, ""},
		"too short":                   {nil, []string{"a=fingerprint:sha-256 " + hash("0A", 31)}, ""},
		"too long":                    {nil, []string{"a=fingerprint:sha-256 " + hash("0A", 33)}, ""},
		"the length of another":       {nil, []string{"a=fingerprint:sha-256 " + hash("0A", 64)}, ""},
		"no colons":                   {nil, []string{"a=fingerprint:sha-256 " + strings.ReplaceAll(hash("0A", 32), ":", "-")}, ""},
		"no hex":                      {nil, []string{"a=fingerprint:sha-256 " + hash("0G", 32)}, ""},
		"something behind":            {nil, []string{sha256 + " more"}, ""},
		"a broken one beside a whole": {nil, []string{"a=fingerprint:sha-512 zz", sha256}, "sha-256 0A"},
	} {
		s := must(t, text(append(append(append([]string{"v=0", "o=- 1 1 IN IP4 10.0.0.1", "s=x", "c=IN IP4 10.0.0.1", "t=0 0"}, c.head...),
			"m=audio 4000 UDP/TLS/RTP/SAVP 0"), c.stream...)...))
		f, ok := s.Fingerprint(0)
		got := ""
		if ok {
			got = fmt.Sprintf("%s %02X", f.Hash, f.Value[0])
		}
		if got != c.want || ok != (c.want != "") {
			t.Errorf("%s: %q", name, got)
		}
		if ok {
			if again, rank := parseFingerprint(f.String()); rank < 0 || !bytes.Equal(again.Value, f.Value) || again.Hash != f.Hash {
				t.Errorf("%s: written as %s", name, f)
			}
		}
		if s.Fingerprinted(0) != (len(c.head)+len(c.stream) > 0) {
			t.Errorf("%s: Fingerprinted", name)
		}
	}
}

func TestSetup(t *testing.T) {
	for line, want := range map[string]Setup{
		"a=setup:actpass": ActPass, "a=setup: Active": Active, "a=SETUP:passive": Passive, "a=setup:holdconn": "holdconn", "a=ptime:20": NoSetup,
	} {
		if got := must(t, streamOf(line)).Setup(0); got != want {
			t.Errorf("%s: %q", line, got)
		}
		if got := must(t, base(line)).Setup(0); got != want {
			t.Errorf("%s of the session: %q", line, got)
		}
	}
	if got := must(t, append(base("a=setup:active"), "a=setup:passive\r\n"...)).Setup(0); got != Passive {
		t.Errorf("that of the stream comes first: %q", got)
	}
}

func TestICE(t *testing.T) {
	const fragment, password = "a=ice-ufrag:9c1f", "a=ice-pwd:2f2d40e5f5c0d1a8c1b3a9"
	for name, c := range map[string]struct {
		lines []string
		ok    bool
	}{
		"whole": {[]string{fragment, password}, true}, "no password": {[]string{fragment}, false}, "no fragment": {[]string{password}, false},
		"short fragment":   {[]string{"a=ice-ufrag:9c1", password}, false},
		"short password":   {[]string{fragment, "a=ice-pwd:2f2d40e5f5c0d1a8c1b3a"}, false},
		"too long":         {[]string{fragment, "a=ice-pwd:" + strings.Repeat("x", 257)}, false},
		"the longest":      {[]string{"a=ice-ufrag:" + strings.Repeat("+", 256), password}, true},
		"other characters": {[]string{"a=ice-ufrag:9c1f:x", password}, false},
	} {
		for _, b := range [][]byte{streamOf(c.lines...), base(c.lines...)} {
			got, ok := must(t, b).ICE(0)
			if ok != c.ok || ok && (got.Password == "" || got.Fragment == "") || !ok && got != (ICE{}) {
				t.Errorf("%s: %v, %v", name, got, ok)
			}
		}
	}
	if !must(t, base("a=ice-lite")).Lite() || must(t, streamOf("a=ice-lite")).Lite() || must(t, base("a=ice-lite2")).Lite() {
		t.Error("ice-lite is the session's (RFC 8839 §5.3)")
	}
}

func TestBundled(t *testing.T) {
	s := must(t, text("v=0", "o=- 1 1 IN IP4 10.0.0.1", "s=x", "c=IN IP4 10.0.0.1", "t=0 0", "a=group:LS a b c", "a=group:BUNDLE a b", "a=group:BUNDLE d",
		"m=audio 4000 RTP/AVP 0", "a=mid:a", "m=audio 0 RTP/AVP 0", "a=mid:b", "a=bundle-only", "m=audio 4000 RTP/AVP 0", "a=mid:c",
		"m=audio 4000 RTP/AVP 0", "a=mid: d", "m=audio 4000 RTP/AVP 0"))
	for i, want := range []string{"a true", "b false", "c false", "d true", " false"} {
		if got := fmt.Sprint(s.Mid(i), " ", s.Bundled(i)); got != want {
			t.Errorf("%d: %s, want %s", i, got, want)
		}
	}
}

// towards does with a description what a call does: a leg that has plain RTP, or one with handshakes and checks, gets it.
func towards(s *Session, browser bool) {
	list := make([]*Transport, s.Len())
	for i := range list {
		m := s.At(i)
		if !m.IsRTP() || m.Rejected() {
			s.Reject(i)
			list[i] = &Transport{Mid: s.Mid(i)}
			continue
		}
		_, feedback, _ := m.Profile()
		port := 30000 + 2*uint16(i)
		if _, ice := s.ICE(i); ice {
			s.Unplace(i)
		}
		s.SetMedia(i, ours, port, port+1)
		list[i] = &Transport{}
		if s.SetProtocol(i, ProfileName(false, false)); browser {
			s.SetProtocol(i, HandshakeName(feedback))
			list[i] = &Transport{
				Print: Fingerprint{"sha-256", bytes.Repeat([]byte{0xa5}, 32)}, Setup: Passive, Mux: m.Mux, ICE: ICE{"abcdefgh", "abcdefghijklmnopqrstuvwx"},
				Candidate: netip.AddrPortFrom(ours, port), Control: !m.Mux, Mid: fmt.Sprint(i), Bundled: true,
			}
		}
	}
	s.DropCrypto()
	s.DropCandidates()
	s.SetTransports(list)
	s.SetOrigin("-", 4711, 1, ours)
}

// What browsers and a telephone with DTLS write, as plain telephones get it, and what telephones write, as browsers get it.
func TestTransportsGolden(t *testing.T) {
	for name, in := range corpus(t) {
		browser := !bytes.Contains(in, []byte("fingerprint"))
		s := must(t, in)
		towards(s, browser)
		golden := filepath.Join("testdata", map[bool]string{false: "plain", true: "browser"}[browser], name+".sdp")
		if *update {
			if err := os.WriteFile(golden, s.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(s.Bytes(), want) {
			t.Errorf("%s became\n%s\nwant\n%s", name, s.Bytes(), want)
		}
		checkTransports(t, name, s, browser)
	}
}

// checkTransports holds a result against what it has to be, and against another reader.
func checkTransports(t interface{ Errorf(string, ...any) }, name string, s *Session, browser bool) {
	out := string(s.Bytes())
	for _, word := range []string{
		"msid", "ssrc", "extmap", "rtcp-rsize", "BUNDLE 0 1", "tls-id", "typ srflx", "tcptype", "192.168.", "rid:", "simulcast", "bundle-only", "raddr",
	} {
		if strings.Contains(out, word) {
			t.Errorf("%s: %q in\n%s", name, word, out)
		}
	}
	for _, word := range []string{"fingerprint", "setup", "a=ice-", "candidate", "rtcp-mux", "group:", "rtcp-fb", "UDP/TLS/RTP"} {
		if !browser && strings.Contains(out, word) {
			t.Errorf("%s: plain RTP has %q in\n%s", name, word, out)
		}
	}
	again, err := Parse([]byte(out))
	if err != nil {
		t.Errorf("%s: %v in\n%s", name, err, out)
		return
	}
	for i := range again.Len() {
		m := again.At(i)
		if !browser || m.Rejected() {
			continue
		}
		f, ok := again.Fingerprint(i)
		c, ice := again.ICE(i)
		if !ok || f.Value[0] != 0xa5 || again.Setup(i) != Passive || !ice || c.Fragment != "abcdefgh" || !again.Lite() || !m.ByHandshake() {
			t.Errorf("%s: stream %d in\n%s", name, i, out)
		}
	}
}

// Another reader finds in what we write what we meant.
func TestTransportsReadByOthers(t *testing.T) {
	s := must(t, corpus(t)["asterisk-offer"])
	towards(s, true)
	var p pionsdp.SessionDescription
	if err := p.Unmarshal(s.Bytes()); err != nil {
		t.Fatal(err)
	}
	m := p.MediaDescriptions[0]
	text, _ := m.Attribute("candidate")
	print, _ := m.Attribute("fingerprint")
	if text != "1 1 UDP 2130706431 198.51.100.5 30000 typ host" || print != "sha-256 "+hash("A5", 32) {
		t.Errorf("candidate %q, fingerprint %q", text, print)
	}
	if group, ok := p.Attribute("group"); !ok || group != "BUNDLE 0" {
		t.Errorf("group %q", group)
	}
}

// A stream that stays as it is keeps what the session said of its handshake; what both peers have in common stays.
func TestTransportsOfOthers(t *testing.T) {
	fax := "m=image 4002 UDP/TLS/UDPTL t38"
	s := must(t, text("v=0", "o=- 1 1 IN IP4 10.0.0.1", "s=x", "c=IN IP4 10.0.0.1", "t=0 0", "a=fingerprint:sha-256 "+hash("0A", 32), "a=setup:actpass",
		"a=group:BUNDLE a", "m=audio 4000 RTP/AVP 0", "a=mid:a", "a=rtcp-mux", fax, "a=setup:active"))
	s.SetTransports([]*Transport{{Shared: true}, nil})
	want := string(text("v=0", "o=- 1 1 IN IP4 10.0.0.1", "s=x", "c=IN IP4 10.0.0.1", "t=0 0", "a=group:BUNDLE a", "m=audio 4000 RTP/AVP 0", "a=mid:a", "a=rtcp-mux",
		fax, "a=setup:active", "a=fingerprint:sha-256 "+hash("0A", 32)))
	if got := string(s.Bytes()); got != want {
		t.Errorf("it became\n%s\nwant\n%s", got, want)
	}
	s.SetTransports([]*Transport{{}, nil, {}}) // more than there are streams
	if got := string(s.Bytes()); strings.Contains(got, "mux") || strings.Contains(got, "BUNDLE") || !strings.Contains(got, hash("0A", 32)) {
		t.Errorf("it became\n%s", got)
	}
}

// Whatever stands in a description: what is not the peer's to know is gone, and doing it twice changes nothing.
func TestTransportsOfAnything(t *testing.T) {
	lines := []string{
		"a=mid:x", "a=ice-ufrag:9c1f", "a=ice-pwd:2f2d40e5f5c0d1a8c1b3a9", "a=setup:active", "a=fingerprint:sha-256 " + hash("0A", 32), "c=IN IP4 0.0.0.0",
		"a=rtcp:9 IN IP4 0.0.0.0", "a=rtcp-mux", "a=group:BUNDLE x", "a=ssrc:1 cname:a", "a=extmap:1 x", "a=sendonly", "c=IN IP4 host.example.com", "a=ice-lite",
		"m=audio 9 UDP/TLS/RTP/SAVPF 0", "m=video 4000 RTP/AVP 31", "m=application 9 UDP/DTLS/SCTP x", "m=audio 0 RTP/SAVP 0",
		"a=candidate:1 1 UDP 1 10.9.9.9 4000 typ host", "a=rtcp-fb:* nack", "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x", "a=bundle-only",
	}
	rapid.Check(t, func(t *rapid.T) {
		chosen := rapid.SliceOfN(rapid.SampledFrom(lines), 0, 25).Draw(t, "lines")
		s, err := Parse(text(append([]string{"v=0", "o=- 1 1 IN IP4 10.0.0.1", "s=x", "t=0 0"}, chosen...)...))
		if err != nil || s.Len() == 0 {
			t.Skip(err)
		}
		browser, n := rapid.Bool().Draw(t, "browser"), s.Len()
		towards(s, browser)
		if s.Len() != n || bytes.Contains(s.Bytes(), []byte("10.9.9.9")) {
			t.Errorf("it became\n%s", s.Bytes())
		}
		checkTransports(t, "anything", s, browser)
		once := s.Bytes()
		if s, err = Parse(once); err != nil {
			t.Fatalf("%v in\n%s", err, once)
		}
		if towards(s, browser); !browser && !bytes.Equal(s.Bytes(), once) {
			t.Errorf("a second time\n%s\nbecame\n%s", once, s.Bytes())
		}
	})
}

func FuzzTransports(f *testing.F) {
	for _, b := range corpus(f) {
		f.Add(b, true)
		f.Add(b, false)
	}
	f.Add([]byte("v=0\na=setup:x\nm=audio 9 UDP/TLS/RTP/SAVPF 0\na=fingerprint:sha-256 "+hash("0A", 32)+"\na=ice-ufrag:abcd\na=ice-pwd:2f2d40e5f5c0d1a8c1b3a9"), true)
	f.Fuzz(func(t *testing.T, b []byte, browser bool) {
		s, err := Parse(b)
		if err != nil || s.Len() == 0 {
			return
		}
		for i := range s.Len() {
			if x, ok := s.Fingerprint(i); ok && (len(x.Value) < 32 || x.Hash == "") {
				t.Fatalf("%v", x)
			}
			if c, ok := s.ICE(i); ok && (len(c.Fragment) < 4 || len(c.Password) < 22 || strings.ContainsAny(c.Fragment+c.Password, "\r\n \t")) {
				t.Fatalf("%v", c)
			}
		}
		n := s.Len()
		towards(s, browser)
		if s.Len() != n {
			t.Fatal("a stream is lost")
		}
		if out := s.Bytes(); len(out) < MaxBytes && bytes.Count(out, []byte("\n")) < MaxLines {
			if _, err := Parse(out); err != nil {
				t.Fatalf("%v:\n%q", err, out)
			}
		}
	})
}
