package dtls

import (
	"crypto/tls"
	"errors"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sallyport/media"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	alice = netip.MustParseAddrPort("192.0.2.1:4000")
	bob   = netip.MustParseAddrPort("198.51.100.2:5000")
)

const (
	leg        = 6
	generation = 9
	patience   = 20 * time.Second // a bound for failure
)

// end is one side of a wire.
type end struct {
	*Table
	own         media.Fingerprint
	certificate tls.Certificate
	at          netip.AddrPort
	also        netip.AddrPort // every other record comes from there, if it is valid
	standing    media.Standing // of its records, wherever they arrive
	keys        chan Keys
	err         chan error
	sent        int
}

// wire joins two tables. lose says which records never arrive.
type wire struct {
	mu   sync.Mutex
	ends []*end // the first one is alice
	n    int
	lose func(n int, record []byte) bool
}

func newWire(t *testing.T, lose func(n int, record []byte) bool) *wire {
	t.Helper()
	w := &wire{lose: lose}
	w.join(t, alice)
	w.join(t, bob)
	return w
}

// join adds an end with a certificate of its own.
func (w *wire) join(t *testing.T, at netip.AddrPort) *end {
	t.Helper()
	certificate, own, err := NewCertificate(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return w.joinAs(t, at, certificate, own)
}

func (w *wire) joinAs(t *testing.T, at netip.AddrPort, certificate tls.Certificate, own media.Fingerprint) *end {
	e := &end{own: own, at: at, certificate: certificate, keys: make(chan Keys, 8), err: make(chan error, 64)}
	e.Table = New(w.options(e))
	w.mu.Lock()
	w.ends = append(w.ends, e)
	w.mu.Unlock()
	t.Cleanup(e.Close)
	return e
}

func (w *wire) options(e *end) Options {
	return Options{
		Certificate: e.certificate,
		Send:        func(_ int32, to netip.AddrPort, record []byte) { w.carry(e, to, record) },
		Done:        func(k Keys) { e.keys <- k },
		Failed:      func(_ int32, _ uint32, err error) { e.err <- err },
	}
}

func (w *wire) carry(from *end, to netip.AddrPort, record []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.n++
	if w.lose != nil && w.lose(w.n, record) {
		return
	}
	from.sent++
	at := from.at
	if from.also.IsValid() && from.sent%2 == 0 {
		at = from.also
	}
	for _, far := range w.ends {
		if to == far.at || to == far.also {
			record = append([]byte(nil), record...)
			go far.Take(leg, generation, at, from.standing, record)
		}
	}
}

// sent is how many records an end has sent.
func (w *wire) sent(e *end) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return e.sent
}

// want tells both sides who the other is; the prints may be false.
func (w *wire) want(prints [2]media.Fingerprint) {
	w.ends[0].Want(leg, generation, media.Identity{Role: media.Passive, Print: prints[1]})
	w.ends[1].Want(leg, generation, media.Identity{Role: media.Active, Print: prints[0]})
}

func (w *wire) prints() [2]media.Fingerprint {
	return [2]media.Fingerprint{w.ends[0].own, w.ends[1].own}
}

func await[T any](t *testing.T, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatal("it never came")
	}
	return v
}

// Both sides come to the same keys, each the other way round, whatever gets lost on the way.
func TestBothSidesAgree(t *testing.T) {
	for name, lose := range map[string]func(n int, record []byte) bool{
		"a good wire":         nil,
		"each first flight":   func(n int, _ []byte) bool { return n <= 2 },
		"every fourth record": func(n int, _ []byte) bool { return n%4 == 3 },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWire(t, lose)
			w.want(w.prints())
			w.ends[1].Begin(leg, generation, alice)
			w.ends[1].Begin(leg, generation, alice) // it is under way
			a, b := await(t, w.ends[0].keys), await(t, w.ends[1].keys)
			if a.Crypto.Suite != media.AEADAES128GCM || a.Crypto.Suite != b.Crypto.Suite ||
				a.Crypto.Receive != b.Crypto.Send || a.Crypto.Send != b.Crypto.Receive || a.Crypto.Send == a.Crypto.Receive {
				t.Errorf("keys differ: %v, %v", a.Crypto.Suite, b.Crypto.Suite)
			}
			if a.From != bob || b.From != alice || a.Leg != leg || a.Generation != generation {
				t.Errorf("%v, %v", a, b)
			}
		})
	}
}

