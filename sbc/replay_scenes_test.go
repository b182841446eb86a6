package sbc_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/sbc/message"
)

// challengeOf is what a registrar asks with.
func challengeOf(nonce string) message.Header {
	return field(fmt.Sprintf(`WWW-Authenticate: Digest realm="example.com", nonce=%q`, nonce))
}

// limited is a rule for all phones, so many at once and then one a day.
func limited(method string, burst int) []string {
	return []string{"rate_limits: []", fmt.Sprintf("rate_limits: [ { name: few, range: any, limits: { %s: 1/day }, burst: %d } ]", method, burst)}
}

// calls makes a call of a phone's that the PBX takes.
func (d *door) calls() (caller, callee *party) {
	d.t.Helper()
	invite := d.phone.speaks("INVITE", "204")
	d.phone.send(phoneSocket, invite)
	arrived := d.pbx.want("INVITE")
	d.pbx.reply(arrived, 200, sdpAt(d.pbx.at.Addr(), 4002))
	caller, callee = d.ends(d.phone, d.pbx, phoneSocket, invite, arrived, d.phone.want("200 INVITE"))
	d.phone.send(phoneSocket, caller.within("ACK", invite.CSeq))
	d.pbx.want("ACK")
	return caller, callee
}

// guesses sends REGISTERs, each with credentials for the nonce before, as long as they reach the PBX, and so many at most.
func (d *door) guesses(w *wire, change func(*message.Message), most int) (tries int) {
	d.t.Helper()
	nonce := ""
	for ; tries < most; tries++ {
		m := w.guess("206", nonce)
		change(m)
		nonce = fmt.Sprintf("%s-%d", w.at, w.n)
		if !d.denies(w, m, nonce) {
			return tries
		}
	}
	return tries
}

