package digest

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport/nat"
	"sallyport/sbc/credentials"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

var began = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// hopTo is a hop to an address of a trunk.
func hopTo(trunk, at string, a tu.Account) tu.Hop {
	return tu.Hop{
		Peer: &tu.Peer{Kind: tu.KindTrunk, Name: trunk, Side: nat.Outside, Account: &a},
		Flow: nat.Flow{Interface: 1, Remote: netip.MustParseAddrPort(at)},
	}
}

// user is somebody who asks peers, with the book of his requests.
type user struct {
	*Book
	t      testing.TB
	callID string
	ref    tu.Ref
}

var users int

func newUser(t testing.TB, keys *Keyring) *user {
	users++
	return &user{Book: NewBook(keys), t: t, callID: fmt.Sprint("call-", users)}
}

// ask sends a request, which may be of a dialog.
func (u *user) ask(now time.Time, h tu.Hop, toTag string) tu.Send {
	u.ref++
	m := request("INVITE")
	m.CallID, m.To.Tag = u.callID, toTag
	s := tu.Send{Ref: u.ref, Msg: m, Hop: h}
	u.Sign(now, s)
	return s
}

// hear takes a response; again is the request once more, nil: it does not go once more.
func (u *user) hear(now time.Time, s tu.Send, m *message.Message) *tu.Send {
	a, challenged := u.Heard(now, tu.Answered{Ref: s.Ref, Msg: m})
	if !challenged || !u.Answer(now, &a, m, cnonce) {
		return nil
	}
	u.ref++
	again := u.Again(now, a, u.ref, a.Msg.CSeq+1)
	return &again
}

func final(status int) *message.Message { return &message.Message{Status: status} }

// shown are the credentials of a request: realm/nonce/count.
func shown(s tu.Send) string {
	var list []string
	for _, h := range s.Msg.Headers {
		if !credential(h.Name) {
			continue
		}
		for _, p := range credentials.Parse(h.Value) {
			realm, _ := p.Get("realm")
			nonce, _ := p.Get("nonce")
			count, _ := p.Get("nc")
			list = append(list, realm+"/"+nonce+"/"+strings.TrimLeft(count, "0"))
		}
	}
	return strings.Join(list, " ")
}

const want = `Digest realm="r", nonce=%q, qop="auth"`

// letIn is a call that is challenged for a nonce and let in.
func letIn(t testing.TB, k *Keyring, now time.Time, h tu.Hop, nonce string) {
	t.Helper()
	u := newUser(t, k)
	s := u.ask(now, h, "")
	again := u.hear(now, s, asked(407, fmt.Sprintf(want, nonce)))
	if again == nil {
		t.Fatal("no answer")
	}
	u.hear(now, *again, final(200))
}

