//go:build interop

package interop

import (
	"bufio"
	"cmp"
	"crypto/tls"
	"fmt"
	"net"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"
)

// bucket is an ideal token bucket: full at first, it holds burst tokens and gains perSecond of them.
type bucket struct {
	perSecond float64
	burst     int
}

// budget is one source and what it sends, and the limits that it meets.
type budget struct {
	name      string
	address   string // of the source; empty: one of its own
	transport string
	fresh     bool // a port or connection for each message
	method    string
	limit     string // of a rule of its own, as in the file; empty: the buckets are those of shared rules
	buckets   []bucket
	offered   float64       // a second
	gap       time.Duration // it sends for so long, then says nothing for as long
	lasts     time.Duration // empty: a minute
}

const whole = 62 * time.Second

// budgets are the cases, each with a source address of its own, so that all of them take their time at once.
var budgets = []budget{
	{name: "1/minute udp", transport: "udp", method: "OPTIONS", limit: "1/minute", buckets: []bucket{{1. / 60, 2}}, offered: 0.3},
	{name: "1/minute udp fresh", transport: "udp", fresh: true, method: "OPTIONS", limit: "1/minute", buckets: []bucket{{1. / 60, 2}}, offered: 0.3},
	{name: "1/minute tcp", transport: "tcp", fresh: true, method: "OPTIONS", limit: "1/minute", buckets: []bucket{{1. / 60, 1}}, offered: 0.3},
	{name: "1/minute tls", transport: "tls", fresh: true, method: "OPTIONS", limit: "1/minute", buckets: []bucket{{1. / 60, 1}}, offered: 0.3},
	{name: "15/minute udp fresh", transport: "udp", fresh: true, method: "OPTIONS", limit: "15/minute", buckets: []bucket{{.25, 4}}, offered: 2},
	{name: "15/minute tcp", transport: "tcp", method: "OPTIONS", limit: "15/minute", buckets: []bucket{{.25, 4}}, offered: 2},
	{name: "15/minute tls", transport: "tls", method: "OPTIONS", limit: "15/minute", buckets: []bucket{{.25, 4}}, offered: 2},
	{name: "15/minute register udp fresh", transport: "udp", fresh: true, method: "REGISTER", limit: "15/minute", buckets: []bucket{{.25, 4}}, offered: 2},
	{name: "90/minute register tcp", transport: "tcp", method: "REGISTER", limit: "90/minute", buckets: []bucket{{1.5, 4}}, offered: 4},
	{name: "3600/hour register tls", transport: "tls", method: "REGISTER", limit: "3600/hour", buckets: []bucket{{1, 5}}, offered: 3},
	{name: "2/second udp, gaps", transport: "udp", method: "OPTIONS", limit: "2/second", buckets: []bucket{{2, 10}}, offered: 30, gap: 4 * time.Second},
	{name: "10/minute udp fresh, gaps", transport: "udp", fresh: true, method: "OPTIONS", limit: "10/minute", buckets: []bucket{{1. / 6, 4}}, offered: 2, gap: 15 * time.Second},
	{name: "2/second tcp, gaps", transport: "tcp", fresh: true, method: "OPTIONS", limit: "2/second", buckets: []bucket{{2, 6}}, offered: 8, gap: 3 * time.Second},
	{name: "10/second udp fresh", transport: "udp", fresh: true, method: "OPTIONS", limit: "10/second", buckets: []bucket{{10, 10}}, offered: 25, lasts: 30 * time.Second},
	{name: "10/second register udp", transport: "udp", method: "REGISTER", limit: "10/second", buckets: []bucket{{10, 10}}, offered: 25, lasts: 20 * time.Second},
	{name: "10/second tls", transport: "tls", method: "OPTIONS", limit: "10/second", buckets: []bucket{{10, 10}}, offered: 25, lasts: 30 * time.Second},
	{name: "5/second tls fresh", transport: "tls", fresh: true, method: "OPTIONS", limit: "5/second", buckets: []bucket{{5, 5}}, offered: 12, lasts: 15 * time.Second},
	{name: "100/second udp", transport: "udp", method: "OPTIONS", limit: "100/second", buckets: []bucket{{100, 100}}, offered: 240, lasts: 20 * time.Second},
	{name: "100/second udp fresh", transport: "udp", fresh: true, method: "OPTIONS", limit: "100/second", buckets: []bucket{{100, 100}}, offered: 200, lasts: 10 * time.Second},
	{name: "100/second tcp", transport: "tcp", method: "OPTIONS", limit: "100/second", buckets: []bucket{{100, 100}}, offered: 240, lasts: 20 * time.Second},
	{name: "100/second tls", transport: "tls", method: "OPTIONS", limit: "100/second", buckets: []bucket{{100, 100}}, offered: 240, lasts: 20 * time.Second},
	{name: "below its limit", transport: "udp", method: "OPTIONS", limit: "10/second", buckets: []bucket{{10, 5}}, offered: 5, lasts: 20 * time.Second},
	// Overlapping ranges: the narrowest decides, every source for itself, and what stacks counts besides.
	{name: "the /26", address: "203.0.113.200", transport: "udp", method: "OPTIONS", buckets: []bucket{{6, 6}}, offered: 15, lasts: 20 * time.Second},
	{name: "another of the /26", address: "203.0.113.201", transport: "tcp", method: "OPTIONS", buckets: []bucket{{6, 6}}, offered: 15, lasts: 20 * time.Second},
	{name: "the /28 within", address: "203.0.113.215", transport: "udp", fresh: true, method: "OPTIONS", buckets: []bucket{{3, 3}}, offered: 8, lasts: 20 * time.Second},
	{name: "two addresses within", address: "203.0.113.210", transport: "udp", method: "OPTIONS", buckets: []bucket{{1, 4}}, offered: 4},
	{name: "one that stacks", address: "203.0.113.220", transport: "udp", method: "OPTIONS", buckets: []bucket{{3, 3}, {2, 12}}, offered: 10, lasts: 30 * time.Second},
}

