//go:build linux

package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sallyport/media"
)

// link is a greeted connection to a media process.
type link struct {
	conn    *net.UnixConn
	welcome welcome
	board   *media.Board
	region  []byte
	once    sync.Once
}

func (l *link) hangUp() { l.once.Do(func() { _ = l.conn.Close() }) }

const (
	answerWithin = 5 * time.Second // opening a wide range takes a moment
	startWithin  = 5 * time.Second
	busyWithin   = 2 * time.Second // the process has not noticed yet that the one before us is gone
	outsideWait  = 3 * time.Second // for the service manager to start its process again
	tryEvery     = 20 * time.Millisecond
)

// reach greets the process that is there, or starts one. patience is how long one that this program did not start may
// be away.
func (b *Backend) reach(patience time.Duration) (*link, error) {
	l, err := b.greetPatiently()
	if err == nil {
		return l, nil
	}
	if !absent(err) {
		return nil, unreachable(err)
	}
	b.mu.Lock()
	own := b.own || b.started != nil
	b.mu.Unlock()
	if !own {
		for end := time.Now().Add(patience); absent(err) && time.Now().Before(end) && b.pause(tryEvery); {
			if l, err = b.greetPatiently(); err == nil {
				return l, nil
			}
		}
		if !absent(err) {
			return nil, unreachable(err)
		}
	}
	return b.start(err)
}

// unreachable is the error of a process that cannot be talked to; a refusal is an answer.
func unreachable(err error) error {
	if _, ok := errors.AsType[*RefusedError](err); ok {
		return err
	}
	return fmt.Errorf("media/process: %w to talk to: %w", ErrUnreachable, err)
}

// start starts a process and greets it.
func (b *Backend) start(why error) (*link, error) {
	if b.options.Program == "" {
		return nil, fmt.Errorf("media/process: %w answers at %s and none is to be started: %w", ErrUnreachable, b.options.Socket, why)
	}
	p, err := b.launch()
	if err != nil {
		return nil, fmt.Errorf("media/process: %w: %s cannot be started: %w", ErrUnreachable, b.options.Program, err)
	}
	b.mu.Lock()
	if b.started != nil {
		b.started.letGo()
	}
	b.started = p
	b.mu.Unlock()
	for end := time.Now().Add(startWithin); ; {
		l, err := b.greetPatiently()
		if err == nil {
			return l, nil
		}
		if !absent(err) {
			return nil, unreachable(err)
		}
		if exit, ended := p.ended(); ended {
			return nil, fmt.Errorf("media/process: %w: the one that was started ended at once (%s): %s", ErrUnreachable, exit, p.lastWords())
		}
		if !time.Now().Before(end) || !b.pause(tryEvery) {
			return nil, fmt.Errorf("media/process: %w: the one that was started does not answer at %s: %w", ErrUnreachable, b.options.Socket, err)
		}
	}
}

// pause waits a moment. It reports false once the back end is closed.
func (b *Backend) pause(d time.Duration) bool {
	select {
	case <-b.ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// absent reports whether an error says that nobody is there.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, errGone)
}

// errGone says that somebody was there, and ended before he had answered.
var errGone = errors.New("it ended before it had answered")

// greetPatiently greets; for a process that serves the one before us, or whose predecessor has not given the ports back
// yet, it takes some tries.
func (b *Backend) greetPatiently() (l *link, err error) {
	for end := time.Now().Add(busyWithin); ; {
		l, err = b.greet()
		refused, ok := errors.AsType[*RefusedError](err)
		passing := ok && (refused.cause == causeBusy || refused.cause == causePorts && refused.errno == unix.EADDRINUSE)
		if !passing || !time.Now().Before(end) || !b.pause(tryEvery) {
			return l, err
		}
	}
}

// greet connects and exchanges greetings.
func (b *Backend) greet() (*link, error) {
	ctx, cancel := context.WithTimeout(b.ctx, answerWithin)
	defer cancel()
	c, err := dial(ctx, b.options.Socket)
	if err != nil {
		return nil, err
	}
	l, err := b.exchange(c)
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return l, nil
}

func (b *Backend) exchange(c *net.UnixConn) (*link, error) {
	if err := sameUser(c); err != nil {
		return nil, fmt.Errorf("media/process: who answers at %s is not us: %w", b.options.Socket, err)
	}
	_ = c.SetDeadline(time.Now().Add(answerWithin))
	b.mu.Lock()
	h := hello{protocol: protocol, board: media.BoardVersion, build: b.options.Build, layout: b.layout, certificate: b.certificate}
	b.mu.Unlock()
	if _, err := c.Write(h.datagram()); err != nil {
		return nil, gone(err)
	}
	buf, oob := make([]byte, maxDatagram), make([]byte, unix.CmsgSpace(4*4))
	n, oobn, _, _, err := c.ReadMsgUnix(buf, oob)
	if err != nil || n == 0 {
		return nil, gone(err)
	}
	fds := descriptors(oob[:oobn])
	if refused, err := decodeRefusal(buf[:n]); err == nil {
		closeAll(fds)
		return nil, refused
	}
	w, err := decodeWelcome(buf[:n])
	if err != nil || len(fds) != 1 {
		closeAll(fds)
		return nil, errDatagram
	}
	l := &link{conn: c, welcome: w}
	if l.board, l.region, err = viewTable(fds[0], b.layout); err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Time{})
	b.mu.Lock()
	b.certificate = w.certificate
	b.mu.Unlock()
	return l, nil
}

func gone(err error) error {
	if err == nil {
		return errGone
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return fmt.Errorf("media/process: the media process does not answer: %w", err)
	}
	return errors.Join(errGone, err)
}

// descriptors are those that came with a datagram.
func descriptors(oob []byte) (fds []int) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for i := range messages {
		if list, err := unix.ParseUnixRights(&messages[i]); err == nil {
			fds = append(fds, list...)
		}
	}
	return fds
}

func closeAll(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}
