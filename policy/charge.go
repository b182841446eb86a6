package policy

import (
	"hash/maphash"
	"net/netip"
	"time"

	"sallyport/nat"
)

// charge is steps 8 and 9: it takes one message from every limit that the request meets, and from the strangers'
// budget if what follows costs anything (spends). It takes from all or from none, so that a request which one limit
// refuses does not eat up another. It reports false, with the verdict, if one is exceeded.
func (r *Rules) charge(now time.Time, s *Subject, st *State, v *Verdict, spared exempt, spends bool) bool {
	if spared&exemptLimits != 0 || !s.Request {
		return true
	}
	if s.Credentials && st.answersChallenge(now, s) {
		return true
	}
	limits := r.limitsFor(s.Realm, s.Source.Addr(), s.Method, s.Kind().system())
	stranger := s.Kind() == Stranger && s.Side == nat.Outside
	i := r.exceeded(now, s, st, limits, v, stranger && spends)
	switch {
	case i == withinLimits:
		return true
	case i == overBudget:
		shadow := v.Shadow
		*v = verdict(Drop, 0, causeBudget)
		v.Shadow = shadow
		return false
	}
	m := &r.limits[i]
	shadow := v.Shadow
	*v = verdict(m.action, 503, causeLimit)
	v.Rule, v.Shadow, v.Limit = m.rule, shadow, i
	if v.Action == Reject && !r.mayAnswer(now, s, st) {
		v.Action = Drop
	}
	return false
}

// What exceeded returns where no limit of the list is to blame.
const (
	withinLimits int32 = -1
	overBudget   int32 = -2
)

// exceeded returns the first limit that has nothing left for the source, or charges all of them.
func (r *Rules) exceeded(now time.Time, s *Subject, st *State, limits []int32, v *Verdict, budget bool) int32 {
	known := s.Kind() != Stranger
	for _, i := range limits {
		m := &r.limits[i]
		if m.shadow {
			if !st.within(now, s, m, known) {
				v.Shadow = m.rule
			}
			continue
		}
		if tokens, _ := st.limits.level(now, m, s.Key, known); tokens < 1 {
			return i
		}
	}
	if budget && !st.afford(now, s, r) {
		return overBudget
	}
	for _, i := range limits {
		// Another reader may have taken the last one since: then this limit refuses after all.
		if m := &r.limits[i]; !m.shadow && !st.within(now, s, m, known) {
			return i
		}
	}
	return withinLimits
}

// within takes one message of a limit, or, in a trial, looks whether it could.
func (st *State) within(now time.Time, s *Subject, m *limit, known bool) bool {
	if s.Trial {
		tokens, _ := st.limits.level(now, m, s.Key, known)
		return tokens >= 1
	}
	return st.limits.take(now, m, s.Key, known)
}

// afford takes one message out of the budget that all strangers share.
func (st *State) afford(now time.Time, s *Subject, r *Rules) bool {
	budget := st.limits.overflow(r.budget.key, false)
	switch {
	case budget == nil:
		return false
	case s.Trial:
		return budget.TokensAt(now) >= 1
	}
	return budget.AllowN(now, 1)
}

// mostChallenges is how many answers one address may owe at a time: a large office that registers anew.
const mostChallenges = 1024

// answersChallenge reports whether a challenge was passed to this source that it has not answered yet: the request
// that carries the credentials belongs to the one that was charged (RFC 3261 §22.1).
func (st *State) answersChallenge(now time.Time, s *Subject) bool {
	return st.challenges.with(st.age(now), st.challengeKey(s.Key), func(k *agedKey) bool {
		if k.counts[0] == 0 {
			return false
		}
		if !s.Trial {
			k.counts[0]--
		}
		return true
	})
}

// challenged notes that a 401 or 407 was passed to a source.
func (st *State) challenged(now time.Time, source netip.Addr) {
	key := st.challengeKey(SourceKey(source))
	owed := uint16(1)
	st.challenges.with(st.age(now), key, func(k *agedKey) bool {
		owed = min(k.counts[0]+1, mostChallenges)
		k.counts[0] = 0 // the credit moves into the newer entry
		return true
	})
	st.challenges.add(st.age(now), key, owed)
}

func (st *State) challengeKey(source netip.Addr) uint64 {
	var b [17]byte
	a := source.As16()
	copy(b[:], a[:])
	b[16] = 'c'
	return maphash.Bytes(st.seed, b[:]) | 1
}
