package config

import (
	"encoding"
	"errors"
	"strings"
	"testing"
)

// valueCase is one text for a value type: what String makes of it, or words of the error and of its hint.
type valueCase struct{ text, want, bad, hint string }

// text is what every value type does.
type text[T any] interface {
	*T
	encoding.TextUnmarshaler
	encoding.TextMarshaler
	String() string
}

func checkValues[T any, P text[T]](t *testing.T, cases []valueCase) {
	t.Helper()
	for _, c := range cases {
		var v T
		err := P(&v).UnmarshalText([]byte(c.text))
		if c.bad != "" {
			bad, ok := errors.AsType[*valueError](err)
			if !ok {
				t.Errorf("%q: read as %q, want an error with %q", c.text, P(&v).String(), c.bad)
				continue
			}
			if !strings.Contains(bad.what, c.bad) || !strings.Contains(bad.hint, c.hint) || bad.hint == "" {
				t.Errorf("%q: %q, hint %q; want %q, hint %q", c.text, bad.what, bad.hint, c.bad, c.hint)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", c.text, err)
			continue
		}
		if got := P(&v).String(); got != c.want {
			t.Errorf("%q: String %q, want %q", c.text, got, c.want)
		}
		again(t, P(&v))
	}
}

// again checks that a value reads back from what it writes.
func again[T any, P text[T]](t *testing.T, v P) {
	t.Helper()
	out, err := v.MarshalText()
	if err != nil {
		t.Errorf("%q cannot be written: %v", v.String(), err)
		return
	}
	var back T
	if err := P(&back).UnmarshalText(out); err != nil || P(&back).String() != v.String() {
		t.Errorf("%q reads back as %q, %v", out, P(&back).String(), err)
	}
}
