package sbc_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/sbc/message"
)

// signs is the credentials of a user for a nonce, with some password.
func signs(field, username, nonce string) message.Header {
	return message.Header{Name: field, Value: fmt.Sprintf(`Digest username=%q, realm="example.com", nonce=%q, uri="sip:x", response="0123456789abcdef0123456789abcdef"`, username, nonce)}
}

// proves registers a user from a place by a digest user name.
func (d *door) proves(w *wire, name, username string) {
	d.t.Helper()
	m := w.registers(name, "<sip:"+name+"@"+w.at.String()+">")
	m.Headers = append(m.Headers, signs("Authorization", username, "first"))
	d.bind(w, m)
}

// asksAgain sends requests of a phone, each with credentials for the nonce before, until the PBX hears no more of them, and tells
// how many it has heard.
func (d *door) asksAgain(w *wire, method, from string, code int, most int, username string) (tries int) {
	d.t.Helper()
	nonce := ""
	for ; tries < most; tries++ {
		m := w.speaks(method, from)
		if method == "REGISTER" {
			m = w.registers(from, "<sip:"+from+"@"+w.at.String()+">")
		}
		field, asks := "Authorization", "WWW-Authenticate"
		if code != 401 {
			field, asks = "Proxy-Authorization", "Proxy-Authenticate"
		}
		if nonce != "" {
			m.Headers = append(m.Headers, signs(field, username, nonce))
		}
		w.send(phoneSocket, m)
		in := d.pbx.next(100 * time.Millisecond)
		if in == nil {
			return tries
		}
		answer := code
		if nonce == "" && code == 403 {
			answer = 407
		}
		if nonce == "" || code != 403 {
			nonce = fmt.Sprint(method, "-", from, "-", tries)
		}
		d.pbx.reply(in, answer, nil, message.Header{Name: asks, Value: fmt.Sprintf(`Digest realm="example.com", nonce=%q`, nonce)})
		if method == "INVITE" {
			d.pbx.want("ACK")
		}
		got := w.want(fmt.Sprint(answer, " ", method))
		if method == "INVITE" {
			w.send(phoneSocket, ackOf(m, got))
		}
	}
	return tries
}

// TestAPhoneGuessesAnotherAccount: who has an account has no more tries at the password of another one than a stranger.
func TestAPhoneGuessesAnotherAccount(t *testing.T) {
	for method, code := range map[string]int{"MESSAGE": 407, "INVITE": 407, "SUBSCRIBE": 401, "OPTIONS": 401, "REGISTER": 401} {
		t.Run(method, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDoor(t, doorConfig)
				defer d.close()
				defer d.asReplayed(doorConfig)()
				d.proves(d.phone, "204", "204")
				tries := d.asksAgain(d.phone, method, "204", code, 40, "205")
				if bans := d.bans(); tries != 5 || len(bans) != 1 {
					t.Errorf("%d tries, bans %v", tries, bans)
				}
			})
		})
	}
}

// TestAPhoneThatGuessesIsNotForgiven because it knows its own password.
func TestAPhoneThatGuessesIsNotForgiven(t *testing.T) {
	for method, code := range map[string]int{"MESSAGE": 407, "REGISTER": 401} {
		t.Run(method, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDoor(t, doorConfig)
				defer d.close()
				defer d.asReplayed(doorConfig)()
				tries := 0
				for range 3 {
					d.proves(d.phone, "204", "204")
					tries += d.asksAgain(d.phone, method, "204", code, 3, "205")
					if len(d.bans()) > 0 {
						break
					}
				}
				if bans := d.bans(); tries > 7 || len(bans) != 1 {
					t.Errorf("%d tries, bans %v", tries, bans)
				}
			})
		})
	}
}

