package dtls

import (
	"context"
	"crypto/tls"
	"net/netip"
	"slices"
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

// MaxRivals bounds those of one leg: behind a NAT the peer is not told from others by its address, so that each source has a
// handshake of its own, until one has shown the certificate.
const MaxRivals = 4

// Table has the associations of all legs. Its methods may be called from any goroutine; none of them waits.
type Table struct {
	options Options
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	working sync.WaitGroup

	mu       sync.Mutex
	wishes   map[int32]wish       // bounded by the legs there are
	sessions map[int32][]*session // of each leg one association, or MaxRivals at most
	shaking  int
	waiting  map[int32]netip.AddrPort // active legs that found no room to begin, and where their peers are
	full     time.Time                // before that nobody has had his time
	closed   bool
}

// New makes an empty table.
func New(o Options) *Table {
	t := &Table{options: o, wishes: make(map[int32]wish), sessions: make(map[int32][]*session), waiting: make(map[int32]netip.AddrPort)}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	return t
}

// Want implements media.Keying. Repeating it changes nothing; another peer, role or generation ends what there was, without a
// word: who was the peer before may be it again, and is not to think that the call is over.
func (t *Table) Want(leg int32, generation uint32, peer media.Identity) {
	w := wish{leg, generation, peer}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || t.wishes[leg] == w {
		return
	}
	for _, s := range t.sessions[leg] {
		s.mute.Store(true)
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

// end ends all that a leg has.
func (t *Table) end(leg int32) {
	delete(t.waiting, leg)
	for _, s := range t.sessions[leg] {
		s.end()
	}
	delete(t.sessions, leg)
}

// drop ends one session. It reports false if that has happened before.
func (t *Table) drop(s *session) bool {
	list := t.sessions[s.wish.leg]
	n := slices.Index(list, s)
	if n < 0 {
		return false
	}
	if len(list) == 1 {
		delete(t.sessions, s.wish.leg)
	} else {
		t.sessions[s.wish.leg] = slices.Delete(list, n, n+1)
	}
	s.end()
	return true
}

// Begin implements media.Keying: it sends the first record of an active leg to its peer. A handshake under way goes on with the
// peer at its new place.
func (t *Table) Begin(leg int32, generation uint32, to netip.AddrPort) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w, ok := t.wishes[leg]
	if !ok || w.generation != generation || w.peer.Role != media.Active || t.closed {
		return
	}
	if list := t.sessions[leg]; len(list) > 0 {
		if list[0].shaking {
			list[0].move(to)
		}
		return
	}
	if t.start(w, to, media.Named) == nil {
		t.waiting[leg] = to // a peer that waits for us says nothing that would remind us
	}
}

// next begins a handshake that found no room before.
func (t *Table) next() {
	for leg, to := range t.waiting {
		delete(t.waiting, leg)
		if w, ok := t.wishes[leg]; ok && len(t.sessions[leg]) == 0 {
			t.start(w, to, media.Named)
			return
		}
	}
}

// Take implements media.Keying: it takes a record from an address that the engine has let through. What is too much is lost: a
// peer repeats itself.
func (t *Table) Take(leg int32, generation uint32, from netip.AddrPort, standing media.Standing, record []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w, ok := t.wishes[leg]
	if !ok || w.generation != generation {
		return
	}
	s := t.of(leg, from, standing)
	if s == nil {
		if w.peer.Role != media.Passive || !media.BeginsHandshake(record) || !t.makeWay(leg, standing) {
			return
		}
		if s = t.start(w, from, standing); s == nil {
			return
		}
	}
	s.move(from)
	_, _ = s.in.Write(record, nil) // a full buffer: the record is lost
}

// of is the session that a record belongs to: that of its source, but for a peer that is known by its checks, whose one
// session comes from wherever it is.
func (t *Table) of(leg int32, from netip.AddrPort, standing media.Standing) *session {
	list := t.sessions[leg]
	for _, s := range list {
		if *s.remote.Load() == from {
			return s
		}
	}
	if standing == media.Proven && len(list) > 0 {
		return list[0]
	}
	return nil
}

// makeWay sees to it that a leg has room for a rival, and reports whether it has. Where there is an association, nobody is
// heard besides, but who comes from the place that signalling names: the peer may have moved. Otherwise the first to go is who
// has not shown that he hears us at all (he may be anywhere, and many), then who has had his time; who comes from the named
// place stays.
func (t *Table) makeWay(leg int32, standing media.Standing) bool {
	list, now := t.sessions[leg], time.Now()
	switch {
	case len(list) > 0 && list[0].won && standing == media.Possible:
		return false
	case len(list) < MaxRivals:
		return true
	}
	rival := func(s *session) bool { return !s.won && s.standing == media.Possible }
	out := slices.IndexFunc(list, func(s *session) bool { return rival(s) && !s.heard.Load() }) // the oldest
	if out < 0 {
		out = slices.IndexFunc(list, func(s *session) bool { return rival(s) && (standing != media.Possible || now.Sub(s.born) >= enough) })
	}
	if out < 0 {
		return false
	}
	t.displace(list[out])
	return true
}

// displace ends a handshake for the sake of another one.
func (t *Table) displace(s *session) {
	s.shaking = false
	t.shaking--
	t.drop(s)
}

// start begins a handshake, if there is room for one.
func (t *Table) start(w wish, with netip.AddrPort, standing media.Standing) *session {
	if t.closed || t.shaking >= MaxHandshakes && !t.evict() {
		return nil
	}
	ctx, cancel := context.WithCancel(t.ctx)
	s := &session{wish: w, standing: standing, born: time.Now(), shaking: true, in: packetio.NewBuffer(), send: t.options.Send}
	s.in.SetLimitCount(records)
	s.in.SetLimitSize(recordBytes)
	s.remote.Store(&with)
	s.end = func() { cancel(); _ = s.in.Close() }
	t.sessions[w.leg] = append(t.sessions[w.leg], s)
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
	for _, list := range t.sessions {
		for _, s := range list {
			if s.shaking && (oldest == nil || s.born.Before(oldest.born)) {
				oldest = s
			}
		}
	}
	if oldest == nil {
		return false
	}
	if t.full = oldest.born.Add(enough); now.Before(t.full) {
		return false
	}
	t.displace(oldest)
	return true
}

// run is a session's life. When it returns nothing is sent any more: the sockets may be closed then.
func (t *Table) run(ctx context.Context, s *session) {
	defer s.hush()
	defer s.end()
	conn, keys, err := s.shake(ctx, t.options.Certificate)
	if !t.settle(s, err == nil) {
		if conn != nil {
			_ = conn.Close()
		}
		return
	}
	if err != nil {
		t.options.Failed(s.wish.leg, s.wish.generation, err)
		return
	}
	k := Keys{Leg: s.wish.leg, Generation: s.wish.generation, Peer: s.wish.peer, Crypto: keys}
	if !s.moved.Load() { // else the peer has shown by checks where it is
		k.From = *s.remote.Load()
	}
	t.options.Done(k)
	told := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(told)
		_ = conn.Close() // which tells the peer
	})
	defer func() {
		if !stop() {
			<-told
		}
		_ = conn.Close()
	}()
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
	t.drop(s)
}

// settle notes how a handshake has ended, and reports whether anybody still waits for it. Who has shown the certificate ends
// those of the others.
func (t *Table) settle(s *session, won bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.shaking {
		s.shaking = false
		t.shaking--
		defer t.next()
	}
	switch {
	case !won:
		return t.drop(s)
	case !slices.Contains(t.sessions[s.wish.leg], s):
		return false
	}
	s.won = true
	for _, other := range slices.Clone(t.sessions[s.wish.leg]) {
		if other != s {
			t.drop(other)
		}
	}
	return true
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
