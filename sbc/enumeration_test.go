package sbc_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat/natlab"
	"sallyport/sbc/message"
)

// asked is what a stranger sends and hears, without what differs in any two requests.
type asked struct {
	d     *door
	w     *wire
	pbx   func(m *message.Message) // answers for the PBX
	bytes []string                 // raw answers
}

var differs = []*regexp.Regexp{
	regexp.MustCompile(`branch=[^;\r]*`), regexp.MustCompile(`tag=[^;\r]*`), regexp.MustCompile(`(?m)^Call-ID: .*$`),
	regexp.MustCompile(`(nonce|opaque)="[^"]*"`), regexp.MustCompile(`(?m)^Date: .*$`), regexp.MustCompile(`sip:[0-9]+@`),
}

func plain(raw string) string {
	for _, re := range differs {
		raw = re.ReplaceAllString(raw, "~")
	}
	return raw
}

// exchange sends a request and lets the PBX answer it; all answers to it are returned, as they were written.
func (a *asked) exchange(m *message.Message) string {
	a.d.t.Helper()
	a.bytes = nil
	a.w.send(phoneSocket, m)
	if arrived := a.d.pbx.next(100 * time.Millisecond); arrived != nil {
		a.pbx(arrived)
	}
	for {
		got := a.w.next(time.Second)
		if got == nil {
			break
		}
		if got.Method == "INVITE" && got.Status >= 200 {
			a.w.send(phoneSocket, ackOf(m, got))
		}
	}
	a.d.pbx.quiet(time.Second, "INVITE")
	return plain(strings.Join(a.bytes, "\n"))
}

// TestNobodyLearnsWhichExtensionsThereAre: what a stranger hears of one that is there and of one that is not is the same, byte
// for byte, whatever the PBX says of them, and from the first challenge on that the PBX has shown to anybody.
func TestNobodyLearnsWhichExtensionsThereAre(t *testing.T) {
	challenges := map[string][]message.Header{
		"REGISTER":  {field(`Allow: INVITE, ACK, REGISTER`), field("Supported: replaces"), field(`WWW-Authenticate: Digest realm="example.com", nonce="NONCE", opaque="OPAQUE", algorithm=MD5, qop="auth"`), field("Date: Sat, 01 Jan 2000 00:00:00 GMT")},
		"INVITE":    {field(`Proxy-Authenticate: Digest realm="example.com", nonce="NONCE"`), field(`Proxy-Authenticate: Digest realm="example.com", algorithm=SHA-256, nonce="NONCE"`), field("Server: pbx/1.0")},
		"SUBSCRIBE": {field(`WWW-Authenticate: Digest realm="example.com", nonce="1690000/NONCE"`)},
	}
	codes := map[string]int{"REGISTER": 401, "INVITE": 407, "SUBSCRIBE": 401}
	for _, unknown := range []int{403, 404, 480, 604} {
		t.Run(fmt.Sprint(unknown), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDoor(t, doorConfig, "unregistered: drop", `unregistered: forward, reachable: [".*"]`, "phones: silent", "phones: answer",
					"rate_limits: []", "rate_limits: []\n  bans: { points: 0 }")
				defer d.close()
				a := &asked{d: d, w: d.wire(strangerAt)}
				d.net.Observe(func(g natlab.Datagram) {
					d.ladder.note(g)
					if g.Dst == strangerAt {
						a.bytes = append(a.bytes, string(g.Payload))
					}
				})
				n := 0
				a.pbx = func(m *message.Message) {
					who := m.URI.User
					if m.Method == "REGISTER" {
						who = m.To.URI.User
					}
					_, signed := m.Get("Authorization")
					_, proxied := m.Get("Proxy-Authorization")
					if who == "999" || signed || proxied {
						code := unknown
						if signed || proxied {
							code = 403
							if who == "999" {
								code = unknown
							}
						}
						d.pbx.reply(m, code, nil, field("Server: pbx/1.0"), field("Reason: SIP;text=\"no such user\""), field(fmt.Sprintf("X-Who: %s", who)))
					} else {
						n++
						var list []message.Header
						for _, h := range challenges[m.Method] {
							h.Value = strings.NewReplacer("NONCE", fmt.Sprintf("%08x", n*0x1234567), "OPAQUE", fmt.Sprintf("%016x", n*0x7654321)).Replace(h.Value)
							list = append(list, h)
						}
						d.pbx.reply(m, codes[m.Method], nil, list...)
					}
					if m.Method == "INVITE" {
						d.pbx.want("ACK")
					}
				}
				for _, method := range []string{"REGISTER", "OPTIONS", "INVITE", "SUBSCRIBE"} {
					ask := func(who string, extra ...message.Header) string {
						m := a.w.speaks(method, who)
						if method != "REGISTER" {
							m.From.URI.User = "777"
							m.URI.User, m.To.URI.User = who, who
						}
						m.Headers = append(m.Headers, extra...)
						return a.exchange(m)
					}
					known, other := ask("204"), ask("999")
					if known == "" || known != other {
						t.Errorf("%s: of one that is there\n%s\nand of one that is not\n%s", method, known, other)
					}
					if again := ask("999"); again != other {
						t.Errorf("%s: the second time\n%s\nin the place of\n%s", method, again, other)
					}
					name := map[bool]string{true: "Proxy-Authorization", false: "Authorization"}[method == "INVITE"]
					proof := field(name + `: Digest username="x", realm="example.com", nonce="1", uri="sip:x", response="r"`)
					known, other = ask("204", proof), ask("999", proof)
					if known == "" || known != other {
						t.Errorf("%s with a wrong password: of one that is there\n%s\nand of one that is not\n%s", method, known, other)
					}
				}
			})
		})
	}
}

// TestPhonesHearWhatThePBXSays: who is registered may know who is not.
func TestPhonesHearWhatThePBXSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, doorConfig)
		defer d.close()
		d.enter(d.phone, "204")
		for _, method := range []string{"OPTIONS", "INVITE", "SUBSCRIBE", "MESSAGE"} {
			m := d.phone.speaks(method, "204")
			d.phone.send(phoneSocket, m)
			d.pbx.reply(d.pbx.want(method), 404, nil)
			got := d.phone.want("404 " + method)
			if method == "INVITE" {
				d.phone.send(phoneSocket, ackOf(m, got))
			}
		}
	})
}
