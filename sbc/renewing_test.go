package sbc_test

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat/natlab"
	"sallyport/sbc/message"
)

// lampNodes is a PBX of two nodes that are asked whether they live.
var lampNodes = strings.NewReplacer(
	`nodes: [ { address: "10.0.0.10:5060" } ]`, `nodes: [ { address: "10.0.0.10:5060" }, { address: "10.0.0.11:5060", priority: 2 } ]`,
	"health: { interval: 0 }", "health: { interval: 2s, failures: 2, successes: 1 }",
	"phones: { unregistered: drop", "phones: { registration: { outside: 0s }, unregistered: drop",
).Replace(doorConfig)

// node plays a node of the PBX by itself: it lives, takes registrations, and notifies whoever subscribes.
type node struct {
	*wire
	mu        sync.Mutex
	taken     int    // subscriptions
	refreshes string // what becomes of a refresh: nothing at all where empty
	asks      bool   // it challenges a REGISTER that does not answer its own challenge
	nonces    int
}

func (n *node) set(change func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change()
}

func (l *lab) node(at netip.AddrPort) *node {
	n := &node{wire: l.wire(at), refreshes: "200"}
	l.running.Go(func() {
		for l.ctx.Err() == nil {
			if m := n.next(time.Second); m != nil && m.IsRequest() {
				n.answer(m)
			}
		}
	})
	return n
}

func (n *node) took() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.taken
}

func (n *node) put(m *message.Message) {
	to := netip.AddrPortFrom(gateInside, 5060)
	if !m.IsRequest() {
		to = netip.AddrPortFrom(gateInside, m.Via[0].Port)
	}
	if _, err := n.conn.WriteToUDPAddrPort(write(n.l.t, m), to); err != nil {
		n.l.t.Error(err)
	}
}

func (n *node) answer(m *message.Message) {
	r := message.Reply(m, 200, "")
	fresh := m.To.Tag == ""
	if fresh {
		r.To.Tag = "node" + m.CallID[:8]
	}
	switch m.Method {
	case "REGISTER":
		n.mu.Lock()
		defer n.mu.Unlock()
		if own := fmt.Sprintf(`nonce="%s-`, n.at); n.asks && !strings.Contains(value(m, "Authorization"), own) {
			n.nonces++
			r = message.Reply(m, 401, "")
			r.To.Tag = "node" + m.CallID[:8]
			r.Add("WWW-Authenticate", fmt.Sprintf(`Digest realm="example.com", %s%d", qop="auth"`, own, n.nonces))
			break
		}
		r.Headers = append(r.Headers, echo(n.l.t, m, 3600)...)
	case "SUBSCRIBE":
		r.Headers = append(r.Headers, field("Expires: 600"), field("Contact: "+n.contact()))
		n.mu.Lock()
		defer n.mu.Unlock()
		if !fresh {
			if n.refreshes == "" {
				return
			}
			break
		}
		n.taken++
	}
	n.put(r)
	if m.Method == "SUBSCRIBE" && fresh {
		list, _, _ := m.Contacts()
		n.put(&message.Message{
			Method: "NOTIFY", URI: list[0].URI, CallID: m.CallID, CSeq: 1, MaxForwards: 70, Via: n.via(), To: m.From,
			From: message.NameAddr{URI: m.To.URI, Tag: r.To.Tag},
			Headers: []message.Header{
				field("Event: " + value(m, "Event")), field("Subscription-State: active;expires=600"), field("Contact: " + n.contact()),
			},
		})
	}
}

// nothingWatched checks that no subscription is left. The nodes are probed on.
func (l *lab) nothingWatched() {
	l.t.Helper()
	time.Sleep(time.Minute)
	if g := l.gate.Gauges(); g.Subscriptions != 0 || g.Dialogs != 0 || g.Users != 2 || g.Leaks != 0 || g.Panics != 0 {
		l.t.Errorf("left behind: %+v", g)
	}
}

