package sbc_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat/natlab"
	"sallyport/sbc/demo"
	"sallyport/sbc/dialog"
	"sallyport/sbc/message"
)

// through sets a call up from a provider or a phone by way of a node that stays on the path: the far end is elsewhere.
func (l *lab) through(from *wire, gate netip.AddrPort, invite *message.Message, nodes ...*wire) (caller, callee *party, by *wire) {
	l.t.Helper()
	from.send(gate, withBody(invite, sdpAt(from.at.Addr(), 4000)))
	var arrived *message.Message
	for _, n := range nodes {
		for m := n.next(100 * time.Millisecond); m != nil && arrived == nil; m = n.next(100 * time.Millisecond) {
			if m.Method == "INVITE" {
				arrived, by = m, n
			} else if m.Method == "OPTIONS" {
				n.reply(m, 200, nil)
			}
		}
	}
	if arrived == nil {
		l.t.Fatal("no node was called")
	}
	r := message.Reply(arrived, 200, "")
	r.To.Tag = fmt.Sprintf("answer-%d-%d", by.at.Port(), arrived.CSeq)
	r.Add("Record-Route", "<sip:10.0.0.40:5066;lr>") // the one that is nearest to who has called stands last
	r.Add("Record-Route", "<sip:"+by.at.Addr().String()+";lr;did=42>")
	r.Add("Contact", "<sip:far@"+farEndAt.String()+">")
	by.send(gateSocket(arrived), withBody(r, sdpAt(farEndAt.Addr(), 4002)))
	final := from.want("200 INVITE")
	caller = &party{wire: from, gate: gate}
	var err error
	if caller.dlg, err = dialog.UAC(invite, final); err != nil {
		l.t.Fatal(err)
	}
	callee = &party{wire: by, gate: contactOf(l.t, arrived)}
	if callee.dlg, err = dialog.UAS(arrived, r.To.Tag); err != nil {
		l.t.Fatal(err)
	}
	from.send(gate, caller.within("ACK", invite.CSeq))
	skipping(by, "ACK")
	return caller, callee, by
}

func gateSocket(m *message.Message) netip.AddrPort {
	return netip.AddrPortFrom(gateInside, m.Via[0].Port)
}

// path checks what a request of a dialog says of its way.
func path(t *testing.T, m *message.Message, node netip.AddrPort) {
	t.Helper()
	want := fmt.Sprintf("<sip:%s;lr;did=42>", node)
	routes, err := m.NameAddrs("Route")
	if err != nil || len(routes) != 2 || routes[0].String() != want && routes[0].String() != strings.Replace(want, ":5060", "", 1) ||
		routes[1].String() != "<sip:10.0.0.40:5066;lr>" || m.URI.String() != "sip:far@"+farEndAt.String() {
		t.Errorf("by way of %s came\n%s", node, m)
	}
}

