package sbc

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"sallyport/nat"
	"sallyport/policy"
	"sallyport/sbc/config"
	"sallyport/sbc/reason"
	"sallyport/sbc/trunk"
	"sallyport/sbc/tu"
)

// announce prints what is open: one line a listener, one for the media pool, one for what is off.
func (s *SBC) announce() {
	snap := s.expand(s.snap.Load())
	for i := range snap.Interfaces {
		f := &snap.Interfaces[i]
		s.log.Info("listening", zap.String("side", f.Side.String()), zap.String("realm", f.Realm.String()),
			zap.String("node", f.Transport.String()+" "+f.Bind.String()), zap.String("src", f.Advertised.String()))
	}
	g := s.plane.Gauges()
	s.log.Info(fmt.Sprintf("media ports %d-%d, back end %s: %d streams at a time",
		snap.Media.FirstPort, snap.Media.LastPort, backendName(s.opt.Relay), g.Free))
	if g.Orphans > 0 {
		s.log.Warn(fmt.Sprintf("%d streams of before this start still have audio; their media ports come back when they are silent", g.Orphans))
	}
	s.open.announce()
	if missing := s.plane.Missing(); len(missing) > 0 {
		s.log.Warn(fmt.Sprintf("%d media ports are held by other programs and left out, the first is %s, held by %s; free them or move media.ports",
			len(missing), missing[0], holdersHere().whoHolds(missing[0])))
	}
	if text := unlimited(snap); text != "" {
		s.log.Info("off: " + text)
	}
}

// Reload puts a new configuration in force, whoever it shuts out. Calls, bans and debt survive. With an error nothing has
// changed.
func (s *SBC) Reload(ctx context.Context, snap *config.Snapshot) ([]config.Change, error) {
	changes, _, err := s.Revise(ctx, snap, Careful{Force: true})
	return changes, err
}

// reload puts a configuration in force, and counts whether it could; the caller holds reloading.
func (s *SBC) reload(ctx context.Context, snap *config.Snapshot) ([]config.Change, error) {
	changes, err := s.reloadTo(ctx, snap)
	s.reloads.count(s.now(), err)
	return changes, err
}

// reloadTo is what a reload does.
func (s *SBC) reloadTo(ctx context.Context, snap *config.Snapshot) ([]config.Change, error) {
	changes := config.Diff(s.snap.Load(), snap)
	r, err := s.makeReady(ctx, snap)
	if err != nil {
		return changes, err
	}
	var live []nat.Interface
	if err := s.core.Do(ctx, func(time.Time) { live = s.assembly.live() }); err != nil {
		return changes, err
	}
	next, handed := renumber(live, snap.Interfaces)
	snap.Interfaces = next
	if r.certificate != nil {
		s.sockets.SetTLS(r.certificate)
	}
	undo, err := s.openSockets(live, next, handed)
	if err != nil {
		return changes, snap.Placed(err)
	}
	s.naming.Ask(ctx, snap)
	w := s.worldOf(snap, s.classes.Load().next(snap, r.proofs))
	w.tolls = r.tolls
	back, err := s.door.move(snap)
	if err != nil {
		return changes, errors.Join(err, undo())
	}
	if err := s.core.Do(ctx, func(time.Time) { s.assembly.swap(w, handed) }); err != nil {
		back()
		return changes, errors.Join(err, undo())
	}
	s.inForce(snap, w, r)
	s.log.Info(fmt.Sprintf("configuration reloaded: %d changes", len(changes)), zap.Strings("keys", changedKeys(changes)))
	return changes, nil
}

// keysTold bounds the keys that the log names of one reload.
const keysTold = 40

// changedKeys are the keys that a reload has changed, for whoever asks the log what has changed since yesterday. Their values stay out of
// it: the file, or what keeps its versions, has them.
func changedKeys(changes []config.Change) []string {
	var out []string
	for i := range changes {
		if len(out) == keysTold {
			return append(out, fmt.Sprintf("and %d more", len(changes)-keysTold))
		}
		out = append(out, changes[i].Path)
	}
	return out
}