// TestKept: to whom credentials of an earlier call go, and to whom not.
func TestKept(t *testing.T) {
	alice := account("r", "s")
	here := hopTo("itsp", "203.0.113.20:5060", alice)
	change := func(f func(h *tu.Hop)) tu.Hop {
		h := here
		peer := *here.Peer
		h.Peer = &peer
		f(&h)
		return h
	}
	with := func(a tu.Account) func(h *tu.Hop) { return func(h *tu.Hop) { h.Peer.Account = &a } }
	for _, tt := range []struct {
		name string
		hop  tu.Hop
		at   time.Duration
		want string
	}{
		{"the same place", here, 0, "r/n/2"},
		{"nine minutes later", here, 9 * time.Minute, "r/n/2"},
		{"ten minutes later", here, keptFor, ""},
		{"another connection there", change(func(h *tu.Hop) { h.Flow.Conn = 7 }), 0, "r/n/2"},
		{"the same account, read anew", change(with(account("r"))), 0, "r/n/2"},
		{"another address of the trunk", hopTo("itsp", "203.0.113.21:5060", alice), 0, ""},
		{"another port", hopTo("itsp", "203.0.113.20:5070", alice), 0, ""},
		{"another transport", change(func(h *tu.Hop) { h.Flow.Transport = nat.TCP }), 0, ""},
		{"another socket of ours", change(func(h *tu.Hop) { h.Flow.Interface = 2 }), 0, ""},
		{"another trunk at that address", hopTo("other", "203.0.113.20:5060", alice), 0, ""},
		{"a node", change(func(h *tu.Hop) { h.Peer.Kind = tu.KindNode }), 0, ""},
		{"the realm is not the account's any more", change(with(account("s"))), 0, ""},
		{"another password", change(with(tu.Account{Username: "alice", Password: tu.NewPassword("x"), Realms: []string{"r"}})), 0, ""},
		{"another login", change(with(tu.Account{Username: "bob", Password: alice.Password, Realms: []string{"r"}})), 0, ""},
	} {
		k := NewKeyring()
		letIn(t, k, began, here, "n")
		if got := shown(newUser(t, k).ask(began.Add(tt.at), tt.hop, "")); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestKeptWhenLetIn: a refusal, or silence, lets nobody in.
func TestKeptWhenLetIn(t *testing.T) {
	h := hopTo("itsp", "203.0.113.20:5060", account("r"))
	for status, kept := range map[int]bool{100: false, 180: true, 183: true, 200: true, 302: false, 403: false, 486: false, 503: false} {
		k := NewKeyring()
		u := newUser(t, k)
		again := u.hear(began, u.ask(began, h, ""), asked(407, fmt.Sprintf(want, "n")))
		if got := shown(newUser(t, k).ask(began, h, "")); got != "" {
			t.Errorf("before an answer: %s", got)
		}
		u.hear(began, *again, final(status))
		if got := shown(newUser(t, k).ask(began, h, "")); (got != "") != kept {
			t.Errorf("after %d: %q", status, got)
		}
	}
	u := newUser(t, NewKeyring())
	again := u.hear(began, u.ask(began, h, ""), asked(407, fmt.Sprintf(want, "n")))
	if _, challenged := u.Heard(began, tu.Failed{Ref: again.Ref, Code: 408}); challenged || len(u.sent) != 0 {
		t.Error("silence")
	}
}

// TestAskedAnew: one more round, whatever the place calls it; a second challenge is a refusal; nobody else is offered the old nonce.
func TestAskedAnew(t *testing.T) {
	h := hopTo("itsp", "203.0.113.20:5060", account("r"))
	for _, stale := range []string{"", ", stale=true"} {
		k := NewKeyring()
		letIn(t, k, began, h, "n")
		u := newUser(t, k)
		s := u.ask(began, h, "")
		again := u.hear(began, s, asked(407, fmt.Sprintf(want, "n2")+stale))
		if again == nil || shown(*again) != "r/n2/1" || u.Refused() {
			t.Fatalf("%v: %v", again, u.why)
		}
		if got := shown(newUser(t, k).ask(began, h, "")); got != "" {
			t.Errorf("offered to the next call: %s", got)
		}
		if u.hear(began, *again, asked(407, fmt.Sprintf(want, "n3"))) != nil || !u.Refused() {
			t.Error("a wrong password is not found out")
		}
		if got := shown(u.ask(began, h, "x")); got != "" {
			t.Errorf("what was refused is offered again: %s", got)
		}
	}
	// The same nonce again, because its count came too late: once more, with another count.
	k := NewKeyring()
	letIn(t, k, began, h, "n")
	u := newUser(t, k)
	again := u.hear(began, u.ask(began, h, ""), asked(407, fmt.Sprintf(want, "n")))
	if again == nil || shown(*again) != "r/n/3" {
		t.Fatalf("%v", again)
	}
	if u.hear(began, *again, asked(407, fmt.Sprintf(want, "n"))) != nil {
		t.Error("a loop")
	}
	// In a foreign name: nothing more.
	k = NewKeyring()
	letIn(t, k, began, h, "n")
	u = newUser(t, k)
	if u.hear(began, u.ask(began, h, ""), asked(407, `Digest realm="evil", nonce="n"`)) != nil || u.Refused() {
		t.Error("a foreign realm is answered")
	}
}

// TestTheNextHop: another address of the trunk is offered what it has asked for itself, and nothing that the one before has asked for.
func TestTheNextHop(t *testing.T) {
	one := hopTo("itsp", "203.0.113.20:5060", account("r"))
	two := one
	two.Flow.Remote = netip.MustParseAddrPort("203.0.113.21:5060")
	k := NewKeyring()
	u := newUser(t, k)
	again := u.hear(began, u.ask(began, one, ""), asked(407, fmt.Sprintf(want, "n")))
	u.hear(began, *again, final(503))
	s := u.ask(began, two, "")
	if got := shown(s); got != "" {
		t.Errorf("the second hop gets %s", got)
	}
	again = u.hear(began, s, asked(407, fmt.Sprintf(want, "m")))
	u.hear(began, *again, final(200))
	if got := shown(u.ask(began, one, "x")); got != "r/m/2" { // wherever its Contact leads, it is the dialog that was let in
		t.Errorf("the dialog has %q", got)
	}
	letIn(t, k, began, one, "n")
	u = newUser(t, k)
	if first, second := shown(u.ask(began, one, "")), shown(u.ask(began, two, "")); first != "r/n/2" || second != "r/m/3" {
		t.Errorf("%q, then %q", first, second)
	}
}

// TestInVain: who takes no nonce of another call is spared for an hour.
func TestInVain(t *testing.T) {
	h := hopTo("itsp", "203.0.113.20:5060", account("r"))
	k := NewKeyring()
	now, offered := began, 0
	letIn(t, k, now, h, "n")
	for i := range 70 {
		u := newUser(t, k)
		s := u.ask(now, h, "")
		if shown(s) != "" {
			offered++
		}
		again := u.hear(now, s, asked(407, fmt.Sprintf(want, fmt.Sprint("n", i))))
		u.hear(now, *again, final(200))
		u.hear(now, u.ask(now, h, "x"), final(200)) // of the dialog: it says nothing of other calls
		now = now.Add(time.Minute)
	}
	if offered != 2*vainMost {
		t.Errorf("offered %d times in 70 minutes", offered)
	}
}

// TestTakenAmiss: a place that has never let anybody in by a nonce of another call may not like it; one that has means what it says.
func TestTakenAmiss(t *testing.T) {
	h := hopTo("itsp", "203.0.113.20:5060", account("r"))
	for _, status := range []int{400, 403} {
		k := NewKeyring()
		letIn(t, k, began, h, "n")
		u := newUser(t, k)
		again := u.hear(began, u.ask(began, h, ""), final(status))
		if again == nil || shown(*again) != "" {
			t.Fatalf("%d: %v", status, again)
		}
		if u.hear(began, *again, final(status)) != nil {
			t.Errorf("%d: a loop", status)
		}
		letIn(t, k, began, h, "n2")
		if got := shown(newUser(t, k).ask(began.Add(time.Minute), h, "")); got != "" {
			t.Errorf("%d: it is offered %s", status, got)
		}
	}
	k := NewKeyring()
	letIn(t, k, began, h, "n")
	u := newUser(t, k)
	u.hear(began, u.ask(began, h, ""), final(200))
	u = newUser(t, k)
	if u.hear(began, u.ask(began, h, ""), final(403)) != nil {
		t.Error("a 403 of one that takes them is the answer")
	}
	u = newUser(t, NewKeyring())
	if u.hear(began, u.ask(began, h, ""), final(403)) != nil {
		t.Error("a 403 to a request without credentials is the answer")
	}
}

// TestRetain: what is of no account or address any more is forgotten.
func TestRetain(t *testing.T) {
	alice := account("r")
	k := NewKeyring()
	for i := range 4 {
		letIn(t, k, began, hopTo(fmt.Sprint("t", i), "203.0.113.20:5060", alice), "n")
	}
	changed := tu.Account{Username: "alice", Password: tu.NewPassword("x")}
	k.Retain(func(kind tu.Kind, peer string, remote netip.AddrPort) *tu.Account {
		if kind != tu.KindTrunk || remote.String() != "203.0.113.20:5060" {
			t.Error(kind, remote)
		}
		return map[string]*tu.Account{"t0": &alice, "t1": &changed, "t2": {Username: "alice", Password: tu.NewPassword("wonderland")}}[peer]
	})
	if len(k.by) != 2 {
		t.Errorf("%d are kept", len(k.by))
	}
}

// TestRoom: places without number push out those that were used least recently.
func TestRoom(t *testing.T) {
	k := NewKeyring()
	first, alice := hopTo("itsp", "203.0.113.20:1", account("r")), account("r")
	letIn(t, k, began, first, "n")
	for i := range maxPlaces + 50 {
		at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, byte(i >> 8), byte(i)}), 5060)
		letIn(t, k, began, hopTo("itsp", at.String(), alice), "n")
		if i%1000 == 0 {
			newUser(t, k).ask(began, first, "")
		}
	}
	if len(k.by) != maxPlaces {
		t.Errorf("%d places", len(k.by))
	}
	if shown(newUser(t, k).ask(began, first, "")) == "" {
		t.Error("one in use was pushed out")
	}
}

