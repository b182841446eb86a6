//go:build linux

package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sallyport/media"
	"sallyport/media/epoll"
)

// ServeOptions are what a media process is told at its start. The ports it learns from whoever greets it.
type ServeOptions struct {
	Socket string
	Build  string
	// Follow ends the process once signalling is gone and no call is left, or when nobody can reach its socket any more.
	Follow bool
	// Backend makes what carries the datagrams, publishing on a board that makeBoard lays out; nil: epoll.
	Backend func(makeBoard MakeBoard) Carrier
	// Say takes what goes into the log; nil: nobody.
	Say func(text string)
}

// MakeBoard lays out the board of a layout; base is the zero of the engine's clock.
type MakeBoard = func(layout media.Layout, base time.Time) (*media.Board, error)

// Carrier is a back end in its own process. Settle returns when every command posted before has been carried out.
type Carrier interface {
	media.Backend
	fmt.Stringer
	Settle()
}

// overEpoll is the carrier that needs no privilege.
func overEpoll(makeBoard MakeBoard) Carrier {
	return epoll.New(epoll.Options{Process: true, Board: makeBoard})
}

// memoryLimit makes the collector run where tidy never comes to it: protected calls leave keys behind, and these may follow
// one another without a pause.
const memoryLimit = 256 << 20

// preemption is the setting that only the environment of a new process can carry.
const preemption = "asyncpreemptoff=1"

// Become turns this process into one that does nothing but media: signals do not interrupt its waits, which takes a new
// start of the same program, the collector is off, and a log that nobody reads does not end it.
func Become() error {
	settings := os.Getenv("GODEBUG")
	if !strings.Contains(settings, preemption) {
		if settings != "" {
			settings += ","
		}
		if err := os.Setenv("GODEBUG", settings+preemption); err != nil {
			return fmt.Errorf("media/process: %w", err)
		}
		program, err := os.Executable()
		if err != nil {
			return fmt.Errorf("media/process: own program: %w", err)
		}
		return fmt.Errorf("media/process: starting anew: %w", unix.Exec(program, os.Args, os.Environ()))
	}
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(memoryLimit)
	signal.Ignore(syscall.SIGPIPE, syscall.SIGHUP)
	return nil
}

// Serve relays for whoever greets it on the socket, until ctx is done or, following, nobody needs it any more. The
// process is to Become one of media before; Serve takes the processors for its workers.
func Serve(ctx context.Context, o ServeOptions) error {
	if o.Backend == nil {
		o.Backend = overEpoll
	}
	l, err := listen(ctx, o.Socket)
	if err != nil {
		return err
	}
	s := &server{options: o, listener: l, ended: make(chan struct{}), left: make(chan struct{}, 1), news: make(chan struct{}, 1)}
	if s.inode, err = inodeOf(o.Socket); err != nil {
		return errors.Join(fmt.Errorf("media/process: %w", err), l.Close())
	}
	var working sync.WaitGroup
	working.Go(func() { s.accept(&working) })
	notifyReady()
	s.watch(ctx)
	close(s.ended)
	err = l.Close()
	s.hangUp()
	working.Wait()
	if current, statErr := inodeOf(o.Socket); statErr == nil && current == s.inode {
		_ = os.Remove(o.Socket)
	}
	return errors.Join(err, s.closeRelay())
}

// listen opens the socket. A socket that nobody answers is removed.
func listen(ctx context.Context, path string) (*net.UnixListener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, fmt.Errorf("media/process: %w\n  hint: make the directory for the user that runs sbc", err)
	}
	c, err := dial(ctx, path)
	switch {
	case err == nil:
		_ = c.Close()
		return nil, fmt.Errorf("media/process: another media process answers at %s\n  hint: stop it, or use another runtime directory", path)
	case errors.Is(err, unix.ECONNREFUSED): // only this proves that nobody listens
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("media/process: %w", err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("media/process: %s is in the way: %w", path, err)
	}
	// The mode is set on the unbound socket, so that it never stands there with a wider one (unix(7)).
	control := func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = unix.Fchmod(int(fd), 0o600) })
	}
	l, err := (&net.ListenConfig{Control: control}).Listen(ctx, "unixpacket", path)
	if err != nil {
		return nil, fmt.Errorf("media/process: %w", err)
	}
	u := l.(*net.UnixListener)
	u.SetUnlinkOnClose(false) // the path may be somebody else's by then
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("media/process: %w", err), l.Close())
	}
	return u, nil
}

func dial(ctx context.Context, path string) (*net.UnixConn, error) {
	c, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unixpacket", path)
	if err != nil {
		return nil, err
	}
	return c.(*net.UnixConn), nil
}

func inodeOf(path string) (uint64, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return 0, err
	}
	return info.Sys().(*syscall.Stat_t).Ino, nil
}

// sameUser asks the kernel who opened a connection: nobody but this user is heard, not even the superuser, who can become
// this user if he means to.
func sameUser(c *net.UnixConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return err
	}
	if credErr != nil {
		return credErr
	}
	if int(cred.Uid) != os.Geteuid() {
		return fmt.Errorf("process %d belongs to user %d, this one to %d: run both as one user", cred.Pid, cred.Uid, os.Geteuid())
	}
	return nil
}

// notifyReady tells systemd, where it started us, that the socket is there (sd_notify(3)).
func notifyReady() {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return
	}
	c, err := net.Dial("unixgram", name)
	if err != nil {
		return // it will say itself that it was not told
	}
	_, _ = c.Write([]byte("READY=1"))
	_ = c.Close()
}

// processors gives each worker one, which its raw waits keep, and the rest of the program one more.
func processors(workers int) { runtime.GOMAXPROCS(workers + 1) }
