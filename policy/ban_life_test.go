package policy

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport/nat"
)

func banRulesOf(c BansConfig) *banRules {
	r := &Rules{}
	r.compileBans(&Config{Bans: c})
	return &r.bans
}

func TestEscalation(t *testing.T) {
	for _, c := range []struct {
		config BansConfig
		want   string
	}{
		{BansConfig{}, "10m 1h 6h 24h 24h 24h"},
		{BansConfig{Factor: ptr(1)}, "10m 10m 10m 10m 10m 10m"},
		{BansConfig{First: time.Minute, Factor: ptr(60), Most: 24 * time.Hour}, "1m 1h 24h 24h 24h 24h"},
		{BansConfig{Most: 5 * time.Minute}, "5m 5m 5m 5m 5m 5m"},
		{BansConfig{First: maxBanTime, Most: maxBanTime, Factor: ptr(maxBanFactor)}, "8760h 8760h 8760h 8760h 8760h 8760h"},
	} {
		var got []string
		for n := range 6 {
			got = append(got, shortTime(banRulesOf(c.config).length(n)))
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%+v: %s, want %s", c.config, s, c.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		most := time.Duration(rapid.Int64Range(int64(time.Second), int64(maxBanTime)).Draw(t, "most"))
		r := banRules{first: time.Duration(rapid.Int64Range(int64(time.Second), int64(most)).Draw(t, "first")), most: most,
			factor: rapid.IntRange(1, maxBanFactor).Draw(t, "factor")}
		last := time.Duration(0)
		for n := range 20 {
			got := r.length(n)
			if got < r.first || got > most || got < last {
				t.Fatalf("%+v: ban %d lasts %v after %v", r, n, got, last)
			}
			last = got
		}
	})
}

func TestEachBanIsLongerUntilItIsForgiven(t *testing.T) {
	g := newGuard(t, registrar())
	now := noon
	attack := func() Ban {
		c := newClient(g, "192.0.2.66:5070", "204")
		c.i, c.n = overTCP(), int(now.Sub(noon)/time.Second)
		for c.guess(now) {
			now = now.Add(time.Second)
		}
		list := g.Bans().List(now)
		if len(list) != 1 {
			t.Fatalf("%d bans", len(list))
		}
		return list[0]
	}
	for n, want := range []time.Duration{10 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour, 24 * time.Hour} {
		b := attack()
		if b.Count != n+1 || b.Until.Sub(b.Since) != want {
			t.Fatalf("ban %d is number %d and lasts %v, want %v", n+1, b.Count, b.Until.Sub(b.Since), want)
		}
		now = b.Until
		g.Tick(now)
		if len(g.Bans().List(now)) != 0 || len(g.Bans().Past(now)) != 1 {
			t.Fatal("it does not end")
		}
	}
	// One is forgiven for each day: after three days two are left.
	now = now.Add(3 * 24 * time.Hour)
	if b := attack(); b.Count != 3 || b.Until.Sub(b.Since) != 6*time.Hour {
		t.Errorf("after three days it is number %d and lasts %v", b.Count, b.Until.Sub(b.Since))
	}
	now = now.Add(30 * 24 * time.Hour)
	g.Tick(now)
	if len(g.Bans().Past(now)) != 0 {
		t.Error("it is never forgotten")
	}
	if b := attack(); b.Count != 1 {
		t.Errorf("after a month it is number %d", b.Count)
	}
	// Lifted by hand, it is forgotten wholly.
	if !g.Bans().Remove(netip.MustParsePrefix("192.0.2.66/32")) {
		t.Error("not lifted")
	}
	if b := attack(); b.Count != 1 {
		t.Errorf("after it was lifted it is number %d", b.Count)
	}
}

func TestAReloadKeepsBansAndPoints(t *testing.T) {
	g := newGuard(t, registrar())
	c := newClient(g, "192.0.2.66:5070", "204")
	c.i = overTCP()
	for range 3 {
		c.guess(noon)
	}
	must(t, g.Bans().Add(noon, Ban{Prefix: netip.MustParsePrefix("192.0.2.67/32")}))
	g.SetRules(noon, compile(t, registrar()))
	c.guess(noon)
	if n := len(g.Bans().List(noon)); n != 2 {
		t.Errorf("%d bans", n)
	}
}

