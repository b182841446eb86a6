package sbc_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"
	"go.uber.org/goleak"

	"sallyport/nat"
	"sallyport/nat/natlab"
	"sallyport/sbc/api"
)

// browser is a WebSocket connection as a phone in a browser has it. An agent writes messages to it and reads messages from
// it; on the wire they have no Content-Length, and a name of nothing in the place of the agent's address (RFC 7118 §8).
type browser struct {
	net.Conn
	alias, own string
	raw, ready []byte

	mu     sync.Mutex
	seen   []string // messages as they came
	pinged int
	closed ws.StatusCode
}

// browses opens the WebSocket on a connection.
func browses(conn net.Conn, own string) (*browser, error) {
	u, _ := url.Parse("wss://example.com/")
	d := ws.Dialer{Protocols: []string{"sip"}}
	early, shake, err := d.Upgrade(conn, u)
	switch {
	case err != nil:
		return nil, err
	case early != nil || shake.Protocol != "sip" || len(shake.Extensions) > 0:
		return nil, fmt.Errorf("a strange welcome: %+v", shake)
	}
	return &browser{Conn: conn, alias: "df7jal23ls0d.invalid", own: own}, nil
}

var lengthField = regexp.MustCompile(`Content-Length: [0-9]+\r\n`)

// Write sends a message, or an empty line.
func (b *browser) Write(p []byte) (int, error) {
	head, body, _ := bytes.Cut(p, []byte("\r\n\r\n"))
	text := string(p)
	if len(head) > 0 {
		text = strings.ReplaceAll(lengthField.ReplaceAllString(string(head)+"\r\n", ""), b.own, b.alias) + "\r\n" + string(body)
	}
	return len(p), b.frame(ws.OpText, []byte(text))
}

func (b *browser) frame(op ws.OpCode, payload []byte) error {
	_ = b.Conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
	_, err := b.Conn.Write(ws.MustCompileFrame(ws.MaskFrameInPlace(ws.NewFrame(op, true, payload))))
	return err
}

// Read is a stream of messages, each of which says its length.
func (b *browser) Read(p []byte) (int, error) {
	for len(b.ready) == 0 {
		r := bytes.NewReader(b.raw)
		if h, err := ws.ReadHeader(r); err == nil && h.Length <= int64(r.Len()) {
			from := len(b.raw) - r.Len()
			payload := bytes.Clone(b.raw[from : from+int(h.Length)])
			b.raw = b.raw[from+int(h.Length):]
			if err := b.takes(h, payload); err != nil {
				return 0, err
			}
			continue
		}
		chunk := make([]byte, 4096)
		n, err := b.Conn.Read(chunk)
		if b.raw = append(b.raw, chunk[:n]...); n == 0 && err != nil {
			return 0, err
		}
	}
	n := copy(p, b.ready)
	b.ready = b.ready[n:]
	return n, nil
}

// takes takes a frame.
func (b *browser) takes(h ws.Header, payload []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case h.Masked || !h.Fin || h.Rsv != 0:
		return fmt.Errorf("a frame that no browser reads: %+v", h)
	case h.OpCode == ws.OpPing:
		b.pinged++
		return b.frame(ws.OpPong, payload)
	case h.OpCode == ws.OpClose:
		b.closed, _ = ws.ParseCloseFrameData(payload)
		_ = b.frame(ws.OpClose, payload)
		return io.EOF
	case h.OpCode.IsData() && len(payload) > 4:
		b.seen = append(b.seen, string(payload))
		head, body, _ := strings.Cut(string(payload), "\r\n\r\n")
		b.ready = []byte(strings.ReplaceAll(head, b.alias, b.own) + "\r\n\r\n" + body)
	}
	return nil
}

// heard is what came so far.
func (b *browser) heard() (messages []string, pings int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.seen...), b.pinged
}

