package sdp

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// corpus are descriptions as real equipment writes them, by name without ending.
func corpus(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("../../testdata/sdp/*.sdp")
	if err != nil || len(files) < 15 {
		t.Fatalf("corpus: %d files, %v", len(files), err)
	}
	all := make(map[string][]byte, len(files))
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSuffix(filepath.Base(f), ".sdp")] = b
	}
	return all
}

// must parses what has to parse.
func must(t testing.TB, b []byte) *Session {
	t.Helper()
	s, err := Parse(b)
	if err != nil {
		t.Fatalf("%v in\n%s", err, b)
	}
	return s
}

// text makes a description of lines, with CRLF behind each.
func text(lines ...string) []byte { return []byte(strings.Join(lines, "\r\n") + "\r\n") }

// base is a small description that tests vary: lines go between t= and the m= line of an audio stream.
func base(lines ...string) []byte {
	head := []string{"v=0", "o=- 1 1 IN IP4 10.0.0.1", "s=x", "c=IN IP4 10.0.0.1", "t=0 0"}
	return text(append(append(head, lines...), "m=audio 4000 RTP/AVP 0 101")...)
}

// streamOf is the same with lines behind the m= line.
func streamOf(lines ...string) []byte {
	head := []string{"v=0", "o=- 1 1 IN IP4 10.0.0.1", "s=x", "c=IN IP4 10.0.0.1", "t=0 0", "m=audio 4000 RTP/AVP 0 101"}
	return text(append(head, lines...)...)
}
