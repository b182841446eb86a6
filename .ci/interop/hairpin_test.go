//go:build interop

package interop

import (
	"testing"
	"time"
)

// correlated fails the test unless the last call records, as many as a call crosses the gate, name one another.
func (g *gate) correlated(t *testing.T, n int) {
	t.Helper()
	list := g.records(t)
	if len(list) < n {
		return // recorded has said so
	}
	list = list[len(list)-n:]
	first, _ := list[0]["correlation"].(string)
	for _, r := range list {
		if r["correlation"] != first || first == "" {
			t.Errorf("call record %v has correlation %q, want one that both crossings share (%q)", r["id"], r["correlation"], first)
		}
	}
}

// TestPhoneToPhone: two phones call each other through the PBX, which is a proxy, so that the call crosses the gate twice
// and both its descriptions come from the gate itself.
func TestPhoneToPhone(t *testing.T) {
	w := newHomes(t)
	w.pbx(t, node1)
	g := w.phoneGate(t, phoneSettings{})
	a := w.baresip(t, anna, "udp", doors["udp"], 60)
	a.registers(t, 1)
	for _, c := range []struct {
		name, transport string
		callee          extension
	}{
		{"behind the same router", "udp", bert},
		{"behind the same router, over TLS", "tls", bert},
		{"behind different routers", "tcp", cora},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := w.baresip(t, c.callee, c.transport, doors[c.transport], 60)
			b.registers(t, 1)
			calls := a.seen("CALL_ESTABLISHED")
			all := g.observe(t, 2, []string{anna.ns, c.callee.ns}, func() {
				a.call(c.callee.user)
				a.established(t, calls+1)
				b.established(t, 1)
				time.Sleep(2 * time.Second) // they talk
				a.hangUp()
				b.reaches(t, "CALL_CLOSED", 1, 5*time.Second)
			})
			audible(t, all, anna.address, c.callee.address, 60, false)
			g.correlated(t, 2)
			b.quit(t)
		})
	}
	a.quit(t)
	g.binds(t, 0)
	g.stop(t)
}

// TestPhoneAndTrunk: a phone calls out over the provider and is called from there, through the proxy.
func TestPhoneAndTrunk(t *testing.T) {
	w := newHomes(t)
	w.pbx(t, node1)
	g := w.phoneGate(t, phoneSettings{})
	for _, transport := range transports {
		b := w.baresip(t, anna, transport, doors[transport], 60)
		b.registers(t, 1)
		t.Run("phone to trunk/"+transport, func(t *testing.T) {
			if transport == "tcp" {
				long(t)
			}
			all := g.observe(t, 2, []string{anna.ns}, func() {
				callee := w.sipp(t, agent{ns: nsOutside, address: provider, scenario: "callee", number: "+493055501"})
				b.call("+493055501")
				b.established(t, 1)
				time.Sleep(2 * time.Second) // they talk
				b.hangUp()
				w.verdict(t, callee)
			})
			audible(t, all, anna.address, provider, 60, false)
			expect(t, all, provider, "INVITE", map[string]string{"Request-URI": "sip:+493055501@" + provider, "From": "201@" + gateOutside})
			g.correlated(t, 2)
		})
		t.Run("trunk to phone/"+transport, func(t *testing.T) {
			if transport == "tcp" {
				long(t)
			}
			all := g.observe(t, 2, []string{anna.ns}, func() {
				w.verdict(t, w.sipp(t, agent{ns: nsOutside, address: provider, scenario: "caller", number: "+4930201", towards: gateOutside + ":5080"}))
			})
			audible(t, all, provider, anna.address, 40, false)
			g.correlated(t, 2)
		})
		b.quit(t)
	}
	g.stop(t)
}