// TestBrowserPhone: a phone in a browser registers, is called, calls, is kept alive, and cannot be called when its page is
// closed; the PBX sees nothing of all that.
func TestBrowserPhone(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	yaml := certified(t, rewritten(t, roamingConfig, "phones: { domains: [ voice.example.net ] }", "phones: { registration: { outside: 1h } }"))
	synctest.Test(t, func(t *testing.T) {
		l := newAudible(t, yaml, natlab.Options{Seed: 8}, nil)
		defer l.close()
		inside := l.watchesInside()
		h, pbx := l.handset(l.home(7, natlab.NATOptions{}).Host(private), "204", 5060, nat.WSS, private).registers(), l.pbxEnd()

		list, err := l.gate.Control(nil).Registrations(l.ctx, "")
		if err != nil || len(list) != 1 || !strings.HasPrefix(list[0].Flow, "wss ") || list[0].Interface != "wss 203.0.113.10:443" ||
			list[0].Contact != "<sip:204@df7jal23ls0d.invalid;transport=ws>" || list[0].Keepalive != "ping 25s" {
			t.Errorf("registered is %+v, %v", list, err)
		}
		_, atPBX := l.called(pbx, h, false)
		hangs(atPBX, pbx, h.end)
		atPhone, _ := l.called(pbx, h, true)
		hangs(atPhone, h.end, pbx)
		h.checksItsMessages(t)
		for _, m := range inside() {
			if s := strings.ToLower(m); strings.Contains(s, "wss") || strings.Contains(s, "transport=ws") || strings.Contains(s, ".invalid") {
				t.Errorf("inside is seen:\n%s", m)
			}
		}
		l.do(h.agent, h.bound.Stop)
		time.Sleep(10 * time.Minute)
		if _, pings := h.browser.heard(); pings < 20 || pings > 30 {
			t.Errorf("%d Pings in ten minutes", pings)
		}
		_ = h.stream.Close()
		time.Sleep(time.Millisecond)
		began := time.Now()
		pbx.rings("204")
		select {
		case r := <-pbx.done:
			if r.Code != 480 || time.Since(began) != 0 {
				t.Errorf("the PBX hears %d (%s) after %v, want 480 at once", r.Code, r.Why, time.Since(began))
			}
		case <-time.After(time.Minute):
			t.Fatal("the PBX hears nothing")
		}
		h.reconnects()
		pbx.rings("204")
		pbx.stands()
		hangs(h.stands(), h.end, pbx)
		h.leaves()
		l.settled()
	})
}

// checksItsMessages looks at what came to the browser.
func (h *handset) checksItsMessages(t *testing.T) {
	t.Helper()
	all, _ := h.browser.heard()
	ours := regexp.MustCompile(`\r\nContact: <sip:[^>]*@203\.0\.113\.10:443;transport=ws>`)
	invites, contacts := 0, 0
	for _, m := range all {
		if strings.HasPrefix(m, "SIP/2.0 ") {
			if !strings.Contains(m, "\r\nVia: SIP/2.0/WSS df7jal23ls0d.invalid") {
				t.Errorf("an answer without the browser's own Via:\n%s", m)
			}
		} else if !strings.Contains(m, "\r\nVia: SIP/2.0/WSS 203.0.113.10:443;branch=") {
			t.Errorf("a request with a strange Via:\n%s", m)
		}
		if strings.HasPrefix(m, "INVITE ") {
			if invites++; !strings.HasPrefix(m, "INVITE sip:204@df7jal23ls0d.invalid;transport=ws SIP/2.0\r\n") {
				t.Errorf("an INVITE to somebody else:\n%s", m)
			}
		}
		if ours.MatchString(m) {
			contacts++
		}
	}
	if invites == 0 || contacts < 2 {
		t.Errorf("%d INVITEs, %d Contacts of ours in\n%s", invites, contacts, strings.Join(all, "\n"))
	}
}

// watchesInside collects the signalling with the PBX.
func (l *audible) watchesInside() func() []string {
	var mu sync.Mutex
	var all []string
	l.net.Observe(func(d natlab.Datagram) {
		if len(d.Payload) <= 4 || d.Payload[0] < 'A' || d.Payload[0] > 'Z' {
			return
		}
		l.ladder.note(d)
		if d.Src.Addr() == pbxAt.Addr() || d.Dst.Addr() == pbxAt.Addr() {
			mu.Lock()
			defer mu.Unlock()
			all = append(all, string(d.Payload))
		}
	})
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return all
	}
}