// TestDialogsOutliveTheirNode: what belongs to a dialog of a node that is lost goes by the other node, in both directions; the call
// goes on, is held, and ends on both sides with one record.
func TestDialogsOutliveTheirNode(t *testing.T) {
	for _, how := range []string{"unreachable", "silent", "killed", "not known yet"} {
		for _, who := range []string{"provider", "phone"} {
			t.Run(who+", "+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					yaml := rewritten(t, clusterConfig, "31000 }", "31000, timeout: 10m }")
					if how == "not known yet" {
						yaml = rewritten(t, yaml, "interval: 2s", "interval: 0")
					}
					l := newGate(t, yaml, natlab.Options{Seed: 4})
					defer l.close()
					nodes := []*wire{l.wire(pbxAt), l.wire(otherPBXAt)}
					from, gate := l.wire(providerAt), trunkSocket
					invite := from.request("INVITE", gate, "+4930123")
					if who == "phone" {
						from, gate = l.wire(phoneAt), phoneSocket
						from.send(gate, from.registers("204", "<sip:204@"+phoneAt.String()+">"))
						registered(t, from, nodes)
						invite = from.asks("INVITE", "204", user("100", "example.com"))
					}
					caller, callee, by := l.through(from, gate, invite, nodes...)
					other := nodes[0]
					if by == other {
						other = nodes[1]
					}
					switch how {
					case "silent": // its probes say so
						alive(l, other)
						l.net.Impair(gateInside, by.at.Addr(), natlab.Link{Loss: 1})
						time.Sleep(15 * time.Second)
					case "unreachable":
						alive(l, other)
						l.net.Host(by.at.Addr()).Down(true)
						time.Sleep(15 * time.Second)
					case "killed": // its host says that nobody is there
						_ = by.conn.Close()
					default:
						l.net.Host(by.at.Addr()).Down(true)
					}
					// The caller holds.
					hold := withBody(caller.within("INVITE", 0), hold(sdpAt(from.at.Addr(), 4000)))
					from.send(gate, hold)
					in := skipping(other, "INVITE")
					path(t, in, other.at)
					ok := message.Reply(in, 200, "")
					ok.Add("Contact", "<sip:far@"+farEndAt.String()+">")
					other.send(gateSocket(in), withBody(ok, sdpAt(farEndAt.Addr(), 4002)))
					from.want("200 INVITE")
					from.send(gate, caller.within("ACK", hold.CSeq))
					path(t, skipping(other, "ACK"), other.at)
					// The far end asks something, by the other node.
					callee.wire = other
					info := callee.within("INFO", 0, field("Content-Type: text/plain"))
					info.Body = []byte("x")
					other.send(callee.gate, info)
					from.reply(from.want("INFO"), 200, nil)
					skipping(other, "200 INFO")
					bye := caller.within("BYE", 0)
					from.send(gate, bye)
					in = skipping(other, "BYE")
					path(t, in, other.at)
					other.reply(in, 200, nil)
					from.want("200 BYE")
					time.Sleep(5 * time.Minute)
					if g := l.gate.Gauges(); g.Calls != 0 || g.Streams != 0 || g.Dialogs != 0 || g.Panics != 0 || g.Leaks != 0 {
						t.Errorf("left behind: %+v", g)
					}
					if c := l.record(); c.Code != 200 || c.Reason != "" || c.EndedBy != "caller" {
						t.Errorf("CDR %+v", c)
					}
				})
			})
		}
	}
}

// registered answers the one REGISTER that a node has got.
func registered(t *testing.T, phone *wire, nodes []*wire) {
	t.Helper()
	for _, n := range nodes {
		for m := n.next(100 * time.Millisecond); m != nil; m = n.next(100 * time.Millisecond) {
			if m.Method == "REGISTER" {
				n.reply(m, 200, nil, echo(t, m, 3600)...)
				phone.want("200 REGISTER")
				return
			}
			n.reply(m, 200, nil)
		}
	}
	t.Fatal("no node has heard the REGISTER")
}

// alive has a node answer OPTIONS for a while.
func alive(l *lab, n *wire) {
	for until := time.Now().Add(6 * time.Second); time.Now().Before(until); {
		if m := n.next(time.Second); m != nil && m.Method == "OPTIONS" && m.IsRequest() {
			n.reply(m, 200, nil)
		}
	}
}

// skipping waits for a kind of message and answers OPTIONS meanwhile.
func skipping(w *wire, what string) *message.Message {
	w.l.t.Helper()
	for range 100 {
		m := w.next(patience)
		switch {
		case m == nil:
			w.l.t.Fatalf("%s waits for %s in vain", w.at, what)
		case kind(m) == what:
			return m
		case m.Method == "OPTIONS" && m.IsRequest():
			w.reply(m, 200, nil)
		}
	}
	w.l.t.Fatalf("%s waits for %s in vain", w.at, what)
	return nil
}

