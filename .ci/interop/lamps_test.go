//go:build interop

package interop

import (
	"strings"
	"testing"
)

// TestLamps: a phone behind a NAT watches a telephone in the office through Kamailio (RFC 4235). What it is told of a call of
// others has veils for ids, which mean the true ones in the Replaces by which it picks that call up (RFC 3891).
func TestLamps(t *testing.T) {
	t.Parallel()
	w := newHomes(t)
	w.pbx(t, node1)
	g := w.phoneGate(t, phoneSettings{unlimited: true})
	all := g.observe(t, 1, []string{anna.ns}, func() {
		lamp := w.sipp(t, agent{ns: nsInside, address: desk, scenario: "desk-rings", number: "100"})
		p := w.phone(t, sippPhone{extension: anna, transport: "udp", scenario: "phone-picks-up", registrar: doors["udp"]})
		w.verdict(t, lamp)
		w.meet(t, p, w.deskAnswers(t, "desk-is-relieved"))
	})
	audible(t, all, anna.address, desk, 30, false)
	told, ok := firstTo(all, public1, "NOTIFY ")
	if text := string(told.payload); !ok || strings.Contains(text, "truecall") || strings.Contains(text, "truelocal") ||
		strings.Contains(text, "trueremote") || !strings.Contains(text, `<identity display="Customer">sip:+49401234567@`+domain+"<") {
		t.Errorf("the phone is told: %s", text)
	}
	g.stop(t)
}

// TestHiddenCaller: a caller in the office who hides (RFC 3323) is nobody to a phone, whatever the PBX asserts.
func TestHiddenCaller(t *testing.T) {
	t.Parallel()
	w := newHomes(t)
	w.pbx(t, node1)
	g := w.phoneGate(t, phoneSettings{unlimited: true})
	all := g.observe(t, 1, []string{anna.ns}, func() {
		p := w.phone(t, sippPhone{extension: anna, transport: "udp", scenario: "phone-stays", called: "callee", registrar: doors["udp"]})
		w.registered(t, p, 1)
		w.verdict(t, w.sipp(t, agent{ns: nsInside, address: desk, scenario: "desk-hides", number: anna.user, towards: node1 + ":5060"}))
		p.kill()
	})
	audible(t, all, desk, anna.address, 20, false)
	told, ok := firstTo(all, public1, "INVITE ")
	if text := string(told.payload); !ok || strings.Contains(text, "49401234567") || strings.Contains(text, "hush") || !strings.Contains(text, "sip:anonymous@anonymous.invalid") {
		t.Errorf("the phone is told: %s", text)
	}
	g.stop(t)
}
