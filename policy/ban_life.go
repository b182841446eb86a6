package policy

import (
	"container/heap"
	"errors"
	"fmt"
	"slices"
	"time"
)

// The bounds of what a ban carries, whoever made it or wherever it was read from.
const (
	maxAoR       = 80  // bytes
	maxBanText   = 200 // bytes of a reason, a name, a line of evidence
	maxEvidence  = 8   // lines
	mostBanCount = 100
)

// banEntry is a ban in force, or one that has ended and is not forgiven.
type banEntry struct {
	ban    *Ban
	living bool
	due    time.Time // when it ends, or is forgotten; zero: never
	at     int       // its place in the queue, -1: in none
}

// banQueue is a heap of entries by what is due first (container/heap).
type banQueue []*banEntry

// Len, Less, Swap, Push and Pop are what container/heap needs.
func (q banQueue) Len() int           { return len(q) }
func (q banQueue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }
func (q banQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].at, q[j].at = i, j
}

// Push appends an entry.
func (q *banQueue) Push(x any) {
	e := x.(*banEntry)
	e.at = len(*q)
	*q = append(*q, e)
}

// Pop takes the last entry off.
func (q *banQueue) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	e.at = -1
	return e
}

func (q *banQueue) add(e *banEntry) {
	if e.at = -1; !e.due.IsZero() {
		heap.Push(q, e)
	}
}

func (q *banQueue) take(e *banEntry) {
	if e.at >= 0 {
		heap.Remove(q, e.at)
	}
}

// put puts a ban in force in place of the one of its key. The caller holds the lock.
func (b *Bans) put(ban *Ban) {
	key := ban.key()
	if old := b.all[key]; old != nil {
		b.ends.take(old)
	}
	if old := b.past[key]; old != nil {
		b.forgets.take(old)
		delete(b.past, key)
	}
	e := &banEntry{ban: ban, living: true, due: ban.Until}
	b.all[key] = e
	b.ends.add(e)
	b.change(key, ban)
}

// change makes a new table in which the ban of a key is another one, or none.
func (b *Bans) change(key banKey, ban *Ban) {
	table := b.table.Load()
	if b.draft != nil {
		table = b.draft
	}
	node := &banNode{prefix: key.prefix}
	if old, there := table.Get(key.prefix); there {
		*node = *old
	}
	switch {
	case key.port != 0 || key.user != "":
		node.narrow = slices.DeleteFunc(slices.Clone(node.narrow), func(o *Ban) bool { return o.key() == key })
		if ban != nil {
			node.narrow = append(node.narrow, ban)
		}
	case key.auto:
		node.auto = ban
	default:
		node.hand = ban
	}
	empty := node.hand == nil && node.auto == nil && len(node.narrow) == 0
	switch {
	case b.draft != nil && empty:
		b.draft.Delete(key.prefix)
	case b.draft != nil:
		b.draft.Insert(key.prefix, node)
	case empty:
		b.table.Store(table.DeletePersist(key.prefix))
	default:
		b.table.Store(table.InsertPersist(key.prefix, node))
	}
}

// manyChanges is from how many changes on one copy of the whole table is cheaper than a table that shares most with the one
// before for each.
const manyChanges = 256

// inOneGo makes n changes to the table, which readers see together if they are many.
func (b *Bans) inOneGo(n int, f func()) {
	if n < manyChanges {
		f()
		return
	}
	b.draft = b.table.Load().Clone()
	f()
	b.table.Store(b.draft)
	b.draft = nil
}

// replace ends an automatic ban before its time, because one by hand stands in its place.
func (b *Bans) replace(now time.Time, e *banEntry) {
	early := *e.ban
	early.Until = now
	e.ban = &early
	b.end(e)
	if b.past[early.key()] != nil {
		b.news.add(early, kept)
	}
}

// end takes a ban out of force. One made from evidence is remembered until it is forgiven.
func (b *Bans) end(e *banEntry) {
	key := e.ban.key()
	b.ends.take(e)
	delete(b.all, key)
	b.change(key, nil)
	if forget := e.ban.forgotten(b.forgiving()); e.ban.Auto && !forget.IsZero() {
		b.remember(&banEntry{ban: e.ban, due: forget})
		return
	}
	b.news.add(*e.ban, gone)
}

// remember keeps what has ended. A full memory forgets what it would have forgotten first.
func (b *Bans) remember(e *banEntry) {
	if len(b.past) >= b.most {
		b.erase(b.forgets[0])
	}
	b.past[e.ban.key()] = e
	b.forgets.add(e)
}