// What a table sends is sent when Close returns: the sockets are closed then, and their numbers may be somebody else's.
func TestNothingIsSentAfterClose(t *testing.T) {
	for range 20 {
		w := newWire(t, nil)
		w.want(w.prints())
		w.ends[1].Begin(leg, generation, alice)
		_, _ = await(t, w.ends[0].keys), await(t, w.ends[1].keys)
		before := w.sent(w.ends[0])
		w.ends[0].Close()
		told := w.sent(w.ends[0])
		if told == before {
			t.Fatal("the peer is not told that it is over")
		}
		runtime.Gosched()
		if after := w.sent(w.ends[0]); after != told {
			t.Fatalf("%d records were sent after Close", after-told)
		}
	}
}

// Who has another certificate than signalling said gets no keys, and nobody believes that there are any.
func TestAnotherCertificate(t *testing.T) {
	for _, side := range []int{0, 1} {
		w := newWire(t, nil)
		prints := w.prints()
		prints[side].Value[5]++
		w.want(prints)
		w.ends[1].Begin(leg, generation, alice)
		if err := await(t, w.ends[1-side].err); !strings.Contains(err.Error(), errPrint.Error()) && !errors.Is(err, errPrint) {
			t.Errorf("side %d: %v", side, err)
		}
		select {
		case k := <-w.ends[1-side].keys:
			t.Errorf("side %d: keys of %v", side, k.From)
		default:
		}
	}
}

