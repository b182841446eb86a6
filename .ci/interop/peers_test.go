//go:build interop

package interop

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestOptions: trunk and PBX ask whether the gate lives.
func TestOptions(t *testing.T) {
	w := newWorld(t)
	g := w.gate(t, settings{})
	for name, a := range map[string]agent{
		"from the trunk": {ns: nsOutside, address: provider, scenario: "options", towards: gateOutside + ":5080"},
		"from the PBX":   {ns: nsInside, address: node1, scenario: "options", towards: gateInside + ":5080"},
	} {
		t.Run(name, func(t *testing.T) {
			rec := w.capture(t)
			w.verdict(t, w.sipp(t, a))
			all := rec.stop(t)
			noLeak(t, all)
			for _, p := range choose(all, packet.sip) {
				if p.side != a.ns {
					t.Errorf("an OPTIONS to the gate is heard on the other side: %s", p.start())
				}
			}
		})
	}
	g.stop(t)
}

// TestFailover: the second PBX node takes over, whatever the first one does.
func TestFailover(t *testing.T) {
	for name, first := range map[string]func(*testing.T, *world){
		"no process at the first node (ICMP)": func(*testing.T, *world) {},
		"the first node swallows": func(t *testing.T, w *world) {
			w.party(t, nsInside, node1+":5060", gateInside+":5080", func(message) []string { return nil })
		},
		"the first node says 503": func(t *testing.T, w *world) {
			w.party(t, nsInside, node1+":5060", gateInside+":5080", func(m message) []string {
				if m.method() != "INVITE" {
					return nil
				}
				return []string{m.reply("503 Service Unavailable", node1+":5060", "")}
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			g := w.gate(t, settings{})
			first(t, w)
			d := directions[0]
			d.callee.address = node2
			g.call(t, d, calls[0])
			g.stop(t)
		})
	}
}

// TestHealth: a node that is known to be down is not tried while another is up, and is used again once it answers; with
// every node down the trunk is told so.
func TestHealth(t *testing.T) {
	w := newWorld(t)
	g := w.gate(t, settings{probes: true})
	var heard1, heard2 atomic.Int32 // INVITEs
	trunk := w.party(t, nsOutside, provider+":5060", gateOutside+":5080", nil)
	node := func(address string, heard *atomic.Int32) {
		answer := answering(address)
		w.party(t, nsInside, address+":5060", gateInside+":5080", func(m message) []string {
			if m.method() == "INVITE" {
				heard.Add(1)
			}
			return answer(m)
		})
	}
	until(t, "both nodes down: OPTIONS of the trunk gets 503", 20*time.Second, func() bool { return trunk.ask(t) == 503 })
	node(node2, &heard2)
	until(t, "second node up: OPTIONS of the trunk gets 200", 10*time.Second, func() bool { return trunk.ask(t) == 200 })
	if code := trunk.ring(t, 1); code != 200 || heard2.Load() != 1 {
		t.Errorf("call with the first node down: %d, second node heard %d INVITE", code, heard2.Load())
	}
	out, _ := g.verb("pbx", "--json")
	node(node1, &heard1)
	until(t, "first node up: calls reach it again", 20*time.Second, func() bool {
		if code := trunk.ring(t, 100+int(heard2.Load())); code != 200 {
			t.Errorf("call while the first node comes back: %d", code)
		}
		time.Sleep(200 * time.Millisecond)
		return heard1.Load() > 0 || t.Failed()
	})
	if t.Failed() {
		t.Logf("sbc pbx with the first node down: %s\n%s", out, g.tail())
	}
	g.stop(t)
}

// ask sends OPTIONS and returns the code of the answer, 0 for none.
func (p *party) ask(t *testing.T) int {
	t.Helper()
	l := newLeg("ask", int(time.Now().UnixNano()%1e9))
	return p.answer(t, request("OPTIONS", "sip:"+gateOutside+":5080", l.via, l.from, "<sip:"+gateOutside+">", l.id, 1, ""))
}

// ring makes a call, ends it, and returns the code of the answer, 0 for none.
func (p *party) ring(t *testing.T, i int) int {
	t.Helper()
	return p.answer(t, newLeg("ring", i).invite(sdp(provider, 1, "sendrecv")))
}

// answer sends a request and waits for its final answer, acknowledging it and hanging up where it was an INVITE. A party
// that is used so does not serve: hear is nil.
func (p *party) answer(t *testing.T, req string) int {
	t.Helper()
	id := message{req}.get("Call-ID")
	p.send(req)
	for {
		text, silent := silence(p.conn, 5*time.Second)
		m := message{text}
		switch {
		case silent:
			return 0
		case m.status() == 0 && m.method() == "OPTIONS":
			p.send(m.reply("200 OK", provider+":5060", ""))
		case m.get("Call-ID") != id || m.status() < 200:
			continue
		case m.method() == "INVITE" && m.status() < 300:
			p.send(within(m, "ACK", 1, ""), within(m, "BYE", 2, ""))
			return m.status()
		case m.method() == "INVITE":
			p.send(refused(m))
			return m.status()
		default:
			return m.status()
		}
	}
}

// TestStrangers: whoever is no trunk hears nothing, and the PBX hears nothing of him.
func TestStrangers(t *testing.T) {
	w := newWorld(t)
	g := w.gate(t, settings{})
	l := newLeg("stranger", 1)
	mine := strings.NewReplacer(provider, stranger)
	disguised := strings.Replace(l.invite(sdp(stranger, 1, "sendrecv")), "Via: ",
		"Via: SIP/2.0/UDP "+stranger+":5060;branch=z9hG4bK-top\r\nVia: ", 1)
	for name, text := range map[string]string{
		"INVITE":                mine.Replace(l.invite(sdp(stranger, 1, "sendrecv"))),
		"OPTIONS":               mine.Replace(request("OPTIONS", l.uri, l.via, l.from, l.to, "options-1", 1, "")),
		"REGISTER":              mine.Replace(request("REGISTER", l.uri, l.via, l.to, l.to, "register-1", 1, "")),
		"BYE":                   mine.Replace(request("BYE", l.uri, l.via, l.from, l.to+";tag=x", "bye-1", 1, "")),
		"CANCEL":                mine.Replace(l.cancel()),
		"ACK":                   mine.Replace(request("ACK", l.uri, l.via, l.from, l.to+";tag=x", "ack-1", 1, "")),
		"a method nobody knows": mine.Replace(request("FROBNICATE", l.uri, l.via, l.from, l.to, "frob-1", 1, "")),
		"a response":            "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP " + gateOutside + ":5080;branch=z9hG4bK-x\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>;tag=2\r\nCall-ID: r-1\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n",
		"no SIP":                "GET / HTTP/1.1\r\n\r\n",
		"broken SIP":            "INVITE sip:x SIP/2.0\r\nVia\r\n\r\n",
		"the provider's address in the lower Via, From and Contact": disguised,
	} {
		t.Run(name, func(t *testing.T) {
			rec := w.capture(t)
			conn := w.socket(t, nsOutside, stranger+":5060")
			p := party{conn: conn, gate: addrPort(gateOutside + ":5080")}
			p.send(text)
			if got, silent := silence(conn, time.Second); !silent {
				t.Errorf("the stranger is answered: %s", got)
			}
			conn.Close()
			for _, heard := range rec.stop(t) {
				if !heard.own() {
					t.Errorf("the gate sent to %s on the %s: %q", heard.dst, heard.side, heard.payload)
				}
			}
		})
	}
	if n := len(g.records(t)); n != 0 {
		t.Errorf("%d call records for strangers", n)
	}
	if out, code := g.verb("why", stranger); code != 3 {
		t.Errorf("sbc why %s: exit code %d, want 3 (refused): %s", stranger, code, out)
	}
	t.Run("and the trunk still calls", func(t *testing.T) { g.call(t, directions[0], calls[0]) })
	g.stop(t)
}
