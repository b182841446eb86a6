//go:build interop

package interop

import (
	"bytes"
	le "encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestSRTP: a telephone outside that protects its audio by keys in SDP, and a PBX inside that knows nothing of it. It calls,
// holds, resumes and is called; both hear each other word for word, and nothing leaves the gate outside in the clear.
func TestSRTP(t *testing.T) {
	w := newHomes(t)
	w.pbx(t, node1)
	g := w.phoneGate(t, phoneSettings{unlimited: true})
	for _, c := range []struct {
		transport, mediaenc, profile string
		called                       bool // first; else it calls first, and what it takes is known from that
	}{
		{"udp", "srtp", "RTP/AVP", false},      // baresip's word for keys under the plain profile; it takes plain RTP too
		{"udp", "srtp-mand", "RTP/SAVP", true}, // refuses anything else, so it is asked twice
		{"tcp", "srtp-mandf", "RTP/SAVPF", false},
		{"tls", "srtp-mand", "RTP/SAVP", true},
		{"udp", "", "RTP/AVP", true}, // has no SRTP any more
	} {
		t.Run(c.mediaenc+" over "+c.transport, func(t *testing.T) {
			more, tag := ";mediaenc="+c.mediaenc, 10 // RFC 4568 §6.2.1
			if c.mediaenc == "" {
				more, tag = "", 0
			}
			var b *baresip
			all := g.observe(t, 2, []string{bert.ns}, func() {
				b = w.baresip(t, bert, c.transport, doors[c.transport], 60, more)
				b.registers(t, 1)
				if c.called {
					w.deskRings(t, b, node1, 1)
				}
				w.callAndHold(t, b)
				if !c.called {
					w.deskRings(t, b, node1, 2)
				}
				b.quit(t)
			})
			w.protected(t, all, b, tag)
			if c.transport != "tls" && tag > 0 {
				keysStayApart(t, all, c.profile)
			}
			g.binds(t, 0)
		})
	}
	g.stop(t)
}

// callAndHold has a telephone call the office, hold, resume and hang up.
func (w *world) callAndHold(t *testing.T, b *baresip) {
	t.Helper()
	callee, before := w.deskAnswers(t, "callee-held"), b.seen("CALL_ESTABLISHED")
	b.call("100")
	b.established(t, before+1)
	time.Sleep(time.Second) // they talk
	b.hold()
	time.Sleep(500 * time.Millisecond)
	b.resume()
	time.Sleep(700 * time.Millisecond)
	b.hangUp()
	w.verdict(t, callee)
}

// protected compares the audio at both sides of the gate. Outside every packet is longer by the tag, and no payload is one of
// those inside; inside is what the telephone's file says, and the telephone's ear has what the desk says.
func (w *world) protected(t *testing.T, all []packet, b *baresip, tag int) {
	t.Helper()
	const header = 12 // RFC 3550 §5.1
	clear := map[string]bool{}
	var said, answered int
	ramp, ear := rampLaw(), w.ear(t, b)
	for _, p := range choose(all, packet.rtp, on(nsInside)) {
		if len(p.payload) != header+160 {
			t.Errorf("%d bytes from %s to %s inside", len(p.payload), p.src, p.dst)
			continue
		}
		voice := p.payload[header:]
		clear[string(voice)] = true
		switch {
		case p.own():
			if bytes.Contains(ear, linear(voice)) {
				answered++
			}
		case bytes.Contains(ramp, voice):
			said++
		}
	}
	if said < 100 || answered < 100 {
		t.Errorf("%d packets of the telephone's words inside, %d of the desk's in its ear, want 100 each", said, answered)
	}
	var sealed [2]int
	for _, p := range choose(all, packet.rtp, on(nsOutside)) {
		if len(p.payload) != header+160+tag {
			t.Errorf("%d bytes from %s to %s outside", len(p.payload), p.src, p.dst)
		} else if tag > 0 && clear[string(p.payload[header:header+160])] {
			t.Errorf("in the clear outside: from %s to %s", p.src, p.dst)
		}
		if p.src.Addr().String() == gateOutside {
			sealed[0]++
		} else {
			sealed[1]++
		}
	}
	if sealed[0] < 100 || sealed[1] < 100 {
		t.Errorf("%d protected packets from the gate, %d to it, want 100 each", sealed[0], sealed[1])
	}
	t.Logf("%d packets of the telephone's words heard, %d of the desk's; %d and %d protected", said, answered, sealed[0], sealed[1])
}

// ear is what a telephone has decoded in all its calls so far.
func (w *world) ear(t *testing.T, b *baresip) (heard []byte) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(w.dir, b.name, "dump-*-dec.wav"))
	if err != nil || len(files) == 0 {
		t.Errorf("%s has written down nothing of what it heard: %v", b.name, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		heard = append(heard, text...)
	}
	return heard
}

// keysStayApart checks the descriptions outside and inside: outside the profile of the telephone and keys of both, each of
// which is its writer's own; inside the plain profile and no key.
func keysStayApart(t *testing.T, all []packet, profile string) {
	t.Helper()
	line := regexp.MustCompile(`a=crypto:\d+ (\S+) inline:([^\s|]+)`)
	owner := map[string]bool{}
	seen := 0
	for _, p := range choose(all, packet.sip, packet.atGate) {
		text := string(p.payload)
		if !strings.Contains(text, "m=audio") {
			continue
		}
		keys := line.FindAllStringSubmatch(text, -1)
		if p.side == nsInside {
			if len(keys) > 0 || !strings.Contains(text, " RTP/AVP ") {
				t.Errorf("inside, %s: %q", p.start(), text[strings.Index(text, "m=audio"):])
			}
			continue
		}
		ours := p.src.Addr().String() == gateOutside
		if ours && len(keys) > 1 {
			t.Errorf("%d suites are offered at once", len(keys))
		}
		for _, k := range keys {
			if of, known := owner[k[2]]; known && of != ours {
				t.Errorf("a key of one side comes from the other: %s", p.start())
			}
			owner[k[2]] = ours
		}
		if strings.Contains(text, fmt.Sprintf(" %s ", profile)) && len(keys) > 0 {
			seen++
		}
	}
	if seen < 4 {
		t.Errorf("%d descriptions outside with keys and %s", seen, profile)
	}
}

// rampLaw is what telephones say (world.wave), as µ-law.
func rampLaw() []byte {
	out := make([]byte, 8000*30)
	for i := range out {
		out[i] = muLaw(int16(uint16(i * 37)))
	}
	return out
}

// muLaw is G.711's encoding of a sample.
func muLaw(v int16) byte {
	const bias, clip = 0x84, 32635
	x, sign := int(v), byte(0)
	if x < 0 {
		x, sign = -x, 0x80
	}
	x = min(x, clip) + bias
	exponent := 7
	for mask := 0x4000; x&mask == 0 && exponent > 0; mask >>= 1 {
		exponent--
	}
	return ^(sign | byte(exponent)<<4 | byte(x>>(exponent+3))&0x0f)
}

// linear is the decoded form of µ-law, as the telephone writes it into a WAV file: its zeroes have a sign.
func linear(law []byte) []byte {
	var out []byte
	for _, b := range law {
		b = ^b
		v := (int(b&0x0f)<<3+0x84)<<(b>>4&7) - 0x84
		v = max(v, 2)
		if b&0x80 != 0 {
			v = -v
		}
		out = le.LittleEndian.AppendUint16(out, uint16(int16(v)))
	}
	return out
}
