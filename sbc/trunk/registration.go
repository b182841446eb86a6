package trunk

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"

	"sallyport/nat"
	"sallyport/sbc/digest"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// RegistrationConfig is how a trunk registers at its provider.
type RegistrationConfig struct {
	Trunk   string
	Hops    []Hop       // of the registrar or of the proxy before it; none: nothing is known of it yet
	Domain  string      // host of Request-URI, From and To
	User    string      // of the address-of-record
	Contact string      // user of our Contact; empty: User
	Account *tu.Account // nil: challenges are not answered. Without realms: those of whichever realm asks
	Expires time.Duration
	GIN     bool // one registration for all numbers of the account (RFC 6140)
	// Refuse says why we cannot be where an answer shows us; "": we may. Nil: whatever is said is believed.
	Refuse func(netip.AddrPort) string
}

// Same reports whether two configurations are of one binding: one registration goes on with either.
func (c *RegistrationConfig) Same(o *RegistrationConfig) bool {
	return c.Trunk == o.Trunk && c.Domain == o.Domain && c.User == o.User && c.GIN == o.GIN
}

// Registration keeps a trunk registered at its provider (RFC 3261 §10.2). It is a tu.User; what it finds it tells by
// tu.Registration. One REGISTER is out at a time; attempts, each a round over the hops, are at least shortestRest apart.
type Registration struct {
	cfg    RegistrationConfig
	ids    tu.IDs
	callID string
	tag    string
	seq    uint32
	login  digest.Client
	order  []tu.Hop      // of the registrar, first to try first
	asks   time.Duration // the expiry that is asked for: a 423 raises it

	ref    tu.Ref // the REGISTER that is out; 0: none
	sent   *message.Message
	out    time.Time   // since when
	at     tu.Hop      // who was asked last
	offer  message.URI // the Contact that was offered
	tries  int         // challenges that the question has had
	raised bool        // by a 423, once a question
	round  []tu.Hop    // who is asked next
	began  time.Time   // of the round
	forced bool        // the round came before its time

	state  tu.Enrolment
	bound  message.URI // the Contact that is registered
	until  time.Time   // its end; zero: there is none
	taken  string      // ID of the hop that has it
	came   time.Time   // when that hop was tried first
	unsure bool        // a REGISTER without an answer may have left a binding
	stale  message.URI // a Contact of before, to be taken back with the next REGISTER
	alone  bool        // the registrar does not bear two Contacts in one
	routes []string
	realms []string
	seen   sight
	maybe  glimpse // where an answer shows us that does not count yet
	doubt  string

	next   time.Time // when the next round is due
	soon   bool      // something has changed: a round at once
	hasty  int       // rounds in a row that came before their time
	fails  int       // rounds in a row that came to nothing
	wrong  bool      // the password is
	mute   bool      // nobody has refused: there was no answer, or none but that a server is broken
	proven bool      // it was accepted once
	answer string
	rests  map[string]time.Time // Retry-After, by hop ID

	leaving time.Time // when we go, unregistered or not; zero: we stay
	ended   bool
	told    tu.Registration
}

// sight is where the registrar sees one of our interfaces.
type sight struct {
	face uint16
	at   netip.AddrPort
}

// glimpse is a sight that counts once the registrar, asked with it as our Contact, has accepted us.
type glimpse struct {
	sight
	hop string // who shows it
}

// The times of a registration.
const (
	shortestRest = 5 * time.Second  // between rounds
	spread       = time.Second      // in which those that start together begin
	baseTime     = 30 * time.Second // RFC 5626 §4.5, "base-time-all-fail"
	maxTime      = 30 * time.Minute // likewise, "max-time"
	slowly       = 15 * time.Minute // at most so long after a wrong password: each try counts towards a lock-out
	returnAfter  = 10 * time.Minute // to a hop of a lower priority number
	giveUp       = 40 * time.Second // longer than Timer F: no word of a question is a failure of ours
	farewell     = 5 * time.Second  // for taking the binding back
	longestRest  = time.Hour        // that a Retry-After may ask for
)

// NewRegistration makes a registration. Its first Tick starts it.
func NewRegistration(cfg RegistrationConfig, seed tu.Seed, key *tu.TagKey) *Registration {
	r := &Registration{ids: tu.NewIDs(seed, key), rests: map[string]time.Time{}}
	// "All registrations from a UAC SHOULD use the same Call-ID header field value" (RFC 3261 §10.2).
	r.callID, r.tag = r.ids.CallID(), r.ids.Tag()
	r.Configure(cfg) // its first Tick comes by itself
	r.soon = false
	return r
}

