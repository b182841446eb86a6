package sbc

import (
	"cmp"
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
	"sallyport/sbc/api"
	"sallyport/sbc/config"
)

// Careful says how carefully a configuration is put in force.
type Careful struct {
	Force   bool          // whoever is shut out
	Session netip.Addr    // that the administrator works from; invalid: unknown
	Trial   time.Duration // without Keep the configuration before comes back after so long; 0: it lasts
}

// ShutOutError says that a configuration was refused, for it would newly shut out a trunk, a node, the administrator or
// too many phones.
type ShutOutError struct {
	Hits          []policy.Hit
	Phones, Known int // registered phones that are hit, and all of them
}

func (e *ShutOutError) Error() string {
	return "it would shut out somebody who must not be\n" + api.HitsText(hitsOf(e.Hits), e.Phones, e.Known) +
		"  hint: sbc reload --diff shows it; sbc reload --force insists"
}

// trial is a configuration that goes back by itself. It is guarded by SBC.reloading.
type trial struct {
	before *config.Snapshot
	timer  *time.Timer
}

// Revise puts a new configuration in force unless it shuts out whom it must not. The error is then a *ShutOutError.
func (s *SBC) Revise(ctx context.Context, snap *config.Snapshot, c Careful) (changes []config.Change, until time.Time, err error) {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	if !c.Force {
		out, err := s.shutOut(ctx, snap, c.Session)
		if err == nil && out.tooMuch(snap) {
			err = out
		}
		if err != nil {
			s.reloads.count(s.now(), err)
			return config.Diff(s.snap.Load(), snap), until, err
		}
	}
	before := s.snap.Load()
	if changes, err = s.reload(ctx, snap); err != nil {
		return changes, until, err
	}
	if s.trial != nil {
		before = s.trial.before // what was on trial was never confirmed
		s.trial.timer.Stop()
		s.trial = nil
	}
	if c.Trial > 0 {
		until = s.now().Add(c.Trial)
		t := &trial{before: before}
		t.timer = time.AfterFunc(c.Trial, func() { s.goBack(t) })
		s.trial = t
	}
	return changes, until, nil
}

// backEvery is how long a way back from a trial may take, and how soon one that failed is tried again: an administrator may be
// locked out until it succeeds.
const backEvery = 30 * time.Second

// Keep makes the configuration that is on trial last; false: none is.
func (s *SBC) Keep() bool {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	if s.trial == nil {
		return false
	}
	s.trial.timer.Stop()
	s.trial = nil
	s.log.Info("the configuration that was on trial is kept")
	return true
}

// goBack puts the configuration before a trial back in force when it is over. It runs by the trial's timer, whatever the clock
// on the wall says meanwhile.
func (s *SBC) goBack(t *trial) {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	if s.trial != t {
		return // kept, or another trial began while the timer ran
	}
	ctx, cancel := context.WithTimeout(context.Background(), backEvery)
	defer cancel()
	if _, err := s.reload(ctx, t.before); err != nil {
		s.log.Error("the trial is over and the configuration before cannot come back yet; it is tried again", zap.Error(err))
		t.timer = time.AfterFunc(backEvery, func() { s.goBack(t) })
		return
	}
	s.trial = nil
	s.log.Warn("nobody kept the configuration on trial: the one before is in force again")
}

// endTrial stops the timer of a trial: the program ends.
func (s *SBC) endTrial() {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	if s.trial != nil {
		s.trial.timer.Stop()
		s.trial = nil
	}
}

// shutOut finds whom a configuration's rules would newly refuse.
func (s *SBC) shutOut(ctx context.Context, snap *config.Snapshot, session netip.Addr) (*ShutOutError, error) {
	s.naming.Ask(ctx, snap)
	found, err := s.sources.prepare(ctx, snap)
	if err != nil {
		return nil, err
	}
	rules, err := policy.Compile(snap.Policy.Guard(), found.data)
	if err != nil {
		return nil, err
	}
	out, err := s.impactOf(ctx, snap, rules, session)
	if err != nil {
		return nil, err
	}
	homeless, err := s.homeless(ctx, snap)
	out.and(homeless)
	return out, err
}

// impactOf finds whom rules would newly refuse.
func (s *SBC) impactOf(ctx context.Context, snap *config.Snapshot, rules *policy.Rules, session netip.Addr) (*ShutOutError, error) {
	subjects, known, err := s.subjects(ctx, snap, session)
	if err != nil {
		return nil, err
	}
	out := &ShutOutError{Known: known}
	out.Hits = policy.Impact(s.now(), s.guard, rules, subjects)
	for i := range out.Hits {
		if !out.Hits[i].Subject.Vital {
			out.Phones++
		}
	}
	return out, nil
}

// tooMuch reports whether a configuration must be insisted on.
func (e *ShutOutError) tooMuch(snap *config.Snapshot) bool {
	for i := range e.Hits {
		if e.Hits[i].Subject.Vital {
			return true
		}
	}
	return e.Phones > 0 && e.Phones*100 > e.Known*snap.Policy.ReloadGuard
}

