package api

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got:\n%s\nwant:\n%s", name, got, want)
	}
}

func TestAnswersAsPrinted(t *testing.T) {
	zone, now, ctx := time.FixedZone("CET", 3600), start.Add(65*time.Second), context.Background()
	f := newFake()
	status, call := sampleStatus(), sampleCall()
	golden(t, "status", status.Text(zone))
	golden(t, "limits", status.LimitsText())
	audit, ok := status.AuditText()
	golden(t, "audit", audit)
	if ok {
		t.Error("a bad figure passes the audit")
	}
	status.Draining, status.Config, status.Calls.Most, status.Media.Missing, status.Audit = true, "", 100, 0, status.Audit[:1]
	golden(t, "draining", status.Text(zone))
	if _, ok := status.AuditText(); !ok {
		t.Error("good figures fail the audit")
	}
	// Where nothing stands out nothing is said of it.
	quiet := Status{Version: "1.2.3", Peers: PeerGauge{Nodes: 1, NodesUp: 1, Trunks: 1, TrunksUp: 1}, Counts: []Count{{"outside", "trunks", "allow", "allow", 1}}}
	golden(t, "status_quiet", quiet.Text(zone))
	calls, _ := f.Calls(ctx)
	calls = append(calls, Call{ID: "c-2", Direction: "outbound", State: "ringing", From: "evil\x1b[2J\u202e", To: "Jürgen", Start: start})
	golden(t, "calls", CallsText(calls, now, zone))
	call.Correlation, call.Streams[0].Inside.Learned = "k-9", ""
	golden(t, "call", call.Text(now, zone))
	trunks, _ := f.Trunks(ctx)
	abroad := &Load{Calls: 14, Most: 50}
	trunks[0].Group, trunks[0].GroupLoad = "abroad", abroad
	trunks = append(trunks, Trunk{
		Name: "backup", State: "drained", Load: Load{Calls: 2}, Drained: &Drained{DrainedBy: "uid 0", DrainedSince: start}, Group: "abroad", GroupLoad: abroad,
	})
	golden(t, "trunks", TrunksText(trunks, zone))
	golden(t, "nodes", NodesText([]Node{
		{Peer: samplePeers()[0], Realms: []string{"phones", "trunks"}, Load: Load{Calls: 4}},
		{Peer: samplePeers()[1], Realms: []string{"phones"}, Load: Load{Calls: 1, Most: 20}, Drained: &Drained{DrainedSince: start}},
	}, zone))
	golden(t, "bans", BansText([]Ban{
		{Address: "198.51.100.7", Kind: "address", Since: start, By: "uid 0", Comment: "noise\nmore"},
		{Address: "2001:db8::/64", Kind: "prefix", Since: start, Until: now, Realms: []string{"trunks"}},
		{
			Address: "198.51.100.8", Kind: "user", AoR: "20\x1b4", Since: start, Until: now, By: "evidence", Comment: "wrong digest", Count: 3,
			Evidence: []string{"4 wrong digest: 20 of 20 points within 1m", "last at 18:00:00: udp"},
		},
		{Address: "198.51.100.8", Kind: "port", Port: 40122, Since: start, Until: now, By: "evidence", Comment: "scanner", Count: 1},
	}, zone))
	for name, text := range map[string]string{
		"no calls\n": CallsText(nil, now, zone), "no trunks\n": TrunksText(nil, zone), "no PBX nodes\n": NodesText(nil, zone),
		"no bans; `sbc why ADDRESS` tells of ports that are blocked for a minute\n":    BansText(nil, zone),
		"drained: no calls are left; new ones are refused until sbc is restarted\n":    DrainResult{}.Text(),
		"3 calls are still in progress; new ones are refused until sbc is restarted\n": DrainResult{Left: 3}.Text(),
		"1 call is still in progress; new ones are refused until sbc is restarted\n":   DrainResult{Left: 1}.Text(),
	} {
		if text != name {
			t.Errorf("%q, want %q", text, name)
		}
	}
}

