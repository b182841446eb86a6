package media

import (
	"net/netip"
	"testing"
	"time"

	"sallyport/nat"
)

// keeper is a back end that only remembers the last command.
type keeper struct {
	layout Layout
	board  *Board
	last   Command
}

func (k *keeper) Open(l Layout, _ Listener) (*Board, error) {
	k.layout, k.board = l, NewBoard(l, time.Unix(1e9, 0))
	return k.board, nil
}
func (k *keeper) Post(c Command) { k.last = c }
func (k *keeper) Close() error   { return nil }

// pointed is a plane with one protected leg.
func pointed(t *testing.T) (*Plane, *keeper) {
	t.Helper()
	k := &keeper{}
	cfg := Config{Addresses: [2]netip.Addr{netip.MustParseAddr("203.0.113.10"), netip.MustParseAddr("10.0.0.2")}, First: 30000, Last: 30019}
	p, err := New(cfg, k, 1)
	if err != nil {
		t.Fatal(err)
	}
	id, _, err := p.Reserve(time.Unix(1e9, 0))
	if err != nil {
		t.Fatal(err)
	}
	w := Want{RTP: peerAt.AddrPort(), Latch: Strict, Send: true, Receive: true}
	w.Crypto = Crypto{Suite: AES128CM80, Receive: masterOf(theirs), Send: masterOf(ours)}
	if err := p.Point(id, nat.Outside, w); err != nil {
		t.Fatal(err)
	}
	return p, k
}

// An engine that is lost before it has heard of a leg does not take with it what the one before had protected: under the
// same keys everything would be sent under old indices.
func TestTwoLossesInARow(t *testing.T) {
	p, k := pointed(t)
	e := NewEngineOn(k.layout, k.board)
	e.Apply(1, &k.last)
	e.lock(2, int(k.last.Leg), &e.legs[k.last.Leg], e.ruling(int(k.last.Leg)), peerAt.at(61000))
	c := k.board.annex(int(k.last.Leg))
	c.rollIn.Store(peerSSRC<<32 | 2<<16 | 400)
	c.rollOut.Store(pbxSSRC<<32 | 3<<16 | 500)
	c.secured.Store(900)
	c.proved.Store(800)
	c.played.Store(7)
	c.eventStamp.Store(4711)
	mark := markOf(AES128CM80, &k.last.crypto.Send)
	want := resume{in: peerSSRC<<32 | 2<<16 | 400, out: pbxSSRC<<32 | 3<<16 | 500, proved: 800, reported: 900, marks: marksOf(0, mark)}
	for n := range 3 {
		board := NewBoard(k.layout, time.Unix(1e9, 0))
		p.renewed(board)
		if c := &k.last; c.resume != want || c.learned[0] != peerAt.at(61000) || c.keyed.played != 7 || !c.resumed {
			t.Fatalf("after %d losses: %+v, %v", n+1, c.resume, c.learned)
		}
	}
	// What the last one has heard of and gone on with counts again.
	board := NewBoard(k.layout, time.Unix(1e9, 0))
	p.renewed(board)
	k.last.keyed.told, k.last.flags = true, k.last.flags|flagEvents
	NewEngineOn(k.layout, board).Apply(3, &k.last)
	board.annex(int(k.last.Leg)).secured.Store(950)
	p.renewed(NewBoard(k.layout, time.Unix(1e9, 0)))
	if want.reported = 950; k.last.resume != want || !k.last.keyed.told || k.last.keyed.stamp != 4711 {
		t.Errorf("%+v, %+v", k.last.resume, k.last.keyed)
	}
}

// A key of ours that signalling changes while no engine is there is none that the last one had counted for.
func TestAnotherKeyBetweenEngines(t *testing.T) {
	p, k := pointed(t)
	leg := int(k.last.Leg)
	id := p.streams[p.byPair[leg/2]].id()
	NewEngineOn(k.layout, k.board).Apply(1, &k.last)
	k.board.annex(leg).rollOut.Store(pbxSSRC<<32 | 3<<16 | 500)
	w := p.streams[p.byPair[leg/2]].want[nat.Outside]
	for _, x := range []struct {
		key  byte
		want uint64
	}{{ours, pbxSSRC<<32 | 3<<16 | 500}, {77, 0}, {77, 0}} {
		w.Crypto.Send = masterOf(x.key)
		if err := p.Point(id, nat.Outside, w); err != nil { // the engine is lost: nobody takes it
			t.Fatal(err)
		}
		board := NewBoard(k.layout, time.Unix(1e9, 0))
		p.renewed(board)
		NewEngineOn(k.layout, board).Apply(2, &k.last)
		if at := board.carried(leg, k.last.Generation).out; at != x.want {
			t.Errorf("under key %d it goes on at %#x, want %#x", x.key, at, x.want)
		}
	}
}

// A command that takes the place of one that a new engine has not seen yet brings what that one said of the engine before,
// and no command of another stream does.
func TestFollow(t *testing.T) {
	p, k := pointed(t)
	NewEngineOn(k.layout, k.board).Apply(1, &k.last)
	k.board.annex(int(k.last.Leg)).secured.Store(900)
	plain := k.last
	p.renewed(NewBoard(k.layout, time.Unix(1e9, 0)))
	refill := k.last
	for name, change := range map[string]func(c *Command){
		"the same":       func(*Command) {},
		"another aim":    func(c *Command) { c.rtp = farAt },
		"another stream": func(c *Command) { c.Generation++ },
		"its end":        func(c *Command) { c.Free = true },
	} {
		c := plain
		change(&c)
		c.Follow(&refill)
		if same := c.Generation == refill.Generation && !c.Free; (c.resume.reported == 900) != same || c.resumed != same {
			t.Errorf("%s: %+v", name, c.resume)
		}
	}
	again := refill
	again.resume.reported = 901
	if again.Follow(&refill); again.resume.reported != 901 {
		t.Error("a newer refill is overwritten by an older one")
	}
}

// Keys that were agreed upon with one peer protect nothing that is meant for another: signalling has named him while the
// handshake came to its end.
func TestKeysOfAnotherPeer(t *testing.T) {
	one := Identity{Role: Passive, Print: Fingerprint{Hash: SHA256, Value: [64]byte{1}}}
	two := Identity{Role: Passive, Print: Fingerprint{Hash: SHA256, Value: [64]byte{2}}}
	p, k := pointed(t)
	id := p.streams[p.byPair[k.last.Leg/2]].id()
	e := NewEngineOn(k.layout, k.board)
	w := Want{RTP: peerAt.AddrPort(), Send: true, Receive: true, Mux: true}
	for _, peer := range []Identity{one, two} {
		w.Peer = peer
		if err := p.Point(id, nat.Outside, w); err != nil {
			t.Fatal(err)
		}
		e.Apply(1, &k.last)
	}
	a := Agreement{Leg: k.last.Leg, Generation: k.last.Generation, From: peerAt, Peer: one, Crypto: Crypto{Suite: AES128CM80, Receive: masterOf(theirs)}}
	p.agreed(a)
	p.Refill()
	if e.Agree(2, &a) || e.legs[a.Leg].is(flagSecure) || k.last.flags&flagSecure != 0 {
		t.Error("the keys of the peer of before are in force with the new one")
	}
	a.Peer = two
	p.agreed(a)
	p.Refill()
	if !e.Agree(3, &a) || !e.legs[a.Leg].is(flagSecure) || k.last.flags&flagSecure == 0 {
		t.Error("nor are the peer's own")
	}
}