// Configure gives a registration that goes on (Same) other hops, credentials or times. What is out, and the binding, stay. With what
// it has it does nothing. If that is news, a Tick must follow.
func (r *Registration) Configure(cfg RegistrationConfig) (news bool) {
	before := r.cfg
	r.cfg = cfg
	if r.refused(r.seen.at) != "" {
		r.seen = sight{}
	}
	if r.refused(r.maybe.at) != "" {
		r.maybe = glimpse{}
	}
	if !sameHops(before.Hops, cfg.Hops) {
		r.order = r.shuffled(cfg.Hops)
		r.soon = r.soon || before.Hops == nil || r.taken != "" && !r.knows(r.taken)
	} else {
		for i := range r.order { // another look at the same places
			j := slices.IndexFunc(cfg.Hops, func(h Hop) bool { return h.ID == r.order[i].ID })
			if r.order[i].ID == r.taken && r.order[i].Flow.Class != cfg.Hops[j].Flow.Class {
				r.soon = true // calls come by the connection that we registered on, which nobody else uses any more
			}
			r.order[i] = cfg.Hops[j].Hop
		}
	}
	r.round = slices.DeleteFunc(r.round, func(h tu.Hop) bool { return !r.knows(h.ID) })
	maps.DeleteFunc(r.rests, func(id string, _ time.Time) bool { return !r.knows(id) })
	if i := r.index(r.at.ID); i >= 0 {
		r.at = r.order[i]
	}
	if before.Expires != cfg.Expires {
		r.asks = cfg.Expires
	}
	if !sameAccount(before.Account, cfg.Account) {
		r.login, r.wrong, r.proven, r.fails, r.soon = digest.Client{}, false, false, 0, true
	}
	if i := r.index(r.taken); i >= 0 && r.bound.Host != "" && r.contact(&r.order[i]) != r.bound {
		r.soon = true
	}
	return r.soon
}

// Same reports whether a configuration is of the binding that a registration keeps.
func (r *Registration) Same(cfg *RegistrationConfig) bool { return r.cfg.Same(cfg) }

// Of reports whether a report may be of this registration: one of another account is not, though it has the same trunk.
func (r *Registration) Of(is *tu.Registration) bool {
	return is.Trunk == r.cfg.Trunk && is.User == r.cfg.User+"@"+r.cfg.Domain
}

func sameHops(a, b []Hop) bool {
	return slices.EqualFunc(a, b, func(x, y Hop) bool {
		return x.ID == y.ID && x.Priority == y.Priority && x.Weight == y.Weight
	})
}

func sameAccount(a, b *tu.Account) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Same(b) && slices.Equal(a.Realms, b.Realms)
}

func (r *Registration) index(id string) int {
	return slices.IndexFunc(r.order, func(h tu.Hop) bool { return h.ID == id })
}

func (r *Registration) knows(id string) bool { return r.index(id) >= 0 }

// Lost hears that a connection is gone: calls would have come by it. If that is news, a Tick must follow.
func (r *Registration) Lost(f nat.Flow) (news bool) {
	i := r.index(r.taken)
	if i < 0 {
		return false
	}
	on := r.order[i].Flow
	if r.state == tu.Registered && f.Transport == on.Transport && f.Remote == on.Remote && f.Class == on.Class {
		r.soon = true // RFC 5626 §4.5: a flow that has failed is replaced
		return true
	}
	return false
}

// Recovered hears that a hop of the registrar answers again, or for the first time. Whoever has refused us lives anyway, and will refuse
// us again. If that is news, a Tick must follow.
func (r *Registration) Recovered(id string) (news bool) {
	if r.state == tu.Refused && r.mute && r.knows(id) {
		r.soon = true // no need to wait out the back-off
		return true
	}
	return false
}

// Answers hears that a hop of the registrar has answered something. One that could not even be reached when we asked it can be now, though
// it was away for so short a time that nobody else has noticed: it has lost our connection, and may have forgotten us. If that is news, a
// Tick must follow.
func (r *Registration) Answers(id string) (news bool) {
	return r.answer == unreachable && r.Recovered(id)
}

// Deadline is when something is due: there always is, until the end.
func (r *Registration) Deadline() time.Time {
	switch {
	case r.ended:
		return time.Time{}
	case !r.leaving.IsZero():
		return r.leaving
	}
	due := r.next
	if r.ref != 0 {
		due = r.out.Add(giveUp)
	}
	if !r.until.IsZero() && r.until.Before(due) {
		due = r.until
	}
	return due
}

