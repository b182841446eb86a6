package toll

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// model is the ledger of one budget as one would write it without thinking of cost: every call that ever was.
type model struct {
	rule  Rule
	calls []*said
}

type said struct {
	who             string
	begun, answered time.Time
	ended           time.Time
	over            bool
}

// allows reports whether a new call would be within the budget. slackly: it is so near a bound that either is right.
func (m *model) allows(now time.Time, who string, tokens float64) bool {
	running := 0
	var talked time.Duration
	for _, c := range m.calls {
		if c.who != who {
			continue
		}
		if !c.over {
			running++
		}
		if c.answered.IsZero() {
			continue
		}
		end := now
		if c.over {
			end = c.ended
		}
		talked += m.within(c.answered, end, now, c.over)
	}
	switch {
	case m.rule.Concurrent > 0 && running >= m.rule.Concurrent,
		m.rule.PerMinute > 0 && tokens < 1-slack,
		m.rule.MinutesPerDay > 0 && talked >= time.Duration(m.rule.MinutesPerDay)*time.Minute:
		return false
	}
	return true
}

// within is what counts of a talk: hours that are not wholly more than a day ago.
func (m *model) within(from, to, now time.Time, over bool) time.Duration {
	oldest := time.Unix((hourOf(now)-24)*3600, 0)
	if over && from.Before(oldest) {
		from = oldest
	}
	return max(0, to.Sub(from))
}

// bucket is an ideal token bucket.
type bucket struct {
	tokens, most float64
	at           time.Time
}

func (b *bucket) refill(now time.Time) {
	b.tokens = min(b.most, b.tokens+now.Sub(b.at).Minutes()*b.most)
	b.at = now
}

// TestTheLedgerAgreesWithAPlainOne plays random lives of calls on both.
func TestTheLedgerAgreesWithAPlainOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rule := Rule{Name: "r", Per: "aor"}
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			rule.Concurrent = rapid.IntRange(1, 4).Draw(t, "concurrent")
		case 1:
			rule.PerMinute = rapid.IntRange(1, 6).Draw(t, "per minute")
		case 2:
			rule.MinutesPerDay = rapid.IntRange(1, 300).Draw(t, "minutes")
		default:
			rule.Concurrent, rule.PerMinute, rule.MinutesPerDay = 3, 4, 120
		}
		r, err := Compile(&Config{Rules: []Rule{rule}})
		if err != nil {
			t.Fatal(err)
		}
		l, m := NewLedger(birth, r), &model{rule: rule}
		buckets := map[string]*bucket{}
		now := birth
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.SampledFrom([]int{0, 1, 7, 30, 61, 600, 3600, 7 * 3600}).Draw(t, "wait")) * time.Second)
			who := rapid.SampledFrom([]string{anna, bert}).Draw(t, "who")
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0, 1:
				b := buckets[who]
				if b == nil {
					b = &bucket{tokens: float64(rule.PerMinute), most: float64(rule.PerMinute), at: now}
					buckets[who] = b
				}
				b.refill(now)
				want := m.allows(now, who, b.tokens)
				v := l.Begin(now, uint64(len(m.calls)+1), Call{Kind: Phone, AoR: who, Number: "100"})
				if v.Refuse == want {
					t.Fatalf("%v: a call of %s: refused %v (%s), want %v", now.Sub(birth), who, v.Refuse, v.Figure, !want)
				}
				if v.Refuse && !v.Clears.IsZero() && !v.Clears.After(now) {
					t.Fatalf("clears at %v, which is past", v.Clears)
				}
				c := &said{who: who, begun: now, ended: now, over: v.Refuse}
				if !v.Refuse {
					b.tokens--
				}
				m.calls = append(m.calls, c)
			default:
				open := m.open()
				if len(open) == 0 {
					continue
				}
				i := open[rapid.IntRange(0, len(open)-1).Draw(t, "which")]
				c := m.calls[i]
				if c.answered.IsZero() && rapid.Bool().Draw(t, "answer") {
					c.answered = now
					l.Answered(now, uint64(i+1))
				} else {
					c.ended, c.over = now, true
					l.End(now, uint64(i+1))
				}
			}
		}
		if got, want := l.Open(), len(m.open()); got != want {
			t.Fatalf("%d calls are open, want %d", got, want)
		}
	})
}

