package registrar

import (
	"fmt"
	"testing"

	"sallyport/sbc/tu"
	"sallyport/sbc/userpart"
)

// TestASpelledUserIsOne: in whatever spelling a user registers, his bindings are those of one address-of-record, with one bound for
// all of them (RFC 3261 §10.3 step 5). The PBX reads what the phone wrote.
func TestASpelledUserIsOne(t *testing.T) {
	s := newStage(t)
	s.set.Limits.Contacts = 3
	refused := 0
	for n, user := range []string{"204", "%3204", "%32%30%34", "204;isub=1", "204%3Bisub=1", "204:secret"} {
		p := *s.phones["a"]
		p.user, p.callID, p.host = user, fmt.Sprint("call", n), fmt.Sprintf("192.168.1.20:%d", 6000+n)
		m := p.request()
		m.Set("Contact", "<sip:204@"+p.host+">;expires=3600")
		m.Add("Authorization", `Digest username="204"`)
		r, do := s.start(&p, m, nil)
		if code := answerOf(do); code != 0 {
			if refused++; code != 403 {
				t.Errorf("%s: %d", user, code)
			}
			continue
		}
		s.step(r, tu.Routed{Hops: []tu.Hop{nodeHop("10.0.0.10:5060")}})
		sent := r.sent[1].Msg
		if want := userpart.Named(user); sent.To.URI.User != want || sent.From.URI.User != want {
			t.Errorf("the PBX reads %s and %s of %s", sent.To.URI.User, sent.From.URI.User, user)
		}
		s.step(r, s.grant(r, 1, 600))
	}
	if list := s.set.Book.AoR("204@example.com"); len(list) != 3 || s.set.Book.Len() != 3 || refused != 3 {
		t.Errorf("%d bindings of %d, %d were refused", len(list), s.set.Book.Len(), refused)
	}
	consistent(t, s.set.Book)
}

// answerOf is the code of an answer among actions; 0: there is none.
func answerOf(do []tu.Action) int {
	for _, a := range do {
		if r, ok := a.(tu.Respond); ok {
			return r.Msg.Status
		}
	}
	return 0
}

// TestNobodyInParticular: a user that one reads so and another one otherwise is refused.
func TestNobodyInParticular(t *testing.T) {
	for _, user := range []string{"204%00", "%00", "204%0D%0A", ";isub=1", "%3Bisub=1"} {
		s := newStage(t)
		p := *s.phones["a"]
		p.user = user
		m := p.request()
		m.Set("Contact", "<sip:204@192.168.1.20>")
		_, do := s.start(&p, m, nil)
		if code := answerOf(do); code != 400 {
			t.Errorf("%s: %d", user, code)
		}
	}
}

// TestASpelledContactIsOne: a phone that spells its Contact otherwise has one binding (RFC 3261 §19.1.4).
func TestASpelledContactIsOne(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"<sip:204@192.168.1.20>", "<sip:%3204@192.168.1.20>", true},
		{"<sip:204@example.org>", "<sip:204@EXAMPLE.org.>", true},
		{"<sip:204@[2001:db8::1]>", "<sip:204@[2001:DB8:0:0::1]>", true},
		{"<sip:204@192.168.1.20>", "<sip:204@192.168.1.20:5060>", false}, // §19.1.4: a port that is left out is none
		{"<sip:%2B49@192.168.1.20>", "<sip:+49@192.168.1.20>", false},
		{"<sip:204:a@192.168.1.20>", "<sip:204@192.168.1.20>", false},
	} {
		a, b := mustNameAddr(t, c.a), mustNameAddr(t, c.b)
		if got := sameURI(&a.URI, &b.URI); got != c.same || sameURI(&b.URI, &a.URI) != got {
			t.Errorf("%s and %s: %v", c.a, c.b, got)
		}
	}
}

// TestRestoreJoinsSpellings: what a program before has kept as two users is one.
func TestRestoreJoinsSpellings(t *testing.T) {
	var list []Binding
	for i, aor := range []string{"204@example.com", "%3204@example.com", "204;isub=1@Example.com", "204%00@example.com", ";x@example.com"} {
		list = append(list, Binding{AoR: aor, Token: fmt.Sprint("t", i), Flow: udp(fmt.Sprint("198.51.100.7:", 1000+i)), Expires: zero.Add(1e10)})
	}
	b := NewBook()
	b.Restore(list, zero)
	consistent(t, b)
	if n := len(b.AoR("204@example.com")); n != 3 || b.Len() != 3 || b.Token("t1").AoR != "204@example.com" {
		t.Errorf("%d of %d", n, b.Len())
	}
}
