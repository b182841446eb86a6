package registrar

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"sallyport/sbc/tu"
)

// registers lets the PBX accept a REGISTER of a phone with credentials, field by field.
func (s *stage) registers(name string, credentials ...string) {
	m := s.phones[name].request()
	for i, c := range credentials {
		m.Add([]string{"Authorization", "Proxy-Authorization"}[i%2], c)
	}
	r, _ := s.start(s.phones[name], m, nil)
	s.step(r, tu.Routed{Hops: []tu.Hop{nodeHop("10.0.0.10:5060")}})
	s.step(r, s.grant(r, 1, 600))
}

// TestAnswers: whose names are known at an address after REGISTERs that the PBX has accepted, each a list of credentials.
func TestAnswers(t *testing.T) {
	long := strings.Repeat("x", 300)
	for _, tt := range []struct {
		name      string
		registers [][]string
		own       string // names that may be the phone's
		others    string // and those that may not
	}{
		{"nothing is known", [][]string{{}}, "204 205 auth", ""},
		{"the user's", [][]string{{`Digest username="204"`}}, "204 204@example.com 204@pbx", "205 205@example.com auth 2044"},
		{"another", [][]string{{`Digest username="auth", nonce="n"`}}, "auth AUTH 204", "205 aut"},
		{"twice the same", [][]string{{`Digest username="auth"`, `Digest username="auth", realm="other"`}}, "auth 204", "205"},
		{"a refresh without", [][]string{{`Digest username="auth"`}, {}}, "auth 204", "205"},
		{"a refresh by another", [][]string{{`Digest username="auth"`}, {`Digest username="new"`}}, "new 204", "auth 205"},
		{"two in one", [][]string{{`Digest username="204", username="205"`}}, "204", "205"},
		{"two of two", [][]string{{`Digest username="205", realm="bait"`, `Digest username="204"`}}, "204", "205"},
		{"behind a flaw", [][]string{{`Digest username="205"; username="204"`}}, "204", "205"},
		{"none", [][]string{{`Digest nonce="n"`}}, "204", "205"},
		{"a long one", [][]string{{`Digest username="` + long + `"`}}, "204", "205 " + long},
	} {
		s := newStage(t)
		for _, credentials := range tt.registers {
			s.registers("a", credentials...)
		}
		at := s.phones["a"].flow.Remote.Addr()
		for _, name := range strings.Fields(tt.own) {
			if !s.set.Book.Answers(at, name) {
				t.Errorf("%s: %.20s is not its own", tt.name, name)
			}
		}
		for _, name := range strings.Fields(tt.others) {
			if s.set.Book.Answers(at, name) {
				t.Errorf("%s: %.20s is its own", tt.name, name)
			}
		}
		if tt.others != "" && s.set.Book.Answers(at, "") {
			t.Errorf("%s: no name at all is its own", tt.name)
		}
	}
}

// TestLoginsGoWithTheirBindings, and do not come back with them.
func TestLoginsGoWithTheirBindings(t *testing.T) {
	s := newStage(t)
	s.registers("a", `Digest username="auth"`)
	book, at := s.set.Book, s.phones["a"].flow.Remote.Addr()
	var kept []Binding
	for b := range book.All {
		kept = append(kept, *b)
	}
	if book.Answers(at, "205") {
		t.Error("205 is known")
	}
	again := NewBook()
	if again.Restore(kept, s.now); again.Len() != 1 || !again.Answers(at, "205") {
		t.Error("after a restart nobody can know")
	}
	for _, x := range kept {
		book.remove(book.tokens[x.Token])
	}
	if !book.Answers(at, "205") || len(book.sources) != 0 {
		t.Errorf("nobody is left, and %v", book.sources)
	}
}

// TestSuspects: who is one is so for the whole of a source, in his own name.
func TestSuspects(t *testing.T) {
	b := NewBook()
	at, near, far := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2"), netip.MustParseAddr("198.51.100.7")
	b.Suspect(zero, "204@example.com", at)
	for _, tt := range []struct {
		aor  string
		at   netip.Addr
		want bool
	}{
		{"204@example.com", at, true}, {"204@example.com", near, true}, {"205@example.com", at, false}, {"204@example.com", far, false},
	} {
		if got := b.Suspected(zero.Add(time.Minute), tt.aor, tt.at); got != tt.want {
			t.Errorf("%s at %v: %v", tt.aor, tt.at, got)
		}
	}
}
