package registrar

import (
	"net/netip"
	"slices"
	"strconv"
	"time"

	"sallyport/nat"
	"sallyport/sbc/header"
	"sallyport/sbc/message"
)

// Throttling: with Settings.Inside the PBX is asked for a long lifetime, and most refreshes of the short one that the phone
// has are answered here. Nobody checks a password then. So that nothing can be had by it, such an answer says again what the
// PBX has granted already, to the very flow that it was granted to, and for no longer: it makes no binding, moves none and
// changes none but for the hour at which the phone must be heard again. All else goes to the PBX.

// Figures count what became of REGISTERs.
type Figures struct {
	Local  uint64 // answered here
	Passed uint64 // sent to the PBX, those that it challenged too
}

// Figures are those since the start.
func (b *Book) Figures() Figures { return b.figures }

// Local answers a REGISTER in the PBX's place if it is the refresh of a binding that stands there long enough yet. It
// reports false, and has changed nothing, for one that goes to the PBX. fields are those of the 200.
func (s *Settings) Local(now time.Time, flow nat.Flow, m *message.Message) (out Outcome, fields []message.Header, ok bool) {
	on := s.Book.flows[flow] // the exact flow comes first: it is a stranger's quickest way out
	if s.Inside <= 0 || s.Reauthenticate <= 0 || len(on) == 0 || m.From.URI != m.To.URI || m.To.URI.Scheme == "tel" ||
		m.MaxForwards == 0 || len(header.Unsupported(m)) > 0 {
		return out, nil, false
	}
	aor := m.To.URI.AoR(s.Domain)
	var room [1]asked
	w := wish{list: room[:0]}
	if aor == "" || s.Book.busy[aor] > 0 || w.read(m, room[:0]) != "" || w.star || len(w.list) != 1 || w.list[0].removal() {
		return out, nil, false
	}
	a := &w.list[0]
	for _, b := range on {
		if b.AoR == aor && b.CallID == m.CallID && m.CSeq > b.CSeq && a.repeats(b) {
			if e := s.Book.tokens[b.Token]; s.stands(now, e) {
				s.Book.heard(now)
				kept := s.extend(now, e, a, m.CSeq)
				ua, _ := m.Get("User-Agent")
				return Outcome{AoR: aor, Flow: flow, UserAgent: cut(ua), Code: 200, Phrase: message.Phrase(200), Local: true}, s.listed(now, kept), true
			}
			return out, nil, false
		}
	}
	return out, nil, false
}

// repeats reports whether a Contact is that of a binding to the letter: one that was equal but for its spelling (RFC 3261
// §19.1.4) might mean something else to the PBX.
func (a *asked) repeats(b *Binding) bool {
	return a.contact == b.Contact && a.instance == b.Instance && a.q == b.Q
}

// stands reports whether the PBX holds a binding for long enough, and has vouched for it lately.
func (s *Settings) stands(now time.Time, e *entry) bool {
	b := e.b
	switch {
	case b.Lost || e.owed || !b.Told.IsValid():
		return false
	case b.ExpiresPBX.Sub(now) <= 2*s.Outside:
		return false
	case now.Before(b.Accepted) || !now.Before(s.due(b)):
		return false
	}
	return s.Moves == nil || !s.Moves(b)
}

// due is when a binding is to be shown to the PBX again: at its own moment within each span of Reauthenticate, so that phones
// which have registered all at once do not come back all at once. That is never later than so long after the PBX has
// accepted it, and early enough that its lifetime there does not run out first.
func (s *Settings) due(b *Binding) time.Time {
	granted := b.ExpiresPBX.Sub(b.Accepted)
	every := min(s.Reauthenticate, max(granted-3*s.Outside, granted/2))
	if every <= 0 {
		return b.Accepted
	}
	// The moments are counted from the epoch in wall time: they are the same after a restart.
	n := uint64(every)
	wait := (spread(b.Token)%n + n - uint64(b.Accepted.UnixNano())%n) % n
	if wait == 0 {
		wait = n
	}
	return b.Accepted.Add(time.Duration(wait))
}

// spread is a number of a token (FNV-1a, and a final mix). Who could choose it would choose the moment of his own phone.
func spread(token string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(token) {
		h = (h ^ uint64(token[i])) * 1099511628211
	}
	h ^= h >> 32
	h *= 0x9e3779b97f4a7c15
	return h ^ h>>29
}

// extend gives a binding another outside lifetime, within what the PBX has granted: it has twice as much left.
func (s *Settings) extend(now time.Time, e *entry, a *asked, cseq uint32) *Binding {
	next := *e.b
	next.CSeq, next.Refreshed = cseq, now
	next.Expires = now.Add(s.told(a, uint32(next.ExpiresPBX.Sub(now)/time.Second)))
	next.Local++
	s.Book.figures.Local++
	e.free()
	s.Book.swap(e, &next)
	return &next
}