func TestByHandGoesBeforeEvidence(t *testing.T) {
	g := newGuard(t, registrar())
	kept := store{}
	g.Bans().Changes(kept.keep(t))
	p := netip.MustParsePrefix("192.0.2.66/32")
	made, err := g.Bans().punish(noon, &Ban{Prefix: p}, &g.Rules().bans)
	if !made || err != nil {
		t.Fatal(err)
	}
	must(t, g.Bans().Add(noon, Ban{Prefix: p, Until: noon.Add(time.Minute), By: "uid 0"}))
	if list := g.Bans().List(noon); len(list) != 1 || list[0].Auto {
		t.Fatalf("%+v", list)
	}
	if made, err = g.Bans().punish(noon, &Ban{Prefix: p}, &g.Rules().bans); made || err != nil {
		t.Errorf("banned twice: %v %v", made, err)
	}
	// Once it has ended, the one that it replaced still counts; a restart does not bring it back.
	now := noon.Add(2 * time.Minute)
	g.Tick(now)
	again := newGuard(t, registrar())
	must(t, again.Bans().Restore(now, kept.read(t)))
	if list := again.Bans().List(now); len(list) != 0 {
		t.Errorf("%+v", list)
	}
	ban := Ban{Prefix: p}
	if made, _ = g.Bans().punish(now, &ban, &g.Rules().bans); !made || ban.Count != 2 {
		t.Errorf("the next is number %d", ban.Count)
	}
	// One for a realm does not stand in the way of one for all.
	must(t, g.Bans().Add(now, Ban{Prefix: netip.MustParsePrefix("192.0.2.9/32"), Realms: []nat.Realm{nat.Trunks}}))
	if made, _ = g.Bans().punish(now, &Ban{Prefix: netip.MustParsePrefix("192.0.2.9/32")}, &g.Rules().bans); !made {
		t.Error("not banned at the other realm")
	}
}

func TestRemoveForgetsAll(t *testing.T) {
	g := newGuard(t, registrar())
	p := netip.MustParsePrefix("198.51.100.77/32")
	registerPhones(g, "198.51.100.77", 1)
	tcp := overTCP()
	for n := range 2 {
		send(g, noon, tcp, "198.51.100.77:5", msg{agent: "sipvicious", callID: fmt.Sprint("a", n)}.bytes())
	}
	send(g, noon, tcp, "198.51.100.77:6", msg{agent: "sipvicious", callID: "b"}.bytes())
	if x := explainOf(g, noon, "198.51.100.77"); len(x.Account.Bans) != 1 || len(x.Account.Points) != 1 {
		t.Fatalf("%+v", x.Account)
	}
	if !g.Bans().Remove(p) || g.Bans().Remove(p) {
		t.Error("remove")
	}
	if x := explainOf(g, noon, "198.51.100.77"); x.Account != nil {
		t.Errorf("%+v", x.Account)
	}
	// A block of an unproven port, too.
	for n := range 2 {
		send(g, noon, outsidePhones, "192.0.2.66:5", msg{agent: "sipvicious", callID: fmt.Sprint("a", n)}.bytes())
	}
	wantSays(t, newClient(g, "192.0.2.66:5", "204").register(noon, ""), "drop ban")
	if !g.Bans().Remove(netip.MustParsePrefix("192.0.2.66/32")) {
		t.Error("the block is not lifted")
	}
	wantSays(t, newClient(g, "192.0.2.66:5", "205").register(noon, ""), "allow allow")
	// One target alone.
	must(t, g.Bans().Add(noon, Ban{Prefix: p, Port: 7}))
	must(t, g.Bans().Add(noon, Ban{Prefix: p, AoR: "204"}))
	if !g.Bans().RemoveOne(Ban{Prefix: p, AoR: "204@anywhere"}) || g.Bans().RemoveOne(Ban{Prefix: p}) || g.Bans().RemoveOne(Ban{}) {
		t.Error("remove one")
	}
	if list := g.Bans().List(noon); len(list) != 1 || list[0].Port != 7 {
		t.Errorf("%+v", list)
	}
}

func TestAFullTableRefusesAutomaticBansAndSaysSo(t *testing.T) {
	config := registrar()
	config.DenyUserAgents = []UserAgentConfig{{Match: "evil", Action: "ban"}}
	g := newGuard(t, config)
	lines := logOf(g)
	for n := range uint32(64) {
		must(t, g.Bans().Add(noon, Ban{Prefix: netip.PrefixFrom(addr4(n+1), 32)}))
	}
	for n := range 100 {
		send(g, noon, overTCP(), fmt.Sprintf("192.0.2.%d", n+1), msg{agent: "evil"}.bytes())
	}
	if len(g.Bans().List(noon)) != 64 || g.BanCounts().Refused != 100 {
		t.Errorf("%d bans, %+v", g.Bans().Len(), g.BanCounts())
	}
	warned := 0
	for _, l := range *lines {
		if l.Event == EventAlarm && strings.Contains(l.Text, "the table of bans is full (64)") {
			warned++
		}
	}
	if warned != 1 {
		t.Errorf("warned %d times", warned)
	}
}

