package sbc_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat"
	"sallyport/nat/natlab"
	"sallyport/sbc/demo"
	"sallyport/sbc/dialog"
	"sallyport/sbc/message"
	"sallyport/sbc/scan"
)

// leaked is what an attacker has overheard of a phone's messages.
type leaked struct {
	mu   sync.Mutex
	list []*message.Message
}

func (k *leaked) hear(_ bool, _ netip.AddrPort, b []byte) {
	var v scan.View
	b = slices.Clone(b)
	if scan.Scan(b, &v) != nil {
		return
	}
	if m, err := message.Parse(b, &v); err == nil {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.list = append(k.list, m)
	}
}

// last is the last message of a kind.
func (k *leaked) last(t *testing.T, what string) *message.Message {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, m := range slices.Backward(k.list) {
		if kind(m) == what {
			return m
		}
	}
	t.Fatalf("the phone has neither sent nor heard %s", what)
	return nil
}

// overheard gives everything that a phone sends and hears to an attacker.
func (h *handset) overheard() *leaked {
	k := &leaked{}
	h.l.do(h.agent, func() { h.agent.Trace = k.hear })
	return k
}

// forger is an attacker with a socket, who notes what he is answered.
type forger struct {
	l       *audible
	name    string
	conn    *natlab.PacketConn
	at      netip.AddrPort
	n       int
	mu      sync.Mutex
	answers []string
}

func (l *audible) forger(name string, host *natlab.Host, port uint16) *forger {
	l.t.Helper()
	conn, err := host.ListenUDP(port)
	if err != nil {
		l.t.Fatal(err)
	}
	f := &forger{l: l, name: name, conn: conn, at: netip.AddrPortFrom(host.Addr(), port)}
	go func() {
		buf := make([]byte, 65536)
		for {
			n, _, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			line, _, _ := strings.Cut(string(buf[:n]), "\r\n")
			f.mu.Lock()
			f.answers = append(f.answers, line)
			f.mu.Unlock()
		}
	}()
	return f
}

// heard is what came since the last time.
func (f *forger) heard() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := f.answers
	f.answers = nil
	return list
}

func (f *forger) via(branch string) []message.Via {
	f.n++
	if branch == "" {
		branch = fmt.Sprintf("z9hG4bK-forged-%s-%d", f.name, f.n)
	}
	return []message.Via{{Transport: "UDP", Host: f.at.Addr().String(), Port: f.at.Port(), Branch: branch, RPort: 0}}
}

func (f *forger) send(to netip.AddrPort, m *message.Message) {
	f.l.t.Helper()
	if _, err := f.conn.WriteToUDPAddrPort(write(f.l.t, m), to); err != nil {
		f.l.t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond)
}

// within is a request of a phone's dialog, by the forger.
func (f *forger) within(d dialog.Dialog, method string, body []byte) *message.Message {
	m := d.Request(method, 0)
	m.Via = f.via("")
	if method == "INVITE" || method == "UPDATE" {
		m.Add("Contact", "<sip:204@"+f.at.String()+">")
	}
	if len(body) > 0 {
		withBody(m, body)
	}
	return m
}

// forgers are a stranger, and somebody at the address of another registered phone.
func (l *audible) forgers(other *natlab.Host) []*forger {
	return []*forger{
		l.forger("stranger", l.net.Host(strangerAt.Addr()), 5060), l.forger("guest", other, 5099),
	}
}

// unmoved checks that a call goes on as if nobody had said anything.
func (l *audible) unmoved(a, b *end, by *forger, what string) {
	l.t.Helper()
	if n := l.gate.Gauges().Calls; n != 1 {
		l.t.Fatalf("after a forged %s of the %s %d calls are left", what, by.name, n)
	}
	l.bothWays(a.voice, b.voice, 25, 0)
	for _, line := range by.heard() {
		if !strings.HasPrefix(line, "SIP/2.0 ") || line[8] < '4' || by.name == "stranger" {
			l.t.Errorf("for a forged %s the %s hears %q", what, by.name, line)
		}
	}
}

