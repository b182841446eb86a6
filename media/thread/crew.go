//go:build linux

package thread

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"sallyport/media"
	"sallyport/media/dtls"
)

// Options are a back end's own settings.
type Options struct {
	// Process says that this process does nothing but media: the wait keeps the scheduler's processor.
	Process bool
	// Board makes the board that the engine publishes on, over memory that other processes see; nil: one of its own. base
	// is the zero of the engine's clock.
	Board func(layout media.Layout, base time.Time) (*media.Board, error)
}

// Crew is the threads of a back end, with what they share: the engine, its handshakes and its copies. Its zero value is
// ready for Open; then come Enlist for each worker, Start, and Close in the end.
type Crew struct {
	layout  media.Layout
	process bool
	engine  *media.Engine
	hinted  func()
	threads []*Thread // by number
	running sync.WaitGroup
	keying  *dtls.Table
	drain   *media.Drain
	started atomic.Bool // Post may see the threads
	close   sync.Once
}

// Open makes the engine of a layout, with its handshakes. send sends a record of one from a leg's port, on any goroutine
// and without waiting, and reports whether it was given away.
func (c *Crew) Open(layout media.Layout, hears media.Listener, o Options, send func(leg int32, to netip.AddrPort, record []byte) bool) (*media.Board, error) {
	// Time zero of the engine means "never", so its clock starts a second ahead.
	base := time.Now().Add(-time.Second)
	if o.Board == nil {
		o.Board = func(layout media.Layout, base time.Time) (*media.Board, error) {
			return media.NewBoard(layout, base), nil
		}
	}
	board, err := o.Board(layout, base)
	if err != nil {
		return nil, err
	}
	engine := media.NewEngineOn(layout, board)
	drain := media.NewDrain(engine, hears)
	keying, err := dtls.Attach(engine, dtls.Attachment{
		Certificate: hears.Certificate,
		Send: func(leg int32, to netip.AddrPort, record []byte) {
			if send(leg, to, record) {
				drain.Sent(leg, to, record)
			}
		},
		Agreed: func(a media.Agreement) {
			c.of(a.Leg).queue.Agree(a)
			hears.Agree(a)
		},
	})
	if err != nil {
		return nil, err
	}
	c.layout, c.process, c.engine, c.drain, c.keying, c.threads = layout, o.Process, engine, drain, keying, nil
	if c.hinted = hears.Hinted; c.hinted == nil {
		c.hinted = func() {}
	}
	return board, nil
}

// Enlist makes a worker's thread the next one of the crew. What it waits on is given back by Shut, also where Enlist fails.
func (c *Crew) Enlist(t *Thread, w Work) error {
	t.Number, t.Engine, t.base = len(c.threads), c.engine, c.engine.Board().Base
	t.raw, t.Patient = c.process, c.process && !c.layout.LowLatency
	t.work, t.play, t.hinted = w, w.Send, c.hinted
	c.threads = append(c.threads, t)
	return t.open()
}

// of is the thread of a leg.
func (c *Crew) of(leg int32) *Thread { return c.threads[c.layout.Worker(int(leg))] }

// Start has the threads begin, and again after Stop.
func (c *Crew) Start() {
	for _, t := range c.threads {
		t.queue.Open(t.wakeFD, c.layout.Legs())
	}
	c.started.Store(true)
	for _, t := range c.threads {
		c.running.Go(t.run)
	}
}

// Post hands a command to the thread of its leg. Before Start, and after Stop, it does nothing.
func (c *Crew) Post(m media.Command) {
	if c.started.Load() && m.Leg >= 0 && int(m.Leg) < c.layout.Legs() {
		c.drain.Post(&m)
		c.of(m.Leg).queue.Post(m)
	}
}

// Settle returns when every command posted so far has been carried out. It does not wait for datagrams.
func (c *Crew) Settle() {
	if !c.started.Load() {
		return
	}
	var settled []<-chan struct{}
	for _, t := range c.threads {
		settled = append(settled, t.queue.Settle())
	}
	for _, s := range settled {
		<-s
	}
}

// Stop ends the threads and returns when they have ended. What was posted before has been carried out.
func (c *Crew) Stop() {
	if !c.started.Load() {
		return
	}
	for _, t := range c.threads {
		t.queue.Stop()
	}
	c.running.Wait()
}

// Close ends the threads, then the handshakes and the copies, and has the back end give its sockets back. Once: what is
// closed stays closed.
func (c *Crew) Close(shut func()) {
	c.close.Do(func() {
		c.Stop()
		if c.keying != nil {
			c.keying.Close()
		}
		if c.drain != nil {
			c.drain.Close()
		}
		shut()
	})
}

// Shut gives back what the threads waited on: after Stop, or where a back end could not be opened.
func (c *Crew) Shut() {
	for _, t := range c.threads {
		t.shut()
	}
}
