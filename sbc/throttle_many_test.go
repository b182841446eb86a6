package sbc_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat/natlab"
)

// crowd is very many phones that refresh their registrations, and a registrar that takes each.
type crowd struct {
	*lab
	phones  int
	refresh time.Duration // from one REGISTER of a phone to its next
	next    []time.Time
	cseq    []int

	sent              int
	registers, worst  atomic.Int64 // that reach the PBX, in all and in the second that had the most
	second, inSecond  int64
	refused, unlawful atomic.Int64
	lastPBX           []atomic.Int64 // CSeq of each phone at the PBX
	heard             atomic.Int64
	lastHeard         []atomic.Int64 // seconds of virtual time
	longest           atomic.Int64   // seconds between two REGISTERs of a phone at the PBX
	began             time.Time
}

func newCrowd(t *testing.T, phones int, again time.Duration) *crowd {
	t.Helper()
	yaml := rewritten(t, labConfig, "policy: { rate_limits: [] }", "policy: { rate_limits: [], strangers: { rate: 100000/second, burst: 100000 } }\n"+
		"phones: { keepalive: { interval: 0 }, registration: { outside: 60s, inside: 3600s, reauthenticate: "+again.String()+" } }")
	c := &crowd{lab: newGate(t, yaml, natlab.Options{Seed: 4}), phones: phones, refresh: 57 * time.Second, began: time.Now()}
	c.next, c.cseq = make([]time.Time, phones), make([]int, phones)
	c.lastPBX, c.lastHeard = make([]atomic.Int64, phones), make([]atomic.Int64, phones)
	for i := range phones {
		c.next[i] = c.began.Add(time.Duration(i) * c.refresh / time.Duration(phones))
	}
	pbx, err := c.listen(pbxAt)
	if err != nil {
		t.Fatal(err)
	}
	c.running.Go(func() {
		<-c.ctx.Done()
		_ = pbx.Close()
	})
	c.running.Go(func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := pbx.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			if bytes.HasPrefix(buf[:n], []byte("REGISTER ")) {
				c.arrives(buf[:n])
				_, _ = pbx.WriteToUDPAddrPort(registrarAnswer(buf[:n]), from)
			}
		}
	})
	c.net.Observe(func(d natlab.Datagram) {
		if d.Src == phoneSocket {
			if c.heard.Add(1); !bytes.HasPrefix(d.Payload, []byte("SIP/2.0 200 ")) || !bytes.Contains(d.Payload, []byte(";expires=60\r\n")) {
				c.refused.Add(1)
			}
		}
	})
	return c
}

// arrives is the PBX's look at a REGISTER: it asks for an hour, and its number is higher than the last one's.
func (c *crowd) arrives(b []byte) {
	_, rest, _ := bytes.Cut(b, []byte("\r\nFrom: <sip:"))
	user, _, _ := bytes.Cut(rest, []byte("@"))
	_, rest, _ = bytes.Cut(b, []byte("\r\nCSeq: "))
	number, _, _ := bytes.Cut(rest, []byte(" "))
	var i int
	var n int64
	_, _ = fmt.Sscan(string(user), &i)
	_, _ = fmt.Sscan(string(number), &n)
	now := int64(time.Since(c.began) / time.Second)
	if !bytes.Contains(b, []byte(";expires=3600")) || c.lastPBX[i].Swap(n) >= n {
		c.unlawful.Add(1)
	}
	if was := c.lastHeard[i].Swap(now); was != 0 || n > 1 {
		c.longest.Store(max(c.longest.Load(), now-was))
	}
	c.registers.Add(1)
	if now != c.second {
		c.second, c.inSecond = now, 0
	}
	c.inSecond++
	c.worst.Store(max(c.worst.Load(), c.inSecond))
}

