//go:build interop

package interop

import (
	_ "embed"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

//go:embed provider.cfg
var providerConfig []byte

// carrier is a machine of a provider: Kamailio, as registrar and proxy.
type carrier struct {
	*process
	socket string
}

// What a provider does unless a case says otherwise: the name in which it challenges, and for how long it registers.
var carrierDefaults = []string{"-A", `REALM="sip.example.net"`, "-A", "GRANTS=600"}

// carrier starts a machine of a provider; options are kamailio's.
func (w *world) carrier(t *testing.T, address string, options ...string) *carrier {
	t.Helper()
	if missing := lacking([]string{"kamailio", "kamcmd", "nft"}); missing != "" {
		t.Fatalf("%s is missing: make interop installs it", missing)
	}
	config := filepath.Join(w.dir, "provider.cfg")
	if err := os.WriteFile(config, providerConfig, 0o600); err != nil {
		t.Fatal(err)
	}
	house := filepath.Join(w.dir, "carrier-"+address)
	if err := os.MkdirAll(house, 0o755); err != nil {
		t.Fatal(err)
	}
	c := &carrier{socket: "unix:" + filepath.Join(house, "ctl")}
	args := append([]string{"kamailio", "-f", config, "-DD", "-E", "-m", "64", "-M", "8", "-P", filepath.Join(house, "pid"), "-Y", house,
		"-l", "udp:" + address + ":5060", "-A", `CTL="` + c.socket + `"`}, options...)
	if len(options) == 0 {
		args = append(args, carrierDefaults...)
	}
	c.process = w.start(t, nsOutside, "carrier-"+address, args...)
	until(t, "the provider listens at "+address, 10*time.Second, func() bool { return c.ended() || bound(c.pid(), address+":5060") })
	if c.ended() {
		t.Fatalf("the provider does not start\n%s", c.tail())
	}
	return c
}

var bindingOf = regexp.MustCompile(`(?m)^\s*Address: (\S+)`)

// dies ends the machine at once, its children too.
func (c *carrier) dies() {
	_ = syscall.Kill(-c.pid(), syscall.SIGKILL)
	<-c.done
}

// bindings are the Contacts that are registered there; nil where it does not say.
func (c *carrier) bindings() (list []string) {
	out, err := exec.Command("kamcmd", "-s", c.socket, "ul.dump").Output()
	if err != nil {
		return nil
	}
	list = []string{}
	for _, m := range bindingOf.FindAllStringSubmatch(string(out), -1) {
		list = append(list, m[1])
	}
	return list
}

// only waits until one Contact is registered there, and it is one that satisfies.
func (c *carrier) only(t *testing.T, what string, limit time.Duration, satisfies func(string) bool) (contact string) {
	t.Helper()
	var list []string
	for end := time.Now().Add(limit); time.Now().Before(end) && !c.ended(); time.Sleep(50 * time.Millisecond) {
		if list = c.bindings(); len(list) == 1 && satisfies(list[0]) {
			return list[0]
		}
	}
	t.Fatalf("%s: not within %v; the provider has %q\n%s", what, limit, list, c.tail())
	return ""
}

func at(address string) func(string) bool {
	return func(contact string) bool { return strings.Contains(contact, "@"+address+":") }
}

// reaches has a telephone call another one by a URI: they hear each other, and one of them hangs up.
func (x seat) reaches(t *testing.T, to seat, uri string) {
	t.Helper()
	x.connects(t, to, uri)
	talking(t, x, to)
	leaves(t, x, to)
	x.clear()
	to.clear()
}
