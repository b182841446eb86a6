package policy

import (
	"iter"
	"time"

	"sallyport/sbc/reason"
)

// Event is what a line of the security log is about, if not one message or a sum of messages.
type Event uint8

// The events. Each kind has a budget of its own in every minute, besides max_entries, so that no flood of refused
// messages, and none of another kind, hides a ban.
const (
	NoEvent      Event = iota // a message, or a sum of messages
	EventBanned               // a ban was made, by hand or from evidence
	EventBlocked              // a port of an address is refused for a short time, for it did not prove itself
	EventSlowed               // credentials for a user are taken slowly
	EventAlarm                // a rule with action alarm was met, or evidence is held against somebody who is not banned
	eventCount
)

var eventNames = [eventCount]string{"", "banned", "blocked", "slowed", "alarm"}

// eventsMost is how many lines of a kind a minute has.
var eventsMost = [eventCount]int{EventBanned: 60, EventBlocked: 10, EventSlowed: 10, EventAlarm: 20}

// maxRuleName is how much of a rule's name a line has, in bytes.
const maxRuleName = 64

// String is the event's name in the log: the line's message.
func (e Event) String() string { return eventNames[e] }

// Message is the message of the line, by which a line is told from others: drop, reject, "refused, in sum", banned,
// blocked, slowed, alarm.
func (l *LogLine) Message() string {
	text := l.Action.String()
	switch {
	case l.Event != NoEvent && l.Suppressed > 0:
		return l.Event.String() + ", in sum"
	case l.Event != NoEvent:
		text = l.Event.String()
	case l.Suppressed > 0:
		return "refused, in sum"
	}
	if l.Shadow {
		return "would be " + text
	}
	return text
}

// Fields yields the line's keys and values in a fixed order: first the source, then words of closed lists and numbers, last
// what others have written. Every text is printable and bounded; values are string, int or uint64. Empty ones are left
// out.
func (l *LogLine) Fields() iter.Seq2[string, any] {
	return func(yield func(string, any) bool) {
		for _, f := range l.fields() {
			if f.value != "" && f.value != 0 && f.value != uint64(0) && !yield(f.key, f.value) {
				return
			}
		}
	}
}

type logField struct {
	key   string
	value any
}

func (l *LogLine) fields() []logField {
	var side, realm, transport, until string
	if l.placed {
		side, realm, transport = l.Side.String(), l.Realm.String(), l.Transport.String()
	}
	switch {
	case l.Event == EventBanned && l.Until.IsZero() && !l.Shadow && l.Suppressed == 0:
		until = "removed"
	case !l.Until.IsZero():
		until = l.Until.UTC().Format(time.RFC3339)
	}
	return []logField{
		{"src", l.sourceText()}, {"side", side}, {"realm", realm}, {"transport", transport}, {"method", l.Method},
		{"code", l.Code}, {"reason", l.reasonText()}, {"ban", l.Ban}, {"until", until}, {"points", l.Points}, {"of", l.Of},
		{"nth", l.Count}, {"count", l.Suppressed}, {"by", plain(l.By, maxBanText)}, {"evidence", plain(l.Evidence, maxBanText)},
		{"rule", l.Rule}, {"text", plain(l.Text, maxBanText)}, {"aor", l.User}, {"ua", l.Agent},
	}
}

// sourceText leaves the port out where the line is about all of them.
func (l *LogLine) sourceText() string {
	switch {
	case !l.Source.IsValid():
		return ""
	case l.Source.Port() == 0:
		return l.Source.Addr().String()
	}
	return l.Source.String()
}

func (l *LogLine) reasonText() string {
	if l.Reason == "" && (l.Event == EventBanned || l.Event == EventBlocked || l.Event == EventSlowed) {
		return string(reason.Ban)
	}
	return string(l.Reason)
}

// eventBudget is what this minute brought of one kind of events.
type eventBudget struct {
	lines      int
	suppressed uint64
}

// event writes the line of an event if this minute has room for it.
func (l *SecurityLog) event(age time.Duration, now time.Time, line LogLine, rules logRules) {
	if rules.most == 0 || line.Event != EventAlarm && !rules.classes[classBanned] {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.roll(age, now, rules)
	budget := &l.events[line.Event]
	if budget.lines >= eventsMost[line.Event] {
		budget.suppressed++
		return
	}
	budget.lines++
	l.emit(line)
}

// affords reports whether this minute has room for the line of an event, which must not be an alarm. Where it has none, the
// event is counted; else event takes the line.
func (l *SecurityLog) affords(age time.Duration, now time.Time, kind Event, rules logRules) bool {
	if rules.most == 0 || !rules.classes[classBanned] {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.roll(age, now, rules)
	budget := &l.events[kind]
	if budget.lines < eventsMost[kind] {
		return true
	}
	budget.suppressed++
	return false
}

// summariseEvents says at a minute's end how many events had no line.
func (l *SecurityLog) summariseEvents(now time.Time) {
	for e := range l.events {
		if n := l.events[e].suppressed; n > 0 {
			l.emit(LogLine{At: now, Event: Event(e), Suppressed: n})
		}
	}
	clear(l.events[:])
}

// alarm tells that a message met a rule with action alarm, at most once a minute for each rule and source.
func (g *Guard) alarm(now time.Time, s *Subject, v *Verdict, r *Rules) {
	if h := g.state.hitsOf(r, v.Alarm); h != nil && v.Alarm != v.Rule {
		h.enforced.Add(1)
	}
	log := g.log.Load()
	if log == nil || !g.state.conduct.mayAlarm(g.state.age(now), r.keyOf(v.Alarm), s.Key) {
		return
	}
	line := lineOf(now, s, v, r)
	line.Event = EventAlarm
	info, _ := r.Rule(v.Alarm)
	line.Rule = plain(info.Name, maxRuleName)
	line.Text = info.Path
	log.event(g.state.age(now), now, line, r.log)
}
