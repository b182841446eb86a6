//go:build linux

package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sallyport/media"
)

// Options are what signalling knows of its media process.
type Options struct {
	Socket string
	Build  string
	// Program and Arguments start a media process that serves Socket and follows; "": only one that is there already is
	// used. Argv0 is the name it is started by; "": Program.
	Program, Argv0 string
	Arguments      []string
	// Say takes what goes into the log, with what was the cause of it, or nil; the process's own lines come here, too. nil:
	// nobody.
	Say func(text string, err error)
}

// Backend implements media.Backend: the ports are in another process, which is started where none answers, and started
// anew and filled when it is lost.
type Backend struct {
	options Options
	queue   queue
	layout  media.Layout
	hears   media.Listener
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	working sync.WaitGroup
	hearing sync.WaitGroup // what started processes say
	close   sync.Once
	synced  chan uint64

	mu      sync.Mutex
	link    *link    // nil: the process is lost, or was never there
	started *started // the process that this one has started last; nil: none
	own     bool     // the last link was to a process that signalling had started
	closing bool
	lost    int
	// What the handshakes of the process show, for the one that takes its place.
	certificate media.Certificate
}

// New makes a back end; Open reaches for the process.
func New(o Options) *Backend {
	b := &Backend{options: o, synced: make(chan uint64, 1)}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	return b
}

// ErrUnreachable says that no media process answered and none could be started.
var ErrUnreachable = errors.New("no media process")

// Pairs of the range that one worker carries with ease: 500 calls are 50,000 packets a second, a third of what it can.
const pairsPerWorker = 500

// Workers is how many workers a range deserves on this machine.
func (b *Backend) Workers(pairs int) int { return max(1, min(pairs/pairsPerWorker, runtime.NumCPU())) }

// State tells about the process behind a back end.
type State struct {
	PID     int // 0: there is none at the moment
	Build   string
	Backend string // what carries the datagrams there
	Workers int
	Started bool // by signalling, and not by the machine's service manager
	Lost    int  // how often the process or the way to it was lost
}

// State returns the present state.
func (b *Backend) State() State {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := State{Lost: b.lost, Started: b.own}
	if b.link != nil {
		w := &b.link.welcome
		s.PID, s.Build, s.Backend, s.Workers = w.pid, w.build, w.backend, w.workers
	}
	return s
}

// String is what the start-up line calls it.
func (b *Backend) String() string {
	s := b.State()
	if s.PID == 0 {
		return "in a process that is lost"
	}
	workers := "one worker"
	if s.Workers != 1 {
		workers = fmt.Sprintf("%d workers", s.Workers)
	}
	return fmt.Sprintf("%s in process %d, %s", s.Backend, s.PID, workers)
}

// Open implements media.Backend. An error that is ErrUnreachable leaves the ports to whoever tries otherwise; a
// *RefusedError does not.
func (b *Backend) Open(layout media.Layout, hears media.Listener) (*media.Board, error) {
	if b.link != nil {
		return nil, errors.New("media/process: already open: use one back end for each plane")
	}
	b.layout, b.hears = layout, hears
	l, err := b.reach(0)
	if err != nil {
		if b.started != nil { // nobody else speaks to it
			b.started.end()
		}
		b.abandon()
		return nil, err
	}
	b.queue.open()
	b.use(l)
	b.working.Go(func() { b.supervise(l) })
	b.working.Go(b.write)
	return l.board, nil
}

// Post implements media.Backend.
func (b *Backend) Post(c media.Command) { b.queue.post(c) }

// Close implements media.Backend: the process frees the ports, and ends if signalling has started it and no call of
// before is left on it.
func (b *Backend) Close() error {
	b.close.Do(func() {
		b.queue.stop()
		b.mu.Lock()
		b.closing = true
		l, p := b.link, b.started
		b.mu.Unlock()
		b.cancel()
		if l != nil {
			_ = l.conn.SetWriteDeadline(time.Now().Add(time.Second))
			_, _ = l.conn.Write(head(nil, kindBye, 0))
			l.hangUp()
		}
		b.working.Wait()
		if p != nil && l != nil {
			p.await(endWithin)
		}
		b.abandon()
	})
	return nil
}

// endWithin is how long a process that was told goodbye has; it may go on for orphans.
const endWithin = 2 * time.Second

// abandon lets go of the process that was started: what it still says is lost.
func (b *Backend) abandon() {
	b.cancel()
	b.mu.Lock()
	p := b.started
	b.mu.Unlock()
	if p != nil {
		p.letGo()
	}
	b.hearing.Wait()
}

