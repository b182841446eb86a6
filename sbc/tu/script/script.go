// Package script plays the recorded runs of the users of the core (call, event, exchange, registrar). A run is a text of blocks:
// an event, a line of dashes, and a line for each action that came of it. Lines that begin with # are comments.
//
//	# why this run is worth keeping
//	routed node1 code=503
//	----
//	a< 503 INVITE #1
//	end
//
// A room says what its events are and how its actions are written; the rest is here. It is for tests alone.
package script

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the recorded runs")

// Golden plays each file that a pattern finds, at least so many, and fails where what comes of it differs. play gets a text and
// returns it with the actions that came of it; -update writes that to the file. README.txt tells the language of a folder.
func Golden(t *testing.T, pattern string, least int, play func(t *testing.T, text string) string) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) < least {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, name := range files {
		if filepath.Base(name) == "README.txt" {
			continue
		}
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(text))
			if *update {
				if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != string(text) {
				t.Errorf("actions differ; -update rewrites the file\n%s", Difference(string(text), got))
			}
		})
	}
}

// Difference shows the surroundings of the first line that differs.
func Difference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(w), len(g)) {
		if i >= len(w) || i >= len(g) || w[i] != g[i] {
			from := max(0, i-6)
			return fmt.Sprintf("line %d\nwant:\n%s\ngot:\n%s", i+1,
				strings.Join(w[min(from, len(w)):min(i+6, len(w))], "\n"), strings.Join(g[min(from, len(g)):min(i+6, len(g))], "\n"))
		}
	}
	return ""
}

// Play hands the events of a text to a function, one after another, and returns the text with the lines that came of each.
func Play(text string, event func(line string) []string) string {
	var out strings.Builder
	recorded := false // what follows is what came of the event when it was recorded
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		switch {
		case strings.HasPrefix(line, "#"):
			out.WriteString(line + "\n")
		case line == "":
			recorded = false
			out.WriteString("\n")
		case strings.HasPrefix(line, "----"):
			recorded = true
		case !recorded:
			fmt.Fprintf(&out, "%s\n----\n", line)
			for _, l := range event(line) {
				out.WriteString(l + "\n")
			}
		}
	}
	return out.String()
}

// Words are the arguments of an event that have a name: name=value.
type Words map[string]string

// Number is the value of an argument; where there is none, or no number, it is otherwise.
func (w Words) Number(name string, otherwise int) int {
	if n, err := strconv.Atoi(w[name]); err == nil {
		return n
	}
	return otherwise
}

// Event takes a line apart: what happens, arguments without a name, and those with one.
func Event(line string) (what string, plain []string, w Words) {
	f := strings.Fields(line)
	w = Words{}
	for _, x := range f[1:] {
		if k, v, ok := strings.Cut(x, "="); ok {
			w[k] = v
		} else {
			plain = append(plain, x)
		}
	}
	return f[0], plain, w
}

// Names are what ids are called in a text, by the id: they are random, or would be noise.
type Names map[string]string

// Of is the name of an id: its kind and a number, C1, C2, in the order in which they come up.
func (n Names) Of(kind, id string) string {
	if n[id] == "" {
		next := 1
		for _, x := range n {
			if strings.HasPrefix(x, kind) {
				next++
			}
		}
		n[id] = kind + strconv.Itoa(next)
	}
	return n[id]
}
