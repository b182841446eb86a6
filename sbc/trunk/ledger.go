package trunk

import (
	"net/netip"
	"slices"
	"time"

	"sallyport/sbc/tu"
)

// Scope is what places are counted of.
type Scope uint8

// The scopes.
const (
	OfTrunk Scope = iota
	OfGroup       // of trunks
	OfNode
	OfPhone  // an address-of-record
	OfSource // a phone's source address
)

// String is the scope's name in reasons and listings.
func (s Scope) String() string {
	return [...]string{"trunk", "trunk group", "node", "phone", "source"}[s%5]
}

// Key names one whose places are counted: by its name, or, a source, by its address.
type Key struct {
	Of   Scope
	Name string
	Addr netip.Addr
}

// String names it in reasons.
func (k Key) String() string {
	if k.Of == OfSource {
		return k.Of.String() + " " + k.Addr.String()
	}
	return k.Of.String() + " " + k.Name
}

// Bound is how many places there are; 0: as many as are wanted.
type Bound struct {
	Calls     int
	PerSecond int // calls that begin within any second
	Code      int // what a call hears that finds no place; 0: the default
}

// Bounds are those of a configuration.
type Bounds struct {
	Lines  map[Key]Bound // of every trunk, group and node, bounded or not: they are counted
	Phone  int           // calls of one address-of-record
	Source int           // calls of one source address
}

func (b *Bounds) of(k Key) Bound {
	switch k.Of {
	case OfPhone:
		return Bound{Calls: b.Phone}
	case OfSource:
		return Bound{Calls: b.Source}
	default:
		return b.Lines[k]
	}
}

// Claim is the wish for a place.
type Claim struct {
	User tu.UserID
	Ref  tu.Ref // of the INVITE that begins the leg; 0: the caller's, which has come to us
	Leg  string // the Call-ID of the leg: INVITEs of one leg to one trunk are one call of it
	Keys [2]Key // whose place it takes; an empty one is none
	Hop  string // Hop.ID of where the INVITE goes
	// Free calls are counted and never refused: emergency calls, and legs that take another one's place.
	Free bool
}

// Shortage says why there is no place.
type Shortage struct {
	Key   Key
	Bound Bound
	Rate  bool // too many within a second; else too many at a time
}

// placeOf is a place that is taken.
type placeOf struct {
	Claim
	heard Word
}

// tenant is a user with its places.
type tenant struct{ places []placeOf }

// Ledger knows who holds which place. A place is taken once and given back once, whatever order the ends of a call come in. It
// belongs to whoever has the core's turn.
type Ledger struct {
	began   time.Time
	bounds  Bounds
	tenants map[tu.UserID]*tenant
	spare   []*tenant
	lines   map[Key]*line // trunks, groups, nodes
	calls   map[Key]int   // phones, sources
	places  int
}

// line is the count of a trunk, a group or a node.
type line struct {
	now, high int
	starts    []time.Duration // the last beginnings, as many as may be within a second; a ring
	at        int             // the oldest of them, once the ring is full
	second    time.Duration   // when the count of this second began
	n, last   int             // beginnings in this second, and in the one before
}

// sparesMost bounds the tenants that are kept for the next calls.
const sparesMost = 256

// NewLedger makes an empty one.
func NewLedger(now time.Time, bounds Bounds) *Ledger {
	l := &Ledger{began: now, tenants: map[tu.UserID]*tenant{}, lines: map[Key]*line{}, calls: map[Key]int{}}
	l.SetBounds(bounds)
	return l
}

// SetBounds puts other bounds in force. Nobody loses a place by it; what began within the last second still counts.
func (l *Ledger) SetBounds(bounds Bounds) {
	l.bounds = bounds
	for k := range bounds.Lines {
		if l.lines[k] == nil {
			l.lines[k] = &line{}
		}
	}
	for k, x := range l.lines {
		if _, kept := bounds.Lines[k]; !kept && x.now == 0 {
			delete(l.lines, k)
			continue
		}
		x.resize(bounds.Lines[k].PerSecond)
	}
}

// resize gives the ring room for another number of beginnings and keeps the latest.
func (x *line) resize(most int) {
	if most == cap(x.starts) {
		return
	}
	ordered := slices.Concat(x.starts[x.at:], x.starts[:x.at])
	ordered = ordered[max(0, len(ordered)-most):]
	x.starts, x.at = append(make([]time.Duration, 0, most), ordered...), 0
}

// free reports whether a call may begin at a moment: not if as many as may within a second have begun within the last one.
func (x *line) free(at time.Duration) bool {
	return cap(x.starts) == 0 || len(x.starts) < cap(x.starts) || at-x.starts[x.at] >= time.Second
}

func (x *line) begin(at time.Duration) {
	x.roll(at)
	x.n++
	switch {
	case cap(x.starts) == 0:
	case len(x.starts) < cap(x.starts):
		x.starts = append(x.starts, at)
	default:
		x.starts[x.at] = at
		x.at = (x.at + 1) % len(x.starts)
	}
}

func (x *line) roll(at time.Duration) {
	switch passed := at - x.second; {
	case passed >= 2*time.Second:
		x.second, x.n, x.last = at, 0, 0
	case passed >= time.Second:
		x.second, x.n, x.last = x.second+time.Second, 0, x.n
	}
}

