package toll

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// everything is a rule set with all that rules can say.
var everything = []Rule{
	{Name: "ours", Numbers: []string{"+4990055"}, Action: "alarm"},
	{Name: "premium", Numbers: []string{"+4990", "0900"}, Code: 603},
	{Name: "trial", Numbers: []string{"+"}, Shadow: true},
	{Name: "hall", From: []string{"299", "strangers"}, Numbers: []string{"0"}},
	{Name: "carrier", From: []string{"itsp"}, Numbers: []string{"7"}},
	{Name: "each", Per: "aor", Concurrent: 2, PerMinute: 3, MinutesPerDay: 10},
	{Name: "abroad", Per: "aor", Numbers: []string{"+"}, PerMinute: 1, Action: "alarm"},
	{Name: "house", Per: "source", Concurrent: 3, Shadow: true},
	{Name: "channels", Per: "trunk", Concurrent: 4},
}

// player turns bytes into a life of a ledger, and holds it to its laws.
type player struct {
	t     testing.TB
	l     *Ledger
	rules [2]*Rules
	now   time.Time
	open  map[uint64]bool
	id    uint64
}

func newPlayer(t testing.TB) *player {
	p := &player{t: t, now: birth, open: map[uint64]bool{}}
	for i := range p.rules {
		list := everything
		if i == 1 { // another order, other bounds, one less
			list = nil
			for j := len(everything) - 1; j > 0; j-- {
				r := everything[j]
				r.Concurrent = min(r.Concurrent, 1)
				list = append(list, r)
			}
		}
		r, err := Compile(&Config{Rules: list})
		if err != nil {
			t.Fatal(err)
		}
		p.rules[i] = r
	}
	p.l = NewLedger(p.now, p.rules[0])
	return p
}

func (p *player) call(b byte) Call {
	c := Call{Number: []string{"100", "0900", "+4990055", "+491", "7", "0", "alice", ""}[b>>5]}
	switch b & 7 {
	case 0, 1:
		c.Kind, c.AoR, c.Source = Phone, anna, netip.MustParseAddr("198.51.100.7")
	case 2:
		c.Kind, c.AoR, c.Source = Phone, "299@example.com", netip.MustParseAddr("2001:db8::7")
	case 3:
		c.Kind, c.Source = Stranger, netip.AddrFrom4([4]byte{192, 0, 2, b})
	case 4, 5:
		c.Kind, c.AoR, c.Trunk = PBX, fmt.Sprint(b&8, "@example.com"), "itsp"
	default:
		c.Kind, c.Trunk, c.Source = Trunk, "itsp", netip.MustParseAddr("203.0.113.20")
	}
	return c
}

// step does what two bytes say.
func (p *player) step(what, with byte) {
	switch what % 8 {
	case 0, 1, 2:
		p.id++
		v := p.l.Begin(p.now, p.id, p.call(with))
		p.verdict(v)
		if p.l.Counts(p.id) {
			p.open[p.id] = true
		}
		if v.Refuse && p.l.Counts(p.id) {
			p.t.Fatalf("a refused call counts: %+v", v)
		}
	case 3:
		p.l.Answered(p.now, p.some(with))
	case 4:
		id := p.some(with)
		p.l.End(p.now, id)
		delete(p.open, id)
	case 5:
		id := p.some(with)
		p.l.Forgive(p.now, id)
		delete(p.open, id)
	case 6:
		p.now = p.now.Add(time.Duration(with) * time.Duration(with) * time.Second)
		p.l.Tick(p.now)
	case 7:
		p.l.SetRules(p.now, p.rules[with&1])
	}
	p.laws()
}

// some is an id: of a call that is open, if the byte finds one.
func (p *player) some(b byte) uint64 {
	if p.id == 0 {
		return uint64(b)
	}
	return p.id - uint64(b)%p.id
}

func (p *player) verdict(v Verdict) {
	if v.Refuse && (v.Rule == "" || v.Figure == "" || v.Code < 400) || !v.Refuse && (v.Rule != "" || v.Code != 0) {
		p.t.Fatalf("%+v", v)
	}
	for _, a := range v.Alarms {
		if a.Rule == "" || a.Key == "" || a.Figure == "" {
			p.t.Fatalf("an alarm that says nothing: %+v", a)
		}
	}
}

// laws hold after every step.
func (p *player) laws() {
	used := [classes]int{}
	for _, b := range p.l.books {
		for k, a := range b.accounts {
			used[k.class()]++
			if a.calls < 0 || a.talking < 0 || a.talking > a.calls || a.debt < 0 {
				p.t.Fatalf("%s of %s: %+v", k, b.rule.Name, a)
			}
			if a.used(p.now, birth) < 0 {
				p.t.Fatalf("%s has talked less than nothing", k)
			}
			if a.talking == 0 && a.since != 0 {
				p.t.Fatalf("%s: nobody talks, and %v are left", k, a.since)
			}
		}
	}
	if used != p.l.used {
		p.t.Fatalf("%v accounts, and %v are counted", used, p.l.used)
	}
	for id := range p.open {
		if !p.l.Counts(id) {
			p.t.Fatalf("call %d was lost", id)
		}
	}
}

// finish ends all calls: nothing is left in use.
func (p *player) finish() {
	for id := uint64(1); id <= p.id; id++ {
		p.l.End(p.now, id)
	}
	if p.l.Open() != 0 {
		p.t.Fatalf("%d calls are open", p.l.Open())
	}
	p.now = p.now.Add(26 * time.Hour)
	for _, b := range p.l.books {
		for k, a := range b.accounts {
			if !a.idle(p.now, b.rule) {
				p.t.Fatalf("a day later %s of %s is not idle: %+v", k, b.rule.Name, a)
			}
		}
	}
}

// FuzzLedger plays any life, reloads included.
func FuzzLedger(f *testing.F) {
	for _, seed := range []string{
		"\x00\x00\x03\x00\x06\x20\x04\x00", "\x00\x00\x00\x00\x00\x00\x05\x01\x00\x00", "\x00\x00\x03\x00\x07\x01\x06\xff\x04\x00\x07\x00",
		"\x00\x60\x00\x60\x00\x64\x00\x64\x00\x66\x06\x08\x00\x63", "\x00\x04\x03\x00\x03\x00\x04\x00\x04\x00",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		p := newPlayer(t)
		for i := 0; i+1 < len(script) && i < 400; i += 2 {
			p.step(script[i], script[i+1])
		}
		p.finish()
	})
}
