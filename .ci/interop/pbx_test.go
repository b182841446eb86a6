//go:build interop

package interop

import (
	_ "embed"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

//go:embed registrar.cfg
var registrarConfig []byte

// pbx starts Kamailio as a node of the PBX of the phones.
func (w *world) pbx(t *testing.T, address string, options ...string) *process {
	t.Helper()
	config := filepath.Join(w.dir, "registrar.cfg")
	if err := os.WriteFile(config, registrarConfig, 0o600); err != nil {
		t.Fatal(err)
	}
	home := filepath.Join(w.dir, "pbx-"+address)
	if err := os.MkdirAll(home, 0o755); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"kamailio", "-f", config, "-DD", "-E", "-m", "64", "-M", "8", "-P", filepath.Join(home, "pid"), "-Y", home,
		"-l", "udp:" + address + ":5060"}, options...)
	p := w.start(t, nsInside, "pbx-"+address, args...)
	until(t, "the PBX listens at "+address, 10*time.Second, func() bool { return p.ended() || bound(p.pid(), address+":5060") })
	if p.ended() {
		t.Fatalf("the PBX does not start\n%s", p.tail())
	}
	return p
}

// direct makes the node one where phones register without a gate between.
func direct(address string) []string {
	return []string{"-A", "DIRECT", "-l", "tcp:" + address + ":5060"}
}

// sippPhone is sipp as the phone of a subscriber.
type sippPhone struct {
	extension
	transport string // udp, tcp, tls
	scenario  string
	called    string   // the scenario of a call that comes in; empty: none does
	password  string   // empty: the right one
	peer      string   // whom it calls
	registrar string   // where it sends to
	more      []string // further arguments
}

// phone starts a phone that sipp plays. Over TLS it talks through a connection that the test keeps for it, as this sipp
// has no TLS.
func (w *world) phone(t *testing.T, s sippPhone) *process {
	t.Helper()
	name := s.scenario + "-" + s.user + "-" + s.transport
	mode, towards := "u1", s.registrar
	switch s.transport {
	case "tcp":
		mode = "t1"
	case "tls":
		mode, towards = "t1", w.tunnel(t, s.extension, s.registrar)
	}
	password := s.password
	if password == "" {
		password = s.extension.password()
	}
	args := []string{
		"sipp", "-sf", w.scenario(t, s.scenario), "-i", s.address, "-p", "5060", "-mi", s.address, "-s", s.user, "-t", mode,
		"-auth_uri", domain, "-key", "tp", strings.ToUpper(s.transport), "-key", "user", s.user, "-au", s.user, "-ap", password, "-key", "peer", s.peer,
		"-timeout_error", "-nostdin", "-max_retrans", "6", "-m", "1", "-timeout", "60s",
		"-trace_err", "-error_file", filepath.Join(w.dir, name+".errors"),
		"-trace_msg", "-message_file", filepath.Join(w.dir, name+".messages"),
	}
	if s.called != "" {
		args = append(args, "-oocsf", w.scenario(t, s.called))
	}
	args = append(append(args, s.more...), towards)
	return w.start(t, s.ns, name, args...)
}

// heard counts how often a sipp with a message file has heard a message that begins so.
func (w *world) heard(p *process, start, has string) (n int) {
	text, _ := os.ReadFile(filepath.Join(w.dir, p.name+".messages"))
	for _, m := range strings.Split(string(text), "-----------------------------------------------") {
		if strings.Contains(m, "message received") && strings.Contains(m, "\n"+start) && strings.Contains(m, has) {
			n++
		}
	}
	return n
}

// registered waits until a phone that sipp plays has been told its registration as many times.
func (w *world) registered(t *testing.T, p *process, times int) {
	t.Helper()
	until(t, p.name+" is registered", 10*time.Second, func() bool {
		return p.ended() || w.heard(p, "SIP/2.0 200", "REGISTER") >= times
	})
	if p.ended() {
		t.Fatalf("%s has ended, exit code %d\n%s%s", p.name, p.code, tail(filepath.Join(w.dir, p.name+".errors")), p.tail())
	}
}
