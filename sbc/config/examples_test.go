package config

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const examples = "../../deploy/examples/"

// loadExample loads one of the examples; what `check` warns of has to be what its comments speak of.
func loadExample(t *testing.T, file string, warned ...string) *Snapshot {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(examples, file))
	if err != nil {
		t.Fatal(err)
	}
	snap, report := parseText(file, data, Flags{})
	if snap == nil {
		t.Fatal(report.String())
	}
	for _, p := range report.Warnings {
		if !slices.Contains(warned, p.Path) {
			t.Errorf("%s: %s", file, p)
		}
	}
	return snap
}

// TestExamplesLoad: each of the examples is a whole configuration, with bounds for whatever costs money.
func TestExamplesLoad(t *testing.T) {
	all, err := filepath.Glob(examples + "*/*.yaml")
	if err != nil || len(all) != 4 {
		t.Fatalf("%v, %v", all, err)
	}
	for _, path := range all {
		file, _ := filepath.Rel(examples, path)
		t.Run(file, func(t *testing.T) {
			snap := loadExample(t, file, "outside.external_address[0]")
			if snap.Calls == 0 || len(snap.doc.Policy.Calls) == 0 {
				t.Errorf("%d calls at most, %d rules on calls: both are wanted", snap.Calls, len(snap.doc.Policy.Calls))
			}
			for _, n := range snap.PBX.Nodes {
				if n.Calls == 0 {
					t.Errorf("%s takes any number of calls", n.Address)
				}
			}
		})
	}
}

// TestExamplesShareAMachine: the three gates of one set-up take nothing from one another, and find what sbc@.service gives them.
func TestExamplesShareAMachine(t *testing.T) {
	addresses, told := map[netip.Addr]string{}, map[string]string{}
	var pools []Media
	for _, name := range []string{"trunks", "roaming", "internal"} {
		snap := loadExample(t, "best-practice/"+name+".yaml", "outside.external_address[0]")
		for _, side := range snap.Media.Addresses {
			for _, a := range side {
				if other := addresses[a]; other != "" {
					t.Errorf("%s: %s is that of %s", name, a, other)
				}
				addresses[a] = name
			}
		}
		for _, p := range pools {
			if snap.Media.FirstPort <= p.LastPort && p.FirstPort <= snap.Media.LastPort {
				t.Errorf("%s: media ports %d-%d overlap with %d-%d", name, snap.Media.FirstPort, snap.Media.LastPort, p.FirstPort, p.LastPort)
			}
		}
		pools = append(pools, snap.Media)
		for got, want := range map[string]string{
			snap.StateDir: "/var/lib/sbc/" + name, snap.CDR.Directory: "/var/log/sbc/" + name, snap.Socket: "/run/sbc/" + name + "/sbc.sock",
		} {
			if got != want {
				t.Errorf("%s: %s, sbc@.service has %s", name, got, want)
			}
			told[got] = name
		}
	}
	if len(told) != 9 {
		t.Errorf("they share directories: %v", told)
	}
}

// TestInstanceUnits: the units of instances are those of a single program, with places of their own.
func TestInstanceUnits(t *testing.T) {
	own := strings.NewReplacer(
		"sbc-media.service", "sbc-media@%i.service", "Before=sbc.service", "Before=sbc@%i.service", "/etc/sbc/sbc.yaml", "/etc/sbc/%i.yaml",
		"RuntimeDirectory=sbc\n", "RuntimeDirectory=sbc/%i\n", "StateDirectory=sbc\n", "StateDirectory=sbc/%i\n", "LogsDirectory=sbc\n", "LogsDirectory=sbc/%i\n",
		"session border controller\n", "session border controller, %i\n", "media process\n", "media process, %i\n",
	)
	unit := func(name string) string {
		data, err := os.ReadFile("../../deploy/" + name)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		for line := range strings.Lines(string(data)) {
			if !strings.HasPrefix(line, "#") && strings.TrimSpace(line) != "" {
				b.WriteString(line)
			}
		}
		return b.String()
	}
	for _, name := range []string{"sbc", "sbc-media"} {
		if got, want := unit(name+"@.service"), own.Replace(unit(name+".service")); got != want {
			t.Errorf("%s@.service is not %s.service with %%i in it:\n%s\nwant\n%s", name, name, got, want)
		}
	}
}
