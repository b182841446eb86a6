package call

import (
	"bytes"
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

func TestAnySequence(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		choice := rapid.IntRange(0, 1<<16)
		g := newGame(t, func(n int) int { return choice.Draw(t, "pick") % n })
		moves := rapid.IntRange(1, 60).Draw(t, "moves")
		for range moves {
			if !g.move() {
				break
			}
		}
		g.finish()
	})
}

// TestAbortAnywhere: whatever a call was at, Abort ends it with one record and no more.
func TestAbortAnywhere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		choice := rapid.IntRange(0, 1<<16)
		g := newGame(t, func(n int) int { return choice.Draw(t, "pick") % n })
		for range rapid.IntRange(1, 40).Draw(t, "moves") {
			if !g.move() {
				return
			}
		}
		if g.ended {
			return
		}
		// The Step that panics has come any way.
		before := len(g.records)
		g.c.Step(g.now, tu.Hangup{Code: 500, Why: reason.Internal}, nil)
		g.lawless = true
		do := g.c.Abort(g.now, nil)
		g.take(do)
		if !g.ended || len(g.records) != 1 || g.release != 1 {
			t.Errorf("ended %v, %d records, %d releases", g.ended, len(g.records), g.release)
		}
		if before == 0 && g.c.sure.won >= 0 {
			byes, want := 0, 2
			for l := range g.c.sure.bye {
				if g.c.sure.bye[l] { // who has referred may have hung up
					want--
				}
			}
			if g.c.sure.joining != nil { // as it was before the Step that panics, which has given it up
				want++
			}
			for _, a := range do {
				if x, ok := a.(tu.Send); ok && x.Msg.Method == "BYE" {
					byes++
				}
			}
			if byes != want {
				t.Errorf("an answered call is aborted with %d BYEs, want %d", byes, want)
			}
		}
	})
}

// FuzzStep hands a call events that no core would make, in any order.
func FuzzStep(f *testing.F) {
	f.Add([]byte{0, 2, 1, 1, 4, 3, 3, 2, 0, 0, 30, 8, 0, 1, 12, 0, 0})
	f.Add([]byte{1, 0, 9, 9, 9, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19})
	f.Add([]byte("0120111111A0C220100071011000y1911A000001A00000001&x2002C1A00210100001100X&x200000000000"))
	f.Add([]byte{2, 1, 2, 1, 1, 1, 1, 1, 3, 3, 4, 1, 0, 0, 2, 0, 0, 10, 3, 9, 0, 8, 1, 0, 1, 2, 0, 3, 8, 0}) // phones
	f.Add(bytes.Repeat([]byte{4, 1, 1, 8, 2, 0, 1, 3}, 10))
	f.Add(bytes.Repeat([]byte{3, 1, 4, 1, 5, 9, 2, 6}, 12))
	f.Fuzz(func(t *testing.T, data []byte) {
		pick := func(n int) int {
			if len(data) == 0 {
				return 0
			}
			k := int(data[0]) % n
			data = data[1:]
			return k
		}
		g := newGame(t, pick)
		g.lawless = true
		for len(data) > 0 && !g.ended {
			if pick(3) > 0 {
				g.move()
			} else {
				g.lawbreak()
			}
		}
	})
}

// lawbreak is an event that does not fit.
func (g *game) lawbreak() {
	tx, ref := tu.TxID(g.pick(len(g.order)+2)), tu.Ref(g.pick(len(g.refs)+2))
	switch g.pick(8) {
	case 0:
		g.happen(tu.Acked{Tx: tx, Msg: g.request(caller, "ACK", "x", 1, g.body(caller))})
	case 1:
		g.happen(tu.NotAcked{Tx: tx})
	case 2:
		g.happen(tu.Cancelled{Tx: tx})
	case 3:
		g.happen(tu.Failed{Ref: ref, Code: 408, Why: reason.Timeout})
	case 4:
		g.happen(g.plan())
	case 5:
		g.happen(g.reserved(g.pick(3)))
	case 6:
		if x := g.clients[ref]; x != nil {
			g.happen(g.response(x, 100+g.pick(600), "x", g.body(x.leg)))
		}
	case 7:
		g.happen(g.arrive(caller, g.request(caller, "INVITE", "", 1, g.body(caller)), netip.AddrPort{}))
	}
}
