package trunk

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport/sbc/tu"
)

var (
	itsp   = Key{Of: OfTrunk, Name: "itsp"}
	backup = Key{Of: OfTrunk, Name: "backup"}
	abroad = Key{Of: OfGroup, Name: "abroad"}
	node   = Key{Of: OfNode, Name: "10.0.0.10:5060"}
	alice  = Key{Of: OfPhone, Name: "alice@example.com"}
	office = Key{Of: OfSource, Addr: netip.MustParseAddr("198.51.100.7")}
)

func bounded() Bounds {
	return Bounds{
		Lines: map[Key]Bound{itsp: {Calls: 2, PerSecond: 3, Code: 486}, backup: {}, abroad: {Calls: 3}, node: {Calls: 4}},
		Phone: 1, Source: 2,
	}
}

func claim(user tu.UserID, ref tu.Ref, leg string, keys ...Key) Claim {
	c := Claim{User: user, Ref: ref, Leg: leg}
	copy(c.Keys[:], keys)
	return c
}

func TestLedgerBounds(t *testing.T) {
	l := NewLedger(zero, bounded())
	take := func(c Claim, want string) {
		t.Helper()
		got := "taken"
		if none, ok := l.Take(zero, c); !ok {
			got = fmt.Sprintf("%s has its %d", none.Key, none.Bound.Calls)
			if none.Rate {
				got = fmt.Sprintf("%s has its %d a second", none.Key, none.Bound.PerSecond)
			}
		}
		if got != want {
			t.Errorf("%+v: %s, want %s", c, got, want)
		}
	}
	take(claim(1, 1, "a", itsp, abroad), "taken")
	take(claim(1, 1, "a", itsp, abroad), "taken") // the same once more changes nothing
	take(claim(2, 1, "b", itsp, abroad), "taken")
	take(claim(3, 1, "c", itsp, abroad), "trunk itsp has its 2")
	take(claim(3, 2, "c", backup, abroad), "taken")
	take(claim(4, 1, "d", backup, abroad), "trunk group abroad has its 3")
	if l.Now(backup) != 1 {
		t.Error("a claim that was refused took a part")
	}
	take(claim(4, 2, "d", backup), "taken")
	l.Return(1, 1)
	take(claim(4, 3, "d", itsp), "taken")
	l.Return(4, 3)
	take(claim(4, 4, "d", itsp), "trunk itsp has its 3 a second")
	free := claim(9, 0, "e", itsp, abroad)
	free.Free = true
	take(free, "taken")
	take(claim(5, 0, "x", alice, office), "taken")
	take(claim(6, 0, "y", alice, office), "phone alice@example.com has its 1")
	take(claim(6, 0, "y", Key{Of: OfPhone, Name: "bob@example.com"}, office), "taken")
	take(claim(7, 0, "z", office), "source 198.51.100.7 has its 2")
	if l.Now(itsp) != 2 || l.High(itsp) != 2 || l.Len() != 6 {
		t.Errorf("%d now, %d at most, %d places in all", l.Now(itsp), l.High(itsp), l.Len())
	}
	if l.Now(Key{Of: OfTrunk, Name: "nobody"})+l.High(Key{Of: OfNode, Name: "none"})+l.Rate(zero, Key{Of: OfNode, Name: "none"}) != 0 {
		t.Error("of somebody who never was")
	}
}

// TestOneLegIsOneCall: the INVITEs of a leg to two hosts of a trunk, one given up, hold one place of it, and begin one call.
func TestOneLegIsOneCall(t *testing.T) {
	l := NewLedger(zero, Bounds{Lines: map[Key]Bound{itsp: {Calls: 1, PerSecond: 1}}})
	for ref := range tu.Ref(3) {
		if _, ok := l.Take(zero, claim(1, ref+1, "leg", itsp)); !ok {
			t.Fatal("the second INVITE of a call finds no place beside the first one's")
		}
	}
	if _, ok := l.Take(zero, claim(1, 9, "another leg", itsp)); ok {
		t.Error("another leg of the call is another call of the trunk")
	}
	l.Return(1, 1)
	l.Return(1, 3)
	if l.Now(itsp) != 1 {
		t.Errorf("%d", l.Now(itsp))
	}
	if !l.Return(1, 2) || l.Return(1, 2) || l.Now(itsp) != 0 || l.Len() != 0 {
		t.Errorf("%d places of %d left", l.Now(itsp), l.Len())
	}
}

