//go:build linux

package process

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sallyport/media"
)

// server is the media process: one relay, and whoever speaks for it at the moment.
type server struct {
	options  ServeOptions
	listener *net.UnixListener
	inode    uint64
	ended    chan struct{}
	left     chan struct{} // a session has ended
	news     chan struct{} // something is on the table that signalling should hear of at once

	mu      sync.Mutex
	conns   map[*net.UnixConn]struct{}
	relay   *relay   // nil: no ports are open
	session *session // nil: nobody is connected
	last    uint32   // number of the last session
	idle    bool     // no leg was in use when watch last looked; its own
	refused string   // what was last said of a greeting; "": it was taken

	current atomic.Pointer[session] // the same as session, for whom must not wait
	copies  copies
}

// relay is an open range of ports.
type relay struct {
	layout  media.Layout
	backend Carrier
	board   *media.Board
	table   *table
	opened  time.Time
	owners  []owner // by pair
	// What its handshakes show: what signalling has kept of the process before this one, or a new one.
	certificate media.Certificate
}

// owner says who spoke of a pair last. Of what has been told in hints the lowest bits are enough: they are for now.
type owner struct {
	session    uint32
	generation uint32
	went       uint32 // when that one went, in milliseconds of the relay, which may go round
	latches    uint8  // told in hints
	heard      uint8  // digits, likewise
	silent     bool
	orphaned   bool // went counts
}

func (o *owner) claim(session, generation uint32) {
	if o.generation != generation {
		*o = owner{generation: generation}
	}
	o.session, o.orphaned = session, false
}

// session is one greeted connection.
type session struct {
	number uint32
	conn   *net.UnixConn
	build  string
}

const (
	greetWithin = 2 * time.Second
	waiting     = 8 // connections that have not greeted yet or are being served
)

// accept takes connections until the listener is closed.
func (s *server) accept(working *sync.WaitGroup) {
	for {
		c, err := s.listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			s.say("accepting a connection: %v", err)
			select {
			case <-s.ended:
				return
			case <-time.After(100 * time.Millisecond): // out of descriptors, for instance
			}
			continue
		}
		if !s.admit(c) {
			_ = c.Close()
			continue
		}
		working.Go(func() { s.converse(c) })
	}
}

func (s *server) admit(c *net.UnixConn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == nil {
		s.conns = make(map[*net.UnixConn]struct{})
	}
	if len(s.conns) >= waiting {
		return false
	}
	s.conns[c] = struct{}{}
	return true
}

// converse serves one connection until it ends.
func (s *server) converse(c *net.UnixConn) {
	defer func() {
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
		_ = c.Close()
	}()
	if err := sameUser(c); err != nil {
		s.say("a connection was refused: %v", err)
		return
	}
	buf := make([]byte, maxDatagram+1)
	_ = c.SetReadDeadline(time.Now().Add(greetWithin))
	n, err := c.Read(buf)
	if err != nil {
		return // a look whether somebody is here, or a greeting that never came
	}
	_ = c.SetReadDeadline(time.Time{})
	h, err := decodeHello(buf[:n])
	if err != nil {
		s.say("a greeting was refused: %v", err)
		return
	}
	mine, refusal := s.greet(c, &h)
	if refusal != nil {
		s.sayRefused(h.build, refusal)
		_, _ = c.Write(refusal.datagram())
		return
	}
	bye, err := s.listenTo(mine, buf)
	s.leave(mine, bye, err)
}

// sayRefused says once why a greeting is refused: whoever is refused tries again, many times a second.
func (s *server) sayRefused(build string, refusal *RefusedError) {
	if refusal.cause == causeBusy {
		return
	}
	text := fmt.Sprintf("signalling of build %s was refused: %s", build, refusal.Text)
	s.mu.Lock()
	said := s.refused == text
	s.refused = text
	s.mu.Unlock()
	if !said {
		s.say("%s", text)
	}
}

// greet judges a greeting and answers a good one.
func (s *server) greet(c *net.UnixConn, h *hello) (*session, *RefusedError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	refuse := func(why cause, text string) *RefusedError {
		return &RefusedError{PID: os.Getpid(), Build: s.options.Build, cause: why, Text: text}
	}
	switch {
	case !h.current():
		return nil, refuse(causeVersion, fmt.Sprintf("it speaks protocol %d with table %d, signalling of build %s wants %d with %d; "+
			"end it once its calls are over, and the right one is started", protocol, media.BoardVersion, h.build, h.protocol, h.board))
	case s.session != nil:
		return nil, refuse(causeBusy, "another signalling process is connected to it; stop that one, or use another runtime directory")
	}
	if refusal := s.suit(h.layout); refusal != "" {
		return nil, refuse(causeLayout, refusal)
	}
	if s.relay == nil {
		r, err := s.openRelay(h)
		if err != nil {
			refusal := refuse(causePorts, err.Error())
			refusal.errno, _ = errors.AsType[syscall.Errno](err)
			return nil, refusal
		}
		s.relay = r
	}
	// What the session before asked for is to show in the table before it is read.
	s.relay.backend.Settle()
	w := welcome{pid: os.Getpid(), backend: s.relay.backend.String(), workers: s.relay.layout.Workers, follows: s.options.Follow, size: uint64(len(s.relay.table.region)), build: s.options.Build, certificate: s.relay.certificate}
	if _, _, err := c.WriteMsgUnix(w.datagram(), unix.UnixRights(s.relay.table.fd), nil); err != nil {
		return nil, refuse(causePorts, err.Error())
	}
	s.last++
	s.session = &session{number: s.last, conn: c, build: h.build}
	s.current.Store(s.session)
	s.refused = ""
	s.say("signalling of build %s is connected, %s, back end %s, %d workers", h.build, s.relay.ports(), s.relay.backend, s.relay.layout.Workers)
	return s.session, nil
}

