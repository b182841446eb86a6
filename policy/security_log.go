package policy

import (
	"cmp"
	"hash/maphash"
	"net/netip"
	"slices"
	"sync"
	"time"

	"sallyport/nat"
	"sallyport/sbc/reason"
)

// LogLine is one line of the security log: one message, or a summary of messages that had no line of their own.
type LogLine struct {
	At         time.Time
	Source     netip.AddrPort // without port in a summary; invalid in the summary of all other sources
	Side       nat.Side
	Realm      nat.Realm
	Transport  nat.Transport
	Action     Action
	Code       int
	Reason     reason.Reason
	Method     string
	Rule       string // name of the rule that decided
	User       string // user@host of the From field, printable, at most 40 bytes
	Agent      string // User-Agent, printable, at most 48 bytes
	Suppressed uint64 // 0: this is one message; else how many this line stands for

	// Of events only.
	Event    Event
	Text     string    // what happened, in a clause
	Ban      string    // whom the ban or block is about: Ban.Target
	Until    time.Time // zero: until it is removed
	Points   int       // that made it
	Of       int       // points that it takes
	Count    int       // how many bans of this target this is
	By       string    // who made it
	Evidence string    // what counted
	Shadow   bool      // policy.bans.shadow: nothing was done

	placed bool // side, realm and transport are known
}

// logClass sorts verdicts for `policy.log.classes`.
type logClass uint8

const (
	classDropped logClass = iota
	classLimited
	classBanned
	classMalformed
	classAccepted
	classCount
)

var logClassNames = [classCount]string{"dropped", "limited", "banned", "malformed", "accepted"}

func classOf(v *Verdict) logClass {
	switch v.cause {
	case causeLimit, causeBudget:
		return classLimited
	case causeBan, causeBlack:
		return classBanned
	case causeMalformed, causeTooLarge:
		return classMalformed
	}
	if v.Action == Allow {
		return classAccepted
	}
	return classDropped
}

// logRules is the compiled `policy.log`.
type logRules struct {
	most    int
	per     time.Duration
	classes [classCount]bool
}

func (r *Rules) compileLog(c *Config) {
	r.log.most = defaultMaxEntries
	if c.Log.MaxEntries != nil {
		r.log.most = *c.Log.MaxEntries
	}
	r.log.per, _ = parseUnit(orDefault(c.Log.Per, "hour"))
	for class, name := range logClassNames {
		r.log.classes[class] = slices.Contains(c.Log.Classes, name) ||
			c.Log.Classes == nil && logClass(class) != classAccepted
	}
}

// logSources is how many sources one minute tells apart; the rest goes into the summary of all others.
const logSources = 1024

// SecurityLog chooses which security events get a line. Of max_entries a window, each minute gets an even share of
// what is left. Half of a minute's share is for lines of single messages, of which a source never takes more than half
// of what is still there, so that a loud one leaves room for those that come after it; the other half is for the
// summaries at the minute's end, the loudest sources first, all the rest in one line.
type SecurityLog struct {
	mu      sync.Mutex
	seed    maphash.Seed
	emit    func(LogLine)
	window  time.Duration // when the window began
	minute  time.Duration // when the minute began
	started bool
	left    int                // lines left in the window
	share   int                // lines of this minute
	used    int                // of them
	tags    [logSources]uint32 // a hash of the source in each place, 0: free; most look-ups go no further
	sources [logSources]logSource
	taken   int
	others  uint64
	events  [eventCount]eventBudget
}

// logSource is what this minute brought from one source.
type logSource struct {
	key        netip.Addr
	last       summary // the latest suppressed message
	lines      int
	suppressed uint64
}

// summary is the shape of a source's summary.
type summary struct {
	source    netip.Addr
	code      int
	side      nat.Side
	realm     nat.Realm
	transport nat.Transport
	action    Action
	cause     cause
	method    Method
}

func (s *summary) line() LogLine {
	return LogLine{placed: true, Source: netip.AddrPortFrom(s.source, 0), Side: s.side, Realm: s.realm, Transport: s.transport,
		Action: s.action, Code: s.code, Reason: reason.All[s.cause], Method: s.method.String()}
}

