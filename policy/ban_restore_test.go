package policy

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/nat"
)

// store keeps bans as an assembler does.
type store map[string][]byte

func (s store) keep(t *testing.T) func(Ban, bool) {
	return func(b Ban, removed bool) {
		if removed {
			delete(s, b.Key())
			return
		}
		text, err := json.Marshal(b)
		must(t, err)
		s[b.Key()] = text
	}
}

func (s store) read(t *testing.T) (list []Ban) {
	for _, text := range s {
		var b Ban
		must(t, json.Unmarshal(text, &b))
		list = append(list, b)
	}
	return list
}

func TestBansOutliveARestart(t *testing.T) {
	g := newGuard(t, registrar())
	kept := store{}
	g.Bans().Changes(kept.keep(t))
	c := newClient(g, "192.0.2.66:5070", "204")
	c.i = overTCP()
	for c.guess(noon) {
	}
	must(t, g.Bans().Add(noon, Ban{Prefix: netip.MustParsePrefix("203.0.113.0/24"), Realms: []nat.Realm{nat.Trunks}, Reason: "für immer", By: "uid 0"}))
	must(t, g.Bans().Add(noon, Ban{Prefix: netip.MustParsePrefix("203.0.113.5/32"), Until: noon.Add(time.Minute)}))
	must(t, g.Bans().Add(noon, Ban{Prefix: netip.MustParsePrefix("198.51.100.5/32"), Port: 40122}))
	must(t, g.Bans().Add(noon, Ban{Prefix: netip.MustParsePrefix("198.51.100.5/32"), AoR: "204@example.com"}))
	if len(kept) != 5 {
		t.Fatalf("kept: %v", kept)
	}
	again := newGuard(t, registrar())
	must(t, again.Bans().Restore(noon.Add(time.Second), kept.read(t)))
	want, got := g.Bans().List(noon.Add(time.Second)), again.Bans().List(noon.Add(time.Second))
	for i := range want {
		a, _ := json.Marshal(want[i])
		b, _ := json.Marshal(got[i])
		if string(a) != string(b) || !slices.Equal(want[i].Realms, got[i].Realms) {
			t.Errorf("restored as\n%s, was\n%s", b, a)
		}
	}
	wantSays(t, newClient(again, "192.0.2.66:1", "204").register(noon.Add(time.Second), ""), "drop ban")
	wantSays(t, newClient(again, "198.51.100.5:40122", "1").register(noon.Add(time.Second), ""), "drop ban")
	wantSays(t, newClient(again, "198.51.100.5:1", "204").register(noon.Add(time.Second), ""), "drop ban")
	wantSays(t, newClient(again, "198.51.100.5:1", "205").register(noon.Add(time.Second), ""), "allow allow")
	// What has ended is kept while it makes the next one longer, and no longer.
	g.Tick(noon.Add(11 * time.Minute))
	if len(kept) != 4 {
		t.Errorf("kept: %v", kept)
	}
	late := newGuard(t, registrar())
	must(t, late.Bans().Restore(noon.Add(time.Hour), kept.read(t)))
	if n := late.Bans().before(noon.Add(time.Hour), banKey{prefix: netip.MustParsePrefix("192.0.2.66/32"), auto: true}); n != 1 {
		t.Errorf("%d bans before", n)
	}
	g.Tick(noon.Add(25 * time.Hour))
	if len(kept) != 3 {
		t.Errorf("kept for ever: %v", kept)
	}
	g.Bans().Remove(netip.MustParsePrefix("198.51.100.5/32"))
	if len(kept) != 1 {
		t.Errorf("kept: %v", kept)
	}
}

// FuzzRestore takes any JSON for kept bans.
func FuzzRestore(f *testing.F) {
	for _, text := range []string{
		`[{"prefix":"192.0.2.66/32","until":"2026-03-01T13:00:00Z","since":"2026-03-01T12:00:00Z","reason":"wrong digest","auto":true,"count":2,"evidence":["4 wrong digest"]}]`,
		`[{"prefix":"0.0.0.0/0"},{"prefix":"::ffff:1.2.3.4/128"},{"prefix":"2001:db8::/64","realms":["phones","nowhere"]}]`,
		`[{"prefix":"192.0.2.66/31","port":5},{"prefix":"192.0.2.66/32","port":5,"aor":"204@x"},{"prefix":"192.0.2.66/32","aor":"@x"}]`,
		`[{"prefix":"192.0.2.66/32","until":"2026-02-28T13:00:00Z","auto":true,"count":-4},{"prefix":"192.0.2.66/32","until":"2026-03-01T11:00:00Z","auto":true,"count":2000000000}]`,
		`[{"prefix":"192.0.2.66/32","reason":"\u001b[31m\n","by":"\u0000","aor":"a\rb","evidence":["x\ny"]}]`, `[{}]`, `null`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var list []Ban
		if json.Unmarshal(data, &list) != nil {
			return
		}
		b := newBans(50)
		_ = b.Restore(noon, list)
		for _, ban := range append(b.List(noon), b.Past(noon)...) {
			switch {
			case ban.Prefix.Bits() == 0 || ban.Prefix != ban.Prefix.Masked():
				t.Errorf("prefix %s", ban.Prefix)
			case ban.Count < 0 || ban.Count > mostBanCount || len(ban.Evidence) > maxEvidence:
				t.Errorf("%+v", ban)
			}
			for _, text := range append([]string{ban.Reason, ban.By, ban.AoR}, ban.Evidence...) {
				if len(text) > maxBanText || strings.ContainsAny(text, "\x00\x1b\r\n") {
					t.Errorf("text %q", text)
				}
			}
			if strings.ContainsAny(ban.Key(), "\n\x00") {
				t.Errorf("key %q", ban.Key())
			}
			again := newBans(50)
			if err := again.Restore(noon, []Ban{ban}); err != nil {
				t.Errorf("what was restored cannot be restored again: %v", err)
			}
		}
		for _, ban := range b.List(noon) {
			if ban.ended(noon) {
				t.Errorf("in force though ended: %+v", ban)
			}
		}
		b.Expire(noon.Add(200 * 365 * 24 * time.Hour))
	})
}
