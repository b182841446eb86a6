package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// socketName is the socket's name in a directory of ours.
const socketName = "sbc.sock"

// dialTimeout bounds the connect; a socket of this machine answers at once or not at all.
const dialTimeout = 2 * time.Second

// Places lists where the socket may be, best first: the one named, else the one in SBC_SOCKET, else in
// $RUNTIME_DIRECTORY (systemd), /run/sbc and $XDG_RUNTIME_DIR.
func Places(named string, getenv func(string) string) []string {
	if named != "" {
		return []string{named}
	}
	if path := getenv("SBC_SOCKET"); path != "" {
		return []string{path}
	}
	var out []string
	// systemd joins several directories with colons; the first is ours.
	if dir, _, _ := strings.Cut(getenv("RUNTIME_DIRECTORY"), ":"); dir != "" {
		out = append(out, filepath.Join(dir, socketName))
	}
	if len(out) == 0 || filepath.Dir(out[0]) != "/run/sbc" {
		out = append(out, filepath.Join("/run/sbc", socketName))
	}
	if dir := getenv("XDG_RUNTIME_DIR"); dir != "" {
		out = append(out, filepath.Join(dir, socketName))
	}
	return out
}

// InUseError says that another instance listens already: the program must not start.
type InUseError struct{ Path string }

// Error says what to do.
func (e *InUseError) Error() string {
	return fmt.Sprintf("another sbc answers at %s\n  hint: stop it, or give this one a socket of its own with --socket", e.Path)
}

// Listen opens the socket at the first of the places that allows it. A missing directory is made (0750); a socket that
// nobody answers is removed. An *InUseError means another instance; after any other error the program may run without
// its socket, and should say so.
func Listen(ctx context.Context, places []string) (*net.UnixListener, error) {
	var errs []error
	for _, path := range places {
		l, err := listenAt(ctx, path)
		if err == nil {
			return l, nil
		}
		if _, ok := errors.AsType[*InUseError](err); ok {
			return nil, err
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func listenAt(ctx context.Context, path string) (*net.UnixListener, error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("admin socket: %w\n  hint: make %s for the user that runs sbc, or name another place with --socket", err, dir)
	}
	if err := removeStale(ctx, path); err != nil {
		return nil, err
	}
	// The mode is set on the unbound socket, so that it never stands there with a wider one (unix(7)); the umask can only
	// take from it. Where the kernel refuses, the Chmod below does it a moment later.
	mode := func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = unix.Fchmod(int(fd), 0o660) })
	}
	l, err := (&net.ListenConfig{Control: mode}).Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("admin socket: %w\n  hint: name another place with --socket", err)
	}
	if err := os.Chmod(path, 0o660); err != nil {
		return nil, errors.Join(fmt.Errorf("admin socket: %w", err), l.Close())
	}
	return l.(*net.UnixListener), nil
}

// removeStale removes a socket that a dead instance left behind, and nothing else.
func removeStale(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("admin socket: %w", err)
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("admin socket: %s is no socket\n  hint: name another place with --socket, or remove it", path)
	}
	c, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "unix", path)
	if err == nil {
		_ = c.Close()
		return &InUseError{Path: path}
	}
	// Only a refused connection proves that nobody listens: a full backlog or a missing right proves the contrary.
	if !errors.Is(err, unix.ECONNREFUSED) {
		return &InUseError{Path: path}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("admin socket: %w\n  hint: remove it, or name another place with --socket", err)
	}
	return nil
}

// peerOf asks the kernel who opened a connection.
func peerOf(c net.Conn) (*unix.Ucred, error) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return nil, errors.New("not a unix socket")
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *unix.Ucred
	outer := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	return cred, errors.Join(outer, err)
}

func isTimeout(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)
}