// erase forgets a ban wholly, in force or not.
func (b *Bans) erase(e *banEntry) {
	key := e.ban.key()
	if e.living {
		b.ends.take(e)
		delete(b.all, key)
		b.change(key, nil)
	} else {
		b.forgets.take(e)
		delete(b.past, key)
	}
	b.news.add(*e.ban, gone)
}

// Expire forgets the bans that have ended. They stop counting at once when they end; this only frees their room. It
// costs nothing where nothing is due.
func (b *Bans) Expire(now time.Time) {
	b.mu.Lock()
	b.expire(now)
	b.mu.Unlock()
	b.news.deliver()
}

func (b *Bans) expire(now time.Time) {
	var due []*banEntry
	for len(b.ends) > 0 && !now.Before(b.ends[0].due) {
		due = append(due, heap.Pop(&b.ends).(*banEntry))
	}
	b.inOneGo(len(due), func() {
		for _, e := range due {
			b.end(e)
		}
	})
	for len(b.forgets) > 0 && !now.Before(b.forgets[0].due) {
		b.erase(b.forgets[0])
	}
}

func (b *Bans) forgiving() time.Duration { return time.Duration(b.forgive.Load()) }

// forgotten is when the last of the bans that it counts is forgiven: one for each `most` since its end.
func (ban *Ban) forgotten(most time.Duration) time.Time {
	if ban.Count <= 0 || ban.Until.IsZero() {
		return time.Time{}
	}
	return ban.Until.Add(time.Duration(ban.Count) * most)
}

// unforgiven is how many bans of a source still count, the one in force included.
func (ban *Ban) unforgiven(now time.Time, most time.Duration) int {
	if since := now.Sub(ban.Until); since > 0 && most > 0 {
		return max(0, ban.Count-int(since/most))
	}
	return ban.Count
}

// punish makes an automatic ban as long as the rules say after those before it. It reports false, without an error, where
// the target is banned already, by hand or from evidence.
func (b *Bans) punish(now time.Time, ban *Ban, rules *banRules) (made bool, err error) {
	ban.Auto, ban.By, ban.Since = true, byEvidence, now
	if err := ban.settle(); err != nil {
		return false, err
	}
	b.mu.Lock()
	if made = !b.inForce(now, ban); made {
		n := b.earlier(now, ban.key())
		ban.Count, ban.Until = min(n+1, mostBanCount), now.Add(rules.length(n))
		err = b.add(now, ban)
	}
	b.mu.Unlock()
	b.news.deliver()
	return made && err == nil, err
}

// inForce reports whether the target of a new automatic ban is banned without it.
func (b *Bans) inForce(now time.Time, ban *Ban) bool {
	key := ban.key()
	for _, auto := range []bool{true, false} {
		key.auto = auto
		if e := b.all[key]; e != nil && !e.ban.ended(now) && len(e.ban.Realms) == 0 {
			return true
		}
	}
	return false
}

// earlier is how many bans from evidence of a target are not forgiven.
func (b *Bans) earlier(now time.Time, key banKey) int {
	for _, m := range []map[banKey]*banEntry{b.all, b.past} {
		if e := m[key]; e != nil {
			return e.ban.unforgiven(now, b.forgiving())
		}
	}
	return 0
}

// Restore takes over the bans that were kept over a restart: those that have not ended come into force, ended automatic
// ones count towards the next. It tells nobody of them. What makes no sense is left out and named in the error; the rest
// is taken.
func (b *Bans) Restore(now time.Time, list []Ban) error {
	var errs []error
	b.mu.Lock()
	defer b.mu.Unlock()
	b.inOneGo(len(list), func() {
		for i := range list {
			ban := list[i]
			if err := b.restore(now, &ban); err != nil && len(errs) < 10 {
				errs = append(errs, fmt.Errorf("ban of %s: %w", ban.Prefix, err))
			}
		}
	})
	return errors.Join(errs...)
}

func (b *Bans) restore(now time.Time, ban *Ban) error {
	if err := ban.settle(); err != nil {
		return err
	}
	if !ban.Auto {
		ban.Count = 0
	}
	key := ban.key()
	if !ban.ended(now) {
		if len(b.all) >= b.most && b.all[key] == nil {
			return fmt.Errorf("the table of bans is full (%d)", b.most)
		}
		b.put(ban)
		return nil
	}
	if due := ban.forgotten(b.forgiving()); ban.Auto && due.After(now) && b.all[key] == nil {
		if old := b.past[key]; old != nil {
			b.forgets.take(old)
			delete(b.past, key)
		}
		b.remember(&banEntry{ban: ban, due: due})
	}
	return nil
}