func newSecurityLog(seed maphash.Seed, emit func(LogLine)) *SecurityLog {
	return &SecurityLog{seed: seed, emit: emit}
}

// offer takes note of a verdict and writes its line if there is room for it. h is hashOf the source.
func (l *SecurityLog) offer(age time.Duration, now time.Time, h uint64, s *Subject, v *Verdict, r *Rules) {
	if !r.log.classes[classOf(v)] || r.log.most == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.roll(age, now, r.log)
	src := l.find(s.Key, h)
	if src == nil {
		l.others++
		return
	}
	single := max(1, l.share/2)
	if l.left > 0 && l.used < single && (src.lines == 0 || src.lines < (single-l.used)/2) {
		src.lines++
		l.used++
		l.left--
		l.emit(lineOf(now, s, v, r))
		return
	}
	src.suppressed++
	src.last = summary{s.Source.Addr(), v.Code, s.Side, s.Realm, s.Transport, v.Action, v.cause, s.Method}
}

func lineOf(now time.Time, s *Subject, v *Verdict, r *Rules) LogLine {
	line := LogLine{At: now, placed: true, Source: s.Source, Side: s.Side, Realm: s.Realm, Transport: s.Transport, Action: v.Action,
		Code: v.Code, Reason: v.Reason, User: Person(s.From),
		Agent: printable(clip(trimSpace(s.Agents[0]), maxAgent))}
	if s.Request {
		line.Method = s.Method.String()
	}
	if info, ok := r.Rule(v.Rule); ok {
		line.Rule = plain(info.Name, maxRuleName)
	}
	return line
}

func clip(b []byte, most int) []byte { return b[:min(len(b), most)] }

// tick closes a minute that nobody else has closed.
func (l *SecurityLog) tick(age time.Duration, now time.Time, rules logRules) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.started {
		l.roll(age, now, rules)
	}
}

// roll ends the minute and the window if their time is over.
func (l *SecurityLog) roll(age time.Duration, now time.Time, rules logRules) {
	fresh := !l.started
	if fresh || age-l.window >= rules.per {
		l.started, l.window, l.left = true, age, rules.most
		fresh = fresh || rules.per >= time.Minute
	}
	if !fresh && age-l.minute < time.Minute {
		return
	}
	l.summarise(now)
	l.minute, l.used = age, 0
	l.share = rules.most * int(max(1, time.Minute/rules.per))
	if rest := rules.per - (age - l.window); rest > time.Minute {
		// What earlier minutes left over is spread over those to come, rounded up.
		l.share = int((int64(l.left)*int64(time.Minute) + int64(rest) - 1) / int64(rest))
	}
}

// summarise writes the summaries of the minute and forgets it.
func (l *SecurityLog) summarise(now time.Time) {
	l.summariseEvents(now)
	var loud []*logSource
	for i := range l.sources {
		if l.sources[i].suppressed > 0 {
			loud = append(loud, &l.sources[i])
		}
	}
	slices.SortStableFunc(loud, func(a, b *logSource) int { return cmp.Compare(b.suppressed, a.suppressed) })
	room := min(l.left, max(1, l.share-l.used))
	single := len(loud)
	if single > room || single == room && l.others > 0 {
		single = max(0, room-1) // the last line is for all the others
	}
	for _, s := range loud[:single] {
		line := s.last.line()
		line.At, line.Suppressed = now, s.suppressed
		l.emit(line)
	}
	for _, s := range loud[single:] {
		l.others += s.suppressed
	}
	l.left -= single
	if l.others > 0 && room > single {
		l.emit(LogLine{At: now, Suppressed: l.others})
		l.left--
		l.others = 0
	}
	clear(l.tags[:])
	clear(l.sources[:])
	l.taken = 0
}

// find is the place of a source in this minute, nil if there is none left. h is hashOf the source.
func (l *SecurityLog) find(key netip.Addr, h uint64) *logSource {
	tag := tagOf(h)
	for i := h % logSources; ; i = (i + 1) % logSources {
		switch s := &l.sources[i]; l.tags[i] {
		case tag:
			if s.key == key {
				return s
			}
		case 0:
			if l.taken >= logSources*3/4 {
				return nil
			}
			l.taken++
			l.tags[i], s.key = tag, key
			return s
		}
	}
}