// TestLostNode: phones whose subscriptions stand at a node that dies are told so, some a second, and find the other node.
func TestLostNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, lampNodes, natlab.Options{Seed: 6})
		defer l.close()
		first, second, phone := l.node(pbxAt), l.node(otherPBXAt), l.wire(phoneAt)
		phone.send(phoneSocket, phone.registers("204", "<sip:204@"+phoneAt.String()+">"))
		phone.want("200 REGISTER")
		const lamps = 120
		subscribe := func() {
			phone.send(phoneSocket, phone.asks("SUBSCRIBE", "204", user("205", "example.com"), field("Event: dialog"), field("Expires: 600")))
		}
		for range lamps {
			subscribe()
			phone.want("200 SUBSCRIBE")
			phone.reply(phone.want("NOTIFY"), 200, nil)
		}
		if first.took() != lamps || second.took() != 0 {
			t.Fatalf("the nodes took %d and %d", first.took(), second.took())
		}
		time.Sleep(5 * time.Second)
		l.net.Host(pbxAt.Addr()).Down(true)
		told, most, second0, inSecond := 0, 0, time.Time{}, 0
		for second.took() < lamps {
			m := phone.next(time.Minute)
			if m == nil {
				t.Fatalf("%d of %d lamps were told, %d came back", told, lamps, second.took())
			}
			if m.Method != "NOTIFY" || !m.IsRequest() {
				continue
			}
			phone.reply(m, 200, nil)
			if value(m, "Subscription-State") != "terminated;reason=deactivated" {
				continue
			}
			told++
			if now := time.Now(); now.Sub(second0) >= 900*time.Millisecond {
				second0, inSecond = now, 0
			}
			inSecond++
			most = max(most, inSecond)
			subscribe()
		}
		if told != lamps || most > 50 {
			t.Errorf("%d lamps were told, at most %d a second", told, most)
		}
		time.Sleep(time.Second)
		if g := l.gate.Gauges(); g.Subscriptions != lamps {
			t.Errorf("%d subscriptions", g.Subscriptions)
		}
		phone.quiet(700*time.Second, "SUBSCRIBE")
		l.nothingWatched()
	})
}

// TestNoNodeLives: as long as no node lives no phone is told to come, for it would be turned away.
func TestNoNodeLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, lampNodes, natlab.Options{Seed: 6})
		defer l.close()
		first, phone := l.node(pbxAt), l.wire(phoneAt)
		l.node(otherPBXAt)
		phone.send(phoneSocket, phone.registers("204", "<sip:204@"+phoneAt.String()+">"))
		phone.want("200 REGISTER")
		phone.send(phoneSocket, phone.asks("SUBSCRIBE", "204", user("205", "example.com"), field("Event: dialog"), field("Expires: 600")))
		phone.want("200 SUBSCRIBE")
		phone.reply(phone.want("NOTIFY"), 200, nil)
		time.Sleep(5 * time.Second)
		l.net.Host(otherPBXAt.Addr()).Down(true)
		time.Sleep(20 * time.Second)
		l.net.Host(pbxAt.Addr()).Down(true)
		phone.quiet(time.Minute, "NOTIFY")
		l.net.Host(pbxAt.Addr()).Down(false)
		m := phone.want("NOTIFY")
		if value(m, "Subscription-State") != "terminated;reason=deactivated" {
			t.Errorf("told\n%s", m)
		}
		phone.reply(m, 200, nil)
		if first.took() != 1 {
			t.Errorf("%d subscriptions", first.took())
		}
		l.nothingWatched()
	})
}

// TestRefreshInVain: a node that does not answer a refresh, and is not known to be down, costs the phone its lamp no longer than
// the refresh takes.
func TestRefreshInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, lampNodes, natlab.Options{Seed: 6})
		defer l.close()
		first, phone := l.node(pbxAt), l.wire(phoneAt)
		l.node(otherPBXAt)
		phone.send(phoneSocket, phone.registers("204", "<sip:204@"+phoneAt.String()+">"))
		phone.want("200 REGISTER")
		m := phone.asks("SUBSCRIBE", "204", user("205", "example.com"), field("Event: dialog"), field("Expires: 600"))
		phone.send(phoneSocket, m)
		ok := phone.want("200 SUBSCRIBE")
		phone.reply(phone.want("NOTIFY"), 200, nil)
		first.mu.Lock()
		first.refreshes = ""
		first.mu.Unlock()
		m.To.Tag = ok.To.Tag
		phone.send(phoneSocket, phone.again(m))
		end := phone.want("NOTIFY") // for the 504 it is too late by then (RFC 4320 §4.2)
		if end.CallID != m.CallID || value(end, "Subscription-State") != "terminated;reason=deactivated" {
			t.Errorf("told\n%s", end)
		}
		phone.reply(end, 200, nil)
		l.nothingWatched()
	})
}
