package sbc

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"sallyport/media"
	"sallyport/media/epoll"
	"sallyport/nat"
	"sallyport/policy"
	"sallyport/sbc/capture"
	"sallyport/sbc/cdr"
	"sallyport/sbc/config"
	"sallyport/sbc/core"
	"sallyport/sbc/names"
	"sallyport/sbc/resolve"
	"sallyport/sbc/trace"
	"sallyport/sbc/transport"
	"sallyport/sbc/tu"
)

// Records takes CDRs. It must not block.
type Records interface{ Write(tu.CDR) }

// Options are what an SBC is born with besides its configuration. The zero value is for the real world.
type Options struct {
	Version string
	Log     *zap.Logger
	// Security takes the security lines besides Log; nil: nobody. Level is Log's, changed by a reload; nil: it stays.
	Security *zap.Logger
	Level    *zap.AtomicLevel
	Now      func() time.Time
	// Listen opens a UDP socket, ListenStream a listener, Dial a connection; nil opens real ones.
	Listen       func(netip.AddrPort) (transport.PacketConn, error)
	ListenStream func(netip.AddrPort) (net.Listener, error)
	Dial         func(ctx context.Context, local netip.Addr, remote netip.AddrPort) (net.Conn, error)
	// Relay carries media; nil is the epoll back end.
	Relay media.Backend
	// Tables are the sizes of the guard's; zero: as large as it has them by itself.
	Tables policy.Sizes
	// Records takes the CDRs; nil writes the files that the configuration names.
	Records Records
	// Key seeds ids, branches and the order of media ports; zero: random.
	Key [16]byte
	// StateDir is where copies of feeds are kept; "": nowhere. Resolve looks names up; nil: the system's resolver.
	StateDir string
	Resolve  func(ctx context.Context, name string) ([]netip.Addr, error)
	// DNS answers what the names of peers and addresses need; nil: the name servers of this machine.
	DNS resolve.Exchanger
	// State keeps the bindings of phones, and Names is the key of what the PBX calls them; nil and zero: nothing
	// outlives the program. Run closes State.
	State State
	Names [16]byte
	// Bans keeps the bans; nil: none outlives the program. Run closes it.
	Bans State
	// Calls keeps what the records of open calls will say; nil: a crash takes them away. Run closes it.
	Calls State
	// Drains keeps which trunks and nodes are drained; nil: a restart takes them in again. Run closes it.
	Drains State
}

// SBC is the running program.
type SBC struct {
	opt     Options
	log     *zap.Logger
	now     func() time.Time
	since   time.Time
	records Records
	files   *cdr.Writer // nil: somebody else takes the records
	tags    *tu.TagKey
	names   *tu.NameKey

	snap     atomic.Pointer[config.Snapshot]
	started  *config.Snapshot // what the start has opened: keys that want a restart keep its values
	guard    *policy.Guard
	recorder *trace.Recorder // nil: off
	captures *capture.Set
	sources  *sources
	leaks    leaks
	plane    *media.Plane
	relayed  config.Media // what the relay was opened with
	sockets  *transport.Set
	core     *core.Core
	assembly *assembly
	open     *openCalls
	unheard  []media.Hint // digits that the core has not taken yet; of tick alone
	notes    notes
	bans     *bans
	told     *rate.Limiter // log lines about sources, of all together
	recent   recent
	monitored

	reloading  sync.Mutex
	naming     *names.Book
	again      chan struct{}        // the world is to be made anew
	read       map[string]*trunkTLS // of the trunks' files, at the last reload
	proofs     atomic.Pointer[proofs]
	classes    atomic.Pointer[classes] // of the world that the core has
	enrolments enrolments
	trial      *trial // a configuration that goes back by itself; nil: none
	running    sync.WaitGroup
}

