package sbc_test

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

var updateDocs = flag.Bool("update", false, "rewrite the outputs that docs/policy.md shows")

const policyPage = "../docs/policy.md"

// piece is a fenced part of a page.
type piece struct {
	line  int    // of its first line of text
	title string // the heading above it
	info  string // what stands behind the fence
	text  []string
}

// The kinds of pieces, by the first words of their info:
//
//	yaml [fragment]          a configuration: a gate that has just been started with it begins here
//	yaml [fragment] NAME     a file of that name beside it, for verbs that read one
//	text                     messages and what becomes of them, in virtual time
//	text NAME, sip NAME      a file of that name
//	console                  verbs of the program and their output
func (p *piece) words() (kind, name string) {
	w := strings.Fields(p.info)
	if len(w) == 0 {
		return "", ""
	}
	for _, word := range w[1:] {
		if word != "fragment" {
			name = word
		}
	}
	return w[0], name
}

// pieces cuts the fenced parts out of a page.
func pieces(page string) (out []*piece) {
	var in *piece
	title := ""
	for i, line := range strings.Split(page, "\n") {
		switch {
		case in != nil && line == "```":
			in = nil
		case in != nil:
			in.text = append(in.text, line)
		case strings.HasPrefix(line, "```"):
			in = &piece{line: i + 2, title: title, info: strings.TrimPrefix(line, "```")}
			out = append(out, in)
		case strings.HasPrefix(line, "#"):
			title = strings.Trim(line, "# ")
		}
	}
	return out
}

// joined is a page with the pieces as they are now.
func joined(page string, list []*piece) string {
	var out []string
	var in bool
	n := 0
	for _, line := range strings.Split(page, "\n") {
		switch {
		case in && line == "```":
			out, in = append(out, line), false
		case in:
		case strings.HasPrefix(line, "```"):
			out, in = append(append(out, line), list[n].text...), true
			n++
		default:
			out = append(out, line)
		}
	}
	return strings.Join(out, "\n")
}

// scenes puts each configuration together with what follows it.
func scenes(list []*piece) (out [][]*piece) {
	for _, p := range list {
		kind, name := p.words()
		switch {
		case kind == "yaml" && name == "", len(out) == 0:
			out = append(out, []*piece{p})
		default:
			out[len(out)-1] = append(out[len(out)-1], p)
		}
	}
	return out
}

// docsBegin is when every scene of the page begins.
var docsBegin = time.Date(2026, 12, 7, 14, 0, 0, 0, time.UTC)