// TestWhyNamesWebSocket: `sbc why` and `sbc status` call the transport by its name.
func TestWhyNamesWebSocket(t *testing.T) {
	secure := certified(t, roamingConfig)
	synctest.Test(t, func(t *testing.T) {
		l := newAudible(t, secure, natlab.Options{Seed: 8}, nil)
		defer l.close()
		home := l.home(7, natlab.NATOptions{})
		h := l.handset(home.Host(private), "204", 5060, nat.WSS, private).registers()
		control := l.gate.Control(nil)
		if w, err := control.Why(l.ctx, home.Addr().String()); err != nil || !w.Allowed || !strings.Contains(w.Text, "wss:") {
			t.Errorf("%v %s", err, w.Text)
		}
		s, err := control.Status(l.ctx)
		if err != nil || !slices.ContainsFunc(s.Interfaces, func(i api.Interface) bool {
			return i.Transport == "wss" && i.Bind == "203.0.113.10:443" && i.Realm == "phones" && i.Side == "outside"
		}) {
			t.Errorf("%v %+v", err, s.Interfaces)
		}
		h.leaves()
		l.settled()
	})
}

// TestBrowserOrigin: pages of other web sites are kept out, by the configuration in force; who names none is no browser.
func TestBrowserOrigin(t *testing.T) {
	const domains = "phones: { domains: [ voice.example.net ] }"
	open := certified(t, roamingConfig)
	strict := rewritten(t, open, domains, "phones: { origins: [ https://Phone.example.com:443 ] }")
	synctest.Test(t, func(t *testing.T) {
		l := newAudible(t, open, natlab.Options{Seed: 8}, nil)
		defer l.close()
		host := l.home(7, natlab.NATOptions{}).Host(private)
		asks := func(origin string) string {
			conn, err := host.DialStream(l.ctx, netip.AddrPort{}, portOf(nat.WSS))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			secure := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
			if err := secure.Handshake(); err != nil {
				t.Fatal(err)
			}
			text := upgrade
			if origin != "" {
				text = strings.Replace(upgrade, "\r\n", "\r\nOrigin: "+origin+"\r\n", 1)
			}
			answer := make([]byte, len("HTTP/1.1 101"))
			_, _ = io.WriteString(secure, text)
			_, _ = io.ReadFull(secure, answer)
			return string(answer[len("HTTP/1.1 "):])
		}
		for origin, want := range map[string]string{"": "101", "https://phone.example.com": "101", "https://evil.example": "101"} {
			if got := asks(origin); got != want {
				t.Errorf("%q is told %s", origin, got)
			}
		}
		l.mustReload(rewritten(t, strict, "30000-31000", airPorts))
		for origin, want := range map[string]string{"": "101", "https://phone.example.com": "101", "https://evil.example": "403", "null": "403"} {
			if got := asks(origin); got != want {
				t.Errorf("once origins are named, %q is told %s", origin, got)
			}
		}
	})
}

// upgrade asks for a WebSocket; what comes right behind it is read as frames.
const upgrade = "GET / HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: sip\r\n\r\n"

// webRaids are the ways to do so by way of the WebSocket listener.
var webRaids = []raid{
	{name: "no upgrade", tls: true, port: 443, do: says(""), within: 10 * time.Second},
	{name: "an upgrade a byte a second", tls: true, port: 443, do: drips(upgrade, time.Second), within: 10 * time.Second},
	{name: "endless HTTP", tls: true, port: 443, do: floods("GET / HTTP/1.1\r\n", "X-More: "+strings.Repeat("x", 500)+"\r\n", time.Millisecond), within: time.Second, bytes: 200 << 10},
	{name: "HTTP and no upgrade", tls: true, port: 443, do: says("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), within: time.Second},
	{name: "SIP where HTTP is spoken", tls: true, port: 443, do: says(lie("Content-Length: 5")), within: time.Second},
	{name: "an idle WebSocket", tls: true, port: 443, do: says(upgrade), within: 31 * time.Second},
	{name: "a frame a byte a second", tls: true, port: 443, do: floods(upgrade+"\x81\xfe\x10\x00", "x", time.Second), within: 17 * time.Second},
	{name: "endless fragments", tls: true, port: 443, do: floods(upgrade+"\x01\x80\x00\x00\x00\x00", "\x00\x80\x00\x00\x00\x00", time.Millisecond), within: 2 * time.Second, bytes: 200 << 10},
	{name: "frames without a mask", tls: true, port: 443, do: floods(upgrade, "\x81\x02hi", time.Millisecond), within: 2 * time.Second, bytes: 200 << 10},
	{name: "Pings", tls: true, port: 443, do: floods(upgrade, "\x89\x80\x00\x00\x00\x00", time.Millisecond), within: 2 * time.Second, bytes: 200 << 10},
	{name: "a Ping now and then", tls: true, port: 443, do: floods(upgrade, "\x89\x80\x00\x00\x00\x00", 5*time.Second), within: 32 * time.Second},
}
