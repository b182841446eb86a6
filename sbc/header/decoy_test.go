package header

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"sallyport/sbc/message"
)

// counting gives blocks that differ.
func counting() func() [16]byte {
	random := rand.NewChaCha8([32]byte{1})
	return func() (b [16]byte) {
		_, _ = random.Read(b[:])
		return b
	}
}

func challenged(method string, code int, fields ...string) *message.Message {
	m := &message.Message{Method: method, Status: code, Reason: "Who are you"}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		m.Headers = append(m.Headers, message.Header{Name: name, Value: value})
	}
	return m
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.FixedZone("CET", 3600))

// TestDisguiseIsTheLastChallengeToThatMethod, and where none was, of any.
func TestDisguiseIsTheLastChallengeToThatMethod(t *testing.T) {
	d, far := &Decoys{}, challenged("INVITE", 404, "Server: x", "Reason: Q.850;cause=1")
	far.Body, far.To.Tag = []byte("no such user"), "far"
	invite, register, options := &message.Message{Method: "INVITE"}, &message.Message{Method: "REGISTER"}, &message.Message{Method: "OPTIONS"}
	for _, none := range []*Decoys{nil, d} {
		if m := none.Disguise(noon, invite, far, counting()); m.Status != 403 || m.Reason != "" || len(m.Headers) != 0 || len(m.Body) != 0 || m.To.Tag != "far" {
			t.Errorf("before any challenge: %+v", m)
		}
	}
	(*Decoys)(nil).Keep(far)
	d.Keep(challenged("REGISTER", 401)) // without a challenge it is none
	d.Keep(challenged("REGISTER", 401, `Allow: INVITE`, `WWW-Authenticate: Digest realm="r", nonce="abcdef01"`, "Date: Sun, 01 Mar 2026 10:00:00 GMT", "Contact: <sip:x@10.0.0.10>"))
	d.Keep(challenged("INVITE", 407, `Proxy-Authenticate: Digest realm="r", nonce="12345678"`, `Proxy-Authenticate: Digest realm="r", algorithm=SHA-256, nonce="87654321"`))
	for _, tt := range []struct {
		req    *message.Message
		code   int
		fields []string
	}{
		{register, 401, []string{"Allow", "WWW-Authenticate", "Date"}},
		{invite, 407, []string{"Proxy-Authenticate", "Proxy-Authenticate"}},
		{options, 407, []string{"Proxy-Authenticate", "Proxy-Authenticate"}},
	} {
		m := d.Disguise(noon, tt.req, far, counting())
		if m.Status != tt.code || m.Reason != "Who are you" || len(m.Headers) != len(tt.fields) || len(m.Body) != 0 || m.To.Tag != "far" {
			t.Errorf("%s: %+v", tt.req.Method, m)
			continue
		}
		for i, h := range m.Headers {
			if h.Name != tt.fields[i] {
				t.Errorf("%s: %s in the place of %s", tt.req.Method, h.Name, tt.fields[i])
			}
			if h.Name == "Date" && h.Value != "Sun, 01 Mar 2026 11:00:00 GMT" {
				t.Errorf("Date %s", h.Value)
			}
			if strings.Contains(h.Value, "abcdef01") || strings.Contains(h.Value, "12345678") || strings.Contains(h.Value, "87654321") {
				t.Errorf("%s: the nonce is somebody's: %s", tt.req.Method, h.Value)
			}
		}
	}
	signed := &message.Message{Method: "INVITE", Headers: []message.Header{{Name: "Proxy-Authorization", Value: "Digest"}}}
	if m := d.Disguise(noon, signed, far, counting()); m.Status != 403 || len(m.Headers) != 0 {
		t.Errorf("with credentials: %+v", m)
	}
	if far.Status != 404 || len(far.Headers) != 2 {
		t.Errorf("the PBX's answer was changed: %+v", far)
	}
}

func TestTells(t *testing.T) {
	for code, want := range map[int]bool{403: true, 404: true, 480: true, 604: true, 410: true, 484: true, 486: false, 401: false, 407: false, 503: false, 200: false, 488: false} {
		if Tells(code) != want {
			t.Errorf("%d: %v", code, !want)
		}
	}
}