// New opens everything that a configuration asks for: sockets, the relay's ports. Nothing is answered before Run.
func New(snap *config.Snapshot, opt Options) (*SBC, error) {
	opt.defaults()
	s := &SBC{opt: opt, log: opt.Log, now: opt.Now, since: opt.Now(), records: opt.Records, tags: tu.NewTagKey(opt.Key),
		names: tu.NewNameKey(opt.Names), again: make(chan struct{}, 1)}
	s.snap.Store(snap)
	s.started = snap
	s.open = &openCalls{SBC: s}
	s.told = rate.NewLimiter(1, 100)
	w, err := s.firstWorld(snap)
	if err != nil {
		return nil, err
	}
	intake, err := newIntake(opt.Now(), w)
	if err != nil {
		return nil, err
	}
	s.sources = newSources(&s.opt, s.recompile)
	if err := s.openGuard(w); err != nil {
		return nil, err
	}
	if err := s.openRecords(snap); err != nil {
		return nil, err
	}
	if err := s.openRelay(snap); err != nil {
		return nil, errors.Join(err, s.closeRecords())
	}
	s.captures = s.newCaptures()
	s.assemble(w, intake)
	if err := errors.Join(s.restore(w), s.open.load(), s.restoreDrains()); err != nil {
		return nil, errors.Join(err, s.plane.Close(), s.closeRecords())
	}
	s.core = core.New(core.Config{
		Assembly: s.assembly, Sender: sender{s}, Media: s.plane, Leaks: &s.leaks, Live: s.guard.Live(), Ways: s.assembly, Now: opt.Now,
		Key: opt.Key, Tags: s.tags, Log: opt.Log,
	})
	certificate, err := loadTLS(snap)
	if err != nil {
		return nil, errors.Join(err, s.plane.Close(), s.closeRecords())
	}
	if err := s.listen(snap, certificate); err != nil {
		return nil, errors.Join(err, s.plane.Close(), s.closeRecords())
	}
	if err := s.openFigures(w, certificate); err != nil {
		s.sockets.Close()
		return nil, errors.Join(err, s.plane.Close(), s.closeRecords())
	}
	return s, nil
}

func (opt *Options) defaults() {
	if opt.Log == nil {
		opt.Log = zap.NewNop()
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Relay == nil {
		opt.Relay = epoll.New(epoll.Options{})
	}
	for _, key := range []*[16]byte{&opt.Key, &opt.Names} {
		if *key == ([16]byte{}) {
			_, _ = rand.Read(key[:]) // it never fails (crypto/rand)
		}
	}
}

// Run works until the context ends, then hangs up what is left.
func (s *SBC) Run(ctx context.Context) {
	s.announce()
	s.captures.Tune(captureRules(s.snap.Load()))
	inner, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.running.Go(func() { s.core.Run(inner) })
	s.running.Go(func() { s.tick(inner) })
	s.running.Go(func() { s.sources.run(inner) })
	s.running.Go(func() { s.rebuilding(inner) })
	s.running.Go(func() { s.naming.Run(inner) })
	_ = s.core.Post(func(time.Time) {
		s.assembly.startProbes()
		s.assembly.startRegistrations(s.now())
		s.assembly.startKeeper()
	})
	if kept := s.assembly.phones.kept; kept != nil {
		s.running.Go(func() { kept.run(inner) })
	}
	if s.open.kept != nil {
		s.running.Go(func() { s.open.run(inner) })
	}
	if kept := s.assembly.drains.kept; kept != nil {
		s.running.Go(func() { kept.run(inner) })
	}
	s.bans.start(inner)
	s.door.answer()
	<-ctx.Done()
	s.captures.Close()
	defer s.captures.Wait()
	s.endTrial()
	s.hangUpAll()
	s.door.close()
	stop()
	s.running.Wait()
	s.naming.Save()
	for _, r := range s.assembly.phones.held.all() { // the core has stopped
		s.assembly.write(r)
	}
	s.sockets.Close()
	if err := s.plane.Close(); err != nil {
		s.log.Warn("closing the relay", zap.Error(err))
	}
	if err := s.closeRecords(); err != nil {
		s.log.Warn("closing the call records", zap.Error(err))
	}
	if err := s.open.close(); err != nil {
		s.log.Warn("closing the journal of open calls", zap.Error(err))
	}
	for _, state := range []State{s.opt.State, s.opt.Bans, s.opt.Drains} {
		if state == nil {
			continue
		}
		if err := state.Close(); err != nil {
			s.log.Warn("closing the state", zap.Error(err))
		}
	}
}

// tick does what is due each second: media timeouts, bans that end, sockets that nobody needs any more.
func (s *SBC) tick(ctx context.Context) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	reminded := s.now() // what is read is judged at once
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.plane.Hinted():
			s.sweep()
			continue
		case <-t.C:
		}
		s.guard.Tick(s.now())
		s.sweep()
		reminded = s.remindOfCertificates(reminded)
		_ = s.core.Post(func(now time.Time) {
			s.assembly.forget()
			s.assembly.complain(now)
			s.assembly.expire(now)
			s.assembly.healed(now)
			s.assembly.tickTolls(now)
			s.assembly.listen(now)
			s.assembly.watchNodes(now)
			s.assembly.renew()
			s.assembly.resumeRegistrations(now)
		})
		s.closeUnused(ctx)
	}
}

