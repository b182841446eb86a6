package sbc_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat"
	"sallyport/nat/natlab"
	"sallyport/sbc/demo"
	"sallyport/sbc/message"
)

// throttled is a configuration in which the PBX is asked for an hour, or longer, and hears of a phone again after so long.
func throttled(t *testing.T, yaml, inside, again, grace string) string {
	t.Helper()
	registration := "registration: { inside: " + inside + ", reauthenticate: " + again + ", grace: " + grace + " }"
	return rewritten(t, yaml, "\nphones: { ", "\nphones: { "+registration+", ")
}

// answering makes a phone take its calls.
func answering(a *demo.Agent) {
	a.Incoming = scriptOf(demo.Script{Ring: 100 * time.Millisecond, Answer: time.Second}, sdpAt(private, 4000))
}

func (l *roaming) reaches(user string) {
	l.t.Helper()
	if r := l.ring(user, demo.Script{SDP: sdpAt(pbxAt.Addr(), 4004), Hangup: time.Second}); r.Code != 200 {
		l.t.Errorf("a call to %s meets %d (%s)", user, r.Code, r.Why)
	}
}

// TestAThrottledPhone registers each 45 s, and the PBX hears of it each ten minutes. It is called and calls all the while, and the
// administrator sees who answered it.
func TestAThrottledPhone(t *testing.T) {
	for _, transport := range []nat.Transport{nat.UDP, nat.TCP} {
		t.Run(transport.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newRoaming(t, throttled(t, roamingConfig, "1h", "10m", "30m"), natlab.Options{Seed: 3}, keptBy(nil, keptNames))
				defer l.close()
				phone := l.phone(l.home(7, strictest).Host(private), "204", 5060, transport)
				answering(phone)
				l.pbx.Incoming = scriptOf(demo.Script{Answer: time.Second}, sdpAt(pbxAt.Addr(), 4002))
				bound, out := l.register(phone, demo.RegisterOptions{Instance: "urn:uuid:204"})
				if out.Code != 200 || out.Expires != time.Minute || len(out.Contacts) != 1 {
					t.Fatalf("registered with %+v", out)
				}
				visits := l.visits()
				for range 6 {
					time.Sleep(10 * time.Minute)
					l.reaches("204")
					if r := l.call(phone, phoneSocket, "100", demo.Script{SDP: sdpAt(private, 4000), Hangup: time.Second}); r.Code != 200 {
						t.Errorf("the phone hears %d (%s)", r.Code, r.Why)
					}
				}
				if n := visits(); n < 5 || n > 8 {
					t.Errorf("the PBX has heard of it %d times in an hour", n)
				}
				time.Sleep(time.Minute)
				b := l.binding("204")
				if b.Local < 60 || b.Passed < 5 || b.Passed > 9 || !b.ExpiresPBX.After(time.Now().Add(45*time.Minute)) {
					t.Errorf("%+v", b)
				}
				if text := b.Text(time.Now(), time.UTC); !strings.Contains(text, fmt.Sprintf("%d REGISTERs here, %d by the PBX, which last accepted one", b.Local, b.Passed)) {
					t.Error(text)
				}
				why, err := l.gate.Control(nil).Why(l.ctx, "204")
				if err != nil || !why.Allowed || !strings.Contains(why.Text, "200 OK, answered here") || !strings.Contains(why.Text, "accepted it") {
					t.Errorf("why (%v):\n%s", err, why.Text)
				}
				phone.Do(bound.End)
				l.empty()
				if left := l.registered(); len(left) != 0 || len(l.contacts("204")) != 0 {
					t.Errorf("it has left: %v, %v", left, l.contacts("204"))
				}
			})
		})
	}
}

// contacts are those of a user at the PBX.
func (l *roaming) contacts(user string) []demo.Contact {
	got := make(chan []demo.Contact)
	l.pbx.Do(func() { got <- l.registrar.Contacts(user, time.Now()) })
	return <-got
}

