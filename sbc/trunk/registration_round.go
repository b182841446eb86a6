package trunk

import (
	"cmp"
	"slices"
	"time"

	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// shuffled is an order to try hops in: by priority, those of one priority by chance as their weights say (RFC 2782).
func (r *Registration) shuffled(hops []Hop) []tu.Hop {
	rest := slices.Clone(hops)
	slices.SortStableFunc(rest, func(a, b Hop) int { return cmp.Compare(a.Priority, b.Priority) })
	var order []tu.Hop
	for len(rest) > 0 {
		n, total := 0, 0
		for ; n < len(rest) && rest[n].Priority == rest[0].Priority; n++ {
			total += max(rest[n].Weight, 0)
		}
		i, draw := 0, int(r.ids.Number())%(total+1)
		for ; i < n-1 && draw > max(rest[i].Weight, 0); i++ {
			draw -= max(rest[i].Weight, 0)
		}
		order = append(order, rest[i].Hop)
		rest = slices.Delete(rest, i, i+1)
	}
	return order
}

// hurry brings the next round forward: at once when it is the first such, later and later when it goes on so. A registrar that
// shuts connections, or a NAT that gives every packet another port, must not make us a flood.
func (r *Registration) hurry(now time.Time) {
	at := r.began.Add(r.pause())
	if now.After(at) {
		at = now
	}
	if at.Before(r.next) {
		r.next, r.forced = at, true
	}
}

// pause is the least time between a round and one that comes before its time.
func (r *Registration) pause() time.Duration {
	return min(shortestRest<<min(r.hasty, 10), max(r.asks/2, shortestRest))
}

// quietAfter is so many pauses without a round, after which what was is forgotten: a registrar that shuts connections which are idle for
// some minutes does so for ever, and calls do not come in until we are there again.
const quietAfter = 8

// begin starts a round over the hops.
func (r *Registration) begin(now time.Time, do []tu.Action) []tu.Action {
	switch {
	case !r.forced:
		r.hasty = 0
	case now.Sub(r.began) >= quietAfter*r.pause():
		r.hasty = 1
	default:
		r.hasty++
	}
	r.forced, r.began = false, now
	r.round = slices.Clone(r.order)
	// "Registration refreshes SHOULD be sent to the same network address as the original registration" (RFC 3261 §10.2.4); a hop
	// that was only the second choice is left for the first one from time to time.
	if i := r.index(r.taken); i > 0 && !(r.lesser(i) && now.Sub(r.came) >= returnAfter) {
		r.round = append([]tu.Hop{r.order[i]}, slices.Delete(r.round, i, i+1)...)
	} else if i > 0 {
		r.came = now
	}
	if len(r.round) == 0 {
		return r.failed(now, "no address known", do)
	}
	return r.nextHop(now, "", do)
}

// lesser reports whether a hop of the order has another priority than the first.
func (r *Registration) lesser(i int) bool {
	priority := func(id string) int {
		return r.cfg.Hops[slices.IndexFunc(r.cfg.Hops, func(h Hop) bool { return h.ID == id })].Priority
	}
	return priority(r.order[i].ID) > priority(r.order[0].ID)
}

// nextHop asks the next hop of the round; what was said of the last one is why the round fails if there is none.
func (r *Registration) nextHop(now time.Time, said string, do []tu.Action) []tu.Action {
	for len(r.round) > 0 {
		hop := r.round[0]
		r.round = r.round[1:]
		if r.rests[hop.ID].After(now) {
			// "the client … SHOULD [not] forward any other requests to that server for the duration specified in the Retry-After"
			// (RFC 3261 §21.5.4).
			continue
		}
		delete(r.rests, hop.ID)
		r.at, r.tries, r.raised = hop, 0, false
		r.unraise()
		if r.maybe.hop != hop.ID {
			r.maybe = glimpse{} // somebody else's
		}
		return r.ask(now, do)
	}
	do = r.failed(now, cmp.Or(said, r.answer), do)
	r.mute = true
	return do
}

// unanswered hears that the question has no answer.
func (r *Registration) unanswered(now time.Time, ev tu.Failed, do []tu.Action) []tu.Action {
	if !r.leaving.IsZero() {
		r.answer = noAnswer
		return r.end(do)
	}
	switch {
	case ev.Why != reason.Timeout: // our own table was full: that says nothing of the registrar
		r.next = now.Add(r.ids.Between(shortestRest, 2*shortestRest))
		return do
	case ev.Code == 503:
		return r.nextHop(now, unreachable, do)
	}
	r.unsure = true
	return r.nextHop(now, noAnswer, do)
}

// failed ends a round that came to nothing.
func (r *Registration) failed(now time.Time, said string, do []tu.Action) []tu.Action {
	r.fails++
	r.state, r.answer, r.round, r.maybe, r.mute = tu.Refused, said, nil, glimpse{}, false
	r.next = now.Add(r.backOff())
	var rested time.Time // when the first of them may be asked again
	for i := range r.order {
		if at := r.rests[r.order[i].ID]; i == 0 || at.Before(rested) {
			rested = at
		}
	}
	if rested.After(r.next) {
		r.next = rested.Add(r.ids.Between(0, spread))
	}
	return do
}

// backOff is the wait after failures in a row. "The upper-bound wait time … W = min(max-time, (base-time * (2 ^ consecutive-
// failures)))", and of it "a uniform random time between 50 and 100 %" (RFC 5626 §4.5). What a registrar bears while all is well
// it bears then: we ask no more seldom than we would refresh.
func (r *Registration) backOff() time.Duration {
	if r.wrong {
		return r.ids.Between(slowly*2/3, slowly)
	}
	w := min(maxTime, max(r.asks, 2*baseTime), baseTime<<min(r.fails, 10))
	return r.ids.Between(w/2, w)
}
