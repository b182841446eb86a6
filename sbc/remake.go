package sbc

import (
	"context"
	"time"

	"golang.org/x/time/rate"

	"sallyport/sbc/config"
)

// rebuildEvery is how often at most the world is made anew of what the network says, after the first rebuildBurst times: a
// registration tells twice within milliseconds where it is seen and who has accepted it, and the next call needs both.
const (
	rebuildEvery = time.Second
	rebuildBurst = 4
)

// expand is a configuration with what the network says of it: its names replaced by the addresses that they lead to at the
// moment; a name that leads nowhere is left out. Whoever makes a world makes it of this; s.snap keeps the configuration as it was
// written. It never waits, and may be called by anybody. The slices Interfaces, Trunks and PBX.Nodes of what it returns are its own.
func (s *SBC) expand(snap *config.Snapshot) *config.Snapshot {
	return s.enrolments.put(s.naming.Expand(snap))
}

// worldOf is the world of a configuration with what the network says of it.
func (s *SBC) worldOf(snap *config.Snapshot, c *classes) *world {
	return newWorldOf(s.expand(snap), s.tags, s.names, c)
}

// rebuild says that something that expand puts in has changed: the world is made anew of the configuration in force, soon and no
// more often than rebuildEvery says. It never waits, and may be called by anybody, in the core's turn too.
func (s *SBC) rebuild() {
	select {
	case s.again <- struct{}{}:
	default: // it is going to happen
	}
}

// rebuilding makes the world anew whenever somebody has asked for it.
func (s *SBC) rebuilding(ctx context.Context) {
	pace := rate.NewLimiter(rate.Every(rebuildEvery), rebuildBurst)
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.again:
		}
		s.remake(ctx)
		s.naming.Save()
		if pace.Wait(ctx) != nil {
			return
		}
	}
}

// remake makes the world anew of the configuration in force. Calls, bindings and debt survive, as in a reload.
func (s *SBC) remake(ctx context.Context) {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	w := s.worldOf(s.snap.Load(), s.classes.Load())
	err := s.core.Do(ctx, func(time.Time) {
		w.tolls = s.assembly.world.tolls
		s.assembly.swap(w, nil)
	})
	if err != nil {
		s.rebuild() // the core was full: in a moment then; or it has ended
		return
	}
	s.guard.SetInterfaces(w.faces())
	s.leaks.now.Store(w.leaks)
}