// TestAThrottledPhoneMoves: another port of its NAT, then another network: the PBX decides each time, and calls find it.
func TestAThrottledPhoneMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newRoaming(t, throttled(t, roamingConfig, "2h", "1h", "30m"), natlab.Options{Seed: 3}, keptBy(nil, keptNames))
		defer l.close()
		home, other := l.home(7, natlab.NATOptions{}), l.home(8, natlab.NATOptions{})
		phone := l.phone(home.Host(private), "204", 5060, nat.UDP)
		answering(phone)
		bound, _ := l.register(phone, demo.RegisterOptions{})
		visits := l.visits()
		time.Sleep(5 * time.Minute)
		if n := visits(); n > 1 {
			t.Fatalf("%d REGISTERs where none was due", n)
		}
		was, had := l.binding("204"), visits()
		home.Rebind()
		time.Sleep(time.Minute)
		now := l.binding("204")
		if n := visits() - had; n == 0 || now.Flow == was.Flow || now.Token != was.Token {
			t.Errorf("%d REGISTERs of a phone that was at %s and is at %s", n, was.Flow, now.Flow)
		}
		l.reaches("204")
		had = visits()
		socket, err := other.Host(private).ListenUDP(5060)
		if err != nil {
			t.Fatal(err)
		}
		phone.Do(func() { phone.Rebind(socket); bound.Now() })
		time.Sleep(10 * time.Second)
		if n := visits() - had; n == 0 || !strings.Contains(l.binding("204").Flow, "198.51.100.8:") {
			t.Errorf("%d REGISTERs of a phone that has gone to another network: %+v", n, l.binding("204"))
		}
		l.reaches("204")
		had = visits()
		time.Sleep(5 * time.Minute)
		if n := visits() - had; n > 1 {
			t.Errorf("%d REGISTERs once it stays there", n)
		}
	})
}

// TestAThrottledPhoneIsNotHijacked: who has heard its REGISTER and sends the next one from elsewhere, or from behind the same
// NAT, meets the PBX; what that says changes nothing for the phone.
func TestAThrottledPhoneIsNotHijacked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := newGate(t, throttled(t, doorConfig, "2h", "1h", "30m"), natlab.Options{Seed: 6}, keptBy(nil, keptNames))
		d := &door{gate, gate.wire(phoneAt), gate.wire(pbxAt)}
		defer d.close()
		d.pbx.n = 100
		token := d.enter(d.phone, "204")
		first := d.phone.registers("204", "<sip:204@"+phoneAt.String()+">")
		first.CallID, first.CSeq, first.From.Tag = "heard@192.168.1.20", 7, "t"
		d.phone.send(phoneSocket, first)
		m := d.pbx.want("REGISTER")
		d.pbx.reply(m, 200, nil, echo(t, m, 7200)...)
		d.phone.want("200 REGISTER")
		next := d.phone.again(first)
		for _, at := range []netip.AddrPort{visitorAt, besideAt} {
			thief := d.wire(at)
			stolen := *next
			stolen.Via = thief.via()
			for _, answer := range []int{401, 403} {
				thief.send(phoneSocket, &stolen)
				m = d.pbx.want("REGISTER")
				d.pbx.reply(m, answer, nil, field(`WWW-Authenticate: Digest realm="example.com", nonce="n"`))
				if got := thief.next(patience); got.Status == 200 {
					t.Errorf("%s is met with %d", at, got.Status)
				}
				stolen = *thief.again(&stolen)
			}
		}
		// The phone is as it was, and its own refresh is answered here.
		list, err := d.gate.Control(nil).Registrations(d.ctx, "204")
		if err != nil || len(list) != 1 || list[0].Token != token || list[0].Flow != "udp "+phoneAt.String() || list[0].Passed != 2 {
			t.Errorf("%+v (%v)", list, err)
		}
		d.phone.send(phoneSocket, next)
		d.heard(d.phone, "200 REGISTER", "sip:204@"+phoneAt.String()+" 60")
		d.pbx.quiet(time.Second)
		// What it asks besides goes to the PBX.
		for _, change := range []func(*message.Message){
			func(m *message.Message) { m.Remove("Contact") },
			func(m *message.Message) { m.Set("Expires", "0") },
			func(m *message.Message) { m.Set("Contact", "*"); m.Set("Expires", "0") },
			func(m *message.Message) { m.Add("Contact", "<sip:204@192.168.1.20:7000>") },
		} {
			next = d.phone.again(next)
			m := d.phone.again(next)
			change(m)
			d.phone.send(phoneSocket, m)
			d.pbx.reply(d.pbx.want("REGISTER"), 404, nil)
			d.phone.want("404 REGISTER")
			next.CSeq = m.CSeq
		}
	})
}

