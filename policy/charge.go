package policy

import (
	"hash/maphash"
	"math"
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
	c := st.charging(now, s, r, s.Method)
	c.budget = spends && s.Kind() == Stranger && s.Side == nat.Outside
	// Who has not seen the nonce answers nothing: else forged credentials would use up what honest answers pass by.
	if s.Credentials && s.Proven && st.answersChallenge(now, s) && c.answers() {
		return true
	}
	switch i := c.exceeded(v); i {
	case withinLimits:
		return true
	case overBudget:
		v.become(verdict(Drop, 0, causeBudget))
		return false
	default:
		c.refuse(s, v, i)
		return false
	}
}

// chargeUnparseable charges, at step 6, what the scan refuses. Over the limit there is silence, whatever the rule's action:
// who sends that much of it reads no answers.
func (r *Rules) chargeUnparseable(now time.Time, s *Subject, st *State, v *Verdict, spared exempt) bool {
	if spared&exemptLimits != 0 {
		return true
	}
	c := st.charging(now, s, r, unparseable)
	i := c.exceeded(v)
	if i == withinLimits {
		return true
	}
	c.refuse(s, v, i)
	v.Action, v.Code, v.RetryAfter = Drop, 0, 0
	return false
}

// become replaces what was decided, and keeps what rules on trial and alarms had to say.
func (v *Verdict) become(n Verdict) {
	n.Shadow, n.Alarm = v.Shadow, v.Alarm
	*v = n
}

// charging is one message on its way through the limits that it meets. It has no pointer to the Subject, which would
// escape to the heap through it.
type charging struct {
	now    time.Time
	at     time.Duration // the same as an age of the State
	r      *Rules
	st     *State
	set    limitSet
	source netip.Addr // Subject.Key
	known  bool
	behind int
	trial  bool
	budget bool // it takes from the strangers' budget
}

func (st *State) charging(now time.Time, s *Subject, r *Rules, m Method) charging {
	return charging{now: now, at: st.age(now), r: r, st: st, set: r.limitsFor(s, m), source: s.Key, known: s.reserved(),
		behind: s.Behind, trial: s.Trial}
}

// refuse makes the verdict of a limit that is exceeded.
func (c *charging) refuse(s *Subject, v *Verdict, i int32) {
	m := &c.r.limits[i]
	v.become(m.deed.refuse(503, causeLimit))
	v.Rule, v.Limit = m.rule, i
	if m.deed == deedDrop && s.Kind() == Phone && s.Transport.Reliable() {
		// Over a stream nothing is sent again (RFC 3261 §17.1.2.2): silence would hold a phone up for 32 seconds.
		v.Action, v.Code = Reject, 503
	}
	if v.Action != Reject {
		return
	}
	if !c.r.mayAnswer(c.now, s, c.st) {
		v.Action = Drop
		return
	}
	if s.Side == nat.Outside && s.Realm == nat.Phones {
		// RFC 3261 §21.5.4. A provider takes it for the whole trunk and sends nobody's calls for as long.
		v.RetryAfter = m.wait(c.behind, c.left(m))
	}
}

// mostRetryAfter bounds what a phone is told to wait: it should notice within the hour that a limit was lifted.
const mostRetryAfter = 3600

// wait is how many seconds it takes until one message is left again.
func (m *limit) wait(phones int, left float64) int {
	return max(1, min(mostRetryAfter, int(math.Ceil((1-left)/m.size(phones).perSecond-slack))))
}

// What exceeded returns where no limit of the list is to blame.
const (
	withinLimits int32 = -1
	overBudget   int32 = -2
)

