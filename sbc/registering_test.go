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

// listed are the Contacts of a message as "uri expires".
func listed(t *testing.T, m *message.Message) (out []string) {
	t.Helper()
	list, star, err := m.Contacts()
	if err != nil || star {
		t.Fatalf("contacts: %v %v in\n%s", err, star, m)
	}
	for _, c := range list {
		v, _ := c.Param("expires")
		out = append(out, c.URI.String()+" "+v)
	}
	return out
}

func (d *door) heard(w *wire, kind string, want ...string) *message.Message {
	d.t.Helper()
	m := w.want(kind)
	if got := listed(d.t, m); !slices.Equal(got, want) {
		d.t.Errorf("%s lists %v, want %v", kind, got, want)
	}
	return m
}

// TestContactsAreMappedBothWays: several of one phone, a query, one that goes, the wildcard; the phone sees its own in its
// own spelling and nothing of the inside.
func TestContactsAreMappedBothWays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, doorConfig)
		defer d.close()
		desk, soft := "<sip:204@192.168.1.5:5060;line=1>;q=0.7", `"Soft" <sip:204@192.168.1.5:5062>;+sip.instance="<urn:uuid:2>";reg-id=1;expires=30`
		first := d.phone.registers("204", desk, soft)
		first.Headers = append(first.Headers, field("Supported: path, outbound, gruu"), field("Allow: INVITE"))
		d.phone.send(phoneSocket, first)
		in := d.pbx.want("REGISTER")
		tokens, _, _ := in.Contacts()
		if len(tokens) != 2 || tokens[0].URI.User == tokens[1].URI.User || in.From.URI.Host != "example.com" || in.URI.Host != "example.com" {
			t.Fatalf("the PBX is asked\n%s", in)
		}
		for i, c := range tokens {
			q, _ := c.Param("q")
			expires, _ := c.Param("expires")
			if c.URI.Host != gateInside.String() || c.URI.Port != 5060 || len(c.URI.User) != 16 || q != []string{"0.7", ""}[i] || expires != []string{"", "30"}[i] {
				t.Errorf("the PBX is given %s", c.String())
			}
		}
		text := in.String()
		for _, word := range []string{"192.168.1.5", "198.51.100.7", "203.0.113.10", "reg-id", "outbound", "path", first.CallID, first.From.Tag} {
			if strings.Contains(text, word) {
				t.Errorf("the PBX sees %q in\n%s", word, text)
			}
		}
		foreign := field("Contact: <sip:anotherphone@10.0.0.2:5060>;expires=99")
		hidden := []message.Header{field("Path: <sip:10.0.0.10;lr>"), field("Service-Route: <sip:10.0.0.10;lr>"), field("Server: FreeSWITCH"), foreign}
		contacts := echo(t, in, 3600)
		d.pbx.reply(in, 200, nil, append(hidden, contacts...)...)
		own := []string{"sip:204@192.168.1.5:5060;line=1 60", "sip:204@192.168.1.5:5062 60"}
		ok := d.heard(d.phone, "200 REGISTER", own...)
		if text = ok.String(); strings.Contains(text, "10.0.0.") || strings.Contains(text, "FreeSWITCH") || strings.Contains(text, "anotherphone") || strings.Contains(text, tokens[0].URI.User) {
			t.Errorf("the phone sees the inside:\n%s", text)
		}
		if g := d.gate.Gauges(); g.Bindings != 2 {
			t.Errorf("%d bindings", g.Bindings)
		}

		query := d.phone.again(first)
		query.Remove("Contact")
		query.Remove("Expires")
		d.phone.send(phoneSocket, query)
		m := d.pbx.want("REGISTER")
		if len(listed(t, m)) != 0 || m.CallID != in.CallID || m.From.Tag != in.From.Tag || m.CSeq != query.CSeq {
			t.Errorf("a query is\n%s", m)
		}
		d.pbx.reply(m, 200, nil, append(hidden, contacts...)...)
		d.heard(d.phone, "200 REGISTER", own...)

		leaves := d.phone.again(query, message.Header{Name: "Contact", Value: desk + ";expires=0"})
		d.phone.send(phoneSocket, leaves)
		m = d.heard(d.pbx, "REGISTER", "sip:"+tokens[0].URI.User+"@10.0.0.2:5060 0")
		d.pbx.reply(m, 200, nil, foreign, contacts[1])
		d.heard(d.phone, "200 REGISTER", own[1])
		if g := d.gate.Gauges(); g.Bindings != 1 {
			t.Errorf("%d bindings", g.Bindings)
		}

		query.CSeq = leaves.CSeq
		all := d.phone.again(query, field("Contact: *"), field("Expires: 60"))
		d.phone.send(phoneSocket, all)
		d.phone.want("400 REGISTER")
		d.pbx.quiet(time.Second)
		all = d.phone.again(all)
		all.Set("Expires", "0")
		d.phone.send(phoneSocket, all)
		m = d.pbx.want("REGISTER")
		if v, _ := m.Get("Contact"); v != "*" {
			t.Errorf("all shall go, and the PBX hears\n%s", m)
		}
		d.pbx.reply(m, 200, nil)
		d.heard(d.phone, "200 REGISTER")
		d.empty()
		if g := d.gate.Gauges(); g.Bindings != 0 || g.Users != 0 {
			t.Errorf("left behind: %+v", g)
		}
	})
}