// Fingerprints of the longer functions count as well, and none of a function that nobody knows.
func TestHashes(t *testing.T) {
	certificate, own, err := NewCertificate(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	der := certificate.Certificate[0]
	for h := media.SHA256; h.Valid(); h++ {
		s := session{wish: wish{peer: media.Identity{Print: fingerprint(h, der)}}}
		if err := s.verify([][]byte{der}, nil); err != nil {
			t.Errorf("%v: %v", h, err)
		}
		s.wish.peer.Print.Value[h.Size()-1]++
		if err := s.verify([][]byte{der}, nil); !errors.Is(err, errPrint) {
			t.Errorf("%v, last byte changed: %v", h, err)
		}
	}
	if own != fingerprint(media.SHA256, der) {
		t.Error("NewCertificate tells another fingerprint")
	}
	s := session{}
	if err := s.verify([][]byte{der}, nil); !errors.Is(err, errPrint) {
		t.Errorf("without a fingerprint: %v", err)
	}
	if err := s.verify(nil, nil); !errors.Is(err, errPrint) {
		t.Errorf("without a certificate: %v", err)
	}
}

// Nothing begins for whom nobody waits: other legs, earlier streams, records that are no ClientHello, active legs.
func TestWhoIsNotAwaited(t *testing.T) {
	w := newWire(t, nil)
	hello := make([]byte, 60)
	hello[0], hello[13] = 22, 1
	take := func(n int32, g uint32, record []byte) bool {
		w.ends[0].Take(n, g, bob, media.Possible, record)
		w.ends[0].mu.Lock()
		defer w.ends[0].mu.Unlock()
		return len(w.ends[0].sessions) > 0
	}
	if take(leg, generation, hello) {
		t.Error("a leg that nobody wants to be protected")
	}
	w.want(w.prints())
	for name, began := range map[string]bool{
		"another leg":       take(leg+2, generation, hello),
		"an earlier stream": take(leg, generation-1, hello),
		"no handshake":      take(leg, generation, append([]byte{23}, hello[1:]...)),
		"a short record":    take(leg, generation, hello[:13]),
		"nothing":           take(leg, generation, nil),
		"an encrypted one":  take(leg, generation, append([]byte{22, 0, 0, 0, 1}, hello[5:]...)),
		"a second one":      take(leg, generation, append(append([]byte(nil), hello[:18]...), 1, 0, 0, 0)),
		"a ServerHello":     take(leg, generation, append(append([]byte(nil), hello[:13]...), 2, 0, 0, 0, 0, 0, 0)),
		"an active leg": func() bool {
			w.ends[1].Take(leg, generation, alice, media.Named, hello)
			w.ends[1].mu.Lock()
			defer w.ends[1].mu.Unlock()
			return len(w.ends[1].sessions) > 0
		}(),
	} {
		if began {
			t.Errorf("%s begins a handshake", name)
		}
	}
	if !take(leg, generation, hello) {
		t.Error("a ClientHello does not begin one")
	}
	w.ends[0].Forget(leg)
	if take(leg, generation, hello) {
		t.Error("a leg that was forgotten")
	}
}

// Handshakes under way have a bound; whoever is left out tries again.
func TestHandshakesAreBounded(t *testing.T) {
	w := newWire(t, nil)
	hello := make([]byte, 60)
	hello[0], hello[13] = 22, 1
	e := w.ends[0]
	for n := range int32(MaxHandshakes + 3) {
		e.Want(n, generation, media.Identity{Role: media.Passive, Print: w.ends[1].own})
		e.Take(n, generation, bob, media.Named, hello)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.sessions) != MaxHandshakes {
		t.Errorf("%d handshakes", len(e.sessions))
	}
	// Those that do not come to an end make room.
	e.sessions[7][0].born, e.full = time.Now().Add(-enough), time.Time{}
	oldest := e.sessions[7][0]
	e.mu.Unlock()
	e.Take(MaxHandshakes, generation, bob, media.Named, hello)
	e.mu.Lock()
	if len(e.sessions) != MaxHandshakes || e.shaking != MaxHandshakes || len(e.sessions[MaxHandshakes]) != 1 || slices.Contains(e.sessions[7], oldest) {
		t.Errorf("%d handshakes of %d", len(e.sessions), e.shaking)
	}
}

// A wish that is repeated disturbs nothing; a new one begins anew.
func TestWishes(t *testing.T) {
	w := newWire(t, nil)
	w.want(w.prints())
	w.ends[1].Begin(leg, generation, alice)
	first := await(t, w.ends[0].keys)
	_ = await(t, w.ends[1].keys)
	w.want(w.prints())
	w.ends[1].Begin(leg, generation, alice) // there is an association
	select {
	case <-w.ends[0].keys:
		t.Error("a wish that is repeated begins another handshake")
	default:
	}
	for _, e := range w.ends {
		e.Forget(leg)
	}
	w.want(w.prints())
	w.ends[1].Begin(leg, generation, alice)
	if again := await(t, w.ends[0].keys); again.Crypto == first.Crypto {
		t.Error("the same keys again")
	}
}

// An active leg that finds no room for its handshake begins it once there is some: its peer waits for us.
func TestActiveLegsWaitForRoom(t *testing.T) {
	w := newWire(t, nil)
	w.want(w.prints())
	e := w.ends[1]
	identity := media.Identity{Role: media.Active, Print: w.ends[0].own}
	for n := range int32(MaxHandshakes) {
		e.Want(leg+2+2*n, generation, identity)
		e.Begin(leg+2+2*n, generation, netip.MustParseAddrPort("192.0.2.1:9")) // nobody answers
	}
	e.Begin(leg, generation, alice)
	select {
	case <-e.keys:
		t.Fatal("there was no room")
	default:
	}
	e.Forget(leg + 2)
	if k := await(t, e.keys); k.Leg != leg {
		t.Errorf("leg %d", k.Leg)
	}
	e.Begin(leg+2, generation, alice) // it has been forgotten: it does not wait either
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.waiting) != 0 {
		t.Errorf("%d legs wait", len(e.waiting))
	}
}