// TestBoundsReload: nobody loses a place; what began within the last second counts under the new figure.
func TestBoundsReload(t *testing.T) {
	l := NewLedger(zero, bounded())
	for i := range tu.UserID(2) {
		l.Take(zero.Add(time.Duration(i)*100*time.Millisecond), claim(i, 1, "leg", itsp))
	}
	less := bounded()
	less.Lines[itsp] = Bound{Calls: 1, PerSecond: 1}
	l.SetBounds(less)
	if l.Now(itsp) != 2 {
		t.Error("a reload ended calls")
	}
	l.Return(0, 1)
	if none, ok := l.Take(zero.Add(2*time.Second), claim(7, 1, "leg", itsp)); ok || none.Bound.Calls != 1 {
		t.Error("one call of one")
	}
	l.Return(1, 1)
	if none, ok := l.Take(zero.Add(1050*time.Millisecond), claim(7, 1, "leg", itsp)); ok || !none.Rate {
		t.Error("the last beginning is 950 ms ago")
	}
	more := bounded()
	more.Lines[itsp] = Bound{PerSecond: 2}
	l.SetBounds(more)
	if _, ok := l.Take(zero.Add(1050*time.Millisecond), claim(7, 1, "leg", itsp)); !ok {
		t.Error("two a second: one was")
	}
	if _, ok := l.Take(zero.Add(1050*time.Millisecond), claim(8, 1, "leg", itsp)); ok {
		t.Error("two a second: two were")
	}
	l.SetBounds(Bounds{})
	if l.Now(itsp) != 1 || l.Bound(itsp) != (Bound{}) {
		t.Error("a trunk that is gone keeps its calls")
	}
	if l.Return(7, 1); len(l.lines) != 0 {
		t.Error("and is forgotten with the last of them")
	}
}

func TestRateIsThatOfTheLastSecond(t *testing.T) {
	l := NewLedger(zero, Bounds{})
	var got []int
	for i := range 50 {
		now := zero.Add(time.Duration(i) * 100 * time.Millisecond)
		if i < 25 {
			l.Take(now, claim(tu.UserID(i), 1, "leg", itsp))
		}
		if i%10 == 5 {
			got = append(got, l.Rate(now, itsp))
		}
	}
	if fmt.Sprint(got) != "[0 10 10 5 0]" {
		t.Error(got)
	}
	if l.Rate(zero.Add(time.Hour), itsp) != 0 {
		t.Error("an hour later")
	}
}

func TestFirstWordCountsOnce(t *testing.T) {
	l := NewLedger(zero, Bounds{})
	c := claim(1, 1, "leg", itsp)
	c.Hop = "itsp 203.0.113.20:5060"
	l.Take(zero, c)
	l.Take(zero, claim(1, 0, "caller", node))
	for _, tt := range []struct {
		ref   tu.Ref
		level Word
		hop   string
		was   Word
	}{{1, Alive, c.Hop, Silent}, {1, Judged, c.Hop, Alive}, {1, Alive, c.Hop, Judged}, {1, Judged, c.Hop, Judged}, {0, Alive, "", Silent}, {2, Alive, "", Silent}} {
		if hop, was := l.Mark(1, tt.ref, tt.level); hop != tt.hop || was != tt.was {
			t.Errorf("%+v: %q %d", tt, hop, was)
		}
	}
}

// simple is the ledger as one would say it: a list of claims, and of beginnings.
type simple struct {
	bounds Bounds
	held   []Claim
	starts map[Key][]time.Time
}

func (s *simple) now(k Key) int {
	legs := map[string]bool{}
	for _, c := range s.held {
		if slices.Contains(c.Keys[:], k) {
			legs[fmt.Sprint(c.User, c.Leg)] = true
		}
	}
	return len(legs)
}

func (s *simple) has(user tu.UserID, leg string, k Key) bool {
	return slices.ContainsFunc(s.held, func(c Claim) bool { return c.User == user && c.Leg == leg && slices.Contains(c.Keys[:], k) })
}

func (s *simple) take(now time.Time, c Claim) bool {
	if slices.ContainsFunc(s.held, func(h Claim) bool { return h.User == c.User && h.Ref == c.Ref }) {
		return true
	}
	var fresh []Key
	for _, k := range c.Keys {
		if k != (Key{}) && !s.has(c.User, c.Leg, k) && !slices.Contains(fresh, k) {
			fresh = append(fresh, k)
		}
	}
	for _, k := range fresh {
		b, recent := s.bounds.of(k), 0
		for _, at := range s.starts[k] {
			if now.Sub(at) < time.Second {
				recent++
			}
		}
		if !c.Free && (b.Calls > 0 && s.now(k) >= b.Calls || b.PerSecond > 0 && recent >= b.PerSecond) {
			return false
		}
	}
	for _, k := range fresh {
		s.starts[k] = append(s.starts[k], now)
	}
	s.held = append(s.held, c)
	return true
}