// subjects are all whom rules should not shut out: trunks, nodes, registered phones and the administrator.
func (s *SBC) subjects(ctx context.Context, snap *config.Snapshot, session netip.Addr) (list []policy.ImpactSubject, phones int, err error) {
	snap = s.expand(snap)
	for i := range snap.Trunks {
		t := &snap.Trunks[i]
		for _, p := range t.Peers {
			list = append(list, policy.ImpactSubject{
				Who: "trunk " + t.Name, Source: p.Address, Side: nat.Outside, Realm: nat.Trunks, Transport: p.Transport, Vital: true,
			})
		}
		for _, p := range t.Sources { // it may call in from where nothing is sent to
			if !slices.ContainsFunc(t.Peers, func(x config.Peer) bool { return p.Contains(x.Address.Addr()) }) {
				list = append(list, policy.ImpactSubject{
					Who: "trunk " + t.Name, Source: netip.AddrPortFrom(p.Addr(), 5060), Side: nat.Outside, Realm: nat.Trunks, Vital: true,
				})
			}
		}
	}
	for _, n := range snap.PBX.Nodes {
		for _, realm := range []nat.Realm{nat.Phones, nat.Trunks} {
			if n.Realms[realm] {
				list = append(list, policy.ImpactSubject{
					Who: "node " + n.Address.String(), Source: n.Address, Side: nat.Inside, Realm: realm, Transport: n.Transport, Vital: true,
				})
			}
		}
	}
	for _, p := range snap.PBX.Sources {
		for _, realm := range []nat.Realm{nat.Phones, nat.Trunks} {
			list = append(list, policy.ImpactSubject{
				Who: "the PBX", Source: netip.AddrPortFrom(p.Addr(), 5060), Side: nat.Inside, Realm: realm, Vital: true,
			})
		}
	}
	if session.IsValid() {
		list = append(list, policy.ImpactSubject{
			Who: "your own session", Source: netip.AddrPortFrom(session, 5060), Side: nat.Outside, Realm: nat.Phones, Vital: true,
		})
	}
	others := len(list)
	err = s.core.Do(ctx, func(time.Time) {
		for b := range s.assembly.phones.book.All {
			phones++
			list = append(list, policy.ImpactSubject{
				Who: "phone " + b.AoR, Source: b.Flow.Remote, Side: nat.Outside, Realm: nat.Phones, Transport: b.Flow.Transport,
				Agent: b.UserAgent,
			})
		}
	})
	slices.SortFunc(list[others:], func(a, b policy.ImpactSubject) int {
		return cmp.Or(strings.Compare(a.Who, b.Who), a.Source.Compare(b.Source))
	})
	return list, phones, err
}

// hitsMost is how many of those who are hit an answer names.
const hitsMost = 200

// hitsOf puts hits in the words of the API, vital ones first.
func hitsOf(hits []policy.Hit) []api.Hit {
	var out []api.Hit
	for _, vital := range []bool{true, false} {
		for i := range hits {
			h := &hits[i]
			if h.Subject.Vital != vital || len(out) >= hitsMost {
				continue
			}
			out = append(out, api.Hit{
				Who: h.Subject.Who, Source: h.Subject.Source.Addr().String(), Method: h.Method, Reason: string(h.Reason), Rule: h.Rule, Vital: vital,
			})
		}
	}
	return out
}

// Reload reads the configuration anew.
func (c control) Reload(ctx context.Context, r api.ReloadRequest) (api.ReloadResult, error) {
	var out api.ReloadResult
	careful, err := carefulOf(&r)
	if err != nil {
		return out, err
	}
	snap, report := c.load()
	for _, p := range report.Warnings {
		out.Warnings = append(out.Warnings, problem(p))
	}
	for _, p := range report.Errors {
		out.Errors = append(out.Errors, problem(p))
	}
	if snap == nil {
		if !r.Diff {
			c.NotReloaded()
		}
		return out, nil
	}
	var changes []config.Change
	if r.Diff {
		changes, err = c.foresee(ctx, snap, careful, &out)
	} else if changes, out.Returns, err = c.Revise(ctx, snap, careful); err == nil {
		out.Applied = true
	}
	out.Warnings = append(out.Warnings, c.pathless(snap)...)
	if refused, ok := errors.AsType[*ShutOutError](err); ok {
		out.Refused = true
		out.Hits, out.Phones, out.Known = hitsOf(refused.Hits), refused.Phones, refused.Known
	} else if err != nil {
		out.Errors = append(out.Errors, api.Problem{Text: err.Error()})
	}
	for _, ch := range changes {
		out.Changes = append(out.Changes, api.Change{Path: ch.Path, Old: ch.Old, New: ch.New, When: ch.Tag})
		if r.Diff && strings.HasPrefix(ch.Path, "policy.") {
			out.Rehearse = "sbc replay - --config " + snap.Path()
		}
	}
	return out, nil
}

func carefulOf(r *api.ReloadRequest) (Careful, error) {
	out := Careful{Force: r.Force}
	var err error
	if out.Trial, err = r.Trial(); err != nil {
		return out, err
	}
	if r.Session != "" {
		if out.Session, err = netip.ParseAddr(r.Session); err != nil {
			return out, api.BadRequest("leave it out", "the session %q is no address", r.Session)
		}
	}
	return out, nil
}

// foresee says what a reload would do.
func (c control) foresee(ctx context.Context, snap *config.Snapshot, careful Careful, out *api.ReloadResult) ([]config.Change, error) {
	changes := config.Diff(c.snap.Load(), snap)
	if err := c.relayStays(snap); err != nil {
		return changes, err
	}
	shut, err := c.shutOut(ctx, snap, careful.Session)
	if err != nil {
		return changes, err
	}
	out.Hits, out.Phones, out.Known = hitsOf(shut.Hits), shut.Phones, shut.Known
	if shut.tooMuch(snap) {
		out.Warnings = append(out.Warnings, api.Problem{
			Text: "a reload would be refused: " + fmt.Sprintf("it shuts out a trunk, a node, your session or more than %d %% of the phones", snap.Policy.ReloadGuard),
			Hint: "spare them, or insist with --force",
		})
	}
	return changes, nil
}

// KeepReload keeps the configuration that is on trial.
func (c control) KeepReload(context.Context) error {
	if !c.Keep() {
		return api.NotFound("it was kept, or the one before has come back: see `sbc reload --diff`", "no configuration is on trial")
	}
	return nil
}
