package api

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPlaces(t *testing.T) {
	for _, c := range []struct {
		named string
		env   map[string]string
		want  []string
	}{
		{"/x.sock", map[string]string{"SBC_SOCKET": "/y.sock"}, []string{"/x.sock"}},
		{"", map[string]string{"SBC_SOCKET": "/y.sock", "RUNTIME_DIRECTORY": "/run/sbc"}, []string{"/y.sock"}},
		{"", nil, []string{"/run/sbc/sbc.sock"}},
		{"", map[string]string{"RUNTIME_DIRECTORY": "/run/sbc"}, []string{"/run/sbc/sbc.sock"}},
		{"", map[string]string{"RUNTIME_DIRECTORY": "/run/b:/run/c", "XDG_RUNTIME_DIR": "/run/user/7"},
			[]string{"/run/b/sbc.sock", "/run/sbc/sbc.sock", "/run/user/7/sbc.sock"}},
	} {
		if got := Places(c.named, func(k string) string { return c.env[k] }); !slices.Equal(got, c.want) {
			t.Errorf("%q %v: %v, want %v", c.named, c.env, got, c.want)
		}
	}
}

func listenOrFail(t *testing.T, path string) *net.UnixListener {
	t.Helper()
	l, err := Listen(t.Context(), []string{path})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestSocketAndDirectoryAreMade(t *testing.T) {
	old := unix.Umask(0o027)
	defer unix.Umask(old)
	path := filepath.Join(t.TempDir(), "run", "sbc", socketName)
	l := listenOrFail(t, path)
	for what, want := range map[string]fs.FileMode{
		path: fs.ModeSocket | 0o660, filepath.Dir(path): fs.ModeDir | 0o750,
	} {
		if info, err := os.Stat(what); err != nil || info.Mode() != want {
			t.Errorf("%s: %v %v, want %v", what, info.Mode(), err, want)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket stays after Close: %v", err)
	}
}

func TestStaleSocketIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), socketName)
	dead := listenOrFail(t, path)
	dead.SetUnlinkOnClose(false) // as after a crash
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
	if err := listenOrFail(t, path).Close(); err != nil {
		t.Fatal(err)
	}
}

func TestLiveSocketIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), socketName)
	live := listenOrFail(t, path)
	defer live.Close()
	// Another place further down must not be taken: two instances would run.
	_, err := Listen(t.Context(), []string{path, path + ".other"})
	if _, ok := errors.AsType[*InUseError](err); !ok || !strings.Contains(err.Error(), "hint: stop it") {
		t.Fatalf("%v", err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the live socket is gone: %v", err)
	}
}

func TestOtherFilesAreLeftAlone(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, link, dir} {
		if _, err := Listen(t.Context(), []string{path}); err == nil || !strings.Contains(err.Error(), "is no socket") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != "precious" {
		t.Error("the file was touched")
	}
}

func TestNextPlaceIsTaken(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	bad, good := filepath.Join(file, "below", socketName), filepath.Join(dir, "good", socketName)
	l, err := Listen(t.Context(), []string{bad, good})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if l.Addr().String() != good {
		t.Errorf("listens at %s", l.Addr())
	}
	_, err = Listen(t.Context(), []string{bad})
	if err == nil || !strings.Contains(err.Error(), "hint: make "+filepath.Dir(bad)) {
		t.Errorf("%v", err)
	}
	if _, err := Listen(t.Context(), []string{filepath.Join(dir, strings.Repeat("x", 120))}); err == nil {
		t.Error("a path that no kernel takes was taken")
	}
}

func TestDialSaysWhoIsMissing(t *testing.T) {
	dir := t.TempDir()
	dead := filepath.Join(dir, "dead.sock")
	l := listenOrFail(t, dead)
	l.SetUnlinkOnClose(false)
	_ = l.Close()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, places := range [][]string{{filepath.Join(dir, "none.sock")}, {dead}, {filepath.Join(file, "below")}, {dead, dir + "/none"}} {
		_, err := Dial(t.Context(), places)
		want := "no sbc answers at " + strings.Join(places, " or ") + ": is it running?\n  hint: start it with sbc run"
		if _, ok := errors.AsType[*NotRunningError](err); !ok || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v: %v", places, err)
		}
	}
	// Other instances have their sockets in directories below: they are named.
	for _, name := range []string{"phones", "trunks"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o750); err != nil {
			t.Fatal(err)
		}
		l := listenOrFail(t, filepath.Join(dir, name, socketName))
		defer l.Close()
	}
	_, err := Dial(t.Context(), []string{filepath.Join(dir, socketName)})
	for _, want := range []string{"journalctl -u sbc", "SBC_SOCKET=" + filepath.Join(dir, "phones", socketName), "SBC_SOCKET=" + filepath.Join(dir, "trunks", socketName)} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	live := listenOrFail(t, filepath.Join(dir, "live.sock"))
	c, err := Dial(t.Context(), []string{dead, live.Addr().String()})
	if err != nil || c.path != live.Addr().String() {
		t.Fatalf("%v", err)
	}
	_ = live.Close()
	_, err = c.Status(context.Background())
	if _, ok := errors.AsType[*NotRunningError](err); !ok {
		t.Errorf("after the end: %v", err)
	}
}

// TestKernelNamesThePeer: a connection of ours is told as ours.
func TestKernelNamesThePeer(t *testing.T) {
	l := listenOrFail(t, filepath.Join(t.TempDir(), socketName))
	defer l.Close()
	c, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if cred, err := peerOf(s); err != nil || int(cred.Uid) != os.Geteuid() || int(cred.Pid) != os.Getpid() {
		t.Errorf("%+v %v", cred, err)
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if _, err := peerOf(a); err == nil {
		t.Error("a pipe has a peer")
	}
	if got := uidOf(withPeer(context.Background(), a)); got != -1 {
		t.Errorf("uid %d", got)
	}
}
