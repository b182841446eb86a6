package trunk

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport/nat"
	"sallyport/sbc/route"
	"sallyport/sbc/tu"
)

// carriers are two trunks, of two addresses and of one, each with an account.
func carriers(password string) []System {
	system := func(name string, account *tu.Account, hosts ...int) System {
		s := System{Name: name, Kind: tu.KindTrunk, Side: nat.Outside, Realm: nat.Trunks, Any: &tu.Peer{Kind: tu.KindTrunk, Name: name, Account: account}}
		for _, n := range hosts {
			h := at(n, 1, 1)
			h.ID, h.Peer = fmt.Sprintf("%s 10.0.0.%d:5060", name, n), s.Any
			s.Hops = append(s.Hops, h)
		}
		return s
	}
	return []System{
		system("itsp", &tu.Account{Username: "login", Password: tu.NewPassword(password)}, 1, 2),
		system("backup", nil, 3),
	}
}

// plan is the order of all addresses, by their last number.
func (b *Book) plan() string {
	var hops []tu.Hop
	for s := range b.Systems {
		hops = append(hops, b.Plan(s.Name, nat.Outside)...)
	}
	b.ByHealth(hops)
	var out []byte
	for _, h := range hops {
		out = append(out, '0'+h.Flow.Remote.Addr().As4()[3])
	}
	other := strings.IndexByte(string(out), '3') // whose turn it is within the first is another matter
	slices.Sort(out[:other])
	slices.Sort(out[other+1:])
	return string(out)
}

func TestARefusedPasswordIsTriedLast(t *testing.T) {
	b := NewBook(carriers("guess"), nil)
	now := zero
	if b.plan() != "123" || b.Denied("itsp") {
		t.Fatal(b.plan())
	}
	for i, wait := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 10 * time.Minute, 10 * time.Minute} {
		if news := b.Deny("itsp", now, time.Time{}); news != (i == 0) {
			t.Errorf("refusal %d: news %v", i, news)
		}
		b.Deny("itsp", now.Add(time.Second), time.Time{}) // another call, which was under way
		end := now.Add(wait + time.Second)
		b.Tick(end.Add(-time.Millisecond))
		h := b.Health("itsp 10.0.0.2:5060")
		if b.plan() != "312" || h.State != Degraded || h.Why != "user name or password is refused: tried last for "+wait.String() || !h.Since.Equal(zero) {
			t.Errorf("refusal %d: plan %s, %+v", i, b.plan(), h)
		}
		if b.Rank("itsp", nat.Outside) <= b.Rank("backup", nat.Outside) {
			t.Error("its group has it first")
		}
		b.Tick(end)
		if h = b.Health("itsp 10.0.0.2:5060"); b.plan() != "123" || h.State != Degraded || !strings.HasSuffix(h.Why, "the next call tries it again") {
			t.Errorf("refusal %d, its while is over: plan %s, %+v", i, b.plan(), h)
		}
		now = end
	}
	if !b.Admit("itsp", now) || b.Admit("itsp", now) || b.Denied("itsp") || b.plan() != "123" || b.State("itsp 10.0.0.1:5060") != Unknown {
		t.Error("it is let in, and not believed")
	}
	b.Deny("itsp", now, time.Time{})
	if h := b.Health("itsp 10.0.0.1:5060"); h.Why != "user name or password is refused: tried last for 30s" {
		t.Errorf("what is long over counts still: %s", h.Why)
	}
}

