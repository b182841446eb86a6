//go:build interop

package interop

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// message is a SIP message as a peer of the test's own reads it: no more than it needs.
type message struct{ text string }

var headers = map[string]*regexp.Regexp{}

func init() {
	for _, name := range []string{"Via", "From", "To", "Call-ID", "CSeq", "Contact"} {
		headers[name] = regexp.MustCompile(`(?im)^` + name + `\s*:\s*([^\r\n]*)`)
	}
}

// get is the first value of a header.
func (m message) get(name string) string {
	if found := headers[name].FindStringSubmatch(m.text); found != nil {
		return found[1]
	}
	return ""
}

// status is the code of a response, 0 for a request.
func (m message) status() int {
	if rest, ok := strings.CutPrefix(m.text, "SIP/2.0 "); ok && len(rest) > 3 {
		code, _ := strconv.Atoi(rest[:3])
		return code
	}
	return 0
}

// method is that of the request, or of the request answered.
func (m message) method() string {
	if m.status() != 0 {
		_, method, _ := strings.Cut(m.get("CSeq"), " ")
		return method
	}
	method, _, _ := strings.Cut(m.text, " ")
	return method
}

// seq is the number of CSeq.
func (m message) seq() int {
	number, _, _ := strings.Cut(m.get("CSeq"), " ")
	n, _ := strconv.Atoi(number)
	return n
}

// inDialog reports whether the request carries a To tag.
func (m message) inDialog() bool { return strings.Contains(m.get("To"), ";tag=") }

// target is the URI of Contact, where requests within the dialog go.
func (m message) target() string {
	_, uri, _ := strings.Cut(m.get("Contact"), "<")
	uri, _, _ = strings.Cut(uri, ">")
	return uri
}

// reply answers a request: what RFC 3261 §8.2.6.2 copies, a tag, and SDP where given.
func (m message) reply(status, contact, sdp string) string {
	var b strings.Builder
	b.WriteString("SIP/2.0 " + status + "\r\n")
	for _, via := range headers["Via"].FindAllStringSubmatch(m.text, -1) {
		b.WriteString("Via: " + via[1] + "\r\n")
	}
	to := m.get("To")
	if !m.inDialog() {
		to += ";tag=stand-in"
	}
	fmt.Fprintf(&b, "From: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %s\r\nContact: <sip:pbx@%s>\r\n",
		m.get("From"), to, m.get("Call-ID"), m.get("CSeq"), contact)
	return b.String() + body(sdp)
}

// request writes a request of a peer of the test's own.
func request(method, uri, via, from, to, callID string, seq int, sdp string) string {
	host, _, _ := strings.Cut(via, ";")
	return fmt.Sprintf("%s %s SIP/2.0\r\nVia: SIP/2.0/UDP %s\r\nMax-Forwards: 70\r\nFrom: %s\r\nTo: %s\r\nCall-ID: %s\r\n"+
		"CSeq: %d %s\r\nContact: <sip:+49401234567@%s>\r\n", method, uri, via, from, to, callID, seq, method, host) + body(sdp)
}

func body(sdp string) string {
	if sdp == "" {
		return "Content-Length: 0\r\n\r\n"
	}
	return fmt.Sprintf("Content-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s", len(sdp), sdp)
}

// sdp is an audio description.
func sdp(address string, version int, direction string) string {
	return fmt.Sprintf("v=0\r\no=- 1 %d IN IP4 %s\r\ns=-\r\nc=IN IP4 %s\r\nt=0 0\r\nm=audio 20000 RTP/AVP 0\r\n"+
		"a=rtpmap:0 PCMU/8000\r\na=%s\r\n", version, address, address, direction)
}

// party is a peer of the test's own: for every message that arrives, hear says what to send, in that order and at once.
type party struct {
	conn *net.UDPConn
	gate netip.AddrPort
	hear func(message) []string
}

func addrPort(text string) netip.AddrPort { return netip.MustParseAddrPort(text) }

// party opens the socket and, with hear, answers until the test ends.
func (w *world) party(t *testing.T, ns, address, gate string, hear func(message) []string) *party {
	t.Helper()
	p := &party{w.socket(t, ns, address), addrPort(gate), hear}
	if hear != nil {
		go p.serve()
	}
	return p
}

func (p *party) serve() {
	buf := make([]byte, 65535)
	for {
		n, _, err := p.conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil && n > 12 {
			p.send(p.hear(message{string(buf[:n])})...)
		}
	}
}

func (p *party) send(messages ...string) {
	for _, m := range messages {
		_, _ = p.conn.WriteToUDPAddrPort([]byte(m), p.gate)
	}
}

// silence reports what arrives within the limit, if anything does.
func silence(conn *net.UDPConn, limit time.Duration) (string, bool) {
	_ = conn.SetReadDeadline(time.Now().Add(limit))
	buf := make([]byte, 65535)
	n, _, err := conn.ReadFromUDPAddrPort(buf)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return "", true
	}
	return string(buf[:n]), false
}
