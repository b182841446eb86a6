package sdp

import (
	"bytes"
	"testing"
)

func FuzzParse(f *testing.F) {
	for _, b := range corpus(f) {
		f.Add(b)
	}
	f.Add([]byte("v=0\r\nm=audio 1/1 RTP/AVP\na=rtcp:1 IN IP4 ::\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Parse(b)
		if err != nil {
			return
		}
		if !bytes.Equal(s.Bytes(), b) {
			t.Fatalf("%q became %q", b, s.Bytes())
		}
		s.Origin()
		s.Connection()
		if s.Len() > MaxMedia {
			t.Fatal("streams")
		}
	})
}

func FuzzRewrite(f *testing.F) {
	for _, b := range corpus(f) {
		f.Add(b)
	}
	f.Add([]byte("v=0\nm=a 1 TCP\nc=x y z\nc=x y z"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Parse(b)
		if err != nil {
			return
		}
		n := s.Len()
		rewrite(s)
		out := s.Bytes()
		for h := range addresses(out) {
			if a := literal(string(h)); a != ours && !unspecified(a) {
				t.Fatalf("shows %q:\n%s", h, out)
			}
		}
		again, err := Parse(out)
		if err != nil {
			if len(out) > MaxBytes || bytes.Count(out, []byte("\n")) > MaxLines {
				return // what we add can pass the limits, by a line a stream
			}
			t.Fatalf("%v:\n%q", err, out)
		}
		if again.Len() != n {
			t.Fatalf("%d streams of %d", again.Len(), n)
		}
		if rewrite(again); !bytes.Equal(again.Bytes(), out) {
			t.Fatalf("second rewrite of\n%q\nis\n%q", out, again.Bytes())
		}
		if s.RejectAll(); s.Len() != n {
			t.Fatal("RejectAll lost a stream")
		}
	})
}

func FuzzReplace(f *testing.F) {
	for _, b := range corpus(f) {
		f.Add("application/sdp", b)
	}
	f.Add("multipart/mixed;boundary=b", []byte("--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\nc=IN IP4 10.0.0.1\r\n--b--"))
	f.Fuzz(func(t *testing.T, contentType string, b []byte) {
		for from, to := range Parts(contentType, b) {
			part := b[from:to]
			out, _ := Replace(part, func(h []byte) bool { return len(h)%2 == 0 }, ours)
			for h := range addresses(out) {
				if len(h)%2 == 0 && string(h) != ours.String() {
					t.Fatalf("%q stays in %q", h, out)
				}
			}
		}
		if from, to, ok := FindSDP(contentType, b); ok && (from > to || to > len(b)) {
			t.Fatal(from, to)
		}
	})
}
