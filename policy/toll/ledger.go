package toll

import "time"

// The bounds of a ledger. Who is known has a table of its own, so that nobody else can fill it.
const (
	knownMost    = 100_000 // accounts of phones and trunks
	pbxMost      = 100_000 // of those whom the PBX calls for: with a forwarded call, anybody who calls
	strangerMost = 10_000  // of sources without a registration
	toldMost     = 4_096   // rules and keys of which the log has heard within the last minute
	sampled      = 64      // accounts that are looked at to find one that is idle
)

// Ledger judges calls and keeps what they use. It belongs to one goroutine at a time.
type Ledger struct {
	rules *Rules
	books []*book // by rule
	birth time.Time
	open  map[uint64]*entry
	levels
	told   map[toldKey]time.Time
	swept  time.Time
	turn   int               // the rule that evict looked at last
	prefix map[int32]int     // scratch of match: of one number
	found  map[int32]matched // of all numbers of a call
}

// book is what a rule keeps; it survives reloads by the rule's name.
type book struct {
	rule     *rule
	accounts map[accountKey]*account
	overflow [classes]account // of all that found no room, by class
	hits     Hits
}

// class is a table of accounts with a bound of its own.
type class uint8

const (
	known class = iota
	pbx
	strangers
	classes
)

func (k accountKey) class() class {
	switch k.kind {
	case PBX:
		return pbx
	case Stranger:
		return strangers
	default:
		return known
	}
}

var classMost = [classes]int{knownMost, pbxMost, strangerMost}

type levels struct{ used, high [classes]int }

// entry is a call in progress.
type entry struct {
	call     Call
	charges  []charge
	counted  []*uint64 // hits that it has left
	answered time.Time
}

// charge is what a call uses.
type charge struct {
	book *book
	acct *account
	key  accountKey
	at   time.Time // of its place among the calls a minute
}

// NewLedger is an empty ledger.
func NewLedger(now time.Time, r *Rules) *Ledger {
	l := &Ledger{birth: now, swept: now, open: map[uint64]*entry{}, told: map[toldKey]time.Time{}, prefix: map[int32]int{}, found: map[int32]matched{}}
	l.SetRules(now, r)
	return l
}

// SetRules puts other rules in force. What was used and counted stays with the rules of the same name, so far as they still
// count for the same: aor, trunk or source. Calls in progress stay with the rules that they began under.
func (l *Ledger) SetRules(_ time.Time, r *Rules) {
	before := map[string]*book{}
	for _, b := range l.books {
		before[b.rule.Name] = b
	}
	l.rules, l.books, l.turn = r, make([]*book, len(r.list)), 0
	for i := range r.list {
		ru := &r.list[i]
		b := before[ru.Name]
		if b == nil || b.rule.Per != ru.Per {
			b = &book{accounts: map[accountKey]*account{}}
		} else {
			delete(before, ru.Name)
		}
		b.rule, b.hits.Path, b.hits.Name = ru, ru.path, ru.Name
		l.books[i] = b
	}
	l.used = [classes]int{}
	for _, b := range l.books {
		for k := range b.accounts {
			l.used[k.class()]++
		}
	}
}

// Begin judges a new call and, if it may go on, counts it under an id until End.
func (l *Ledger) Begin(now time.Time, id uint64, c Call) Verdict {
	l.End(now, id)
	if len(l.books) == 0 {
		return Verdict{}
	}
	e := &entry{call: c}
	v := l.judge(now, e)
	if v.Refuse {
		return v
	}
	for i := range e.charges {
		ch := &e.charges[i]
		ch.acct.charge(now, ch.book.rule)
	}
	for _, n := range e.counted {
		*n++
	}
	if len(e.charges)+len(e.counted) > 0 {
		l.open[id] = e
	}
	return v
}

// Counts reports whether a call under an id uses somebody's budget, and has not ended.
func (l *Ledger) Counts(id uint64) bool { return l.open[id] != nil && len(l.open[id].charges) > 0 }

// readsMost bounds the numbers that one call is judged by, beside the one that was dialled.
const readsMost = 7

// matched is what a rule has of a call: by which of its numbers (a bit each, the dialled one first), and the longest prefix.
type matched struct {
	by     uint8
	prefix string
}

// match calls yield with each rule that concerns a call, in the order of the file, until it returns false.
func (l *Ledger) match(c *Call, yield func(*book, matched) bool) {
	clear(l.found)
	all := uint8(1)
	l.matchOne(0, Number(c.Number))
	for i, read := range c.Reads[:min(len(c.Reads), readsMost)] {
		all |= 2 << i
		l.matchOne(i+1, Number(read))
	}
	for i := range l.books {
		b := l.books[i]
		m := l.found[int32(i)]
		if b.rule.any {
			m.by = all
		}
		if m.by != 0 && b.rule.concerns(c) && !yield(b, m) {
			return
		}
	}
}

func (l *Ledger) matchOne(i int, number string) {
	clear(l.prefix)
	l.rules.numbers.walk(number, l.prefix)
	for rule, n := range l.prefix {
		m := l.found[rule]
		if m.by |= 1 << i; n > len(m.prefix) {
			m.prefix = number[:n]
		}
		l.found[rule] = m
	}
}