// Sync returns when every command posted before has been carried out.
func (b *Backend) Sync(ctx context.Context) error {
	token := b.queue.sync()
	for {
		select {
		case got := <-b.synced:
			if got >= token {
				return nil
			}
		case <-ctx.Done():
			return fmt.Errorf("media/process: waiting for the media process: %w", ctx.Err())
		case <-b.ctx.Done():
			return errors.New("media/process: closed")
		}
	}
}

// use makes a link the one in use. It reports false, and ends the link, once the back end is closing.
func (b *Backend) use(l *link) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closing {
		l.hangUp()
		return false
	}
	b.link, b.own = l, l.welcome.follows
	return true
}

// supervise hears a link until it breaks, and finds another one, until Close.
func (b *Backend) supervise(l *link) {
	for {
		began := time.Now()
		err := b.hear(l)
		if b.ctx.Err() != nil {
			return
		}
		b.mu.Lock()
		b.link = nil
		b.lost++
		b.mu.Unlock()
		l.hangUp()
		b.say(fmt.Sprintf("the media process %d is lost: audio stops until another one has the calls", l.welcome.pid), err)
		delay := time.Duration(0)
		if time.Since(began) < shortLived {
			delay = firstDelay // one that ends again and again is not hurried
		}
		next, ok := b.again(delay)
		if !ok {
			return
		}
		b.queue.hold() // all of it is in what comes now
		if !b.use(next) {
			return
		}
		if b.hears.Renewed(next.board) {
			_ = unix.Munmap(l.region)
		}
		b.queue.release()
		b.say(fmt.Sprintf("media process %d has the calls", next.welcome.pid), nil)
		l = next
	}
}

const (
	shortLived = 5 * time.Second
	firstDelay = 100 * time.Millisecond
	lastDelay  = 5 * time.Second
)

// again tries until there is a link, or the back end is closed.
func (b *Backend) again(delay time.Duration) (*link, bool) {
	for {
		if delay > 0 {
			select {
			case <-b.ctx.Done():
				return nil, false
			case <-time.After(delay):
			}
		}
		l, err := b.reach(outsideWait)
		if b.ctx.Err() != nil {
			if l != nil {
				l.hangUp()
			}
			return nil, false
		}
		if err == nil {
			return l, true
		}
		delay = min(max(2*delay, firstDelay), lastDelay)
		b.say("no media process; trying again in "+delay.String(), err)
	}
}

// hear reads what the process says until the link breaks.
func (b *Backend) hear(l *link) error {
	buf := make([]byte, maxDatagram)
	hints := make([]hint, 0, perPacket)
	var copied []media.Tapped
	for {
		n, err := l.conn.Read(buf)
		if err != nil {
			return err
		}
		k, count, rest, err := open(buf[:n])
		if err != nil {
			return err
		}
		switch k {
		case kindHints:
			if hints, err = decodeHints(hints[:0], count, rest); err != nil {
				return err
			}
			b.hears.Hinted()
		case kindAgreement:
			a, err := decodeAgreement(count, rest)
			if err != nil {
				return err
			}
			b.hears.Agree(a)
		case kindTapped:
			if copied, err = b.copied(copied[:0], count, rest); err != nil {
				return err
			}
		case kindSynced:
			token, err := decodeSync(count, rest)
			if err != nil {
				return err
			}
			select {
			case <-b.synced: // the newest counts
			default:
			}
			b.synced <- token
		default:
			return errDatagram
		}
	}
}

// write sends what is posted. While the socket is full it waits, and newer states take the place of older ones in the
// queue.
func (b *Backend) write() {
	list, buf := make([]media.Command, 0, perPacket), make([]byte, 0, maxDatagram)
	for {
		var token uint64
		var ok bool
		if list, token, ok = b.queue.take(list[:0]); !ok {
			return
		}
		b.mu.Lock()
		l := b.link
		b.mu.Unlock()
		if l == nil {
			continue // whoever comes is filled anew
		}
		// An error shows to the reader as well, who finds another link.
		if len(list) > 0 {
			buf = appendCommands(buf[:0], list)
			_, _ = l.conn.Write(buf)
		}
		if token != 0 {
			_, _ = l.conn.Write(appendSync(buf[:0], kindSync, token))
		}
	}
}

func (b *Backend) say(text string, err error) {
	if errors.Is(err, io.EOF) {
		err = nil // that is what being lost means
	}
	if b.options.Say != nil {
		b.options.Say(text, err)
	}
}
