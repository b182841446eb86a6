package media

import (
	"bytes"
	"testing"
	"time"

	"sallyport/media/ice"
)

// checkedPair is a call of a peer that shows where it is by checks, on leg 0 or inside, and one at its SDP's address.
func checkedPair(checked, other *Command) (e *Engine, legs [2]int) {
	layout := wireLayout()
	e = NewEngine(layout, time.Unix(1e9, 0))
	inside := int32(layout.Pairs * 2)
	checked.Leg, checked.Peer, other.Leg, other.Peer = 0, inside, inside, 0
	for _, c := range []*Command{checked, other} {
		c.Generation = 1
		c.flags |= flagSend | flagReceive | flagFinal
	}
	checked.flags |= flagChecked
	checked.ice = ice.Credentials{Fragment: [ice.FragmentLen]byte{'f'}, Password: [ice.PasswordLen]byte{'p'}}
	e.Apply(1e9, checked)
	e.Apply(1e9, other)
	return e, [2]int{0, int(inside)}
}

// The next engine knows where the nominated peer is, whatever the leg's latch: not all who have nominated check again.
func TestTheNextEngineKnowsTheNominated(t *testing.T) {
	for _, mode := range []Mode{Off, Strict, Delayed} {
		e, legs := checkedPair(
			&Command{mode: mode, learned: [2]Endpoint{peerAt}, extras: extras{resumed: true}},
			&Command{rtp: pbxAt, rtcp: pbxAt.at(5001), flags: flagInside},
		)
		if v := e.Packet(2e9, legs[0], peerAt, room(voice(1, peerSSRC))); v.Why != Accepted {
			t.Errorf("%v: heard: %v", mode, v.Why)
		}
		if v := e.Packet(2e9, legs[1], pbxAt, room(voice(1, pbxSSRC))); v.Why != Accepted || v.To != peerAt {
			t.Errorf("%v: told: %v at %v", mode, v.Why, v.To)
		}
		if v := e.Packet(2e9, legs[0], farAt, room(voice(2, peerSSRC))); v.Why != RejectedSource {
			t.Errorf("%v: from elsewhere: %v", mode, v.Why)
		}
	}
}

// A phone whose NAT changes its port is found opposite to a peer with checks as well: that one has been told where to.
func TestLatchOppositeToChecks(t *testing.T) {
	for _, mode := range []Mode{Strict, Delayed, Ported} {
		e, legs := checkedPair(&Command{}, &Command{mode: mode, rtp: peerAt, rtcp: peerAt.at(4001)})
		moved, now, last := peerAt.at(61000), int64(2e9), RejectedLearn
		for seq := uint16(1); seq < 50; seq++ {
			now += 20e6
			last = e.Packet(now, legs[1], moved, room(voice(seq, peerSSRC))).Why
		}
		if e.legs[legs[1]].remote != moved || last == RejectedLearn {
			t.Errorf("%v: not found: %v", mode, last)
		}
	}
}

// A command that was on its way while the peer agreed on new keys brings the old ones: they do not come back.
func TestNewKeysOfAHandshakeStay(t *testing.T) {
	g := newGuarded(AES128CM80, resume{})
	peer := Identity{Role: Passive, Print: Fingerprint{Hash: SHA256, Value: [64]byte{1}}}
	point := func(seed byte) {
		c := Command{Leg: 0, Peer: g.inside, Generation: 1, rtp: peerAt, rtcp: peerAt.at(4001),
			flags: flagSend | flagReceive | flagFinal | flagDTLS | flagSecure, extras: extras{
				peer: peer, crypto: Crypto{Suite: AES128CM80, Receive: masterOf(seed), Send: masterOf(seed + 1)},
			}}
		g.Apply(g.now, &c)
	}
	point(20)
	if !g.Agree(g.now, &Agreement{Generation: 1, Peer: peer, Crypto: Crypto{Suite: AES128CM80, Receive: masterOf(30), Send: masterOf(31)}}) {
		t.Fatal("not taken")
	}
	point(20)
	if v := g.tell(voice(7, pbxSSRC)); !bytes.Equal(v.Data, newPlainly(AES128CM80, masterOf(31)).rtp(voice(7, pbxSSRC), 12, 0)) {
		t.Errorf("told under another key: %v", v.Why)
	}
	if v := g.hear(newPlainly(AES128CM80, masterOf(30)).rtp(voice(7, peerSSRC), 12, 0)); v.Why != Accepted {
		t.Errorf("heard: %v", v.Why)
	}
	if g.secured[0].in.master != masterOf(30) {
		t.Error("the old key is in force")
	}
}
