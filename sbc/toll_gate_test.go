package sbc_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"sallyport/nat/natlab"
	"sallyport/sbc"
	"sallyport/sbc/api"
	"sallyport/sbc/message"
)

const tollConfig = `
outside: { address: 203.0.113.10, phones: { udp: 5060 }, trunks: { udp: 5080 } }
inside: { address: 10.0.0.2, phones: { udp: 5060 }, trunks: { udp: 5080 } }
media: { ports: 30000-31000, timeout: 0 }
pbx:
  domain: example.com
  nodes: [ { address: "10.0.0.10:5060" } ]
  health: { interval: 0 }
phones: { registration: { outside: 0s }, keepalive: { interval: 0 } }
trunks:
  - name: itsp
    peers: [ { address: "203.0.113.20:5060" } ]
    outbound: { match: ["^\\+?[0-9]{2,15}$"] }
    keepalive: { method: none }
policy:
  rate_limits: []
  calls: [ RULES ]
`

// toll is a gate with rules on calls, and a phone, a PBX and a provider played by hand.
type tollGate struct {
	*door
	provider *wire
	logs     *observer.ObservedLogs
}

func newTollGate(t *testing.T, rules string, pairs ...string) *tollGate {
	t.Helper()
	watched, logs := observer.New(zapcore.WarnLevel)
	l := newGate(t, rewritten(t, tollConfig, append(pairs, "RULES", rules)...), natlab.Options{Seed: 6}, func(o *sbc.Options) { o.Log = zap.New(watched) })
	g := &tollGate{&door{l, l.wire(phoneAt), l.wire(pbxAt)}, l.wire(providerAt), logs}
	g.pbx.n, g.provider.n = 1000, 5000 // ids of their own
	g.enter(g.phone, "204")
	return g
}

// dials is an INVITE: of the phone, or of the PBX or the provider for a user.
func (g *tollGate) dials(w *wire, from, number string) *message.Message {
	m := w.request("INVITE", map[*wire]netip.AddrPort{g.phone: phoneSocket, g.pbx: pbxSocket, g.provider: trunkSocket}[w], number)
	if w == g.phone {
		m.URI, m.To.URI = user(number, "example.com"), user(number, "example.com")
	}
	m.From.URI = user(from, "example.com")
	return withBody(m, sdpAt(w.at.Addr(), 4000))
}

func (g *tollGate) way(w *wire) (gate netip.AddrPort, far *wire) {
	switch w {
	case g.phone:
		return phoneSocket, g.pbx
	case g.provider:
		return trunkSocket, g.pbx
	default:
		return pbxSocket, g.provider
	}
}

// refused sends an INVITE that must not pass, and returns the code.
func (g *tollGate) refused(w *wire, m *message.Message) int {
	g.t.Helper()
	gate, far := g.way(w)
	w.send(gate, m)
	far.quiet(100*time.Millisecond, "INVITE")
	for {
		got := w.next(time.Second)
		if got == nil {
			return 0
		}
		if got.Status >= 200 && got.Method == "INVITE" {
			w.send(gate, ackOf(m, got))
			return got.Status
		}
	}
}

// answered sends an INVITE that is answered at once; nil: it was refused.
func (g *tollGate) answered(w *wire, m *message.Message) (caller, callee *party) {
	g.t.Helper()
	gate, far := g.way(w)
	w.send(gate, m)
	arrived := far.next(time.Second)
	if arrived == nil {
		return nil, nil
	}
	if arrived.Method != "INVITE" {
		g.t.Fatalf("%s hears\n%s", far.at, arrived)
	}
	far.reply(arrived, 200, sdpAt(far.at.Addr(), 4002))
	caller, callee = g.ends(w, far, gate, m, arrived, w.want("200 INVITE"))
	w.send(gate, caller.within("ACK", m.CSeq))
	far.want("ACK")
	return caller, callee
}

// talks is a whole call; false: it was refused.
func (g *tollGate) talks(w *wire, from, number string, d time.Duration) bool {
	g.t.Helper()
	m := g.dials(w, from, number)
	caller, callee := g.answered(w, m)
	if caller == nil {
		if got := w.want("403 INVITE"); got != nil {
			gate, _ := g.way(w)
			w.send(gate, ackOf(m, got))
		}
		return false
	}
	time.Sleep(d)
	hangup(caller, callee)
	return true
}

// lines are the log's lines on calls, with their keys.
func (g *tollGate) lines() (out []string) {
	for _, e := range g.logs.TakeAll() {
		if !strings.HasPrefix(e.Message, "call ") {
			continue
		}
		f := e.ContextMap()
		out = append(out, fmt.Sprintf("%s: rule=%v aor=%v trunk=%v src=%v reason=%v number=%v figure=%v",
			e.Message, f["rule"], f["aor"], f["trunk"], f["src"], f["reason"], f["number"], f["figure"]))
	}
	return out
}

func (g *tollGate) rule(name string) api.Rule {
	g.t.Helper()
	st, err := g.gate.Control(nil).Status(g.ctx)
	if err != nil {
		g.t.Fatal(err)
	}
	i := slices.IndexFunc(st.Rules, func(r api.Rule) bool { return r.Name == name })
	if i < 0 {
		g.t.Fatalf("no rule %q in the status: %+v", name, st.Rules)
	}
	return st.Rules[i]
}

func (g *tollGate) why(subject string) string {
	g.t.Helper()
	why, err := g.gate.Control(nil).Why(g.ctx, subject)
	if err != nil {
		g.t.Fatal(err)
	}
	return why.Text
}
