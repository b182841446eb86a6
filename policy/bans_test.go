package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport/nat"
)

func newBans(most int) *Bans {
	b := &Bans{}
	b.init(most)
	return b
}

func TestBansBindByRealmAndTime(t *testing.T) {
	g := newGuard(t, &Config{})
	b := g.Bans()
	must(t, b.Add(noon, Ban{Prefix: netip.MustParsePrefix("203.0.113.20/32"), Until: noon.Add(time.Minute), Reason: "short"}))
	must(t, b.Add(noon, Ban{Prefix: netip.MustParsePrefix("203.0.113.9/24"), Until: noon.Add(time.Hour), Realms: []nat.Realm{nat.Trunks}}))
	must(t, b.Add(noon, Ban{Prefix: netip.MustParsePrefix("198.51.0.0/16"), Realms: []nat.Realm{nat.Phones}}))
	for _, c := range []struct {
		after  time.Duration
		i      *nat.Interface
		source string
		want   string
	}{
		{0, outsideTrunks, "203.0.113.20", "drop ban"},
		{59 * time.Second, outsideTrunks, "203.0.113.20", "drop ban"},
		{2 * time.Minute, outsideTrunks, "203.0.113.20", "drop ban"}, // the wider one
		{2 * time.Minute, outsidePhones, "203.0.113.20", "drop not-registered"},
		{time.Hour, outsideTrunks, "203.0.113.20", "allow allow"},
		{0, outsidePhones, "198.51.100.7", "drop ban"},
		{0, outsideTrunks, "198.51.100.7", "drop unknown-trunk"},
	} {
		m := msg{branch: fmt.Sprint("z9hG4bK", c.after, c.i)}
		if v := send(g, noon.Add(c.after), c.i, c.source, m.bytes()); says(v) != c.want {
			t.Errorf("after %v %s at %s: %s, want %s", c.after, c.source, c.i, says(v), c.want)
		}
	}
	if list := b.List(noon.Add(2 * time.Minute)); len(list) != 2 || list[0].Prefix.String() != "198.51.0.0/16" ||
		list[1].Prefix.String() != "203.0.113.0/24" || fmt.Sprint(list[1].Scope) != "[trunks]" {
		t.Errorf("list is %+v", list)
	}
	if !b.Remove(netip.MustParsePrefix("198.51.0.0/16")) || b.Remove(netip.MustParsePrefix("198.51.0.0/16")) {
		t.Error("remove")
	}
	wantSays(t, send(g, noon, outsidePhones, "198.51.100.7", msg{}.bytes()), "allow allow")
}

func TestEvidenceNeverShutsKnownPeersOut(t *testing.T) {
	g := newGuard(t, &Config{})
	for _, p := range []string{"203.0.113.20/32", "10.0.0.10/32", "198.51.100.7/32"} {
		must(t, g.Bans().Add(noon, Ban{Prefix: netip.MustParsePrefix(p), Auto: true, Reason: "scanner"}))
	}
	v := send(g, noon, outsideTrunks, "203.0.113.20", msg{}.bytes())
	wantSays(t, v, "allow allow")
	if !v.Warn {
		t.Error("no alarm")
	}
	if v = send(g, noon, insideTrunks, "10.0.0.10", msg{}.bytes()); v.Action != Allow || v.Warn {
		t.Errorf("%s warn %v: one alarm a minute", says(v), v.Warn)
	}
	// Registered phones share their address with whoever the evidence is about; at other listeners it is a stranger's.
	wantSays(t, send(g, noon, outsidePhones, "198.51.100.7", msg{}.bytes()), "allow allow")
	wantSays(t, send(g, noon, outsideTrunks, "198.51.100.7", msg{}.bytes()), "drop ban")
	// A ban by hand binds them, even behind a narrower one from evidence.
	must(t, g.Bans().Add(noon, Ban{Prefix: netip.MustParsePrefix("203.0.113.0/24")}))
	wantSays(t, send(g, noon, outsideTrunks, "203.0.113.20", msg{branch: "z9hG4bK2"}.bytes()), "drop ban")
}