func TestReloadAsPrinted(t *testing.T) {
	change := []Change{{"media.dscp", "46", "0", "restart"}, {"trunks[b]", "", "{ name: b }", "live"}}
	for _, c := range []struct {
		r    ReloadResult
		want string
		ok   bool
	}{
		{ReloadResult{}, "no change\n", true},
		{ReloadResult{Applied: true}, "no change of a key; certificate and key were read anew, if there are any\n", true},
		{ReloadResult{Changes: change}, "media.dscp: 46 → 0 (restart)\ntrunks[b]: absent → { name: b } (live)\n", true},
		{ReloadResult{Changes: change[1:], Rehearse: "sbc replay - --config /f"},
			"trunks[b]: absent → { name: b } (live)\nhint: by these rules, limits too, of what came in last: sbc replay - --config /f\n", true},
		{ReloadResult{Applied: true, Changes: change[:1], Warnings: []Problem{{Text: "odd"}}},
			"warning: odd\nmedia.dscp: 46 → 0 (restart)\nreloaded\nnot in force before a restart: media.dscp\n", true},
		{ReloadResult{Errors: []Problem{{"f:1:2: a: bad", "do"}, {"f:3:4: b: bad", ""}}},
			"error: f:1:2: a: bad\n  hint: do\nerror: f:3:4: b: bad\nnothing has changed\n", false},
		{ReloadResult{Applied: true, Changes: change[:1], Returns: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)},
			"media.dscp: 46 → 0 (restart)\nreloaded\nnot in force before a restart: media.dscp\non trial: the configuration before comes back at 03:04:05 unless you keep this one (sbc reload --keep)\n", true},
		{ReloadResult{Refused: true, Phones: 12, Known: 40, Hits: []Hit{
			{Who: "trunk itsp", Source: "203.0.113.20", Method: "INVITE", Reason: "black-list", Rule: `policy.black_list[0] "203.0.113.0/24"`, Vital: true},
		}}, "shuts out trunk itsp (203.0.113.20): INVITE black-list by policy.black_list[0] \"203.0.113.0/24\"\nshuts out 12 of 40 registered phones\n" +
			"refused, nothing has changed\n  hint: spare them (policy.white_list, a narrower range), try the rule with shadow: true, or insist with --force\n", false},
	} {
		if got, ok := c.r.Text(time.UTC); got != c.want || ok != c.ok {
			t.Errorf("%q %v, want %q", got, ok, c.want)
		}
	}
}

// TestCountsOfOneListenerAreSummed: UDP and TCP of a realm count apart, and are one line.
func TestCountsOfOneListenerAreSummed(t *testing.T) {
	a := Count{Side: "outside", Realm: "phones", Action: "allow", Reason: "allow", Count: 3}
	b := a
	b.Realm = "trunks"
	got := summed([]Count{a, b, a})
	if len(got) != 2 || got[0].Count != 6 || got[0].Realm != "phones" || got[1] != b {
		t.Errorf("%+v", got)
	}
}

func TestNoLineEndsInBlanks(t *testing.T) {
	s := sampleStatus()
	audit, _ := s.AuditText()
	for _, text := range []string{s.Text(time.UTC), s.LimitsText(), audit} {
		if !strings.HasSuffix(text, "\n") || strings.Contains(text, " \n") {
			t.Errorf("%q", text)
		}
	}
}

// TestLongValuesAreClipped: a list that changes is told in a line that can be read; the JSON has all of it.
func TestLongValuesAreClipped(t *testing.T) {
	long := strings.Repeat("ä", 200)
	r := ReloadResult{Changes: []Change{{Path: "policy.deny_user_agents", Old: long, New: "", When: "live"}}}
	text, ok := r.Text(time.UTC)
	if want := strings.Repeat("ä", 120) + "… (160 bytes more; --json has all) → absent (live)"; !ok || !strings.Contains(text, want) {
		t.Errorf("says %q, want %q", text, want)
	}
}

func TestCountsOfOne(t *testing.T) {
	s := Status{Rules: []Rule{{Path: "policy.calls[0]", Name: "a", Hits: 1}}, Data: []DataSource{{Kind: "feed", Name: "b", Entries: 1}}}
	if text := s.Text(time.UTC); !strings.Contains(text, `"a": decided once`) || !strings.Contains(text, "b: 1 entry\n") {
		t.Errorf("says\n%s", text)
	}
}