// TestDecoysHaveTheShapeOfTheRealOnes: nonces as the PBXs make them, one or two of them seen before.
func TestDecoysHaveTheShapeOfTheRealOnes(t *testing.T) {
	const anyOf = "0123456789abcdef"
	for _, tt := range []struct {
		name   string
		seen   []string // challenges in order, after "Digest "
		starts string   // what the decoy begins with
		ends   string
	}{
		{"hex", []string{`nonce="0a1b2c3d"`}, `Digest nonce="`, `"`},
		{"decimal", []string{`nonce="123456", qop="auth"`}, `Digest nonce="`, `", qop="auth"`},
		{"a time and a hash, once", []string{`nonce="1690000000/0a1b2c3dffff"`}, `Digest nonce="`, `"`},
		{"a time and a hash, twice", []string{`nonce="1690000000/0a1b2c3dffff"`, `nonce="1690000007/9b1b2c3dfff1"`}, `Digest nonce="169000000`, `"`},
		{"UUID", []string{`realm="x",nonce="0c9e1f00-1122-4333-8444-555566667777"`}, `Digest realm="x",nonce="`, `"`},
		{"base 64", []string{`nonce="aGVsbG8+d29ybGQ/eA=="`}, `Digest nonce="`, `=="`},
		{"capitals", []string{`NONCE="0A1B2C3D"`}, `Digest NONCE="`, `"`},
		{"an opaque that changes", []string{`nonce="0a1b2c3d", opaque="11112222"`, `nonce="1a1b2c3d", opaque="33334444"`}, `Digest nonce="`, `"`},
		{"an opaque that stays", []string{`nonce="0a1b2c3d", opaque="11112222"`, `nonce="1a1b2c3d", opaque="11112222"`}, `Digest nonce="`, `", opaque="11112222"`},
		{"an opaque that stayed", []string{`nonce="0a1b2c3d", opaque="5"`, `nonce="1a1b2c3d", opaque="5"`, `nonce="2a1b2c3d", opaque="5"`}, `Digest nonce="`, `", opaque="5"`},
		{"no nonce", []string{`realm="x", cnonce="0a"`}, `Digest realm="x", cnonce="0a"`, ""},
		{"a broken one", []string{`nonce="0a1b`}, `Digest nonce="0a1b`, ""},
		{"the next nonce is none", []string{`nextnonce="0a1b", nonce="77"`}, `Digest nextnonce="0a1b", nonce="`, `"`},
		{"an empty one", []string{`nonce=""`}, `Digest nonce="`, `"`},
	} {
		d := &Decoys{}
		var last string
		for _, s := range tt.seen {
			last = "Digest " + s
			d.Keep(challenged("INVITE", 401, "WWW-Authenticate: "+last))
		}
		block, decoys := counting(), map[string]bool{}
		for range 8 {
			m := d.Disguise(noon, &message.Message{Method: "INVITE"}, challenged("INVITE", 404), block)
			got := m.Headers[0].Value
			decoys[got] = true
			if len(got) != len(last) || !strings.HasPrefix(got, tt.starts) || !strings.HasSuffix(got, tt.ends) {
				t.Errorf("%s: %s after %s", tt.name, got, last)
			}
			for i := range len(got) {
				if was, is := last[i], got[i]; class(was) != class(is) && !(strings.IndexByte(anyOf, was) >= 0 && strings.IndexByte(anyOf, is) >= 0) &&
					tt.name != "base 64" && !(tt.name == "capitals" && class(was) < 4 && class(is) < 4) {
					t.Errorf("%s: %q at %d in the place of %q: %s after %s", tt.name, is, i, was, got, last)
				}
			}
		}
		nonce := param(last, "nonce")
		if want := nonce != ""; (len(decoys) > 1) != want || want && decoys[last] {
			t.Errorf("%s: %d decoys of %q", tt.name, len(decoys), last)
		}
	}
}

// class is a kind of letter.
func class(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return 1
	case c >= 'a' && c <= 'z':
		return 2
	case c >= 'A' && c <= 'Z':
		return 3
	default:
		return 4 + int(c)
	}
}

func TestMethodsAreBounded(t *testing.T) {
	d := &Decoys{}
	for i := range 3 * shapesMost {
		d.Keep(challenged(strings.Repeat("X", i+1), 401, `WWW-Authenticate: Digest nonce="1"`))
	}
	if len(d.shapes) != shapesMost {
		t.Errorf("%d methods are remembered", len(d.shapes))
	}
}

func FuzzDisguise(f *testing.F) {
	for _, s := range []string{`Digest nonce="a"`, `nonce="`, `Digest realm="x", nonce="+/==", opaque="-"`, "", `Digest opaque="x",opaque="y"`, `Digest NONCE="1/2/3"`} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		d := &Decoys{}
		d.Keep(challenged("INVITE", 401, "WWW-Authenticate: "+first))
		d.Keep(challenged("INVITE", 401, "WWW-Authenticate: "+second))
		m := d.Disguise(noon, &message.Message{Method: "INVITE"}, challenged("INVITE", 404), counting())
		got := m.Headers[0].Value
		if len(got) != len(second) {
			t.Errorf("%q became %q", second, got)
		}
		for _, c := range []byte(got) {
			if strings.IndexByte(second+base64, c) < 0 {
				t.Errorf("%q became %q: %q is not its own", second, got, c)
			}
		}
	})
}
