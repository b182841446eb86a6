package sbc_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat/natlab"
	"sallyport/sbc/message"
)

// thirdPBXAt is one node more, farEndAt a machine behind the nodes: a media server, or a phone of the house.
var (
	thirdPBXAt = netip.MustParseAddrPort("10.0.0.12:5060")
	farEndAt   = netip.MustParseAddrPort("10.0.0.50:5070")
)

// clusterConfig is a PBX of two equal nodes that are asked whether they live, with a trunk and phones.
const clusterConfig = `
outside: { address: 203.0.113.10, phones: { udp: 5060 }, trunks: { udp: 5080 } }
inside: { address: 10.0.0.2, phones: { udp: 5060 }, trunks: { udp: 5080 } }
media: { ports: 30000-31000 }
pbx:
  domain: example.com
  nodes: [ { address: "10.0.0.10:5060" }, { address: "10.0.0.11:5060" } ]
  health: { interval: 2s, failures: 2, successes: 2 }
  pace: 10/second
phones: { keepalive: { interval: 0 }, registration: { per_source: 1000 } }
trunks:
  - name: itsp
    peers: [ { address: "203.0.113.20:5060" } ]
    keepalive: { method: none }
policy: { rate_limits: [] }
`

// cluster is a gate with a PBX of several nodes, which take registrations, and one socket with many phones.
type cluster struct {
	*lab
	nodes map[netip.AddrPort]*node
	phone *wire
	calls map[string]*message.Message // last REGISTER of each user

	mu  sync.Mutex
	log []visit
}

// visit is a REGISTER at a node.
type visit struct {
	at   netip.AddrPort
	user string
	when time.Time
}

func newCluster(t *testing.T, yaml string, nodes ...netip.AddrPort) *cluster {
	t.Helper()
	c := &cluster{lab: newGate(t, yaml, natlab.Options{Seed: 4}), nodes: map[netip.AddrPort]*node{}, calls: map[string]*message.Message{}}
	c.net.Observe(c.see)
	for _, at := range nodes {
		c.nodes[at] = c.node(at)
	}
	c.phone = c.wire(phoneAt)
	time.Sleep(5 * time.Second) // all are up
	return c
}

// see notes each REGISTER that arrives at a node.
func (c *cluster) see(d natlab.Datagram) {
	if !strings.HasPrefix(string(d.Payload), "REGISTER ") || d.Src.Addr() != gateInside {
		return
	}
	_, to, _ := strings.Cut(string(d.Payload), "\r\nTo: ")
	_, to, _ = strings.Cut(to, "sip:")
	user, _, _ := strings.Cut(to, "@")
	c.mu.Lock()
	defer c.mu.Unlock()
	c.log = append(c.log, visit{d.Dst, user, d.At})
}

// visits are the REGISTERs since the last call.
func (c *cluster) visits() []visit {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.log
	c.log = nil
	return out
}

func number(i int) string { return fmt.Sprint(1000 + i) }

// refresh has a phone register, anew or once more, and answer a challenge; it returns the final answer.
func (c *cluster) refresh(user string) *message.Message {
	c.t.Helper()
	m := c.calls[user]
	if m == nil {
		m = c.phone.registers(user, "<sip:"+user+"@"+phoneAt.String()+">")
	} else {
		m = c.phone.again(m)
	}
	c.calls[user] = m
	c.phone.send(phoneSocket, m)
	answer := c.final(m)
	if answer.Status != 401 {
		return answer
	}
	_, nonce, _ := strings.Cut(value(answer, "WWW-Authenticate"), `nonce="`)
	nonce, _, _ = strings.Cut(nonce, `"`)
	retry := c.phone.again(m)
	c.calls[user] = retry
	signed := *retry
	signed.Headers = append(slices.Clone(retry.Headers), message.Header{
		Name: "Authorization", Value: `Digest username="` + user + `", realm="example.com", nonce="` + nonce + `", uri="sip:example.com", response="5"`,
	})
	c.phone.send(phoneSocket, &signed)
	return c.final(&signed)
}

