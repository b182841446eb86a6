package toll

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// toldKey is what the log hears of once a minute.
type toldKey struct{ rule, key string }

// news reports whether the log should hear of a rule and key: once a minute. Where very many keys break rules at once, those
// of a rule that find no room share a line.
func (l *Ledger) news(now time.Time, k toldKey) bool {
	if _, known := l.told[k]; !known && len(l.told) >= toldMost {
		for x, at := range l.told {
			if now.Sub(at) >= time.Minute {
				delete(l.told, x)
			}
		}
		if len(l.told) >= toldMost {
			k.key = ""
		}
	}
	if at, known := l.told[k]; known && now.Sub(at) < time.Minute {
		return false
	}
	if len(l.told) < toldMost+rulesMost {
		l.told[k] = now
	}
	return true
}

// Tick looks once a minute whether calls in progress have used up most of a day's minutes.
func (l *Ledger) Tick(now time.Time) (alarms []Alarm) {
	if now.Sub(l.swept) < time.Minute {
		return nil
	}
	l.swept = now
	for _, e := range l.open {
		for i := range e.charges {
			if !e.answered.IsZero() {
				alarms = l.warn(now, e, &e.charges[i], alarms)
			}
		}
	}
	slices.SortFunc(alarms, func(a, b Alarm) int { return strings.Compare(a.Rule+a.Key, b.Rule+b.Key) })
	return alarms
}

func (l *Ledger) warn(now time.Time, e *entry, ch *charge, alarms []Alarm) []Alarm {
	r := ch.book.rule
	figure, news := ch.acct.warn(now, l.birth, r)
	if !news || r.Shadow {
		return alarms
	}
	return append(alarms, Alarm{
		Rule: r.Name, Key: ch.key.String(), Figure: figure, AoR: e.call.AoR, Trunk: e.call.Trunk, Source: e.call.Source,
	})
}

// Hits is how often each rule has decided, in the order of the file.
func (l *Ledger) Hits() []Hits {
	out := make([]Hits, len(l.books))
	for i, b := range l.books {
		out[i] = b.hits
	}
	return out
}

// Level is a table of the ledger: how full it is, the most it ever held, and where it ends.
type Level struct {
	Name            string
	Used, Most, Cap int
}

// Levels are the ledger's tables.
func (l *Ledger) Levels() []Level {
	names := [classes]string{"call budgets of phones and trunks", "call budgets of the PBX's users", "call budgets of strangers"}
	var out []Level
	for c := range classes {
		out = append(out, Level{names[c], l.used[c], l.high[c], classMost[c]})
	}
	return out
}

// Open is how many calls are counted now.
func (l *Ledger) Open() int { return len(l.open) }

// Who names a caller for Standing.
type Who struct {
	AoR    string
	Trunk  string
	Source netip.Addr
}

// Standing tells what a caller has used of each budget that it has: one line a rule, such as
// `rule "each phone": aor 204@example.com: 2 of 4 calls at a time, 3 of 10 calls a minute, 17 of 600 minutes a day`.
func (l *Ledger) Standing(now time.Time, w Who) []string {
	var out []string
	for _, b := range l.books {
		for _, k := range w.keys(b.rule.Per) {
			a := b.accounts[k]
			if a == nil || a.idle(now, b.rule) {
				continue
			}
			who := k.String()
			if k.kind == PBX {
				who += " at the PBX"
			}
			text := fmt.Sprintf("rule %s: %s: %s", quote(b.rule.Name), who, strings.Join(a.figures(now, l.birth, b.rule), ", "))
			if b.rule.Shadow {
				text += " (shadow)"
			}
			out = append(out, text)
		}
	}
	return out
}

func (w *Who) keys(per string) []accountKey {
	switch {
	case per == "aor" && w.AoR != "":
		name := strings.ToLower(w.AoR)
		return []accountKey{{kind: Phone, name: name}, {kind: PBX, name: name}}
	case per == "trunk" && w.Trunk != "":
		return []accountKey{{kind: Trunk, name: w.Trunk}}
	case per == "source" && w.Source.IsValid():
		at := bySource(w.Source)
		return []accountKey{{kind: Phone, source: at}, {kind: Stranger, source: at}, {kind: Trunk, source: at}}
	}
	return nil
}

func (a *account) figures(now, birth time.Time, r *rule) (out []string) {
	if r.Concurrent > 0 {
		out = append(out, figureOf(a.calls, r.Concurrent, "calls at a time"))
	}
	if r.PerMinute > 0 {
		out = append(out, figureOf(int(a.recent(now, r.PerMinute)+1-slack), r.PerMinute, "calls a minute"))
	}
	if r.MinutesPerDay > 0 {
		out = append(out, figureOf(int(a.used(now, birth)/time.Minute), r.MinutesPerDay, "minutes a day"))
	}
	return out
}
