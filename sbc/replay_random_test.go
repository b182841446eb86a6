package sbc_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/sbc/dialog"
	"sallyport/sbc/message"
)

// market is phones, strangers and a PBX that do this and that by chance.
type market struct {
	*door
	rnd    *rand.Rand
	wires  []*wire
	last   map[*wire]*message.Message // what each has asked last
	nonces map[*wire]string           // what each was challenged with last
	given  int                        // nonces
	ends   []*party                   // of the callers of calls that go on
}

func newMarket(t *testing.T, seed uint64, config []string) *market {
	t.Helper()
	c := &market{door: newDoor(t, doorConfig, config...), rnd: rand.New(rand.NewPCG(seed, 7)), last: map[*wire]*message.Message{}, nonces: map[*wire]string{}}
	c.wires = []*wire{c.phone}
	for _, at := range []string{"198.51.100.7:6060", "198.51.100.8:5060", "192.0.2.66:5060", "192.0.2.66:7070"} {
		c.wires = append(c.wires, c.wire(netip.MustParseAddrPort(at)))
	}
	return c
}

// one is one of a list, by chance.
func one[T any](c *market, list ...T) T { return list[c.rnd.IntN(len(list))] }

// acts has somebody do something.
func (c *market) acts() {
	w := one(c, c.wires...)
	switch c.rnd.IntN(12) {
	case 0:
		c.waits(one(c, 100*time.Millisecond, 1500*time.Millisecond, 20*time.Second, 100*time.Second, 2*time.Hour))
		return
	case 1:
		if again := c.last[w]; again != nil { // the network repeats it
			w.send(phoneSocket, again)
		}
	case 2:
		junk := one(c, "\r\n\r\n", "jaK", "INVITE\r\n\r\n", "OPTIONS sip:x SIP/2.0\r\nCall-ID: 1\r\n\r\n")
		if _, err := w.conn.WriteToUDPAddrPort([]byte(junk), phoneSocket); err != nil {
			c.t.Fatal(err)
		}
	case 3, 4:
		if len(c.ends) > 0 {
			c.speaksWithin(one(c, c.ends...))
		}
	default:
		m := c.asks(w)
		c.last[w] = m
		w.send(phoneSocket, m)
	}
	c.settle()
}

// waits lets time pass. Nobody answers meanwhile, so there is no call. By and large nothing ends by time alone when somebody acts: the
// program looks each second whether it has, a replay at each message.
func (c *market) waits(d time.Duration) {
	for d > 5*time.Second && len(c.ends) > 0 {
		p := c.ends[0]
		p.send(phoneSocket, p.within("BYE", 0))
		c.ends = c.ends[1:]
		c.settle()
	}
	time.Sleep(d)
}

// asks is a request outside of dialogs.
func (c *market) asks(w *wire) *message.Message {
	name := one(c, "204", "204", "205", "206")
	method := one(c, "REGISTER", "REGISTER", "REGISTER", "INVITE", "INVITE", "MESSAGE", "OPTIONS", "PUBLISH", "INFO")
	m := w.speaks(method, name)
	if method == "REGISTER" {
		m = w.registers(name)
		m.Remove("Expires")
		m.Add("Expires", one(c, "3600", "3600", "3600", "0"))
		switch c.rnd.IntN(8) {
		case 0: // a query
		case 1:
			if v, _ := m.Get("Expires"); v == "0" {
				m.Add("Contact", "*")
			}
		default:
			m.Add("Contact", fmt.Sprintf("<sip:%s@%s>", name, w.at))
		}
	}
	if nonce := c.nonces[w]; c.rnd.IntN(3) > 0 {
		username := one(c, name, name, "205", name+"@example.com")
		m.Headers = append(m.Headers, signs(one(c, "Authorization", "Proxy-Authorization"), username, one(c, nonce, nonce, nonce, "unheard of")))
	}
	switch c.rnd.IntN(20) {
	case 0:
		m.Add("User-Agent", "friendly-scanner")
	case 1:
		m.From.URI.Host, m.To.URI.Host = "EXAMPLE.com", "EXAMPLE.com"
	case 2:
		m.From.URI.Host, m.To.URI.Host = "elsewhere.example", "elsewhere.example"
	case 3:
		m.From.URI = user("anonymous", "anonymous.invalid")
	case 4:
		if again := c.last[w]; again != nil { // another request, and says that it is the one before
			m.CallID, m.CSeq = again.CallID, again.CSeq
		}
	}
	return m
}