// unheardMost bounds the digits that wait for a core that takes no word at the moment.
const unheardMost = 4096

// sweep tells calls what has happened to their media.
func (s *SBC) sweep() {
	for _, h := range s.plane.Sweep(s.now()) {
		switch h.Kind {
		case media.Freed:
			s.open.freed(h.ID, h.Last)
		case media.Silent, media.Resumed:
			_ = s.core.Post(func(time.Time) { s.core.MediaHint(h.ID, h.Kind == media.Silent) }) // a later sweep says it again
		case media.Latched: // whoever asks reads it in the figures
		case media.Heard:
			s.unheard = append(s.unheard, h)
		}
	}
	if heard := s.unheard; len(heard) > 0 {
		err := s.core.Post(func(time.Time) {
			for i := range heard {
				s.core.DigitHeard(heard[i].ID, heard[i].Side, heard[i].Digit)
			}
		})
		if err == nil || len(heard) > unheardMost {
			s.unheard = nil
		}
	}
}

// handler is what the sockets deliver to.
type handler struct{ *SBC }

// Deliver passes a message to the core.
func (h handler) Deliver(p transport.Packet) transport.Outcome {
	switch h.core.Deliver(core.Inbound{Msg: p.Msg, Flow: p.Flow}) {
	case core.Accepted:
		return transport.Accepted
	case core.Busy:
		return transport.Busy
	default:
		return transport.Dropped
	}
}

// Unreachable passes word on of an ICMP error, or of a connection that could not be made.
func (h handler) Unreachable(f nat.Flow) { h.core.Unreachable(f) }

// Closed passes word of a connection's end on. What waited for a connection of our own fails with it.
func (h handler) Closed(f nat.Flow, dialled bool) {
	h.core.Closed(f, dialled)
	if err := h.core.Post(func(time.Time) { h.assembly.lost(f) }); err != nil {
		h.log.Debug("a lost connection is found out when something is sent on it", zap.Error(err))
	}
}

// sender is how the core sends; the sockets open after it is made.
type sender struct{ *SBC }

// Send sends a message on a flow.
func (s sender) Send(to nat.Flow, b []byte) error {
	if to.Interface == loopInterface {
		return s.loopback(to, b)
	}
	s.assembly.passing(to, b)
	s.recordSent(to, b)
	if s.captures.Running() {
		s.captures.Sent(s.assembly.world.interfaces[to.Interface], to.Remote, b)
	}
	err := s.sockets.Send(to, b)
	if err == nil || !to.Transport.Reliable() || errors.Is(err, transport.ErrSlow) {
		return err // a full queue concerns this message alone: its transaction's timer tells the user
	}
	return core.ErrGone
}
