//go:build interop

package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// linphoneConfig is a telephone without IPv6, video and any codec but G.711, which verifies what it talks to.
const linphoneConfig = `[sip]
sip_port=5060
sip_tcp_port=5060
sip_tls_port=5061
bind_address=%[1]s
default_proxy=0
root_ca=%[2]s
verify_server_certs=1
verify_server_cn=1
guess_hostname=0
contact="%[3]s" <sip:%[3]s@%[1]s>
use_ipv6=0
media_encryption=none
inc_timeout=30
keepalive_period=10000
register_only_when_network_is_up=0
lime=0
[auth_info_0]
username=%[3]s
passwd=%[4]s
realm=example.com
domain=example.com
[proxy_0]
reg_proxy=<sip:%[5]s;transport=%[6]s>
reg_route=<sip:%[5]s;transport=%[6]s;lr>
reg_identity=sip:%[3]s@example.com
reg_expires=%[7]d
reg_sendregister=1
publish=0
[audio_codec_0]
mime=PCMU
rate=8000
channels=1
enabled=1
[rtp]
audio_rtp_port=17078
[net]
mtu=1300
stun_server=
firewall_policy=0
[video]
enabled=0
capture=0
display=0
`

// linphone is a telephone of that make, led over its console.
type linphone struct {
	*process
	extension
	console *os.File
	diary   string // its log
	wave    string // what it says
}

// linphone starts a telephone that answers every call and registers at registrar.
func (w *world) linphone(t *testing.T, x extension, transport, registrar string, expires int) *linphone {
	t.Helper()
	name := "linphone-" + x.user + "-" + transport
	dir := filepath.Join(w.dir, name)
	if err := os.MkdirAll(filepath.Join(dir, ".local", "share", "linphone"), 0o755); err != nil {
		t.Fatal(err)
	}
	config, fifo := filepath.Join(dir, "linphonerc"), filepath.Join(dir, "console")
	text := fmt.Sprintf(linphoneConfig, x.address, filepath.Join(w.dir, "ca.crt"), x.user, x.password(), registrar, transport, expires)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	console, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { console.Close() })
	p := w.start(t, x.ns, name, "env", "HOME="+dir, "sh", "-c",
		"exec linphonec -S -a -d 5 -l "+filepath.Join(dir, "log")+" -c "+config+" <"+fifo)
	l := &linphone{p, x, console, filepath.Join(dir, "log"), w.wave(t)}
	l.do("soundcard use files " + l.wave)
	return l
}

// do gives a command.
func (l *linphone) do(command string) { fmt.Fprintln(l.console, command) }

// says waits until a file of its output has a text as many times.
func (l *linphone) says(t *testing.T, file, what string, times int, limit time.Duration) {
	t.Helper()
	for end := time.Now().Add(limit); ; time.Sleep(20 * time.Millisecond) {
		text, _ := os.ReadFile(file)
		n := strings.Count(string(text), what)
		if n >= times {
			return
		}
		if l.ended() || time.Now().After(end) {
			t.Fatalf("%s: %d times %q, want %d within %v\n%s", l.name, n, what, times, limit, l.tail())
		}
	}
}

func (l *linphone) subscriber() extension { return l.extension }
func (l *linphone) call(number string)    { l.do("call sip:" + number + "@" + domain) }
func (l *linphone) speak()                { l.do("play " + l.wave) }
func (l *linphone) hold()                 { l.do("pause") }
func (l *linphone) resume()               { l.do("resume") }
func (l *linphone) hangUp()               { l.do("terminate") }

const linphoneRegistered = "Register refresher [200]"

func (l *linphone) registrations() int {
	text, _ := os.ReadFile(l.diary)
	return strings.Count(string(text), linphoneRegistered)
}

func (l *linphone) registers(t *testing.T, times int) {
	t.Helper()
	l.says(t, l.diary, linphoneRegistered, times, 15*time.Second)
}

func (l *linphone) established(t *testing.T, times int) {
	t.Helper()
	l.says(t, l.log, "connected.", times, 10*time.Second)
}

func (l *linphone) quit(t *testing.T) {
	t.Helper()
	l.do("quit")
	if _, err := l.wait(10 * time.Second); err != nil {
		t.Error(err)
	}
}

// linphoneCall is a line of its list of calls.
var linphoneCall = regexp.MustCompile(`(?m)^(\d+)\s*\|\s*sip`)

// output is what it has said on its console.
func (l *linphone) output() string {
	text, _ := os.ReadFile(l.log)
	return string(text)
}