// speaksWithin is a request of a caller in a call, which he may end.
func (c *market) speaksWithin(p *party) {
	method := one(c, "INFO", "INFO", "MESSAGE", "OPTIONS", "BYE")
	m := p.within(method, 0)
	c.last[p.wire] = m
	p.send(phoneSocket, m)
	if method == "BYE" {
		// A capture of one side does not show when the other one has heard of it.
		defer time.Sleep(1500 * time.Millisecond)
		c.ends = slices.DeleteFunc(c.ends, func(e *party) bool { return e == p })
	}
}

// settle lets everybody answer until nobody has anything to say.
func (c *market) settle() {
	for busy := true; busy; {
		busy = false
		for in := c.pbx.next(10 * time.Millisecond); in != nil; in = c.pbx.next(10 * time.Millisecond) {
			busy = true
			c.decides(in)
		}
		for _, w := range c.wires {
			for in := w.next(10 * time.Millisecond); in != nil; in = w.next(10 * time.Millisecond) {
				busy = true
				c.hears(w, in)
			}
		}
	}
}

// decides is what the PBX says to a request.
func (c *market) decides(in *message.Message) {
	if !in.IsRequest() || in.Method == "ACK" {
		return
	}
	c.given++
	ask := challengeOf(fmt.Sprint("nonce-", c.given))
	switch n := c.rnd.IntN(10); {
	case in.To.Tag != "" || in.Method == "BYE" || in.Method == "CANCEL":
		c.pbx.reply(in, 200, nil)
	case n < 4:
		c.pbx.reply(in, 401, nil, ask)
	case n < 8 && in.Method == "REGISTER":
		if _, star, err := in.Contacts(); err != nil || star {
			c.pbx.reply(in, 200, nil)
			return
		}
		c.pbx.reply(in, 200, nil, echo(c.t, in, 3600)...)
	case n < 8 && in.Method == "INVITE":
		c.pbx.reply(in, 200, sdpAt(c.pbx.at.Addr(), 4002))
	case n < 8:
		c.pbx.reply(in, 200, nil)
	default: // that there is no such user a stranger is not told, and a replay does not hear of it
		c.pbx.reply(in, one(c, 403, 403, 486, 500), nil)
	}
}

// hears is what a phone does about what it hears.
func (c *market) hears(w *wire, in *message.Message) {
	switch {
	case in.IsRequest():
		if in.Method != "ACK" {
			w.reply(in, 200, nil)
		}
	case in.Status == 401 || in.Status == 407:
		for _, name := range []string{"WWW-Authenticate", "Proxy-Authenticate"} {
			if v, has := in.Get(name); has {
				_, v, _ = strings.Cut(v, `nonce="`)
				c.nonces[w], _, _ = strings.Cut(v, `"`)
			}
		}
	}
	invite := c.last[w]
	if in.IsRequest() || in.Method != "INVITE" || in.Status < 200 || invite == nil || invite.CallID != in.CallID || invite.CSeq != in.CSeq {
		return
	}
	if in.Status >= 300 {
		w.send(phoneSocket, ackOf(invite, in))
		return
	}
	p := &party{wire: w, gate: phoneSocket}
	var err error
	if p.dlg, err = dialog.UAC(invite, in); err != nil {
		c.t.Fatal(err)
	}
	w.send(phoneSocket, p.within("ACK", invite.CSeq))
	c.ends = append(c.ends, p)
}

// TestReplaysOfRandomTraffic: whatever is done at the phones' door, a replay comes to the same verdicts, bans and times.
func TestReplaysOfRandomTraffic(t *testing.T) {
	const runs = 12
	configs := [][]string{
		nil,
		{"unregistered: drop", "unregistered: reject", "phones: silent", "phones: answer"},
		{"unregistered: drop", "unregistered: forward, reachable: [ '100' ]"},
		limited("INVITE", 4),
		{"strangers: { phones: silent }", "strangers: { phones: silent, rate: 1/minute, burst: 20 }"},
		{"rate_limits: []", "rate_limits: [ { name: all, range: any, limits: { '*': 12/minute }, burst: 6 } ]"},
	}
	for seed := range uint64(runs) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			config := slices.Concat(configs[seed%uint64(len(configs))], []string{"keepalive: { interval: 0 }", "keepalive: { interval: 0 }, registration: { outside: 1h }"})
			synctest.Test(t, func(t *testing.T) {
				c := newMarket(t, seed, config)
				defer c.close()
				compare := c.asReplayed(rewritten(t, doorConfig, config...))
				// Whoever registers in the first hour counts as registered from the beginning.
				beginning := c.wire(netip.MustParseAddrPort("192.0.2.1:5060"))
				beginning.send(phoneSocket, beginning.asks("OPTIONS", "1", user("1", "example.com")))
				time.Sleep(2 * time.Hour)
				for range 100 {
					c.acts()
				}
				compare()
			})
		})
	}
}
