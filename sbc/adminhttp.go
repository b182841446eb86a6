package sbc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.uber.org/zap"

	"sallyport/sbc/config"
	"sallyport/sbc/metrics"
	"sallyport/sbc/transport"
	"sallyport/sbc/tu"
)

// monitored is what a monitoring system sees besides what other parts hold anyway.
type monitored struct {
	tally        *metrics.Tally
	door         *figuresDoor
	reloads      reloads
	certificates atomic.Pointer[map[string]time.Time] // when each ends
}

// openFigures opens the door for a monitoring system.
func (s *SBC) openFigures(w *world, certificate *transport.TLS) error {
	s.tally, s.door = metrics.NewTally(), newFiguresDoor(s)
	s.reloads.at.Store(s.since.UnixMilli())
	s.named(w)
	s.certified(certificate)
	return s.door.open(w.snap)
}

// figuresDoor is where a monitoring system asks: admin.http. It answers from Run on, and moves with a reload.
type figuresDoor struct {
	*SBC
	server *metrics.Server

	mu      sync.Mutex
	at      netip.AddrPort // invalid: nowhere
	waiting net.Listener   // open, and Run has not begun
	stop    func()         // nil: it does not answer
}

func newFiguresDoor(s *SBC) *figuresDoor {
	return &figuresDoor{SBC: s, server: metrics.NewServer(figures{s}, func(err error) {
		s.log.Warn("admin.http", zap.Error(err))
	})}
}

// open opens the door without answering yet.
func (d *figuresDoor) open(snap *config.Snapshot) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !snap.HTTP.IsValid() {
		return nil
	}
	l, err := d.listen(snap.HTTP)
	if err != nil {
		return placedAt(snap, err)
	}
	d.at, d.waiting = snap.HTTP, l
	return nil
}

// placedAt says where the address was written.
func placedAt(snap *config.Snapshot, err error) error {
	return fmt.Errorf("%s: %w\n  hint: another program has that port: choose another one, or stop it", snap.Place("admin.http"), err)
}

// answer begins to answer.
func (d *figuresDoor) answer() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.waiting != nil {
		d.stop, d.waiting = d.server.Serve(d.waiting), nil
		d.log.Info("metrics and health at http://" + d.at.String() + "/metrics, /healthz, /readyz")
	}
}

// move answers at another address from now on; back undoes it. With an error it answers where it did.
func (d *figuresDoor) move(snap *config.Snapshot) (back func(), err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	was := d.at
	if snap.HTTP == was || d.stop == nil && was.IsValid() { // as before; or the program has not begun, or ends
		return func() {}, nil
	}
	if err := d.moveTo(snap.HTTP); err != nil {
		return nil, placedAt(snap, err)
	}
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if err := d.moveTo(was); err != nil {
			d.log.Error("admin.http: metrics are gone until the next reload", zap.Error(err))
		}
	}, nil
}

// moveTo opens the new address before it leaves the old one, unless one is in the other's way.
func (d *figuresDoor) moveTo(to netip.AddrPort) error {
	var l net.Listener
	var err error
	was, left := d.at, false
	if to.IsValid() {
		l, err = d.listen(to)
		if errors.Is(err, syscall.EADDRINUSE) && d.stop != nil && was.Port() == to.Port() {
			d.leave()
			left = true
			l, err = d.listen(to)
		}
	}
	if err != nil {
		if left {
			if old, again := d.listen(was); again == nil {
				d.at, d.stop = was, d.server.Serve(old)
			}
		}
		return err
	}
	d.leave()
	if l != nil {
		d.at, d.stop = to, d.server.Serve(l)
		d.log.Info("metrics and health at http://" + to.String() + "/metrics, /healthz, /readyz")
	}
	return nil
}

func (d *figuresDoor) leave() {
	if d.stop != nil {
		d.stop()
	}
	d.at, d.stop = netip.AddrPort{}, nil
}

// close lets answers in progress come to their end.
func (d *figuresDoor) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.waiting != nil {
		_ = d.waiting.Close() // it has never answered
		d.waiting = nil
	}
	d.leave()
}

func (d *figuresDoor) listen(at netip.AddrPort) (net.Listener, error) {
	if d.opt.ListenStream != nil {
		return d.opt.ListenStream(at)
	}
	return (&net.ListenConfig{}).Listen(context.Background(), "tcp", at.String())
}

// reloads count what became of attempts to put another configuration in force.
type reloads struct {
	done, failed atomic.Uint64
	bad          atomic.Bool  // the last one failed
	at           atomic.Int64 // of the one in force, in milliseconds since 1970
}

// NotReloaded counts a configuration that could not even be read.
func (s *SBC) NotReloaded() { s.reloads.count(s.now(), errors.New("not read")) }

func (r *reloads) count(now time.Time, err error) {
	r.bad.Store(err != nil)
	if err != nil {
		r.failed.Add(1)
		return
	}
	r.done.Add(1)
	r.at.Store(now.UnixMilli())
}

// named says which trunks and nodes have figures of their own. It runs in the core's turn.
func (s *SBC) named(w *world) {
	var trunks, nodes []string
	for i := range w.systems {
		sys := &w.systems[i]
		if sys.Kind == tu.KindTrunk {
			trunks = append(trunks, sys.Name)
			continue
		}
		for j := range sys.Hops {
			nodes = append(nodes, sys.Hops[j].Peer.Name)
		}
	}
	s.tally.Name(trunks, nodes)
}
