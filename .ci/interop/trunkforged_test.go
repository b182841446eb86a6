//go:build interop

package interop

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// names are the places in a message where a stranger writes the provider's address. Who believes them is taken in: what counts is
// the address that the packet comes from.
var names = []struct {
	name string
	edit func(string) string
}{
	{"the lower Via", adds("Via: SIP/2.0/UDP " + provider + ":5060;branch=z9hG4bKlower;received=" + provider)},
	{"the only Via", func(m string) string { return strings.Replace(m, "UDP "+stranger, "UDP "+provider, 1) }},
	{"From", func(m string) string {
		return strings.Replace(m, "From: <sip:"+foreign+"@"+stranger, "From: <sip:"+foreign+"@"+provider, 1)
	}},
	{"Contact", func(m string) string {
		return strings.Replace(m, "Contact: <sip:+49401234567@"+stranger, "Contact: <sip:+49401234567@"+provider, 1)
	}},
	{"Route", adds("Route: <sip:" + gateOutside + ":5080;lr>, <sip:" + provider + ":5060;lr>")},
	{"Record-Route", adds("Record-Route: <sip:" + provider + ":5060;lr>")},
	{"everything", func(m string) string { return strings.ReplaceAll(m, stranger, provider) }},
}

func adds(field string) func(string) string {
	return func(m string) string { return insert(m, field) }
}

// methods are what he asks.
var methods = []string{
	"INVITE", "OPTIONS", "REGISTER", "MESSAGE", "SUBSCRIBE", "NOTIFY", "REFER", "PUBLISH", "UPDATE", "INFO", "PRACK", "BYE", "CANCEL", "ACK", "FROBNICATE",
}

// TestProviderInName: whoever only names the provider reaches nothing, hears nothing, and ends no call, however much he knows: the user
// by which the gate has registered, and the ids of a call in progress. Neither bans nor the strangers' budget do that here.
func TestProviderInName(t *testing.T) {
	w := newWorld(t)
	office := seat{w.ownPBX(t), local, ours}
	away := seat{w.callers(t), trunk, foreign}
	g := w.run(t, fmt.Sprintf(registering, w.dir, gateOutside, `"203.0.113.20:5060"`, "", "0s")+
		"policy: { bans: { points: 0 }, strangers: { rate: 100000/second, burst: 100000 } }\n", gateOutside+":5080", gateInside+":5080")
	until(t, "the gate is registered", 15*time.Second, func() bool {
		out, _ := g.verb("trunks")
		return strings.Contains(out, " registered ")
	})
	office.number = "4930555"
	mine, _ := away.connects(t, office, "sip:4930555@"+gateOutside+":5080")
	talking(t, office, away)
	w.forges(t, mine)
	talking(t, office, away)
	leaves(t, away, office)
	g.recorded(t, 0, 1)
	if out, code := g.verb("why", stranger); code != 3 || !strings.Contains(out, "unknown-trunk") {
		t.Errorf("sbc why %s: exit code %d, want 3 (refused): %s", stranger, code, out)
	}
	g.stop(t)
}

// forges says it all, in one go, and fails the test where anything comes of it. The call in progress is the provider's.
func (w *world) forges(t *testing.T, call *line) {
	t.Helper()
	rec, conn := w.capture(t), w.socket(t, nsOutside, stranger+":5060")
	p := party{conn: conn, gate: addrPort(gateOutside + ":5080")}
	said := 0
	say := func(text string) {
		p.send(text)
		if said++; said%32 == 0 {
			time.Sleep(time.Millisecond) // it is for the gate to refuse them, not for a full socket
		}
	}
	for _, to := range []string{ours, "4930555"} {
		for _, method := range methods {
			for _, n := range names {
				id := fmt.Sprintf("forged-%d", said)
				text := request(method, "sip:"+to+"@"+gateOutside+":5080", stranger+":5060;branch=z9hG4bK"+id, "<sip:"+foreign+"@"+stranger+">;tag=f",
					"<sip:"+to+"@"+gateOutside+">", id, 1, map[bool]string{true: sdp(stranger, 1, "sendrecv")}[method == "INVITE"])
				say(n.edit(text))
			}
		}
	}
	for _, method := range []string{"INVITE", "UPDATE", "INFO", "REFER", "BYE"} { // of the call in progress, as the provider would say it
		say(call.within(method, 0, map[bool]string{true: sdp(stranger, 9, "sendrecv")}[method == "INVITE"], "Refer-To: <sip:0190@"+provider+">"))
	}
	if got, silent := silence(conn, time.Second); !silent {
		t.Errorf("the stranger is answered: %s", got)
	}
	all := rec.stop(t)
	if n := len(choose(all, packet.sip, on(nsOutside), from(stranger))); n != said {
		t.Errorf("%d messages have left, want %d: the test proves nothing", n, said)
	}
	for _, heard := range choose(all, packet.sip, func(p packet) bool { return !p.own() }) {
		t.Errorf("the gate has sent to %s on the %s: %s", heard.dst, heard.side, heard.start())
	}
	for _, heard := range choose(all, to(stranger)) {
		t.Errorf("the stranger hears %q", heard.payload)
	}
	if t.Failed() {
		t.Logf("ladder:\n%s", ladder(choose(all, packet.sip)))
	}
}
