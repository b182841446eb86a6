//go:build interop

package interop

import (
	"context"
	_ "embed"
	le "encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

var web = flag.String("web", "", "folder of SIP.js, which make interop-web fetches; empty: no browser is tried")

//go:embed web_page.html
var webPage []byte

// browser is a telephone in a page of Chromium, led over its DevTools protocol.
type browser struct {
	*process
	extension
	conn net.Conn
	last int // number of the last command
}

// browser starts Chromium at a subscriber's home and opens the page there. Its microphone hears a tone.
func (w *world) browser(t *testing.T, x extension) *browser {
	t.Helper()
	page := w.listen(t, x.ns, "127.0.0.1:8080")
	files := http.NewServeMux()
	files.Handle("/sip.js/", http.StripPrefix("/sip.js/", http.FileServer(http.Dir(*web))))
	files.HandleFunc("/", func(out http.ResponseWriter, _ *http.Request) {
		out.Header().Set("Content-Type", "text/html")
		_, _ = out.Write(webPage)
	})
	go func() { _ = http.Serve(page, files) }()
	b := &browser{extension: x, process: w.start(t, x.ns, "chromium-"+x.user, "chromium", "--headless=new", "--no-sandbox", "--disable-gpu",
		"--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking", "--user-data-dir="+filepath.Join(w.dir, "chromium"),
		"--remote-debugging-port=9222", "--remote-allow-origins=*", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
		"--use-file-for-fake-audio-capture="+w.whistling(t), "--autoplay-policy=no-user-gesture-required", "--ignore-certificate-errors", "about:blank")}
	var tab string
	until(t, "Chromium can be led", 60*time.Second, func() bool {
		tab = w.newTab(t, x.ns)
		return tab != "" || b.ended()
	})
	if b.ended() {
		t.Fatalf("Chromium does not start\n%s", b.tail())
	}
	conn, err := w.dial(t, x.ns, "", "127.0.0.1:9222")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	u, err := url.Parse(tab)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := (ws.Dialer{}).Upgrade(conn, u); err != nil {
		t.Fatal(err)
	}
	b.conn = conn
	again := time.Now().Add(10 * time.Second)
	for end := time.Now().Add(40 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if ready, _ := b.value(t, "window.phone && phone.ready").(bool); ready {
			return b
		}
		if time.Now().After(again) { // one of its many files did not load
			again = again.Add(10 * time.Second)
			b.value(t, "location.reload()")
		}
		if time.Now().After(end) {
			t.Fatalf("the page is not ready: %v", b.value(t, `location.href + " " + document.readyState + " " + performance.getEntriesByType("resource").filter(e => e.responseStatus !== 200).map(e => e.name + " " + e.responseStatus).join(" ") + JSON.stringify(window.phone || null)`))
		}
	}
}

// newTab opens the page in a tab and returns where it is led, empty while Chromium is starting.
func (w *world) newTab(t *testing.T, ns string) string {
	t.Helper()
	conn, err := w.dial(t, ns, "", "127.0.0.1:9222")
	if err != nil {
		return ""
	}
	defer conn.Close()
	client := http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil }, DisableKeepAlives: true}}
	ask, _ := http.NewRequest(http.MethodPut, "http://127.0.0.1:9222/json/new?http://127.0.0.1:8080/", nil)
	answer, err := client.Do(ask)
	if err != nil {
		return ""
	}
	defer answer.Body.Close()
	var tab struct {
		Address string `json:"webSocketDebuggerUrl"`
	}
	text, _ := io.ReadAll(answer.Body)
	_ = json.Unmarshal(text, &tab)
	return tab.Address
}

// value is what an expression of the page comes to; promises are waited for.
func (b *browser) value(t *testing.T, expression string) any {
	t.Helper()
	b.last++
	ask, _ := json.Marshal(map[string]any{"id": b.last, "method": "Runtime.evaluate", "params": map[string]any{
		"expression": expression, "awaitPromise": true, "returnByValue": true,
	}})
	_ = b.conn.SetDeadline(time.Now().Add(30 * time.Second))
	if err := wsutil.WriteClientText(b.conn, ask); err != nil {
		t.Fatal(err)
	}
	for {
		text, err := wsutil.ReadServerText(b.conn)
		if err != nil {
			t.Fatalf("%s: %v\n%s", expression, err, b.tail())
		}
		var answer struct {
			ID     int `json:"id"`
			Result struct {
				Result    struct{ Value any }
				Exception *struct {
					Exception struct{ Description string }
				} `json:"exceptionDetails"`
			}
		}
		if err := json.Unmarshal(text, &answer); err != nil {
			t.Fatal(err)
		}
		switch {
		case answer.ID != b.last:
		case answer.Result.Exception != nil:
			t.Fatalf("%s: %s", expression, answer.Result.Exception.Exception.Description)
		default:
			return answer.Result.Result.Value
		}
	}
}

func (b *browser) number(t *testing.T, expression string) int {
	n, _ := b.value(t, expression).(float64)
	return int(n)
}

func (b *browser) reaches(t *testing.T, counter string, times int) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); b.number(t, counter) < times; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s is %d, want %d; errors of the page: %v", counter, b.number(t, counter), times, b.value(t, "phone.errors"))
		}
	}
}

// webTone is what the browser says, in Hz.
const webTone = 1200