// TestAWrongPasswordShowsInTime: the PBX has another password, or does not know the user any more: the phone is served for as
// long as was asked for and one refresh more, and then no longer.
func TestAWrongPasswordShowsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newRoaming(t, throttled(t, roamingConfig, "1h", "10m", "30m"), natlab.Options{Seed: 3}, keptBy(nil, keptNames))
		defer l.close()
		phones := map[string]*demo.Agent{}
		for i, user := range []string{"204", "205"} {
			phones[user] = l.phone(l.home(7+i, natlab.NATOptions{}).Host(private), user, 5060, nat.UDP)
			l.register(phones[user], demo.RegisterOptions{})
		}
		time.Sleep(time.Second)
		l.pbx.Do(func() {
			l.registrar.Users["204"] = "another"
			delete(l.registrar.Users, "205")
		})
		time.Sleep(13 * time.Minute)
		if left := l.registered(); len(left) != 0 {
			t.Errorf("still there: %v", left)
		}
		visits := l.visits()
		time.Sleep(5 * time.Minute)
		if n := visits(); n < 10 {
			t.Errorf("the PBX is asked %d times by two phones that it does not let in", n)
		}
		l.pbx.Do(func() { l.registrar.Users["204"] = "secret of 204" })
		time.Sleep(2 * time.Minute)
		if n := len(l.registered()); n != 1 {
			t.Errorf("the right password again: %d registrations", n)
		}
	})
}

// TestThrottlingOutlivesARestart: refreshes are answered by the next program as they were by the last, and the PBX's numbers go on.
func TestThrottlingOutlivesARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		state := &memory{}
		yaml := throttled(t, roamingConfig, "2h", "1h", "30m")
		l := newRoaming(t, yaml, natlab.Options{Seed: 5}, keptBy(state, keptNames))
		defer l.close()
		phone := l.phone(l.home(7, natlab.NATOptions{UDPTimeout: 20 * time.Minute}).Host(private), "204", 5060, nat.UDP)
		answering(phone)
		l.register(phone, demo.RegisterOptions{})
		time.Sleep(3 * time.Minute)
		was := l.binding("204")
		if was.Local < 3 {
			t.Fatalf("%+v", was)
		}
		visits := l.visits()
		l.stops()
		time.Sleep(5 * time.Minute) // its time is over, and no program was there to see it
		if err := l.starts(yaml, keptBy(state, keptNames)); err != nil {
			t.Fatal(err)
		}
		l.reaches("204")
		time.Sleep(3 * time.Minute)
		now := l.binding("204")
		if now.Token != was.Token || now.Local < was.Local+2 || now.Passed != was.Passed || !now.Accepted.Equal(was.Accepted) || visits() != 0 {
			t.Errorf("%d REGISTERs; before\n%+v\nafter\n%+v", visits(), was, now)
		}
		time.Sleep(70 * time.Minute)
		if now = l.binding("204"); visits() == 0 || now.Passed <= was.Passed || len(l.contacts("204")) != 1 {
			t.Errorf("an hour later %d REGISTERs: %+v", visits(), now)
		}
	})
}