func TestHooksHearOfEveryBanOutsideLocks(t *testing.T) {
	g := newGuard(t, registrar())
	var made []string
	var changes []string
	g.OnBan(func(b Ban) {
		made = append(made, b.Target())
		g.Bans().List(noon) // it may call back
		if b.Reason == "first" {
			must(t, g.Bans().Add(noon, Ban{Prefix: netip.MustParsePrefix("192.0.2.2/32"), Reason: "second"}))
		}
	})
	g.Bans().Changes(func(b Ban, removed bool) { changes = append(changes, fmt.Sprint(b.Target(), " ", removed)) })
	must(t, g.Bans().Add(noon, Ban{Prefix: netip.MustParsePrefix("192.0.2.1/32"), Reason: "first"}))
	g.Bans().Remove(netip.MustParsePrefix("192.0.2.1/32"))
	if got := fmt.Sprint(made, changes); got != "[192.0.2.1/32 192.0.2.2/32] [192.0.2.1/32 false 192.0.2.2/32 false 192.0.2.1/32 true]" {
		t.Error(got)
	}
	// One who panics does not silence the others for good.
	g.OnBan(func(b Ban) {
		if b.Reason == "boom" {
			panic("boom")
		}
	})
	func() {
		defer func() { _ = recover() }()
		_ = g.Bans().Add(noon, Ban{Prefix: netip.MustParsePrefix("192.0.2.3/32"), Reason: "boom"})
	}()
	must(t, g.Bans().Add(noon, Ban{Prefix: netip.MustParsePrefix("192.0.2.4/32")}))
	if made[len(made)-1] != "192.0.2.4/32" {
		t.Error(made)
	}
}

func TestBansFromManyGoroutinesAreKeptInOrder(t *testing.T) {
	b := newBans(1000)
	kept := map[string]bool{}
	b.Changes(func(ban Ban, removed bool) { kept[ban.Key()] = !removed }) // one at a time: no lock of its own
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for n := range 300 {
				p := netip.PrefixFrom(addr4(uint32(n%40)), 32)
				if (n+w)%3 == 0 {
					b.Remove(p)
				} else {
					_ = b.Add(noon, Ban{Prefix: p, Port: uint16(n % 2)})
				}
			}
		})
	}
	wg.Wait()
	b.news.deliver()
	living := map[string]bool{}
	for _, ban := range b.List(noon) {
		living[ban.Key()] = true
	}
	for key, there := range kept {
		if there != living[key] {
			t.Errorf("%s: kept %v, in force %v", key, there, living[key])
		}
	}
}

func TestNarrowBansAreBounded(t *testing.T) {
	b, rules := newBans(1000), banRulesOf(BansConfig{})
	p := netip.MustParsePrefix("198.51.100.77/32")
	for port := range uint16(200) {
		_, _ = b.punish(noon, &Ban{Prefix: p, Port: port + 1}, rules)
	}
	if b.Len() != mostNarrow {
		t.Errorf("%d bans of ports at one address", b.Len())
	}
	must(t, b.Add(noon, Ban{Prefix: p, Port: 999})) // by hand there is room
}

// TestExpiryEqualsAModel holds heap, table and maps against a plain list.
func TestExpiryEqualsAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBans(1000)
		model, now := map[string]Ban{}, noon
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 90).Draw(t, "step")) * time.Second)
			ban := Ban{Prefix: netip.PrefixFrom(addr4(rapid.Uint32Range(1, 6).Draw(t, "a")), 32), Port: rapid.Uint16Range(0, 1).Draw(t, "port"),
				Until: now.Add(time.Duration(rapid.IntRange(1, 300).Draw(t, "for")) * time.Second)}
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				b.RemoveOne(ban)
				delete(model, ban.Key())
			case 1:
				b.Expire(now)
			default:
				must(&testing.T{}, b.Add(now, ban))
				model[ban.Key()] = ban
			}
			for key, m := range model {
				if m.ended(now) {
					delete(model, key)
				}
			}
			list := b.List(now)
			if len(list) != len(model) || len(b.ends) != len(model) {
				t.Fatalf("%d bans and %d due, the model has %d", len(list), len(b.ends), len(model))
			}
			for i, e := range b.ends {
				if e.at != i {
					t.Fatalf("entry %d thinks it stands at %d", i, e.at)
				}
			}
			if (b.table.Load().Size() == 0) != (len(model) == 0) {
				t.Fatalf("the table has %d prefixes", b.table.Load().Size())
			}
		}
	})
}

func TestExpiryCostsNothingWhereNothingIsDue(t *testing.T) {
	b := newBans(mostBans)
	for n := range uint32(20_000) {
		must(t, b.Add(noon, Ban{Prefix: netip.PrefixFrom(addr4(n+1), 32), Until: noon.Add(time.Hour)}))
	}
	if n := testing.AllocsPerRun(10, func() { b.Expire(noon.Add(time.Minute)) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	b.Expire(noon.Add(time.Hour))
	if b.Len() != 0 || b.table.Load().Size() != 0 {
		t.Error("they do not end")
	}
}
