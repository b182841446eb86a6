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

// TestWhatReachesThePBXIsBounded: so many a second of all sources together, by method; the rest hears 503, phones with a hint.
func TestWhatReachesThePBXIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, doorConfig, `  health: { interval: 0 }`, "  health: { interval: 0 }\n  limits: { INVITE: 5/second, MESSAGE: 10/second }\ntrunks:\n"+
			"  - name: itsp\n    peers: [ { address: \"203.0.113.20:5060\" } ]\n    keepalive: { method: none }")
		defer d.close()
		d.enter(d.phone, "204")
		provider := d.wire(providerAt)
		provider.n = 5000
		time.Sleep(time.Second)
		passed, refused := 0, 0
		for i := range 20 {
			m := d.phone.speaks("INVITE", "204")
			w, gate := d.phone, phoneSocket
			if i%2 == 1 {
				w, gate = provider, trunkSocket
				m = withBody(provider.request("INVITE", trunkSocket, "100"), sdpAt(provider.at.Addr(), 4000))
			}
			w.send(gate, m)
			if arrived := d.pbx.next(10 * time.Millisecond); arrived != nil {
				passed++
				d.pbx.reply(arrived, 486, nil)
				w.send(gate, ackOf(m, w.want("486 INVITE")))
				d.pbx.want("ACK")
				continue
			}
			refused++
			got := w.want("503 INVITE")
			if after, hint := got.Get("Retry-After"); hint != (w == d.phone) || hint && after != "1" {
				t.Errorf("%s hears\n%s", w.at, got)
			}
			w.send(gate, ackOf(m, got))
		}
		if passed != 5 || refused != 15 {
			t.Errorf("%d INVITEs reach the PBX, want the five of a second", passed)
		}
		if got := d.met(d.phone, d.phone.speaks("MESSAGE", "204")); got != "PBX" {
			t.Errorf("a MESSAGE meets %s", got)
		}
		if got := d.met(d.phone, d.phone.speaks("SUBSCRIBE", "204")); got != "PBX" {
			t.Errorf("a SUBSCRIBE, which is not bound, meets %s", got)
		}
		if why, err := d.gate.Control(nil).Why(d.ctx, phoneAt.Addr().String()); err != nil ||
			!strings.Contains(why.Text, "INVITE 503 limit-exceeded: pbx.limits: all sources together have used INVITE 5/second") {
			t.Errorf("why says (%v)\n%s", err, why.Text)
		}
		time.Sleep(200 * time.Millisecond)
		if got := d.met(d.phone, d.phone.speaks("INVITE", "204")); got != "PBX" {
			t.Errorf("a fifth of a second later an INVITE meets %s", got)
		}
	})
}

// TestARetryIsNotCharged: the request that answers a challenge is the second half of one; another one with the same nonce is
// one of its own.
func TestARetryIsNotCharged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, doorConfig, `  health: { interval: 0 }`, "  health: { interval: 0 }\n  limits: { INVITE: 4/hour, MESSAGE: 4/hour, REGISTER: 4/hour }")
		defer d.close()
		d.enter(d.phone, "204")
		for _, method := range []string{"INVITE", "MESSAGE"} {
			for i := range 4 {
				m := d.phone.speaks(method, "204")
				nonce := fmt.Sprint("n", method, i)
				d.phone.send(phoneSocket, m)
				d.pbx.reply(d.pbx.want(method), 407, nil, field(`Proxy-Authenticate: Digest realm="example.com", nonce="`+nonce+`"`))
				got := d.phone.want("407 " + method)
				if method == "INVITE" {
					d.phone.send(phoneSocket, ackOf(m, got))
					d.pbx.want("ACK")
				}
				proof := field(`Proxy-Authorization: Digest username="204", realm="example.com", nonce="` + nonce + `", uri="sip:x", response="r"`)
				if met := d.met(d.phone, d.phone.again(m, proof)); met != "PBX" {
					t.Errorf("the retry of %s %d meets %s", method, i+1, met)
				}
				if i == 3 {
					m := d.phone.speaks(method, "204")
					m.Headers = append(m.Headers, proof)
					if met := d.met(d.phone, m); met != "503" {
						t.Errorf("another %s with that nonce meets %s", method, met)
					}
				}
			}
			if met := d.met(d.phone, d.phone.speaks(method, "204")); met != "503" {
				t.Errorf("a fifth %s meets %s", method, met)
			}
		}
	})
}