// TestRefusalsOfThePBXPass: 423 with its least expiry, 403 as it is to a phone; a stranger does not learn who exists.
func TestRefusalsOfThePBXPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, doorConfig)
		defer d.close()
		stranger := d.wire(strangerAt)
		ask := func(w *wire, name string, code int, extra ...message.Header) *message.Message {
			w.send(phoneSocket, w.registers(name, "<sip:"+name+"@"+w.at.String()+">"))
			d.pbx.reply(d.pbx.want("REGISTER"), code, nil, extra...)
			for {
				if m := w.next(patience); m == nil || m.Status >= 200 {
					return m
				}
			}
		}
		if m := ask(d.phone, "204", 423, field("Min-Expires: 7200")); m.Status != 423 || value(m, "Min-Expires") != "7200" {
			t.Errorf("too brief:\n%s", m)
		}
		challenge := `Digest realm="example.com", nonce="0a1b2c3d4e5f", algorithm=MD5, opaque="x y", qop="auth,auth-int"`
		ask(stranger, "204", 401, message.Header{Name: "WWW-Authenticate", Value: strings.Replace(challenge, "0a1b", "ffff", 1)}) // its opaque stays
		real := ask(stranger, "204", 401, message.Header{Name: "WWW-Authenticate", Value: challenge})
		if value(real, "WWW-Authenticate") != strings.Replace(challenge, `"auth,auth-int"`, `"auth"`, 1) {
			t.Errorf("a challenge:\n%s", real)
		}
		for _, code := range []int{403, 404, 480} {
			m := ask(stranger, "999", code)
			blank := func(m *message.Message) string {
				v := value(m, "WWW-Authenticate")
				_, rest, _ := strings.Cut(v, `nonce="`)
				nonce, _, _ := strings.Cut(rest, `"`)
				return fmt.Sprint(m.Status, m.Reason, len(nonce), strings.Replace(v, nonce, "", 1), len(m.Headers))
			}
			if m.Status != 401 || blank(m) != blank(real) || value(m, "WWW-Authenticate") == value(real, "WWW-Authenticate") {
				t.Errorf("%d tells that nobody is there:\n%s\nwhile somebody looks like\n%s", code, m, real)
			}
		}
		d.enter(d.phone, "204")
		if m := ask(d.phone, "204", 404); m.Status != 404 {
			t.Errorf("a phone shall know:\n%s", m)
		}
		if g := d.gate.Gauges(); g.Bindings != 1 {
			t.Errorf("%d bindings", g.Bindings)
		}
	})
}