// whistling writes the file that Chromium's microphone hears.
func (w *world) whistling(t *testing.T) string {
	t.Helper()
	const rate, seconds = 48000, 10
	b := []byte("RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00")
	b = le.LittleEndian.AppendUint32(b, rate)
	b = le.LittleEndian.AppendUint32(b, 2*rate)
	b = append(b, "\x02\x00\x10\x00data"...)
	b = le.LittleEndian.AppendUint32(b, 2*rate*seconds)
	for i := range rate * seconds {
		b = le.LittleEndian.AppendUint16(b, uint16(int16(sine(webTone*8000/rate, i))))
	}
	le.LittleEndian.PutUint32(b[4:], uint32(len(b)-8))
	path := filepath.Join(w.dir, "whistle.wav")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// webHeard are the figures of a call in the page.
type webHeard struct {
	Packets, Sent, Lost, Energy float64
	Reported                    bool
	DTLS, Role, SRTP, Lite      string
}

// calls are the figures of the page's calls.
func (b *browser) calls(t *testing.T) (list []webHeard) {
	t.Helper()
	text, _ := b.value(t, "JSON.stringify(phone.heard)").(string)
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatal(errors.Join(err, errors.New(text)))
	}
	return list
}

// TestWeb: a telephone in a browser (Chromium with SIP.js) behind a NAT, and a PBX inside that knows nothing of its ways. It
// registers over a secure WebSocket, calls, holds and resumes, restarts ICE, and is called; both hear each other, and nothing
// leaves the gate outside in the clear.
func TestWeb(t *testing.T) {
	if *web == "" {
		t.Skip("make interop-web tries a browser")
	}
	w := newHomes(t)
	w.pbx(t, node1)
	g := w.phoneGate(t, phoneSettings{unlimited: true, web: true})
	b := w.browser(t, cora)
	all := g.observe(t, 2, []string{cora.ns}, func() {
		b.value(t, fmt.Sprintf("phone.start('wss://%s/', '%s', '%s', '%s')", gateOutside, cora.user, cora.password(), domain))
		b.reaches(t, "phone.registered", 1)
		callee := w.deskAnswers(t, "callee-held")
		b.value(t, "phone.call('100')")
		b.reaches(t, "phone.established", 1)
		time.Sleep(2 * time.Second) // they talk
		b.value(t, "phone.ua.hold()")
		time.Sleep(500 * time.Millisecond)
		b.value(t, "phone.ua.unhold()")
		time.Sleep(500 * time.Millisecond)
		b.value(t, "phone.restart()") // no affair of the PBX, which would not expect it
		time.Sleep(2 * time.Second)
		b.value(t, "phone.ua.hangup()")
		w.verdict(t, callee)
		caller := w.sipp(t, agent{ns: nsInside, address: desk, scenario: "caller", number: cora.user, towards: node1 + ":5060"})
		b.reaches(t, "phone.established", 2)
		w.verdict(t, caller)
		time.Sleep(300 * time.Millisecond)
		b.value(t, "phone.quit()")
	})
	if list := b.calls(t); len(list) != 2 {
		t.Errorf("the page has had %d calls, want 2", len(list))
	} else {
		for i, c := range list {
			t.Logf("call %d in the page: %+v", i+1, c)
			if c.Packets < 40 || c.Sent < 40 || c.Energy < 0.01 || c.Lost > c.Packets/20 || c.DTLS != "connected" {
				t.Errorf("call %d is not as it should be", i+1)
			}
		}
	}
	if list, ok := b.value(t, "phone.errors").([]any); !ok || len(list) > 0 {
		t.Errorf("errors of the page: %v", list)
	}
	w.whistles(t, all)
	for _, r := range g.records(t) {
		outside := r["media"].([]any)[0].(map[string]any)["outside"].(map[string]any)
		if outside["srtp"] != "DTLS-SRTP" || outside["ice"] != true {
			t.Errorf("a record says of the leg outside: %v", outside)
		}
	}
	g.binds(t, 0)
	g.stop(t)
}

// relayPort reports whether an address is a port of the relay outside.
func relayPort(at netip.AddrPort) bool {
	return at.Addr().String() == gateOutside && at.Port() >= 30000 && at.Port() <= 31000
}

// whistles checks that the desk hears the browser's tone, and that nothing of what is heard inside can be seen outside.
func (w *world) whistles(t *testing.T, all []packet) {
	t.Helper()
	const header = 12
	clear := map[string]bool{}
	heard, silent := 0, 0
	for _, p := range choose(all, packet.rtp, on(nsInside)) {
		clear[string(p.payload[header:])] = true
		if p.own() {
			continue
		}
		var speech []float64
		for _, x := range p.payload[header:] {
			speech = append(speech, sampleOf(x))
		}
		if share(speech, webTone) > 0.9 {
			heard++
		} else {
			silent++
		}
	}
	secret := 0
	for _, p := range choose(all, packet.rtp, on(nsOutside)) {
		if !relayPort(p.src) && !relayPort(p.dst) {
			continue // the WebSocket, and names that Chromium asks for
		}
		secret++
		if len(p.payload) < header+160 || clear[string(p.payload[header:header+160])] {
			t.Errorf("in the clear outside: from %s to %s", p.src, p.dst)
		}
	}
	if heard < 100 || secret < 200 || silent > heard/2 {
		t.Errorf("%d packets of the browser's tone inside, %d of something else, %d protected outside", heard, silent, secret)
	}
	for _, p := range choose(all, packet.sip, on(nsInside)) {
		for _, word := range []string{"fingerprint", "candidate", "a=ice", "a=setup", "rtcp-mux", "a=mid", "BUNDLE", "ssrc", "extmap", "SAVP"} {
			if strings.Contains(string(p.payload), word) {
				t.Errorf("inside is seen %s: %s", word, p.start())
			}
		}
	}
	t.Logf("%d packets of the browser's tone inside, %d of something else, %d protected outside", heard, silent, secret)
}