func TestBansThatMakeNoSenseAreRefused(t *testing.T) {
	b := newBans(4)
	for want, ban := range map[string]Ban{
		"needs an address":    {},
		"everybody out":       {Prefix: netip.MustParsePrefix("0.0.0.0/0")},
		"have ended at":       {Prefix: netip.MustParsePrefix("192.0.2.1/32"), Until: noon},
		"have ended at 2026-": {Prefix: netip.MustParsePrefix("192.0.2.1/32"), Until: noon.Add(-time.Hour)},
	} {
		if err := b.Add(noon, ban); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", ban, err, want)
		}
	}
}

func TestAFullTableOfBansKeepsWhatItHas(t *testing.T) {
	b := newBans(3)
	ban := func(n uint32, until time.Time) error {
		return b.Add(noon, Ban{Prefix: netip.PrefixFrom(addr4(n), 32), Until: until})
	}
	must(t, ban(1, time.Time{}))
	must(t, ban(2, noon.Add(time.Minute)))
	must(t, ban(3, time.Time{}))
	if err := ban(4, time.Time{}); err == nil || !strings.Contains(err.Error(), "full") {
		t.Errorf("error is %v", err)
	}
	must(t, ban(3, noon.Add(time.Hour))) // replaces itself
	must(t, b.Add(noon.Add(2*time.Minute), Ban{Prefix: netip.PrefixFrom(addr4(5), 32)}))
	if list := b.List(noon.Add(2 * time.Minute)); len(list) != 3 {
		t.Errorf("%d bans", len(list))
	}
	b.Expire(noon.Add(2 * time.Hour))
	if n := len(b.all); n != 2 || b.table.Load().Size() != 2 {
		t.Errorf("%d bans are left", n)
	}
}

func TestFindEqualsALinearSearch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBans(100)
		var all []Ban
		for range rapid.IntRange(0, 12).Draw(t, "bans") {
			p := netip.PrefixFrom(addr4(rapid.Uint32Range(0, 64).Draw(t, "a")), rapid.IntRange(24, 32).Draw(t, "bits")).Masked()
			ban := Ban{Prefix: p, Auto: rapid.Bool().Draw(t, "auto")}
			if minutes := rapid.IntRange(0, 3).Draw(t, "minutes"); minutes > 0 {
				ban.Until = noon.Add(time.Duration(minutes) * time.Minute)
			}
			ban.Realms = rapid.SampledFrom([][]nat.Realm{nil, {nat.Phones}, {nat.Trunks}}).Draw(t, "realms")
			must(&testing.T{}, b.Add(noon, ban))
			// One by hand stands in place of an automatic one; an automatic one leaves it alone.
			all = slices.DeleteFunc(all, func(o Ban) bool { return o.Prefix == p && (o.Auto || !ban.Auto) })
			all = append(all, ban)
		}
		a := addr4(rapid.Uint32Range(0, 70).Draw(t, "source"))
		now := noon.Add(time.Duration(rapid.IntRange(0, 4).Draw(t, "now")) * time.Minute)
		realm, auto := rapid.SampledFrom([]nat.Realm{nat.Phones, nat.Trunks}).Draw(t, "realm"), rapid.Bool().Draw(t, "which")
		best := -1
		for _, ban := range all {
			if ban.Auto == auto && ban.Prefix.Contains(a) && !ban.ended(now) && ban.holdsAt(realm) {
				best = max(best, ban.Prefix.Bits())
			}
		}
		got := b.find(now, a, realm, auto)
		if (got == nil) != (best < 0) || got != nil && got.Prefix.Bits() != best {
			t.Fatalf("found %v, want /%d of %v", got, best, all)
		}
	})
}
