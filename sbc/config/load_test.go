package config

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// sameDocument compares documents by their text, which holds everything.
func sameDocument(t *testing.T, a, b *Document) {
	t.Helper()
	x, errX := marshal(a)
	y, errY := marshal(b)
	if errX != nil || errY != nil {
		t.Fatal(errX, errY)
	}
	if d := cmp.Diff(string(x), string(y)); d != "" {
		t.Errorf("documents differ:\n%s", d)
	}
}

func TestGoodFilesLoadAndReadBack(t *testing.T) {
	for _, path := range files(t, "good") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			snap, report := parseFile(t, path)
			if snap == nil {
				t.Fatalf("refused:\n%s", report.String())
			}
			golden(t, strings.TrimSuffix(path, ".yaml")+".warnings.txt", warningsOf(path, report))
			out, err := marshal(snap.document())
			if err != nil {
				t.Fatal(err)
			}
			back, report := parseText("again", out, Flags{})
			if back == nil {
				t.Fatalf("does not read back:\n%s\n%s", report.String(), out)
			}
			sameDocument(t, snap.document(), back.document())
			if d := Diff(snap, back); len(d) != 0 {
				t.Errorf("differs from what it wrote:\n%s", render(d))
			}
			if d := Diff(snap, snap); len(d) != 0 || render(d) != "no change" {
				t.Errorf("differs from itself:\n%s", render(d))
			}
			if snap.Path() != filepath.Base(path) {
				t.Errorf("path %q", snap.Path())
			}
		})
	}
}

func warningsOf(path string, r Report) string {
	text := strings.ReplaceAll(r.String(), path, filepath.Base(path))
	if text != "" {
		text += "\n"
	}
	return text
}

func TestLoadNamesTheFile(t *testing.T) {
	dir := t.TempDir()
	huge := filepath.Join(dir, "huge.yaml")
	if err := os.WriteFile(huge, []byte(strings.Repeat("# long\n", maxFile/7+1)), 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(dir, "missing.yaml")
	for _, c := range []struct {
		path       string
		flags      Flags
		what, hint string
	}{
		{missing, Flags{}, "no such file", "--outside"},
		{missing, Flags{Config: missing}, "no such file", "name the configuration file"},
		{dir, Flags{}, "is a directory", "name the configuration file"},
		{huge, Flags{}, "larger than 1MiB", "configuration file"},
	} {
		snap, report := Load(c.path, c.flags)
		if snap != nil || len(report.Errors) != 1 {
			t.Errorf("%s: %v %v", c.path, snap, report.Errors)
			continue
		}
		p := report.Errors[0]
		if p.File != c.path || !strings.Contains(p.What, c.what) || !strings.Contains(p.Hint, c.hint) {
			t.Errorf("%s: %s", c.path, p)
		}
		if strings.Count(p.String(), c.path) != 1 {
			t.Errorf("the file is not named once: %s", p)
		}
	}
}

// TestAliasesAreBounded: what aliases multiply a file to is bounded, and so are depth and the list of errors.
func TestAliasesAreBounded(t *testing.T) {
	row := strings.TrimSuffix(strings.Repeat("10.0.0.1, ", 500), ", ")
	var bomb strings.Builder
	fmt.Fprintf(&bomb, "internal_ranges: &r [ %s ]\ntrunks:\n  - &t { name: a, sources: *r, media_sources: *r }\n", row)
	for range 5000 {
		bomb.WriteString("  - *t\n")
	}
	for name, text := range map[string]string{
		"aliases":      bomb.String(),
		"lists":        strings.Repeat("[", 20_000),
		"mappings":     strings.Repeat("{a: ", 20_000),
		"indentation":  deep(900),
		"unknown keys": strings.Repeat("x: 1\n", 1) + manyKeys(50_000),
	} {
		snap, report := Parse("bomb", []byte(text), Flags{})
		if snap != nil || report.OK() {
			t.Errorf("%s: accepted", name)
		}
		if len(report.Errors) > maxProblems || len(report.Warnings) > maxProblems {
			t.Errorf("%s: %d errors, %d warnings", name, len(report.Errors), len(report.Warnings))
		}
		if name == "aliases" && !strings.Contains(report.String(), "too large once its aliases are followed") {
			t.Errorf("%s:\n%.600s", name, report.String())
		}
		if name == "unknown keys" && !strings.Contains(report.String(), "more errors") {
			t.Errorf("%s: the end of the list is not told", name)
		}
	}
}

func deep(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "k%d: 1\n", i)
	}
	return b.String()
}

func TestReportTellsFlagsFilesAndLines(t *testing.T) {
	for _, c := range []struct {
		p    Problem
		want string
	}{
		{Problem{File: "f", Line: 3, Col: 4, Path: "a.b", What: "bad", Hint: "do"}, "f:3:4: a.b: bad\n  hint: do"},
		{Problem{File: "f", Path: "a.b", What: "bad"}, "f: a.b: bad"},
		{Problem{Flag: "--outside", Path: "outside.address", What: "bad"}, "--outside: outside.address: bad"},
		{Problem{What: "bad"}, "bad"},
	} {
		if got := c.p.String(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
	var r Report
	if r.Err() != nil || r.String() != "" {
		t.Error("an empty report says something")
	}
	r.warn(Problem{What: "w"})
	r.warn(Problem{What: "w"})
	if r.Err() != nil || r.String() != "warning: w" {
		t.Errorf("%q", r.String())
	}
	r.fail(Problem{What: "e"})
	r.note(Problem{What: "n"})
	r.note(Problem{What: "n"})
	if got := r.Full(); got != "error: e\nwarning: w\nnote: n" {
		t.Errorf("%q", got)
	}
	if err := r.Err(); err == nil || err.Error() != "e" || r.String() != "error: e\nwarning: w" {
		t.Errorf("%v %q", err, r.String())
	}
}

func TestReportAsJSON(t *testing.T) {
	_, report := Parse("f", []byte("outside: { address: 203.0.113.10 }"), parseFlags(t, "--pbx", "1x", "--socket", "/s", "--inside", "10.0.0.2"))
	out, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`{"errors":[{"flag":"--pbx","path":"pbx.nodes","what":`, `{"file":"f","line":1,"column":1,"path":"pbx.domain","what":"missing","hint":`,
		`"notes":[]`,
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%s is not in\n%s", want, out)
		}
	}
}

// TestTextSurvivesWriting: whatever stands in a comment comes back from a written file.
func TestTextSurvivesWriting(t *testing.T) {
	base := mustParse(t, `
outside: { address: 203.0.113.10 }
inside: { address: 10.0.0.2 }
pbx: { domain: example.com, nodes: [ { address: 10.0.0.10 } ] }
policy: { rate_limits: [], black_list: [ { range: 192.0.2.1, comment: x } ] }
`)
	rapid.Check(t, func(t *rapid.T) {
		d := *base.document()
		d.Policy.BlackList = []BlackEntry{d.Policy.BlackList[0]}
		d.Policy.BlackList[0].Comment = rapid.String().Draw(t, "comment")
		out, err := marshal(&d)
		if err != nil {
			t.Fatal(err)
		}
		back, report := parseText("again", out, Flags{})
		if back == nil {
			t.Fatalf("%s\n%s", report.String(), out)
		}
		if got := back.document().Policy.BlackList[0].Comment; got != d.Policy.BlackList[0].Comment {
			t.Fatalf("%q came back as %q in\n%s", d.Policy.BlackList[0].Comment, got, out)
		}
	})
}
