package sbc

import (
	"context"

	"go.uber.org/zap/zapcore"

	"sallyport/policy"
	"sallyport/policy/toll"
	"sallyport/sbc/config"
	"sallyport/sbc/transport"
)

// ready is what a configuration needs besides itself: made, and read from files, before anything is changed for it.
type ready struct {
	found       *prepared
	rules       *policy.Rules
	tolls       *toll.Rules
	certificate *transport.TLS       // nil: no listener needs one
	proofs      map[string]*trunkTLS // of the trunks
}

// makeReady finds out whether a configuration can be put in force. Files are read anew each time: a renewed certificate counts from
// the next handshake on.
func (s *SBC) makeReady(ctx context.Context, snap *config.Snapshot) (r ready, err error) {
	if r.found, err = s.sources.prepare(ctx, snap); err != nil {
		return r, err
	}
	if r.rules, err = policy.Compile(snap.Policy.Guard(), r.found.data); err != nil {
		return r, err
	}
	if r.tolls, err = toll.Compile(&snap.Policy.Toll); err != nil {
		return r, err
	}
	if err = s.relayStays(snap); err != nil {
		return r, err
	}
	if r.certificate, err = loadTLS(snap); err != nil {
		return r, err
	}
	r.proofs, err = loadProofs(snap)
	return r, err
}

// inForce lets a configuration count, whose world the core has.
func (s *SBC) inForce(snap *config.Snapshot, w *world, r ready) {
	s.read = r.proofs
	s.certified(r.certificate)
	s.proofs.Store(newProofs(snap, r.proofs))
	s.sources.use(r.found)
	s.guard.SetRules(s.now(), r.rules)
	s.guard.SetInterfaces(w.faces())
	s.leaks.now.Store(w.leaks)
	s.snap.Store(snap)
	s.naming.Use(snap)
	s.captures.Tune(captureRules(snap))
	if level, err := zapcore.ParseLevel(snap.Log.Level); err == nil && s.opt.Level != nil {
		s.opt.Level.SetLevel(level)
	}
}
