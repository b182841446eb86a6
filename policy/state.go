package policy

import (
	"errors"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// Sizes are the capacities of the tables. A zero field takes the default.
type Sizes struct {
	StrangerBuckets int // limiter buckets of strangers: 65,536
	KnownBuckets    int // reserved for known peers: 65,536
	Repeats         int // admitted requests in each of two generations: 65,536
	Challenges      int // challenged sources in each of two generations: 16,384
	Live            int // live dialogs and INVITE transactions: 262,144
	Bans            int // 100,000
	StrangerSources int // strangers with evidence, 32 records each: 4,096
	KnownSources    int // known peers with evidence, 64 records each: 4,096
	StrangerScores  int // strangers with points against them: 16,384
	KnownScores     int // known peers with points against them: 4,096
	Blocks          int // blocked ports: 16,384
}

func (s Sizes) withDefaults() Sizes {
	for _, f := range []struct {
		value    *int
		standard int
	}{
		{&s.StrangerBuckets, 65_536}, {&s.KnownBuckets, 65_536}, {&s.Repeats, 65_536}, {&s.Challenges, 16_384},
		{&s.Live, 262_144}, {&s.Bans, mostBans}, {&s.StrangerSources, 4_096}, {&s.KnownSources, 4_096},
		{&s.StrangerScores, 16_384}, {&s.KnownScores, 4_096}, {&s.Blocks, 16_384},
	} {
		if *f.value <= 0 {
			*f.value = f.standard
		}
	}
	return s
}

// State is everything that outlives a rule set. Its parts are safe for concurrent use; each is of fixed size.
type State struct {
	base       time.Time // all ages are counted from here, on the monotonic clock
	seed       maphash.Seed
	ownTag     func(tag []byte) bool
	limits     limiter
	repeats    agedTable
	challenges agedTable
	live       Live
	bans       Bans
	conduct    conduct
	attention  attention
	vouched    vouched
	evidence   evidence
	counters   Counters
	hits       atomic.Pointer[map[uint64]*ruleHits]
	warned     [warnings]atomic.Int64 // when each kind of warning was last given
	installing sync.Mutex
}

// ruleHits counts what a rule did since the program started, over reloads.
type ruleHits struct{ enforced, shadow atomic.Uint64 }

// The causes of warnings that a verdict may carry.
const (
	warnInside = iota // an unknown source inside
	warnBanned        // a trunk or node that evidence would have banned
	warnFull          // the table of bans has no room
	warnings
)

// NewState makes an empty state. The seed keys the hash tables, so that nobody outside can aim at one place in them;
// ownTag tells a To-tag of ours from another one (nil: any tag may be looked up in the live set). now is when the
// recording begins.
func NewState(now time.Time, seed maphash.Seed, ownTag func([]byte) bool, sizes Sizes) (*State, error) {
	if seed == (maphash.Seed{}) {
		return nil, errors.New("policy: the hash seed is empty; make it with maphash.MakeSeed")
	}
	sizes = sizes.withDefaults()
	st := &State{base: now, seed: seed, ownTag: ownTag}
	st.limits.strangers.init(seed, sizes.StrangerBuckets)
	st.limits.known.init(seed, sizes.KnownBuckets)
	st.repeats.init(repeatLife, sizes.Repeats)
	st.challenges.init(repeatLife, sizes.Challenges)
	st.live.init(seed, sizes.Live)
	st.live.near = &st.vouched
	st.vouched.init(seed)
	st.bans.init(sizes.Bans)
	st.bans.lifted = st.forget
	st.conduct.init(seed, sizes)
	st.evidence.init(seed, sizes.StrangerSources, sizes.KnownSources)
	for i := range st.warned {
		st.warned[i].Store(int64(-time.Hour))
	}
	return st, nil
}

// Install prepares the state for a rule set: the buckets that its limits share and the counts of its rules. Debt and
// counts of rules that stay are kept. Decide may be called with a rule set once it has been installed.
func (st *State) Install(now time.Time, r *Rules) {
	st.installing.Lock()
	defer st.installing.Unlock()
	st.bans.forgive.Store(int64(r.bans.most))
	st.limits.install(st.age(now), append([]limit{r.budget, r.returning, r.urgent}, r.limits...))
	var old map[uint64]*ruleHits
	if p := st.hits.Load(); p != nil {
		old = *p
	}
	hits := make(map[uint64]*ruleHits, len(r.infos))
	for _, info := range r.infos {
		if hits[info.key] = old[info.key]; hits[info.key] == nil {
			hits[info.key] = &ruleHits{}
		}
	}
	st.hits.Store(&hits)
}

// age is the time since the base; what is said to have been before it counts as having been then.
func (st *State) age(now time.Time) time.Duration { return max(0, now.Sub(st.base)) }

// hitsOf returns the counts of a rule, nil for none or one that is not installed.
func (st *State) hitsOf(r *Rules, rule int32) *ruleHits {
	p := st.hits.Load()
	if rule < 0 || p == nil {
		return nil
	}
	return (*p)[r.infos[rule].key]
}

// mayWarn reports whether a warning of this kind is due: one a minute.
func (st *State) mayWarn(now time.Time, kind int) bool {
	age := int64(st.age(now))
	last := st.warned[kind].Load()
	return age-last >= int64(time.Minute) && st.warned[kind].CompareAndSwap(last, age)
}