// suit makes way for another layout. With calls up it stays as it is where signalling can use it, and else refuses.
func (s *server) suit(layout media.Layout) (refusal string) {
	r := s.relay
	if r == nil || r.layout == layout {
		return ""
	}
	differences := r.layout.Differences(layout)
	switch {
	case !r.inUse():
		s.say("the ports are opened anew: %s", differences)
		r.close()
		s.relay = nil
	case !r.layout.Fits(layout):
		return "calls run on it, and what is wanted differs: " + differences + "; wait until they have ended, or end it"
	default:
		s.say("calls run, so what they run on stays, silence apart: %s", differences)
		r.layout.Silence = layout.Silence
	}
	return ""
}

// openRelay opens the ports of a layout over shared memory.
func openRelay(layout media.Layout, backend func(MakeBoard) Carrier, kept media.Certificate, hears media.Listener) (*relay, error) {
	r := &relay{layout: layout, opened: time.Now(), owners: make([]owner, layout.Legs()/2), certificate: kept}
	hears.Certificate = &r.certificate
	processors(layout.Workers)
	r.backend = backend(func(layout media.Layout, base time.Time) (b *media.Board, err error) {
		r.table, b, err = makeTable(layout, base)
		return b, err
	})
	var err error
	if r.board, err = r.backend.Open(layout, hears); err != nil {
		if r.table != nil {
			r.table.close()
		}
		return nil, err
	}
	debug.FreeOSMemory() // the collector is off: what opening the range left behind would stay for ever
	return r, nil
}

// moment is a time in milliseconds of the relay.
func (r *relay) moment(now time.Time) uint32 { return uint32(now.Sub(r.opened).Milliseconds()) }

func (r *relay) close() {
	_ = r.backend.Close()
	r.table.close()
}

func (r *relay) inUse() bool {
	r.backend.Settle()
	for range r.board.Holdings() {
		return true
	}
	return false
}

func (r *relay) ports() string {
	text := fmt.Sprintf("ports %d-%d of %s and %s", r.layout.First, r.layout.First+2*r.layout.Pairs-1, r.layout.Addresses[0], r.layout.Addresses[1])
	for _, a := range r.layout.Others {
		if a.IsValid() {
			text += " and " + a.String()
		}
	}
	return text
}

// listenTo carries out what a session sends until it ends. bye says that it ended as agreed.
func (s *server) listenTo(mine *session, buf []byte) (bye bool, err error) {
	r := s.relay // it stays while a session lasts
	list := make([]media.Command, 0, perPacket)
	for {
		n, err := mine.conn.Read(buf)
		if err != nil {
			return false, err
		}
		k, count, rest, err := open(buf[:n])
		if err != nil {
			return false, err
		}
		switch k {
		case kindCommands:
			if list, err = decodeCommands(list[:0], count, rest, r.layout); err != nil {
				return false, err
			}
			s.post(mine, r, list)
		case kindSync:
			token, err := decodeSync(count, rest)
			if err != nil {
				return false, err
			}
			r.backend.Settle()
			if _, err := mine.conn.Write(appendSync(nil, kindSynced, token)); err != nil {
				return false, err
			}
		case kindBye:
			return true, nil
		default:
			return false, errDatagram
		}
	}
}

func (s *server) post(mine *session, r *relay, list []media.Command) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range list {
		if !list[i].Free {
			r.owners[list[i].Leg/2].claim(mine.number, list[i].Generation)
		}
		r.backend.Post(list[i])
	}
}

// leave ends a session. With a goodbye its legs end as well; without one they are orphans.
func (s *server) leave(mine *session, bye bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.session = nil
	s.current.Store(nil)
	r := s.relay
	r.backend.Settle()
	now, left := time.Now(), 0
	for h := range r.board.Holdings() {
		o := &r.owners[h.Leg/2]
		switch {
		case o.session != mine.number: // an orphan of before
		case bye:
			r.free(h)
		default:
			o.orphaned, o.went = true, r.moment(now)
			left++
		}
	}
	select {
	case s.left <- struct{}{}:
	default:
	}
	if bye {
		s.say("signalling has said goodbye")
		return
	}
	s.say("signalling is gone (%v), %d legs go on until they have been silent for %v", err, left, r.layout.Silence)
}

func (r *relay) free(h media.Holding) {
	r.backend.Post(media.Command{Leg: int32(h.Leg), Peer: int32(h.Peer), Generation: h.Generation, Free: true})
}

// hangUp ends every connection.
func (s *server) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.Close()
	}
}

func (s *server) closeRelay() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.relay != nil {
		s.relay.close()
		s.relay = nil
	}
	return nil
}

// watch looks after the legs until the process has to end.
func (s *server) watch(ctx context.Context) {
	t := time.NewTicker(lookEvery)
	defer t.Stop()
	born, heap := time.Now(), memory{}
	for {
		now := time.Now()
		select {
		case <-ctx.Done():
			return
		case now = <-t.C:
		case <-s.left:
		case <-s.news:
			// A flood of news is no reason to look all the time.
			select {
			case <-ctx.Done():
				return
			case <-time.After(newsEvery):
			}
		}
		if over, greeted := s.look(now); over && (greeted || now.Sub(born) > greetWithin) {
			return
		}
		if s.idle {
			heap.tidy()
		}
	}
}

// hinted wakes watch. The workers call it: it waits for nobody.
func (s *server) hinted() {
	select {
	case s.news <- struct{}{}:
	default: // it has not looked since the last one
	}
}

func (s *server) say(format string, args ...any) {
	if s.options.Say != nil {
		s.options.Say(fmt.Sprintf(format, args...))
	}
}
