//go:build interop

package interop

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// full has the cases run that make interop leaves out for time.
var full = flag.Bool("full", false, "run every case in every variant (make interop-full)")

// tortureDocument is a gate whose trunk speaks UDP and TCP.
const tortureDocument = `outside: { address: 203.0.113.10, phones: { udp: 5060, tcp: 5060 }, trunks: { udp: 5080, tcp: 5080 } }
inside: { address: 10.0.0.2, phones: { udp: 5060 }, trunks: { udp: 5080 } }
pbx:
  domain: example.com
  nodes: [ { address: "10.0.0.10:5060" } ]
  health: { interval: 0s }
trunks:
  - name: itsp
    peers: [ { address: "203.0.113.20:5060" } ]
    outbound: { match: ["^\\+?[0-9]{2,15}$"] }
    keepalive: { method: none, interval: 0s }
cdr: { directory: %[1]s/cdr }
state: { directory: %[1]s/state }
log: { level: warn }
admin: { socket: %[1]s/sbc.sock }
`

// torturer is a gate between a provider that writes what it likes and a PBX that knows nobody.
type torturer struct{ *gate }

func (w *world) torturer(t *testing.T) *torturer {
	t.Helper()
	pbx := w.socket(t, nsInside, node1+":5060")
	go func() {
		buf := make([]byte, 65535)
		for {
			n, from, err := pbx.ReadFromUDPAddrPort(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if m := (message{string(buf[:n])}); err == nil && m.status() == 0 && m.method() != "ACK" {
				_, _ = pbx.WriteToUDPAddrPort([]byte(m.reply("404 Not Found", node1+":5060", "")), from)
			}
		}
	}()
	g := w.run(t, fmt.Sprintf(tortureDocument, w.dir), gateOutside+":5060", gateOutside+":5080", gateInside+":5080")
	return &torturer{g}
}

// corpus are the messages of RFC 4475 and RFC 5118, by name.
func corpus(t *testing.T) (names []string, texts [][]byte) {
	t.Helper()
	files, err := filepath.Glob("../../testdata/sip/*.sip")
	if err != nil || len(files) < 60 {
		t.Fatalf("%d messages in testdata/sip, %v", len(files), err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		names, texts = append(names, strings.TrimSuffix(filepath.Base(f), ".sip")), append(texts, b)
	}
	return names, texts
}

// clean waits until nothing of what was sent is held any more, and says what is wrong with the process.
func (g *torturer) clean(t *testing.T, limit time.Duration) {
	t.Helper()
	var bad []string
	for end := time.Now().Add(limit); ; time.Sleep(200 * time.Millisecond) {
		if bad = g.held(t); len(bad) == 0 {
			return
		}
		if time.Now().After(end) {
			break
		}
	}
	t.Errorf("still held: %s", strings.Join(bad, ", "))
}

// held are the entries of the audit that a quiet gate does not have.
func (g *torturer) held(t *testing.T) (bad []string) {
	t.Helper()
	for _, a := range g.audit(t) {
		switch a.Name {
		case "calls", "users", "dialogs", "media streams", "transactions":
			if a.Value != 0 {
				bad = append(bad, fmt.Sprintf("%d %s", a.Value, a.Name))
			}
		case "internal errors":
			if a.Value != 0 {
				t.Errorf("%d internal errors", a.Value)
			}
		}
	}
	return bad
}

// heap is what the last collection of the process found in use.
func (g *torturer) heap(t *testing.T) int64 {
	t.Helper()
	for _, a := range g.audit(t) {
		if strings.HasPrefix(a.Name, "heap bytes") {
			return a.Value
		}
	}
	t.Fatal("the audit has no heap")
	return 0
}

// collected is the heap after a collection that is still to come: a quiet process has one every two minutes.
func (g *torturer) collected(t *testing.T) int64 {
	t.Helper()
	last := g.heap(t)
	until(t, "a collection", 150*time.Second, func() bool {
		time.Sleep(time.Second)
		return g.heap(t) != last
	})
	return g.heap(t)
}

// gauge is an entry of the audit.
type gauge struct {
	Name  string
	Value int64
	Bad   bool
}

func (g *torturer) audit(t *testing.T) (list []gauge) {
	t.Helper()
	out, code := g.verb("status", "--audit", "--json")
	if err := json.Unmarshal([]byte(out), &list); err != nil || code > 1 || len(list) == 0 {
		t.Fatalf("sbc status --audit: exit code %d, %v: %s", code, err, out)
	}
	return list
}

// lives makes sure that the gate still does its work: the provider's OPTIONS is answered, its call reaches the PBX.
func (g *torturer) lives(t *testing.T, trunk *party, i int) {
	t.Helper()
	if code := trunk.ask(t); code != 200 {
		t.Errorf("OPTIONS of the trunk: %d", code)
	}
	if code := trunk.ring(t, i); code != 404 {
		t.Errorf("a call to a PBX that knows nobody: %d", code)
	}
}

// TestTorture: what RFC 4475 and RFC 5118 have thought of, and the eight classes of faults that others' parsers had, over
// UDP and TCP, of a known peer and of a stranger: the right answer or silence, and the process goes on.
func TestTorture(t *testing.T) {
	w := newWorld(t)
	g := w.torturer(t)
	trunk := w.party(t, nsOutside, provider+":5060", gateOutside+":5080", nil)
	nobody := w.socket(t, nsOutside, stranger+":5060")
	names, texts := corpus(t)
	t.Run("known peer", func(t *testing.T) {
		for i, name := range names {
			want, listed := tortured[name]
			if !listed {
				t.Errorf("%s has no verdict", name)
			}
			if got := trunk.fate(t, texts[i]); got != want {
				t.Errorf("%s: answered %d, want %d", name, got, want)
			}
		}
	})
	t.Run("classes", func(t *testing.T) {
		for _, c := range classes() {
			if got := trunk.fate(t, c.text); got != c.code {
				t.Errorf("%s: answered %d, want %d", c.name, got, c.code)
			}
		}
	})
	t.Run("stranger", func(t *testing.T) {
		for _, text := range slices.Concat(texts, plain(classes())) {
			for _, port := range []string{":5060", ":5080"} {
				_, _ = nobody.WriteToUDPAddrPort(text[:min(len(text), 65507)], addrPort(gateOutside+port))
			}
		}
		for { // whoever wants to register is the PBX's to judge, within the strangers' budget
			heard, silent := silence(nobody, 500*time.Millisecond)
			if silent {
				break
			}
			if (message{heard}).method() != "REGISTER" {
				t.Errorf("a stranger is answered: %q", heard)
			}
		}
	})
	t.Run("streams", func(t *testing.T) { g.smuggled(t, w) })
	g.lives(t, trunk, 1)
	if *full { // transactions live for half a minute
		g.clean(t, 45*time.Second)
	}
	g.stop(t)
}

// fate is the final answer to what a party says, 0 for none within a moment.
func (p *party) fate(t *testing.T, text []byte) int {
	t.Helper()
	if _, err := p.conn.WriteToUDPAddrPort(text, p.gate); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		heard, silent := silence(p.conn, 120*time.Millisecond)
		if silent {
			return 0
		}
		m := message{heard}
		if code := m.status(); code >= 200 {
			if m.method() == "INVITE" && code >= 300 {
				p.send(acknowledged(m))
			}
			return code
		}
	}
	return 0
}

// acknowledged is the ACK of a final answer that is no 2xx, by its top Via.
func acknowledged(m message) string {
	return fmt.Sprintf("ACK sip:x@%s SIP/2.0\r\nVia: %s\r\nMax-Forwards: 70\r\nFrom: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %d ACK\r\nContent-Length: 0\r\n\r\n",
		gateOutside, m.get("Via"), m.get("From"), m.get("To"), m.get("Call-ID"), m.seq())
}

// smuggled: on a stream any doubt where a message ends closes the connection, so that nothing hides behind it.
func (g *torturer) smuggled(t *testing.T, w *world) {
	t.Helper()
	ask := func(fields string) string {
		return "OPTIONS sip:" + gateOutside + " SIP/2.0\r\nVia: SIP/2.0/TCP " + provider + ":5060;branch=z9hG4bKs\r\nMax-Forwards: 70\r\n" +
			"From: <sip:a@" + provider + ">;tag=s\r\nTo: <sip:b@" + gateOutside + ">\r\nCall-ID: smuggled\r\nCSeq: 1 OPTIONS\r\n" + fields + "\r\n"
	}
	for name, c := range map[string]struct {
		text   string
		closed bool
	}{
		"as it should be":          {ask("Content-Length: 0\r\n"), false},
		"two lengths":              {ask("Content-Length: 0\r\nContent-Length: 5\r\n"), true},
		"long and short form":      {ask("Content-Length: 0\r\nl: 5\r\n"), true},
		"negative length":          {ask("Content-Length: -1\r\n"), true},
		"length beyond 2^32":       {ask("Content-Length: 4294967296\r\n"), true},
		"no length":                {ask(""), true},
		"length of letters":        {ask("Content-Length: 0x10\r\n"), true},
		"no SIP":                   {"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + ask("Content-Length: 0\r\n"), true},
		"bytes of any kind":        {strings.Repeat("\xff\x00", 500) + "\r\n\r\n", true},
		"a line that has no end":   {strings.Repeat("x", 70_000), true},
		"a header that has no end": {"OPTIONS sip:x SIP/2.0\r\n" + strings.Repeat("X-Long: "+strings.Repeat("y", 900)+"\r\n", 80), true},
	} {
		conn, err := w.dial(t, nsOutside, provider, gateOutside+":5080")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write([]byte(c.text))
		_ = conn.SetReadDeadline(time.Now().Add(2 * time.Second))
		all, err := io.ReadAll(conn)
		closed := err == nil || !errors.Is(err, os.ErrDeadlineExceeded)
		if closed != c.closed {
			t.Errorf("%s: closed %v, want %v", name, closed, c.closed)
		}
		if !c.closed && !bytes.HasPrefix(all, []byte("SIP/2.0 200")) {
			t.Errorf("%s: %q", name, all)
		}
		if c.closed && bytes.Contains(all, []byte("SIP/2.0 200")) {
			t.Errorf("%s: what hides behind it is answered", name)
		}
		conn.Close()
	}
}

// TestMutations: messages that were good once, of a known peer and of strangers, over UDP and TCP: the process answers or
// not, but it lives, forgets them, and its memory comes back. 20,000 with make interop-full.
func TestMutations(t *testing.T) {
	w := newWorld(t)
	g := w.torturer(t)
	trunk := w.party(t, nsOutside, provider+":5060", gateOutside+":5080", nil)
	nobody := w.socket(t, nsOutside, stranger+":5060")
	_, seeds := corpus(t)
	seeds = append(seeds, plain(classes())...)
	seeds = slices.DeleteFunc(seeds, func(b []byte) bool { return len(b) > 8000 })
	total := 4_000
	if *full {
		total = 20_000
	}
	rng := rand.New(rand.NewPCG(4475, 5118))
	g.storm(t, w, trunk, nobody, rng, seeds, total/2) // tables, buffers and heap are as large as they get
	var before int64
	if *full {
		g.clean(t, 60*time.Second)
		before = g.collected(t)
	}
	g.storm(t, w, trunk, nobody, rng, seeds, total-total/2)
	drain(trunk.conn)
	g.lives(t, trunk, 2)
	if !*full {
		g.held(t) // which looks for internal errors
		g.stop(t)
		return
	}
	g.clean(t, 60*time.Second)
	after := g.collected(t)
	t.Logf("heap: %d bytes after the first half, %d after the second of %d messages", before, after, total)
	if after > before+before/20 {
		t.Errorf("the heap has grown from %d to %d bytes", before, after)
	}
	g.stop(t)
}

// storm sends so many mutated messages: three of four by UDP from a peer and a stranger in turn, the fourth by TCP.
func (g *torturer) storm(t *testing.T, w *world, trunk *party, nobody *net.UDPConn, rng *rand.Rand, seeds [][]byte, n int) {
	t.Helper()
	var stream *net.TCPConn
	defer func() {
		if stream != nil {
			stream.Close()
		}
	}()
	for i := range n {
		text := mutate(rng, seeds)
		switch i % 4 {
		case 0, 2:
			_, _ = trunk.conn.WriteToUDPAddrPort(text, trunk.gate)
		case 1:
			_, _ = nobody.WriteToUDPAddrPort(text, addrPort(gateOutside+[]string{":5060", ":5080"}[i>>2&1]))
		case 3:
			if stream == nil {
				var err error
				if stream, err = w.dial(t, nsOutside, provider, gateOutside+":5080"); err != nil {
					t.Fatal(err)
				}
			}
			_ = stream.SetDeadline(time.Now().Add(200 * time.Millisecond))
			if _, err := stream.Write(text); err != nil || i%32 == 31 {
				stream.Close()
				stream = nil
			}
		}
		if i%20 == 19 { // about two thousand a second, and what comes back is read
			drain(trunk.conn)
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// drain reads what waits, so that the sender's socket is no reason for loss.
func drain(conn *net.UDPConn) {
	buf := make([]byte, 65535)
	for range 100 {
		_ = conn.SetReadDeadline(time.Now().Add(time.Millisecond))
		if _, _, err := conn.ReadFromUDPAddrPort(buf); err != nil {
			return
		}
	}
}

// mutate makes a message of the seeds: bytes changed, cut, doubled, lines swapped, a tail of another, ids of its own.
func mutate(rng *rand.Rand, seeds [][]byte) []byte {
	b := slices.Clone(seeds[rng.IntN(len(seeds))])
	for range 1 + rng.IntN(4) {
		if len(b) == 0 {
			break
		}
		at := rng.IntN(len(b))
		switch rng.IntN(8) {
		case 0:
			b[at] = byte(rng.IntN(256))
		case 1:
			b = b[:at]
		case 2:
			b = slices.Insert(b, at, []byte(tokens[rng.IntN(len(tokens))])...)
		case 3: // a line twice
			if lines := bytes.SplitAfter(b, []byte("\n")); len(lines) > 2 {
				k := rng.IntN(len(lines))
				b = bytes.Join(slices.Insert(slices.Clone(lines), k, lines[k]), nil)
			}
		case 4: // two lines change places
			if lines := bytes.SplitAfter(b, []byte("\n")); len(lines) > 2 {
				k, l := rng.IntN(len(lines)), rng.IntN(len(lines))
				lines[k], lines[l] = lines[l], lines[k]
				b = bytes.Join(lines, nil)
			}
		case 5: // the tail of another one
			other := seeds[rng.IntN(len(seeds))]
			b = append(b[:at:at], other[rng.IntN(len(other)+1):]...)
		case 6:
			b = slices.Delete(b, at, min(len(b), at+1+rng.IntN(16)))
		case 7: // a number becomes another one
			b = bytes.Replace(b, []byte("1"), []byte("99999999999"), 1)
		}
	}
	b = bytes.Replace(b, []byte("branch=z9hG4bK"), fmt.Appendf(nil, "branch=z9hG4bK%d", rng.Uint32()), 1)
	return b[:min(len(b), 65507)]
}

// tokens are bytes that parsers have stumbled over.
var tokens = []string{
	"\r\n", "\n", "\r", "\x00", "\x0b", " ", "\t", ";", ",", ":", "@", "<", ">", "\"", "\\", "%00", "%", "[::", "]", "=", "?", "&", "\xff\xfe", "\xc0\x80",
	";tag=", ";branch=", "\r\n ", "\r\n\t", "sip:", "sips:", "tel:", "urn:", "SIP/2.0", "Content-Length: 0\r\n", "l: 9\r\n", "v: x\r\n",
	"Via: SIP/2.0/UDP 0.0.0.0\r\n", "Require: x\r\n", "Replaces: a;to-tag=b;from-tag=c\r\n", "Session-Expires: 1\r\n", "RAck: 1 1 INVITE\r\n",
	"Content-Type: multipart/mixed;boundary=x\r\n", "m=audio 1 RTP/AVP 0\r\n", "-1", "4294967296", "1e9", "0x",
}
