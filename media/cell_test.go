package media

import (
	"net/netip"
	"testing"
	"time"

	"sallyport/nat"
)

// plainCall is an engine with a call between two phones that send from where their SDP says, on the legs 0 and peer.
func plainCall(generation uint32) (e *Engine, peer int, at [2]Endpoint) {
	layout := wireLayout()
	e = NewEngine(layout, time.Unix(1e9, 0))
	peer = layout.Pairs * 2
	pointPlainly(e, generation)
	for side, a := range layout.Addresses {
		at[side] = EndpointOf(netip.AddrPortFrom(a.Next(), 4000))
	}
	return e, peer, at
}

func pointPlainly(e *Engine, generation uint32) {
	peer := e.share.Pairs * 2
	for side, leg := range []int{0, peer} {
		w := Want{RTP: netip.AddrPortFrom(e.share.Addresses[side].Next(), 4000), Latch: Strict, Send: true, Receive: true, Final: true}
		c := w.command(nat.Side(side), leg, peer-leg, generation)
		e.Apply(1e9, &c)
	}
}

// A call in which nothing is refused, and that has no RTCP, SRTP or telephone events, writes into no table but those that
// every call needs: what nobody has written takes up no memory.
func TestPlainCallsTouchNothingBesides(t *testing.T) {
	e, peer, at := plainCall(1)
	for n := range 200 {
		for side, leg := range []int{0, peer} {
			if v := e.Packet(1e9+int64(n)*20e6, leg, at[side], voice(uint16(n), uint32(side+1))); v.Why != Accepted {
				t.Fatalf("packet %d: %v", n, v.Why)
			}
		}
	}
	b := e.board
	for _, leg := range []int{0, peer} {
		i := leg / 2
		if c := b.cell(leg); c.noted.Load() != 0 || c.packets.Load() != 200 {
			t.Errorf("leg %d: %d packets, noted %#x", leg, c.packets.Load(), c.noted.Load())
		}
		for why := range b.refusals[i] {
			if n := b.refusals[i][why].Load(); n != 0 {
				t.Errorf("leg %d: %d refused as %v", leg, n, Rejection(why))
			}
		}
		if e.surveys[i] != (survey{}) || e.listings[i] != (listing{}) || e.keypads[i] != (keypad{}) || e.heard[i] != (continuity{}) || e.numbers[i] != (Numbering{}) {
			t.Errorf("leg %d has written into the table of a feature that it does not have", leg)
		}
		for n := leg; n <= leg+1; n++ {
			if e.hopefuls[n] != (hopefuls{}) || e.meters[n] != (meter{}) || e.forms[n] != 0 {
				t.Errorf("leg %d has written into the table of a feature that it does not have", n)
			}
		}
	}
}

// The next stream on the same ports begins with no figures of the last one, whichever table they stand in.
func TestTheNextStreamBeginsAtNothing(t *testing.T) {
	e, peer, at := plainCall(1)
	e.Packet(2e9, 0, at[0], voice(1, 1))
	e.Packet(2e9, 0, farAt, voice(1, 1))
	e.reject(1, RejectedPolice)
	e.board.sent(1, 3)
	x := e.board.annex(peer)
	x.reports.Store(1)
	x.farSent.Store(7)
	x.rollIn.Store(9)
	e.board.hear(0, Digit{Event: 5})
	if s := e.board.stats(0, 1); s.Packets != 1 || s.Sent != 3 || s.Rejected[RejectedSource] != 1 || s.Rejected[RejectedPolice] != 1 {
		t.Errorf("%+v", s)
	}
	if s := e.board.stats(peer, 1); s.Sent != 1 || s.Reports != 1 {
		t.Errorf("%+v", s)
	}
	pointPlainly(e, 2)
	for _, leg := range []int{0, peer} {
		s := e.board.stats(leg, 2)
		if !s.Remote.IsValid() || s.Latched {
			t.Errorf("leg %d: %v, latched %v", leg, s.Remote, s.Latched)
		}
		if s.Remote = (netip.AddrPort{}); s != (LegStats{}) {
			t.Errorf("leg %d: %+v", leg, s)
		}
		if c := e.board.cell(leg); c.heard.Load() != 0 || e.board.carried(leg, 2) != (resume{}) {
			t.Errorf("leg %d: %d digits, %+v", leg, c.heard.Load(), e.board.carried(leg, 2))
		}
	}
}

// What a peer had been sent when it last reported is told whole, though the table has its lower half.
func TestFarSentIsTakenUpAgain(t *testing.T) {
	e, _, _ := plainCall(1)
	for _, c := range []struct{ sent, then, want uint64 }{
		{100, 90, 90}, {1<<32 + 5, 1<<32 - 5, 1<<32 - 5}, {5 << 32, 5<<32 - 1, 5<<32 - 1},
		{99, 100, 99}, // one was taken back: it could not be sent
	} {
		e.board.cell(0).sent.Store(c.sent)
		x := e.board.annex(0)
		x.reports.Store(1)
		x.farSent.Store(uint32(c.then))
		if s := e.board.stats(0, 1); s.FarSent != c.want {
			t.Errorf("%d sent, %d then: %d", c.sent, c.then, s.FarSent)
		}
	}
}

// Either port of a pair may be somebody else's.
func TestMissingPorts(t *testing.T) {
	b := NewBoard(wireLayout(), time.Unix(1e9, 0))
	for _, leg := range []int{2, 5, 8, 9} {
		b.SetMissing(leg)
	}
	got := b.Missing()
	if len(got) != 4 || got[0] != 2 || got[1] != 5 || got[2] != 8 || got[3] != 9 {
		t.Errorf("missing %v", got)
	}
	for range b.Holdings() {
		t.Error("a port of others is in use")
	}
}