// pass lets the phones live for so long, and counts what they send and what of it reaches the PBX.
func (c *crowd) pass(d time.Duration) (sent, arrived, worst int) {
	c.t.Helper()
	before, had := c.sent, c.registers.Load()
	c.worst.Store(0)
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		now := time.Now()
		for i := range c.next {
			if now.Before(c.next[i]) {
				continue
			}
			c.next[i] = c.next[i].Add(c.refresh)
			c.cseq[i]++
			c.sent++
			at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, byte(i / 25_000), byte(1 + i/100)}), uint16(10_000+i))
			m := fmt.Sprintf("REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.168.1.20:5060;branch=z9hG4bK%d.%d;rport\r\n"+
				"Max-Forwards: 70\r\nFrom: <sip:%d@example.com>;tag=abc\r\nTo: <sip:%d@example.com>\r\nCall-ID: %d@192.168.1.20\r\nCSeq: %d REGISTER\r\n"+
				"Contact: <sip:%d@192.168.1.20:5060>\r\nExpires: 600\r\nAuthorization: Digest username=\"%d\"\r\nContent-Length: 0\r\n\r\n",
				i, c.cseq[i], i, i, i, c.cseq[i], i, i)
			if err := c.net.Inject(at, phoneSocket, []byte(m)); err != nil {
				c.t.Fatal(err)
			}
		}
	}
	return c.sent - before, int(c.registers.Load() - had), int(c.worst.Load())
}

// TestTwentyThousandPhonesAreThrottled: the PBX hears of each in the time that is asked for, and of all of them evenly; each
// phone is answered each time.
func TestTwentyThousandPhonesAreThrottled(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		phones      int
		again, look time.Duration // the crowd by part of a cycle, a village by more than one
	}{
		{300, 10 * time.Minute, 30 * time.Minute}, {300, time.Hour, 2 * time.Hour},
		{20_000, 10 * time.Minute, 10 * time.Minute}, {20_000, time.Hour, 10 * time.Minute},
	} {
		t.Run(fmt.Sprint(tt.phones, " ", tt.again), func(t *testing.T) {
			if tt.phones > 1000 && (testing.Short() || tt.again == time.Hour && !*full) {
				t.Skip("it takes half a minute; make soak has it, the hour of a village and the crowd of ten minutes are in make test")
			}
			synctest.Test(t, func(t *testing.T) {
				c := newCrowd(t, tt.phones, tt.again)
				defer c.close()
				c.pass(2 * time.Minute)
				sent, arrived, worst := c.pass(tt.look)
				even := float64(arrived) / tt.look.Seconds()
				t.Logf("%d REGISTERs in %v, %d reach the PBX: 1 of %.1f; %d in the worst second, %.1f on the average", sent, tt.look, arrived,
					float64(sent)/float64(arrived), worst, even)
				if float64(sent) < 0.9*float64(arrived)*float64(tt.again/time.Minute) {
					t.Errorf("the PBX hears %d of %d", arrived, sent)
				}
				if longest := time.Duration(c.longest.Load()) * time.Second; longest > tt.again+c.refresh+time.Second {
					t.Errorf("the PBX did not hear of a phone for %v", longest)
				}
				if most := 3*even + 10; float64(worst) > most {
					t.Errorf("%d in one second, %.1f on the average", worst, even)
				}
				time.Sleep(time.Second)
				if heard, bad := c.heard.Load(), c.refused.Load(); heard != int64(c.sent) || bad != 0 || c.unlawful.Load() != 0 {
					t.Errorf("%d answers to %d REGISTERs, %d of them wrong; the PBX was asked wrongly %d times", heard, c.sent, bad, c.unlawful.Load())
				}
				g := c.gate.Gauges()
				if g.Bindings != tt.phones || g.RegistersLocal+g.RegistersPassed != uint64(c.sent) || g.RegistersPassed != uint64(c.registers.Load()) {
					t.Errorf("%+v", g)
				}
				s, err := c.gate.Control(nil).Status(t.Context())
				if text := s.Text(time.UTC); err != nil || !strings.Contains(text, fmt.Sprintf("REGISTERs: %d answered here, %d passed to the PBX", g.RegistersLocal, g.RegistersPassed)) {
					t.Errorf("status says (%v)\n%s", err, text)
				}
			})
		})
	}
}
