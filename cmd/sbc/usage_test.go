package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// asked finds the verb of a command line and has it judge flags and arguments, without running it.
func asked(words []string) (path string, err error) {
	cmd, rest, err := newRoot().Find(words)
	if err != nil {
		return "", err
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return cmd.CommandPath(), err
	}
	return cmd.CommandPath(), cmd.ValidateArgs(cmd.Flags().Args())
}

// words cuts a command line; single quotes hold words together.
func words(line string) (out []string) {
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			out = append(out, part)
			continue
		}
		out = append(out, strings.Fields(part)...)
	}
	return out
}

// TestExamples: each is of its verb, and can be typed as it stands.
func TestExamples(t *testing.T) {
	for verb, text := range examples {
		for line := range strings.SplitSeq(text, "    ") {
			if path, err := asked(words(strings.TrimPrefix(line, "sbc "))); err != nil || path != verb {
				t.Errorf("%s: %q is of %q: %v", verb, line, path, err)
			}
		}
	}
}

var spanRE = regexp.MustCompile("`(?:\\$ )?sbc ([^`…|]+)`")

// TestDocumentedVerbs: whatever the pages name in backticks exists, with its flags.
func TestDocumentedVerbs(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, page := range append(pages, "../../README.md") {
		data, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range spanRE.FindAllStringSubmatch(string(data), -1) {
			line, _, _ := strings.Cut(m[1], " && ")
			cmd, rest, err := newRoot().Find(words(line))
			if err == nil {
				err = cmd.ParseFlags(rest)
			}
			if err != nil && !strings.Contains(err.Error(), "invalid argument") && !strings.Contains(err.Error(), "needs an argument") {
				t.Errorf("%s: `sbc %s`: %v", page, m[1], err)
			}
			seen++
		}
	}
	if seen < 50 {
		t.Errorf("%d verbs found", seen)
	}
}

// TestSoughtWords: each word leads to one verb at most of those beside it, and is none itself.
func TestSoughtWords(t *testing.T) {
	root := newRoot()
	names := map[string]bool{}
	for _, c := range root.Commands() {
		names[c.Name()] = true
	}
	by := map[string]string{}
	for verb, list := range soughtAs {
		if !names[verb] {
			t.Errorf("no verb %s", verb)
		}
		for _, word := range list {
			if by[word] != "" || names[word] {
				t.Errorf("%s stands for %s and %s", word, verb, by[word])
			}
			by[word] = verb
		}
	}
}

// TestAMistypedVerb is told the one that is meant, once, at the top and below another verb.
func TestAMistypedVerb(t *testing.T) {
	for typed, meant := range map[string]string{
		"trunk": "\ttrunks\n", "unban 1.2.3.4": "\tbans\n", "statsu": "\tstatus\n", "bans delete 1.2.3.4": "\tremove\n", "bans ad": "\tadd\n",
		"trunks enable itsp": "\tundrain\n", "policy tset": "\ttest\n",
	} {
		var out, errs bytes.Buffer
		code := execute(strings.Fields(typed), &out, &errs)
		if _, said, _ := strings.Cut(errs.String(), "Did you mean this?\n"); code != exitUsage || !strings.HasPrefix(said, meant+"  hint: sbc") {
			t.Errorf("sbc %s: %d\n%s", typed, code, &errs)
		}
	}
}

// TestEveryVerbSaysHow: whatever is typed half ends with a hint, exits 2 and asks nobody.
func TestEveryVerbSaysHow(t *testing.T) {
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			visit(sub)
		}
		if c.Name() == "help" || strings.HasPrefix(c.CommandPath(), "sbc completion") {
			return
		}
		var out, errs bytes.Buffer
		args := append(strings.Fields(c.CommandPath())[1:], "--no-such-flag")
		if code := execute(args, &out, &errs); code != exitUsage || out.Len() > 0 || !strings.Contains(errs.String(), "\n  hint: ") || !strings.Contains(errs.String(), "usage: "+c.CommandPath()) {
			t.Errorf("%v: %d\n%s%s", args, code, &out, &errs)
		}
	}
	visit(newRoot())
}
