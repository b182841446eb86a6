package sbc

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"sallyport/nat"
	"sallyport/policy"
	"sallyport/sbc/config"
	"sallyport/sbc/reason"
	"sallyport/sbc/trunk"
	"sallyport/sbc/tu"
)

// announce prints what is open: one line a listener, one for the media pool, one for what is off.
func (s *SBC) announce() {
	snap := s.snap.Load()
	for i := range snap.Interfaces {
		f := &snap.Interfaces[i]
		s.log.Info("listening", zap.String("side", f.Side.String()), zap.String("realm", f.Realm.String()),
			zap.String("node", f.Transport.String()+" "+f.Bind.String()), zap.String("src", f.Advertised.String()))
	}
	g := s.plane.Gauges()
	s.log.Info(fmt.Sprintf("media ports %d-%d: %d streams at a time", snap.Media.FirstPort, snap.Media.LastPort, g.Free),
		zap.String("node", snap.Media.Backend))
	if missing := s.plane.Missing(); len(missing) > 0 {
		s.log.Warn(fmt.Sprintf("%d media ports are held by other programs and left out, the first is %s; free them or move media.ports",
			len(missing), missing[0]))
	}
	if len(snap.Policy.Limits) == 0 {
		s.log.Info("off: rate limits (policy.rate_limits is absent or empty: nobody is limited)")
	}
}

// Reload puts a new configuration in force. Calls, bans and debt survive. With an error nothing has changed.
func (s *SBC) Reload(ctx context.Context, snap *config.Snapshot) ([]config.Change, error) {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	old := s.snap.Load()
	changes := config.Diff(old, snap)
	rules, err := policy.Compile(snap.Policy.Guard())
	if err != nil {
		return changes, err
	}
	var live []nat.Interface
	if err := s.core.Do(ctx, func(time.Time) { live = s.assembly.live() }); err != nil {
		return changes, err
	}
	snap.Interfaces = config.Renumber(live, snap.Interfaces)
	var opened []nat.Interface
	for _, f := range snap.Interfaces {
		if !has(live, f.ID) {
			opened = append(opened, f)
		}
	}
	if err := s.sockets.Add(opened...); err != nil {
		return changes, err
	}
	w := newWorld(snap, s.tags)
	if err := s.core.Do(ctx, func(time.Time) { s.assembly.swap(w) }); err != nil {
		for _, f := range opened {
			s.sockets.Remove(f.ID)
		}
		return changes, err
	}
	s.guard.SetRules(s.now(), rules)
	s.guard.SetPeers(w.guardPeers())
	s.guard.SetInterfaces(w.faces())
	s.leaks.now.Store(w.leaks)
	s.snap.Store(snap)
	if level, err := zapcore.ParseLevel(snap.Log.Level); err == nil && s.opt.Level != nil {
		s.opt.Level.SetLevel(level)
	}
	s.log.Info(fmt.Sprintf("configuration reloaded: %d changes", len(changes)))
	return changes, nil
}

func has(list []nat.Interface, id uint16) bool {
	for i := range list {
		if list[i].ID == id {
			return true
		}
	}
	return false
}

// live are the open interfaces, those that only wait for their last dialog included.
func (a *assembly) live() []nat.Interface {
	var out []nat.Interface
	for _, f := range a.world.interfaces {
		out = append(out, *f)
	}
	return out
}

// swap changes the world. Interfaces that are gone from it stay until their last call ends.
func (a *assembly) swap(w *world) {
	for id, f := range a.world.interfaces {
		if _, kept := w.interfaces[id]; !kept {
			w.interfaces[id] = f
		}
	}
	a.book = trunk.NewBook(w.systems, a.book)
	a.world = w
	a.startProbes()
}

// retire closes interfaces that the configuration no longer has, once no call uses them.
func (a *assembly) retire() {
	for id := range a.world.interfaces {
		if has(a.world.snap.Interfaces, id) || a.used(id) {
			continue
		}
		delete(a.world.interfaces, id)
		// Its reader may be waiting for the core's inbox; it must not wait for the core itself.
		a.sbc.running.Go(func() { a.sbc.sockets.Remove(id) })
	}
}

func (a *assembly) used(id uint16) bool {
	for _, c := range a.calls {
		if c.Uses(id) {
			return true
		}
	}
	return false
}

// Drain stops taking calls and waits until those that run have ended, or the time is over. It reports how many are
// left.
func (s *SBC) Drain(ctx context.Context, wait time.Duration) (left int, err error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	t := time.NewTicker(100 * time.Millisecond)
	defer t.Stop()
	for {
		if err := s.core.Do(context.WithoutCancel(ctx), func(time.Time) {
			s.assembly.draining = true
			left = len(s.assembly.calls)
		}); err != nil {
			return left, err
		}
		if left == 0 {
			return 0, nil
		}
		select {
		case <-ctx.Done():
			return left, nil
		case <-t.C:
		}
	}
}

// DrainTimeout is how long a stop waits for calls to end, by the configuration in force.
func (s *SBC) DrainTimeout() time.Duration { return s.snap.Load().Drain }

// hangUpAll ends every call on both legs and gives their last messages a moment to be answered.
func (s *SBC) hangUpAll() {
	ctx, cancel := context.WithTimeout(context.Background(), lastWords)
	defer cancel()
	err := s.core.Do(ctx, func(time.Time) {
		s.assembly.draining = true
		for id := range s.assembly.calls {
			s.core.Tell(id, tu.Hangup{Code: 503, Why: reason.Draining})
		}
	})
	if err == nil {
		_, _ = s.Drain(ctx, lastWords)
	}
}

// lastWords is how long BYEs wait for their answers before the program goes.
const lastWords = 2 * time.Second
