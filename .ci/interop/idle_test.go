//go:build interop

package interop

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net/textproto"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	idlePhones  = 2000
	idleSources = 20
)

// accepting is a registrar of the test's own: it binds whoever asks.
func accepting(m message) []string {
	if m.method() != "REGISTER" {
		return nil
	}
	reply := m.reply("200 OK", node1+":5060", "")
	contact := regexp.MustCompile(`(?m)^Contact:[^\r\n]*`)
	return []string{contact.ReplaceAllLiteralString(reply, "Contact: "+m.get("Contact")+";expires=3600")}
}

// resident is the memory of a process that is in RAM, in kB.
func resident(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`VmRSS:\s*(\d+) kB`).FindSubmatch(text)
	if m == nil {
		t.Fatal("no VmRSS")
	}
	kb, _ := strconv.Atoi(string(m[1]))
	return kb
}

// registerOver registers user i over a connection.
func registerOver(conn *tls.Conn, i int) error {
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	local := conn.LocalAddr()
	_, err := fmt.Fprintf(conn, "REGISTER sip:%[1]s SIP/2.0\r\nVia: SIP/2.0/TLS %[2]s;branch=z9hG4bKidle%[3]d;rport\r\nMax-Forwards: 70\r\n"+
		"From: <sip:%[3]d@%[1]s>;tag=idle%[3]d\r\nTo: <sip:%[3]d@%[1]s>\r\nCall-ID: idle-%[3]d\r\nCSeq: 1 REGISTER\r\n"+
		"Contact: <sip:%[3]d@%[2]s;transport=tls>\r\nExpires: 3600\r\nUser-Agent: PhoneProduct/3.0\r\nContent-Length: 0\r\n\r\n", domain, local, 30000+i)
	if err != nil {
		return err
	}
	line, err := textproto.NewReader(bufio.NewReader(conn)).ReadLine()
	if err == nil && !strings.HasPrefix(line, "SIP/2.0 200") {
		err = fmt.Errorf("answered %q", line)
	}
	_ = conn.SetDeadline(time.Time{})
	return err
}

// TestIdlePhones: 2,000 phones, each with a TLS connection of its own over which it has registered, and what one costs.
func TestIdlePhones(t *testing.T) {
	w := newHomes(t)
	for i := range idleSources {
		w.in(t, nsOutside, "ip", "address", "add", source(i)+"/24", "dev", nsOutside)
	}
	w.party(t, nsInside, node1+":5060", gateInside+":5060", accepting)
	g := w.phoneGate(t, phoneSettings{log: "error", health: "0s"})
	before := resident(t, g.pid())
	conns := make([]*tls.Conn, idlePhones)
	work, trust := make(chan int), w.trust(t)
	var crowd sync.WaitGroup
	for range 16 {
		crowd.Go(func() {
			for i := range work {
				conn, err := w.dial(t, nsOutside, source(i%idleSources), doors["tls"])
				if err != nil {
					t.Errorf("phone %d: %v", i, err)
					continue
				}
				conns[i] = tls.Client(conn, trust)
				if err := registerOver(conns[i], i); err != nil {
					t.Errorf("phone %d: %v", i, err)
				}
			}
		})
	}
	begun := time.Now()
	for i := range idlePhones {
		work <- i
	}
	close(work)
	crowd.Wait()
	took := time.Since(begun)
	if t.Failed() {
		t.Fatal(g.tail())
	}
	time.Sleep(3 * time.Second) // idle
	after := resident(t, g.pid())
	t.Logf("%d phones over TLS registered in %v; %d kB before, %d kB after: %.1f kB a phone", idlePhones, took.Round(time.Millisecond), before, after,
		float64(after-before)/idlePhones)
	g.binds(t, idlePhones)
	closed := 0
	for _, c := range conns {
		_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
		var one [1]byte
		if _, err := c.Read(one[:]); err != nil && !os.IsTimeout(err) {
			closed++
		}
		c.Close()
	}
	if closed > 0 {
		t.Errorf("%d of %d connections have been closed", closed, idlePhones)
	}
	g.stop(t)
}

// source is one of the addresses that the phones come from.
func source(i int) string { return fmt.Sprintf("203.0.113.%d", 100+i) }
