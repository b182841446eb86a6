package sbc

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/maphash"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.uber.org/zap"

	"sallyport/media"
	"sallyport/media/epoll"
	"sallyport/nat"
	"sallyport/policy"
	"sallyport/sbc/call"
	"sallyport/sbc/cdr"
	"sallyport/sbc/config"
	"sallyport/sbc/core"
	"sallyport/sbc/transport"
	"sallyport/sbc/trunk"
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
	// Listen opens a UDP socket; nil opens real ones.
	Listen func(netip.AddrPort) (transport.PacketConn, error)
	// Relay carries media; nil is the epoll back end.
	Relay media.Backend
	// Records takes the CDRs; nil writes the files that the configuration names.
	Records Records
	// Key seeds ids, branches and the order of media ports; zero: random.
	Key [16]byte
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

	snap     atomic.Pointer[config.Snapshot]
	guard    *policy.Guard
	leaks    leaks
	plane    *media.Plane
	relayed  config.Media // what the relay was opened with
	sockets  *transport.Set
	core     *core.Core
	assembly *assembly
	notes    notes
	recent   recent

	reloading sync.Mutex
	running   sync.WaitGroup
}

// New opens everything that a configuration asks for: sockets, the relay's ports. Nothing is answered before Run.
func New(snap *config.Snapshot, opt Options) (*SBC, error) {
	opt.defaults()
	s := &SBC{opt: opt, log: opt.Log, now: opt.Now, since: opt.Now(), records: opt.Records, tags: tu.NewTagKey(opt.Key)}
	s.snap.Store(snap)
	w := newWorld(snap, s.tags)
	if err := s.openGuard(w); err != nil {
		return nil, err
	}
	if err := s.openRecords(snap); err != nil {
		return nil, err
	}
	if err := s.openRelay(snap); err != nil {
		return nil, errors.Join(err, s.closeRecords())
	}
	s.assembly = &assembly{
		sbc: s, world: w, book: trunk.NewBook(w.systems, nil), calls: map[tu.UserID]*call.Call{},
		probes: map[string]probe{}, since: map[string]time.Time{},
	}
	s.core = core.New(core.Config{
		Assembly: s.assembly, Sender: sender{s}, Media: s.plane, Leaks: &s.leaks, Live: s.guard.Live(), Now: opt.Now,
		Key: opt.Key, Tags: s.tags, Log: opt.Log,
	})
	sockets, err := transport.Listen(transport.Config{
		Interfaces: snap.Interfaces, Guard: s.guard, Handler: handler{s}, Listen: opt.Listen, Now: opt.Now, DSCP: 40, Log: opt.Log,
	})
	if err != nil {
		return nil, errors.Join(err, s.plane.Close(), s.closeRecords())
	}
	s.sockets = sockets
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
	if opt.Key == ([16]byte{}) {
		_, _ = rand.Read(opt.Key[:]) // it never fails (crypto/rand)
	}
}

// openRecords opens the CDR files, unless somebody else takes the records.
func (s *SBC) openRecords(snap *config.Snapshot) error {
	if s.records != nil {
		return nil
	}
	c := snap.CDR
	if err := c.Validate(); err != nil {
		return err
	}
	s.files = cdr.New(c, s.now, func(err error) { s.log.Warn("call records", zap.Error(err)) })
	s.records = s.files
	return nil
}

func (s *SBC) closeRecords() error {
	if s.files == nil {
		return nil
	}
	return s.files.Close()
}

func (s *SBC) openGuard(w *world) error {
	rules, err := policy.Compile(w.snap.Policy.Guard())
	if err != nil {
		return err
	}
	s.guard, err = policy.New(policy.Options{Now: s.now(), Seed: maphash.MakeSeed(), OwnTag: s.tags.Owns, Rules: rules})
	if err != nil {
		return err
	}
	s.guard.SetPeers(w.guardPeers())
	s.guard.SetInterfaces(w.faces())
	s.guard.SetSecurityLog(s.securityLine)
	s.leaks.now.Store(w.leaks)
	return nil
}

func (s *SBC) openRelay(snap *config.Snapshot) error {
	m := &snap.Media
	cfg := media.Config{First: m.FirstPort, Last: m.LastPort, DSCP: int(m.DSCP)}
	for side := range cfg.Addresses {
		if len(m.Addresses[side]) > 0 {
			cfg.Addresses[side] = m.Addresses[side][0]
		}
	}
	seed := int64(s.opt.Key[0]) | int64(s.opt.Key[1])<<8 | int64(s.opt.Key[2])<<16 | int64(s.opt.Key[3])<<24
	plane, err := media.New(cfg, s.opt.Relay, seed)
	switch {
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("media: %w\n  hint: not an address of this machine: set outside.address and inside.address to its own; "+
			"what the world sees goes into external_address", err)
	case err != nil:
		return fmt.Errorf("media: %w", err)
	}
	s.plane, s.relayed = plane, *m
	return nil
}

// Run works until the context ends, then hangs up what is left.
func (s *SBC) Run(ctx context.Context) {
	s.announce()
	inner, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.running.Go(func() { s.core.Run(inner) })
	s.running.Go(func() { s.tick(inner) })
	_ = s.core.Post(func(time.Time) { s.assembly.startProbes() })
	<-ctx.Done()
	s.hangUpAll()
	stop()
	s.running.Wait()
	s.sockets.Close()
	if err := s.plane.Close(); err != nil {
		s.log.Warn("closing the relay", zap.Error(err))
	}
	if err := s.closeRecords(); err != nil {
		s.log.Warn("closing the call records", zap.Error(err))
	}
}

// tick does what is due each second: media timeouts, bans that end, sockets that nobody needs any more.
func (s *SBC) tick(ctx context.Context) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		now := s.now()
		s.guard.Tick(now)
		for _, h := range s.plane.Sweep(now) {
			if h.Kind == media.Silent || h.Kind == media.Resumed {
				_ = s.core.Post(func(time.Time) { s.core.MediaHint(h.ID, h.Kind == media.Silent) }) // a later sweep says it again
			}
		}
		_ = s.core.Post(func(now time.Time) {
			s.assembly.forget()
			s.assembly.complain(now)
		})
		s.closeUnused(ctx)
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

// Unreachable passes word of an ICMP error on.
func (h handler) Unreachable(iface uint16, remote netip.AddrPort) {
	h.core.Unreachable(nat.Flow{Interface: iface, Remote: remote})
}

// sender is how the core sends; the sockets open after it is made.
type sender struct{ *SBC }

// Send sends a message on a flow.
func (s sender) Send(to nat.Flow, b []byte) error { return s.sockets.Send(to, b) }
