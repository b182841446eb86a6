package sbc_test

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat/natlab"
	"sallyport/sbc/message"
)

// mate is a node played by hand that answers OPTIONS by itself.
type mate struct {
	*wire
	in   chan *message.Message
	deaf bool // to OPTIONS
	stop chan struct{}
}

func (l *lab) mate(at netip.AddrPort) *mate {
	m := &mate{wire: l.wire(at), in: make(chan *message.Message, 100), stop: make(chan struct{})}
	l.running.Go(func() {
		for l.ctx.Err() == nil {
			select {
			case <-m.stop:
				return
			default:
			}
			switch r := m.next(100 * time.Millisecond); {
			case r == nil:
			case r.IsRequest() && r.Method == "OPTIONS":
				if !m.deaf {
					ok := message.Reply(r, 200, "")
					ok.To.Tag = "alive"
					m.throws(netip.AddrPortFrom(netip.MustParseAddr(r.Via[0].Host), r.Via[0].Port), ok)
				}
			default:
				m.in <- r
			}
		}
	})
	return m
}

// hears waits for a kind of message, up to d; nil: it does not come.
func (m *mate) hears(what string, d time.Duration) *message.Message {
	late := time.After(d)
	for {
		select {
		case r := <-m.in:
			if kind(r) == what {
				return r
			}
		case <-late:
			return nil
		}
	}
}

// must is hears for what has to come.
func (m *mate) must(what string, d time.Duration) *message.Message {
	m.l.t.Helper()
	r := m.hears(what, d)
	if r == nil {
		m.l.t.Fatalf("%s waits for %s in vain", m.at, what)
	}
	return r
}

// reached is the one of two nodes that hears a request first, and the other.
func reached(t *testing.T, what string, a, b *mate) (m *message.Message, by, other *mate) {
	t.Helper()
	if m = a.hears(what, 200*time.Millisecond); m != nil {
		return m, a, b
	}
	return b.must(what, 200*time.Millisecond), b, a
}

// calledIn has the provider call through two nodes that are up; by is the node that hears of it.
func (l *lab) calledIn() (itsp *wire, invite, arrived *message.Message, by, other *mate) {
	l.t.Helper()
	one, two := l.mate(pbxAt), l.mate(otherPBXAt)
	time.Sleep(5 * time.Second)
	itsp = l.wire(providerAt)
	invite = withBody(itsp.request("INVITE", trunkSocket, "+4930123"), sdpAt(providerAt.Addr(), 4000))
	itsp.send(trunkSocket, invite)
	arrived, by, other = reached(l.t, "INVITE", one, two)
	return itsp, invite, arrived, by, other
}

// dies takes a node off the network.
func (m *mate) dies(how string) {
	if how == "killed" { // its host says that nobody is there
		close(m.stop)
		time.Sleep(time.Second)
		_ = m.conn.Close()
		return
	}
	(&cluster{lab: m.l}).takeOut(m.at, how, true)
}

// enrolled has a phone register, at whichever node, and returns the name that the node knows it by.
func (l *lab) enrolled(phone *wire, a, b *mate) (token string) {
	l.t.Helper()
	phone.send(phoneSocket, phone.registers("204", "<sip:204@"+phone.at.String()+">"))
	m, by, _ := reached(l.t, "REGISTER", a, b)
	by.reply(m, 200, nil, echo(l.t, m, 3600)...)
	phone.want("200 REGISTER")
	list, _, _ := m.Contacts()
	return list[0].URI.User
}

// TestCallsThatRingLeaveADeadNode: a call that rings at a node that dies rings at the next one as soon as the node is found dead, in an early
// dialog of its own; what the first one says late is hung up. The phone that it had called for another call is let go.
func TestCallsThatRingLeaveADeadNode(t *testing.T) {
	for _, how := range []string{"unreachable", "silent", "killed"} {
		for _, who := range []string{"provider", "phone"} {
			t.Run(who+", "+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l := newGate(t, clusterConfig, natlab.Options{Seed: 4})
					defer l.close()
					one, two := l.mate(pbxAt), l.mate(otherPBXAt)
					time.Sleep(5 * time.Second)
					from, gate, seen := l.wire(providerAt), trunkSocket, pbxSocket
					invite := from.request("INVITE", gate, "+4930123")
					if who == "phone" {
						from, gate, seen = l.wire(phoneAt), phoneSocket, phonesInside
						l.enrolled(from, one, two)
						invite = from.asks("INVITE", "204", user("100", "example.com"))
					}
					from.send(gate, withBody(invite, sdpAt(from.at.Addr(), 4000)))
					first, by, other := reached(t, "INVITE", one, two)
					by.reply(first, 183, sdpAt(by.at.Addr(), 4002))
					early := from.want("183 INVITE")
					by.dies(how)
					second := other.must("INVITE", 12*time.Second)
					if second.CallID != first.CallID || second.From.Tag != first.From.Tag || second.CSeq <= first.CSeq || second.To.Tag != "" {
						t.Errorf("after\n%s\nit sent\n%s", first, second)
					}
					other.reply(second, 180, nil)
					if again := from.want("180 INVITE"); again.To.Tag == early.To.Tag {
						t.Error("both nodes' phones are one to the caller")
					}
					other.reply(second, 200, sdpAt(other.at.Addr(), 4004))
					caller, _ := l.ends(from, other.wire, gate, invite, second, from.want("200 INVITE"))
					from.send(gate, caller.within("ACK", invite.CSeq))
					other.must("ACK", time.Second)
					if how != "killed" { // it lived all the time, and says so too late
						(&cluster{lab: l}).takeOut(by.at, how, false)
						by.send(seen, answerOf(first, by.wire))
						by.must("ACK", time.Second)
						by.must("BYE", time.Second)
					}
					from.send(gate, caller.within("BYE", 0))
					other.reply(other.must("BYE", time.Second), 200, nil)
					from.want("200 BYE")
					l.cleared()
					c := l.record()
					if c.Code != 200 || c.EndedBy != "caller" || len(c.Tries) != 2 || c.Tries[0].Code != 408 || c.Tries[1].Code != 200 {
						t.Errorf("CDR %+v", c)
					}
				})
			})
		}
	}
}

