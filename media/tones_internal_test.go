package media

import (
	"bytes"
	"testing"
	"time"
)

// Tones leave protected, as everything that the peer hears.
func TestTonesAreProtected(t *testing.T) {
	for _, suite := range allSuites {
		t.Run(suite.String(), func(t *testing.T) {
			g := newGuarded(suite, resume{})
			c := Command{Leg: 0, Peer: g.inside, Generation: 1, rtp: peerAt, rtcp: peerAt.at(4001),
				flags: flagSend | flagReceive | flagFinal | flagSecure | flagEvents | flagContinuous, extras: extras{
					crypto: g.crypto, events: Events{Payload: 101, Clock: 8000},
					tones: Tones{Serial: 1, Count: 1, List: [MaxTones]Tone{{Event: 5, Volume: 10, Duration: 60}}},
				}}
			g.Apply(g.now, &c)
			us, seen := newPlainly(suite, masterOf(ours)), 0
			for ; g.Due(0) != never; g.now += 1e6 {
				g.Play(g.now, 0, func(v Verdict) bool {
					units := byte(min(seen+1, 3) * 160 & 0xff)
					plain := append(bytes.Clone(v.Data[:12]), 5, 10, byte(min(seen+1, 3)*160>>8), units)
					if seen >= 2 {
						plain[13] |= eventEnd
					}
					if want := us.rtp(plain, 12, 0); v.Why != Accepted || !bytes.Equal(v.Data, want) {
						t.Errorf("packet %d: %x, want %x", seen, v.Data, want)
					}
					seen++
					return true
				})
			}
			if seen != 5 {
				t.Errorf("%d packets", seen)
			}
		})
	}
}

// What signalling asks for is checked by nobody before it comes here: any clock, any length.
func TestTonesOfAnyClockEnd(t *testing.T) {
	for _, clock := range []uint32{0, 1, 49, 1000, 8000, 192000, 1 << 31, 1<<32 - 1} {
		layout := wireLayout()
		e := NewEngine(layout, time.Unix(1e9, 0))
		c := Command{Leg: 0, Peer: int32(layout.Pairs * 2), Generation: 1, rtp: peerAt, flags: flagSend | flagReceive | flagEvents,
			extras: extras{events: Events{Payload: 101, Clock: clock}, tones: Tones{Serial: 2, Count: 2, List: [MaxTones]Tone{{Event: 255, Volume: 255}, {Duration: 1<<16 - 1}}}}}
		e.Apply(1, &c)
		packets := 0
		for now := int64(1); e.Due(0) != never; now += toneEvery {
			e.Play(now, 0, func(v Verdict) bool {
				packets++
				if v.Data[13]&0x40 != 0 {
					t.Errorf("the reserved bit is set")
				}
				return true
			})
			if now > int64(200e9) {
				t.Fatalf("clock %d: it never ends", clock)
			}
		}
		if packets < 6 || e.board.annexOf(0).played.Load() != 2 {
			t.Errorf("clock %d: %d packets, %d played", clock, packets, e.board.annexOf(0).played.Load())
		}
	}
}
