package transport

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/gobwas/ws"

	"sallyport/nat"
	"sallyport/nat/natlab/authority"
)

// hello is the request of a browser.
const hello = "GET / HTTP/1.1\r\nHost: sbc.example.com\r\nConnection: keep-alive, Upgrade\r\nPragma: no-cache\r\n" +
	"Upgrade: websocket\r\nOrigin: https://phone.example.com\r\nSec-WebSocket-Version: 13\r\nUser-Agent: Mozilla/5.0\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n" +
	"Sec-WebSocket-Protocol: sip\r\n\r\n"

// helloBack is the answer to it (the key's digest is that of RFC 6455 §1.3).
const helloBack = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: sip\r\n\r\n"

var testMask = [4]byte{0x37, 0xfa, 0x21, 0x3d}

// masked writes a frame of a client.
func masked(op ws.OpCode, text string) string { return part(op, true, text) }

// part writes a frame of a client that may be a fragment.
func part(op ws.OpCode, fin bool, text string) string {
	return string(ws.MustCompileFrame(ws.MaskFrameWith(ws.NewFrame(op, fin, []byte(text)), testMask)))
}

// closing writes a Close of a client.
func closeWith(code ws.StatusCode, reason string) string {
	return masked(ws.OpClose, string(ws.NewCloseFrameBody(code, reason)))
}

// shown writes frames of a server in words: "text hello|ping |close 1000".
func shown(raw string) string {
	var out []string
	for r := strings.NewReader(raw); r.Len() > 0; {
		f, err := ws.ReadFrame(r)
		text := string(f.Payload)
		switch {
		case err != nil:
			return strings.Join(append(out, fmt.Sprintf("rest %v", err)), "|")
		case f.Header.Masked || !f.Header.Fin || f.Header.Rsv != 0:
			text = fmt.Sprintf("a wrong header %+v", f.Header)
		case f.Header.OpCode == ws.OpClose && len(text) > 0:
			code, reason := ws.ParseCloseFrameData(f.Payload)
			text = fmt.Sprintf("%d%s", code, reason)
		}
		name := map[ws.OpCode]string{ws.OpText: "text", ws.OpBinary: "binary", ws.OpPing: "ping", ws.OpPong: "pong", ws.OpClose: "close"}
		out = append(out, strings.TrimSuffix(name[f.Header.OpCode]+" "+text, " "))
	}
	return strings.Join(out, "|")
}

// says is what the peer has received since it was asked last, frame by frame.
func (p *peer) says() string {
	p.t.Helper()
	return shown(p.text())
}

// webYard is a yard with a WebSocket interface.
func webYard(t *testing.T, change func(*Config), f func(y *webs)) {
	t.Helper()
	ca := authority.New("ca")
	set, _ := loadTLS(t, ca, "")
	inYard(t, func(c *Config) {
		c.Interfaces, c.TLS = []nat.Interface{stream(3, nat.WSS)}, set
		if change != nil {
			change(c)
		}
	}, func(y *yard) { f(&webs{y, &tls.Config{RootCAs: ca.Pool(), ServerName: "sbc.example.com"}}) })
}

type webs struct {
	*yard
	phone *tls.Config
}

// shakes is a connection on which TLS is spoken, and nothing yet in it.
func (y *webs) shakes(from string) net.Conn {
	y.Helper()
	conn := tls.Client(y.plug(from), y.phone)
	if err := conn.Handshake(); err != nil {
		y.Fatal(err)
	}
	return conn
}

// browse is a WebSocket from an address.
func (y *webs) browse(from string) *peer {
	y.Helper()
	conn := y.shakes(from)
	if err := greet(conn); err != nil {
		y.Fatal(err)
	}
	p := newPeer(y.T, conn, true)
	synctest.Wait()
	return p
}

// greet opens the WebSocket on a connection.
func greet(conn net.Conn) error {
	if _, err := io.WriteString(conn, hello); err != nil {
		return err
	}
	back := make([]byte, len(helloBack))
	if n, err := io.ReadFull(conn, back); err != nil {
		return fmt.Errorf("%q: %w", back[:n], err)
	}
	if string(back) != helloBack {
		return fmt.Errorf("%q", back)
	}
	return nil
}

// bare is a request without Content-Length, as RFC 7118 lets it be.
func bare(method, id string, lines ...string) string {
	return strings.Replace(request(method, id, append(lines, "Via: SIP/2.0/WSS df7jal23ls0d.invalid;branch=z9hG4bK"+id)...), "Content-Length: 0\r\n", "", 1)
}

// cutAt feeds raw in pieces and lists what comes out of it.
func cutAt(f *frames, raw []byte, piece int) (out []string, err error) {
	for len(raw) > 0 {
		n := min(max(piece, 1), len(raw))
		rest := bytes.Clone(raw[:n])
		raw = raw[n:]
		for {
			var op ws.OpCode
			var payload []byte
			if rest, op, payload, err = f.next(rest); err != nil {
				return out, err
			}
			if op == ws.OpContinuation {
				break
			}
			out = append(out, fmt.Sprintf("%x %s", byte(op), payload))
		}
	}
	return out, nil
}
