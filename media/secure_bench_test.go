package media

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// Protected packets allocate nothing, nor do those that were forged or repeated.
func TestSecurePacketsDoNotAllocate(t *testing.T) {
	if raced {
		t.Skip("under the race detector")
	}
	for _, suite := range allSuites {
		g := newGuarded(suite, resume{})
		peer := newPlainly(suite, masterOf(theirs))
		const packets = 300
		var in, reports [][]byte
		for n := range uint16(packets) {
			in = append(in, peer.rtp(voice(n, peerSSRC), 12, 0))
			reports = append(reports, peer.rtcp(report(peerSSRC), uint32(n)+1))
		}
		forged := bytes.Clone(in[0])
		forged[3], forged[2] = 0xf0, 0x10
		buf := make([]byte, 0, 512)
		n := uint16(0)
		if got := testing.AllocsPerRun(packets-2, func() {
			out := voiceInto(buf, n, pbxSSRC)
			if g.Packet(g.now, int(g.inside), pbxAt, out).Why != Accepted {
				t.Fatal("not sent")
			}
			for _, b := range [][]byte{in[n], in[n]} {
				g.Packet(g.now, 0, peerAt, append(buf[:0], b...))
			}
			if suiteTable[suite].control != 0 { // of AES-GCM the library takes a few bytes for an SRTCP packet and for an error
				if g.Packet(g.now, 1, peerAt.at(4001), append(buf[:0], reports[n]...)).Why != Accepted {
					t.Fatal("report not heard")
				}
				g.Packet(g.now, 0, peerAt, append(buf[:0], forged...))
			}
			g.Packet(g.now, 0, farAt, append(buf[:0], forged...))
			n++
		}); got != 0 {
			t.Errorf("%v: %v allocations", suite, got)
		}
	}
}

func voiceInto(buf []byte, seq uint16, ssrc uint32) []byte {
	b := buf[:172]
	b[0], b[1] = 0x80, 0
	binary.BigEndian.PutUint16(b[2:], seq)
	binary.BigEndian.PutUint32(b[8:], ssrc)
	return b
}

// A protected packet of G.711, 20 ms, through the whole packet function; plain is the same without keys.
func BenchmarkSecure(b *testing.B) {
	for _, suite := range append([]Suite{NoCrypto}, allSuites...) {
		b.Run(suite.String()+"/protect", func(b *testing.B) {
			g := newGuarded(suite, resume{})
			if suite == NoCrypto {
				g.legs[0].flags &^= flagSecure
			}
			buf, n := make([]byte, 0, 512), uint16(0)
			b.ReportAllocs()
			for b.Loop() {
				if g.Packet(g.now, int(g.inside), pbxAt, voiceInto(buf, n, pbxSSRC)).Why != Accepted {
					b.Fatal("not sent")
				}
				n++
			}
		})
		b.Run(suite.String()+"/unprotect", func(b *testing.B) {
			g := newGuarded(suite, resume{})
			// The packets of one round of sequence numbers, made before: each round is of another counter.
			var in [512][]byte
			if suite == NoCrypto {
				g.legs[0].flags &^= flagSecure
				for n := range in {
					in[n] = voice(uint16(n), peerSSRC)
				}
			} else {
				peer := newPlainly(suite, masterOf(theirs))
				for n := range in {
					in[n] = peer.rtp(voice(uint16(n), peerSSRC), 12, 0)
				}
			}
			buf, n := make([]byte, 0, 512), 0
			b.ReportAllocs()
			for b.Loop() {
				if n == len(in) {
					n = 0
					if s := g.secured[0]; s != nil {
						s.in.packets = indices{}
					}
				}
				if g.Packet(g.now, 0, peerAt, append(buf[:0], in[n]...)).Why != Accepted {
					b.Fatal("not heard")
				}
				g.now += 20e6
				n++
			}
		})
	}
}
