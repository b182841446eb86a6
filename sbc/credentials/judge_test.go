package credentials

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestJudge(t *testing.T) {
	for _, tt := range []struct {
		name     string
		method   string
		signed   bool
		code     int
		stale    bool
		phone    Judgement // somebody unnamed at the address of one
		stranger Judgement
		named    Judgement // a phone that speaks as who it is
	}{
		{"a first challenge", "REGISTER", false, 401, false, Unjudged, Unjudged, Unjudged},
		{"a wrong password", "REGISTER", true, 401, false, WrongDigest, WrongDigest, DoubtedDigest},
		{"of a proxy", "INVITE", true, 407, false, WrongDigest, WrongDigest, DoubtedDigest},
		{"forbidden", "REGISTER", true, 403, false, WrongDigest, WrongDigest, Unjudged},
		{"an old nonce", "REGISTER", true, 401, true, Unjudged, Unjudged, Unjudged},
		{"no such user", "REGISTER", false, 404, false, Unjudged, UnknownUser, Unjudged},
		{"no such user, signed", "REGISTER", true, 404, false, Unjudged, UnknownUser, Unjudged},
		{"nobody there", "SUBSCRIBE", false, 480, false, Unjudged, UnknownUser, Unjudged},
		{"forbidden, unsigned", "OPTIONS", false, 403, false, Unjudged, UnknownUser, Unjudged},
		{"no such number", "INVITE", false, 404, false, Unjudged, Nowhere, Unjudged},
		{"nowhere at all", "INVITE", false, 604, false, Unjudged, Nowhere, Unjudged},
		{"busy", "INVITE", false, 486, false, Unjudged, Unjudged, Unjudged},
		{"registered", "REGISTER", true, 200, false, Accepted, Accepted, Unjudged},
		{"registered without a password", "REGISTER", false, 200, false, Unjudged, Unjudged, Unjudged},
		{"a call with one", "INVITE", true, 200, false, Unjudged, Unjudged, Unjudged},
	} {
		a := Answer{Method: tt.method, Code: tt.code, Signed: tt.signed, Stale: tt.stale}
		if got := a.Judge(); got != tt.phone {
			t.Errorf("%s, of a phone: %d, want %d", tt.name, got, tt.phone)
		}
		if a.Stranger = true; a.Judge() != tt.stranger {
			t.Errorf("%s, of a stranger: %d, want %d", tt.name, a.Judge(), tt.stranger)
		}
		if a.Stranger, a.Named = false, true; a.Judge() != tt.named {
			t.Errorf("%s, of a phone that speaks as who it is: %d, want %d", tt.name, a.Judge(), tt.named)
		}
	}
}

func TestStale(t *testing.T) {
	for challenge, want := range map[string]bool{
		`Digest nonce="a", stale=true`:       true,
		`Digest nonce="a", Stale = "TRUE"`:   true,
		"Digest stale\t=\ttrue, nonce=\"a\"": true,
		`Digest nonce="a", stale=false`:      false,
		`Digest nonce="a", stale`:            false,
		`Digest nonce="a", stale true`:       false,
		`Digest nonce="a", stale=tru`:        false,
		`Digest stale="", nonce="true"`:      false,
		``:                                   false,
	} {
		if got := Stale(challenge); got != want {
			t.Errorf("%s: %v", challenge, got)
		}
	}
}

// FuzzStale: a challenge that says so as it should is understood.
func FuzzStale(f *testing.F) {
	for _, s := range []string{`Digest nonce="a", stale=TRUE`, `Digest stale = "true"`, `Digest stale="`, `stale=`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, challenge string) {
		got := Stale(challenge)
		for _, p := range Parse(challenge) {
			if value, _ := p.Get("stale"); strings.EqualFold(value, "true") && len(value) == len("true") && !got {
				t.Errorf("%q", challenge)
			}
		}
	})
}

// file is what a test knows of a source.
type file struct {
	issued  string // nonces
	names   string // of phones there; empty: any name may be
	suspect bool
}

func (f *file) Issued(nonce string) bool { return slices.Contains(strings.Fields(f.issued), nonce) }

func (f *file) Answers(username string) bool {
	return f.names == "" || slices.Contains(strings.Fields(f.names), username)
}

func (f *file) Suspect()        { f.suspect = true }
func (f *file) Suspected() bool { return f.suspect }