// TestReplaysAreWhatHappened: whatever the guard learns from the rooms behind it, a replay learns from their answers.
func TestReplaysAreWhatHappened(t *testing.T) {
	atHome := netip.AddrPortFrom(phoneAt.Addr(), 7070)
	for _, tt := range []struct {
		name   string
		config []string
		plays  func(t *testing.T, d *door)
		want   string // that must have happened: a fate, or the beginning of a ban
	}{
		{"a guess that UDP repeats", nil, func(_ *testing.T, d *door) {
			w, nonce := d.wire(visitorAt), ""
			for n := range 4 { // three with credentials, each twice
				m := w.guess("204", nonce)
				nonce = fmt.Sprint("n", n)
				d.denies(w, m, nonce)
				w.send(phoneSocket, m)
			}
		}, "198.51.100.8 allowed"},
		{"challenges that are sent again", limited("REGISTER", 3), func(_ *testing.T, d *door) {
			w := d.wire(visitorAt)
			first := w.guess("204", "")
			d.denies(w, first, "n")
			for range 4 {
				w.send(phoneSocket, first)
				time.Sleep(time.Second)
			}
			for range 4 {
				w.send(phoneSocket, w.guess("204", "n"))
			}
		}, "198.51.100.8 limit-exceeded"},
		{"a user that names his port", nil, func(_ *testing.T, d *door) {
			d.enter(d.phone, "204")
			d.guesses(d.wire(atHome), func(m *message.Message) { m.To.URI.Port, m.From.URI.Port = 5060, 5060 }, 20)
		}, "206@example.com at 198.51.100.7 "},
		{"folded credentials", nil, func(_ *testing.T, d *door) {
			w, nonce := d.wire(visitorAt), ""
			for n := range 8 {
				text := string(write(d.t, w.guess("204", nonce)))
				text = strings.Replace(text, `, realm="example.com", `, ",\r\n realm=\"example.com\",\r\n\t ", 1)
				if _, err := w.conn.WriteToUDPAddrPort([]byte(text), phoneSocket); err != nil {
					d.t.Fatal(err)
				}
				synctest.Wait()
				in := d.pbx.next(100 * time.Millisecond)
				if in == nil {
					return
				}
				nonce = fmt.Sprint("n", n)
				d.pbx.reply(in, 401, nil, challengeOf(nonce))
				w.want("401 REGISTER")
			}
		}, "198.51.100.8 from"},
		{"whom nobody may call", []string{"unregistered: drop", "unregistered: forward, reachable: [ info ]"}, func(_ *testing.T, d *door) {
			w := d.wire(visitorAt)
			for range 14 {
				d.met(w, w.asks("INVITE", "300", user("0900123", "example.com"), signs("Authorization", "300", "n")))
			}
		}, "198.51.100.8 ban"},
		{"somebody unknown at a phone's address", nil, func(_ *testing.T, d *door) {
			d.enter(d.phone, "204")
			for range 14 {
				d.met(d.phone, d.phone.asks("MESSAGE", "300", user("100", "example.com"), signs("Authorization", "300", "n")))
			}
		}, "198.51.100.7 allowed"},
		{"a user of another domain", nil, func(_ *testing.T, d *door) {
			d.enter(d.phone, "204")
			for range 14 {
				m := d.phone.guess("204", "n")
				m.To.URI.Host, m.From.URI.Host = "elsewhere.example", "elsewhere.example"
				d.met(d.phone, m)
			}
		}, "198.51.100.7 allowed"},
		{"a refresh that the gate answers", []string{"phones: { unregistered", "phones: { registration: { inside: 1h, reauthenticate: 10m }, unregistered"}, func(t *testing.T, d *door) {
			nonce := "of the phone"
			first := d.phone.registers("204", "<sip:204@"+d.phone.at.String()+">")
			d.denies(d.phone, first, nonce)
			second := d.phone.again(first, signs("Authorization", "204", nonce))
			d.bind(d.phone, second)
			bad := d.wire(atHome)
			d.guesses(bad, func(m *message.Message) { m.To.URI.User, m.From.URI.User = "204", "204" }, 4)
			d.phone.send(phoneSocket, d.phone.again(second))
			d.phone.want("200 REGISTER")
			d.pbx.quiet(time.Second)
			d.guesses(bad, func(m *message.Message) { m.To.URI.User, m.From.URI.User = "204", "204" }, 4)
		}, "204@example.com at 198.51.100.7 "},
		{"the end of a call", limited("BYE", 1), func(_ *testing.T, d *door) {
			d.enter(d.phone, "204")
			caller, callee := d.calls()
			bye := caller.ask("BYE")
			callee.reply(callee.want("BYE"), 200, nil)
			d.phone.want("200 BYE")
			time.Sleep(5 * time.Second)
			for range 4 {
				d.phone.send(phoneSocket, d.phone.again(bye))
			}
		}, "198.51.100.7 limit-exceeded"},
		{"a call goes on when its re-INVITE is refused", limited("INFO", 1), func(_ *testing.T, d *door) {
			d.enter(d.phone, "204")
			caller, callee := d.calls()
			again := withBody(caller.within("INVITE", 0), []byte(strings.Replace(string(sdpAt(d.phone.at.Addr(), 4000)), "1 1 IN", "1 2 IN", 1)+"a=sendonly\r\n"))
			d.phone.send(phoneSocket, again)
			callee.reply(callee.want("INVITE"), 488, nil)
			d.phone.send(phoneSocket, ackOf(again, d.phone.want("488 INVITE")))
			time.Sleep(time.Minute)
			for range 4 {
				caller.ask("INFO")
				callee.reply(callee.want("INFO"), 200, nil)
				d.phone.want("200 INFO")
			}
		}, "198.51.100.7 allowed"},
		{"a call that the phone refuses", limited("INFO", 1), func(t *testing.T, d *door) {
			token := d.enter(d.phone, "204")
			invite := withBody(d.pbx.request("INVITE", netip.AddrPortFrom(gateInside, 5060), token), sdpAt(d.pbx.at.Addr(), 4002))
			d.pbx.send(netip.AddrPortFrom(gateInside, 5060), invite)
			rings := d.phone.want("INVITE")
			d.phone.reply(rings, 486, nil)
			d.pbx.want("486 INVITE")
			time.Sleep(5 * time.Second)
			for range 3 {
				m := d.phone.asks("INFO", "204", user("100", "example.com"))
				m.CallID, m.To.Tag = rings.CallID, rings.From.Tag
				d.phone.send(phoneSocket, m)
			}
		}, "198.51.100.7 limit-exceeded"},
		{"a phone whose time is nearly over", []string{"phones: { unregistered", "phones: { registration: { outside: 60s }, unregistered"}, func(_ *testing.T, d *door) {
			d.enter(d.phone, "204")
			for range 2 {
				time.Sleep(65 * time.Second)
				d.met(d.phone, d.phone.asks("MESSAGE", "204", user("100", "example.com")))
			}
		}, "198.51.100.7 not-registered"},
		{"a phone that ends them all", nil, func(_ *testing.T, d *door) {
			d.enter(d.phone, "204")
			other := d.wire(visitorAt)
			d.enter(other, "204")
			m := other.registers("204", "*")
			m.Headers = slices.DeleteFunc(m.Headers, func(h message.Header) bool { return h.Name == "Expires" })
			m.Add("Expires", "0")
			other.send(phoneSocket, m)
			d.pbx.reply(d.pbx.want("REGISTER"), 200, nil)
			other.want("200 REGISTER")
			d.met(d.phone, d.phone.asks("MESSAGE", "204", user("100", "example.com")))
		}, "198.51.100.7 not-registered"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDoor(t, doorConfig, tt.config...)
				defer d.close()
				compare := d.asReplayed(rewritten(t, doorConfig, tt.config...))
				// Whoever registers in the first hour counts as registered from the beginning, which a scene that is shorter would not tell.
				beginning := d.wire(netip.MustParseAddrPort("192.0.2.1:5060"))
				beginning.send(phoneSocket, beginning.asks("OPTIONS", "1", user("1", "example.com")))
				time.Sleep(2 * time.Hour)
				tt.plays(t, d)
				time.Sleep(time.Second) // what was sent last is under way
				if happened, _ := d.lived(); !happened.has(tt.want) {
					t.Errorf("nothing like %q: %v", tt.want, happened)
				}
				compare()
			})
		})
	}
}
