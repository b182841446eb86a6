package dtls

import (
	"net/netip"
	"testing"
	"time"

	"sallyport/media"
)

// firstHello is as much of a ClientHello as begins a handshake.
func firstHello() []byte {
	hello := make([]byte, 60)
	hello[0], hello[13] = 22, 1
	return hello
}

// behind is a neighbour of bob's: another port of the same address.
func behind(n int) netip.AddrPort { return netip.AddrPortFrom(bob.Addr(), 20000+uint16(n)) }

// list is what a leg has.
func (e *end) list() []*session {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]*session(nil), e.sessions[leg]...)
}

// Who is at the same address and begins handshakes, before the peer or after it, as often as he likes, does not keep it from
// agreeing on keys, and does not come to any; and its place is its own.
func TestNeighboursDisturbNobody(t *testing.T) {
	for name, c := range map[string]struct {
		standing media.Standing
		ports    int
	}{
		"three ports":                  {media.Possible, MaxRivals - 1},
		"any port, and the peer's own": {media.Named, 5000},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWire(t, nil)
			w.ends[1].standing = c.standing
			w.want(w.prints())
			a := w.ends[0]
			n := 0
			disturb := func() {
				a.Take(leg, generation, behind(n%c.ports), media.Possible, firstHello())
				n++
			}
			for range 2 * MaxRivals {
				disturb()
			}
			w.ends[1].Begin(leg, generation, alice)
			for done := false; !done; {
				disturb()
				select {
				case k := <-a.keys:
					if done = true; k.From != bob || k.Peer.Print != w.ends[1].own {
						t.Errorf("keys of %v", k.From)
					}
				case <-time.After(time.Millisecond):
					if n > int(patience/time.Millisecond) {
						t.Fatal("no keys")
					}
				}
			}
			if list := a.list(); len(list) != 1 || *list[0].remote.Load() != bob {
				t.Errorf("%d handshakes go on beside the association", len(list)-1)
			}
			disturb()
			if list := a.list(); len(list) != 1 {
				t.Error("a neighbour begins another one")
			}
			select {
			case k := <-a.keys:
				t.Errorf("keys of %v besides", k.From)
			default:
			}
		})
	}
}

// A neighbour who carries a handshake through, with a certificate of his own, ends his own one.
func TestNeighbourWithAnotherCertificate(t *testing.T) {
	w := newWire(t, nil)
	w.want(w.prints())
	near := w.join(t, behind(1))
	near.Want(leg, generation, media.Identity{Role: media.Active, Print: w.ends[0].own})
	near.Begin(leg, generation, alice)
	_ = await(t, w.ends[0].err)
	if list := w.ends[0].list(); len(list) != 0 {
		t.Errorf("%d handshakes", len(list))
	}
	w.ends[1].Begin(leg, generation, alice)
	if k := await(t, w.ends[0].keys); k.From != bob {
		t.Errorf("keys of %v", k.From)
	}
}

// Of those that find no room the one goes first that has not shown that it hears us, and nobody goes for whom time has not run
// out; who comes from the named place finds room, and keeps it.
func TestWhoMakesWay(t *testing.T) {
	w := newWire(t, nil)
	w.want(w.prints())
	a := w.ends[0]
	has := func(at netip.AddrPort) bool {
		for _, s := range a.list() {
			if *s.remote.Load() == at {
				return true
			}
		}
		return false
	}
	hello := func(at netip.AddrPort, standing media.Standing) bool {
		a.Take(leg, generation, at, standing, firstHello())
		return has(at)
	}
	for n := range MaxRivals {
		if !hello(behind(n), media.Possible) {
			t.Fatal("there is room")
		}
	}
	if !hello(behind(4), media.Possible) || has(behind(0)) {
		t.Error("the oldest that shows nothing stays")
	}
	for _, s := range a.list() {
		s.heard.Store(true)
	}
	if hello(behind(5), media.Possible) {
		t.Error("those that have shown that they hear us have their time")
	}
	if !hello(bob, media.Named) || has(behind(1)) {
		t.Error("no room for the named place")
	}
	a.mu.Lock()
	for _, s := range a.sessions[leg] {
		s.born = s.born.Add(-enough)
	}
	a.mu.Unlock()
	for n := range 20 {
		if !hello(behind(10+n), media.Possible) || !has(bob) || len(a.list()) != MaxRivals {
			t.Fatalf("%d: after their time", n)
		}
		for _, s := range a.list() {
			s.heard.Store(true)
		}
		a.mu.Lock()
		a.sessions[leg][MaxRivals-1].born = time.Time{}
		a.mu.Unlock()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.shaking != MaxRivals {
		t.Errorf("%d count as under way", a.shaking)
	}
}

// A peer that has moved to where signalling names it, and begins anew there, takes the place of its own association.
func TestPeerBeginsElsewhere(t *testing.T) {
	w := newWire(t, nil)
	w.want(w.prints())
	w.ends[1].Begin(leg, generation, alice)
	first := await(t, w.ends[0].keys)
	there := netip.MustParseAddrPort("198.51.100.3:5000")
	again := w.joinAs(t, there, w.ends[1].certificate, w.ends[1].own)
	again.standing = media.Named
	again.Want(leg, generation, media.Identity{Role: media.Active, Print: w.ends[0].own})
	again.Begin(leg, generation, alice)
	if k := await(t, w.ends[0].keys); k.From != there || k.Crypto == first.Crypto {
		t.Errorf("keys of %v", k.From)
	}
	if list := w.ends[0].list(); len(list) != 1 {
		t.Errorf("%d associations", len(list))
	}
}

// A peer that is known by its checks has one handshake, whichever of its addresses its records come from.
func TestCheckedPeerMayComeFromAnywhere(t *testing.T) {
	other := behind(7)
	w := newWire(t, nil)
	w.want(w.prints())
	w.ends[1].standing, w.ends[1].also = media.Proven, other
	for _, at := range []netip.AddrPort{bob, other} {
		w.ends[0].Take(leg, generation, at, media.Proven, firstHello()[:40])
	}
	if list := w.ends[0].list(); len(list) != 1 {
		t.Errorf("%d handshakes of one peer", len(list))
	}
	w.ends[0].Forget(leg)
	w.want(w.prints())
	w.ends[1].Begin(leg, generation, alice)
	if k := await(t, w.ends[0].keys); k.From.IsValid() {
		t.Errorf("keys of %v", k.From)
	}
}

// Who is not the peer any more hears no word of an end: it may be the peer again, under the keys that it has.
func TestFormerPeerHearsNoEnd(t *testing.T) {
	for range 20 {
		w := newWire(t, nil)
		w.want(w.prints())
		w.ends[1].Begin(leg, generation, alice)
		_, _ = await(t, w.ends[0].keys), await(t, w.ends[1].keys)
		before := w.sent(w.ends[0])
		w.ends[0].Want(leg, generation, media.Identity{Role: media.Passive, Print: media.Fingerprint{Hash: media.SHA256}})
		w.ends[0].Close()
		if w.sent(w.ends[0]) > before {
			t.Fatal("it hears something")
		}
	}
}