// judge fills in what a call would use. A refusal leaves nothing behind but its count.
func (l *Ledger) judge(now time.Time, e *entry) (v Verdict) {
	var decided uint8 // which of the call's numbers a destination rule has decided on
	l.match(&e.call, func(b *book, m matched) bool {
		r := b.rule
		if r.Per == "" {
			if m.by&^decided == 0 {
				return true
			}
			if !r.Shadow {
				decided |= m.by
			}
			return !l.broken(now, e, &v, finding{b, "", whole(m.prefix), time.Time{}})
		}
		k, ok := r.subject(&e.call)
		if !ok {
			return true
		}
		a, k := l.account(now, b, k)
		if figure, clears, over := a.over(now, l.birth, r); over {
			if l.broken(now, e, &v, finding{b, k.String(), figure, clears}) {
				return false
			}
			if r.Shadow {
				return true // it would not have been, and uses nothing
			}
		}
		e.charges = append(e.charges, charge{b, a, k, now})
		return true
	})
	return v
}

func whole(prefix string) string {
	if prefix == "" {
		return "it names every number"
	}
	return "the number begins with " + prefix
}

// finding is a rule that a call breaks.
type finding struct {
	book   *book
	key    string // empty: a destination rule
	figure string
	clears time.Time
}

// broken does what a rule says of a call that breaks it. It reports whether the call is refused.
func (l *Ledger) broken(now time.Time, e *entry, v *Verdict, f finding) bool {
	r := f.book.rule
	if r.Shadow {
		e.counted = append(e.counted, &f.book.hits.Shadow)
		return false
	}
	refuse := r.Action != "alarm"
	if refuse {
		f.book.hits.Enforced++
		v.Refuse, v.Code, v.Rule, v.Key, v.Figure, v.Clears = true, r.code, r.Name, f.key, f.figure, f.clears
	} else {
		e.counted = append(e.counted, &f.book.hits.Enforced)
	}
	c := &e.call
	who := f.key
	if who == "" {
		who = c.who()
	}
	if l.news(now, toldKey{r.Name, who}) {
		v.Alarms = append(v.Alarms, Alarm{
			Rule: r.Name, Key: who, Figure: f.figure, Refuse: refuse, Number: c.Number, AoR: c.AoR, Trunk: c.Trunk, Source: c.Source,
		})
	}
	return refuse
}

// who is a caller by the best name that there is.
func (c *Call) who() string {
	switch {
	case c.Kind == Trunk:
		return "trunk " + c.Trunk
	case c.AoR != "" && c.Kind != Stranger:
		return "aor " + c.AoR
	case c.Source.IsValid():
		return accountKey{source: bySource(c.Source)}.String()
	}
	return c.Kind.String()
}

// account is the budget of a key, or where there is no room the one that all such share.
func (l *Ledger) account(now time.Time, b *book, k accountKey) (*account, accountKey) {
	if a := b.accounts[k]; a != nil {
		return a, k
	}
	c := k.class()
	if l.used[c] >= classMost[c] && !l.evict(now, c) {
		return &b.overflow[c], accountKey{}
	}
	a := &account{}
	b.accounts[k] = a
	l.used[c]++
	l.high[c] = max(l.high[c], l.used[c])
	return a, k
}

// evict forgets one account of a class that says no more than a new one would. It looks at a few of a few rules, wherever the
// map begins: a verdict must not take longer because the table is full.
func (l *Ledger) evict(now time.Time, c class) bool {
	for range min(len(l.books), 4) {
		l.turn = (l.turn + 1) % len(l.books)
		b, seen := l.books[l.turn], 0
		for k, a := range b.accounts {
			if k.class() == c && a.idle(now, b.rule) {
				delete(b.accounts, k)
				l.used[c]--
				return true
			}
			if seen++; seen == sampled {
				break
			}
		}
	}
	return false
}

// Answered tells when a call was answered: its minutes count from then on.
func (l *Ledger) Answered(at time.Time, id uint64) {
	e := l.open[id]
	if e == nil || !e.answered.IsZero() {
		return
	}
	e.answered = at
	for i := range e.charges {
		a := e.charges[i].acct
		a.talking++
		a.since += at.Sub(l.birth)
	}
}

// End tells that a call is over. An id that is unknown, or has ended, changes nothing.
func (l *Ledger) End(now time.Time, id uint64) (alarms []Alarm) {
	e := l.open[id]
	if e == nil {
		return nil
	}
	delete(l.open, id)
	for i := range e.charges {
		ch := &e.charges[i]
		a := ch.acct
		a.calls--
		if e.answered.IsZero() {
			continue
		}
		a.talking--
		a.since -= e.answered.Sub(l.birth)
		if ch.book.rule.MinutesPerDay == 0 {
			continue
		}
		if a.spoken == nil {
			a.spoken = &day{hour: hourOf(now)}
		}
		a.spoken.add(e.answered, now)
		alarms = l.warn(now, e, ch, alarms)
	}
	return alarms
}

// Forgive ends a call that the PBX has challenged, as if it had never been: its retry counts, and counts once.
func (l *Ledger) Forgive(now time.Time, id uint64) {
	e := l.open[id]
	if e == nil {
		return
	}
	for _, n := range e.counted {
		*n--
	}
	for i := range e.charges {
		if ch := &e.charges[i]; ch.book.rule.PerMinute > 0 {
			ch.acct.debt = max(0, ch.acct.recent(now, ch.book.rule.PerMinute)-ch.left(now))
			ch.acct.debtAt = now
		}
	}
	l.End(now, id)
}

// left is how much of a call's place among those of the last minute is still there: the oldest is forgotten first.
func (c *charge) left(now time.Time) float64 {
	if now.Sub(c.at) > time.Minute {
		return 0
	}
	return 1
}
