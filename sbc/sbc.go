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
	"time"

	"go.uber.org/zap"

	"sallyport/media"
	"sallyport/nat"
	"sallyport/policy"
	"sallyport/sbc/call"
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
	Now     func() time.Time
	// Listen opens a UDP socket; nil opens real ones.
	Listen func(netip.AddrPort) (transport.PacketConn, error)
	// Relay carries media; it is needed.
	Relay media.Backend
	// Records takes the CDRs; it is needed.
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
	tags    *tu.TagKey

	snap     atomic.Pointer[config.Snapshot]
	guard    *policy.Guard
	leaks    leaks
	plane    *media.Plane
	sockets  *transport.Set
	core     *core.Core
	assembly *assembly
	notes    notes
	recent   recent

	reloading sync.Mutex
	running   sync.WaitGroup
	stop      context.CancelFunc
}

// New opens everything that a configuration asks for: sockets, the relay's ports. Nothing is answered before Run.
func New(snap *config.Snapshot, opt Options) (*SBC, error) {
	if opt.Relay == nil || opt.Records == nil {
		return nil, errors.New("sbc: Options.Relay and Options.Records are needed")
	}
	if opt.Log == nil {
		opt.Log = zap.NewNop()
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Key == ([16]byte{}) {
		if _, err := rand.Read(opt.Key[:]); err != nil {
			return nil, fmt.Errorf("sbc: no random key: %w", err)
		}
	}
	s := &SBC{opt: opt, log: opt.Log, now: opt.Now, since: opt.Now(), records: opt.Records, tags: tu.NewTagKey(opt.Key)}
	s.snap.Store(snap)
	w := newWorld(snap, s.tags)
	if err := s.openGuard(w); err != nil {
		return nil, err
	}
	if err := s.openRelay(snap); err != nil {
		return nil, err
	}
	s.assembly = &assembly{
		sbc: s, world: w, book: trunk.NewBook(w.systems, nil), calls: map[tu.UserID]*call.Call{},
		probes: map[string]tu.UserID{}, since: map[string]time.Time{},
	}
	s.core = core.New(core.Config{
		Assembly: s.assembly, Sender: sender{s}, Media: s.plane, Leaks: &s.leaks, Live: s.guard.Live(), Now: opt.Now,
		Key: opt.Key, Tags: s.tags, Log: opt.Log,
	})
	sockets, err := transport.Listen(transport.Config{
		Interfaces: snap.Interfaces, Guard: s.guard, Handler: handler{s}, Listen: opt.Listen, Now: opt.Now, DSCP: 40, Log: opt.Log,
	})
	if err != nil {
		return nil, errors.Join(err, s.plane.Close())
	}
	s.sockets = sockets
	return s, nil
}

func (s *SBC) openGuard(w *world) error {
	rules, err := policy.Compile(policyConfig(&w.snap.Policy))
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
	if err != nil {
		return fmt.Errorf("media: %w", err)
	}
	s.plane = plane
	return nil
}

// Run works until the context ends, then hangs up what is left.
func (s *SBC) Run(ctx context.Context) {
	s.announce()
	inner, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
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
			if h.Kind == media.Silent {
				_ = s.core.Post(func(time.Time) { s.core.MediaHint(h.ID, true) }) // the next sweep says it again
			}
		}
		_ = s.core.Post(func(time.Time) { s.assembly.retire() })
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
func (h handler) Unreachable(iface uint16, remote netip.AddrPort) { h.core.Unreachable(iface, remote) }

// sender is how the core sends; the sockets open after it is made.
type sender struct{ *SBC }

// Send sends a message on a flow.
func (s sender) Send(to nat.Flow, b []byte) error { return s.sockets.Send(to, b) }
