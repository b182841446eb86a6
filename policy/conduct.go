package policy

import (
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"net/netip"
	"sync/atomic"
	"time"

	"sallyport/nat"
)

// The defaults.
const (
	defaultBanPoints = 20
	defaultBanWithin = time.Minute
	defaultFirstBan  = 10 * time.Minute
	defaultBanFactor = 6
	defaultMostBan   = 24 * time.Hour
)

// banRules is the compiled `policy.bans`.
type banRules struct {
	points int // 0: off
	within time.Duration
	first  time.Duration
	factor int
	most   time.Duration
	shadow bool
}

func (r *Rules) compileBans(c *Config) {
	orNumber := func(p *int, absent int) int {
		if p == nil {
			return absent
		}
		return *p
	}
	orTime := func(d, absent time.Duration) time.Duration {
		if d == 0 {
			return absent
		}
		return d
	}
	b := &c.Bans
	r.bans = banRules{
		points: orNumber(b.Points, defaultBanPoints), within: orTime(b.Within, defaultBanWithin),
		first: orTime(b.First, defaultFirstBan), factor: orNumber(b.Factor, defaultBanFactor),
		most: orTime(b.Most, defaultMostBan), shadow: b.Shadow,
	}
	r.bans.first = min(r.bans.first, r.bans.most)
}

// length is how long the ban after n others is: first × factorⁿ, at most `most`.
func (b *banRules) length(n int) time.Duration {
	length := b.first
	for ; n > 0 && length < b.most; n-- {
		if length > b.most/time.Duration(max(b.factor, 1)) {
			return b.most
		}
		if b.factor <= 1 {
			break
		}
		length *= time.Duration(b.factor)
	}
	return min(length, b.most)
}

func (c *Config) validateBans(p *problems) {
	b := &c.Bans
	if b.Points != nil && (*b.Points < 0 || *b.Points > maxBanPoints) {
		p.add("policy.bans.points", "must lie between 0 (no bans from evidence) and %d", maxBanPoints)
	}
	if b.Factor != nil && (*b.Factor < 1 || *b.Factor > maxBanFactor) {
		p.add("policy.bans.factor", "must lie between 1 (every ban as long as the first) and %d", maxBanFactor)
	}
	for _, f := range []struct {
		path  string
		value time.Duration
		most  time.Duration
	}{{"policy.bans.within", b.Within, 24 * time.Hour}, {"policy.bans.first", b.First, maxBanTime}, {"policy.bans.most", b.Most, maxBanTime}} {
		if f.value != 0 && (f.value < time.Second || f.value > f.most) {
			p.add(f.path, "must lie between 1s and %s", f.most)
		}
	}
	if b.First > 0 && b.Most > 0 && b.First > b.Most {
		p.add("policy.bans.first", "is longer than policy.bans.most (%s); the first ban is the shortest", b.Most)
	}
}

// banWarnings names the rules that want bans where there are none.
func banWarnings(c *Config) (list []string) {
	if c.Bans.Points == nil || *c.Bans.Points != 0 {
		return nil
	}
	warn := func(path, action string) {
		if action == "ban" {
			list = append(list, path+" has action ban, and policy.bans.points is 0: it only drops")
		}
	}
	for i, e := range c.MessageRules {
		warn(fmt.Sprintf("policy.message_rules[%d]", i), e.Action)
	}
	for i, e := range c.DenyUserAgents {
		warn(fmt.Sprintf("policy.deny_user_agents[%d]", i), e.Action)
	}
	for i, e := range c.RateLimits {
		warn(fmt.Sprintf("policy.rate_limits[%d]", i), e.Action)
	}
	return list
}

// The bounds of `policy.bans`.
const (
	maxBanPoints = 10_000
	maxBanFactor = 1_000
	maxBanTime   = 365 * 24 * time.Hour
)

// conduct is what is remembered of how sources behave. Each table is of fixed size; strangers and known peers have their
// own.
type conduct struct {
	seed    maphash.Seed
	scores  [2]scoreTable
	counted [2]agedTable // requests that counted against their source
	proofs  proofs
	blocks  blockTable
	slowed  slowedUsers
	alarmed agedTable // rule and source of alarms told within the last minute
	counts  banCounts
	ticked  atomic.Int64 // an age that is past: that of the last Tick
}

type banCounts struct{ bans, shadowed, blocks, slowed, alarms, refused atomic.Uint64 }

