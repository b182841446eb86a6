//go:build interop

package interop

import (
	"fmt"
	"testing"
	"time"
)

// The addresses of IPv6: outside those for documentation (RFC 3849), inside unique local ones (RFC 4193).
const (
	gateOutside6 = "2001:db8::10"
	provider6    = "2001:db8::20"
	phone6       = "2001:db8::30"
	gateInside6  = "fd00::2"
	node6        = "fd00::a"
)

// sixDocument is a gate with both families on both sides, one provider and one PBX.
const sixDocument = `outside: { address: [ 203.0.113.10, "2001:db8::10" ], trunks: { udp: 5080 } }
inside: { address: [ 10.0.0.2, "fd00::2" ], trunks: { udp: 5080 } }
internal_ranges: [ 10.0.0.0/8, "fd00::/8" ]
pbx:
  domain: example.com
  nodes: [ { address: "%[2]s" } ]
  health: { interval: 0s }
trunks:
  - name: itsp
    peers: [ { address: "%[1]s" } ]
    outbound: { match: ["^\\+?[0-9]{2,15}$"] }
    keepalive: { method: none }
cdr: { directory: %[3]s/cdr }
state: { directory: %[3]s/state }
log: { level: debug }
admin: { socket: %[3]s/sbc.sock }
`

// six gives the world's interfaces addresses of IPv6 as well.
func (w *world) six(t *testing.T) {
	t.Helper()
	for _, a := range []struct{ ns, dev, address string }{
		{nsOutside, nsOutside, provider6 + "/64"}, {nsOutside, nsOutside, phone6 + "/64"}, {nsGate, nsOutside, gateOutside6 + "/64"},
		{nsInside, nsInside, node6 + "/64"}, {nsGate, nsInside, gateInside6 + "/64"},
	} {
		w.in(t, a.ns, "ip", "-6", "address", "add", a.address, "dev", a.dev, "nodad")
	}
}

// sixEnd is a peer and the gate as it sees it, in one family.
type sixEnd struct{ family, peer, gate string }

func (e sixEnd) host(a string) string {
	if e.family == "IPv6" {
		return "[" + a + "]"
	}
	return a
}

// TestIPv6: a provider and a PBX of either family call each other through a gate that has both on both sides: basic call, hold by
// either, early media, delayed offer. RTP is counted at both ends, and nothing of one side is seen on the other.
func TestIPv6(t *testing.T) {
	w := newWorld(t)
	w.six(t)
	outside := []sixEnd{{"IPv6", provider6, gateOutside6}, {"IPv4", provider, gateOutside}}
	inside := []sixEnd{{"IPv4", node1, gateInside}, {"IPv6", node6, gateInside6}}
	for i, far := range outside {
		for j, near := range inside {
			if far.family == "IPv4" && near.family == "IPv4" {
				continue // every other test has these
			}
			if i+j > 0 && !*full {
				continue
			}
			g := w.run(t, fmt.Sprintf(sixDocument, far.host(far.peer)+":5060", near.host(near.peer)+":5060", w.dir),
				far.host(far.gate)+":5080", near.host(near.gate)+":5080")
			for _, d := range sixDirections(far, near) {
				for _, c := range calls {
					if !*full && c.name != "call" && c.name != "callee holds and resumes" {
						continue
					}
					t.Run(far.family+" to "+near.family+"/"+d.name+"/"+c.name, func(t *testing.T) { g.call(t, d, c) })
				}
			}
			g.stop(t)
			time.Sleep(100 * time.Millisecond)
		}
	}
}

func sixDirections(far, near sixEnd) []direction {
	return []direction{
		{
			name:   "in",
			caller: agent{ns: nsOutside, address: far.peer, number: "+4930100", towards: far.host(far.gate) + ":5080"},
			callee: agent{ns: nsInside, address: near.peer, number: "+4930100"},
			want: map[string]string{
				"Request-URI": "sip:+4930100@example.com", "From": "+49401234567@" + near.host(near.gate),
				"Contact": "@" + near.host(near.gate) + ":5080", "Via": near.host(near.gate) + ":5080",
			},
		},
		{
			name:   "out",
			caller: agent{ns: nsInside, address: near.peer, number: "+4930200", towards: near.host(near.gate) + ":5080"},
			callee: agent{ns: nsOutside, address: far.peer, number: "+4930200"},
			want: map[string]string{
				"Request-URI": "sip:+4930200@" + far.host(far.peer), "From": "+49401234567@" + far.host(far.gate),
				"Contact": "@" + far.host(far.gate) + ":5080", "Via": far.host(far.gate) + ":5080",
			},
		},
	}
}
