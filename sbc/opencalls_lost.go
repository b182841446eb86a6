package sbc

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"go.uber.org/zap"

	"sallyport/media"
	"sallyport/nat"
	"sallyport/sbc/cdr"
	"sallyport/sbc/core"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// lostCalls are what a run that has crashed left in the journal.
type lostCalls struct {
	calls   map[string]*lostCall
	streams map[media.ID]*lostCall // those that the media process still serves
	unknown map[media.ID]bool      // that it serves and that no call of the journal has
	checked bool                   // the files of records have been looked through
}

// lostCall is a call whose signalling is gone. Its record is written once its last stream has ended.
type lostCall struct {
	openEntry
	waits map[media.ID]bool
}

// compare finds out which calls of before have their record: those that ended just before the crash.
func (o *openCalls) compare() {
	since, names := o.now(), map[string]bool{}
	o.mu.Lock()
	for name, l := range o.lost.calls {
		names[name] = true
		if l.CDR.Start.Before(since) {
			since = l.CDR.Start
		}
	}
	o.mu.Unlock()
	var found map[string]bool
	if len(names) > 0 && o.files != nil {
		var err error
		if found, err = cdr.Find(o.snap.Load().CDR, since, names); err != nil {
			o.log.Warn("whether calls of before this start have their records cannot be found out: some may have two", zap.Error(err))
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for name := range found {
		for id := range o.lost.calls[name].waits { // the crash came between its record and the word to the media process
			delete(o.lost.streams, id)
			o.plane.Release(o.now(), id)
		}
		delete(o.lost.calls, name)
		o.put(name, nil)
	}
	o.lost.checked = true
}

// adopt divides what the media process goes on with among the calls of the journal.
func (o *openCalls) adopt(now time.Time) {
	o.lost.streams, o.lost.unknown = map[media.ID]*lostCall{}, map[media.ID]bool{}
	by := map[media.ID]*lostCall{}
	for _, l := range o.lost.calls {
		l.waits = map[media.ID]bool{}
		for _, id := range l.Streams {
			by[id] = l
		}
	}
	for _, orphan := range o.plane.Orphans() {
		l := by[orphan.ID]
		switch {
		case l == nil:
			o.lost.unknown[orphan.ID] = true
		case l.Ended:
			o.plane.Release(now, orphan.ID)
		default:
			l.waits[orphan.ID] = true
			o.lost.streams[orphan.ID] = l
		}
	}
}

// freed hears that a stream of before has ended.
func (o *openCalls) freed(id media.ID, last *[2]media.LegStats) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if l := o.lost.streams[id]; l != nil {
		l.see(id, last)
		delete(l.waits, id)
		delete(o.lost.streams, id)
		return
	}
	if o.lost.unknown[id] {
		delete(o.lost.unknown, id)
		o.log.Warn("a call of before this start has ended; it has no record, for it began right before the crash",
			zap.Uint64("packets_outside", last[nat.Outside].Packets), zap.Uint64("packets_inside", last[nat.Inside].Packets))
	}
}

// see takes a stream's figures. A media process that was lost meanwhile has none to give: those of before stay.
func (l *lostCall) see(id media.ID, legs *[2]media.LegStats) (news bool) {
	i := slices.Index(l.Streams, id)
	if i < 0 {
		return false
	}
	for len(l.CDR.Media) <= i {
		l.CDR.Media = append(l.CDR.Media, tu.StreamStats{})
	}
	of := &l.CDR.Media[i]
	now := core.Figures(legs, *of)
	if after, before := packetsOf(&now), packetsOf(of); after >= before {
		news = !l.Told || after > before
		*of, l.Told = now, true
	}
	for side := range legs {
		if at := legs[side].LastSeen; at.After(l.Seen) {
			l.Seen, news = at, true
		}
	}
	return news
}

// packetsOf tells earlier figures from later ones.
func packetsOf(s *tu.StreamStats) (n uint64) {
	for _, l := range [...]*tu.LegStats{&s.Outside, &s.Inside} {
		n += l.Packets + l.Sent + l.Rejected
	}
	return n
}

// watchOrphans keeps what the calls of before have come to, in case both processes are lost next. The core may want mu, so it
// is held for one of them at a time.
func (o *openCalls) watchOrphans() {
	o.mu.Lock()
	going := slices.Collect(maps.Keys(o.lost.streams))
	o.mu.Unlock()
	for _, id := range going {
		legs, ok := o.plane.Stats(id)
		if !ok {
			continue // it has ended; the sweep tells of it
		}
		o.mu.Lock()
		if l := o.lost.streams[id]; l != nil && l.see(id, &legs) {
			o.putLost(l.CDR.Call, l)
		}
		o.mu.Unlock()
	}
}

// putLost notes what is known of a call of before. The caller holds mu.
func (o *openCalls) putLost(name string, l *lostCall) {
	e := l.openEntry
	e.CDR.Media = slices.Clone(e.CDR.Media)
	o.put(name, &e)
}

// settle writes the records of calls of before of which nothing goes on.
func (o *openCalls) settle() {
	o.mu.Lock()
	var over []tu.CDR
	if o.lost.checked {
		for name, l := range o.lost.calls {
			if len(l.waits) == 0 {
				over = append(over, l.close())
				o.end(over[len(over)-1])
				delete(o.lost.calls, name)
			}
		}
	}
	o.mu.Unlock()
	slices.SortFunc(over, func(a, b tu.CDR) int { return a.End.Compare(b.End) })
	for _, r := range over {
		o.assembly.write(r)
	}
}

// close is the record of a call whose signalling is gone. Whoever had not been answered heard nothing any more, which is a
// 408 to him (RFC 3261 §8.1.3.1).
func (l *lostCall) close() tu.CDR {
	r := l.CDR
	if l.Ended {
		return r
	}
	r.Reason, r.EndedBy, r.Code = reason.SignallingLost, "sbc", 408
	if !l.Told {
		r.Media = nil // zeros would be a lie
	}
	r.End = l.Seen
	if r.End.IsZero() {
		r.End = l.Lost
	}
	for _, at := range []time.Time{r.Start, r.Ringing, r.Answer} {
		if at.After(r.End) {
			r.End = at
		}
	}
	if !r.Answer.IsZero() {
		r.Code, r.Duration = 200, r.End.Sub(r.Answer).Seconds()
	}
	return r
}

// announce says what a crash has left.
func (o *openCalls) announce() {
	o.mu.Lock()
	open, going := len(o.lost.calls), map[*lostCall]bool{}
	for _, l := range o.lost.streams {
		going[l] = true
	}
	unknown := len(o.lost.unknown)
	o.mu.Unlock()
	if open > 0 {
		o.log.Warn(fmt.Sprintf("%d calls of before this start have no record yet: %d of them still have audio, their records follow when they are silent",
			open, len(going)))
	}
	if unknown > 0 {
		o.log.Warn(fmt.Sprintf("%d streams of before this start belong to calls that nothing is known of: they have no record", unknown))
	}
}
