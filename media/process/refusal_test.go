//go:build linux

package process_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sallyport/media"
	"sallyport/media/process"
)

// serve is a media process within the test's own: its waits are not those of a process of its own, so calls go elsewhere.
func serve(t *testing.T, o process.ServeOptions) (said *lines, ended <-chan error) {
	t.Helper()
	said = &lines{}
	o.Say = func(text string) { said.say(text, nil) }
	ctx, stop := context.WithCancel(context.Background())
	done, c := make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(done)
		c <- process.Serve(ctx, o)
	}()
	t.Cleanup(func() {
		stop()
		<-done
	})
	until(t, "the socket", func() bool {
		conn, err := net.Dial("unixpacket", o.Socket)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return said, c
}

func TestSocketIsPrivate(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "media.sock")
	serve(t, process.ServeOptions{Socket: socket, Build: "test"})
	info, err := os.Stat(socket)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v %v", info.Mode(), err)
	}
	if err := process.Serve(t.Context(), process.ServeOptions{Socket: socket}); err == nil || !strings.Contains(err.Error(), "another media process answers") {
		t.Errorf("a second one: %v", err)
	}
}

// What lies at the socket's place is removed if it is a dead socket, and nothing else is.
func TestSocketInTheWay(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	dead := filepath.Join(dir, "dead")
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: dead, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close()
	serve(t, process.ServeOptions{Socket: dead})
	if err := process.Serve(t.Context(), process.ServeOptions{Socket: filepath.Join(file, "x")}); err == nil {
		t.Error("a file served as a directory")
	}
}

// Another user is not heard, whatever he may open.
func TestOtherUsersAreRefused(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can be somebody else")
	}
	dir := t.TempDir()
	for _, open := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(open, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	socket := filepath.Join(dir, "media.sock")
	said, _ := serve(t, process.ServeOptions{Socket: socket})
	if err := os.Chmod(socket, 0o666); err != nil {
		t.Fatal(err)
	}
	// The test binary may lie where the other user cannot read, so it is opened here and run from its descriptor.
	binary, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = binary.Close() }()
	cmd := exec.Command("/proc/self/fd/3", socket)
	cmd.ExtraFiles = []*os.File{binary}
	cmd.Dir = "/"
	cmd.Env = []string{roleVariable + "=knock"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "closed" {
		t.Fatalf("%s %v", out, err)
	}
	until(t, "a line in the log", func() bool { return strings.Contains(said.String(), "belongs to user 65534") })
}

// Whoever does not speak the protocol is let go, and calls do not notice.
func TestNonsenseIsRefused(t *testing.T) {
	o, _ := options(t, t.TempDir())
	b := process.New(o)
	p := plane(t, config(25000), b)
	c := setUp(t, p, 60)
	c.talk(t)
	for _, nonsense := range [][]byte{{}, {1}, {1, 0, 1, 0}, []byte("GET / HTTP/1.0\r\n\r\n"), make([]byte, 100), make([]byte, 60000)} {
		conn, err := net.Dial("unixpacket", o.Socket)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write(nonsense)
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second)) // a bound for failure
		if n, err := conn.Read(make([]byte, 100)); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%.20q: %d bytes, %v", nonsense, n, err)
		}
		_ = conn.Close()
	}
	c.talk(t)
	if s := b.State(); s.Lost != 0 {
		t.Errorf("state %+v", s)
	}
}

// A second gate is told that there is one; another range is refused while calls run, and opened once none does.
func TestRefusals(t *testing.T) {
	o, _ := options(t, t.TempDir())
	first := process.New(o)
	p := plane(t, config(25100), first)
	var refused *process.RefusedError
	_, err := media.New(config(25100), process.New(o), 1)
	if !errors.As(err, &refused) || refused.PID != first.State().PID || !strings.Contains(err.Error(), "another signalling process") {
		t.Fatalf("a second gate: %v", err)
	}
	_ = p.Close()

	// An address that this machine does not have: the kernel's error is told.
	bad := config(25100)
	bad.Addresses[0] = badAddress
	if _, err := media.New(bad, process.New(o), 1); !errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, process.ErrUnreachable) {
		t.Errorf("an address of another machine: %v", err)
	}
}

