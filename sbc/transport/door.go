package transport

import (
	"errors"
	"hash/maphash"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"go.uber.org/zap"

	"sallyport/nat"
)

// door is what all transports have of an open interface.
type door struct {
	*Config
	face  nat.Interface
	count sums
	tags  maphash.Seed // of the To tags of stateless answers

	closing chan struct{}
	done    sync.WaitGroup

	failing int // errors of the socket in a row; of its reader alone

	mu     sync.Mutex
	warned time.Time // when the last fault was logged
}

func newDoor(c *Config, face nat.Interface) *door {
	return &door{Config: c, face: face, tags: maphash.MakeSeed(), closing: make(chan struct{})}
}

func (d *door) about() *door { return d }

// closed reports whether the interface is being closed.
func (d *door) closed() bool {
	select {
	case <-d.closing:
		return true
	default:
		return false
	}
}

// survive deals with an error of the socket. It reports false when the interface is closed.
func (d *door) survive(text string, err error) bool {
	if errors.Is(err, net.ErrClosed) && d.closed() {
		return false
	} // somebody else closed it: said below, and waited for our own close
	d.count.readErrors.Add(1)
	d.fault(text, zap.Error(err))
	// An error that stays must not turn the loop into a spin.
	d.failing++
	pause := time.NewTimer(min(time.Millisecond<<min(d.failing, 10), time.Second))
	defer pause.Stop()
	select {
	case <-d.closing:
		return false
	case <-pause.C:
		return true
	}
}

// unreachable tells that nothing arrives by a flow.
func (d *door) unreachable(f nat.Flow) {
	defer d.recovered()
	d.Handler.Unreachable(f)
}

// recovered keeps a reader alive after a panic: the message is lost, the fault is logged without its bytes.
func (d *door) recovered() {
	if p := recover(); p != nil {
		d.count.panics.Add(1)
		d.fault("internal error while handling a message", zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
	}
}

// fault logs at most once a minute: whoever can cause it once can cause it a million times.
func (d *door) fault(text string, fields ...zap.Field) {
	now := d.Now()
	d.mu.Lock()
	due := d.warned.IsZero() || now.Sub(d.warned) >= time.Minute
	if due {
		d.warned = now
	}
	d.mu.Unlock()
	if due {
		d.Log.Error(text, append(fields, zap.Stringer("side", d.face.Side), zap.Stringer("realm", d.face.Realm))...)
	}
}
