package header

import (
	"strconv"
	"strings"
	"testing"

	"sallyport/nat"
	"sallyport/sbc/message"
)

// TestASignatureIsWholeOrGone: what is signed cannot be repaired. Whoever verifies it refuses the call of a broken one (RFC 8224 §6.2.2),
// not that of none.
func TestASignatureIsWholeOrGone(t *testing.T) {
	const signed = "eyJhbGciOiJFUzI1NiIsInR5cCI6InBhc3Nwb3J0In0.eyJpYXQiOjE0NDMyMDgzNDUsIm9yaWciOnsidG4iOiIxMjE1NTU1MTIxMiJ9fQ.rq3pjT1hoRwakEGjHCnWSwUnshd0-zJ6F1VOgFWSjHBr8Qjpjlk-cpFYpFYsojNCpTzO3QfPOlckGaS6hEck7w"
	for url, stays := range map[string]bool{
		"https://cert.example.org/passport.cer": true, "https://10.0.0.10/passport.cer": false, "https://pbx.example.internal/passport.cer": false,
	} {
		value := signed + ";info=<" + url + ">;alg=ES256;ppt=shaken"
		m := clean(nat.Outside)
		m.Add("Identity", value)
		m.Add("Date", "Fri, 27 Nov 2026 10:00:02 GMT")
		hits, ok := testGuard().Check(nat.Outside, m, broughtAddrs)
		got, there := m.Get("Identity")
		if date, _ := m.Get("Date"); there != stays || stays && got != value || !ok || (hits == 0) != stays || date != "Fri, 27 Nov 2026 10:00:02 GMT" {
			t.Errorf("%s: %d hits, ok %v\n%s", url, hits, ok, m)
		}
	}
}

// TestPartsSayHowLongTheyAre, and there may be many of them.
func TestPartsSayHowLongTheyAre(t *testing.T) {
	part := func(host string) string {
		body := "v=0\r\no=- 1 1 IN IP4 " + host + "\r\ns=-\r\nc=IN IP4 " + host + "\r\nt=0 0\r\n"
		return "--b\r\nContent-Type: application/sdp\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body + "\r\n"
	}
	for _, n := range []int{1, 40} {
		m := clean(nat.Outside)
		typed(m, "multipart/mixed;boundary=b", strings.Repeat(part("10.0.0.10"), n)+"--b--\r\n")
		hits, ok := testGuard().Check(nat.Outside, m, nil)
		if want := strings.Repeat(part("198.51.100.5"), n) + "--b--\r\n"; hits != 2*n || !ok || string(m.Body) != want {
			t.Errorf("%d parts: %d hits, ok %v\n%s", n, hits, ok, m.Body)
		}
	}
}

// TestNumbersThatAreHosts: where a host stands, in a typed field or in a description, a number is one, too.
func TestNumbersThatAreHosts(t *testing.T) {
	for _, s := range hostSpellings(secretAddrs[1]) {
		for name, plant := range map[string]func(m *message.Message){
			"Request-URI": func(m *message.Message) { m.URI.Host = s },
			"From":        func(m *message.Message) { m.From.URI.Host = s },
			"Via":         func(m *message.Message) { m.Via[0].Host = s },
			"SDP":         func(m *message.Message) { describe(m, "c=IN IP4 "+s) },
		} {
			m := clean(nat.Outside)
			plant(m)
			hits, ok := testGuard().Check(nat.Outside, m, nil)
			if hits != 1 || !ok || strings.Contains(written(t, m), s) {
				t.Errorf("%s in %s: %d hits, ok %v\n%s", s, name, hits, ok, written(t, m))
			}
		}
	}
	m := clean(nat.Outside)
	m.URI.Host, m.From.URI.Host = "167772171.example", "10"
	if hits, _ := testGuard().Check(nat.Outside, m, nil); hits != 0 {
		t.Errorf("%d hits in names and other numbers\n%s", hits, m)
	}
}