// Take takes a place, at all that are named in the claim or at none. INVITEs of one leg hold one place together. ok is false where
// there is none; the shortage says whose.
func (l *Ledger) Take(now time.Time, c Claim) (none Shortage, ok bool) {
	t := l.tenants[c.User]
	if t.find(c.Ref) >= 0 {
		return none, true
	}
	at := now.Sub(l.began)
	for _, k := range c.Keys {
		if c.Free || k == (Key{}) || t.holds(c.Leg, k) {
			continue
		}
		bound := l.bounds.of(k)
		switch {
		case bound.Calls > 0 && l.Now(k) >= bound.Calls:
			return Shortage{Key: k, Bound: bound}, false
		case bound.PerSecond > 0 && !l.line(k).free(at):
			return Shortage{Key: k, Bound: bound, Rate: true}, false
		}
	}
	for i, k := range c.Keys {
		if k != (Key{}) && !t.holds(c.Leg, k) && !slices.Contains(c.Keys[:i], k) {
			l.enter(k, at)
		}
	}
	if t == nil {
		t = l.tenant(c.User)
	}
	t.places = append(t.places, placeOf{Claim: c})
	l.places++
	return none, true
}

func (l *Ledger) tenant(user tu.UserID) *tenant {
	var t *tenant
	if n := len(l.spare); n > 0 {
		t, l.spare = l.spare[n-1], l.spare[:n-1]
	} else {
		t = &tenant{}
	}
	l.tenants[user] = t
	return t
}

func (l *Ledger) line(k Key) *line {
	x := l.lines[k]
	if x == nil {
		x = &line{}
		x.resize(l.bounds.of(k).PerSecond)
		l.lines[k] = x
	}
	return x
}

func (l *Ledger) enter(k Key, at time.Duration) {
	if k.Of == OfPhone || k.Of == OfSource {
		l.calls[k]++
		return
	}
	x := l.line(k)
	x.begin(at)
	x.now++
	x.high = max(x.high, x.now)
}

func (l *Ledger) leave(k Key) {
	if k.Of == OfPhone || k.Of == OfSource {
		if l.calls[k]--; l.calls[k] <= 0 {
			delete(l.calls, k)
		}
		return
	}
	x := l.lines[k]
	x.now--
	if _, kept := l.bounds.Lines[k]; !kept && x.now == 0 {
		delete(l.lines, k) // of a trunk that the configuration no longer has
	}
}

// find is the place of an INVITE of the tenant; -1: it has none.
func (t *tenant) find(ref tu.Ref) int {
	if t == nil {
		return -1
	}
	for i := range t.places {
		if t.places[i].Ref == ref {
			return i
		}
	}
	return -1
}

// holds reports whether a leg has a place already.
func (t *tenant) holds(leg string, k Key) bool {
	if t == nil {
		return false
	}
	for i := range t.places {
		if p := &t.places[i]; p.Leg == leg && (p.Keys[0] == k || p.Keys[1] == k) {
			return true
		}
	}
	return false
}

// Return gives the place of an INVITE back. It reports false where there is none: it was given back, or never taken.
func (l *Ledger) Return(user tu.UserID, ref tu.Ref) bool {
	t := l.tenants[user]
	i := t.find(ref)
	if i < 0 {
		return false
	}
	p := t.places[i].Claim
	last := len(t.places) - 1
	copy(t.places[i:], t.places[i+1:])
	t.places[last] = placeOf{}
	t.places = t.places[:last]
	l.places--
	for i, k := range p.Keys {
		if k != (Key{}) && !t.holds(p.Leg, k) && !slices.Contains(p.Keys[:i], k) {
			l.leave(k)
		}
	}
	if last == 0 {
		l.retire(user, t)
	}
	return true
}

func (l *Ledger) retire(user tu.UserID, t *tenant) {
	delete(l.tenants, user)
	if len(l.spare) < sparesMost && cap(t.places) <= 8 {
		l.spare = append(l.spare, t)
	}
}

// ReturnAll gives all places of a user back.
func (l *Ledger) ReturnAll(user tu.UserID) {
	for t := l.tenants[user]; t != nil && len(t.places) > 0; {
		l.Return(user, t.places[len(t.places)-1].Ref)
	}
}

// Word is how much is known of what becomes of an INVITE.
type Word uint8

// The words.
const (
	Silent Word = iota
	Alive       // its hop has answered something, which is no judgement yet: 100
	Judged      // what is to be known of the hop by it is known
)

// Mark notes what is known of an INVITE with a place. It names the hop that it went to, "" for none, and what was known before.
func (l *Ledger) Mark(user tu.UserID, ref tu.Ref, w Word) (hop string, was Word) {
	t := l.tenants[user]
	i := t.find(ref)
	if i < 0 {
		return "", Silent
	}
	p := &t.places[i]
	was, p.heard = p.heard, max(p.heard, w)
	return p.Hop, was
}

// Now is how many places are taken.
func (l *Ledger) Now(k Key) int {
	if k.Of == OfPhone || k.Of == OfSource {
		return l.calls[k]
	}
	if x := l.lines[k]; x != nil {
		return x.now
	}
	return 0
}

// High is the most that were taken at a time, of a trunk, a group or a node.
func (l *Ledger) High(k Key) int {
	if x := l.lines[k]; x != nil {
		return x.high
	}
	return 0
}

// Rate is how many calls began within the last whole second, of a trunk, a group or a node.
func (l *Ledger) Rate(now time.Time, k Key) int {
	x := l.lines[k]
	if x == nil {
		return 0
	}
	x.roll(now.Sub(l.began))
	return x.last
}

// Bound is what is in force for somebody.
func (l *Ledger) Bound(k Key) Bound { return l.bounds.of(k) }

// Len is how many places are taken by all.
func (l *Ledger) Len() int { return l.places }

// Each yields the places that are taken.
func (l *Ledger) Each(yield func(*Claim) bool) {
	for _, t := range l.tenants {
		for i := range t.places {
			if !yield(&t.places[i].Claim) {
				return
			}
		}
	}
}