// TestPolicyPage runs every example of docs/policy.md: its configurations in the real program, its messages through the real
// listeners, its verbs through what answers them. `go test ./sbc -run TestPolicyPage -update` writes what came of it.
func TestPolicyPage(t *testing.T) {
	if testing.Short() {
		t.Skip("what the page shows is the same under the race detector; what runs for it, other tests run there")
	}
	was := time.Local
	time.Local = time.UTC // what people read is in their own time
	defer func() { time.Local = was }()
	data, err := os.ReadFile(policyPage)
	if err != nil {
		t.Fatal(err)
	}
	list := pieces(string(data))
	for _, scene := range scenes(list) {
		t.Run(fmt.Sprintf("line %d, %s", scene[0].line, scene[0].title), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Until(docsBegin))
				play(t, scene)
			})
		})
	}
	if t.Failed() {
		return // what is written must be right
	}
	now := joined(string(data), list)
	if *updateDocs && now != string(data) {
		if err := os.WriteFile(policyPage, []byte(now), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := cmp.Diff(string(data), now); d != "" {
		t.Errorf("the page shows what is no longer so (rewrite it: go test ./sbc -run TestPolicyPage -update):\n%s", d)
	}
}

// play runs a scene and puts what came of it into its pieces.
func play(t *testing.T, list []*piece) {
	s := newScene(t, list)
	defer s.close()
	for _, p := range list {
		s.at = p
		switch kind, name := p.words(); {
		case name != "" || kind == "yaml":
		case kind == "text":
			p.text = s.acts(p.text)
		case kind == "console":
			p.text = s.console(p.text)
		default:
			t.Errorf("%s:%d: nobody runs a piece of %q: write yaml, text, console or sip", policyPage, p.line, p.info)
		}
	}
}

// failed says at which piece something is wrong.
func (s *scene) failed(format string, args ...any) {
	s.t.Helper()
	s.t.Fatalf("%s:%d: %s", policyPage, s.at.line, fmt.Sprintf(format, args...))
}

// console runs the verbs of a piece.
func (s *scene) console(text []string) (out []string) {
	for _, line := range text {
		command, is := strings.CutPrefix(line, "$ ")
		if !is {
			continue // the output of before
		}
		if len(out) > 0 {
			out = append(out, "")
		}
		out = append(out, line)
		if said := strings.TrimRight(s.verb(command), "\n"); said != "" {
			out = append(out, strings.Split(said, "\n")...)
		}
	}
	return out
}

// TestREADMEShowsTheSameAnswer: the README's answer of `sbc why` is the one that docs/policy.md begins with, less most of its
// messages. It runs behind TestPolicyPage, which makes that.
func TestREADMEShowsTheSameAnswer(t *testing.T) {
	const readme = "../README.md"
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(policyPage)
	if err != nil {
		t.Fatal(err)
	}
	var answer []string
	for _, p := range pieces(string(page)) {
		if kind, _ := p.words(); kind == "console" {
			answer = briefly(p.text)
			break
		}
	}
	list := pieces(string(text))
	for _, p := range list {
		if p.title == "Who is let in" {
			p.text = answer
		}
	}
	now := joined(string(text), list)
	if *updateDocs && now != string(text) {
		if err := os.WriteFile(readme, []byte(now), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := cmp.Diff(string(text), now); d != "" {
		t.Errorf("the README shows what is no longer so (rewrite it: go test ./sbc -run 'TestPolicyPage|README' -update):\n%s", d)
	}
}

// briefly is an answer of `sbc why` with one message alone.
func briefly(text []string) (out []string) {
	messages := false
	for _, line := range text {
		more := strings.HasPrefix(line, "        ")
		switch {
		case !more || !messages:
			out = append(out, line)
		case out[len(out)-1] != "        …":
			out = append(out, "        …")
		}
		messages = strings.HasPrefix(line, "last ") || more && messages
	}
	return out
}

// linkRE finds links to places in the repository, and to headings.
var linkRE = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// TestDocumentationLinks: what the pages point to is there.
func TestDocumentationLinks(t *testing.T) {
	anchors := func(page string) map[string]bool {
		data, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]bool{}
		fenced := false
		for line := range strings.Lines(string(data)) {
			fenced = fenced != strings.HasPrefix(line, "```")
			if head := strings.TrimLeft(line, "#"); !fenced && head != line {
				name := strings.ReplaceAll(strings.ToLower(strings.TrimSpace(head)), " ", "-")
				out["#"+regexp.MustCompile("[^a-z0-9_-]").ReplaceAllString(name, "")] = true
			}
		}
		return out
	}
	for page, dir := range map[string]string{"../README.md": "../", policyPage: "../docs/", "../docs/ARCHITECTURE.md": "../docs/"} {
		data, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range linkRE.FindAllStringSubmatch(string(data), -1) {
			file, anchor, _ := strings.Cut(m[1], "#")
			switch {
			case strings.Contains(m[1], "://"):
			case file == "":
				if !anchors(page)["#"+anchor] {
					t.Errorf("%s: no heading %s", page, m[1])
				}
			default:
				if _, err := os.Stat(dir + file); err != nil {
					t.Errorf("%s: %v", page, err)
				} else if anchor != "" && !anchors(dir + file)["#"+anchor] {
					t.Errorf("%s: no heading #%s in %s", page, anchor, file)
				}
			}
		}
	}
}
