package config

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

const manual = "../../deploy/sbc.yaml"

func loadManual(t *testing.T) (*Snapshot, *origin) {
	t.Helper()
	data, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	snap, report := parseText(manual, data, Flags{})
	if snap == nil || len(report.Warnings) > 0 {
		t.Fatal(report.String())
	}
	from := newOrigin(manual)
	var again Report
	decode(data, Default(), from, &again)
	return snap, from
}

// TestManualHasEveryKey: deploy/sbc.yaml is the manual, so every key stands in it.
func TestManualHasEveryKey(t *testing.T) {
	_, from := loadManual(t)
	optional := map[string]bool{ // the manual tells of them in words
		"outside.phones.address": true, "outside.phones.external_address": true,
		"outside.trunks.address": true, "outside.trunks.external_address": true,
		"inside.phones.address": true, "inside.trunks.address": true,
		"outside.phones.tls": true, "outside.phones.wss": true, "outside.trunks.tcp": true, "outside.trunks.tls": true,
	}
	var walk func(path string, typ reflect.Type)
	walk = func(path string, typ reflect.Type) {
		for i := range typ.NumField() {
			f := typ.Field(i)
			at := join(path, keyOf(f.Tag))
			switch {
			case isSection(f.Type):
				walk(at, f.Type)
				continue
			case f.Type.Kind() == reflect.Slice && isSection(f.Type.Elem()):
				walk(at+"[]", f.Type.Elem())
			}
			found := false
			for p := range from.at {
				found = found || indexRE.ReplaceAllString(p, "[]") == at
			}
			if !found && !optional[at] {
				t.Errorf("%s is missing", at)
			}
		}
	}
	walk("", reflect.TypeFor[Document]())
}

// TestManualShowsDefaults: what the manual shows is the default, where a key has one.
func TestManualShowsDefaults(t *testing.T) {
	snap, _ := loadManual(t)
	examples := []string{
		"outside.address", "outside.external_address", "inside.address", "pbx.domain", "pbx.nodes", "pbx.sources", "trunks",
		"policy.white_list", "policy.black_list", "policy.feeds", "policy.message_rules", "policy.deny_user_agents", "policy.rate_limits",
		"policy.calls", "phones.headers", "phones.codes", "routes.inbound", "trunk_groups",
	}
	for _, c := range Diff(&Snapshot{doc: Default()}, snap) {
		shown := false
		for _, e := range examples {
			shown = shown || within(c.Path, e)
		}
		if !shown {
			t.Errorf("shows %s where the default is %s: %s", c.New, c.Old, c.Path)
		}
	}
	elements := []struct {
		shown, def any
		examples   string
	}{
		{&snap.doc.PBX.Nodes[0], &NodeEntry{}, "address group"},
		{&snap.doc.Trunks[0], &TrunkEntry{}, "name peers sources media_sources numbers headers codes"},
		{&snap.doc.Trunks[0].Peers[0], &PeerEntry{}, "address"},
		{&snap.doc.TrunkGroups[0], &GroupEntry{}, "name capacity.calls capacity.calls_per_second"},
		{&snap.doc.Policy.WhiteList[1], &WhiteEntry{}, "range comment"},
		{&snap.doc.Policy.BlackList[1], &BlackEntry{}, "range until comment"},
		{&snap.doc.Policy.DenyUserAgents[0], &AgentEntry{}, "match comment"},
		{&snap.doc.Policy.Feeds[0], &FeedEntry{}, "name url shadow comment"},
		{&snap.doc.Policy.MessageRules[1], &MessageEntry{}, "name realms transports methods action"},
		{&snap.doc.Policy.MessageRules[3].To[0], &PatternEntry{}, "match"},
		{&snap.doc.Policy.Calls[0], &CallEntry{}, "name numbers from comment"},
		{&snap.doc.Policy.Calls[1], &CallEntry{}, "name per concurrent per_minute minutes_per_day"},
		{&snap.doc.Policy.RateLimits[1], &RateEntry{}, "name range limits burst comment"},
	}
	for _, e := range elements {
		e.def.(defaulter).setDefaults()
		var changes []Change
		diffStruct("", "", reflect.ValueOf(e.def).Elem(), reflect.ValueOf(e.shown).Elem(), &changes)
		for _, c := range changes {
			isExample := func(key string) bool { return within(c.Path, key) }
			if !slices.ContainsFunc(strings.Fields(e.examples), isExample) {
				t.Errorf("%T: shows %s where the default is %s: %s", e.shown, c.New, c.Old, c.Path)
			}
		}
	}
}