// listed are the Contacts of a phone and their lifetimes as the 200 has them (RFC 3261 §10.3 step 8).
func (s *Settings) listed(now time.Time, own *Binding) (fields []message.Header) {
	least := time.Duration(-1)
	for _, b := range s.Book.aors[own.AoR] {
		if b.CallID != own.CallID || b.Flow != own.Flow || b.Lost || !b.Expires.After(now) || !b.ExpiresPBX.After(now) {
			continue
		}
		left := max(b.Expires.Sub(now).Truncate(time.Second), time.Second)
		if least < 0 || left < least {
			least = left
		}
		fields = append(fields, message.Header{Name: "Contact", Value: b.towardsPhone(left)})
	}
	return append(fields, message.Header{Name: "Expires", Value: strconv.FormatInt(int64(least/time.Second), 10)})
}

// told is the expiry that a phone is told for a Contact of which the PBX has granted so many seconds.
func (s *Settings) told(a *asked, granted uint32) time.Duration {
	d := time.Duration(granted) * time.Second
	if s.Inside > 0 {
		d = min(d, time.Duration(a.expires)*time.Second) // the PBX was asked for more than the phone
	}
	if most := s.Outside.Truncate(time.Second); most > 0 {
		d = min(d, most)
	}
	return d
}

// asks is the expiry that the PBX is asked for, in seconds.
func (s *Settings) asks(a *asked) uint32 {
	if s.Inside <= 0 || a.removal() {
		return a.expires
	}
	return max(uint32(s.Inside/time.Second), s.Book.least)
}

// leastMost bounds what the PBX may ask for by a 423, in seconds: a registrar has no business to insist on more than an hour (RFC
// 3261 §10.3 step 7), and a day is patience enough with one that does.
const leastMost = 86_400

// tooBrief hears that the PBX wants a longer lifetime than was asked for. The next REGISTERs ask for that. This one's phone is
// told as the PBX said, and tries again (RFC 3261 §10.2.8): to repeat its request here would take a CSeq that is the phone's
// to use, and credentials that are spent.
func (r *Register) tooBrief(m *message.Message) (told bool) {
	v, ok := m.Get("Min-Expires")
	if !ok || r.set.Inside <= 0 {
		return false
	}
	n := seconds(v)
	if n <= uint32(r.set.Inside/time.Second) || n <= r.set.Book.least || n > leastMost {
		return false
	}
	r.set.Book.least = n
	return true
}

// enlist notes that a REGISTER of an address-of-record is on its way to the PBX: what becomes of its bindings is not known
// before that has answered. Those of the phone itself are owed an answer of the PBX from now on: whatever it says, a challenge
// too, the next word of it must come from the PBX again, until it has accepted one.
func (r *Register) enlist() {
	book := r.set.Book
	bound := book.aors[r.aor]
	if len(bound) == 0 {
		return // strangers, and first registrations
	}
	if book.busy == nil {
		book.busy = map[string]int{}
	}
	book.busy[r.aor]++
	r.enlisted = true
	own := func(b *Binding) bool { return b.Flow == r.flow && b.CallID == r.msg.CallID }
	if r.wish.star {
		for _, b := range bound {
			if own(b) {
				book.tokens[b.Token].owed = true
			}
		}
	}
	for i := range r.wish.list {
		if a := &r.wish.list[i]; a.entry != nil && own(a.entry.b) {
			a.entry.owed = true
		}
	}
	if len(r.wish.list) == 1 {
		if a := &r.wish.list[0]; a.entry != nil && own(a.entry.b) && !a.removal() && r.msg.CSeq > a.entry.b.CSeq && !a.entry.b.Lost {
			r.mine = a.entry
			r.mine.asking++
		}
	}
}

// delist notes that it has its answer.
func (r *Register) delist() {
	if !r.enlisted {
		return
	}
	r.enlisted = false
	less(r.set.Book.busy, r.aor)
	if r.mine != nil {
		r.mine.asking--
	}
	if c := r.said.code; r.said.node != "" && c >= 400 && (c != 401 && c != 407 || r.authorised()) {
		r.unvouched()
	}
}

// unvouched notes of the phone's bindings that the PBX has refused it, so that a restart does not forget it: what a node was told is
// as good as unknown then, and the phone's next REGISTER goes there.
func (r *Register) unvouched() {
	book := r.set.Book
	for _, b := range slices.Clone(book.aors[r.aor]) {
		if e := book.tokens[b.Token]; e.owed && b.Flow == r.flow && b.CallID == r.msg.CallID && b.Told.IsValid() {
			next := *b
			next.Told = netip.AddrPort{}
			book.swap(e, &next)
		}
	}
}