// cleared is empty, but for what probes have on their way.
func (l *lab) cleared() {
	l.t.Helper()
	time.Sleep(5 * time.Minute)
	if g := l.gate.Gauges(); g.Calls != 0 || g.Streams != 0 || g.Dialogs != 0 || g.Panics != 0 || g.Leaks != 0 {
		l.t.Errorf("left behind: %+v", g)
	}
	l.unplaced()
}

// answerOf is a 200 as the wire's far end would send it.
func answerOf(invite *message.Message, w *wire) *message.Message {
	r := message.Reply(invite, 200, "")
	r.To.Tag = "late"
	r.Add("Contact", w.contact())
	return withBody(r, sdpAt(w.at.Addr(), 4002))
}

// TestAReinviteLeavesADeadNode: a re-INVITE that its node works on, and an UPDATE, go by the other node as soon as the first one is found
// dead, with the same number; if that answers late, it has its ACK, and the call goes on.
func TestAReinviteLeavesADeadNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, rewritten(t, clusterConfig, "31000 }", "31000, timeout: 10m }"), natlab.Options{Seed: 4})
		defer l.close()
		itsp, invite, arrived, by, other := l.calledIn()
		ok := message.Reply(arrived, 200, "")
		ok.To.Tag = "far"
		ok.Add("Record-Route", "<sip:10.0.0.40:5066;lr>")
		ok.Add("Record-Route", "<sip:"+by.at.Addr().String()+";lr;did=42>")
		ok.Add("Contact", "<sip:far@"+farEndAt.String()+">")
		by.send(pbxSocket, withBody(ok, sdpAt(farEndAt.Addr(), 4002)))
		caller, _ := l.ends(itsp, by.wire, trunkSocket, invite, arrived, itsp.want("200 INVITE"))
		itsp.send(trunkSocket, caller.within("ACK", invite.CSeq))
		by.must("ACK", time.Second)

		hold := withBody(caller.within("INVITE", 0), hold(sdpAt(providerAt.Addr(), 4000)))
		itsp.send(trunkSocket, hold)
		first := by.must("INVITE", time.Second)
		by.reply(first, 100, nil)
		by.dies("silent")
		died := time.Now()
		second := other.must("INVITE", 12*time.Second)
		path(t, second, other.at)
		if second.CSeq != first.CSeq || second.Via[0].Branch == first.Via[0].Branch || string(second.Body) != string(first.Body) {
			t.Errorf("after\n%s\nit sent\n%s", first, second)
		}
		t.Log("found out after", time.Since(died))
		(&cluster{lab: l}).takeOut(by.at, "silent", false)
		late := message.Reply(first, 200, "")
		late.Add("Contact", "<sip:far@"+farEndAt.String()+">")
		by.send(pbxSocket, withBody(late, sdpAt(farEndAt.Addr(), 4002)))
		quick := message.Reply(second, 200, "")
		quick.Add("Contact", "<sip:far@"+farEndAt.String()+">")
		other.send(pbxSocket, withBody(quick, sdpAt(farEndAt.Addr(), 4002)))
		itsp.want("200 INVITE")
		itsp.send(trunkSocket, caller.within("ACK", hold.CSeq))
		path(t, other.must("ACK", time.Second), other.at)
		if r := by.hears("BYE", 3*time.Second); r != nil {
			t.Errorf("the late answer ended the call:\n%s", r)
		}
		itsp.send(trunkSocket, caller.within("BYE", 0))
		other.reply(other.must("BYE", time.Second), 200, nil)
		itsp.want("200 BYE")
		l.cleared()
	})
}

