//go:build interop

package interop

import (
	le "encoding/binary"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// The tones, in Hz: what the provider says by its first and by its second source, and what the telephone says.
const (
	firstTone  = 440
	secondTone = 620
	phoneTone  = 1000
	voiceTime  = 2 * time.Second // of each of the provider's sources
)

// ulaw is a sample of G.711 µ-law (ITU-T G.711 table 2a), and decoded again.
func ulaw(sample int) byte {
	const bias, clip = 0x84, 32635
	sign := 0
	if sample < 0 {
		sample, sign = -sample, 0x80
	}
	sample = min(sample, clip) + bias
	exponent := 7
	for mask := 0x4000; sample&mask == 0 && exponent > 0; mask >>= 1 {
		exponent--
	}
	return ^byte(sign | exponent<<4 | sample>>(exponent+3)&0x0f)
}

func sampleOf(b byte) float64 {
	b = ^b
	v := (int(b&0x0f)<<3+0x84)<<(b>>4&7) - 0x84
	if b&0x80 != 0 {
		v = -v
	}
	return float64(v)
}

// share is how much of the energy of some speech at 8,000 Hz lies at a frequency (Goertzel), 0 to 1.
func share(samples []float64, hz float64) float64 {
	w := 2 * math.Cos(2*math.Pi*hz/8000)
	var a, b, energy float64
	for _, x := range samples {
		a, b = x+w*a-b, a
		energy += x * x
	}
	if energy == 0 {
		return 0
	}
	return 2 * (a*a + b*b - w*a*b) / (energy * float64(len(samples)))
}

func sine(hz, i int) int { return int(8000 * math.Sin(2*math.Pi*float64(hz)*float64(i)/8000)) }

// voices writes a capture for sipp to play: one source after the other, each with an SSRC, numbers and a clock of its own,
// under payload type 97.
func (w *world) voices(t *testing.T) {
	t.Helper()
	b := []byte{0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 1, 0, 0, 0}
	packets := int(voiceTime / (20 * time.Millisecond))
	for n := range 2 * packets {
		source, hz := n/packets, firstTone
		if source == 1 {
			hz = secondTone
		}
		rtp := []byte{0x80, 97}
		rtp = le.BigEndian.AppendUint16(rtp, uint16(65500+n+source*20000))
		rtp = le.BigEndian.AppendUint32(rtp, uint32(160*n)+uint32(source)<<30)
		rtp = le.BigEndian.AppendUint32(rtp, 0x1111+uint32(source))
		for i := range 160 {
			rtp = append(rtp, ulaw(sine(hz, 160*n+i)))
		}
		at := time.Duration(n) * 20 * time.Millisecond
		size := uint32(14 + 20 + 8 + len(rtp))
		for _, v := range []uint32{uint32(at / time.Second), uint32(at % time.Second / time.Microsecond), size, size} {
			b = le.LittleEndian.AppendUint32(b, v)
		}
		b = append(b, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 2, 8, 0) // Ethernet
		b = append(b, 0x45, 0)
		b = le.BigEndian.AppendUint16(b, uint16(20+8+len(rtp)))
		b = append(b, 0, 0, 0, 0, 64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1)
		b = append(b, 0x17, 0x70, 0x17, 0x70)
		b = le.BigEndian.AppendUint16(b, uint16(8+len(rtp)))
		b = append(b, 0, 0)
		b = append(b, rtp...)
	}
	if err := os.WriteFile(filepath.Join(w.dir, "voices.pcap"), b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// whistle replaces what a baresip says by a tone.
func (w *world) whistle(t *testing.T) {
	t.Helper()
	path := w.wave(t)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := 0, b[44:]; len(p) >= 2; i, p = i+1, p[2:] {
		le.LittleEndian.PutUint16(p, uint16(int16(sine(phoneTone, i))))
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// heard is the RTP that arrives at an address, in the order of arrival.
func arriving(all []packet, side, address string) (list []packet) {
	for _, p := range all {
		if p.side == side && p.rtp() && p.dst.Addr().String() == address && p.src.Addr().String() != address {
			list = append(list, p)
		}
	}
	return list
}

// one checks that packets are one voice of one payload type, with no number left out, and returns their speech.
func one(t *testing.T, who string, list []packet, pt byte) (speech []float64) {
	t.Helper()
	for i, p := range list {
		b := p.payload
		if b[1]&0x7f != pt {
			t.Fatalf("%s: packet %d has payload type %d, want %d", who, i, b[1]&0x7f, pt)
		}
		if i > 0 {
			last := list[i-1].payload
			seq, ssrc := le.BigEndian.Uint16(b[2:]), le.BigEndian.Uint32(b[8:])
			step := int32(le.BigEndian.Uint32(b[4:]) - le.BigEndian.Uint32(last[4:]))
			if ssrc != le.BigEndian.Uint32(last[8:]) || seq != le.BigEndian.Uint16(last[2:])+1 || step <= 0 || step > 8000 {
				t.Fatalf("%s: packet %d is %x, the one before %x", who, i, b[:12], last[:12])
			}
		}
		for _, x := range b[12:] {
			speech = append(speech, sampleOf(x))
		}
	}
	return speech
}

// sounds checks that a piece of speech is a tone.
func sounds(t *testing.T, who string, speech []float64, from, to time.Duration, hz float64) {
	t.Helper()
	a, b := int(from.Seconds()*8000), int(to.Seconds()*8000)
	if len(speech) < b {
		t.Errorf("%s: %v of speech, want %v", who, time.Duration(len(speech))*time.Second/8000, to)
		return
	}
	for ; a+1600 <= b; a += 1600 {
		if got := share(speech[a:a+1600], hz); got < 0.9 {
			t.Errorf("%s: at %v, %.0f %% of what is heard is %v Hz", who, time.Duration(a)*time.Second/8000, 100*got, hz)
			return
		}
	}
}

// TestRenumber: a telephone (baresip) calls a provider (sipp) that answers with payload types of its own and speaks with two
// sources in turn. Each hears the other's tone, under the numbers that it knows; the telephone hears one source without a
// gap.
func TestRenumber(t *testing.T) {
	w := newWorld(t)
	g := w.gate(t, settings{})
	w.voices(t)
	w.certificates(t)
	b := w.baresip(t, extension{"4930100", nsInside, node1}, "udp", gateInside+":5080", 0, ";ptime=20")
	w.whistle(t)
	before := len(g.records(t))
	rec := w.capture(t)
	callee := w.sipp(t, agent{ns: nsOutside, address: provider, number: "+4930200", scenario: "callee-renumbers"})
	b.call("+4930200")
	b.established(t, 1)
	time.Sleep(2*voiceTime + time.Second)
	b.do("sndcode", "5")
	time.Sleep(500 * time.Millisecond)
	b.hangUp()
	w.verdict(t, callee)
	b.quit(t)
	all := rec.stop(t)
	g.recorded(t, before, 1)

	heard := one(t, "telephone", arriving(all, nsInside, node1), 0)
	sounds(t, "telephone, first source", heard, 100*time.Millisecond, voiceTime-100*time.Millisecond, firstTone)
	sounds(t, "telephone, second source", heard, voiceTime+100*time.Millisecond, 2*voiceTime-100*time.Millisecond, secondTone)
	var speech []packet
	events := 0
	for _, p := range arriving(all, nsOutside, provider) {
		switch p.payload[1] & 0x7f {
		case 96:
			events++
		default:
			speech = append(speech, p)
		}
	}
	told := one(t, "provider", speech[:min(len(speech), 200)], 97)
	sounds(t, "provider", told, 100*time.Millisecond, 3*time.Second, phoneTone)
	if events == 0 {
		t.Error("the provider heard no telephone event")
	}
	t.Logf("telephone: %d packets; provider: %d of speech, %d of events", len(heard)/160, len(speech), events)
	decoded, _ := filepath.Glob(filepath.Join(w.dir, "baresip-*", "dump-*-dec.wav"))
	if len(decoded) != 1 {
		t.Fatalf("the telephone kept %v", decoded)
	}
	wav, err := os.ReadFile(decoded[0])
	if err != nil || len(wav) < 44 {
		t.Fatal(err)
	}
	var played []float64
	for p := wav[44:]; len(p) >= 2; p = p[2:] {
		played = append(played, float64(int16(le.LittleEndian.Uint16(p))))
	}
	// Its jitter buffer decides when it begins.
	sounds(t, "telephone, what it played", played, 500*time.Millisecond, voiceTime-500*time.Millisecond, firstTone)
	sounds(t, "telephone, what it played", played, voiceTime+500*time.Millisecond, 2*voiceTime-500*time.Millisecond, secondTone)
	if t.Failed() || *ladders {
		t.Logf("ladder:\n%s\n%s", ladder(all), g.tail())
	}
}
