//go:build interop

package interop

import (
	"bytes"
	"strings"
	"testing"
)

// manners are a trunk's wishes, one for each direction of each kind.
var manners = []string{
	`numbers: { inbound: [ { of: called, match: '\+4930([0-9]{3})', replace: '$1' } ], outbound: [ { of: called, match: '\+49([0-9]+)', replace: '0$1' } ] }`,
	`identity: { from: '"Example" <sip:+4930555@example.net>', asserted: p-preferred, diversion: history-info }`,
	`headers: { inbound: [ { header: X-Trunk, action: set, value: itsp }, { header: Subject, action: remove } ], outbound: [ { header: Priority, action: replace, method: INVITE, match: 'ur(.*)', value: 'non-ur$1' } ] }`,
	`codes: { inbound: [ { from: 603, to: 480 } ], outbound: [ { from: 600, to: 480 } ] }`,
}

// TestHeaders: what rules, identity, numbers and codes of a trunk make of a call, seen on the wire on the other side.
func TestHeaders(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := w.trunkGate(t, manners...)
	for _, d := range directions {
		t.Run(d.name+"/identified", func(t *testing.T) {
			want := map[string]string{
				"Request-URI": "sip:100@example.com", "To": "sip:100@example.com", "X-Trunk": "itsp",
				"P-Asserted-Identity": "+49401234567@", "Diversion": "+4930777@", "Priority": "urgent",
			}
			absent := []string{"Subject"}
			if d.name == "out" {
				want = map[string]string{
					"Request-URI": "sip:030200@" + provider, "To": "030200@" + provider, "From": `"Example" <sip:+4930555@`,
					"P-Preferred-Identity": "+49401234567@", "History-Info": "4930777@", "Priority": "non-urgent",
				}
				absent = []string{"X-Secret", "X-Trunk", "P-Asserted-Identity", "Diversion"}
			}
			want["User-to-User"], want["Reason"] = "56a390f3d2b7310023a2;encoding=hex", "Q.850;cause=16"
			d.want = want
			all := g.call(t, d, call{caller: "caller-identified", callee: "callee", audio: 25})
			p, _ := firstTo(all, d.callee.address, "INVITE ")
			for _, name := range absent {
				if got := p.header(name); got != "" {
					t.Errorf("INVITE at %s: %s is %q, want none", d.callee.address, name, got)
				}
			}
		})
	}
	for n, refusal := range []string{"callee-overloaded", "callee-declines"} {
		d := directions[n]
		d.want = nil
		t.Run(d.name+"/another code", func(t *testing.T) {
			g.call(t, d, call{caller: "caller-refused-480", callee: refusal})
		})
	}
	g.stop(t)
}

// TestBodies: of several parts the description alone is written anew; where the caller is, and the seams, pass byte for byte, in
// 8 KiB over UDP as well.
func TestBodies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := w.trunkGate(t)
	for _, d := range directions {
		for name, scenario := range map[string]string{"PIDF-LO": "caller-located", "8 KiB": "caller-located-long"} {
			t.Run(d.name+"/"+name, func(t *testing.T) {
				all := g.call(t, d, call{caller: scenario, callee: "callee-located", audio: 30})
				p, _ := firstTo(all, d.callee.address, "INVITE ")
				said := choose(all, packet.sip, packet.own, from(d.caller.address))
				if len(said) == 0 {
					t.Fatal("no INVITE was said")
				}
				place := func(b []byte) []byte {
					_, place, _ := bytes.Cut(b, []byte("\r\n--seam\r\nContent-Type: application/pidf+xml\r\n"))
					return place
				}
				if want := place(said[0].payload); len(want) < 400 || !bytes.Equal(place(p.payload), want) {
					t.Errorf("where the caller is: %q, want %q", place(p.payload), want)
				}
				if name == "8 KiB" && len(p.payload) < 8000 {
					t.Errorf("the INVITE has %d bytes", len(p.payload))
				}
				if got := p.header("Geolocation"); got != "<cid:place@callers.example>" {
					t.Errorf("Geolocation: %q", got)
				}
			})
		}
	}
	g.stop(t)
}

// TestRedirection: 3xx of a provider is followed there, or told to the PBX with a host of the gate; a PBX's is the provider's
// 480.
func TestRedirection(t *testing.T) {
	t.Parallel()
	out := directions[1]
	t.Run("follow", func(t *testing.T) {
		w := newWorld(t)
		g := w.trunkGate(t, "redirect: follow")
		g.call(t, out, call{caller: "caller", callee: "callee-redirects", audio: 40})
		g.stop(t)
	})
	t.Run("pass", func(t *testing.T) {
		w := newWorld(t)
		g := w.trunkGate(t)
		all := g.call(t, out, call{caller: "caller-redirected", callee: "callee-moved"})
		if p, ok := firstTo(all, node1, "SIP/2.0 302"); !ok || !strings.Contains(p.header("Contact"), "@"+gateInside) {
			t.Errorf("302 at the PBX: Contact %q", p.header("Contact"))
		}
		g.call(t, directions[0], call{caller: "caller-refused-480", callee: "callee-moved"})
		g.stop(t)
	})
}