// TestLedgerAgreesWithTheSimple: whatever is taken, given back, twice or never, and however bounds change.
func TestLedgerAgreesWithTheSimple(t *testing.T) {
	keys := []Key{itsp, backup, abroad, node, alice, office, {}}
	bounds := func(t *rapid.T) Bounds {
		b := Bounds{Lines: map[Key]Bound{}, Phone: rapid.IntRange(0, 2).Draw(t, "phone"), Source: rapid.IntRange(0, 3).Draw(t, "source")}
		for _, k := range []Key{itsp, backup, abroad, node} {
			if rapid.IntRange(0, 3).Draw(t, "known") > 0 {
				b.Lines[k] = Bound{Calls: rapid.IntRange(0, 4).Draw(t, "calls"), PerSecond: rapid.IntRange(0, 3).Draw(t, "per second")}
			}
		}
		return b
	}
	rapid.Check(t, func(t *rapid.T) {
		b := bounds(t)
		l, s := NewLedger(zero, b), &simple{bounds: b, starts: map[Key][]time.Time{}}
		now := zero
		reloads := rapid.Bool().Draw(t, "reloads") // of rates a reload keeps no more than it has room for
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 700).Draw(t, "ms")) * time.Millisecond)
			user, ref := tu.UserID(rapid.IntRange(1, 4).Draw(t, "user")), tu.Ref(rapid.IntRange(0, 3).Draw(t, "ref"))
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			default:
				c := claim(user, ref, rapid.SampledFrom([]string{"a", "b"}).Draw(t, "leg"), rapid.SampledFrom(keys).Draw(t, "key"), rapid.SampledFrom(keys).Draw(t, "and"))
				c.Free = rapid.IntRange(0, 9).Draw(t, "free") == 0
				if _, got := l.Take(now, c); got != s.take(now, c) {
					t.Fatalf("%+v: %v", c, got)
				}
			case 5, 6, 7:
				n := len(s.held)
				s.held = slices.DeleteFunc(s.held, func(c Claim) bool { return c.User == user && c.Ref == ref })
				if got := l.Return(user, ref); got != (len(s.held) < n) {
					t.Fatalf("%d %d was given back: %v", user, ref, got)
				}
			case 8:
				l.ReturnAll(user)
				s.held = slices.DeleteFunc(s.held, func(c Claim) bool { return c.User == user })
			case 9:
				if reloads {
					now = now.Add(time.Second)
					s.bounds = bounds(t)
					l.SetBounds(s.bounds)
				}
			}
			for _, k := range keys[:6] {
				if got, want := l.Now(k), s.now(k); got != want {
					t.Fatalf("%s: %d, want %d", k, got, want)
				}
			}
			if l.Len() != len(s.held) {
				t.Fatalf("%d places, want %d", l.Len(), len(s.held))
			}
		}
		for user := range tu.UserID(5) {
			l.ReturnAll(user)
		}
		for range l.Each {
			t.Fatal("somebody is left")
		}
		if l.Len() != 0 || len(l.calls) != 0 || len(l.tenants) != 0 {
			t.Fatalf("%d places, %v", l.Len(), l.calls)
		}
	})
}

// TestAnySecond: however calls come, no second has more beginnings than may be.
func TestAnySecond(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(1, 8).Draw(t, "most")
		l := NewLedger(zero, Bounds{Lines: map[Key]Bound{itsp: {PerSecond: most}}})
		now := zero
		var began []time.Time
		for i := range 200 {
			now = now.Add(time.Duration(rapid.IntRange(0, 400).Draw(t, "ms")) * time.Millisecond)
			if _, ok := l.Take(now, claim(tu.UserID(i), 1, "leg", itsp)); ok {
				began = append(began, now)
			} else if len(began) < most || now.Sub(began[len(began)-most]) >= time.Second {
				t.Fatal("refused without need")
			}
			if n := len(began); n > most && began[n-1].Sub(began[n-1-most]) < time.Second {
				t.Fatalf("%d within %v", most+1, began[n-1].Sub(began[n-1-most]))
			}
		}
	})
}

func TestLedgerDoesNotAllocate(t *testing.T) {
	l := NewLedger(zero, bounded())
	c, d := claim(1, 0, "in", alice, office), claim(1, 1, "out", itsp, abroad)
	now := zero
	if n := testing.AllocsPerRun(100, func() {
		now = now.Add(time.Second)
		l.Take(now, c)
		l.Take(now, d)
		l.Mark(1, 1, Judged)
		l.ReturnAll(1)
	}); n != 0 {
		t.Errorf("%v allocations a call", n)
	}
}

func TestScopesHaveNames(t *testing.T) {
	for k, want := range map[Key]string{
		itsp: "trunk itsp", abroad: "trunk group abroad", node: "node 10.0.0.10:5060", alice: "phone alice@example.com", office: "source 198.51.100.7",
	} {
		if k.String() != want {
			t.Errorf("%q", k)
		}
	}
}

func BenchmarkLedger(b *testing.B) {
	l := NewLedger(zero, bounded())
	c, d := claim(1, 0, "in", alice, office), claim(1, 1, "out", itsp, abroad)
	b.ReportAllocs()
	now := zero
	for b.Loop() {
		now = now.Add(time.Second)
		l.Take(now, c)
		l.Take(now, d)
		l.ReturnAll(1)
	}
}