// TestAnOutageOfThePBXLeavesThePhones: no node answers for twenty minutes; then calls find the phones at once, those that have
// not tried again since, too.
func TestAnOutageOfThePBXLeavesThePhones(t *testing.T) {
	for _, inside := range []string{"0s", "1h"} {
		t.Run(inside, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				yaml := rewritten(t, throttled(t, roamingConfig, "1h", "1m", "30m"), "inside: 1h", "inside: "+inside)
				if inside == "0s" {
					yaml = rewritten(t, yaml, "reauthenticate: 1m, ", "")
				} else {
					yaml = rewritten(t, yaml, "reauthenticate: 1m", "reauthenticate: 2m")
				}
				l := newRoaming(t, yaml, natlab.Options{Seed: 3}, keptBy(nil, keptNames))
				defer l.close()
				phone := l.phone(l.home(7, natlab.NATOptions{}).Host(private), "204", 5060, nat.UDP)
				gone := l.phone(l.home(8, natlab.NATOptions{}).Host(private), "205", 5060, nat.UDP)
				answering(phone)
				l.register(phone, demo.RegisterOptions{Retry: 20 * time.Minute})
				left, _ := l.register(gone, demo.RegisterOptions{})
				time.Sleep(time.Second)
				l.net.Host(pbxAt.Addr()).Down(true)
				gone.Do(left.Stop) // switched off: that has nothing to do with it
				time.Sleep(18 * time.Minute)
				b := l.binding("204")
				if b.Held.IsZero() || b.Held.After(b.ExpiresPBX) || b.Held.After(b.Expires.Add(30*time.Minute)) {
					t.Errorf("%+v", b)
				}
				if text := b.Text(time.Now(), time.UTC); !strings.Contains(text, "phones.registration.grace") {
					t.Error(text)
				}
				if g := l.gate.Gauges(); g.Bindings != 1 || g.BindingsHeld != 1 {
					t.Errorf("%+v", g)
				}
				l.net.Host(pbxAt.Addr()).Down(false)
				l.reaches("204")
				time.Sleep(10 * time.Minute)
				if b = l.binding("204"); !b.Held.IsZero() || !b.Expires.After(time.Now()) {
					t.Errorf("back again: %+v", b)
				}
			})
		})
	}
}

// TestAnOutageOfOurInternetLeavesThePhones: nothing comes in from outside for ten minutes; then calls find the phones at once, and
// when they come back they do not come down upon the PBX.
func TestAnOutageOfOurInternetLeavesThePhones(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newRoaming(t, throttled(t, roamingConfig, "2h", "1h", "30m"), natlab.Options{Seed: 3}, keptBy(nil, keptNames))
		defer l.close()
		const phones = 10
		for i := range phones {
			user := fmt.Sprint(300 + 10*i)
			a := l.phone(l.home(10+i, natlab.NATOptions{UDPTimeout: 20 * time.Minute}).Host(private), user, 5060, nat.UDP)
			answering(a)
			l.register(a, demo.RegisterOptions{})
		}
		time.Sleep(3 * time.Minute)
		l.net.Host(gateOutside).Down(true)
		time.Sleep(10 * time.Minute)
		if g := l.gate.Gauges(); g.Bindings != phones || g.BindingsHeld != phones {
			t.Errorf("in the outage: %+v", g)
		}
		visits := l.visits()
		l.net.Host(gateOutside).Down(false)
		for i := range phones {
			l.reaches(fmt.Sprint(300 + 10*i))
		}
		time.Sleep(5 * time.Minute)
		if g := l.gate.Gauges(); g.Bindings != phones || g.BindingsHeld != 0 || visits() > phones {
			t.Errorf("afterwards, with %d REGISTERs at the PBX: %+v", visits(), g)
		}
	})
}

