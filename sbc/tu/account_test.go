package tu

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"sallyport/sbc/message"
)

// printed is what formatting, encoding and logging make of a value.
func printed(t *testing.T, v any) (texts []string) {
	t.Helper()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		texts = append(texts, fmt.Sprintf(verb, v))
	}
	written, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	entry, err := zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()).EncodeEntry(zapcore.Entry{}, []zapcore.Field{zap.Any("v", v)})
	if err != nil {
		t.Fatal(err)
	}
	console, err := zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig()).EncodeEntry(zapcore.Entry{}, []zapcore.Field{zap.Any("v", v)})
	if err != nil {
		t.Fatal(err)
	}
	return append(texts, string(written), entry.String(), console.String())
}

// TestPasswordsAreNotPrinted: whatever encloses an account, exported or not, by value or by pointer.
func TestPasswordsAreNotPrinted(t *testing.T) {
	a := Account{Username: "alice", Password: NewPassword("wonderland"), Realms: []string{"itsp"}}
	type inner struct {
		account Account
		at      *Account
		word    Password
	}
	type Outer struct {
		Account Account
		At      *Account
		Word    Password
		inner
		list  []Account
		table map[string]Account
		boxed any
		by    map[Password]int
	}
	outer := Outer{
		Account: a, At: &a, Word: a.Password, inner: inner{a, &a, a.Password}, list: []Account{a}, table: map[string]Account{"x": a}, boxed: a,
		by: map[Password]int{a.Password: 1},
	}
	hex := fmt.Sprintf("%x", "wonderland")
	for _, v := range []any{a, &a, a.Password, &a.Password, outer, &outer, outer.inner, &outer.inner, []any{outer}, struct{ o Outer }{outer}, &Peer{Account: &a}} {
		for _, text := range printed(t, v) {
			if strings.Contains(text, "wonderland") || strings.Contains(strings.ToLower(text), hex) {
				t.Errorf("%T: %s", v, text)
			}
		}
	}
	if a.Password.Reveal() != "wonderland" {
		t.Error("nobody can use it")
	}
}

func TestPassword(t *testing.T) {
	x, y, other, none := NewPassword("x"), NewPassword("x"), NewPassword("y"), NewPassword("")
	if !x.Is(y) || x.Is(other) || x.Is(none) || !none.Is(Password{}) || none != (Password{}) {
		t.Error("which passwords are the same")
	}
	if none.String() != "" || x.String() != "(hidden)" {
		t.Errorf("%q %q", none, x)
	}
	a, b := &Account{Username: "u", Password: x, Realms: []string{"r"}}, &Account{Username: "u", Password: y}
	if !a.Same(b) || a.Same(&Account{Username: "u", Password: other}) || a.Same(&Account{Username: "v", Password: x}) || a.Same(nil) {
		t.Error("which accounts are the same")
	}
	var nobody *Account
	if !nobody.Same(nil) || nobody.Same(a) {
		t.Error("none")
	}
}

func TestAnswers(t *testing.T) {
	a := &Account{Realms: []string{"itsp"}}
	var none *Account
	if none.Answers("itsp") || a.Answers("evil") || a.Answers("") || !a.Answers("itsp") {
		t.Error("whose challenges are answered")
	}
}

func TestPreload(t *testing.T) {
	m := &message.Message{Headers: []message.Header{{Name: "Subject", Value: "x"}}}
	(&Peer{Routes: []string{"<sip:a;lr>", "<sip:b;lr>"}}).Preload(m)
	(&Peer{}).Preload(m)
	if fmt.Sprint(m.Headers) != "[{Subject x} {Route <sip:a;lr>} {Route <sip:b;lr>}]" {
		t.Errorf("%v", m.Headers)
	}
}