// TestWeigh: by what is known a judgement stands or falls.
func TestWeigh(t *testing.T) {
	const own, other = `Digest username="204", nonce="n"`, `Digest username="205", nonce="n"`
	const old, hidden = `Digest username="205", nonce="before"`, `Digest username="204", nonce="x", nonce="n"`
	for _, tt := range []struct {
		name        string
		j           Judgement
		code        int
		credentials []string
		known       file
		want        Judgement
		suspect     bool // afterwards
	}{
		{"a stranger's guess", WrongDigest, 401, []string{own}, file{"n", "", false}, WrongDigest, false},
		{"an old nonce", WrongDigest, 401, []string{own}, file{"m", "", false}, Unjudged, false},
		{"a refusal, whatever the nonce", WrongDigest, 403, []string{own}, file{"m", "", false}, WrongDigest, false},
		{"a hidden nonce", WrongDigest, 401, []string{hidden}, file{"n", "", false}, WrongDigest, false},
		{"behind an old one", WrongDigest, 407, []string{old, own}, file{"n", "", false}, WrongDigest, false},
		{"a phone by its own name", DoubtedDigest, 407, []string{own}, file{"n", "204", false}, Unjudged, false},
		{"a phone by another's", DoubtedDigest, 407, []string{other}, file{"n", "204", false}, WrongDigest, true},
		{"by another's, for an old nonce", DoubtedDigest, 407, []string{old}, file{"n", "204", false}, Unjudged, false},
		{"by both", DoubtedDigest, 407, []string{own, other}, file{"n", "204", false}, WrongDigest, true},
		{"in no list to the end", DoubtedDigest, 407, []string{`Digest username="204", nonce="n"; username="205"`}, file{"n", "204", false}, WrongDigest, true},
		{"a phone registers by another's", WrongDigest, 401, []string{other}, file{"n", "204", false}, WrongDigest, true},
		{"its own password", Accepted, 200, []string{own}, file{"n", "204", false}, Accepted, false},
		{"its own after another's", Accepted, 200, []string{own}, file{"n", "204", true}, Unjudged, true},
		{"no such user", UnknownUser, 404, nil, file{}, UnknownUser, false},
		{"nowhere", Nowhere, 404, nil, file{}, Nowhere, false},
		{"nothing", Unjudged, 486, []string{other}, file{"n", "204", false}, Unjudged, false},
	} {
		got := Weigh(tt.j, tt.code, slices.Values(tt.credentials), &tt.known)
		if got != tt.want || tt.known.suspect != tt.suspect {
			t.Errorf("%s: %d, suspect %v", tt.name, got, tt.known.suspect)
		}
	}
}

// FuzzWeigh: whatever is written as credentials, a registered phone's is its own or a guess, and what is doubted is decided.
func FuzzWeigh(f *testing.F) {
	f.Add(`Digest username="204", nonce="n"`, `Digest username="205", nonce="n"`, uint8(DoubtedDigest), 407)
	f.Add(`Digest nonce=`, "", uint8(WrongDigest), 401)
	f.Fuzz(func(t *testing.T, a, b string, j uint8, code int) {
		k := &file{"n", "204", false}
		switch got := Weigh(Judgement(j), code, slices.Values([]string{a, b}), k); {
		case got == DoubtedDigest, k.suspect && got != WrongDigest, got != Unjudged && got != WrongDigest && got != Judgement(j):
			t.Errorf("%d of %d, %+v", got, j, k)
		}
	})
}

// TestLogin: by which names the phones at a source may speak. The book of phones proves the rest.
func TestLogin(t *testing.T) {
	long := strings.Repeat("x", loginMost+1)
	accepted := func(fields ...string) Login { return Login{}.Accepted(slices.Values(fields)) }
	for _, tt := range []struct {
		name   string
		phones map[string]Login
		own    string
		others string
	}{
		{"nobody", nil, "204 205", ""},
		{"nothing is known", map[string]Login{"204": {}}, "204 205", ""},
		{"a user", map[string]Login{"204": accepted(`Digest username="204"`)}, "204 204@example.com", "205"},
		{"another name", map[string]Login{"204": accepted(`Digest username="auth"`)}, "AUTH 204", "205"},
		{"two phones", map[string]Login{"204": accepted(`Digest username="auth"`), "206": accepted(`Digest username="206"`)}, "auth 204 206", "205"},
		{"one beside", map[string]Login{"204": accepted(`Digest username="auth"`), "206": {}}, "205", ""},
		{"a long one", map[string]Login{"204": accepted(`Digest username="` + long + `"`)}, "204", long},
	} {
		all := func(yield func(string, Login) bool) {
			for user, l := range tt.phones {
				if !yield(user, l) {
					return
				}
			}
		}
		for _, name := range strings.Fields(tt.own) {
			if !Answers(all, name) {
				t.Errorf("%s: %.20s is not its own", tt.name, name)
			}
		}
		for _, name := range strings.Fields(tt.others) {
			if Answers(all, name) {
				t.Errorf("%s: %.20s is its own", tt.name, name)
			}
		}
	}
	before := accepted(`Digest username="auth"`)
	if after := before.Accepted(slices.Values([]string(nil))); after != before {
		t.Error(fmt.Sprint("a REGISTER without credentials says ", after))
	}
}
