package transport

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// without drops a header field of hello.
func without(name string) string {
	var kept []string
	for _, l := range strings.Split(hello, "\r\n") {
		if !strings.HasPrefix(l, name+":") {
			kept = append(kept, l)
		}
	}
	return strings.Join(kept, "\r\n")
}

func TestAnswerUpgrade(t *testing.T) {
	replaced := func(old, new string) string {
		if !strings.Contains(hello, old) {
			t.Fatalf("no %q", old)
		}
		return strings.Replace(hello, old, new, 1)
	}
	for _, c := range []struct{ name, request, want string }{
		{"a browser", hello, helloBack},
		{"another path", replaced("GET / ", "GET /ws?token=1 "), helloBack},
		{"sip among others", replaced("Protocol: sip", "Protocol: xmpp, sip"), helloBack},
		{"sip in a second line", replaced("Sec-WebSocket-Protocol: sip", "Sec-WebSocket-Protocol: xmpp\r\nSec-WebSocket-Protocol: sip"), helloBack},
		{"small letters", replaced("Upgrade: websocket", "upgrade: WebSocket"), helloBack},
		{"no Origin", without("Origin"), helloBack},
		{"no subprotocol", without("Sec-WebSocket-Protocol"), httpRefused},
		{"another subprotocol", replaced("Protocol: sip", "Protocol: xmpp"), httpRefused},
		{"a longer name", replaced("Protocol: sip", "Protocol: sips"), httpRefused},
		{"a page is asked for", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", httpRefused},
		{"no Host", without("Host"), httpRefused},
		{"no Upgrade", without("Upgrade"), httpRefused},
		{"no Connection", without("Connection"), httpRefused},
		{"no key", without("Sec-WebSocket-Key"), httpRefused},
		{"a short key", replaced("dGhlIHNhbXBsZSBub25jZQ==", "x"), httpRefused},
		{"no version", without("Sec-WebSocket-Version"), httpRefused},
		{"an old version", replaced("Version: 13", "Version: 8"), httpVersion},
		{"POST", replaced("GET", "POST"), httpRefused},
		{"HTTP/1.0", replaced("HTTP/1.1", "HTTP/1.0"), httpRefused},
		{"a field without a name", replaced("Pragma: no-cache", "no-cache"), httpRefused},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\n", ""},
		{"SIP", request("REGISTER", "a"), ""},
		{"nothing", "\r\n\r\n", ""},
	} {
		answer, err := answerUpgrade([]byte(c.request), nil)
		if string(answer) != c.want || (err == nil) != (c.want == helloBack) {
			t.Errorf("%s: %q, %v; want %q", c.name, answer, err, c.want)
		}
		for _, word := range []string{"Server", "sip", "Sallyport", "gobwas", "handshake"} {
			if err != nil && strings.Contains(string(answer), word) {
				t.Errorf("%s: a refusal says %q: %q", c.name, word, answer)
			}
		}
	}
}

// TestOrigin: pages of other web sites are told that they may not; who is no browser says none.
func TestOrigin(t *testing.T) {
	welcome := func(origin string) bool { return origin == "https://phone.example.com" }
	for request, want := range map[string]string{
		hello:             helloBack,
		without("Origin"): helloBack,
		strings.Replace(hello, "Origin: https://phone.example.com", "origin: https://evil.example", 1):                                               httpForbidden,
		strings.Replace(hello, "Origin: ", "Origin: https://phone.example.com\r\nOrigin: https://evil.example\r\nX: ", 1):                            httpForbidden,
		strings.Replace(hello, "Origin: https://phone.example.com", "Origin:", 1):                                                                    httpForbidden,
		strings.Replace(without("Sec-WebSocket-Protocol"), "Origin: https://phone.example.com", "Origin: https://phone.example.com.evil.example", 1): httpForbidden,
	} {
		if answer, err := answerUpgrade([]byte(request), welcome); string(answer) != want || (err == nil) != (want == helloBack) {
			t.Errorf("%q is answered %q, %v", request, answer, err)
		}
	}
}

func TestReadHead(t *testing.T) {
	long := "GET / HTTP/1.1\r\nCookie: "
	for _, c := range []struct {
		name, in, early string
		err             error
	}{
		{"a request", hello, "", nil},
		{"with frames behind", hello + "frames", "frames", nil},
		{"cookies", long + strings.Repeat("c", 10000) + "\r\n\r\n", "", nil},
		{"just fits", long + strings.Repeat("c", upgradeMost-len(long)-4) + "\r\n\r\n", "", nil},
		{"a byte too long", long + strings.Repeat("c", upgradeMost-len(long)-3) + "\r\n\r\n", "", errHeadSize},
		{"endless", long + strings.Repeat("c", 1<<20), "", errHeadSize},
		{"endless without a line", strings.Repeat("c", 1<<20), "", errHeadSize},
		{"SIP", "REGISTER sip:example.com SIP/2.0\r\nVia: x", "", errUpgrade},
		{"it ends", hello[:100], "", io.EOF},
	} {
		for name, r := range map[string]io.Reader{"at once": strings.NewReader(c.in), "a byte at a time": iotest.OneByteReader(strings.NewReader(c.in))} {
			head, early, err := readHead(r)
			if !errors.Is(err, c.err) || len(head) > upgradeMost {
				t.Errorf("%s, %s: %d bytes, %v; want %v", c.name, name, len(head), err, c.err)
			}
			if want := c.in[:len(c.in)-len(c.early)]; err == nil && (string(head) != want || name == "at once" && string(early) != c.early) {
				t.Errorf("%s, %s: %q and %q", c.name, name, head, early)
			}
		}
	}
}

// FuzzUpgrade: whatever comes is read in bounds, and answered by one of three answers or none.
func FuzzUpgrade(f *testing.F) {
	for _, seed := range []string{hello, without("Upgrade"), request("REGISTER", "a"), "GET / HTTP/1.1\r\n\r\n", "\r\n\r\n", "GET / HTTP/1.", hello + "\x81\x80"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		head, early, err := readHead(bytes.NewReader(in))
		if err != nil {
			return
		}
		if len(head)+len(early) > len(in) || !bytes.HasPrefix(in, append(bytes.Clone(head), early...)) {
			t.Fatalf("read %q and %q of %q", head, early, in)
		}
		answer, err := answerUpgrade(head, func(o string) bool { return o == "https://phone.example.com" })
		switch text := string(answer); {
		case err == nil && strings.HasPrefix(text, "HTTP/1.1 101 ") && strings.HasSuffix(text, "\r\nSec-WebSocket-Protocol: sip\r\n\r\n") &&
			strings.Count(text, "\r\n") == 6:
		case err != nil && (text == "" || text == httpRefused || text == httpVersion || text == httpForbidden):
		default:
			t.Fatalf("answers %q, %v", answer, err)
		}
	})
}
