package sbc_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"sallyport/nat/natlab"
	"sallyport/sbc"
	"sallyport/sbc/demo"
	"sallyport/sbc/message"
)

var probing = strings.NewReplacer("health: { interval: 0 }", "health: { interval: 2s, failures: 2, successes: 1 }",
	"keepalive: { method: none }", "keepalive: { interval: 30s }").Replace(labConfig)

func TestHealth(t *testing.T) {
	for _, tt := range []struct {
		name, answer string
		fail         func(l *lab, down bool)
	}{
		{"cut off", "no answer", func(l *lab, down bool) {
			l.net.Host(pbxAt.Addr()).Down(down)
			l.net.Host(otherPBXAt.Addr()).Down(down)
		}},
		{"swallows", "no answer", func(l *lab, down bool) {
			loss := 0.0
			if down {
				loss = 1
			}
			l.net.Impair(gateInside, pbxAt.Addr(), natlab.Link{Loss: loss})
			l.net.Impair(gateInside, otherPBXAt.Addr(), natlab.Link{Loss: loss})
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t, probing, natlab.Options{Seed: 1})
				defer l.close()
				l.pbx.Incoming = func(*message.Message) demo.Script {
					return demo.Script{Answer: time.Second, SDP: sdpAt(pbxAt.Addr(), 4002)}
				}
				place := func() int {
					return l.call(l.provider, trunkSocket, "100", demo.Script{SDP: sdpAt(providerAt.Addr(), 4000), Hangup: time.Second}).Code
				}
				time.Sleep(10 * time.Second)
				if code := place(); code != 200 {
					t.Errorf("with both nodes up: %d", code)
				}
				tt.fail(l, true)
				time.Sleep(20 * time.Second)
				if got := l.states(); got != "down down" {
					t.Errorf("nodes are %s", got)
				}
				if got := l.answers(); got != tt.answer+", "+tt.answer {
					t.Errorf("their last answers: %s", got)
				}
				if code := place(); code != 503 {
					t.Errorf("with both nodes down: %d", code)
				}
				tt.fail(l, false)
				time.Sleep(10 * time.Second)
				if got := l.states(); got != "up up" {
					t.Errorf("nodes are %s", got)
				}
				if got := l.answers(); got != "200 OK, 200 OK" {
					t.Errorf("their last answers: %s", got)
				}
				if code := place(); code != 200 {
					t.Errorf("with both nodes up again: %d", code)
				}
			})
		})
	}
}

// states are the PBX nodes' states in file order.
func (l *lab) states() string {
	l.t.Helper()
	nodes, err := l.gate.Control(nil).Nodes(l.ctx)
	if err != nil {
		l.t.Fatal(err)
	}
	var s []string
	for _, n := range nodes {
		s = append(s, n.State)
	}
	return strings.Join(s, " ")
}

// answers are what became of the last question to each PBX node, in file order.
func (l *lab) answers() string {
	l.t.Helper()
	nodes, err := l.gate.Control(nil).Nodes(l.ctx)
	if err != nil {
		l.t.Fatal(err)
	}
	var s []string
	for _, n := range nodes {
		s = append(s, n.Answer)
	}
	return strings.Join(s, ", ")
}

// TestNobodyAsksAnyMore: a node that was down when the probes were switched off is unknown, and so used again in its turn.
func TestNobodyAsksAnyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, probing, natlab.Options{Seed: 1})
		defer l.close()
		l.agent("pbx", pbxAt, 1)
		l.net.Host(otherPBXAt.Addr()) // it has a closed port
		time.Sleep(10 * time.Second)
		l.net.Host(pbxAt.Addr()).Down(true)
		time.Sleep(20 * time.Second)
		if got := l.states() + ", " + l.answers(); got != "down unknown, no answer, unreachable" {
			t.Errorf("nodes are %s", got)
		}
		l.mustReload(rewritten(t, probing, "interval: 2s", "interval: 0"))
		if got := l.states() + l.answers(); got != "unknown unknown, " {
			t.Errorf("nodes are %s", got)
		}
	})
}

// TestASilentPeerIsTold: a PBX that never answers is used, and the log says so once, with the key and what to look at.
func TestASilentPeerIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, seen := observer.New(zap.WarnLevel)
		l := newGate(t, probing, natlab.Options{Seed: 1}, func(o *sbc.Options) { o.Log = zap.New(core) })
		defer l.close()
		l.agent("pbx", pbxAt, 1)
		time.Sleep(10 * time.Minute)
		told := map[string]int{}
		for _, e := range seen.All() {
			if strings.Contains(e.Message, "has not answered one OPTIONS") && strings.Contains(e.Message, "hint: ") {
				told[e.ContextMap()["node"].(string)]++
			}
		}
		if len(told) != 2 || told[otherPBXAt.String()] != 1 || told[providerAt.String()] != 1 {
			t.Errorf("told of %v", told)
		}
		if text := seen.FilterMessageSnippet(otherPBXAt.String()).All()[0].Message; !strings.HasPrefix(text, "lab.yaml:9:18: pbx.nodes[1].address: ") || !strings.Contains(text, pbxSocket.String()) {
			t.Errorf("said %q", text)
		}
		if got := l.states(); got != "up unknown" {
			t.Errorf("nodes are %s", got)
		}
	})
}
