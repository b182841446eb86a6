package media

import (
	"bytes"
	"testing"
)

// An index serves once under a key, also where the key goes and comes back (a suite that changes and changes back).
func TestKeyComesBack(t *testing.T) {
	g := newGuarded(AES128CM80, resume{})
	for seq := uint16(100); seq < 300; seq++ {
		g.tell(voice(seq, pbxSSRC))
	}
	first := g.crypto
	g.crypto = Crypto{Suite: AES256CM80, Receive: masterOf(9), Send: masterOf(10)}
	g.apply(resume{})
	g.tell(voice(300, pbxSSRC))
	g.crypto = first
	g.apply(resume{})
	if v := g.tell(voice(150, pbxSSRC, 1, 2, 3)); v.Why == Accepted {
		t.Error("index 150 has protected two packets under one key")
	}
}

// Two SSRCs on one leg (video and its repairs): another process goes on with both.
func TestTwoSourcesResume(t *testing.T) {
	const video, repair = 0x77, 0x88
	g := newGuarded(AES128CM80, resume{})
	send := func(g *guarded, ssrc uint32, from, to int) (last Verdict) {
		for n := from; n < to; n++ {
			last = g.tell(voice(uint16(n), ssrc, byte(n>>16), 1))
		}
		return last
	}
	send(g, repair, 1, 50)
	once := bytes.Clone(send(g, video, 101, 102).Data)
	send(g, video, 102, 65536+100) // it wraps
	send(g, repair, 50, 51)        // the last one that leaves before the crash
	h := newGuarded(AES128CM80, g.board.carried(0, 1))
	v := send(h, video, 65536+101, 65536+102)
	if v.Why != Accepted {
		t.Logf("refused: %v", v.Why)
		return
	}
	us := newPlainly(AES128CM80, masterOf(ours))
	if bytes.Equal(v.Data, us.rtp(voice(101, video, 1, 1), 12, 0)) {
		t.Errorf("index 101 has protected two packets (%x, %x), and the peer, at rollover 1, hears no more video", once[12:14], v.Data[12:14])
	}
}

// A source that comes back after sixteen others.
func TestEvictedSource(t *testing.T) {
	g := newGuarded(AES128CM80, resume{})
	a := bytes.Clone(g.tell(voice(7, 1, 0, 0, 0)).Data)
	for ssrc := uint32(2); ssrc < 2+sourcesKept; ssrc++ {
		g.tell(voice(7, ssrc))
	}
	if v := g.tell(voice(7, 1, 1, 1, 1)); v.Why == Accepted {
		t.Errorf("index 7 of SSRC 1 twice: %x %x", a[12:15], v.Data[12:15])
	}
}