// TestNATForgedRequestsWithLeakedIDsChangeNothing: whoever knows Call-ID, tags and branches of a phone's call, and sends
// from another address, neither ends nor changes nor hears it.
func TestNATForgedRequestsWithLeakedIDsChangeNothing(t *testing.T) {
	for direction, out := range map[string]bool{"called": false, "calling": true} {
		for _, tr := range []nat.Transport{nat.UDP, nat.TCP} {
			t.Run(direction+"/"+tr.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l := newAudible(t, roamingConfig, natlab.Options{Seed: 10}, nil)
					defer l.close()
					there := l.home(8, strictest).Host(private)
					h, other := l.handset(l.home(7, strictest).Host(private), "204", 5060, tr, private), l.handset(there, "205", 5060, nat.UDP, private)
					secrets, pbx := h.overheard(), l.pbxEnd()
					h.registers()
					other.registers()
					_, atPBX := l.called(pbx, h, out)
					d := l.dialogOf(secrets, out)
					for _, f := range l.forgers(there) {
						for _, to := range []netip.AddrPort{phoneSocket, trunkSocket} {
							for method, body := range map[string][]byte{
								"BYE": nil, "INVITE": sdpAt(f.at.Addr(), 7000), "UPDATE": sdpAt(f.at.Addr(), 7000), "INFO": nil, "REFER": nil, "ACK": nil,
							} {
								f.send(to, f.within(d, method, body))
								l.unmoved(pbx, h.end, f, method)
							}
						}
					}
					// The other phone itself, from the flow that it has registered over.
					for _, method := range []string{"BYE", "INVITE"} {
						answer := l.intrudes(other, d, method)
						speak(33*50, pbx.voice, h.voice)
						code := <-answer
						if code >= 200 && code < 300 {
							t.Errorf("the other phone's %s is answered by %d", method, code)
						}
						if n := l.gate.Gauges().Calls; n != 1 {
							t.Fatalf("after the other phone's %s %d calls are left", method, n)
						}
						l.bothWays(pbx.voice, h.voice, 50, 0)
					}
					hangs(atPBX, pbx, h.end)
					h.leaves()
					other.leaves()
					l.settled()
					if r := l.record(); r.Code != 200 || r.EndedBy != map[bool]string{false: "caller", true: "callee"}[out] {
						t.Errorf("record %+v", r)
					}
				})
			})
		}
	}
}

// intrudes sends a request of somebody else's dialog from the flow of a registered phone; 0: no answer.
func (l *audible) intrudes(other *handset, d dialog.Dialog, method string) <-chan int {
	l.t.Helper()
	answer := make(chan int, 1)
	l.do(other.agent, func() {
		m := d.Request(method, 0)
		if method == "INVITE" {
			m.Add("Contact", "<sip:205@"+private.String()+">")
			withBody(m, other.voice.sdp())
		}
		other.agent.Ask(m, phoneSocket, func(m *message.Message) {
			if m == nil {
				answer <- 0
			} else {
				answer <- m.Status
			}
		})
	})
	return answer
}

// dialogOf is a phone's side of its call.
func (l *audible) dialogOf(secrets *leaked, out bool) dialog.Dialog {
	l.t.Helper()
	invite, answer := secrets.last(l.t, "INVITE"), secrets.last(l.t, "200 INVITE")
	var d dialog.Dialog
	var err error
	if out {
		d, err = dialog.UAC(invite, answer)
	} else {
		d, err = dialog.UAS(invite, answer.To.Tag)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	return d
}

// TestNATForgedAnswersAndCancels: while a phone rings, or while it calls.
func TestNATForgedAnswersAndCancels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newAudible(t, roamingConfig, natlab.Options{Seed: 10}, nil)
		defer l.close()
		there := l.home(8, strictest).Host(private)
		h, other := l.handset(l.home(7, strictest).Host(private), "204", 5060, nat.UDP, private), l.handset(there, "205", 5060, nat.UDP, private)
		secrets, pbx := h.overheard(), l.pbxEnd()
		h.registers()
		other.registers()
		slowly := demo.Script{Ring: 100 * time.Millisecond, Answer: 20 * time.Second}
		for _, e := range []*end{h.end, pbx} {
			l.do(e.agent, func() { e.agent.Incoming = func(*message.Message) demo.Script { return e.script(slowly) } })
		}
		villains := l.forgers(there)

		pbx.rings("204") // answers to the gate's INVITE
		time.Sleep(time.Second)
		invite, ringing := secrets.last(t, "INVITE"), secrets.last(t, "180 INVITE")
		for _, f := range villains {
			for _, code := range []int{180, 183, 200, 302, 486, 603} {
				m := message.Reply(invite, code, "")
				m.To.Tag = ringing.To.Tag
				if code == 200 {
					m.To.Tag = "forged"
				}
				m.Add("Contact", "<sip:204@"+f.at.String()+">")
				withBody(m, sdpAt(f.at.Addr(), 7000))
				for _, to := range []netip.AddrPort{phoneSocket, trunkSocket} {
					f.send(to, m)
				}
			}
		}
		if n := l.gate.Gauges().Calls; n != 1 {
			t.Fatalf("forged answers leave %d calls", n)
		}
		atPBX := pbx.stands()
		h.stands()
		l.bothWays(pbx.voice, h.voice, 100, latching)
		hangs(atPBX, pbx, h.end)

		h.calls("100") // CANCELs of the phone's INVITE
		time.Sleep(time.Second)
		invite = secrets.last(t, "INVITE")
		for _, f := range villains {
			for _, branch := range []string{"", invite.Via[0].Branch} {
				m := &message.Message{
					Method: "CANCEL", URI: invite.URI, From: invite.From, To: invite.To, CallID: invite.CallID, CSeq: invite.CSeq, MaxForwards: 70,
					Via: f.via(branch),
				}
				f.send(phoneSocket, m)
				m.Via[0].Host, m.Via[0].Port = private.String(), 5060 // as the phone wrote it
				f.send(phoneSocket, m)
			}
		}
		atPBX = pbx.stands()
		h.stands()
		l.bothWays(pbx.voice, h.voice, 100, latching)
		hangs(atPBX, pbx, h.end)
		for _, f := range villains {
			for _, line := range f.heard() {
				if f.name == "stranger" || !strings.HasPrefix(line, "SIP/2.0 4") {
					t.Errorf("the %s hears %q", f.name, line)
				}
			}
		}
		h.leaves()
		other.leaves()
		l.settled()
		if n := len(l.cdrs.all()); n != 2 {
			t.Errorf("%d records of 2 calls", n)
		}
	})
}