// recompile makes the rules in force anew, for what they work with has changed. Whoever owns a name of the black list decides
// what it means, and a country database may err: neither shuts out whom a reload would not.
func (s *SBC) recompile() {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	snap := s.snap.Load()
	rules, err := policy.Compile(snap.Policy.Guard(), s.sources.current())
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), resolveTime)
		defer cancel()
		var out *ShutOutError
		if out, err = s.impactOf(ctx, snap, rules, netip.Addr{}); err == nil && out.tooMuch(snap) {
			err = out
		}
	}
	if err != nil {
		s.log.Error("policy: the rules stay as they are", zap.Error(err))
		return
	}
	s.guard.SetRules(s.now(), rules)
}

// relayStays refuses what a running relay cannot follow: its sockets were opened at the start, and a call that is told
// another address would have no audio.
func (s *SBC) relayStays(snap *config.Snapshot) error {
	var errs []error
	for side, addrs := range s.relayed.Addresses {
		if !slices.Equal(addrs, snap.Media.Addresses[side]) {
			errs = append(errs, fmt.Errorf("%s: media is bound to %s and cannot move to %s while the program runs\n"+
				"  hint: keep the address, or drain and restart", snap.Place(nat.Side(side).String()+".address"), join(addrs), join(snap.Media.Addresses[side])))
		}
	}
	return errors.Join(errs...)
}

func join(addrs []netip.Addr) string {
	var list []string
	for _, a := range addrs {
		list = append(list, a.String())
	}
	return strings.Join(list, ", ")
}

// renumber gives the wanted interfaces the numbers of the live sockets that they stand for. An address and port that
// another side or realm has from now on keeps its number too: it is handed over, and calls on it go on.
func renumber(live, wanted []nat.Interface) (next []nat.Interface, handed []uint16) {
	next = config.Renumber(live, wanted)
	for i := range next {
		f := &next[i]
		if has(live, f.ID) {
			continue
		}
		at := slices.IndexFunc(live, func(l nat.Interface) bool { return l.Bind == f.Bind && l.Transport == f.Transport })
		if at >= 0 {
			f.ID = live[at].ID
			handed = append(handed, f.ID)
		}
	}
	return next, handed
}

