package script

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPlay(t *testing.T) {
	const text = "# why\nfirst a b=1\n----\nan old action\n# in it\nanother\n\nsecond\n----\n\n# the end\n"
	const want = "# why\nfirst a b=1\n----\nheard first\nsaid 2\n# in it\n\nsecond\n----\nheard second\n\n# the end\n"
	var events []string
	got := Play(text, func(line string) []string {
		events = append(events, line)
		what, plain, w := Event(line)
		out := []string{"heard " + what}
		if len(plain) > 0 {
			out = append(out, fmt.Sprint("said ", w.Number("b", 0)+len(plain)))
		}
		return out
	})
	if got != want || len(events) != 2 {
		t.Errorf("events %q\n%s", events, cmp.Diff(want, got))
	}
	if again := Play(got, func(line string) []string {
		what, plain, _ := Event(line)
		out := []string{"heard " + what}
		if len(plain) > 0 {
			out = append(out, "said 2")
		}
		return out
	}); again != got {
		t.Errorf("played again it differs: %s", cmp.Diff(got, again))
	}
}

func TestEvent(t *testing.T) {
	what, plain, w := Event("a  INVITE sdp=audio:4000 to= x=1=2 now")
	if what != "a" || !cmp.Equal(plain, []string{"INVITE", "now"}) || !cmp.Equal(w, Words{"sdp": "audio:4000", "to": "", "x": "1=2"}) {
		t.Errorf("%q %q %q", what, plain, w)
	}
	if w.Number("to", 7) != 7 || w.Number("absent", 8) != 8 || (Words{"n": "-3"}).Number("n", 0) != -3 {
		t.Error("a number is another one")
	}
}

func TestNames(t *testing.T) {
	n := Names{}
	for _, c := range []struct{ kind, id, want string }{{"C", "x", "C1"}, {"C", "y", "C2"}, {"T", "z", "T1"}, {"C", "x", "C1"}, {"T", "x", "C1"}, {"C", "w", "C3"}} {
		if got := n.Of(c.kind, c.id); got != c.want {
			t.Errorf("%s %s is %s, want %s", c.kind, c.id, got, c.want)
		}
	}
}

func TestDifference(t *testing.T) {
	if d := Difference("a\nb", "a\nb"); d != "" {
		t.Errorf("of the same: %q", d)
	}
	for want, got := range map[string]string{"a\nb\nc": "a\nx\nc", "a": "a\nx", "a\nb\nd": "a"} {
		if d := Difference(want, got); !strings.HasPrefix(d, "line 2\n") {
			t.Errorf("%q and %q: %q", want, got, d)
		}
	}
}

// TestGolden: with -update the file has what came of it, and the one that tells the language is left alone.
func TestGolden(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"one.txt": "say hi\n----\nold\n", "README.txt": "no events here\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	play := func(_ *testing.T, text string) string {
		return Play(text, func(line string) []string { return []string{strings.TrimPrefix(line, "say ")} })
	}
	defer func(was bool) { *update = was }(*update)
	*update = true
	Golden(t, filepath.Join(dir, "*.txt"), 2, play)
	*update = false
	Golden(t, filepath.Join(dir, "*.txt"), 2, play)
	for name, want := range map[string]string{"one.txt": "say hi\n----\nhi\n", "README.txt": "no events here\n"} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}