// TestWhoMayBeRightAgain: not before a moment that is known; and at once with another account, but not with another look at the same.
func TestWhoMayBeRightAgain(t *testing.T) {
	b := NewBook(carriers("guess"), nil)
	b.Deny("itsp", zero, zero.Add(time.Hour))
	b.Deny("itsp", zero.Add(time.Minute), time.Time{})
	b.Tick(zero.Add(59 * time.Minute))
	if b.plan() != "312" {
		t.Error("it is tried before the registrar is asked")
	}
	same := carriers("guess")
	more := at(4, 1, 1)
	more.ID, more.Peer = "itsp 10.0.0.4:5060", same[0].Any
	same[0].Hops = append(same[0].Hops, more)
	b = NewBook(same, b)
	if b.plan() != "3124" || b.State(more.ID) != Degraded {
		t.Errorf("after a look at DNS: %s", b.plan())
	}
	b.Tick(zero.Add(time.Hour))
	if b.plan() != "1243" {
		t.Errorf("an hour later: %s", b.plan())
	}
	b.Deny("itsp", zero.Add(time.Hour), time.Time{})
	right := NewBook(carriers("s3cret"), b)
	if right.plan() != "123" || right.Denied("itsp") || right.State("itsp 10.0.0.1:5060") != Unknown {
		t.Errorf("after a reload that changes the password: %s", right.plan())
	}
	if gone := NewBook(carriers("guess")[1:], b); gone.Denied("itsp") {
		t.Error("a trunk that is gone")
	}
	if b.Deny("nobody", zero, time.Time{}) || b.Admit("nobody", zero) {
		t.Error("nobody refuses")
	}
}

// TestRefusedIsBetterThanDown, and worse than slow; what is out stays out.
func TestRefusedIsBetterThanDown(t *testing.T) {
	b := NewBook(carriers("guess"), nil)
	b.Deny("itsp", zero, time.Time{})
	for range 3 {
		b.Attempt("backup 10.0.0.3:5060", false, zero)
	}
	if b.plan() != "123" {
		t.Errorf("the other one is down: %s", b.plan())
	}
	b.Report("backup 10.0.0.3:5060", Degraded)
	if b.plan() != "312" {
		t.Errorf("the other one is slow: %s", b.plan())
	}
	for range 3 {
		b.Attempt("itsp 10.0.0.1:5060", false, zero)
	}
	if h := b.Health("itsp 10.0.0.1:5060"); h.State != Down || b.rank("itsp 10.0.0.1:5060") != downRank || b.rank("itsp 10.0.0.2:5060") != asideRank {
		t.Errorf("one address is down besides: %+v", h)
	}
	var turns Turns
	step := route.Step{{Trunk: "itsp", Priority: 1, Weight: 1}, {Trunk: "backup", Priority: 2, Weight: 1}}
	rank := func(name string) int { return b.Rank(name, nat.Outside) }
	if got := turns.Order(step, rank, true); got[0] != "backup" {
		t.Errorf("within a group: %v", got)
	}
}

// TestDenialsLeaveHealthAlone: whatever is heard between, what is known of an address is in the end what it would be without.
func TestDenialsLeaveHealthAlone(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		with, without := NewBook(carriers("guess"), nil), NewBook(carriers("guess"), nil)
		now := zero
		const id = "itsp 10.0.0.1:5060"
		for _, w := range rapid.SliceOfN(rapid.SampledFrom([]rune("dDaofrt")), 0, 60).Draw(rt, "words") {
			now = now.Add(7 * time.Second)
			switch w {
			case 'd':
				with.Deny("itsp", now, time.Time{})
			case 'D':
				with.Admit("itsp", now)
			case 't':
				with = NewBook(carriers("guess"), with)
			}
			for _, b := range []*Book{with, without} {
				switch w {
				case 'a':
					b.Probed(now, tu.Health{Peer: id, Up: true, Known: true, Alive: true, Took: time.Millisecond})
				case 'o':
					b.Attempt(id, true, now)
				case 'f':
					b.Attempt(id, false, now)
				case 'r':
					b.Refused(id, now)
				}
				b.Tick(now)
			}
			if with.Denied("itsp") && with.State(id) != Down && with.State(id) != Degraded {
				rt.Fatalf("refused, and %v", with.State(id))
			}
			if with.Usable(id) != without.Usable(id) || with.working != without.working {
				rt.Fatal("it may be used otherwise")
			}
		}
		with.Admit("itsp", now)
		if a, b := with.Health(id), without.Health(id); a.State != b.State || a.Why != b.Why {
			rt.Fatalf("%+v, and without %+v", a, b)
		}
	})
}
