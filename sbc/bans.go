package sbc

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gaissmai/bart"
	"go.uber.org/zap"

	"sallyport/nat"
	"sallyport/policy"
	"sallyport/sbc/firewall"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// bans is what follows from the guard's bans elsewhere: they are kept over a restart, the connections, unfinished calls and
// subscriptions of their sources end, and the kernel may drop what comes from there. The guard tells of them in the middle of
// a reader's work; what they cost is done by a goroutine of its own.
type bans struct {
	*SBC
	kept *journal           // nil: nothing outlives the program
	wall *firewall.Firewall // nil: the kernel is not asked
	bell chan struct{}

	mu      sync.Mutex
	due     bool // somebody is to be turned out
	changed bool // the kernel's list may be another
}

// The bounds of what bans may cost.
const (
	turnOutEvery = 250 * time.Millisecond // between two looks at all connections and calls
	wallEvery    = 30 * time.Second       // between two looks whom the kernel must let through
	forgotMost   = 100_000                // forgotten bans that wait for a disk
)

// openBans brings back the bans of the run before, before the first packet.
func (s *SBC) openBans() error {
	b := &bans{SBC: s, bell: make(chan struct{}, 1)}
	s.bans = b
	if s.opt.Bans != nil {
		if err := b.restore(); err != nil {
			return fmt.Errorf("bans: %w", err)
		}
	}
	s.guard.Bans().Changes(b.note)
	s.guard.OnBan(b.made)
	return nil
}

// restore takes over what was kept. What has ended or cannot be read is forgotten; what an earlier program has kept under the user as he
// was spelled is kept under the user that he is from now on.
func (b *bans) restore() error {
	var list []policy.Ban
	gone, moved := map[string][]byte{}, map[string][]byte{}
	err := b.opt.Bans.Load(func(key string, value []byte) {
		gone[key] = nil
		var ban policy.Ban
		if json.Unmarshal(value, &ban) != nil || !ban.IsUnder(key) {
			return
		}
		list = append(list, ban)
		if now := ban.Key(); now != key {
			moved[now] = bytes.Clone(value)
		}
	})
	if err != nil {
		return err
	}
	now, table := b.now(), b.guard.Bans()
	if err := table.Restore(now, list); err != nil {
		b.log.Warn("bans kept from before that are left out", zap.Error(err))
	}
	holding := table.List(now)
	for _, ban := range slices.Concat(holding, table.Past(now)) {
		key := ban.Key()
		delete(gone, key)
		if value, was := moved[key]; was {
			gone[key] = value
		}
	}
	b.kept = newJournal(b.opt.Bans, gone, forgotMost, func(err error) {
		if err != nil {
			b.log.Error("bans cannot be kept: a restart forgets them", zap.Error(err))
		} else {
			b.log.Info("bans are kept again")
		}
	})
	if len(holding) > 0 {
		b.log.Info(fmt.Sprintf("%d bans kept from before", len(holding)))
	}
	return nil
}

// note keeps a change of the table. The guard calls it, one change at a time.
func (b *bans) note(ban policy.Ban, removed bool) {
	b.mu.Lock()
	b.changed = true
	b.mu.Unlock()
	if b.kept == nil {
		return
	}
	var value []byte
	if !removed {
		var err error
		if value, err = json.Marshal(ban); err != nil {
			return // a plain value: it cannot fail
		}
	}
	b.kept.put(ban.Key(), value, true)
}

// made hears of every ban that is made: its source is to be turned out.
func (b *bans) made(policy.Ban) {
	b.mu.Lock()
	b.due = true
	b.mu.Unlock()
	select {
	case b.bell <- struct{}{}:
	default: // it has not looked yet
	}
}

// start starts what works for bans until the context ends.
func (b *bans) start(ctx context.Context) {
	if b.kept != nil {
		b.running.Go(func() { b.kept.run(ctx) })
	}
	if b.snap.Load().Policy.Bans.Kernel {
		b.wall = firewall.New(firewall.Options{Log: b.log, Now: b.now})
		b.running.Go(func() { b.wall.Run(ctx) })
	}
	b.running.Go(func() { b.run(ctx) })
}