// TestPastAllNodes: where no node lives a request goes to the far end itself, if that is one of the PBX's addresses, and by what
// routes are left.
func TestPastAllNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, clusterConfig, natlab.Options{Seed: 4})
		defer l.close()
		nodes := []*wire{l.wire(pbxAt), l.wire(otherPBXAt)}
		behind, itsp := l.wire(netip.MustParseAddrPort("10.0.0.40:5066")), l.wire(providerAt)
		caller, _, _ := l.through(itsp, trunkSocket, itsp.request("INVITE", trunkSocket, "+4930123"), nodes...)
		for _, n := range nodes {
			alive(l, n)
			l.net.Host(n.at.Addr()).Down(true)
		}
		time.Sleep(20 * time.Second)
		itsp.send(trunkSocket, caller.within("BYE", 0))
		in := behind.want("BYE")
		if r, _ := in.Get("Route"); r != "<sip:10.0.0.40:5066;lr>" || in.URI.String() != "sip:far@"+farEndAt.String() {
			t.Errorf("past the nodes came\n%s", in)
		}
		behind.reply(in, 200, nil)
		itsp.want("200 BYE")
		time.Sleep(5 * time.Minute)
		if g := l.gate.Gauges(); g.Calls != 0 || g.Dialogs != 0 {
			t.Errorf("left behind: %+v", g)
		}
	})
}

// TestANodeThatIsTheFarEnd: a dialog without a route set ends at its node. Nobody else is asked for it.
func TestANodeThatIsTheFarEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, rewritten(t, clusterConfig, "interval: 2s", "interval: 0"), natlab.Options{Seed: 4})
		defer l.close()
		itsp, first, second := l.wire(providerAt), l.wire(pbxAt), l.wire(otherPBXAt)
		caller, _ := l.connect(itsp, first, trunkSocket)
		l.net.Host(pbxAt.Addr()).Down(true)
		itsp.send(trunkSocket, caller.within("BYE", 0))
		itsp.want("200 BYE")
		second.quiet(time.Minute)
		l.empty()
	})
}

// TestNewCallsLeaveADeadNode: under load a node that dies is left as soon as three calls have heard nothing, each of which
// goes on by the other node in time; it is used again when its probes say so.
func TestNewCallsLeaveADeadNode(t *testing.T) {
	for _, how := range []string{"unreachable", "silent"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t, rewritten(t, clusterConfig, "interval: 2s, failures: 2", "interval: 10s, failures: 3"), natlab.Options{Seed: 4})
				defer l.close()
				time.Sleep(12 * time.Second)
				ringing := func(*message.Message) demo.Script {
					return demo.Script{Ring: 10 * time.Millisecond, Answer: 100 * time.Millisecond, SDP: sdpAt(pbxAt.Addr(), 4002)}
				}
				l.pbx.Incoming, l.other.Incoming = ringing, ringing
				type outcome struct {
					began, answered time.Time
					code            int
				}
				calls := make([]outcome, 300)
				dies := time.Time{}
				for i := range calls {
					if i == 50 {
						(&cluster{lab: l}).takeOut(pbxAt, how, true)
						dies = time.Now()
					}
					c := &calls[i]
					c.began = time.Now()
					s := demo.Script{SDP: sdpAt(providerAt.Addr(), 4000), Hangup: time.Second}
					s.Up = func(*demo.Call) { c.answered = time.Now() }
					s.Done = func(r demo.Result) { c.code = r.Code }
					l.provider.Do(func() { l.provider.Call(fmt.Sprint("49", i), trunkSocket, s) })
					time.Sleep(20 * time.Millisecond) // 50 a second
				}
				time.Sleep(10 * time.Second)
				synctest.Wait() // what the provider wrote is read now
				late, last := 0, time.Time{}
				for i := range calls {
					c := &calls[i]
					if d := dies.Sub(c.began); d > 0 && d < 200*time.Millisecond {
						continue // it rings at the node that dies
					}
					if c.code != 200 || c.answered.IsZero() {
						t.Fatalf("call %d: %d", i, c.code)
					}
					took := c.answered.Sub(c.began) - 100*time.Millisecond
					if took > 2*time.Second {
						t.Errorf("call %d took %v", i, took)
					}
					if took > 50*time.Millisecond {
						late++
						last = c.began
					}
				}
				if left := last.Sub(dies); late > 0 && left > 2*time.Second {
					t.Errorf("%d calls were late, the last one %v after the node died", late, left)
				}
				if got := l.states(); got != "down up" {
					t.Errorf("nodes are %s", got)
				}
				(&cluster{lab: l}).takeOut(pbxAt, how, false)
				time.Sleep(40 * time.Second)
				if got := l.states(); got != "up up" {
					t.Errorf("nodes are %s", got)
				}
			})
		})
	}
}
