//go:build interop

package interop

import (
	"bufio"
	le "encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// baresipConfig has a telephone without sound card: it speaks from a file and listens into another.
const baresipConfig = `poll_method epoll
sip_listen %[1]s:5060
sip_certificate
sip_cafile %[3]s
net_interface %[2]s
rtp_ports 16000-16100
call_local_timeout 30
call_max_calls 4
audio_player aufile,%[4]s/heard.wav
audio_source aufile,%[5]s
audio_alert aufile,/dev/null
ausrc_srate 8000
auplay_srate 8000
ctrl_tcp_listen 127.0.0.1:4444
module_path /usr/lib/baresip/modules
module g711.so
module aufile.so
module srtp.so
module sndfile.so
snd_path %[4]s
module_app account.so
module_app menu.so
module_app ctrl_tcp.so
`

// baresipHandshakes are the modules of a telephone that has handshakes: one of them would take the place of another one's
// protection.
const baresipHandshakes = `module dtls_srtp.so
module ice.so
`

// baresip is a telephone of that make, led over its control port.
type baresip struct {
	*process
	extension
	mu     sync.Mutex
	events []map[string]any
	conn   io.Writer
}

// baresip starts a telephone that answers every call and registers at registrar with an expiry it asks for in seconds. more
// are further parameters of its account.
func (w *world) baresip(t *testing.T, x extension, transport, registrar string, expires int, more ...string) *baresip {
	t.Helper()
	name := "baresip-" + x.user + "-" + transport
	dir := filepath.Join(w.dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf(baresipConfig, x.address, x.ns, filepath.Join(w.dir, "ca.crt"), dir, w.wave(t))
	if strings.Contains(strings.Join(more, ""), "dtls_srtp") {
		config += baresipHandshakes
	}
	for file, text := range map[string]string{"config": config, "accounts": "", "contacts": ""} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b := &baresip{process: w.start(t, x.ns, name, "baresip", "-4", "-v", "-s", "-f", dir, "-p", "/nonexistent"), extension: x}
	until(t, name+" can be led", 10*time.Second, func() bool {
		conn, err := w.dial(t, x.ns, "", "127.0.0.1:4444")
		if err == nil {
			b.conn = conn
			go b.listen(conn)
			t.Cleanup(func() { conn.Close() })
		}
		return err == nil || b.ended()
	})
	if b.ended() {
		t.Fatalf("baresip does not start\n%s", b.tail())
	}
	b.do("uanew", fmt.Sprintf("<sip:%s;transport=%s>;auth_user=%s;auth_pass=%s;outbound=\"sip:%s;transport=%s\";regint=%d;answermode=auto;audio_codecs=PCMU/8000/1%s",
		x.aor(), transport, x.user, x.password(), registrar, transport, expires, strings.Join(more, "")))
	return b
}

// listen reads netstrings of JSON.
func (b *baresip) listen(conn io.Reader) {
	r := bufio.NewReader(conn)
	for {
		head, err := r.ReadString(':')
		if err != nil {
			return
		}
		n, _ := strconv.Atoi(head[:len(head)-1])
		text := make([]byte, n+1)
		if _, err := io.ReadFull(r, text); err != nil {
			return
		}
		var event map[string]any
		if json.Unmarshal(text[:n], &event) == nil {
			b.mu.Lock()
			b.events = append(b.events, event)
			b.mu.Unlock()
		}
	}
}

// do gives a command.
func (b *baresip) do(command, params string) {
	text, _ := json.Marshal(map[string]string{"command": command, "params": params})
	fmt.Fprintf(b.conn, "%d:%s,", len(text), text)
}

// seen counts the events of a kind.
func (b *baresip) seen(kind string) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.events {
		if e["type"] == kind {
			n++
		}
	}
	return n
}

// reaches waits until a kind of event has come as many times.
func (b *baresip) reaches(t *testing.T, kind string, times int, limit time.Duration) {
	t.Helper()
	for end := time.Now().Add(limit); b.seen(kind) < times; time.Sleep(10 * time.Millisecond) {
		if b.ended() || time.Now().After(end) {
			t.Fatalf("%s: %d %s, want %d within %v\n%s", b.name, b.seen(kind), kind, times, limit, b.tail())
		}
	}
}

// wave writes half a minute of G.711's sampling rate as a WAV file, a ramp, and returns its path.
func (w *world) wave(t *testing.T) string {
	t.Helper()
	const samples = 8000 * 30
	path := filepath.Join(w.dir, "ramp.wav")
	b := []byte("RIFF\x00\x00\x00\x00WAVEfmt ")
	b = le.LittleEndian.AppendUint32(b, 16)
	for _, v := range []uint16{1, 1} { // PCM, mono
		b = le.LittleEndian.AppendUint16(b, v)
	}
	b = le.LittleEndian.AppendUint32(b, 8000)
	b = le.LittleEndian.AppendUint32(b, 16000)
	for _, v := range []uint16{2, 16} {
		b = le.LittleEndian.AppendUint16(b, v)
	}
	b = append(b, "data"...)
	b = le.LittleEndian.AppendUint32(b, 2*samples)
	for i := range samples {
		b = le.LittleEndian.AppendUint16(b, uint16(i*37))
	}
	le.LittleEndian.PutUint32(b[4:], uint32(len(b)-8))
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (b *baresip) subscriber() extension { return b.extension }
func (b *baresip) call(number string)    { b.do("dial", "sip:"+number+"@"+domain) }
func (b *baresip) speak()                {}
func (b *baresip) hold()                 { b.do("hold", "") }
func (b *baresip) resume()               { b.do("resume", "") }
func (b *baresip) hangUp()               { b.do("hangup", "") }

func (b *baresip) registrations() int { return b.seen("REGISTER_OK") }

func (b *baresip) registers(t *testing.T, times int) {
	t.Helper()
	b.reaches(t, "REGISTER_OK", times, 15*time.Second)
}

func (b *baresip) established(t *testing.T, times int) {
	t.Helper()
	b.reaches(t, "CALL_ESTABLISHED", times, 10*time.Second)
}

func (b *baresip) quit(t *testing.T) {
	t.Helper()
	b.do("quit", "")
	if _, err := b.wait(10 * time.Second); err != nil {
		t.Error(err)
	}
}
