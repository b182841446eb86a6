package sbc_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"sallyport/nat/natlab"
	"sallyport/sbc"
	"sallyport/sbc/message"
)

// guess is a REGISTER that answers a nonce with some password.
func (w *wire) guess(name, nonce string) *message.Message {
	m := w.registers(name, "<sip:"+name+"@"+w.at.String()+">")
	if nonce != "" {
		m.Add("Authorization", fmt.Sprintf(`Digest username=%q, realm="example.com", nonce=%q, uri="sip:example.com", response="0123456789abcdef0123456789abcdef"`, name, nonce))
	}
	return m
}

// denies lets a REGISTER reach the PBX, which asks for another password under a nonce. It reports false if the PBX hears
// nothing of it.
func (d *door) denies(w *wire, m *message.Message, nonce string) bool {
	d.t.Helper()
	w.send(phoneSocket, m)
	in := d.pbx.next(100 * time.Millisecond)
	if in == nil {
		return false
	}
	d.pbx.reply(in, 401, nil, message.Header{Name: "WWW-Authenticate", Value: fmt.Sprintf(`Digest realm="example.com", nonce=%q`, nonce)})
	w.want("401 REGISTER")
	return true
}

// dials opens a connection to the phones' door from an address.
func (d *door) dials(from netip.Addr) net.Conn {
	d.t.Helper()
	c, err := d.net.Host(from).DialStream(d.ctx, netip.AddrPortFrom(from, 0), phoneSocket)
	if err != nil {
		d.t.Fatal(err)
	}
	return c
}

// ended reports whether a connection has been closed by the gate.
func ended(c net.Conn) bool {
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	_, err := io.Copy(io.Discard, c) // what was answered before does not count
	if err == nil {
		return true
	}
	var wait net.Error
	return !errors.As(err, &wait) || !wait.Timeout()
}

// bans are the bans in force, in short.
func (l *lab) bans() (out []string) {
	l.t.Helper()
	list, err := l.gate.Control(nil).Bans(l.ctx)
	if err != nil {
		l.t.Fatal(err)
	}
	for i := range list {
		out = append(out, list[i].Kind+" "+list[i].Target()+" by "+list[i].By)
	}
	return out
}

// TestWhoGuessesPasswordsIsBanned, once its answers have proven its address: all of its address, and its connections end.
func TestWhoGuessesPasswordsIsBanned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, doorConfig)
		defer d.close()
		defer d.asReplayed(doorConfig)()
		visitor, other := d.wire(visitorAt), d.wire(netip.MustParseAddrPort("198.51.100.9:5060"))
		stream := d.dials(visitorAt.Addr())
		defer stream.Close()
		elsewhere := d.dials(netip.MustParseAddr("198.51.100.9"))
		defer elsewhere.Close()
		tries, nonce := 0, ""
		for ; tries < 20; tries++ {
			m := visitor.guess("204", nonce)
			nonce = fmt.Sprint("nonce-", tries)
			if !d.denies(visitor, m, nonce) {
				break
			}
		}
		if want := []string{"address 198.51.100.8 by evidence"}; tries != 5 || !slices.Equal(d.bans(), want) {
			t.Errorf("%d tries, then %v, want five and %v", tries, d.bans(), want)
		}
		if !ended(stream) {
			t.Error("its connection stays")
		}
		for _, port := range []uint16{5060, 6060} { // the address, whatever the port
			w := visitor
			if port != 5060 {
				w = d.wire(netip.AddrPortFrom(visitorAt.Addr(), port))
			}
			w.send(phoneSocket, w.registers("204", "<sip:204@"+w.at.String()+">"))
			w.quiet(time.Second)
		}
		d.pbx.quiet(time.Second)
		if !d.denies(other, other.guess("204", ""), "for-another") || ended(elsewhere) {
			t.Error("somebody else is shut out with it")
		}
		if text := d.why(visitorAt.Addr().String()); !strings.Contains(text, "wrong digest") {
			t.Errorf("why says\n%s", text)
		}
		time.Sleep(11 * time.Minute) // policy.bans.first
		if !d.denies(visitor, visitor.guess("204", ""), "again") || len(d.bans()) != 0 {
			t.Errorf("the ban does not end: %v", d.bans())
		}
	})
}

// TestAnUnansweredChallengeIsNoOffence: phones ask first without a password, some of them for ever.
func TestAnUnansweredChallengeIsNoOffence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, doorConfig)
		defer d.close()
		defer d.asReplayed(doorConfig)()
		visitor := d.wire(visitorAt)
		for i := range 40 {
			if !d.denies(visitor, visitor.guess("204", ""), fmt.Sprint("n", i)) {
				t.Fatalf("refused after %d", i)
			}
			time.Sleep(time.Second)
		}
		// An old nonce is none either (RFC 7616 §3.3).
		for i := range 10 {
			visitor.send(phoneSocket, visitor.guess("204", fmt.Sprint("n", 30+i)))
			d.pbx.reply(d.pbx.want("REGISTER"), 401, nil, message.Header{Name: "WWW-Authenticate", Value: `Digest realm="example.com", nonce="x", stale=TRUE`})
			visitor.want("401 REGISTER")
		}
		if len(d.bans()) != 0 {
			t.Error(d.bans())
		}
	})
}