// Ports that another program holds are tried for a while; the log says so once.
func TestARefusalIsSaidOnce(t *testing.T) {
	cfg := config(25600)
	for _, a := range cfg.Addresses {
		for port := cfg.First; port <= cfg.Last; port++ {
			if c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, port))); err == nil {
				t.Cleanup(func() { _ = c.Close() })
			}
		}
	}
	socket := filepath.Join(t.TempDir(), "media.sock")
	said, _ := serve(t, process.ServeOptions{Socket: socket, Build: "test"})
	if _, err := media.New(cfg, process.New(process.Options{Socket: socket, Build: "test"}), 1); !errors.Is(err, syscall.EADDRINUSE) {
		t.Fatal(err)
	}
	if n := strings.Count(said.String(), "was refused"); n != 1 {
		t.Errorf("it says %d times that a greeting was refused:\n%s", n, said)
	}
}

func TestNobodyThere(t *testing.T) {
	dir := t.TempDir()
	o, _ := options(t, dir)
	for name, c := range map[string]struct {
		change func(*process.Options)
		says   string
	}{
		"none is to be started": {func(o *process.Options) { o.Program = "" }, "none is to be started"},
		"no such program":       {func(o *process.Options) { o.Program = filepath.Join(dir, "none") }, "cannot be started"},
		"one that ends":         {func(o *process.Options) { o.Program, o.Arguments = "/bin/sh", []string{"-c", "echo why >&2; exit 3"} }, "exit status 3): why"},
		"one that says nothing": {func(o *process.Options) { o.Program, o.Arguments = "/bin/true", nil }, "it said nothing"},
		"a name too long":       {func(o *process.Options) { o.Socket = filepath.Join(dir, strings.Repeat("x", 200)) }, "no media process"},
	} {
		bad := o
		c.change(&bad)
		b := process.New(bad)
		if _, err := media.New(config(25200), b, 1); !errors.Is(err, process.ErrUnreachable) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
		b.Post(media.Command{})
		if err := b.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A process that the service manager keeps is not ended by a goodbye, and its range may change once no call is left.
func TestStandingProcess(t *testing.T) {
	o, _ := options(t, t.TempDir())
	server := exec.Command(os.Args[0], o.Socket, "unit")
	server.Env = append(os.Environ(), roleVariable+"=unit")
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = server.Process.Signal(syscall.SIGTERM)
		if err := server.Wait(); err != nil {
			t.Errorf("told to end: %v", err)
		}
	}()
	o.Program = ""
	for _, first := range []uint16{25300, 25340} {
		var b *process.Backend
		var p *media.Plane
		until(t, "the process", func() bool {
			b = process.New(o)
			var err error
			p, err = media.New(config(first), b, 1)
			return err == nil
		})
		if s := b.State(); s.PID != server.Process.Pid || s.Started || s.Build != "unit" {
			t.Errorf("state %+v", s)
		}
		setUp(t, p, 62).talk(t)
		if first == 25340 {
			// It may be stopped for a moment: what is wanted waits, one state for each leg.
			_ = server.Process.Signal(syscall.SIGSTOP)
			id, _, err := p.Reserve(time.Now())
			if err != nil {
				t.Fatal(err)
			}
			for n := range uint32(20000) {
				w := wants(newPeerAt)
				w.Epoch, w.Clock = n, n
				if err := p.Point(id, 0, w); err != nil {
					t.Fatal(err)
				}
			}
			_ = server.Process.Signal(syscall.SIGCONT)
			if err := b.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
			if legs, _ := p.Stats(id); legs[0].Remote != newPeerAt {
				t.Errorf("%+v", legs[0])
			}
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