// run does what bans ask for until the context ends.
func (b *bans) run(ctx context.Context) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	var looked time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-b.bell:
		}
		b.mu.Lock()
		due, changed := b.due, b.changed
		b.due, b.changed = false, false
		b.mu.Unlock()
		if due && !b.turnOut(ctx) {
			b.mu.Lock()
			b.due = true // the core was full: a second later then
			b.mu.Unlock()
		}
		if now := b.now(); b.wall != nil && (changed || now.Sub(looked) >= wallEvery) {
			looked = now
			b.tellKernel(ctx, now)
		}
		if due {
			pause(ctx, turnOutEvery)
		}
	}
}

// turnOut ends what the sources of bans have in progress: connections, calls that have no final answer, subscriptions. Calls
// that are established go on. It reports false if the core could not be asked.
func (b *bans) turnOut(ctx context.Context) bool {
	now := b.now()
	b.sockets.CloseWhere(func(face *nat.Interface, remote netip.AddrPort) bool { return b.unwelcome(now, face, remote) })
	return b.core.Do(ctx, func(now time.Time) { b.assembly.turnOut(now) }) == nil
}

// unwelcome reports whether a ban ends a connection.
func (b *bans) unwelcome(now time.Time, face *nat.Interface, remote netip.AddrPort) bool {
	if face.Side != nat.Outside || face.Realm == nat.Trunks && b.guard.Knows(face, remote.Addr()) {
		return false // a trunk's are never closed: its calls in progress would lose their signalling
	}
	_, banned := b.guard.BanOf(now, face, remote, "")
	return banned
}

// turnOut runs in the core's turn.
func (a *assembly) turnOut(now time.Time) {
	banned := func(f nat.Flow, user string) bool {
		i := a.world.interfaces[f.Interface]
		if i == nil || i.Side != nat.Outside {
			return false
		}
		_, is := a.sbc.guard.BanOf(now, i, f.Remote, user)
		return is
	}
	for id, c := range a.calls {
		if flow, user, early := c.Early(); early && banned(flow, user) {
			a.sbc.core.Tell(id, tu.Hangup{Code: 403, Why: reason.Ban})
		}
	}
	for id, w := range a.phones.watching {
		if flow, ok := w.user.Phone(); ok && banned(flow, w.aor) {
			a.sbc.core.Tell(id, tu.Hangup{Code: 403, Why: reason.Ban})
		}
	}
}

// tellKernel hands the firewall the bans that it may enforce, and the listeners to keep them from.
func (b *bans) tellKernel(ctx context.Context, now time.Time) {
	var spared []netip.Prefix
	var doors []firewall.Listener
	if b.core.Do(ctx, func(time.Time) { spared, doors = b.assembly.spared() }) != nil {
		return // it keeps what it has
	}
	b.wall.Protect(doors)
	b.wall.Want(enforceable(b.guard, b.guard.Bans().List(now), spared))
}

// spared are the addresses that the kernel must let through whatever is banned, those of known peers and of calls in progress,
// and the listeners outside. It runs in the core's turn.
func (a *assembly) spared() (list []netip.Prefix, doors []firewall.Listener) {
	for _, p := range append(a.world.guardPeers(), a.left...) {
		list = append(list, p.Prefix)
	}
	add := func(addr netip.Addr) { list = append(list, netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen())) }
	for b := range a.phones.book.All {
		add(b.Flow.Remote.Addr())
	}
	for _, c := range a.calls {
		for _, l := range c.View().Legs {
			if at, err := netip.ParseAddrPort(l.Remote); err == nil && l.Side == nat.Outside {
				add(at.Addr())
			}
		}
	}
	for _, i := range a.world.interfaces {
		if i.Side == nat.Outside {
			doors = append(doors, firewall.Listener{TCP: i.Transport != nat.UDP, Bind: i.Bind})
		}
	}
	slices.SortFunc(doors, func(x, y firewall.Listener) int { return strings.Compare(fmt.Sprint(x), fmt.Sprint(y)) })
	return list, doors
}

// enforceable are the bans that the kernel may enforce: of whole sources, at all listeners, by hand or proven, that cover
// nobody whom the guard would let through.
func enforceable(g *policy.Guard, list []policy.Ban, spared []netip.Prefix) (out []firewall.Entry) {
	var through bart.Lite
	for _, p := range append(spared, g.Rules().Unbanned()...) {
		through.Insert(p.Masked())
	}
	for i := range list {
		ban := &list[i]
		if ban.Port != 0 || ban.AoR != "" || len(ban.Realms) > 0 || through.OverlapsPrefix(ban.Prefix) {
			continue
		}
		out = append(out, firewall.Entry{Prefix: ban.Prefix, Until: ban.Until})
	}
	return out
}