func value(m *message.Message, name string) string {
	v, _ := m.Get(name)
	return v
}

// TestTwoPhonesOfOneUserBothRing: the PBX forks one INVITE to two tokens; who answers has the call, the other is released.
func TestTwoPhonesOfOneUserBothRing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, doorConfig)
		defer d.close()
		second := d.wire(besideAt)
		second.n = 10 // no two phones have one Call-ID
		phones := []*wire{d.phone, second}
		tokens := []string{d.enter(d.phone, "204"), d.enter(second, "204")}
		if tokens[0] == tokens[1] {
			t.Fatalf("one name for two phones: %v", tokens)
		}
		fork := withBody(d.pbx.request("INVITE", phonesInside, "204"), sdpAt(pbxAt.Addr(), 4002))
		fork.To = message.NameAddr{URI: user("204", "example.com")}
		var branches []*message.Message
		var arrived []*message.Message
		for i, token := range tokens {
			m := *fork
			m.URI = at(token, phonesInside)
			m.Via = d.pbx.via()
			d.pbx.send(phonesInside, &m)
			branches = append(branches, &m)
			in := phones[i].want("INVITE")
			if in.URI.String() != "sip:204@"+phones[i].at.String() || in.To.URI.Host != "example.com" {
				t.Errorf("phone %d is called as\n%s", i, in)
			}
			phones[i].reply(in, 180, nil)
			d.pbx.want("180 INVITE")
			arrived = append(arrived, in)
		}
		second.reply(arrived[1], 200, sdpAt(besideAt.Addr(), 4000))
		ok := d.pbx.want("200 INVITE")
		caller, callee := d.ends(d.pbx, second, phonesInside, branches[1], arrived[1], ok)
		callee.gate = phoneSocket
		d.pbx.send(phonesInside, caller.within("ACK", 1))
		second.want("ACK")
		cancel := &message.Message{
			Method: "CANCEL", URI: branches[0].URI, Via: branches[0].Via, From: fork.From, To: fork.To, CallID: fork.CallID, CSeq: 1, MaxForwards: 70,
		}
		d.pbx.send(phonesInside, cancel)
		d.phone.reply(d.phone.want("CANCEL"), 200, nil)
		d.phone.reply(arrived[0], 487, nil)
		refusal := d.pbx.want("487 INVITE")
		d.pbx.send(phonesInside, ackOf(branches[0], refusal))
		d.phone.want("ACK")
		hangup(callee, caller)
		d.empty()
		if all := d.cdrs.all(); len(all) != 2 || all[0].AoR != "204@example.com" || all[1].AoR != "204@example.com" {
			t.Errorf("CDRs %+v", all)
		}
	})
}

const twoNodes = `    - { address: "10.0.0.10:5060" }
    - { address: "10.0.0.11:5060", priority: 2 }`

