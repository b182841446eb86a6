package dtls

import (
	"context"
	"crypto/tls"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/transport/v5/packetio"

	"sallyport/media"
)

// wish is a leg that is to be protected by what a handshake agrees upon.
type wish struct {
	leg        int32
	generation uint32 // of its stream
	peer       media.Identity
}

// Keys are what a handshake has come to.
type Keys struct {
	Leg        int32
	Generation uint32
	From       netip.AddrPort // the peer that has shown its certificate; not valid: records came from several addresses
	Peer       media.Identity
	Crypto     media.Crypto
}

// Options are what a Table reaches. Each function may be called from any goroutine, and must not wait.
type Options struct {
	Certificate tls.Certificate
	// Send sends a record from a leg's port. Its memory may be used again once Send has returned.
	Send func(leg int32, to netip.AddrPort, record []byte)
	// Done takes the keys.
	Done func(Keys)
	// Failed hears of a handshake that came to nothing; the next record of the peer begins another one.
	Failed func(leg int32, generation uint32, err error)
}

// MaxHandshakes bounds the handshakes under way.
const MaxHandshakes = 64

// Table has the associations of all legs. Its methods may be called from any goroutine; none of them waits.
type Table struct {
	options Options
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	working sync.WaitGroup

	mu       sync.Mutex
	wishes   map[int32]wish // bounded by the legs there are
	sessions map[int32]*session
	shaking  int
	waiting  map[int32]netip.AddrPort // active legs that found no room to begin, and where their peers are
	full     time.Time                // before that nobody has had his time
	closed   bool
}

// New makes an empty table.
func New(o Options) *Table {
	t := &Table{options: o, wishes: make(map[int32]wish), sessions: make(map[int32]*session), waiting: make(map[int32]netip.AddrPort)}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	return t
}

// Want implements media.Keying. Repeating it changes nothing; another peer, role or generation ends what there was.
func (t *Table) Want(leg int32, generation uint32, peer media.Identity) {
	w := wish{leg, generation, peer}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || t.wishes[leg] == w {
		return
	}
	t.end(leg)
	t.wishes[leg] = w
}

// Forget implements media.Keying: it ends a leg's association: the leg has ended, or is protected otherwise.
func (t *Table) Forget(leg int32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end(leg)
	delete(t.wishes, leg)
}

func (t *Table) end(leg int32) {
	delete(t.waiting, leg)
	if s := t.sessions[leg]; s != nil {
		delete(t.sessions, leg)
		s.end()
	}
}

// Begin implements media.Keying: it sends the first record of an active leg to its peer, unless a handshake is under way.
func (t *Table) Begin(leg int32, generation uint32, to netip.AddrPort) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if w, ok := t.wishes[leg]; ok && w.generation == generation && w.peer.Role == media.Active && t.sessions[leg] == nil && t.start(w, to) == nil && !t.closed {
		t.waiting[leg] = to // a peer that waits for us says nothing that would remind us
	}
}

// next begins a handshake that found no room before.
func (t *Table) next() {
	for leg, to := range t.waiting {
		delete(t.waiting, leg)
		if w, ok := t.wishes[leg]; ok && t.sessions[leg] == nil {
			t.start(w, to)
			return
		}
	}
}

// Take implements media.Keying: it takes a record from an address that the engine has let through. What is too much is lost: a peer repeats itself.
func (t *Table) Take(leg int32, generation uint32, from netip.AddrPort, record []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w, ok := t.wishes[leg]
	if !ok || w.generation != generation {
		return
	}
	s := t.sessions[leg]
	if s == nil {
		if w.peer.Role != media.Passive || !begins(record) {
			return
		}
		if s = t.start(w, from); s == nil {
			return
		}
	}
	if *s.remote.Load() != from {
		s.moved.Store(true)
		s.remote.Store(&from)
	}
	_, _ = s.in.Write(record, nil) // a full buffer: the record is lost
}

// begins reports whether a record can be the first one of a handshake: a ClientHello in epoch 0 (RFC 6347 §4.1).
func begins(record []byte) bool {
	const handshake, clientHello = 22, 1
	return len(record) > 13 && record[0] == handshake && record[3] == 0 && record[4] == 0 && record[13] == clientHello
}

// start begins a handshake, if there is room for one.
func (t *Table) start(w wish, with netip.AddrPort) *session {
	if t.closed || t.shaking >= MaxHandshakes && !t.evict() {
		return nil
	}
	ctx, cancel := context.WithCancel(t.ctx)
	s := &session{wish: w, born: time.Now(), shaking: true, in: packetio.NewBuffer(), send: t.options.Send}
	s.in.SetLimitCount(records)
	s.in.SetLimitSize(recordBytes)
	s.remote.Store(&with)
	s.end = func() { cancel(); _ = s.in.Close() }
	t.sessions[w.leg] = s
	t.shaking++
	t.working.Go(func() { t.run(ctx, s) })
	return s
}

// evict ends the handshake that has lasted longest, if it has had its time: who begins many and ends none keeps nobody else
// out.
func (t *Table) evict() bool {
	now := time.Now()
	if now.Before(t.full) {
		return false // whoever asks often does not have us look often
	}
	var oldest *session
	for _, s := range t.sessions {
		if s.shaking && (oldest == nil || s.born.Before(oldest.born)) {
			oldest = s
		}
	}
	if oldest == nil {
		return false
	}
	if t.full = oldest.born.Add(enough); now.Before(t.full) {
		return false
	}
	oldest.shaking = false
	t.shaking--
	t.end(oldest.wish.leg)
	return true
}

// run is a session's life.
func (t *Table) run(ctx context.Context, s *session) {
	defer s.end()
	conn, keys, err := s.shake(ctx, t.options.Certificate)
	t.mu.Lock()
	if s.shaking {
		s.shaking = false
		t.shaking--
		t.next()
	}
	current := t.sessions[s.wish.leg] == s
	if current && err != nil {
		delete(t.sessions, s.wish.leg)
	}
	t.mu.Unlock()
	if err != nil {
		if current {
			t.options.Failed(s.wish.leg, s.wish.generation, err)
		}
		return
	}
	if current {
		k := Keys{Leg: s.wish.leg, Generation: s.wish.generation, Peer: s.wish.peer, Crypto: keys}
		if !s.moved.Load() { // else anybody near the peer may have sent the last one
			k.From = *s.remote.Load()
		}
		t.options.Done(k)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	defer func() { _ = conn.Close() }()
	buf := make([]byte, packetsAtMost)
	for {
		// Nothing is carried over the association (RFC 5764 §1); reading has lost flights sent again, and tells its end.
		if _, err := conn.Read(buf); err != nil {
			break
		}
	}
	// The peer may begin anew, with the same certificate: RFC 8842 §4 asks for new signalling, but there are those who restart.
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sessions[s.wish.leg] == s {
		delete(t.sessions, s.wish.leg)
	}
}

// Close ends every association and waits for them.
func (t *Table) Close() {
	t.mu.Lock()
	t.closed = true
	for leg := range t.sessions {
		t.end(leg)
	}
	t.mu.Unlock()
	t.cancel()
	t.working.Wait()
}
