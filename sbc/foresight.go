package sbc

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"sallyport/nat"
	"sallyport/policy"
	"sallyport/sbc/api"
	"sallyport/sbc/config"
	"sallyport/sbc/reason"
)

// What a reload does besides its rules, and nobody would see from its keys: phones whose listener closes, names that lead nowhere, keys
// that wait for a restart.

// homeless are the phones that register at a listener which a configuration closes: from then on it refuses them (503), so they are
// shut out as by a rule.
func (s *SBC) homeless(ctx context.Context, snap *config.Snapshot) (hits []policy.Hit, err error) {
	closing := map[uint16]*nat.Interface{}
	for _, f := range s.snap.Load().Interfaces {
		if f.Side == nat.Outside && !slices.ContainsFunc(snap.Interfaces, func(n nat.Interface) bool { return samePlace(&f, &n) }) {
			closing[f.ID] = &f
		}
	}
	if len(closing) == 0 {
		return nil, nil
	}
	err = s.core.Do(ctx, func(time.Time) {
		for b := range s.assembly.phones.book.All {
			f := closing[b.Flow.Interface]
			if f == nil {
				continue
			}
			hits = append(hits, policy.Hit{
				Subject: policy.ImpactSubject{
					Who: "phone " + b.AoR, Source: b.Flow.Remote, Side: nat.Outside, Realm: nat.Phones, Transport: b.Flow.Transport, Agent: b.UserAgent,
				},
				Method: "REGISTER", Reason: reason.Draining, Rule: fmt.Sprintf("outside.phones: %s %s closes", f.Transport, f.Bind),
			})
		}
	})
	slices.SortFunc(hits, func(a, b policy.Hit) int {
		return cmp.Or(strings.Compare(a.Subject.Who, b.Subject.Who), a.Subject.Source.Compare(b.Subject.Source))
	})
	return hits, err
}

func samePlace(a, b *nat.Interface) bool {
	return a.Side == b.Side && a.Realm == b.Realm && a.Transport == b.Transport && a.Bind == b.Bind
}

// and adds who is shut out otherwise, each phone once.
func (e *ShutOutError) and(hits []policy.Hit) {
	for _, h := range hits {
		if !slices.ContainsFunc(e.Hits, func(x policy.Hit) bool {
			return x.Subject.Who == h.Subject.Who && x.Subject.Source == h.Subject.Source
		}) {
			e.Hits = append(e.Hits, h)
			e.Phones++
		}
	}
}

// pathless are the names of a configuration that nobody has answered, as warnings of its reload.
func (s *SBC) pathless(snap *config.Snapshot) (out []api.Problem) {
	for _, n := range s.naming.All(snap) {
		if len(n.State.Endpoints) > 0 {
			continue
		}
		out = append(out, api.Problem{
			Text: fmt.Sprintf("%s: %s has no address yet: %s", n.Path, n.Written(), cmp.Or(n.Trouble(), "no answer so far")),
			Hint: "nothing is sent there until it has one; sbc check --live asks the name servers of this machine",
		})
	}
	return out
}

// waiting are the keys that were changed since the start and count from the next one on.
func (s *SBC) waiting() (keys []string) {
	for _, ch := range config.Diff(s.started, s.snap.Load()) {
		if ch.Tag == "restart" {
			keys = append(keys, ch.Path)
		}
	}
	return keys
}
