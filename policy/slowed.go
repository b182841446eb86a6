package policy

import (
	"cmp"
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"sallyport/sbc/userpart"
)

// Credentials for a user whose password is guessed from many addresses are slowed, never refused for good: an account
// must not be locked by whoever knows its name.
const (
	slowedRate  = rate.Limit(6.0 / 60)
	slowedBurst = 2
	mostSlowed  = 1024 // users; a full table gives up the one whose time ends first
)

// Slowed is a user for whom strangers' credentials are taken slowly.
type Slowed struct {
	User     string    `json:"user"` // in the form of URIs, lower case
	Until    time.Time `json:"until"`
	Evidence string    `json:"evidence"`
	Refused  uint64    `json:"refused"` // requests since it began
}

type slowedUsers struct {
	seed  maphash.Seed
	some  atomic.Bool // is anybody slowed: nearly always not, and then nobody looks
	mu    sync.Mutex
	users map[uint64]*slowedUser
}

// slowedUser has a bucket for those who have proven their address apart, so that forged ones do not use it up.
type slowedUser struct {
	name     string
	until    time.Duration
	evidence string
	refused  uint64
	buckets  [2]*rate.Limiter
}

func (u *slowedUsers) init(seed maphash.Seed) {
	u.seed = seed
	u.users = make(map[uint64]*slowedUser)
}

// slow begins or prolongs the time of a user. It reports whether it begins.
func (u *slowedUsers) slow(now, until time.Duration, name, evidence string) bool {
	key := maphash.String(u.seed, name)
	u.mu.Lock()
	defer u.mu.Unlock()
	if old := u.users[key]; old != nil && now < old.until {
		old.until, old.evidence = until, evidence
		return false
	}
	if u.users[key] == nil && len(u.users) >= mostSlowed {
		u.makeRoom()
	}
	user := &slowedUser{name: name, until: until, evidence: evidence}
	for i := range user.buckets {
		user.buckets[i] = rate.NewLimiter(slowedRate, slowedBurst)
	}
	u.users[key] = user
	u.some.Store(true)
	return true
}

func (u *slowedUsers) makeRoom() {
	var first uint64
	var found *slowedUser
	for key, user := range u.users {
		if found == nil || user.until < found.until {
			first, found = key, user
		}
	}
	delete(u.users, first)
}

// refuses reports whether a request with credentials comes too fast for a slowed user.
func (u *slowedUsers) refuses(now time.Duration, at time.Time, s *Subject) bool {
	if !u.some.Load() || !s.Credentials || !s.Request || s.Method == MethodAck || s.Method == MethodCancel {
		return false
	}
	var room [maxUserName]byte
	name := s.userName(&room)
	u.mu.Lock()
	defer u.mu.Unlock()
	user := u.users[maphash.Bytes(u.seed, name)]
	if user == nil || now >= user.until || user.name != string(name) {
		return false
	}
	bucket := user.buckets[index(s.Proven)]
	if s.Trial {
		return bucket.TokensAt(at) < 1
	}
	if bucket.AllowN(at, 1) {
		return false
	}
	user.refused++
	return true
}

// expire forgets those whose time is over.
func (u *slowedUsers) expire(now time.Duration) {
	if !u.some.Load() {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for key, user := range u.users {
		if now >= user.until {
			delete(u.users, key)
		}
	}
	u.some.Store(len(u.users) > 0)
}

func (u *slowedUsers) len() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.users)
}

// clear ends the time of a user.
func (u *slowedUsers) clear(name string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	key := maphash.String(u.seed, name)
	_, there := u.users[key]
	delete(u.users, key)
	return there
}

// Slowed lists the users for whom strangers' credentials are taken slowly now, by name.
func (g *Guard) Slowed(now time.Time) []Slowed {
	u, age := &g.state.conduct.slowed, g.state.age(now)
	u.mu.Lock()
	defer u.mu.Unlock()
	var list []Slowed
	for _, user := range u.users {
		if age < user.until {
			list = append(list, Slowed{userpart.Escaped(user.name), g.state.base.Add(user.until), user.evidence, user.refused})
		}
	}
	slices.SortFunc(list, func(a, b Slowed) int { return cmp.Compare(a.User, b.User) })
	return list
}

// Unslow lets the credentials for a user, written 204 or 204@example.com, pass at full speed again. It reports false if
// they were not slowed.
func (g *Guard) Unslow(aor string) bool {
	name := foldUser(aor)
	g.state.conduct.forgetName(name)
	return g.state.conduct.slowed.clear(name)
}
