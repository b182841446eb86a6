//go:build interop

package interop

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// office is the host beside a cluster of proxies that has all its telephones. It answers every call, hangs those up that are for its
// number 101, and, as whoever knows a cluster, asks the other node where the one on the way says nothing.
type office struct {
	conn *net.UDPConn
	talk time.Duration

	mu    sync.Mutex
	calls map[string]*officeCall
}

// officeCall is what the office knows of a call.
type officeCall struct {
	invite   message
	from     netip.AddrPort // the node it came by
	routes   []string       // the way back (RFC 3261 §12.1.1)
	rung     time.Time      // when it was answered first
	said     int            // answers
	acked    time.Time
	ours     bool // the office hangs up
	asked    int  // BYEs
	ended    bool // a BYE was answered, by either
	by       netip.AddrPort
	answered int // to the office's BYE
}

var recordRoute = regexp.MustCompile(`(?im)^Record-Route\s*:\s*([^\r\n]*)`)

// staff starts the office.
func (w *world) staff(t *testing.T, talk time.Duration) *office {
	t.Helper()
	o := &office{conn: w.socket(t, nsInside, desk+":5060"), talk: talk, calls: map[string]*officeCall{}}
	go o.serve()
	go o.work(t.Context().Done())
	return o
}

func (o *office) serve() {
	buf := make([]byte, 65535)
	for {
		n, from, err := o.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		if n > 12 {
			o.hear(message{string(buf[:n])}, from)
		}
	}
}

func (o *office) say(to netip.AddrPort, text string) {
	_, _ = o.conn.WriteToUDPAddrPort([]byte(text), to)
}

func (o *office) hear(m message, from netip.AddrPort) {
	o.mu.Lock()
	defer o.mu.Unlock()
	id := m.get("Call-ID")
	c := o.calls[id]
	switch {
	case m.status() != 0:
		if c != nil && m.method() == "BYE" && m.status() >= 200 {
			c.ended, c.answered = true, m.status()
		}
	case m.method() == "INVITE" && !m.inDialog():
		if c == nil {
			c = &officeCall{invite: m, from: from, rung: time.Now(), ours: strings.HasPrefix(m.text, "INVITE sip:101@")}
			for _, r := range recordRoute.FindAllStringSubmatch(m.text, -1) {
				c.routes = append(c.routes, r[1])
			}
			o.calls[id] = c
		}
		o.say(from, o.answer(c, m, "180 Ringing", ""))
		o.say(from, o.answer(c, m, "200 OK", sdp(desk, 1, "sendrecv")))
	case c == nil:
		o.say(from, m.reply("481 Not Here", desk+":5060", ""))
	case m.method() == "ACK":
		if c.acked.IsZero() {
			c.acked = time.Now()
		}
	case m.method() == "BYE":
		c.ended, c.by = true, from
		o.say(from, m.reply("200 OK", desk+":5060", ""))
	}
}

// answer is an answer to the INVITE, with the way that it came (§12.1.1).
func (o *office) answer(c *officeCall, m message, status, sdp string) string {
	text := m.reply(status, desk+":5060", sdp)
	for _, r := range c.routes {
		text = strings.Replace(text, "Contact: ", "Record-Route: "+r+"\r\nContact: ", 1)
	}
	return text
}

// work repeats answers that nobody has acknowledged, and hangs up.
func (o *office) work(done <-chan struct{}) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case now := <-tick.C:
			o.mu.Lock()
			for _, c := range o.calls {
				o.look(now, c)
			}
			o.mu.Unlock()
		}
	}
}

func (o *office) look(now time.Time, c *officeCall) {
	const t1, most = 500 * time.Millisecond, 10
	switch {
	case c.ended:
	case c.acked.IsZero():
		if c.said < most && now.Sub(c.rung) > time.Duration(c.said+1)*t1 {
			c.said++
			o.say(c.from, o.answer(c, c.invite, "200 OK", sdp(desk, 1, "sendrecv")))
		}
	case c.ours && c.asked < most && now.Sub(c.acked) > o.talk+time.Duration(c.asked)*t1:
		o.say(o.bye(c))
		c.asked++
	}
}

// bye hangs up by the node on the way, and every other time by the other one, as that one's.
func (o *office) bye(c *officeCall) (netip.AddrPort, string) {
	at, m := c.from, c.invite
	other := strings.NewReplacer(node1, node2, node2, node1)
	var b strings.Builder
	to := m.get("To")
	if !strings.Contains(to, ";tag=") {
		to += ";tag=stand-in"
	}
	fmt.Fprintf(&b, "BYE %s SIP/2.0\r\nVia: SIP/2.0/UDP %s:5060;branch=z9hG4bKbye%d%s\r\nMax-Forwards: 70\r\n", m.target(), desk, c.asked%2, m.get("Call-ID"))
	for _, r := range c.routes {
		if c.asked%2 == 1 {
			r = other.Replace(r)
		}
		b.WriteString("Route: " + r + "\r\n")
	}
	if c.asked%2 == 1 {
		at = addrPort(other.Replace(at.String()))
	}
	fmt.Fprintf(&b, "From: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: 1 BYE\r\n", to, m.get("From"), m.get("Call-ID"))
	return at, b.String() + body("")
}

// left are the calls that were answered and acknowledged and have no end.
func (o *office) left() (list []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for id, c := range o.calls {
		if !c.ended && !c.acked.IsZero() {
			list = append(list, fmt.Sprintf("%s by %s, acknowledged %s, %d BYEs of the office's own", id, c.from, c.acked.Format("15:04:05.000"), c.asked))
		}
	}
	return list
}
