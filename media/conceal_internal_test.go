package media

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var testCNAMEs = CNAMEKey([]byte("0123456789abcdef"))

// aliasOf is what a name becomes: the first 96 bits of SHA-256 over key and name, as far as the name was long.
func aliasOf(k CNAMEKey, name string) string {
	sum := sha256.Sum256(append(k[:], name...))
	return base64.StdEncoding.EncodeToString(sum[:12])[:min(16, len(name))]
}

// part is an RTCP packet: count and type, and what stands behind the first word.
func part(count, kind byte, body ...any) []byte {
	b := []byte{0x80 | count, kind, 0, 0}
	for _, x := range body {
		switch x := x.(type) {
		case string:
			b = append(b, x...)
		case int:
			b = binary.BigEndian.AppendUint32(b, uint32(x))
		case []byte:
			b = append(b, x...)
		}
	}
	b = append(b, make([]byte, -len(b)&3)...)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)/4-1))
	return b
}

// concealed is what passes of a datagram, in its place.
func concealed(b []byte) []byte { return concealer{&testCNAMEs}.compound(b) }

// item is an SDES item, chunk a chunk of them.
func item(kind byte, text string) []byte { return append([]byte{kind, byte(len(text))}, text...) }

func sdesChunk(ssrc int, items ...[]byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(ssrc))
	for _, x := range items {
		b = append(b, x...)
	}
	return append(b, make([]byte, 4-len(b)%4)...)
}

// padded is a packet with padding that says that it has n bytes.
func padded(b []byte, text string, n byte) []byte {
	b = append(slices.Clone(b), text...)
	b[0] |= 0x20
	b[len(b)-1] = n
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)/4-1))
	return b
}

const (
	inside = "root@10.20.30.40"
	figure = 0x01020304
)

var (
	reportBlock1 = bytes.Repeat([]byte{7, 0, 0, 9}, reportBlock/4)
	senderInfo   = bytes.Repeat([]byte{3, 4, 5, 6}, 5)
)