// openSockets opens what is new and opens anew what is handed over, whose socket reads for its old realm. With an error
// everything is as before; undo makes it so later.
func (s *SBC) openSockets(live, next []nat.Interface, handed []uint16) (undo func() error, err error) {
	var opened, before []nat.Interface
	for _, f := range next {
		if slices.Contains(handed, f.ID) || !has(live, f.ID) {
			opened = append(opened, f)
		}
	}
	for _, f := range live {
		if slices.Contains(handed, f.ID) {
			before = append(before, f)
			s.sockets.Remove(f.ID)
		}
	}
	if err := s.sockets.Add(opened...); err != nil {
		return nil, errors.Join(err, s.sockets.Add(before...))
	}
	return func() error {
		for _, f := range opened {
			s.sockets.Remove(f.ID)
		}
		return s.sockets.Add(before...)
	}, nil
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

// swap changes the world. Interfaces that are gone from it stay until their last call ends, and so does what the guard
// knows of the peers of calls: "a removed trunk's calls live on".
func (a *assembly) swap(w *world, handed []uint16) {
	for id, f := range a.world.interfaces {
		if _, kept := w.interfaces[id]; !kept {
			w.interfaces[id] = f
		}
	}
	was := append(a.world.guardPeers(), a.left...)
	a.book = trunk.NewBook(w.systems, a.book)
	a.turns.Retain(a.book)
	a.world, a.swapped, a.proofs = w, a.sbc.now(), nil
	a.sbc.classes.Store(w.classes)
	a.phones.configure(w)
	a.keyed(w)
	a.tolls.ledger.SetRules(a.swapped, w.tolls)
	a.setLimits(a.swapped)
	a.leases.ledger.SetBounds(w.bounds())
	a.sbc.named(w)
	a.startKeeper()
	if a.phones.keeper != 0 {
		a.sbc.core.Tell(a.phones.keeper, tu.Tick{}) // its interval may be another
	}
	a.handed = append(a.handed, handed...)
	a.left = a.stillNeeded(was)
	a.sbc.guard.SetPeers(append(w.guardPeers(), a.left...))
	a.startProbes()
	a.startRegistrations(a.swapped)
}

// closeUnused closes interfaces that the configuration no longer has, once no call uses them. No reload may come between:
// it would give their numbers to others.
func (s *SBC) closeUnused(ctx context.Context) {
	if !s.reloading.TryLock() {
		return // a second later then
	}
	defer s.reloading.Unlock()
	var unused []uint16
	err := s.core.Do(ctx, func(time.Time) {
		for id := range s.assembly.world.interfaces {
			if !has(s.assembly.world.snap.Interfaces, id) && !s.assembly.used(id) {
				unused = append(unused, id)
				delete(s.assembly.world.interfaces, id)
			}
		}
	})
	if err != nil {
		return // the core is full, or has ended; what it may still delete the end closes
	}
	for _, id := range unused {
		s.sockets.Remove(id)
	}
}

// forget drops peers that the configuration no longer has, once no call needs them.
func (a *assembly) forget() {
	if len(a.left) == 0 {
		return
	}
	if still := a.stillNeeded(a.left); len(still) < len(a.left) {
		a.left = still
		a.sbc.guard.SetPeers(append(a.world.guardPeers(), still...))
	}
}

// stillNeeded are the peers of which some call has a leg and that the configuration does not name; a peer of an
// interface that was handed over counts at its new realm. Their answers are heard; a new call of theirs is a stranger's.
func (a *assembly) stillNeeded(was []policy.Peer) []policy.Peer {
	a.handed = slices.DeleteFunc(a.handed, func(id uint16) bool { return !a.used(id) })
	type name struct {
		side nat.Side
		name string
	}
	type source struct {
		prefix netip.Prefix
		side   nat.Side
		realm  nat.Realm
	}
	known := map[source]bool{}
	for _, p := range a.world.guardPeers() {
		known[source{p.Prefix, p.Side, p.Realm}] = true
	}
	var need []policy.Peer
	for _, p := range was { // each at every realm where it may be heard and is not known
		add := func(realm nat.Realm) {
			if at := (source{p.Prefix, p.Side, realm}); !known[at] {
				known[at] = true
				p.Realm = realm
				need = append(need, p)
			}
		}
		add(p.Realm)
		for _, id := range a.handed {
			if f := a.world.interfaces[id]; f.Side == p.Side {
				add(f.Realm)
			}
		}
	}
	if len(need) == 0 {
		return nil // nothing is gone: the calls need not be asked
	}
	legs := map[name]bool{}
	for _, c := range a.calls {
		for p := range c.Peers {
			legs[name{p.Side, p.Name}] = true
		}
	}
	return slices.DeleteFunc(need, func(p policy.Peer) bool { return !legs[name{p.Side, p.Name}] })
}

// used reports whether calls, subscriptions or bindings need an interface. The PBX was told of the inside one with each
// phone's last REGISTER.
func (a *assembly) used(id uint16) bool {
	i := a.world.interfaces[id]
	told := i != nil && i.Side == nat.Inside && i.Realm == nat.Phones
	for b := range a.phones.book.All {
		if b.Flow.Interface == id || told && b.Accepted.Before(a.swapped) {
			return true
		}
	}
	for _, w := range a.phones.watching {
		if w.user.Uses(id) {
			return true
		}
	}
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

// hangUpAll ends every call and subscription on both legs and gives their last messages a moment to be answered.
func (s *SBC) hangUpAll() {
	ctx, cancel := context.WithTimeout(context.Background(), lastWords)
	defer cancel()
	err := s.core.Do(ctx, func(time.Time) {
		s.assembly.draining = true
		for id := range s.assembly.calls {
			s.core.Tell(id, tu.Hangup{Code: 503, Why: reason.Draining})
		}
		// Who is not told believes in its subscription until a refresh meets 481.
		for id := range s.assembly.phones.watching {
			s.core.Tell(id, tu.Hangup{Code: 503, Why: reason.Draining})
		}
		s.assembly.leaveRegistrars()
	})
	for left := 1; err == nil && left > 0 && ctx.Err() == nil; {
		if left, err = s.Drain(ctx, lastWords); left > 0 || err != nil {
			return
		}
		err = s.core.Do(ctx, func(time.Time) { left = len(s.assembly.phones.watching) + s.assembly.enrolled() })
		pause(ctx, 20*time.Millisecond)
	}
}

// pause waits, but not longer than the context lasts.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// lastWords is how long BYEs wait for their answers before the program goes.
const lastWords = 2 * time.Second