// exceeded returns the first limit that has nothing left for the source, or charges all of them.
func (c *charging) exceeded(v *Verdict) int32 {
	enforced := 0
	for n := range c.set.len() {
		i := c.set.at(n)
		if i < 0 {
			continue
		}
		m := &c.r.limits[i]
		switch {
		case m.enforced():
			enforced++
			if c.left(m) < 1-slack {
				return i
			}
		case c.take(m):
		case m.shadow:
			v.Shadow = m.rule
		default:
			v.Alarm = m.rule
		}
	}
	if c.budget && !c.spend(c.st.limits.overflow(c.r.budgetOf(c.behind).key, false)) {
		return overBudget
	}
	if enforced == 0 {
		return withinLimits
	}
	for n := range c.set.len() {
		// Another reader may have taken the last one since: then this limit refuses after all.
		if i := c.set.at(n); i >= 0 && c.r.limits[i].enforced() && !c.take(&c.r.limits[i]) {
			return i
		}
	}
	return withinLimits
}

// enforced reports whether the limit refuses what exceeds it.
func (m *limit) enforced() bool { return !m.shadow && m.deed != deedAlarm }

// left is how much of a limit the source has left.
func (c *charging) left(m *limit) float64 {
	tokens, _ := c.st.limits.level(c.at, m.key, m.size(c.behind), c.source, c.known)
	return tokens
}

// take takes one message of a limit, or, in a trial, looks whether it could.
func (c *charging) take(m *limit) bool {
	if c.trial {
		return c.left(m) >= 1-slack
	}
	return c.st.limits.take(c.at, m.key, m.size(c.behind), c.source, c.known)
}

// budgetOf is the strangers' budget that a stranger shares. Those at whose addresses phones were registered lately have one
// of their own, as large: an office that comes back while all the world knocks does not stand in the world's queue, and who
// forges sources would have to know such addresses.
func (r *Rules) budgetOf(behind int) *limit {
	if behind > 0 {
		return &r.returning
	}
	return &r.budget
}

// afford takes one message out of the budget that a stranger shares with others.
func (st *State) afford(now time.Time, s *Subject, r *Rules) bool {
	return spend(st.age(now), s.Trial, st.limits.overflow(r.budgetOf(s.Behind).key, false))
}

func (c *charging) spend(b *sharedBucket) bool { return spend(c.at, c.trial, b) }

func spend(at time.Duration, trial bool, b *sharedBucket) bool {
	switch {
	case b == nil:
		return false
	case trial:
		return b.left(at) >= 1-slack
	}
	return b.take(at)
}

// answerKey turns the key of a limit into that of the bucket beside it, for answers to challenges.
const answerKey = 0x5bd1e995_0a5e2d31

// answers is the charge of a request that answers a challenge. It belongs to the request that was charged before (RFC 3261
// §22.1), so it takes from a bucket of its own beside each limit's, of the same size: an honest phone that needs one answer
// for each request never empties it, and who guesses passwords, where each wrong one brings another challenge, does not
// pass unlimited. It reports false where that is empty; the request is then charged like any other.
func (c *charging) answers() bool {
	for n := range c.set.len() {
		if i := c.set.at(n); i >= 0 && c.r.limits[i].enforced() && c.answersLeft(&c.r.limits[i]) < 1-slack {
			return false
		}
	}
	if c.budget && !c.spend(c.st.limits.overflow(c.r.budgetOf(c.behind).key, true)) {
		return false
	}
	if c.trial {
		return true
	}
	for n := range c.set.len() {
		if i := c.set.at(n); i >= 0 && c.r.limits[i].enforced() {
			m := &c.r.limits[i]
			c.st.limits.take(c.at, m.key^answerKey, m.size(c.behind), c.source, c.known)
		}
	}
	return true
}

func (c *charging) answersLeft(m *limit) float64 {
	tokens, shared := c.st.limits.level(c.at, m.key^answerKey, m.size(c.behind), c.source, c.known)
	if shared {
		return 0 // a full table has no second bucket for anybody
	}
	return tokens
}

// mostChallenges is how many answers one address may owe at a time: a large office that registers anew.
const mostChallenges = 1024

// answersChallenge reports whether a challenge was passed to this source that it has not answered yet.
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
	st.vouched.add(st.age(now), source)
}

func (st *State) challengeKey(source netip.Addr) uint64 {
	var b [17]byte
	a := source.As16()
	copy(b[:], a[:])
	b[16] = 'c'
	return maphash.Bytes(st.seed, b[:]) | 1
}
