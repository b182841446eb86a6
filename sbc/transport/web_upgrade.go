package transport

import (
	"bytes"
	"errors"
	"io"

	"github.com/gobwas/ws"
)

// upgradeMost bounds the HTTP request that opens a WebSocket, in bytes: a browser sends along the cookies of the domain.
const upgradeMost = 16 << 10

// subprotocol is what the client must offer (RFC 7118 §4.1).
const subprotocol = "sip"

var (
	errUpgrade  = errors.New("no HTTP request for a WebSocket with the subprotocol sip")
	errOrigin   = errors.New("page of a web site that is none of phones.origins")
	errHeadSize = errors.New("HTTP request without an end within its bounds")
	headEnd     = []byte("\r\n\r\n")
)

// The answers to what is no such request. They say as little as they may: there is no name of a server, no reason, no
// page; other versions of the protocol are told ours (RFC 6455 §4.4).
const (
	httpForbidden = "HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n" // RFC 6455 §4.2.2
	httpRefused   = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
	httpVersion   = "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\n" +
		"Sec-WebSocket-Version: 13\r\nContent-Length: 0\r\n\r\n"
)

// upgrade makes a TLS connection a WebSocket one (RFC 6455 §4.2). The deadline of the TLS handshake holds for both.
//
// Any path and any host will do. What a page of somebody else's makes a browser send here bears no credentials that the
// browser adds by itself, as it does cookies; but it comes from the address of whoever looks at the page, and what it does
// is held against that address. So pages may be told apart by their origin (RFC 6455 §10.2). No extension is agreed upon:
// nothing is compressed.
func (c *connection) upgrade() (err error) {
	err = errFault
	defer c.recovered() // of a library that reads a stranger's bytes
	head, early, err := readHead(c.conn)
	if err != nil {
		if errors.Is(err, errHeadSize) && looksLikeHTTP(head) {
			_, _ = io.WriteString(c.conn, httpRefused)
		}
		return err
	}
	answer, err := answerUpgrade(head, c.Origin)
	if _, failed := c.conn.Write(answer); err == nil {
		err = failed
	}
	c.web = &web{early: early}
	return err
}

// readHead reads up to the empty line that ends an HTTP request's header section, and tells what it has read behind it. With
// an error, head is what there was.
func readHead(r io.Reader) (head, early []byte, err error) {
	buf := make([]byte, 0, 2<<10)
	for first := true; ; {
		from := max(0, len(buf)-len(headEnd)+1)
		if len(buf) == cap(buf) {
			buf = append(make([]byte, 0, min(2*cap(buf), upgradeMost)), buf...)
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if i := bytes.Index(buf[from:], headEnd); i >= 0 {
			end := from + i + len(headEnd)
			return buf[:end], bytes.Clone(buf[end:]), nil
		}
		switch {
		case err != nil:
			return buf, nil, err
		case len(buf) == upgradeMost:
			return buf, nil, errHeadSize
		case first && bytes.IndexByte(buf[from:], '\n') >= 0:
			if first = false; !looksLikeHTTP(buf) {
				return buf, nil, errUpgrade // the rest of something else is not waited for
			}
		}
	}
}

// looksLikeHTTP reports whether bytes begin with a request line of HTTP: only who speaks it is answered in it.
func looksLikeHTTP(b []byte) bool {
	line, _, _ := bytes.Cut(b, []byte("\n"))
	words := bytes.Fields(line)
	return len(words) == 3 && bytes.HasPrefix(words[2], []byte("HTTP/1."))
}

// answerUpgrade is the answer to an HTTP request. With an error it is that of a refusal, or none.
func answerUpgrade(head []byte, welcome func(origin string) bool) (answer []byte, err error) {
	var out bytes.Buffer
	offered := false
	u := ws.Upgrader{
		ReadBufferSize: upgradeMost,
		Protocol: func(name []byte) bool {
			is := string(name) == subprotocol
			offered = offered || is
			return is
		},
		OnHeader: func(name, value []byte) error {
			if welcome != nil && string(name) == "Origin" && !welcome(string(value)) {
				return errOrigin
			}
			return nil
		},
	}
	_, err = u.Upgrade(struct {
		io.Reader
		io.Writer
	}{bytes.NewReader(head), &out})
	switch {
	case err == nil && offered:
		return out.Bytes(), nil
	case errors.Is(err, errOrigin):
		return []byte(httpForbidden), err
	case errors.Is(err, ws.ErrHandshakeUpgradeRequired):
		return []byte(httpVersion), errUpgrade
	case looksLikeHTTP(head):
		return []byte(httpRefused), errUpgrade
	}
	return nil, errUpgrade
}
