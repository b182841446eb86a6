package reason

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"testing"
)

// TestAllIsComplete holds the list against the constants of the source: the counters of the whole program are numbered
// by it.
func TestAllIsComplete(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "reason.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var words []Reason
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if typ, ok := spec.Type.(*ast.Ident); ok && typ.Name == "Reason" {
			for _, v := range spec.Values {
				word, err := strconv.Unquote(v.(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				words = append(words, Reason(word))
			}
		}
		return true
	})
	if !slices.Equal(words, All[:]) {
		t.Errorf("constants %v\nAll       %v", words, All)
	}
}

func TestIndex(t *testing.T) {
	word := regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`)
	for i, r := range All {
		if Index(r) != i {
			t.Errorf("%s has index %d and stands at %d: it is there twice", r, Index(r), i)
		}
		if !word.MatchString(string(r)) {
			t.Errorf("%q is no label", r)
		}
	}
	if Index("no such reason") != -1 || Index("") != -1 {
		t.Error("a foreign word has an index")
	}
}

// The words are what administrators search their logs for: none may change.
func TestWordsOfTheManual(t *testing.T) {
	for _, w := range []Reason{
		"allow", "live-dialog", "white-list", "malformed", "too-large", "ban", "black-list", "country", "user-agent", "message-rule",
		"limit-exceeded", "strangers-budget", "stranger", "unknown-trunk", "not-registered", "loop", "no-route", "no-ports",
		"no-capacity", "no-pbx", "overload", "draining", "leak", "media-forbidden", "media-timeout", "session-expired",
		"ring-timeout", "transfer", "fraud", "internal", "timeout", "signalling-lost",
	} {
		if Index(w) < 0 {
			t.Errorf("%q is gone", w)
		}
	}
}