func (c *cluster) final(m *message.Message) *message.Message {
	c.t.Helper()
	for {
		r := c.phone.next(patience)
		if r == nil {
			c.t.Fatalf("no answer to\n%s", m)
		}
		if !r.IsRequest() && r.Status >= 200 && r.CallID == m.CallID && r.CSeq == m.CSeq {
			return r
		}
	}
}

// homes are the nodes that the gate says to have the bindings, by user.
func (c *cluster) homes() map[string]string {
	c.t.Helper()
	list, err := c.gate.Control(nil).Registrations(c.ctx, "")
	if err != nil {
		c.t.Fatal(err)
	}
	out := map[string]string{}
	for _, r := range list {
		user, _, _ := strings.Cut(r.AoR, "@")
		out[user] = r.Node
	}
	return out
}

// bindings are how many the gate says to be at each node.
func (c *cluster) bindings() map[string]int {
	c.t.Helper()
	nodes, err := c.gate.Control(nil).Nodes(c.ctx)
	if err != nil {
		c.t.Fatal(err)
	}
	out := map[string]int{}
	for _, n := range nodes {
		out[n.Address] = n.Bindings
	}
	return out
}

// most is the most visits of a node within any second.
func most(log []visit, at netip.AddrPort) (n int) {
	var when []time.Time
	for _, v := range log {
		if v.at == at {
			when = append(when, v.when)
		}
	}
	for from, to := 0, 0; to < len(when); to++ {
		for when[to].Sub(when[from]) >= time.Second {
			from++
		}
		n = max(n, to-from+1)
	}
	return n
}

func of(log []visit, at netip.AddrPort) (n int) {
	for _, v := range log {
		if v.at == at {
			n++
		}
	}
	return n
}

// TestPhonesChooseTheirNode: phones share the nodes, each stays with its own, and when one is lost only those move that were there;
// when it comes back they return, so many a second and no more, and all are where they were.
func TestPhonesChooseTheirNode(t *testing.T) {
	for _, how := range []string{"unreachable", "silent", "drained"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, rewritten(t, clusterConfig, `{ address: "10.0.0.11:5060" } ]`, `{ address: "10.0.0.11:5060" }, { address: "10.0.0.12:5060" } ]`), pbxAt, otherPBXAt, thirdPBXAt)
				defer c.close()
				const phones = 150
				for i := range phones {
					if m := c.refresh(number(i)); m.Status != 200 {
						t.Fatalf("registered with %d", m.Status)
					}
				}
				before, counts := c.homes(), c.bindings()
				for at, n := range counts {
					if n < phones/3-25 || n > phones/3+25 {
						t.Errorf("%d of %d phones at %s", n, phones, at)
					}
				}
				for i := range phones {
					c.refresh(number(i))
				}
				if len(c.visits()) != 2*phones {
					t.Error("a phone asked more than one node")
				}
				c.takeOut(pbxAt, how, true)
				time.Sleep(10 * time.Second)
				for i := range phones {
					if m := c.refresh(number(i)); m.Status != 200 {
						t.Fatalf("registered with %d", m.Status)
					}
				}
				if n := of(c.visits(), pbxAt); n != 0 {
					t.Errorf("%d REGISTERs went to the node that is out", n)
				}
				for user, at := range c.homes() {
					if was := before[user]; was != pbxAt.String() && at != was {
						t.Errorf("%s was at %s and is at %s", user, was, at)
					} else if at == pbxAt.String() {
						t.Errorf("%s is still at %s", user, at)
					}
				}
				c.takeOut(pbxAt, how, false)
				time.Sleep(5 * time.Second)
				for range 10 {
					for i := range phones { // each every six seconds
						if m := c.refresh(number(i)); m.Status != 200 {
							t.Fatalf("registered with %d", m.Status)
						}
						time.Sleep(40 * time.Millisecond)
					}
				}
				if n := most(c.visits(), pbxAt); n > 10+10 {
					t.Errorf("%d REGISTERs in a second at the node that came back", n)
				}
				for user, at := range c.homes() {
					if at != before[user] {
						t.Errorf("%s was at %s and is at %s", user, before[user], at)
					}
				}
			})
		})
	}
}