// overlapping are the rules of the shared ranges, the widest first.
const overlapping = `    - { name: everybody, range: any, limits: { OPTIONS: 1/hour, REGISTER: 1/hour }, burst: 1 }
    - { name: provider's network, range: 203.0.113.0/24, limits: { OPTIONS: 1/hour, REGISTER: 1/hour }, burst: 1 }
    - { name: the 26, range: 203.0.113.192/26, limits: { OPTIONS: 6/second }, burst: 6 }
    - { name: the 28, range: 203.0.113.208/28, limits: { OPTIONS: 3/second }, burst: 3 }
    - { name: the two, range: 203.0.113.210-203.0.113.211, limits: { OPTIONS: 60/minute }, burst: 4 }
    - { name: stacks, range: 203.0.113.220, limits: { OPTIONS: 2/second }, burst: 12, stack: true }
`

// limited is a gate that counts everybody who is not registered, and answers him.
const limited = `outside:
  address: 203.0.113.10
  phones: { udp: 5060, tcp: 5060, tls: 5061 }
  trunks: { udp: 5080 }
  tls: { certificate: %[1]s/tls.crt, key: %[1]s/tls.key }
inside: { address: 10.0.0.2, phones: { udp: 5060 }, trunks: { udp: 5080 } }
media: { ports: 30000-30099 }
pbx:
  domain: example.com
  nodes: [ { address: "10.0.0.10:5060" } ]
  health: { interval: 0s }
policy:
  strangers: { phones: answer, rate: 100000/second, burst: 10000 }
  bans: { points: 0 }
  rate_limits:
%[2]scdr: { directory: %[1]s/cdr }
state: { directory: %[1]s/state }
log: { level: warn }
admin: { socket: %[1]s/sbc.sock }
`

// source gives the case an address.
func (b *budget) source(i int) string { return cmp.Or(b.address, fmt.Sprintf("203.0.113.%d", 100+i)) }

// TestLimitsAreExact: what gets through is what an ideal token bucket lets through, within one message or one in twenty,
// whatever the transport and however many ports a source uses.
func TestLimitsAreExact(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.certificates(t)
	rules, addresses := overlapping, []string{}
	for i := range budgets {
		b := &budgets[i]
		addresses = append(addresses, b.source(i))
		if b.limit != "" {
			rules += fmt.Sprintf("    - { name: %q, range: %s, limits: { %s: %s }, burst: %d }\n", b.name, b.source(i), b.method, b.limit, b.buckets[0].burst)
		}
	}
	w.addresses(t, addresses...)
	registers := &tally{}
	w.party(t, nsInside, node1+":5060", gateInside+":5060", func(m message) []string {
		registers.add(m.get("From"), m.get("Call-ID"))
		return []string{m.reply("403 Forbidden", node1+":5060", "")}
	})
	g := w.run(t, fmt.Sprintf(limited, w.dir, rules), gateOutside+":5060", gateInside+":5060")
	results := make([]result, len(budgets))
	var crowd sync.WaitGroup
	for i := range budgets {
		crowd.Go(func() { results[i] = w.offer(t, &budgets[i], i) })
	}
	crowd.Wait()
	for i := range budgets {
		b := &budgets[i]
		got := results[i].answers.len()
		if b.method == "REGISTER" {
			got = registers.from(user(i))
		}
		want := ideal(results[i].times, b.buckets)
		t.Logf("%-30s %5d sent, %5d through, ideal %5d", b.name, len(results[i].times), got, want)
		if off := max(got-want, want-got); off > max(1, want/20) {
			t.Errorf("%s: %d of %d through, an ideal bucket lets %d", b.name, got, len(results[i].times), want)
		}
	}
	if t.Failed() {
		t.Log(g.tail())
	}
	g.stop(t)
}