// TestNATForgedSourceDoesNotCutAPhoneOff: datagrams with the address and port of a registered phone, that anybody can
// forge: one under the shipped policy, and many where each address has its limits.
func TestNATForgedSourceDoesNotCutAPhoneOff(t *testing.T) {
	request := func(method, aor, contact, id string, seq, expires int, extra string) string {
		return fmt.Sprintf("%s sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.168.77.20:5060;rport;branch=z9hG4bKforged%d%s\r\nMax-Forwards: 70\r\n"+
			"From: <sip:%s@example.com>;tag=forged\r\nTo: <sip:%s@example.com>\r\nCall-ID: %s\r\nCSeq: %d %s\r\nContact: %s\r\nExpires: %d\r\n%s"+
			"Content-Length: 0\r\n\r\n", method, seq, method, aor, aor, id, seq, method, contact, expires, extra)
	}
	const own = "<sip:204@192.168.77.20:5060>"
	digest := "Authorization: Digest username=\"204\", realm=\"example.com\", nonce=\"0123456789abcdef\", uri=\"sip:example.com\", " +
		"response=\"0123456789abcdef0123456789abcdef\", cnonce=\"a\", nc=00000001, qop=auth\r\n"
	forged := map[string]func(n int, register *message.Message) string{
		"unregister":     func(n int, _ *message.Message) string { return request("REGISTER", "204", own, "forged", n, 0, "") },
		"unregister all": func(n int, _ *message.Message) string { return request("REGISTER", "204", "*", "forged", n, 0, "") },
		"unregister by leaked Call-ID": func(n int, r *message.Message) string {
			return request("REGISTER", "204", own, r.CallID, 1000+n, 0, "")
		},
		"unregister by digest": func(n int, r *message.Message) string {
			return request("REGISTER", "204", own, r.CallID, 1000+n, 0, digest)
		},
		"another Contact": func(n int, _ *message.Message) string {
			return request("REGISTER", "204", "<sip:204@203.0.113.66>", "forged", n, 3600, "")
		},
		"another phone": func(n int, _ *message.Message) string { return request("REGISTER", "206", own, "forged", n, 3600, "") },
		"scanner": func(n int, _ *message.Message) string {
			return request("OPTIONS", "204", own, "forged", n, 60, "User-Agent: friendly-scanner\r\n")
		},
		"call": func(n int, _ *message.Message) string {
			return request("INVITE", "204", own, "forged"+fmt.Sprint(n), n, 60, "")
		},
		"unknown BYE": func(n int, _ *message.Message) string { return request("BYE", "204", own, "forged", n, 60, "") },
		"garbage":     func(n int, _ *message.Message) string { return fmt.Sprintf("garbage %d \x00\xff\r\n\r\n", n) },
		"half a message": func(n int, _ *message.Message) string {
			return request("REGISTER", "204", own, "forged", n, 0, "")[:120]
		},
		"two Call-IDs": func(n int, _ *message.Message) string {
			return request("REGISTER", "204", own, "forged", n, 0, "Call-ID: two\r\n")
		},
	}
	for name, forge := range forged {
		for _, many := range []int{1, 60} {
			policy := "" // as shipped
			if many > 1 {
				policy = "policy: { rate_limits: [ { name: phones, range: [ any ], realms: [ phones ], " +
					"limits: { REGISTER: 15/minute, INVITE: 10/minute, OPTIONS: 10/minute } } ] }"
			}
			t.Run(fmt.Sprint(name, "/", many), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l := newAudible(t, rewritten(t, roamingConfig, "policy: { rate_limits: [] }", policy), natlab.Options{Seed: 10}, nil)
					defer l.close()
					home := l.home(7, strictest)
					h := l.handset(home.Host(private), "204", 5060, nat.UDP, private)
					secrets, pbx := h.overheard(), l.pbxEnd()
					h.registers()
					time.Sleep(10 * time.Second)
					source, ok := home.Mapped(h.agent.Addr, phoneSocket)
					if !ok {
						t.Fatal("the phone's NAT has forgotten it")
					}
					for n := range many {
						if err := l.net.Inject(source, phoneSocket, []byte(forge(1+n, secrets.last(t, "REGISTER")))); err != nil {
							t.Fatal(err)
						}
						time.Sleep(20 * time.Millisecond)
					}
					for range 3 { // now, and after refreshes
						l.mustBe("204@example.com")
						pbx.rings("204")
						pbx.stands()
						hangs(h.stands(), h.end, pbx)
						h.calls("100")
						call := h.stands()
						pbx.stands()
						hangs(call, h.end, pbx)
						time.Sleep(50 * time.Second)
					}
					h.leaves()
					l.settled()
				})
			})
		}
	}
}