// TestAReinviteAtADeadFarEnd: where the node is the far end itself there is no other way. The call is over when it is found dead, not three
// minutes later.
func TestAReinviteAtADeadFarEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, clusterConfig, natlab.Options{Seed: 4})
		defer l.close()
		itsp, invite, arrived, by, other := l.calledIn()
		by.reply(arrived, 200, sdpAt(by.at.Addr(), 4002))
		caller, _ := l.ends(itsp, by.wire, trunkSocket, invite, arrived, itsp.want("200 INVITE"))
		itsp.send(trunkSocket, caller.within("ACK", invite.CSeq))
		by.must("ACK", time.Second)
		itsp.send(trunkSocket, withBody(caller.within("INVITE", 0), hold(sdpAt(providerAt.Addr(), 4000))))
		by.reply(by.must("INVITE", time.Second), 100, nil)
		by.dies("silent")
		died := time.Now()
		itsp.want("408 INVITE")
		itsp.reply(itsp.want("BYE"), 200, nil)
		if took := time.Since(died); took > 12*time.Second {
			t.Errorf("that took %v", took)
		}
		if r := other.hears("INVITE", time.Second); r != nil {
			t.Errorf("another node was asked for it:\n%s", r)
		}
		l.cleared()
	})
}

// TestTheOnlyNodeDiesRinging: who rings there is unavailable, at once.
func TestTheOnlyNodeDiesRinging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, rewritten(t, clusterConfig, `, { address: "10.0.0.11:5060" } ]`, " ]"), natlab.Options{Seed: 4})
		defer l.close()
		node, itsp := l.mate(pbxAt), l.wire(providerAt)
		time.Sleep(5 * time.Second)
		invite := withBody(itsp.request("INVITE", trunkSocket, "+4930123"), sdpAt(providerAt.Addr(), 4000))
		itsp.send(trunkSocket, invite)
		node.reply(node.must("INVITE", time.Second), 180, nil)
		itsp.want("180 INVITE")
		node.dies("silent")
		refused := itsp.next(12 * time.Second)
		if refused == nil || refused.Status != 480 {
			t.Fatalf("the caller heard %v", refused)
		}
		itsp.send(trunkSocket, ackOf(invite, refused))
		l.cleared()
	})
}

// TestWhoADeadNodeCalledIsLetGo: a phone that rings for a call of a node that is found dead gets a CANCEL, for whoever answers would speak
// to nobody; one that another node calls rings on.
func TestWhoADeadNodeCalledIsLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, clusterConfig, natlab.Options{Seed: 4})
		defer l.close()
		one, two := l.mate(pbxAt), l.mate(otherPBXAt)
		time.Sleep(5 * time.Second)
		phone := l.wire(phoneAt)
		token := l.enrolled(phone, one, two)
		var rings [2]*message.Message
		for i, n := range []*mate{one, two} {
			m := withBody(n.request("INVITE", phonesInside, token), sdpAt(n.at.Addr(), 4002))
			n.send(phonesInside, m)
			rings[i] = phone.want("INVITE")
			phone.reply(rings[i], 180, nil)
			n.must("180 INVITE", time.Second)
		}
		one.dies("silent")
		phone.send(phoneSocket, phone.registers("205", "<sip:205@"+phoneAt.String()+">")) // what makes a door known
		cancel := phone.want("CANCEL")
		if cancel.CallID != rings[0].CallID {
			t.Error("the wrong call was let go")
		}
		phone.reply(cancel, 200, nil)
		phone.reply(rings[0], 487, nil)
		phone.quiet(10*time.Second, "CANCEL")
		phone.reply(rings[1], 486, nil)
		two.must("486 INVITE", time.Second)
		l.cleared()
	})
}

// TestADeafNodeKeepsItsCalls: one that has ceased to answer OPTIONS, and speaks otherwise, is down for its probes; what rings there, and for
// it, goes on.
func TestADeafNodeKeepsItsCalls(t *testing.T) {
	for _, speaks := range []string{"answers", "asks"} {
		t.Run(speaks, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newGate(t, clusterConfig, natlab.Options{Seed: 4})
				defer l.close()
				itsp, invite, arrived, by, other := l.calledIn()
				by.reply(arrived, 180, nil)
				itsp.want("180 INVITE")
				by.deaf = true
				down := false
				for range 15 {
					if speaks == "answers" {
						by.reply(arrived, 180, nil)
					} else {
						by.send(pbxSocket, by.request("MESSAGE", pbxSocket, "+4930999"))
					}
					time.Sleep(time.Second)
					down = down || strings.Contains(l.states(), "down")
				}
				if !down {
					t.Fatalf("nodes are %s: this tries nothing", l.states())
				}
				if r := other.hears("INVITE", time.Millisecond); r != nil {
					t.Errorf("the call left a node that speaks:\n%s", r)
				}
				by.reply(arrived, 200, sdpAt(by.at.Addr(), 4002))
				caller, _ := l.ends(itsp, by.wire, trunkSocket, invite, arrived, itsp.want("200 INVITE"))
				itsp.send(trunkSocket, caller.within("ACK", invite.CSeq))
				by.must("ACK", time.Second)
				itsp.send(trunkSocket, caller.within("BYE", 0))
				by.reply(by.must("BYE", time.Second), 200, nil)
				itsp.want("200 BYE")
				l.cleared()
			})
		})
	}
}