// ideal is how many of the messages sent at these times get through all buckets; one that does not takes nothing.
func ideal(times []time.Time, buckets []bucket) (n int) {
	tokens := make([]float64, len(buckets))
	for i, b := range buckets {
		tokens[i] = float64(b.burst)
	}
	var last time.Time
	for k, at := range times {
		enough := true
		for i, b := range buckets {
			if k > 0 {
				tokens[i] = min(float64(b.burst), tokens[i]+at.Sub(last).Seconds()*b.perSecond)
			}
			enough = enough && tokens[i] >= 1
		}
		last = at
		if enough {
			n++
			for i := range tokens {
				tokens[i]--
			}
		}
	}
	return n
}

// tally counts different things heard.
type tally struct {
	mu   sync.Mutex
	seen map[[2]string]bool
}

func (a *tally) add(who, what string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.seen == nil {
		a.seen = map[[2]string]bool{}
	}
	a.seen[[2]string{who, what}] = true
}

func (a *tally) len() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.seen)
}

// from counts what one user said.
func (a *tally) from(user string) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for k := range a.seen {
		if strings.Contains(k[0], "sip:"+user+"@") {
			n++
		}
	}
	return n
}

// result is when the messages of a case were sent, and which of them were answered.
type result struct {
	times   []time.Time
	answers *tally
}

func user(i int) string { return fmt.Sprint(400 + i) }

// offer sends a case's messages.
func (w *world) offer(t *testing.T, b *budget, i int) result {
	r := result{answers: &tally{}}
	length := cmp.Or(b.lasts, whole)
	lasting := length // of a socket
	switch {
	case b.fresh:
		lasting = 0
	case b.transport != "udp":
		lasting = 20 * time.Second // the gate keeps no stranger's connection for long
	}
	var waiting sync.WaitGroup
	var c net.Conn
	begun := time.Now()
	var opened time.Time
	send := func(text string) (err error) {
		if c == nil || time.Since(opened) >= lasting {
			if c, err = w.connect(t, b.transport, b.source(i)); err != nil {
				return err
			}
			opened = time.Now()
			conn, heard := c, min(lasting, length-opened.Sub(begun))+time.Second // the next one may come meanwhile
			waiting.Go(func() { hears(conn, r.answers, heard) })
		}
		_, err = c.Write([]byte(text))
		return err
	}
	for n := 0; ; n++ {
		due := time.Duration(float64(n) / b.offered * float64(time.Second))
		if due >= length {
			break
		}
		if b.gap > 0 && due/b.gap%2 == 1 {
			continue
		}
		time.Sleep(due - time.Since(begun))
		text := asked(b, b.source(i), i, n)
		if err := send(text); err != nil {
			t.Errorf("%s, message %d: %v", b.name, n, err)
			break
		}
		r.times = append(r.times, time.Now())
	}
	waiting.Wait()
	return r
}

// asked is message n of case i.
func asked(b *budget, source string, i, n int) string {
	return fmt.Sprintf("%[1]s sip:%[2]s SIP/2.0\r\nVia: SIP/2.0/%[3]s %[4]s:5060;branch=z9hG4bKa%[5]dn%[6]d;rport\r\nMax-Forwards: 70\r\n"+
		"From: <sip:%[7]s@%[2]s>;tag=a%[5]dn%[6]d\r\nTo: <sip:%[7]s@%[2]s>\r\nCall-ID: a%[5]dn%[6]d\r\nCSeq: 1 %[1]s\r\n"+
		"Contact: <sip:%[7]s@%[4]s>\r\nUser-Agent: PhoneProduct/3.0\r\nContent-Length: 0\r\n\r\n",
		b.method, domain, strings.ToUpper(b.transport), source, i, n, user(i))
}

// connect opens a socket or connection from an address to the gate's door.
func (w *world) connect(t *testing.T, transport, source string) (c net.Conn, err error) {
	if transport == "udp" {
		w.visit(t, nsOutside, func() {
			c, err = net.DialUDP("udp4", &net.UDPAddr{IP: net.ParseIP(source)}, net.UDPAddrFromAddrPort(addrPort(doors["udp"])))
		})
		return c, err
	}
	tcp, err := w.dial(t, nsOutside, source, doors[transport])
	if err != nil || transport == "tcp" {
		return tcp, err
	}
	secure := tls.Client(tcp, w.trust(t))
	return secure, secure.Handshake()
}

// hears counts the answers 200 on a connection for so long, and closes it.
func hears(c net.Conn, answers *tally, length time.Duration) {
	defer c.Close()
	_ = c.SetReadDeadline(time.Now().Add(length))
	if _, datagrams := c.(*net.UDPConn); datagrams {
		buf := make([]byte, 4096)
		for {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			if m := (message{string(buf[:n])}); m.status() == 200 {
				answers.add("", m.get("Call-ID"))
			}
		}
	}
	r := textproto.NewReader(bufio.NewReader(c))
	for {
		line, err := r.ReadLine()
		if err != nil {
			return
		}
		h, err := r.ReadMIMEHeader()
		if err != nil {
			return
		}
		if strings.HasPrefix(line, "SIP/2.0 200") {
			answers.add("", h.Get("Call-ID"))
		}
	}
}