// TestTheSecondNodeServesPhones: with the first dead, registrations and calls both ways go by the second, and back when it
// lives again; with both dead a phone hears 503 in time.
func TestTheSecondNodeServesPhones(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newRoaming(t, rewritten(t, roamingConfig, `nodes: [ { address: "10.0.0.10:5060" } ]`, "nodes:\n"+twoNodes), natlab.Options{Seed: 5})
		defer l.close()
		other := l.agent("other", otherPBXAt, 12)
		second := &demo.Registrar{Domain: "example.com", Users: map[string]string{"204": "secret of 204"}, Calls: true}
		other.Do(func() {
			other.Domain, other.Registrar = "example.com", second
			other.Incoming = scriptOf(demo.Script{Answer: time.Second}, sdpAt(otherPBXAt.Addr(), 4002))
		})
		l.pbx.Incoming = scriptOf(demo.Script{Answer: time.Second}, sdpAt(pbxAt.Addr(), 4002))
		phone := l.phone(l.home(7, natlab.NATOptions{}).Host(private), "204", 5060, nat.UDP)
		phone.Incoming = scriptOf(demo.Script{Answer: time.Second}, sdpAt(private, 4000))

		l.net.Host(pbxAt.Addr()).Down(true)
		bound, out := l.register(phone, demo.RegisterOptions{})
		if out.Code != 200 || !strings.Contains(l.binding("204").Node, otherPBXAt.String()) {
			t.Fatalf("registered with %d by %q", out.Code, l.binding("204").Node)
		}
		if r := l.call(phone, phoneSocket, "100", demo.Script{SDP: sdpAt(private, 4000), Hangup: time.Second}); r.Code != 200 || r.Challenges != 1 {
			t.Errorf("a call by the second node: %d after %d challenges (%s)", r.Code, r.Challenges, r.Why)
		}
		synctest.Wait()
		l.pbx, l.registrar = other, second // who calls now
		if r := l.ring("204", demo.Script{SDP: sdpAt(otherPBXAt.Addr(), 4004), Hangup: time.Second}); r.Code != 200 {
			t.Errorf("a call of the second node: %d (%s)", r.Code, r.Why)
		}

		l.net.Host(otherPBXAt.Addr()).Down(true)
		began := time.Now()
		heard := make(chan demo.Registered, 4)
		late := l.phone(l.home(8, natlab.NATOptions{}).Host(private), "205", 5060, nat.UDP)
		late.Do(func() {
			late.Register(phoneSocket, demo.RegisterOptions{Retry: -1, Heard: func(r demo.Registered) { heard <- r }})
		})
		if r := <-heard; r.Code != 503 || time.Since(began) >= 32*time.Second {
			t.Errorf("without a PBX a phone hears %d after %v", r.Code, time.Since(began))
		}
		if r := l.call(phone, phoneSocket, "100", demo.Script{SDP: sdpAt(private, 4000)}); r.Code != 503 {
			t.Errorf("without a PBX a call meets %d (%s)", r.Code, r.Why)
		}
		for _, at := range []netip.AddrPort{pbxAt, otherPBXAt} {
			l.net.Host(at.Addr()).Down(false)
		}
		time.Sleep(2 * time.Minute)
		if r := l.call(phone, phoneSocket, "100", demo.Script{SDP: sdpAt(private, 4000), Hangup: time.Second}); r.Code != 200 {
			t.Errorf("once the PBX is back: %d (%s)", r.Code, r.Why)
		}
		phone.Do(bound.End)
		l.empty()
	})
}

