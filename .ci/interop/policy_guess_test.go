//go:build interop

package interop

import (
	"bufio"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"
)

var nonces = regexp.MustCompile(`nonce="([^"]+)"`)

func md5sum(text string) string {
	sum := md5.Sum([]byte(text))
	return hex.EncodeToString(sum[:])
}

// guess registers as a subscriber over a connection, with other passwords than the right one, again after each refusal, at most so many times. It
// reports how many of them the PBX has looked at.
func guess(t *testing.T, c net.Conn, x extension, transport string, most int) (looked int) {
	t.Helper()
	r := bufio.NewReader(c)
	authorization := ""
	for n := 1; n <= most; n++ {
		_, err := fmt.Fprintf(c, "REGISTER sip:%[1]s SIP/2.0\r\nVia: SIP/2.0/%[2]s %[3]s;branch=z9hG4bKguess%[4]d;rport\r\nMax-Forwards: 70\r\n"+
			"From: <sip:%[5]s@%[1]s>;tag=guess\r\nTo: <sip:%[5]s@%[1]s>\r\nCall-ID: guess-%[3]s\r\nCSeq: %[4]d REGISTER\r\nContact: <sip:%[5]s@%[3]s>\r\n"+
			"%[6]sUser-Agent: PhoneProduct/3.0\r\nContent-Length: 0\r\n\r\n", domain, strings.ToUpper(transport), c.LocalAddr(), n, x.user, authorization)
		if err != nil {
			return looked
		}
		answer := final(c, r, transport)
		m := nonces.FindStringSubmatch(answer)
		if m == nil {
			return looked
		}
		if authorization != "" {
			looked++
		}
		uri := "sip:" + domain
		response := md5sum(md5sum(x.user+":"+domain+":wrong"+fmt.Sprint(n)) + ":" + m[1] + ":" + md5sum("REGISTER:"+uri))
		authorization = fmt.Sprintf("Authorization: Digest username=%q, realm=%q, nonce=%q, uri=%q, response=%q, algorithm=MD5\r\n", x.user, domain, m[1], uri, response)
	}
	return looked
}

// final reads the next answer that is not provisional; "" if none comes.
func final(c net.Conn, r *bufio.Reader, transport string) string {
	_ = c.SetReadDeadline(time.Now().Add(3 * time.Second))
	for {
		var text strings.Builder
		if transport == "udp" {
			buf := make([]byte, 4096)
			n, err := c.Read(buf)
			if err != nil {
				return ""
			}
			text.Write(buf[:n])
		}
		for transport != "udp" && !strings.HasSuffix(text.String(), "\r\n\r\n") {
			line, err := r.ReadString('\n')
			if err != nil {
				return ""
			}
			text.WriteString(line)
		}
		if m := (message{text.String()}); m.status() >= 200 {
			return m.text
		}
	}
}
