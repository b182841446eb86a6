package registrar

import "time"

// Grace: an outage that phones have no part in must not empty the Book. When it is over thousands of them come back within
// a minute, each in a patience of its own (up to half an hour, RFC 5626 §4.5), and until then the PBX, which knows of no outage
// outside, sends their calls here. So a binding whose time is over in an outage is kept, for Settings.Grace at most and
// never beyond what the PBX has granted:
//
//   - The PBX is out: a refresh by the phone itself (its flow, Call-ID and Contact, a higher CSeq) found no node that answers. One
//     that the PBX refuses ends that.
//   - Our own way to the Internet is out: of all phones nothing is heard any more, so long that it cannot be chance. See quiet.
//   - We were out: what was bound when the program ended, and has expired before it started again.
//
// A connection that is gone is no way to a phone: such a binding is never kept. A kept one is as it was, and answers to nobody
// else: whoever wants it elsewhere must satisfy the PBX. It gives way where an address-of-record has too many.

// The signs of an outage of our own way.
const (
	outageFlows   = 8               // with fewer phones their silence may be their own
	outageMissing = 30              // REGISTERs that should have come
	outageLeast   = 5 * time.Second // of silence, whatever their number
	outageLook    = 2 * time.Second // how long a doubt waits for the next look
)

// outage is what is known of our way to the phones.
type outage struct {
	last     time.Time // a phone was heard
	now      bool
	from, to time.Time // of the one that goes on, or the last
}

// Hold sets how long bindings outlive an outage, and what phones are told at most.
func (b *Book) Hold(grace, outside time.Duration) {
	b.spare, b.outside = max(grace, 0), max(outside, 0)
}

// heard notes that a registered phone was heard.
func (b *Book) heard(now time.Time) {
	if b.outage.now {
		b.outage.now, b.outage.to = false, now
	}
	b.outage.last = now
}

// quiet reports how it stands with the silence of all phones: that it cannot be chance, or that it may become so. Thirty
// REGISTERs that do not come, where all come by themselves, are no chance; nor is it one that every single phone is late.
// Phones behind one address may well have lost their own way.
func (b *Book) quiet(now time.Time) (sure, doubt bool) {
	if b.outage.now {
		return true, false
	}
	silence := now.Sub(b.outage.last)
	if b.outside <= 0 || len(b.flows) < outageFlows || len(b.sources) < 2 || b.outage.last.IsZero() || silence < outageLeast {
		return false, false
	}
	if silence > b.outside+Grace || int64(silence)*int64(len(b.flows))/int64(b.outside) >= outageMissing {
		b.outage.now, b.outage.from = true, b.outage.last
		return true, false
	}
	return false, true
}

// until is how long the binding of an entry, whose time is over, is kept yet; the zero time: not at all.
func (b *Book) until(now time.Time, e *entry) time.Time {
	x := e.b
	last := x.Expires.Add(b.spare)
	if x.ExpiresPBX.Before(last) {
		last = x.ExpiresPBX
	}
	if b.spare <= 0 || x.Lost || !last.After(now) {
		return time.Time{}
	}
	sure, doubt := b.quiet(now)
	missed := x.Refreshed.Before(b.outage.to) && x.Expires.After(b.outage.from)
	switch {
	case e.held, sure, missed:
		e.held = true
		return last
	case doubt, e.asking > 0:
		if look := now.Add(outageLook); look.Before(last) {
			return look
		}
		return last
	}
	return time.Time{}
}

// free ends what an outage has kept: the phone is heard again.
func (e *entry) free() { e.held, e.kept = false, time.Time{} }

// Held reports whether a binding is kept beyond what its phone was told, and until when.
func (b *Book) Held(token string) (until time.Time, ok bool) {
	e := b.tokens[token]
	if e == nil || !e.held || e.kept.IsZero() {
		return time.Time{}, false
	}
	return e.kept, true
}

// vouch keeps the phone's binding, since no node of the PBX could say anything of it.
func (r *Register) vouch() {
	if r.mine != nil && r.set.Book.tokens[r.mine.b.Token] == r.mine {
		r.mine.held = true
		r.set.Book.countHeld(r.mine)
	}
}

// disown takes that back: the PBX lives, and says something else.
func (r *Register) disown() {
	if r.mine == nil || r.set.Book.tokens[r.mine.b.Token] != r.mine {
		return
	}
	r.mine.free()
	r.set.Book.countHeld(r.mine)
	r.set.Book.clock.set(r.mine)
}