// TestNoAnswerIsNoRetry: who is challenged and asks once more without credentials, or with those that were used, has asked twice.
func TestNoAnswerIsNoRetry(t *testing.T) {
	for name, proof := range map[string]message.Header{
		"none":   field("Subject: nothing"),
		"used":   field(`Proxy-Authorization: Digest username="204", realm="example.com", nonce="n0", uri="sip:x", response="r"`),
		"forged": field(`Proxy-Authorization: Digest username="204", realm="example.com", nonce="m", uri="sip:x", response="r"`),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDoor(t, doorConfig, `  health: { interval: 0 }`, "  health: { interval: 0 }\n  limits: { INVITE: 4/hour }")
				defer d.close()
				d.enter(d.phone, "204")
				want := map[bool]int{false: 4, true: 5}[name == "used"]
				m, passed := d.phone.speaks("INVITE", "204"), 0
				for ; passed < 8; passed++ {
					d.phone.send(phoneSocket, m)
					in := d.pbx.next(100 * time.Millisecond)
					if in == nil {
						d.phone.send(phoneSocket, ackOf(m, d.phone.want("503 INVITE")))
						break
					}
					d.pbx.reply(in, 407, nil, field(fmt.Sprintf(`Proxy-Authenticate: Digest realm="example.com", nonce="n%d"`, passed)))
					d.phone.send(phoneSocket, ackOf(m, d.phone.want("407 INVITE")))
					d.pbx.want("ACK")
					m = d.phone.again(m)
					m.Headers = append(slices.DeleteFunc(m.Headers, func(h message.Header) bool { return h == proof }), proof)
				}
				if passed != want {
					t.Errorf("%d INVITEs reach the PBX, want %d", passed, want)
				}
			})
		})
	}
}

// TestStrangersLeaveRoomForPhones: a flood of REGISTERs takes four fifths, and who is registered goes on being so.
func TestStrangersLeaveRoomForPhones(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, doorConfig, `  health: { interval: 0 }`, "  health: { interval: 0 }\n  limits: { REGISTER: 20/second }",
			"strangers: { phones: silent }", "strangers: { phones: silent, rate: 1000/second, burst: 1000 }")
		defer d.close()
		d.enter(d.phone, "204")
		time.Sleep(10 * time.Second)
		strangers, phones := 0, 0
		for second := range 5 {
			for i := range 100 {
				at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, byte(2 + second), byte(1 + i)}), 5060)
				m := d.phone.registers(fmt.Sprint(300+i), "<sip:x@192.0.2.1>")
				m.Via[0].Host, m.CallID = at.Addr().String(), fmt.Sprint(d.phone.n, "-of-", at)
				if err := d.net.Inject(at, phoneSocket, write(t, m)); err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Millisecond)
				if i%25 != 24 {
					continue
				}
				refresh := d.phone.registers("204", "<sip:204@"+phoneAt.String()+">")
				refresh.CallID = fmt.Sprintf("refresh-%d-%d", second, i)
				d.phone.send(phoneSocket, refresh)
				for arrived := d.pbx.next(time.Millisecond); arrived != nil; arrived = d.pbx.next(time.Millisecond) {
					if arrived.To.URI.User != "204" {
						strangers++
						continue
					}
					phones++
					d.pbx.reply(arrived, 200, nil, echo(t, arrived, 3600)...)
				}
			}
		}
		if phones != 20 {
			t.Errorf("%d of the phone's 20 refreshes reach the PBX", phones)
		}
		if most := 5*16 + 20; strangers < 70 || strangers > most {
			t.Errorf("%d of the strangers' 500, want about 80", strangers)
		}
	})
}

// TestReloadedLimits are in force at once, with what is owed.
func TestReloadedLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := func(text string) string {
			return rewritten(t, doorConfig, `  health: { interval: 0 }`, "  health: { interval: 0 }\n  limits: "+text)
		}
		d := newDoor(t, limits("{ MESSAGE: 4/hour }"))
		defer d.close()
		d.enter(d.phone, "204")
		message := func() string { return d.met(d.phone, d.phone.speaks("MESSAGE", "204")) }
		reload := func(text string) {
			if _, err := d.gate.Reload(d.ctx, parse(t, limits(text))); err != nil {
				t.Fatal(err)
			}
		}
		for range 4 {
			if got := message(); got != "PBX" {
				t.Fatal(got)
			}
		}
		reload("{ MESSAGE: 5/hour }")
		if got := message(); got != "503" {
			t.Errorf("what is owed is forgotten: %s", got)
		}
		reload("{}")
		if got := message(); got != "PBX" {
			t.Errorf("without a limit: %s", got)
		}
	})
}
