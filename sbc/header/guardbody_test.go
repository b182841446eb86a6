package header

import (
	"strings"
	"testing"

	"sallyport/nat"
	"sallyport/sbc/message"
)

// TestTextsOfPeopleStay: a message that somebody has written is nobody's to change.
func TestTextsOfPeopleStay(t *testing.T) {
	for _, kind := range []string{"text/plain", "text/html;charset=utf-8", "image/png", "application/octet-stream", "multipart/mixed;boundary=b"} {
		m := clean(nat.Outside)
		text := "ping 10.0.0.10, [fd00:10::10], %31%30.0.0.10 and http://pbx.example.internal/"
		if strings.HasPrefix(kind, "multipart/") {
			text = "--b\r\nContent-Type: text/plain\r\n\r\n" + text + "\r\n--b--\r\n"
		}
		typed(m, kind, text)
		if hits, ok := testGuard().Check(nat.Outside, m, broughtAddrs); hits != 0 || !ok || string(m.Body) != text {
			t.Errorf("%s: %d hits, ok %v, %s", kind, hits, ok, m.Body)
		}
	}
}

// TestBoundaryThatShows: it changes in the body as it does in the type.
func TestBoundaryThatShows(t *testing.T) {
	m := clean(nat.Outside)
	typed(m, `multipart/mixed;boundary="at_10.0.0.10"`, "--at_10.0.0.10\r\nContent-Type: text/plain\r\n\r\n10.0.0.10\r\n--at_10.0.0.10--\r\n")
	hits, ok := testGuard().Check(nat.Outside, m, nil)
	kind, _ := m.Get("Content-Type")
	want := "--at_198.51.100.5\r\nContent-Type: text/plain\r\n\r\n10.0.0.10\r\n--at_198.51.100.5--\r\n"
	if hits != 1 || !ok || kind != `multipart/mixed;boundary="at_198.51.100.5"` || string(m.Body) != want {
		t.Errorf("%d hits, ok %v, %s\n%s", hits, ok, kind, m.Body)
	}
}

// TestIDsOfOurs show no host. If one did, nothing could stand in its place.
func TestIDsOfOurs(t *testing.T) {
	for name, plant := range map[string]func(m *message.Message, s string){
		"Call-ID":              func(m *message.Message, s string) { m.CallID = s },
		"From tag":             func(m *message.Message, s string) { m.From.Tag = s },
		"branch":               func(m *message.Message, s string) { m.Via[0].Branch = s },
		"To tag of a response": func(m *message.Message, s string) { answerTo(m).To.Tag = s },
	} {
		for s, leaks := range map[string]bool{"x-10.0.0.10": true, "1700.10.0.0.2": true, "a%31%30.0.0.10": true, "10.0.0.100": false, "f3a9": false} {
			m := clean(nat.Outside)
			plant(m, s)
			if hits, ok := testGuard().Check(nat.Outside, m, nil); (hits == 1) != leaks || ok == leaks {
				t.Errorf("%s %s: %d hits, ok %v", name, s, hits, ok)
			}
		}
	}
	m := clean(nat.Outside)
	m.Add("X-Node-10.0.0.10", "1")
	if hits, ok := testGuard().Check(nat.Outside, m, nil); hits != 1 || !ok || strings.Contains(m.String(), "X-Node") {
		t.Errorf("name of a field: %d hits, ok %v\n%s", hits, ok, m)
	}
}