// takeOut makes a node useless, or useful again.
func (c *cluster) takeOut(at netip.AddrPort, how string, out bool) {
	c.t.Helper()
	switch how {
	case "unreachable":
		c.net.Host(at.Addr()).Down(out)
	case "silent":
		loss := 0.0
		if out {
			loss = 1
		}
		c.net.Impair(gateInside, at.Addr(), natlab.Link{Loss: loss})
		c.net.Impair(at.Addr(), gateInside, natlab.Link{Loss: loss})
	case "drained":
		if _, err := c.gate.Control(nil).DrainNode(c.ctx, at.String(), out, "uid 0"); err != nil {
			c.t.Fatal(err)
		}
	}
}

// TestReturnIsPaced: however phones press, the node that came back gets no more than so many REGISTERs of those who move a second,
// the second ones that answer its challenge included.
func TestReturnIsPaced(t *testing.T) {
	t.Parallel()
	for _, asks := range []bool{false, true} {
		if testing.Short() && !asks {
			continue // what takes one REGISTER is part of what takes two
		}
		t.Run(fmt.Sprint("challenges ", asks), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, clusterConfig, pbxAt, otherPBXAt)
				defer c.close()
				for _, n := range c.nodes {
					n.set(func() { n.asks = asks })
				}
				const phones = 200
				c.takeOut(pbxAt, "unreachable", true)
				time.Sleep(10 * time.Second)
				for i := range phones {
					c.refresh(number(i))
				}
				c.takeOut(pbxAt, "unreachable", false)
				time.Sleep(10 * time.Second)
				c.visits()
				began := time.Now()
				for i := range phones { // all in one moment
					if m := c.refresh(number(i)); m.Status != 200 {
						t.Fatalf("registered with %d", m.Status)
					}
				}
				if took := time.Since(began); took > time.Second {
					t.Fatalf("that took %v", took)
				}
				if n := most(c.visits(), pbxAt); n == 0 || n > 10 {
					t.Errorf("%d REGISTERs came to the node in one moment", n)
				}
				for range 40 { // each once in ten seconds
					for i := range phones {
						if m := c.refresh(number(i)); m.Status != 200 {
							t.Fatalf("registered with %d", m.Status)
						}
						time.Sleep(50 * time.Millisecond)
					}
				}
				if n := c.bindings()[pbxAt.String()]; n < phones/2-30 || n > phones/2+30 {
					t.Errorf("%d of %d phones are at the node in the end", n, phones)
				}
			})
		})
	}
}

// TestTheOnlyNodeComesBack: phones that would overrun it are told when to come, each another time, and do.
func TestTheOnlyNodeComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, rewritten(t, clusterConfig, `, { address: "10.0.0.11:5060" } ]`, " ]"), pbxAt)
		defer c.close()
		const phones = 300
		c.takeOut(pbxAt, "unreachable", true)
		time.Sleep(10 * time.Second)
		c.takeOut(pbxAt, "unreachable", false)
		time.Sleep(10 * time.Second)
		due := map[string]time.Time{}
		told := map[string]int{}
		for i := range phones {
			due[number(i)] = time.Now()
		}
		waits := 0
		for len(due) > 0 && waits < 10_000 {
			for i := range phones {
				user := number(i)
				at, waiting := due[user]
				if !waiting || at.After(time.Now()) {
					continue
				}
				m := c.refresh(user)
				if m.Status == 200 {
					delete(due, user)
					continue
				}
				after := value(m, "Retry-After")
				var n int
				if _, err := fmt.Sscan(after, &n); err != nil || m.Status != 503 || n < 1 || n > 120 {
					t.Fatalf("told %d, Retry-After %q", m.Status, after)
				}
				told[after]++
				waits++
				due[user] = time.Now().Add(time.Duration(n) * time.Second)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if n := most(c.visits(), pbxAt); n != 10 {
			t.Errorf("%d REGISTERs in a second came to the node", n)
		}
		if waits > 2*phones || len(told) < 20 {
			t.Errorf("%d phones were sent away %d times, told %v", phones, waits, told)
		}
		for after, n := range told {
			if n > 30 {
				t.Errorf("%d phones were told %s s", n, after)
			}
		}
	})
}
