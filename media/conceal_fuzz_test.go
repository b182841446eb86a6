package media

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
)

// FuzzConceal throws anything at it. The oracle is another reader, which gathers the figures and the names of what came: all of
// what leaves has to be one of those figures, or stand for one of those names.
func FuzzConceal(f *testing.F) {
	for _, c := range concealCases() {
		f.Add(c.in)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		figures, names := figuresOf(in)
		buf := slices.Clone(in)
		out := concealed(buf)
		if len(out) > len(in) || len(out)%4 != 0 {
			t.Fatalf("%d bytes of %d", len(out), len(in))
		}
		may := func(b []byte) {
			if !slices.ContainsFunc(figures, func(x []byte) bool { return bytes.Equal(x, b) }) {
				t.Fatalf("%q of %q is no figure: %q", b, in, out)
			}
		}
		for len(out) > 0 {
			if len(out) < 8 || out[0]>>5 != 4 {
				t.Fatalf("%q becomes %q", in, out)
			}
			size := 4 + 4*int(binary.BigEndian.Uint16(out[2:]))
			p := out[:size]
			out = out[size:]
			switch p[1] {
			case 202:
				readDescriptions(t, p, names, may)
			case 203:
				if size != 4+4*int(p[0]&31) {
					t.Fatalf("%q says why", p)
				}
				may(p[4:])
			case 207:
				may(p[4:8])
				for b := p[8:]; len(b) > 0; {
					n := 4 + 4*int(binary.BigEndian.Uint16(b[2:]))
					may(b[:n])
					b = b[n:]
				}
			case 192, 193, 200, 201, 205, 206:
				may(p[4:])
			default:
				t.Fatalf("%q is of an unknown kind", p)
			}
		}
	})
}

// readDescriptions reads SDES as strictly as can be.
func readDescriptions(t *testing.T, p []byte, names []string, may func([]byte)) {
	t.Helper()
	b := p[4:]
	for range int(p[0] & 31) {
		may(b[:4])
		n := 4
		if b[4] == 1 {
			n = 6 + int(b[5])
			text := string(b[6:n])
			if !slices.ContainsFunc(names, func(x string) bool { return text != "" && strings.HasPrefix(aliasOf(testCNAMEs, x), text) }) {
				t.Fatalf("%q stands for none of %q", text, names)
			}
		}
		end := n + 4 - n%4
		if !bytes.Equal(b[n:end], make([]byte, end-n)) {
			t.Fatalf("%q has more than a CNAME", p)
		}
		b = b[end:]
	}
	if len(b) > 0 {
		t.Fatalf("%q has more than it counts", p)
	}
}

// figuresOf reads a compound packet: the bodies of what may pass, and the CNAMEs.
func figuresOf(b []byte) (figures [][]byte, names []string) {
	keep := func(x []byte) { figures = append(figures, slices.Clone(x)) }
	for len(b) >= 4 && b[0]>>6 == 2 {
		size := 4 + 4*int(binary.BigEndian.Uint16(b[2:]))
		if size > len(b) {
			break
		}
		p := b[:size]
		b = b[size:]
		if p[0]&0x20 != 0 {
			if p = p[:max(4, size-int(p[size-1]))]; len(p)%4 != 0 {
				p = p[:len(p)-len(p)%4]
			}
		}
		body := p[4:]
		switch p[1] {
		case 200, 201:
			for n := 4; n <= len(body); n += 4 {
				if blocks := n - 4 - 20*int(201-p[1]); blocks >= 0 && blocks%24 == 0 && blocks/24 <= int(p[0]&31) {
					keep(body[:n])
				}
			}
		case 202:
			names = append(names, namesOf(body, keep)...)
		case 203:
			keep(body[:min(len(body), 4*int(p[0]&31))])
		case 192:
			keep(body[:min(len(body), 4)])
		case 193:
			keep(body[:min(len(body), 8)])
		case 205, 206:
			keep(body)
		case 207:
			if len(body) >= 4 {
				keep(body[:4])
				for rest := body[4:]; len(rest) >= 4; {
					n := 4 + 4*int(binary.BigEndian.Uint16(rest[2:]))
					if n > len(rest) {
						break
					}
					if rest[0] >= 1 && rest[0] <= 7 {
						keep(rest[:n])
					}
					rest = rest[n:]
				}
			}
		}
	}
	return figures, names
}

// namesOf reads the chunks of SDES.
func namesOf(body []byte, keep func([]byte)) (names []string) {
	for at := 0; at+4 <= len(body); {
		keep(body[at : at+4])
		for at += 4; at < len(body) && body[at] != 0; {
			if at+2 > len(body) || at+2+int(body[at+1]) > len(body) {
				return names
			}
			if text := body[at+2:][:body[at+1]]; body[at] == 1 {
				names = append(names, string(text))
			}
			at += 2 + int(body[at+1])
		}
		at += 4 - at%4
	}
	return names
}