func concealCases() map[string]struct{ in, want []byte } {
	cname, alias := item(1, inside), item(1, aliasOf(testCNAMEs, inside))
	short, long := item(1, "a@10.0.0.7"), item(1, strings.Repeat("pbx.example.com/", 9))
	rr := part(0, 201, figure)
	return map[string]struct{ in, want []byte }{
		"a CNAME of sixteen":  {part(1, 202, sdesChunk(1, cname)), part(1, 202, sdesChunk(1, alias))},
		"a short one":         {part(1, 202, sdesChunk(1, short)), part(1, 202, sdesChunk(1, item(1, aliasOf(testCNAMEs, "a@10.0.0.7"))))},
		"a long one":          {part(1, 202, sdesChunk(1, long)), part(1, 202, sdesChunk(1, item(1, aliasOf(testCNAMEs, strings.Repeat("pbx.example.com/", 9)))))},
		"all items":           {part(1, 202, sdesChunk(1, item(6, "Asterisk PBX 18.2"), cname, item(2, "Reception"), item(3, "r@example.com"), item(5, "Room 1"), item(8, "\x04priv10.0.0.2"), item(15, "audio"))), part(1, 202, sdesChunk(1, alias))},
		"two CNAMEs":          {part(1, 202, sdesChunk(1, cname, short)), part(1, 202, sdesChunk(1, alias))},
		"no CNAME":            {part(1, 202, sdesChunk(1, item(6, "Asterisk PBX 18.2"))), part(1, 202, sdesChunk(1))},
		"an empty CNAME":      {part(1, 202, sdesChunk(1, item(1, ""))), part(1, 202, sdesChunk(1))},
		"no items":            {part(1, 202, sdesChunk(1)), part(1, 202, sdesChunk(1))},
		"three chunks":        {part(3, 202, sdesChunk(1, cname, item(6, "tool")), sdesChunk(2), sdesChunk(3, cname)), part(3, 202, sdesChunk(1, alias), sdesChunk(2), sdesChunk(3, alias))},
		"more than counted":   {part(1, 202, sdesChunk(1, cname), sdesChunk(2, short)), part(1, 202, sdesChunk(1, alias))},
		"fewer than counted":  {part(9, 202, sdesChunk(1, cname)), part(1, 202, sdesChunk(1, alias))},
		"no chunk":            {slices.Concat(rr, part(0, 202, cname, "\x00\x00")), rr},
		"a chunk's SSRC only": {slices.Concat(rr, part(1, 202, 5)), rr},
		"without a null":      {part(1, 202, 1, cname, item(2, "Recept")[:6]), part(1, 202, sdesChunk(1, alias))},
		"a null left out":     {part(1, 202, 1, item(1, "ab@10.0.0.")), part(1, 202, sdesChunk(1, item(1, aliasOf(testCNAMEs, "ab@10.0.0.")[:9])))},
		"cut within a name":   {part(1, 202, 1, cname[:12]), part(1, 202, sdesChunk(1))},
		"cut behind a type":   {part(1, 202, 1, item(1, "a"), "\x02"), part(1, 202, sdesChunk(1, item(1, aliasOf(testCNAMEs, "a"))))},
		"cut within a tool":   {part(2, 202, sdesChunk(1, cname), sdesChunk(2, short, item(6, "Asterisk"))[:20]), part(2, 202, sdesChunk(1, alias), sdesChunk(2, item(1, aliasOf(testCNAMEs, "a@10.0.0.7"))))},
		"padding":             {padded(part(1, 202, sdesChunk(1, cname)), "10.0.0.2", 8), part(1, 202, sdesChunk(1, alias))},
		"padding of no words": {padded(part(1, 202, sdesChunk(1, cname)), "10.0.0.2", 7), part(1, 202, sdesChunk(1, alias))},
		"padding too long":    {slices.Concat(rr, padded(part(1, 202, sdesChunk(1, cname)), "10.0.0.2", 200), rr), slices.Concat(rr, rr)},
		"padding of nothing":  {slices.Concat(rr, padded(part(1, 202, sdesChunk(1, cname)), "10.0.0.2", 0), rr), slices.Concat(rr, rr)},
		"a goodbye":           {part(2, 203, 1, 2, "\x0b10.0.0.2: x"), part(2, 203, 1, 2)},
		"a goodbye of none":   {slices.Concat(rr, part(0, 203, "\x0bteardown ok")), rr},
		"of fewer":            {part(7, 203, 1, 2), part(2, 203, 1, 2)},
		"APP":                 {slices.Concat(rr, part(1, 204, 1, "PoC1", "10.0.0.2")), rr},
		"APP alone":           {part(1, 204, 1, "PoC1", "10.0.0.2"), nil},
		"feedback addresses":  {slices.Concat(rr, part(2, 209, 1, 2, "10.0.0.2")), rr},
		"a sender's report":   {part(1, 200, 1, senderInfo, reportBlock1, "profile!"), part(1, 200, 1, senderInfo, reportBlock1)},
		"a receiver's report": {part(2, 201, 1, reportBlock1, reportBlock1, "profile!"), part(2, 201, 1, reportBlock1, reportBlock1)},
		"of fewer blocks":     {part(2, 201, 1, reportBlock1, "10.0.0.2 is here"), part(1, 201, 1, reportBlock1)},
		"a report too short":  {slices.Concat(part(1, 200, 1, "10.0.0.2"), rr), rr},
		"feedback":            {slices.Concat(part(1, 205, 1, 2, 3), part(15, 206, 1, 2, "REMB", 9, 9), part(0, 206, 1)), slices.Concat(part(1, 205, 1, 2, 3), part(15, 206, 1, 2, "REMB", 9, 9))},
		"of H.261":            {slices.Concat(part(0, 192, 1, "host"), part(0, 193, 1, 2, "host")), slices.Concat(part(0, 192, 1), part(0, 193, 1, 2))},
		"extended":            {part(0, 207, 1, []byte{4, 0, 0, 2}, 8, 9, []byte{14, 0, 0, 2}, "10.0.0.2", []byte{7, 0, 0, 1}, 5, []byte{9, 0, 0, 7}, "host"), part(0, 207, 1, []byte{4, 0, 0, 2}, 8, 9, []byte{7, 0, 0, 1}, 5)},
		"then nonsense":       {slices.Concat(rr, []byte("user@10.0.0.2")), rr},
		"then too long a one": {slices.Concat(rr, []byte{0x81, 202, 0, 9}, sdesChunk(1, cname)), rr},
		"another version":     {slices.Concat(rr, []byte{0x41, 202, 0, 6}, sdesChunk(1, cname)), rr},
		"nobody's report":     {bytes.Repeat(rr, maxParts+5), bytes.Repeat(rr, maxParts)},
	}
}

func TestConceal(t *testing.T) {
	for name, c := range concealCases() {
		buf := slices.Clone(c.in)
		if got := concealed(buf); !bytes.Equal(got, c.want) {
			t.Errorf("%s: %q\nbecomes %q\nwant    %q", name, c.in, got, c.want)
		}
		if again := concealed(slices.Clone(c.want)); len(again) != len(c.want) {
			t.Errorf("%s: %q becomes %q", name, c.want, again)
		}
	}
}

// What a peer is called goes by its name and the call's key alone, so that its streams can be told to be of one participant.
func TestOneNameInAllStreams(t *testing.T) {
	alias := func(k CNAMEKey, items ...[]byte) string {
		buf := concealer{&k}.compound(part(1, 202, sdesChunk(7, items...)))
		return string(buf[10:][:buf[9]])
	}
	name := alias(testCNAMEs, item(1, inside))
	if again := alias(testCNAMEs, item(6, "Asterisk"), item(1, inside), item(2, "x")); again != name {
		t.Errorf("%q and %q of one participant", name, again)
	}
	if other := alias(testCNAMEs, item(1, "root@10.20.30.41")); other == name {
		t.Errorf("%q of two participants", name)
	}
	if other := alias(CNAMEKey{1}, item(1, inside)); other == name {
		t.Errorf("%q in two calls", name)
	}
}

