//go:build linux

package steer

import (
	"bytes"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// spaceVariable says that this process has a network namespace of its own.
const spaceVariable = "SALLYPORT_STEER_SPACE"

// alone runs a test in a child process with a network namespace of its own, so that every thread of it is there. It
// reports false in the parent, where the test is over.
func alone(t *testing.T) bool {
	t.Helper()
	if os.Getenv(spaceVariable) != "" {
		run(t, "ip", "link", "set", "lo", "up")
		return true
	}
	need(t)
	for _, tool := range []string{"ip"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(err)
		}
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), spaceVariable+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	out, err := cmd.CombinedOutput()
	if err != nil && !bytes.Contains(out, []byte("--- ")) {
		t.Skipf("no namespace here: %v: %s", err, out)
	}
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

func run(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// far is a thread in a further network namespace, the peers' end of a cable.
type far struct{ work chan func() }

// The cable's ends.
const (
	relay4, relay4b = "10.99.0.1", "10.99.0.9"
	phone4, pbx4    = "10.99.0.2", "10.99.0.3"
	relay6, relay6b = "fd99::1", "fd99::9"
	phone6, pbx6    = "fd99::2", "fd99::3"
	beyond4         = "10.98.0.1" // behind a gateway, the phone
	beyond6         = "fd98::1"
)

// lay lays a cable of ordinary packet size from this process to a new namespace.
func lay(t *testing.T) *far {
	t.Helper()
	f := &far{work: make(chan func())}
	t.Cleanup(func() { close(f.work) })
	ready := make(chan error)
	var thread int
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		thread = unix.Gettid()
		ready <- unix.Unshare(unix.CLONE_NEWNET)
		for do := range f.work {
			do()
		}
	}()
	if err := <-ready; err != nil {
		t.Fatal(err)
	}
	run(t, "ip", "link", "add", "near", "mtu", "1500", "type", "veth", "peer", "name", "far", "mtu", "1500", "netns", strconv.Itoa(thread))
	for _, a := range []string{relay4 + "/24", relay4b + "/24", relay6 + "/64", relay6b + "/64"} {
		addAddress(t, a, "near")
	}
	run(t, "ip", "link", "set", "near", "up")
	f.do(func() {
		for _, a := range []string{phone4 + "/24", pbx4 + "/24", phone6 + "/64", pbx6 + "/64"} {
			addAddress(t, a, "far")
		}
		for _, a := range []string{beyond4 + "/32", beyond6 + "/128"} {
			addAddress(t, a, "lo")
		}
		run(t, "ip", "link", "set", "far", "up")
		run(t, "ip", "link", "set", "lo", "up")
	})
	run(t, "ip", "route", "add", beyond4, "via", phone4)
	run(t, "ip", "route", "add", beyond6, "via", phone6)
	return f
}

func addAddress(t *testing.T, prefix, device string) {
	t.Helper()
	args := []string{"ip", "addr", "add", prefix, "dev", device}
	if netip.MustParsePrefix(prefix).Addr().Is6() {
		args = append(args, "nodad")
	}
	run(t, args...)
}

// do runs something at the far end.
func (f *far) do(something func()) {
	done := make(chan struct{})
	f.work <- func() {
		defer close(done)
		something()
	}
	<-done
}