// TestCredentialsGoToTheNodeThatAsked: nodes do not share nonces. The first is back when the phone answers the second's
// challenge, and hears nothing of it; the same for an INVITE.
func TestCredentialsGoToTheNodeThatAsked(t *testing.T) {
	for _, method := range []string{"REGISTER", "INVITE", "MESSAGE", "SUBSCRIBE"} {
		t.Run(method, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDoor(t, doorConfig, `nodes: [ { address: "10.0.0.10:5060" } ]`, "nodes:\n"+twoNodes)
				defer d.close()
				other := d.wire(otherPBXAt)
				d.enter(d.phone, "204")
				m := d.phone.speaks(method, "204")
				if method == "REGISTER" {
					m = d.phone.registers("204", "<sip:204@"+phoneAt.String()+">")
				}
				d.phone.send(phoneSocket, m)
				d.pbx.want(method) // and is silent
				code, ask, answer := 407, "Proxy-Authenticate", "Proxy-Authorization"
				if method == "REGISTER" {
					code, ask, answer = 401, "WWW-Authenticate", "Authorization"
				}
				asked := other.want(method)
				other.reply(asked, code, nil, message.Header{Name: ask, Value: `Digest realm="example.com", nonce="of the second", qop="auth"`})
				refusal := d.phone.want(fmt.Sprint(code, " ", method))
				if method == "INVITE" {
					d.phone.send(phoneSocket, ackOf(m, refusal))
					other.want("ACK")
				}
				d.pbx.quiet(time.Second)
				credentials := `Digest username="204", realm="example.com", nonce="of the second", uri="sip:100@example.com", cnonce="nonce=", response="5"`
				retry := d.phone.again(m, message.Header{Name: answer, Value: credentials})
				d.phone.send(phoneSocket, retry)
				again := other.want(method)
				if value(again, answer) != credentials || again.CallID != asked.CallID || again.From.Tag != asked.From.Tag || again.CSeq != asked.CSeq+1 {
					t.Errorf("the retry is\n%s\nafter\n%s", again, asked)
				}
				d.pbx.quiet(0, method)
				var list []message.Header
				if method == "REGISTER" {
					list = echo(t, again, 3600)
				}
				if method == "INVITE" {
					other.reply(again, 486, nil)
					d.phone.send(phoneSocket, ackOf(retry, d.phone.want("486 INVITE")))
				} else {
					other.reply(again, 200, nil, list...)
					d.phone.want("200 " + method)
				}
				d.empty()
				if all := d.cdrs.all(); method == "INVITE" && (len(all) != 1 || all[0].Code != 486) {
					t.Errorf("a challenged call and its retry are %d: %+v", len(all), all)
				}
			})
		})
	}
}

// TestACallOutlivesItsRegistration: a phone that leaves in mid-call, and a stranger that may call (`unregistered: forward`),
// are strangers to the guard; what they answer within their call is heard all the same.
func TestACallOutlivesItsRegistration(t *testing.T) {
	for _, who := range []string{"left", "expired", "never registered"} {
		for _, by := range []string{"the phone", "the PBX"} {
			t.Run(who+"/"+by+" hangs up", func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					d := newDoor(t, doorConfig, "unregistered: drop", "unregistered: forward, reachable: [ '.*' ]", "31000 }", "31000, timeout: 10m }")
					defer d.close()
					if who != "never registered" {
						d.enter(d.phone, "204")
					}
					invite := d.phone.speaks("INVITE", "204")
					d.phone.send(phoneSocket, invite)
					arrived := d.pbx.want("INVITE")
					d.pbx.reply(arrived, 200, sdpAt(pbxAt.Addr(), 4002))
					caller, callee := d.ends(d.phone, d.pbx, phoneSocket, invite, arrived, d.phone.want("200 INVITE"))
					d.phone.send(phoneSocket, caller.within("ACK", 1))
					d.pbx.want("ACK")
					switch who {
					case "left":
						gone := d.phone.registers("204", "<sip:204@"+phoneAt.String()+">;expires=0")
						d.phone.send(phoneSocket, gone)
						d.pbx.reply(d.pbx.want("REGISTER"), 200, nil)
						d.phone.want("200 REGISTER")
					case "expired":
						time.Sleep(90 * time.Second)
					}
					if g := d.gate.Gauges(); g.Bindings != 0 || g.Calls != 1 {
						t.Errorf("%+v", g)
					}
					// The PBX holds the call, and then somebody ends it.
					callee.send(callee.gate, withBody(callee.within("INVITE", 0), hold(sdpAt(pbxAt.Addr(), 4002))))
					again := d.phone.want("INVITE")
					d.phone.reply(again, 200, sdpAt(phoneAt.Addr(), 4000))
					d.pbx.want("200 INVITE")
					callee.send(callee.gate, callee.within("ACK", callee.dlg.LocalSeq))
					d.phone.want("ACK")
					if by == "the phone" {
						hangup(caller, callee)
					} else {
						hangup(callee, caller)
					}
					d.empty()
					if all := d.cdrs.all(); len(all) != 1 || all[0].Code != 200 || all[0].Reason != "" {
						t.Errorf("CDRs %+v", all)
					}
				})
			})
		}
	}
}