// aText has a character in each run of four that no alias has.
func aText(rt *rapid.T, name string) string {
	return rapid.StringMatching(`([a-z0-9]{1,3}[.@_-]){2,12}`).Draw(rt, name)
}

// No run of four bytes of what a peer says of itself is found in what the other one gets, however the packets are cut.
func TestNothingOfTheTextPasses(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var in []byte
		var texts []string
		text := func(name string) string {
			texts = append(texts, aText(rt, name))
			return texts[len(texts)-1]
		}
		for range rapid.IntRange(1, 5).Draw(rt, "packets") {
			count := byte(rapid.IntRange(0, 31).Draw(rt, "count"))
			switch rapid.IntRange(0, 4).Draw(rt, "kind") {
			case 0:
				in = append(in, part(0, 200, figure, senderInfo, text("extension"))...)
			case 1, 2:
				var chunks []byte
				for range rapid.IntRange(1, 3).Draw(rt, "chunks") {
					var items [][]byte
					for range rapid.IntRange(0, 3).Draw(rt, "items") {
						items = append(items, item(rapid.SampledFrom([]byte{1, 1, 2, 6, 7, 8, 200}).Draw(rt, "item"), text("text")))
					}
					chunks = append(chunks, sdesChunk(figure, items...)...)
				}
				in = append(in, part(count, 202, chunks)...)
			case 3:
				in = append(in, part(1, 203, figure, text("reason"))...)
			case 4:
				in = append(in, part(count, 204, figure, text("application"))...)
			}
		}
		for range rapid.IntRange(0, 3).Draw(rt, "changes") {
			// Of lengths and types. A null would make an SSRC of what follows it, by all that can be known.
			if at := rapid.IntRange(0, len(in)-1).Draw(rt, "at"); in[at] < 32 {
				in[at] = byte(rapid.IntRange(1, 31).Draw(rt, "byte"))
			}
		}
		in = in[:rapid.IntRange(0, len(in)).Draw(rt, "cut")]
		out := concealed(slices.Clone(in))
		for _, x := range texts {
			for i := range len(x) - 3 {
				if bytes.Contains(out, []byte(x[i:i+4])) {
					rt.Fatalf("%q of %q is in %q", x[i:i+4], in, out)
				}
			}
		}
	})
}

// A protected leg is told no more than a plain one, and SRTCP is as long as what it protects.
func TestConcealBeforeProtection(t *testing.T) {
	for _, suite := range allSuites {
		g := newGuarded(suite, resume{})
		g.describe()
		in := slices.Concat(report(pbxSSRC), part(1, 202, sdesChunk(pbxSSRC, item(1, inside), item(6, "Asterisk PBX 18.2"))))
		plain := slices.Concat(report(pbxSSRC), part(1, 202, sdesChunk(pbxSSRC, item(1, aliasOf(testCNAMEs, inside)))))
		if v := g.tellControl(in); v.Why != Accepted || !bytes.Equal(v.Data, newPlainly(suite, masterOf(ours)).rtcp(plain, 1)) {
			t.Errorf("%v: told %v %x", suite, v.Why, v.Data)
		}
		if v := g.hearControl(newPlainly(suite, masterOf(theirs)).rtcp(in, 5)); v.Why != Accepted || !bytes.Equal(v.Data, plain) {
			t.Errorf("%v: heard %v %q", suite, v.Why, v.Data)
		}
		if v := g.tellControl(part(0, 204, pbxSSRC, "host10.0.0.2")); v.Why != RejectedDiscarded {
			t.Errorf("APP alone: %v", v.Why)
		}
	}
}

// describe gives both legs of the call its key.
func (g *guarded) describe() {
	for _, leg := range []int32{0, g.inside} {
		c := Command{Leg: leg, Generation: 1, rtp: peerAt, rtcp: peerAt.at(4001), flags: flagSend | flagReceive | flagFinal}
		if c.Peer = g.inside - leg; leg == 0 {
			c.flags |= flagSecure
			c.crypto = g.crypto
		} else {
			c.rtp, c.rtcp, c.flags = pbxAt, pbxAt.at(5001), c.flags|flagInside
		}
		c.cnames = testCNAMEs
		g.Apply(g.now, &c)
	}
}

func BenchmarkConceal(b *testing.B) {
	in := slices.Concat(part(1, 200, 1, senderInfo, reportBlock1), part(1, 202, sdesChunk(1, item(1, inside), item(6, "Asterisk PBX 18.2"))))
	buf := make([]byte, len(in))
	b.ReportAllocs()
	for b.Loop() {
		copy(buf, in)
		concealed(buf)
	}
}

func TestConcealDoesNotAllocate(t *testing.T) {
	in := concealCases()["three chunks"].in
	buf := make([]byte, len(in))
	if n := testing.AllocsPerRun(1000, func() {
		copy(buf, in)
		concealed(buf)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