// Step registers, and keeps it so.
func (r *Registration) Step(now time.Time, ev tu.Event, do []tu.Action) []tu.Action {
	if r.ended {
		return do
	}
	switch ev := ev.(type) {
	case tu.Hangup:
		do = r.leave(now, do)
	case tu.Tick:
		do = r.tick(now, do)
	case tu.Answered:
		if ev.Ref != r.ref || ev.Msg.Status < 200 {
			return do
		}
		r.ref = 0
		r.look(ev.Msg)
		if !r.leaving.IsZero() {
			do = r.released(now, ev.Msg, do)
		} else {
			do = r.judge(now, ev.Msg, do)
		}
	case tu.Failed:
		if ev.Ref != r.ref {
			return do
		}
		r.ref = 0
		do = r.unanswered(now, ev, do)
	}
	if r.soon && r.ref == 0 && !r.next.IsZero() {
		r.soon = false
		r.hurry(now)
	}
	return r.tell(do)
}

// Abort ends the registration without another word.
func (r *Registration) Abort(_ time.Time, do []tu.Action) []tu.Action {
	r.ended = true
	return append(do, tu.End{})
}

func (r *Registration) tick(now time.Time, do []tu.Action) []tu.Action {
	if !r.leaving.IsZero() {
		if !now.Before(r.leaving) {
			r.answer = noAnswer
			return r.end(do)
		}
		return do
	}
	if !r.until.IsZero() && !now.Before(r.until) {
		r.until, r.routes, r.bound = time.Time{}, nil, message.URI{}
		if r.state == tu.Registered {
			r.state = tu.Unregistered
		}
	}
	switch {
	case r.next.IsZero():
		r.soon = false
		r.next = now.Add(r.ids.Between(0, spread)) // a hundred trunks that start together must not ask together
	case r.ref != 0:
		if !now.Before(r.out.Add(giveUp)) {
			r.ref = 0
			do = r.failed(now, noAnswer, do)
			r.mute = true
			return do
		}
	case !now.Before(r.next):
		return r.begin(now, do)
	}
	return do
}

// leave takes the binding back (RFC 3261 §10.2.2), if there may be one, and ends.
func (r *Registration) leave(now time.Time, do []tu.Action) []tu.Action {
	if !r.leaving.IsZero() {
		return do
	}
	r.leaving = now.Add(farewell)
	switch {
	case r.ref != 0:
		// "UAs MUST NOT send a new registration … until they have received a final response from the registrar for the previous
		// one or the previous REGISTER request has timed out" (RFC 3261 §10.2).
		return do
	case r.until.IsZero() && !r.unsure || r.at.Peer == nil:
		return r.end(do)
	}
	if i := r.index(r.taken); i >= 0 && !r.until.IsZero() {
		r.at = r.order[i]
	}
	r.tries = 0
	return r.ask(now, do)
}

// end says the last word.
func (r *Registration) end(do []tu.Action) []tu.Action {
	r.ended, r.ref, r.next = true, 0, time.Time{}
	r.state, r.until, r.routes, r.bound = tu.Unregistered, time.Time{}, nil, message.URI{}
	return append(do, r.report(), tu.End{})
}

// report is how it stands.
func (r *Registration) report() tu.Registration {
	out := tu.Registration{
		Trunk: r.cfg.Trunk, User: r.cfg.User + "@" + r.cfg.Domain, State: r.state, Hop: cmp.Or(r.taken, r.at.ID), Until: r.until, Routes: r.routes, Realms: r.realms,
		Seen: r.seen.at, Doubt: r.doubt, Answer: r.answer, Failed: r.fails, Wrong: r.wrong,
	}
	if r.ref == 0 {
		out.Next = r.next
	} else if r.state != tu.Registered && r.fails == 0 {
		out.State = tu.Registering
	}
	if r.until.IsZero() {
		out.Hop = r.at.ID
	}
	return out
}

// tell reports what is news, and leaves evidence of what changes.
func (r *Registration) tell(do []tu.Action) []tu.Action {
	if r.ended {
		return do
	}
	is := r.report()
	if same(&is, &r.told) {
		return do
	}
	if is.Answer != r.told.Answer && is.Answer != "" && r.at.Peer != nil {
		do = append(do, r.note(is.State))
	}
	r.told = is
	return append(do, is)
}

func same(a, b *tu.Registration) bool {
	return a.State == b.State && a.Hop == b.Hop && a.Until.Equal(b.Until) && a.Next.Equal(b.Next) && slices.Equal(a.Routes, b.Routes) &&
		slices.Equal(a.Realms, b.Realms) && a.Seen == b.Seen && a.Doubt == b.Doubt && a.Answer == b.Answer && a.Failed == b.Failed && a.Wrong == b.Wrong
}

var _ tu.User = (*Registration)(nil)