// TestASuccessForgives: who mistypes his password now and then is not added up.
func TestASuccessForgives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, doorConfig)
		defer d.close()
		defer d.asReplayed(doorConfig)()
		visitor := d.wire(visitorAt)
		for round := range 4 {
			nonce := ""
			for i := range 4 { // three wrong ones: 15 points of 20
				m := visitor.guess("204", nonce)
				nonce = fmt.Sprint("round-", round, "-", i)
				if !d.denies(visitor, m, nonce) {
					t.Fatalf("refused in round %d: %v", round, d.bans())
				}
			}
			m := visitor.guess("204", nonce)
			visitor.send(phoneSocket, m)
			in := d.pbx.want("REGISTER")
			d.pbx.reply(in, 200, nil, echo(t, in, 3600)...)
			visitor.want("200 REGISTER")
			time.Sleep(5 * time.Second)
		}
		if len(d.bans()) != 0 {
			t.Error(d.bans())
		}
	})
}

// TestWhoTriesUsers: over UDP, where anybody may pretend to be anybody, the port is refused for a minute; over TCP the address
// is banned.
func TestWhoTriesUsers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, doorConfig)
		defer d.close()
		visitor := d.wire(visitorAt)
		var stream net.Conn
		ask := map[string]func(m *message.Message){
			"udp": func(m *message.Message) { visitor.send(phoneSocket, m) },
			"tcp": func(m *message.Message) {
				m.Via[0].Transport = "TCP"
				_, _ = stream.Write(write(t, m)) // its end shows in what the PBX hears
				synctest.Wait()
			},
		}
		tries := func(over string) (n int) {
			for ; n < 30; n++ {
				ask[over](visitor.registers(fmt.Sprint("u", n), "<sip:x@"+visitorAt.String()+">"))
				in := d.pbx.next(100 * time.Millisecond)
				if in == nil {
					return n
				}
				d.pbx.reply(in, 404, nil)
			}
			return n
		}
		if n := tries("udp"); n != 10 || len(d.bans()) != 0 {
			t.Errorf("%d tries over UDP, bans %v", n, d.bans())
		}
		ask["udp"](visitor.registers("204", "<sip:204@"+visitorAt.String()+">"))
		d.pbx.quiet(30 * time.Second)
		time.Sleep(40 * time.Second)
		stream = d.dials(visitorAt.Addr())
		defer stream.Close()
		if n := tries("tcp"); n != 10 || !slices.Equal(d.bans(), []string{"address 198.51.100.8 by evidence"}) || !ended(stream) {
			t.Errorf("%d tries over TCP, bans %v", n, d.bans())
		}
		again := d.dials(visitorAt.Addr())
		defer again.Close()
		if !ended(again) {
			t.Error("a new connection of a banned source stays")
		}
	})
}

// TestForgedEvidenceNeverShutsATrunkOut: a scanner's name "from" the provider's address is an alarm, and calls go on.
func TestForgedEvidenceNeverShutsATrunkOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen, logs := observer.New(zapcore.WarnLevel)
		l := newGate(t, labConfig, natlab.Options{Seed: 1}, func(o *sbc.Options) { o.Security = zap.New(seen) })
		defer l.close()
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		a, b := l.connect(itsp, pbx, trunkSocket)
		for i := range 20 {
			for _, to := range []netip.AddrPort{phoneSocket, trunkSocket} {
				m := itsp.request("OPTIONS", to, "100", message.Header{Name: "User-Agent", Value: "friendly-scanner"})
				m.CallID = fmt.Sprintf("forged-%d-%d", i, to.Port())
				if err := l.net.Inject(providerAt, to, write(t, m)); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(100 * time.Millisecond)
		}
		if len(l.bans()) != 0 || logs.FilterMessage("alarm").Len() == 0 {
			t.Errorf("bans %v, lines %v", l.bans(), logs.All())
		}
		hangup(a, b)
		c, e := l.connect(itsp, pbx, trunkSocket)
		hangup(c, e)
	})
}

// TestAnOfficeWithOneWrongPassword: that phone alone is refused, the others behind the address register and call.
func TestAnOfficeWithOneWrongPassword(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, doorConfig)
		defer d.close()
		defer d.asReplayed(doorConfig)()
		beside := d.wire(besideAt)
		d.enter(d.phone, "204")
		d.enter(beside, "205")
		bad := d.wire(netip.AddrPortFrom(phoneAt.Addr(), 7070))
		nonce, tries := "", 0
		for ; tries < 20; tries++ {
			m := bad.guess("206", nonce)
			nonce = fmt.Sprint("nonce-", tries)
			if !d.denies(bad, m, nonce) {
				break
			}
		}
		if want := []string{"user 206@example.com at 198.51.100.7 by evidence"}; tries > 6 || !slices.Equal(d.bans(), want) {
			t.Errorf("%d tries, then %v, want %v", tries, d.bans(), want)
		}
		// Whatever port its next REGISTER comes from.
		again := d.wire(netip.AddrPortFrom(phoneAt.Addr(), 7071))
		if d.denies(again, again.guess("206", ""), "x") {
			t.Error("it goes on guessing")
		}
		for name, w := range map[string]*wire{"204": d.phone, "205": beside} {
			if got := d.met(w, withBody(w.asks("INVITE", name, user("100", "example.com")), sdpAt(phoneAt.Addr(), 4000))); got != "PBX" {
				t.Errorf("a call of %s: %s", name, got)
			}
			d.enter(w, name)
		}
		late := d.wire(netip.AddrPortFrom(phoneAt.Addr(), 8080))
		d.enter(late, "207") // one that is new there
	})
}
