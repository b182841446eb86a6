package sbc

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"net/netip"
	"syscall"
	"time"

	"go.uber.org/zap"

	"sallyport/media"
	"sallyport/nat"
	"sallyport/policy"
	"sallyport/sbc/call"
	"sallyport/sbc/cdr"
	"sallyport/sbc/config"
	"sallyport/sbc/names"
	"sallyport/sbc/trace"
	"sallyport/sbc/transport"
	"sallyport/sbc/trunk"
	"sallyport/sbc/tu"
)

// firstWorld makes the world of the first configuration, with what its names lead to.
func (s *SBC) firstWorld(snap *config.Snapshot) (w *world, err error) {
	s.naming = names.New(names.Options{Dir: s.opt.StateDir, DNS: s.opt.DNS, Now: s.opt.Now, Log: s.log, Changed: s.rebuild})
	s.naming.Ask(context.Background(), snap)
	s.naming.Use(snap)
	if s.read, err = loadProofs(snap); err != nil {
		return nil, err
	}
	s.proofs.Store(newProofs(snap, s.read))
	w = s.worldOf(snap, s.classes.Load().next(snap, s.read))
	s.classes.Store(w.classes)
	return w, w.setTolls(snap)
}

// assemble makes what the core asks.
func (s *SBC) assemble(w *world, intake intake) {
	s.assembly = &assembly{
		sbc: s, world: w, book: trunk.NewBook(w.systems, nil), calls: map[tu.UserID]*call.Call{},
		probes: map[string]probe{}, since: map[string]time.Time{}, phones: newPhones(s.names, s.tags),
		tolls: newTolls(s.opt.Now(), w.tolls), intake: intake, leases: newLeases(s.opt.Now(), w),
	}
	s.assembly.phones.registrar.Hop, s.assembly.phones.registrar.Moves = s.assembly.phoneHop, s.assembly.moves
	s.assembly.phones.tie(&ties{Veils: tu.NewVeils(s.names), of: s.assembly})
	s.assembly.phones.configure(w)
	s.assembly.keyed(w)
}

// listen opens the sockets.
func (s *SBC) listen(snap *config.Snapshot, certificate *transport.TLS) (err error) {
	opt := &s.opt
	s.sockets, err = transport.Listen(transport.Config{
		Interfaces: snap.Interfaces, Guard: s.watchedGuard(), Handler: handler{s}, Listen: opt.Listen, ListenStream: opt.ListenStream,
		Dial: opt.Dial, TLS: certificate, Known: s.guard.Knows, Now: opt.Now, DSCP: 40, Log: opt.Log,
		Unwelcome: func(face *nat.Interface, remote netip.AddrPort) bool { return s.bans.unwelcome(s.now(), face, remote) },
		Origin:    s.originWelcome, Identity: s.identity, Recognise: s.recogniser,
	})
	return err
}

// loadTLS reads the certificate of the TLS listeners, if there are any.
func loadTLS(snap *config.Snapshot) (*transport.TLS, error) {
	if snap.TLS.Certificate == "" {
		return nil, nil
	}
	t, err := transport.LoadTLS(snap.TLS.Certificate, snap.TLS.Key, snap.TLS.ClientCA)
	if err != nil {
		return nil, fmt.Errorf("outside.tls: %w", err)
	}
	return t, nil
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
	s.files.Written(s.open.written)
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
	found, err := s.sources.prepare(context.Background(), w.snap)
	if err != nil {
		return err
	}
	rules, err := policy.Compile(w.snap.Policy.Guard(), found.data)
	if err != nil {
		return err
	}
	s.sources.use(found)
	s.guard, err = policy.New(policy.Options{Now: s.now(), Seed: maphash.MakeSeed(), OwnTag: s.tags.Owns, Rules: rules, Sizes: s.opt.Tables})
	if err != nil {
		return err
	}
	s.guard.SetPeers(w.guardPeers())
	s.recorder = trace.New(int(w.snap.Policy.Recorder))
	s.guard.SetInterfaces(w.faces())
	s.guard.SetSecurityLog(s.securityLine)
	s.leaks.now.Store(w.leaks)
	return s.openBans()
}

func (s *SBC) openRelay(snap *config.Snapshot) error {
	seed := int64(s.opt.Key[0]) | int64(s.opt.Key[1])<<8 | int64(s.opt.Key[2])<<16 | int64(s.opt.Key[3])<<24
	plane, err := media.New(relayConfig(snap, s.opt.Relay), s.opt.Relay, seed)
	switch {
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("media: %w\n  hint: not an address of this machine: set outside.address and inside.address to its own; "+
			"what the world sees goes into external_address", err)
	case err != nil:
		return holdersHere().explain(fmt.Errorf("media: %w", err), &snap.Media)
	}
	s.plane, s.relayed = plane, snap.Media
	return nil
}