// TestANodeOutOfServiceEndsThrottling: what was granted by a node that is out of service, or that knows us by another address, is not
// answered here.
func TestANodeOutOfServiceEndsThrottling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		yaml := rewritten(t, throttled(t, roamingConfig, "2h", "1h", "30m"), `nodes: [ { address: "10.0.0.10:5060" } ]`, "nodes:\n"+twoNodes)
		yaml = rewritten(t, yaml, "health: { interval: 0 }", "health: { interval: 5s, failures: 2, successes: 1 }")
		l := newRoaming(t, yaml, natlab.Options{Seed: 5}, keptBy(nil, keptNames))
		defer l.close()
		other := l.agent("other", otherPBXAt, 12)
		second := &demo.Registrar{Domain: "example.com", Users: map[string]string{"204": "secret of 204"}}
		other.Do(func() { other.Domain, other.Registrar = "example.com", second })
		phone := l.phone(l.home(7, natlab.NATOptions{}).Host(private), "204", 5060, nat.UDP)
		time.Sleep(10 * time.Second)
		l.register(phone, demo.RegisterOptions{})
		time.Sleep(3 * time.Minute)
		was := l.binding("204")
		if was.Node != pbxAt.String() || was.Local < 2 {
			t.Fatalf("%+v", was)
		}
		l.net.Host(pbxAt.Addr()).Down(true)
		time.Sleep(2 * time.Minute)
		if b := l.binding("204"); b.Node != otherPBXAt.String() {
			t.Errorf("its node is dead: %+v", b)
		}
	})
}

// TestAReloadEndsThrottling: where the PBX was told another address of ours it must hear of the phones; without the setting it
// hears of them each time.
func TestAReloadEndsThrottling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		yaml := throttled(t, roamingConfig, "2h", "1h", "30m")
		l := newRoaming(t, yaml, natlab.Options{Seed: 5}, keptBy(nil, keptNames))
		defer l.close()
		phone := l.phone(l.home(7, natlab.NATOptions{}).Host(private), "204", 5060, nat.UDP)
		answering(phone)
		l.register(phone, demo.RegisterOptions{})
		time.Sleep(3 * time.Minute)
		visits := l.visits()
		moved := rewritten(t, yaml, "inside: { address: 10.0.0.2, phones: { udp: 5060 }", "inside: { address: 10.0.0.2, phones: { udp: 5070 }")
		if _, err := l.gate.Reload(l.ctx, parse(t, moved)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		if n, list := visits(), l.contacts("204"); n == 0 || n > 2 || len(list) == 0 || list[0].URI.Port != 5070 {
			t.Errorf("after %d REGISTERs the PBX finds it at %+v", n, list)
		}
		if _, err := l.gate.Reload(l.ctx, parse(t, roamingConfig)); err != nil {
			t.Fatal(err)
		}
		had := visits()
		time.Sleep(5 * time.Minute)
		if n := visits() - had; n < 6 {
			t.Errorf("%d REGISTERs in five minutes", n)
		}
	})
}

// TestALocalAnswerCountsForNoLimitOfThePBX: nothing of it gets there.
func TestALocalAnswerCountsForNoLimitOfThePBX(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		yaml := rewritten(t, throttled(t, roamingConfig, "2h", "1h", "30m"), "health: { interval: 0 }", "health: { interval: 0 }\n  limits: { REGISTER: 8/hour }")
		l := newRoaming(t, yaml, natlab.Options{Seed: 5}, keptBy(nil, keptNames))
		defer l.close()
		phone := l.phone(l.home(7, natlab.NATOptions{}).Host(private), "204", 5060, nat.UDP)
		var codes []int
		phone.Do(func() {
			phone.Register(phoneSocket, demo.RegisterOptions{Heard: func(r demo.Registered) { codes = append(codes, r.Code) }})
		})
		time.Sleep(50 * time.Minute)
		done := make(chan struct{})
		phone.Do(func() { close(done) })
		<-done
		refused := slices.ContainsFunc(codes, func(code int) bool { return code != 200 })
		if g := l.gate.Gauges(); refused || len(codes) < 60 || g.RegistersLocal < 60 {
			t.Errorf("%v, %+v", codes, g)
		}
	})
}