// TestKeyringLaws: over any order of calls, at any places: what was asked at one place goes to no other, no pair of nonce and count
// twice, nothing to a realm that is not the account's, and a request goes at most six times.
func TestKeyringLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k, now := NewKeyring(), began
		alice, bob := account("r", "s"), tu.Account{Username: "bob", Password: tu.NewPassword("b"), Realms: []string{"r"}}
		hops := []tu.Hop{
			hopTo("a", "203.0.113.20:5060", alice), hopTo("a", "203.0.113.21:5060", alice), hopTo("b", "203.0.113.20:5060", bob),
		}
		gave := map[string]int{} // which hop a nonce is of
		seen := map[string]bool{}
		nonces := 0
		check := func(h int, s tu.Send) {
			for c := range strings.FieldsSeq(shown(s)) {
				realm, rest, _ := strings.Cut(c, "/")
				nonce, _, _ := strings.Cut(rest, "/")
				if of, ok := gave[nonce]; !ok || of != h || !hops[h].Peer.Account.Answers(realm) || seen[c] {
					t.Fatalf("hop %d gets %s, of hop %d, before: %v", h, c, of, seen[c])
				}
				seen[c] = true
			}
		}
		for range rapid.IntRange(1, 40).Draw(t, "calls") {
			now = now.Add(time.Duration(rapid.IntRange(0, 900).Draw(t, "later")) * time.Second)
			h := rapid.IntRange(0, len(hops)-1).Draw(t, "hop")
			users++
			u := &user{Book: NewBook(k), callID: fmt.Sprint("call-", users)}
			s := u.ask(now, hops[h], "")
			check(h, s)
			for sent := 1; ; {
				m := final(rapid.SampledFrom([]int{180, 200, 403, 486, 407, 407, 407, 401}).Draw(t, "status"))
				if tu.Challenge(m.Status) {
					nonces++
					nonce := fmt.Sprint("n", nonces)
					gave[nonce] = h
					realm := rapid.SampledFrom([]string{"r", "r", "s", "evil"}).Draw(t, "realm")
					value := fmt.Sprintf(`Digest realm=%q, nonce=%q, qop="auth"`, realm, nonce)
					if rapid.Bool().Draw(t, "stale") {
						value += ", stale=true"
					}
					m = asked(m.Status, value)
				}
				again := u.hear(now, s, m)
				if again == nil {
					if m.Status == 180 {
						continue
					}
					break
				}
				s = *again
				if check(h, s); sent > 5 {
					t.Fatal("a loop")
				}
				sent++
			}
		}
	})
}

