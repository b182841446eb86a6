package media

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"sallyport/media/ice"
	"sallyport/nat"
)

// Raced says to the tests outside of the package whether the race detector runs: memory is another then.
const Raced = raced

// wishes is a Keying that knows for whom it has been asked.
type wishes map[int32]uint32

func (k wishes) Want(leg int32, generation uint32, _ Identity) { k[leg] = generation }
func (k wishes) Begin(int32, uint32, netip.AddrPort)           {}
func (k wishes) Forget(leg int32)                              { delete(k, leg) }

func (k wishes) Take(int32, uint32, netip.AddrPort, Standing, []byte) {}

// Whatever a leg had of its own beside the table goes with its call, in whatever order calls come, change and go, and
// whether or not a call hears of its end before its ports have the next one.
func TestFreeLeavesNothing(t *testing.T) {
	const pairs = 8
	cfg := Config{Addresses: [2]netip.Addr{netip.MustParseAddr("203.0.113.10"), netip.MustParseAddr("10.0.0.2")}, First: 30000, Last: 30000 + 2*pairs - 1}
	layout, rnd, asked := cfg.layout(), rand.New(rand.NewPCG(1, 2)), wishes{}
	e := NewEngine(layout, time.Now())
	e.SetKeying(asked)
	peer := netip.MustParseAddrPort("198.51.100.7:4000")
	var live [pairs]uint32 // generation of the call on a pair
	most := 0
	for generation := uint32(1); generation < 5000; generation++ {
		pair, now := rnd.IntN(pairs), int64(generation)*int64(time.Millisecond)
		if live[pair] == 0 || rnd.IntN(4) > 0 { // a new call, or the end of the last one was lost
			if rnd.IntN(3) > 0 || live[pair] == 0 {
				live[pair] = generation
			}
			apply(e, now, layout, pair, live[pair], asking(rnd, peer))
		} else {
			for side := range 2 {
				e.Apply(now, &Command{Leg: int32(legOf(layout, pair, side)), Peer: int32(legOf(layout, pair, 1-side)), Generation: live[pair], Free: true})
			}
			live[pair] = 0
		}
		n := 0
		for leg := range e.legs {
			n += beside(t, e, asked, leg, live[leg/2%pairs])
		}
		most = max(most, n)
	}
	if most < pairs/2 {
		t.Errorf("%d rows in use at most: the test proves nothing", most)
	}
}

func legOf(layout Layout, pair, side int) int { return side*layout.Pairs*2 + pair*2 }

func apply(e *Engine, now int64, layout Layout, pair int, generation uint32, w Want) {
	for side := range 2 {
		c := w.command(nat.Side(side), legOf(layout, pair, side), legOf(layout, pair, 1-side), generation)
		e.Apply(now, &c)
	}
}

// asking is a leg with something beside the table, or with nothing.
func asking(rnd *rand.Rand, peer netip.AddrPort) Want {
	w := Want{RTP: peer, Send: true, Receive: true, Final: true}
	if rnd.IntN(2) == 0 {
		w.Crypto = Crypto{Suite: AES128CM80}
		w.Crypto.Send[0], w.Crypto.Receive[0] = byte(rnd.Uint32()), byte(rnd.Uint32())
	}
	if rnd.IntN(2) == 0 {
		w.ICE = Credentials(ice.Credentials{Fragment: [ice.FragmentLen]byte{1}, Password: [ice.PasswordLen]byte{byte(rnd.Uint32())}})
	}
	if w.Crypto.Suite == NoCrypto && rnd.IntN(2) == 0 {
		w.Peer = Identity{Role: Role(1 + rnd.IntN(2)), Print: Fingerprint{Hash: SHA256}}
	}
	return w
}

// beside counts what a leg has beside the table. None of it is of another call than the leg's.
func beside(t *testing.T, e *Engine, asked wishes, leg int, generation uint32) (n int) {
	t.Helper()
	if s := e.secured[leg/2]; s != nil {
		n++
		if s.generation != generation {
			t.Fatalf("leg %d of call %d has keys of call %d", leg, generation, s.generation)
		}
	}
	if k := e.checks[leg]; k != nil {
		n++
		if k.generation != generation {
			t.Fatalf("leg %d of call %d has checks of call %d", leg, generation, k.generation)
		}
	}
	if of, ok := asked[int32(leg)]; ok {
		n++
		if of != generation {
			t.Fatalf("leg %d of call %d: a handshake of call %d is awaited", leg, generation, of)
		}
	}
	if leg&1 == 0 && generation == 0 && e.peers[leg/2] != (Identity{}) {
		t.Fatalf("leg %d: there is no call, and it has a peer", leg)
	}
	return n
}