func (m *model) open() (out []int) {
	for i, c := range m.calls {
		if !c.over {
			out = append(out, i)
		}
	}
	return out
}

// TestStrangersFillNothingOfOthers: a million sources take their own table, then share one budget; phones and the PBX notice
// nothing.
func TestStrangersFillNothingOfOthers(t *testing.T) {
	b := newBench(t, Rule{Name: "house", Per: "source", Concurrent: 2, PerMinute: 4}, Rule{Name: "each", Per: "aor", Concurrent: 2})
	passed := 0
	for i := range 3 * strangerMost {
		at := netip.AddrFrom4([4]byte{byte(1 + i>>16), byte(i >> 8), byte(i), 1})
		if _, v := b.begin(Call{Kind: Stranger, Source: at, Number: "1"}); !v.Refuse {
			passed++
		} else if v.Key != "all others" {
			t.Fatalf("%+v", v)
		}
	}
	if passed != strangerMost+2 {
		t.Errorf("%d passed, want one a source that has room and two of all others", passed)
	}
	if lv := b.l.Levels(); lv[2].Used != strangerMost || lv[2].Most != strangerMost || lv[2].Cap != strangerMost || lv[0].Used != 0 {
		t.Errorf("%+v", lv)
	}
	if !b.passes(phone(anna, "1")) || !b.passes(Call{Kind: PBX, AoR: anna, Number: "1"}) {
		t.Error("a phone is starved")
	}
}

// TestIdleAccountsMakeRoom: who has used nothing lately is forgotten first, and nobody else ever is.
func TestIdleAccountsMakeRoom(t *testing.T) {
	b := newBench(t, Rule{Name: "each", Per: "aor", Concurrent: 1, PerMinute: 2})
	who := func(i int) Call { return Call{Kind: PBX, AoR: fmt.Sprint(i, "@example.com"), Number: "1"} }
	for i := range pbxMost {
		if i%10 == 0 {
			b.begin(who(i)) // it talks on
		} else {
			b.passes(who(i))
		}
	}
	_, v := b.begin(who(-1))
	_, w := b.begin(who(-2))
	if v.Refuse || !w.Refuse || w.Key != "all others" {
		t.Errorf("while all have called within a minute: %+v, %+v", v, w)
	}
	b.now = b.now.Add(time.Minute)
	made := 0
	for i := range 1000 {
		if _, v := b.begin(who(pbxMost + i)); !v.Refuse {
			made++
		}
	}
	if made != 1000 {
		t.Errorf("%d of 1000 found room", made)
	}
	if b.l.used[pbx] != pbxMost {
		t.Errorf("%d accounts", b.l.used[pbx])
	}
	for i := 0; i < pbxMost; i += 1000 {
		if b.passes(who(i)) {
			t.Fatalf("%d was forgotten while it talks", i)
		}
	}
}

// TestTheLogIsBounded: very many who break a rule at once share lines.
func TestTheLogIsBounded(t *testing.T) {
	b := newBench(t, Rule{Name: "all", Numbers: []string{"1"}})
	lines := 0
	for i := range 3 * toldMost {
		_, v := b.begin(phone(fmt.Sprint(i, "@example.com"), "1"))
		lines += len(v.Alarms)
	}
	if lines != toldMost+1 || len(b.l.told) > toldMost+rulesMost {
		t.Errorf("%d lines, %d remembered", lines, len(b.l.told))
	}
	b.now = b.now.Add(time.Minute)
	if _, v := b.begin(phone(anna, "1")); len(v.Alarms) != 1 {
		t.Error("a minute later there is room")
	}
}

func BenchmarkBegin(b *testing.B) {
	var c Config
	for i := range 200 {
		c.Rules = append(c.Rules, Rule{Name: fmt.Sprint("n", i), Numbers: []string{fmt.Sprint("+", 100+i)}})
	}
	c.Rules = append(c.Rules, Rule{Name: "each", Per: "aor", Concurrent: 4, MinutesPerDay: 600})
	r, err := Compile(&c)
	if err != nil {
		b.Fatal(err)
	}
	l, n := NewLedger(birth, r), uint64(0)
	for b.Loop() {
		n++
		l.Begin(birth, n, phone(anna, "+4930123456"))
		l.End(birth, n)
	}
}