// TestNothingIsPrinted: neither the password nor the hash that is as good, of whatever holds them.
func TestNothingIsPrinted(t *testing.T) {
	k := NewKeyring()
	h := hopTo("itsp", "203.0.113.20:5060", account("r"))
	u := newUser(t, k)
	again := u.hear(began, u.ask(began, h, ""), asked(407, fmt.Sprintf(want, "n")))
	u.hear(began, *again, final(200))
	s := u.clients[0].spaces[0]
	l := k.by[placeOf(&h)]
	for _, v := range []any{k, *k, l, *l, u.Book, *u.Book, u.clients, u.clients[0].Client, s, *s, u.sent, h, h.Peer, *h.Peer} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
			if text := fmt.Sprintf(verb, v); strings.Contains(text, "wonderland") || strings.Contains(text, s.a1.Reveal()) {
				t.Errorf("%T as %s: %s", v, verb, text)
			}
		}
	}
}

// TestWhatAPeerMakesOfTheAccount: refused is what begins something, and by whom all that was asked for was given; let in is who is
// signed, or makes a call without being asked.
func TestWhatAPeerMakesOfTheAccount(t *testing.T) {
	k, h := NewKeyring(), hopTo("itsp", "192.0.2.1:5060", account("r"))
	var heard []string
	k.Judged = func(now time.Time, p *tu.Peer, refused bool) {
		if p != h.Peer || !now.Equal(began) {
			t.Errorf("of %s, at %v", p.Name, now)
		}
		heard = append(heard, map[bool]string{true: "refused", false: "in"}[refused])
	}
	expect := func(what, words string) {
		t.Helper()
		if got := strings.Join(heard, " "); got != words {
			t.Errorf("%s: %q, want %q", what, got, words)
		}
		heard = nil
	}
	u := newUser(t, k)
	again := u.hear(began, u.ask(began, h, ""), asked(407, fmt.Sprintf(want, "n1")))
	expect("a challenge", "")
	if u.hear(began, *again, asked(407, fmt.Sprintf(want, "n2"))) != nil {
		t.Fatal("two answers")
	}
	expect("another one for the answer", "refused")

	u = newUser(t, k)
	again = u.hear(began, u.ask(began, h, "tag"), asked(407, fmt.Sprintf(want, "n1")))
	u.hear(began, *again, asked(407, fmt.Sprintf(want, "n2")))
	expect("within a dialog", "")
	u.hear(began, u.ask(began, h, ""), asked(407, fmt.Sprintf(strings.Replace(want, `"r"`, `"foreign"`, 1), "n1")))
	expect("a foreign realm", "")
	u.hear(began, u.ask(began, h, ""), final(486))
	expect("busy", "")

	letIn(t, k, began, h, "n3")
	expect("a call that is let in", "in")
	u = newUser(t, nil)
	u.hear(began, u.ask(began, h, ""), final(200)) // without a keyring
	fresh := NewKeyring()
	fresh.Judged = k.Judged
	u = newUser(t, fresh)
	s := u.ask(began, h, "")
	u.hear(began, s, final(100))
	expect("100 is of this hop alone", "")
	u.hear(began, s, final(180))
	u.hear(began, s, final(200))
	expect("a call that nobody asks for a password", "in")
}
