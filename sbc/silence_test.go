package sbc_test

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat/natlab"
	"sallyport/sbc/demo"
	"sallyport/sbc/message"
)

// TestAFullNodeIsNotSilent: calls that find no place never leave; whoever dials into a full PBX must not have it declared dead.
func TestAFullNodeIsNotSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		yaml := rewritten(t, clusterConfig, `"10.0.0.10:5060" }`, `"10.0.0.10:5060", capacity: { calls: 1 } }`,
			`"10.0.0.11:5060" }`, `"10.0.0.11:5060", capacity: { calls: 1 } }`, "interval: 2s", "interval: 30s")
		l := newGate(t, yaml, natlab.Options{Seed: 3})
		defer l.close()
		itsp := l.agent("provider", providerAt, 10)
		for i, at := range []netip.AddrPort{pbxAt, otherPBXAt} {
			p := l.agent("pbx "+at.String(), at, byte(11+i))
			p.Do(func() {
				p.Number = "204"
				p.Incoming = scriptOf(demo.Script{Answer: 20 * time.Millisecond}, sdpAt(at.Addr(), 4002))
			})
		}
		time.Sleep(40 * time.Second)
		for range 2 {
			itsp.Do(func() {
				itsp.Call("204", trunkSocket, demo.Script{SDP: sdpAt(providerAt.Addr(), 4000), Hangup: 70 * time.Second})
			})
		}
		time.Sleep(35 * time.Second)
		for range 4 {
			if r := l.call(itsp, trunkSocket, "204", demo.Script{SDP: sdpAt(providerAt.Addr(), 4000), Hangup: time.Second}); r.Code != 486 {
				t.Errorf("a call to a full PBX ended with %d", r.Code)
			}
		}
		time.Sleep(3 * time.Second)
		if s := l.states(); s != "up up" {
			t.Errorf("nodes that are full, and answer everything, are %s", s)
		}
		time.Sleep(3 * time.Minute)
	})
}

// TestASilentFarEnd: a proxy says nothing of a MESSAGE for as long as its far end does, and phones choose that. So its silence makes
// the node answer an OPTIONS, no more; where it has no word even for that, or leaves REGISTERs and calls without one, so many as the configuration says, it
// is down.
func TestASilentFarEnd(t *testing.T) {
	const usual, never = "interval: 30s, failures: 3", "interval: 0, failures: 3"
	for _, tt := range []struct {
		name    string
		answers string // what the node answers, once phones have registered
		asks    []string
		health  string
		state   string
		left    int // OPTIONS that the node hears meanwhile, at least
	}{
		{"messages", "OPTIONS", []string{"MESSAGE", "MESSAGE", "MESSAGE", "MESSAGE"}, usual, "up", 1},
		{"other things that phones ask", "OPTIONS", []string{"SUBSCRIBE", "MESSAGE", "PUBLISH", "SUBSCRIBE"}, usual, "up", 1},
		{"messages, and the node is dead", "", []string{"MESSAGE", "MESSAGE", "MESSAGE"}, usual, "down", 1},
		{"messages, and nobody may ask", "", []string{"MESSAGE", "MESSAGE", "MESSAGE"}, never, "unknown", 0},
		{"registrations", "", []string{"REGISTER", "REGISTER", "REGISTER"}, never, "down", 0},
		{"registrations, fewer than must fail", "", []string{"REGISTER", "REGISTER", "REGISTER"}, "interval: 0, failures: 12", "degraded", 0},
		{"one registration that must not fail", "", []string{"REGISTER"}, "interval: 0, failures: 1", "down", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				yaml := rewritten(t, clusterConfig, `, { address: "10.0.0.11:5060" } ]`, " ]", "interval: 2s, failures: 2", tt.health)
				l := newGate(t, yaml, natlab.Options{Seed: 5})
				defer l.close()
				n := &node{wire: l.wire(pbxAt), refreshes: "200"}
				heard, answers := 0, "REGISTER OPTIONS"
				l.running.Go(func() {
					for l.ctx.Err() == nil {
						m := n.next(time.Second)
						if m == nil || !m.IsRequest() {
							continue
						}
						says := false
						n.set(func() {
							if says = strings.Contains(answers, m.Method); m.Method == "OPTIONS" {
								heard++
							}
						})
						if says {
							n.answer(m)
						}
					}
				})
				phone := l.wire(phoneAt)
				time.Sleep(70 * time.Second)
				phone.send(phoneSocket, phone.registers("204", "<sip:204@"+phoneAt.String()+">"))
				time.Sleep(time.Second)
				n.set(func() { heard, answers = 0, tt.answers })
				for _, method := range tt.asks {
					if method == "REGISTER" {
						phone.send(phoneSocket, phone.registers("204", "<sip:204@"+phoneAt.String()+">"))
						continue
					}
					phone.send(phoneSocket, phone.asks(method, "204", message.URI{Scheme: "sip", User: "205", Host: "example.com"}))
				}
				time.Sleep(8 * time.Second)
				if s := l.states(); s != tt.state {
					t.Errorf("the node is %s, want %s", s, tt.state)
				}
				n.set(func() {
					if heard < tt.left || heard > tt.left+2 { // a question to the dead is repeated
						t.Errorf("the node has heard %d OPTIONS", heard)
					}
				})
				time.Sleep(2 * time.Minute)
			})
		})
	}
}

// TestANodeFoundOutInPassing: what a request of a dialog waits for is that its own node is found out, be it only when it leaves: it goes
// by another one at once.
func TestANodeFoundOutInPassing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, rewritten(t, clusterConfig, "interval: 2s, failures: 2", "interval: 0, failures: 1"), natlab.Options{Seed: 4})
		defer l.close()
		nodes := []*wire{l.wire(pbxAt), l.wire(otherPBXAt)}
		phone := l.wire(phoneAt)
		phone.send(phoneSocket, phone.registers("204", "<sip:204@"+phoneAt.String()+">")) // strangers' prove nothing
		for _, n := range nodes {
			if m := n.next(100 * time.Millisecond); m != nil {
				n.reply(m, 200, nil, echo(t, m, 3600)...)
			}
		}
		phone.want("200 REGISTER")
		itsp := l.wire(providerAt)
		caller, _, by := l.through(itsp, trunkSocket, itsp.request("INVITE", trunkSocket, "+4930123"), nodes...)
		other := nodes[0]
		if by == other {
			other = nodes[1]
		}
		l.net.Host(by.at.Addr()).Down(true)
		time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(1100 * time.Millisecond)))
		for i := range 8 { // some of them go there
			phone.send(phoneSocket, phone.registers(number(i), "<sip:"+number(i)+"@"+phoneAt.String()+">"))
		}
		// A REGISTER has 4 s, and what is overdue is looked for each full second.
		for until := time.Now().Add(4400 * time.Millisecond); time.Now().Before(until); {
			if m := other.next(time.Until(until)); m != nil && m.Method == "REGISTER" {
				other.reply(m, 200, nil, echo(t, m, 3600)...)
			}
		}
		itsp.send(trunkSocket, caller.within("BYE", 0))
		sent := time.Now()
		path(t, skipping(other, "BYE"), other.at)
		if took := time.Since(sent); took > 100*time.Millisecond {
			t.Errorf("the BYE went there after %v", took)
		}
		time.Sleep(5 * time.Minute)
	})
}
