//go:build linux

package process

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// started is a media process that this program has started. It has a session of its own: what ends us, or the terminal
// that we run in, does not end it.
type started struct {
	process *os.Process
	gone    chan struct{}
	exit    string // once gone
	log     *os.File

	mu   sync.Mutex
	last []string
}

// keptLines is how many of its last lines explain an early end.
const keptLines = 5

// launch starts the program. Its lines come through a pipe, since a log that is shared would keep whoever waits for the
// log's end waiting for the media process.
func (b *Backend) launch() (*started, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(b.options.Program, b.options.Arguments...)
	if b.options.Argv0 != "" {
		cmd.Args[0] = b.options.Argv0
	}
	cmd.Stderr = write
	cmd.Env = environment(os.Environ())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	_ = write.Close()
	if err != nil {
		_ = read.Close()
		return nil, err
	}
	p := &started{process: cmd.Process, gone: make(chan struct{}), log: read}
	b.hearing.Go(func() {
		p.hear(b.say)
		_ = read.Close()
	})
	go func() {
		// Not one of those that Close waits for: the process may outlive this one for the sake of its orphans.
		state, err := cmd.Process.Wait()
		if p.exit = fmt.Sprint(err); err == nil {
			p.exit = state.String()
		}
		close(p.gone)
	}()
	return p, nil
}

// environment is ours, without what the service manager meant for us alone, and with what a media process needs.
func environment(env []string) []string {
	env = slices.DeleteFunc(slices.Clone(env), func(s string) bool {
		name, _, _ := strings.Cut(s, "=")
		switch name {
		case "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "GOGC", "GOMEMLIMIT", "GOMAXPROCS":
			return true
		}
		return false
	})
	settings := os.Getenv("GODEBUG")
	if !strings.Contains(settings, preemption) {
		settings = strings.TrimPrefix(settings+","+preemption, ",")
	}
	return append(env, "GODEBUG="+settings)
}

// hear passes the process's lines on until it ends or is let go.
func (p *started) hear(say func(string, error)) {
	lines := bufio.NewScanner(p.log)
	for lines.Scan() {
		p.mu.Lock()
		if p.last = append(p.last, lines.Text()); len(p.last) > keptLines {
			p.last = p.last[1:]
		}
		p.mu.Unlock()
		say("media process: "+lines.Text(), nil)
	}
}

// ended reports whether the process has ended, and how.
func (p *started) ended() (exit string, ended bool) {
	select {
	case <-p.gone:
		return p.exit, true
	default:
		return "", false
	}
}

// lastWords are the process's last lines.
func (p *started) lastWords() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.last) == 0 {
		return "it said nothing"
	}
	return strings.Join(p.last, "; ")
}

// end ends a process that has nothing to do.
func (p *started) end() {
	_ = p.process.Signal(syscall.SIGTERM)
	p.await(endWithin)
}

// await waits for the end, but not for ever.
func (p *started) await(atMost time.Duration) {
	t := time.NewTimer(atMost)
	defer t.Stop()
	select {
	case <-p.gone:
	case <-t.C:
	}
}

// letGo stops hearing the process.
func (p *started) letGo() { _ = p.log.SetReadDeadline(time.Now()) }
