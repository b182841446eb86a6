package policy

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport/sbc/reason"
)

// TestWhyBanned compares what `sbc why` prints of points, bans, blocks and slowed users with testdata/why/*.txt.
func TestWhyBanned(t *testing.T) {
	const office = "198.51.100.77"
	for _, c := range []struct {
		name    string
		config  *Config
		address string
		at      time.Duration
		traffic func(g *Guard)
	}{
		{"points", registrar(), "192.0.2.66", 4 * time.Second, func(g *Guard) {
			c := newClient(g, "192.0.2.66:5070", "204")
			c.i = overTCP()
			for n := range 2 {
				c.guess(noon.Add(time.Duration(n) * time.Second))
			}
			send(g, noon.Add(3*time.Second), overTCP(), c.source, msg{extra: "Content-Length: 9\r\n"}.bytes())
		}},
		{"evidence", registrar(), "192.0.2.66", 2 * time.Second, func(g *Guard) {
			c := newClient(g, "192.0.2.66:5070", "204")
			c.agent = "Yealink SIP-T46U"
			for n := range 5 {
				c.guess(noon.Add(time.Duration(n) * 300 * time.Millisecond))
			}
		}},
		{"evidence-past", registrar(), "192.0.2.66", 30 * time.Minute, func(g *Guard) {
			c := newClient(g, "192.0.2.66:5070", "204")
			for n := range 5 {
				c.guess(noon.Add(time.Duration(n) * 300 * time.Millisecond))
			}
			c.register(noon.Add(29*time.Minute), "")
		}},
		{"blocked", registrar(), "192.0.2.66", 2 * time.Second, func(g *Guard) {
			for n := range 3 {
				send(g, noon.Add(time.Duration(n)*100*time.Millisecond), outsidePhones, "192.0.2.66:5070", msg{method: "OPTIONS", agent: "friendly-scanner", callID: fmt.Sprint(n)}.bytes())
			}
		}},
		{"flow-banned", registrar(), office, 2 * time.Second, func(g *Guard) {
			registerPhones(g, office, 3)
			for n := range 3 {
				send(g, noon.Add(time.Duration(n)*100*time.Millisecond), overTCP(), office+":50001", msg{method: "OPTIONS", agent: "friendly-scanner", callID: fmt.Sprint(n)}.bytes())
			}
		}},
		{"user-banned", registrar(), office, 2 * time.Second, func(g *Guard) {
			registerPhones(g, office, 3)
			c := newClient(g, office+":50001", "204")
			for n := range 5 {
				c.guess(noon.Add(time.Duration(n) * 300 * time.Millisecond))
			}
			newClient(g, office+":50002", "205").register(noon.Add(1900*time.Millisecond), "")
		}},
		{"trunk-suspected", registrar(), "203.0.113.20", 2 * time.Second, func(g *Guard) {
			send(g, noon, outsideTrunks, "203.0.113.20", msg{agent: "friendly-scanner"}.bytes())
			send(g, noon, outsideTrunks, "203.0.113.20", msg{callID: "m", extra: "Content-Length: 9\r\n"}.bytes())
		}},
		{"slowed", registrar(), "192.0.2.7", 8 * time.Second, func(g *Guard) {
			for n := range 7 {
				guessFrom(g, noon.Add(time.Duration(n)*time.Second), n+1, "204")
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newGuard(t, c.config)
			c.traffic(g)
			g.Tick(noon.Add(c.at))
			x := g.Explain(noon.Add(c.at), netip.MustParseAddr(c.address))
			got := fmt.Sprintf("%sallowed: %v\n", x.Text(time.UTC), x.Allowed)
			path := filepath.Join("testdata", "why", c.name+".txt")
			if *update {
				must(t, os.WriteFile(path, []byte(got), 0o644))
			}
			want, err := os.ReadFile(path)
			must(t, err)
			if got != string(want) {
				t.Errorf("%s:\n%s\nwant\n%s", c.name, got, want)
			}
			if _, err := json.Marshal(x); err != nil {
				t.Error(err)
			}
		})
	}
}

// Asking changes nothing, whatever is held against an address.
func TestExplainLeavesTheEvidenceAlone(t *testing.T) {
	g := newGuard(t, registrar())
	for n := range 4 {
		guessFrom(g, noon.Add(time.Duration(n)*time.Second), n+1, "204")
	}
	guessFrom(g, noon.Add(5*time.Second), 1, "204")
	before := fmt.Sprint(g.Levels(noon.Add(6*time.Second)), g.Slowed(noon.Add(6*time.Second)))
	first := fmt.Sprint(explainOf(g, noon.Add(6*time.Second), "192.0.2.1").Account)
	for range 20 {
		if again := fmt.Sprint(explainOf(g, noon.Add(6*time.Second), "192.0.2.1").Account); again != first {
			t.Fatalf("%s, was %s", again, first)
		}
	}
	if after := fmt.Sprint(g.Levels(noon.Add(6*time.Second)), g.Slowed(noon.Add(6*time.Second))); after != before {
		t.Errorf("%s, was %s", after, before)
	}
}

// TestWhyTellsAllTimesInOneZone: what was kept of the request that filled the measure has its time in UTC, and so has a ban that was read
// back from the disk; people read both beside times of their own zone.
func TestWhyTellsAllTimesInOneZone(t *testing.T) {
	zone := time.FixedZone("here", 3*3600)
	ban := Ban{
		Prefix: netip.MustParsePrefix("198.51.100.7/32"), Reason: "scanner", Auto: true, Until: time.Date(2026, 3, 1, 12, 10, 0, 0, time.UTC),
		Evidence: []string{"2 scanner: 20 of 20 points within 1m", "last at 2026-03-01T12:00:00Z: udp:5060 at outside/phones"},
	}
	x := Explanation{
		Address: netip.MustParseAddr("198.51.100.7"), Recording: time.Date(2026, 3, 1, 11, 0, 0, 0, time.UTC),
		Now: Meeting{Action: Drop.String(), Reason: reason.Ban, Ban: &ban}, Seen: &Seen{First: time.Date(2026, 3, 1, 11, 59, 0, 0, time.UTC)},
		Meets:   []Meeting{{Side: "outside", Realm: "phones", Method: "INVITE", Action: Reject.String(), Reason: reason.Ban, Ban: &ban}},
		Account: &Account{Bans: []Ban{ban}},
	}
	text := x.Text(zone)
	if strings.Contains(text, "T12:0") || strings.Contains(text, " 12:") || strings.Count(text, "until 2026-03-01 15:10:00") != 2 ||
		!strings.Contains(text, "last at 2026-03-01 15:00:00: udp:5060 at outside/phones\n") || !strings.Contains(text, "since   14:59:00: ") {
		t.Error(text)
	}
	if ban.Evidence[1] != "last at 2026-03-01T12:00:00Z: udp:5060 at outside/phones" {
		t.Errorf("programs read %q", ban.Evidence[1])
	}
	for _, line := range []string{"", "last at ", "last at noon: udp", "2 scanner: 20 of 20 points within 1m", "last at 2026-13-01T12:00:00Z: udp"} {
		if got := InZone(line, zone); got != line {
			t.Errorf("%q became %q", line, got)
		}
	}
}
