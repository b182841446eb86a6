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
	t.Parallel()
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

// node is a PBX node of the test's own: it answers what it is asked and counts.
type node struct {
	*party
	probes, invites atomic.Int32
}

func (w *world) node(t *testing.T, address string) *node {
	t.Helper()
	n, answer := &node{}, answering(address)
	n.party = w.party(t, nsInside, address+":5060", gateInside+":5080", func(m message) []string {
		switch m.method() {
		case "OPTIONS":
			n.probes.Add(1)
		case "INVITE":
			n.invites.Add(1)
		}
		return answer(m)
	})
	return n
}

// TestHealth: a node that has died is not tried while another is up, and is used again once it answers; with every node
// down the trunk is told so. A node counts as down only after it was up, so both live first.
func TestHealth(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.draw(t)
	first, second := w.node(t, node1), w.node(t, node2)
	g := w.gate(t, settings{probes: true})
	trunk := w.party(t, nsOutside, provider+":5060", gateOutside+":5080", nil)
	within := func(what string, condition func() bool) {
		t.Helper()
		until(t, what, 20*time.Second, func() bool {
			time.Sleep(200 * time.Millisecond)
			return condition()
		})
	}
	within("both nodes are asked", func() bool { return first.probes.Load() > 0 && second.probes.Load() > 0 })
	if code := trunk.ring(t, 1); code != 200 || first.invites.Load() != 1 {
		t.Errorf("call with both nodes up: %d, the first node heard %d INVITE", code, first.invites.Load())
	}
	first.conn.Close()
	second.conn.Close()
	within("both nodes down: OPTIONS of the trunk gets 503", func() bool { return trunk.ask(t) == 503 })
	if code := trunk.ring(t, 2); code != 503 {
		t.Errorf("call with both nodes down: %d, want 503", code)
	}
	second = w.node(t, node2)
	within("second node up: OPTIONS of the trunk gets 200", func() bool { return trunk.ask(t) == 200 })
	mute := w.socket(t, nsInside, node1+":5060") // alive as a host, so that an attempt would be heard
	if code := trunk.ring(t, 3); code != 200 || second.invites.Load() != 1 {
		t.Errorf("call with the first node down: %d, the second node heard %d INVITE", code, second.invites.Load())
	}
	for heard, silent := silence(mute, 50*time.Millisecond); !silent; heard, silent = silence(mute, 50*time.Millisecond) {
		if strings.HasPrefix(heard, "INVITE") {
			t.Error("the first node, known to be down, is tried before the second")
		}
	}
	mute.Close()
	first = w.node(t, node1)
	calls := 3
	within("first node up: calls reach it again", func() bool {
		calls++
		if code := trunk.ring(t, calls); code != 200 {
			t.Fatalf("call %d while the first node comes back: %d", calls, code)
		}
		return first.invites.Load() > 0
	})
	if out, code := g.verb("pbx", "--json"); code != 0 {
		t.Errorf("sbc pbx: exit code %d: %s", code, out)
	}
	if t.Failed() {
		t.Log(g.tail())
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