// BanCounts says what came of the evidence since the program started.
type BanCounts struct {
	Bans     uint64 `json:"bans"`     // automatic ones made
	Shadowed uint64 `json:"shadowed"` // those that would have been made without bans.shadow
	Blocks   uint64 `json:"blocks"`   // ports blocked for what was not proven
	Slowed   uint64 `json:"slowed"`   // users whose credentials were slowed
	Alarms   uint64 `json:"alarms"`   // evidence against trunks, nodes, white-listed sources, and phones that may be forged
	Refused  uint64 `json:"refused"`  // bans that the table had no room for
}

// BanCounts counts what came of the evidence.
func (g *Guard) BanCounts() BanCounts {
	c := &g.state.conduct.counts
	return BanCounts{c.bans.Load(), c.shadowed.Load(), c.blocks.Load(), c.slowed.Load(), c.alarms.Load(), c.refused.Load()}
}

// alarmPause is how often an alarm of one rule and source is told.
const alarmPause = time.Minute

// countedLife is how long a request is remembered so that it counts once.
const countedLife = 2 * time.Minute

func (c *conduct) init(seed maphash.Seed, sizes Sizes) {
	c.seed = seed
	for known, size := range [...]int{sizes.StrangerScores, sizes.KnownScores} {
		c.scores[known].init(seed, size)
		c.counted[known].init(countedLife, size)
	}
	c.proofs.init(seed, sizes.Challenges)
	c.blocks.init(seed, sizes.Blocks)
	c.slowed.init(seed)
	c.alarmed.init(alarmPause, sizes.KnownScores)
}

// isNew reports whether a request counts for the first time: a repeat of a refused request is no second offence.
func (c *conduct) isNew(now time.Duration, known bool, source netip.Addr, callID uint64, cseq uint32) bool {
	var b [29]byte
	a := source.As16()
	copy(b[:], a[:])
	binary.LittleEndian.PutUint64(b[16:], callID)
	binary.LittleEndian.PutUint32(b[24:], cseq)
	b[28] = 'o'
	key := maphash.Bytes(c.seed, b[:]) | 1
	return c.counted[index(known)].learn(now, key)
}

// mayAlarm reports whether an alarm of a rule and source is due, and takes note of it.
func (c *conduct) mayAlarm(now time.Duration, rule uint64, source netip.Addr) bool {
	var b [25]byte
	a := source.As16()
	copy(b[:], a[:])
	binary.LittleEndian.PutUint64(b[16:], rule)
	b[24] = 'l'
	key := maphash.Bytes(c.seed, b[:]) | 1
	return c.alarmed.learn(now, key)
}

func (c *conduct) nameKey(name []byte) uint64 { return maphash.Bytes(c.seed, name) }

// tick does what is due by time alone.
func (c *conduct) tick(now time.Duration) {
	c.ticked.Store(int64(now))
	c.slowed.expire(now)
}

// distrusted is the part of step 4 that bans nobody: a block of the stranger's port, for what he did not prove, and the
// pace of credentials for a user under attack. A message that proves its source is no forger's, so a block does not hold it.
func (st *State) distrusted(now time.Time, s *Subject) bool {
	if s.Kind() != Stranger || s.Side == nat.Inside {
		return false
	}
	c, age := &st.conduct, st.age(now)
	return !s.Proven && c.blocks.holds(age, s.Source) || c.slowed.refuses(age, now, s)
}

// forget drops what is held against the sources of a prefix and returns how many blocks it lifted.
func (st *State) forget(p netip.Prefix) int {
	for known := range st.conduct.scores {
		st.conduct.scores[known].forget(p)
	}
	return st.conduct.blocks.lift(time.Duration(st.conduct.ticked.Load()), p)
}

func (c *conduct) forgetName(name string) {
	key := scoreKey{id: c.nameKey([]byte(name)), unit: unitName}
	for known := range c.scores {
		c.scores[known].with(0, time.Minute, key, false, (*score).clear)
	}
}

// evidenceText says what a score stands for, for people.
func evidenceText(t *tally, rules *banRules) string {
	return fmt.Sprintf("%s: %d of %d points within %s", t, t.points(), rules.points, shortTime(rules.within))
}

// shortTime is a duration without the zeros behind its last unit: 10m, 1h, 24h.
func shortTime(d time.Duration) string {
	text := d.String()
	for _, zeros := range [...]string{"m0s", "h0m"} {
		if n := len(text) - len(zeros); n > 0 && text[n:] == zeros {
			text = text[:n+1]
		}
	}
	return text
}