// block is a fenced piece of YAML in a page.
type block struct {
	page, text string
	line       int
	fragment   bool
}

// blocks finds the pieces between ```yaml and ```. ```yaml fragment marks a piece that lacks what every file needs.
func blocks(page, text string) []block {
	var out []block
	var in *block
	for i, line := range strings.Split(text, "\n") {
		mark := strings.TrimSpace(line)
		switch {
		case in != nil && mark == "```":
			out = append(out, *in)
			in = nil
		case in != nil:
			in.text += line + "\n"
		case strings.HasPrefix(mark, "```yaml"), strings.HasPrefix(mark, "```yml"):
			in = &block{page: page, line: i + 1, fragment: strings.Contains(mark, "fragment")}
		}
	}
	if in != nil {
		out = append(out, *in)
	}
	return out
}

// problemsOf loads a block; a fragment may lack addresses, PBX and domain, and name files that are not on this machine.
func problemsOf(b block) []Problem {
	_, report := parseText(b.page, []byte(b.text), Flags{})
	var out []Problem
	for _, p := range report.Errors {
		missing := p.What == "missing" || p.What == "no PBX" || strings.HasSuffix(p.What, "file does not exist")
		if !b.fragment || !missing {
			out = append(out, p)
		}
	}
	return out
}

func TestEveryYAMLBlockOfTheDocumentationLoads(t *testing.T) {
	pages := []string{"../../README.md"}
	docs, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range append(pages, docs...) {
		data, err := os.ReadFile(page)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range blocks(page, string(data)) {
			for _, p := range problemsOf(b) {
				t.Errorf("%s, the block at line %d: %s", page, b.line, p)
			}
		}
	}
}

func TestBlocks(t *testing.T) {
	page := "text\n```yaml\noutside: { address: 192.0.2.1 }\n```\n```sh\nls\n```\n  ```yaml fragment\n  media: { dscp: 0 }\n  ```\n" +
		"```yaml fragment\nmedia: { dscp: 99 }\n```\n```yaml\nopen"
	got := blocks("p", page)
	if len(got) != 4 || got[0].fragment || !got[1].fragment || got[1].line != 8 {
		t.Fatalf("%+v", got)
	}
	for i, want := range []int{3, 0, 1, 1} {
		if n := len(problemsOf(got[i])); n != want {
			t.Errorf("block %d: %d problems, want %d: %v", i, n, want, problemsOf(got[i]))
		}
	}
}

// TestUnit: the unit runs what the manual configures, as an ordinary user.
func TestUnit(t *testing.T) {
	data, err := os.ReadFile("../../deploy/sbc.service")
	if err != nil {
		t.Fatal(err)
	}
	snap, _ := loadManual(t)
	for _, want := range []string{
		"\nUser=sbc\n", "\nExecStart=/usr/bin/sbc run --config " + DefaultPath + "\n", "\nExecReload=/bin/kill -HUP $MAINPID\n",
		"\nNoNewPrivileges=yes\n", "\nProtectSystem=strict\n", "\nAmbientCapabilities=\n", "\nLimitNOFILE=65536\n",
		"\nRuntimeDirectory=sbc\n", "\nStateDirectory=" + strings.TrimPrefix(snap.StateDir, "/var/lib/") + "\n",
		"\nLogsDirectory=" + strings.TrimPrefix(snap.CDR.Directory, "/var/log/") + "\n",
	} {
		if !strings.Contains(string(data), want) {
			t.Errorf("%q is missing", want)
		}
	}
}