// TestPhonesAskInTheirOwnNames: a PBX that forgets its nonces and does not say so, or forbids a number, bans nobody who asks by a name
// that is known at the address.
func TestPhonesAskInTheirOwnNames(t *testing.T) {
	const most = 12
	here := netip.MustParseAddrPort("198.51.100.7:6060")
	for _, tt := range []struct {
		name   string
		code   int
		enters func(d *door)
		signed string
	}{
		{"the user's", 407, func(d *door) { d.proves(d.phone, "204", "204") }, "204"},
		{"with its host", 401, func(d *door) { d.proves(d.phone, "204", "204") }, "204@example.com"},
		{"another one than the user's", 407, func(d *door) { d.proves(d.phone, "204", "auth-77") }, "auth-77"},
		{"the user's, of a phone with another one", 407, func(d *door) { d.proves(d.phone, "204", "auth-77") }, "204"},
		{"of a second account", 407, func(d *door) {
			d.proves(d.phone, "204", "204")
			d.proves(d.phone, "206", "auth-78")
		}, "auth-78"},
		{"of a second account at another port", 407, func(d *door) {
			d.proves(d.phone, "204", "204")
			d.proves(d.wire(here), "206", "auth-78")
		}, "auth-78"},
		{"of a phone that has shown none", 407, func(d *door) { d.enter(d.phone, "204") }, "auth-77"},
		{"beside a phone that has shown none", 407, func(d *door) {
			d.proves(d.phone, "204", "204")
			d.enter(d.wire(here), "206")
		}, "auth-78"},
		{"a number that is forbidden", 403, func(d *door) { d.proves(d.phone, "204", "204") }, "205"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDoor(t, doorConfig)
				defer d.close()
				defer d.asReplayed(doorConfig)()
				tt.enters(d)
				tries := d.asksAgain(d.phone, "MESSAGE", "204", tt.code, most, tt.signed)
				if bans := d.bans(); tries != most || len(bans) != 0 {
					t.Errorf("%d tries, bans %v", tries, bans)
				}
			})
		})
	}
}

// TestAPhoneGuessesInDisguise: what the PBX may read as another's name is one, however it was written, and whatever the phone
// registered with.
func TestAPhoneGuessesInDisguise(t *testing.T) {
	const from, to = `Digest realm="example.com", `, `, nonce="%s", uri="sip:x", response="0123456789abcdef0123456789abcdef"`
	for name, credentials := range map[string][]string{
		"the second of two":  {from + `username="204", username="205"` + to},
		"the first of two":   {from + `username="205", username="204"` + to},
		"behind a flaw":      {from + `username="204"; username="205"` + to},
		"escaped":            {from + `username="20\5"` + to},
		"a token":            {from + `username = 205` + to},
		"own field first":    {from + `username="204"` + to, from + `username="205"` + to},
		"other realm first":  {`Digest realm="other", username="204", nonce="x", uri="sip:x", response="0"`, from + `username="205"` + to},
		"other realm behind": {from + `username="205"` + to, `Digest realm="other", username="204", nonce="x", uri="sip:x", response="0"`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDoor(t, doorConfig)
				defer d.close()
				defer d.asReplayed(doorConfig)()
				write := func(m *message.Message, nonce string) {
					for _, c := range credentials {
						m.Add("Authorization", strings.ReplaceAll(c, "%s", nonce))
					}
				}
				first := d.phone.registers("204", "<sip:204@"+d.phone.at.String()+">")
				first.Headers = append(first.Headers, signs("Authorization", "204", "first"))
				if strings.Contains(name, "two") || strings.Contains(name, "other") || name == "own field first" {
					write(first, "first") // bait: the PBX takes the one and the phone is known by the other
				}
				d.bind(d.phone, first)
				nonce, tries := "", 0
				for ; tries < 20; tries++ {
					m := d.phone.speaks("MESSAGE", "204")
					if nonce != "" {
						write(m, nonce)
					}
					d.phone.send(phoneSocket, m)
					in := d.pbx.next(100 * time.Millisecond)
					if in == nil {
						break
					}
					nonce = fmt.Sprint("nonce-", tries)
					d.pbx.reply(in, 401, nil, field(fmt.Sprintf(`WWW-Authenticate: Digest realm="example.com", nonce=%q`, nonce)))
					d.phone.want("401 MESSAGE")
				}
				if bans := d.bans(); tries != 5 || len(bans) != 1 || bans[0] != "user 204@example.com at 198.51.100.7 by evidence" {
					t.Errorf("%d tries, bans %v", tries, bans)
				}
			})
		})
	}
}
