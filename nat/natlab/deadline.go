package natlab

import (
	"sync"
	"time"
)

// deadline is one of a socket's deadlines. Everything in it is guarded by the socket's lock.
type deadline struct {
	expired bool // it has passed: calls fail
	timer   *time.Timer
	epoch   int // tells a timer that it has been replaced
}

// set replaces the deadline; the zero time lifts it. wake runs under mu, which is held now as well, once it has passed.
func (d *deadline) set(mu sync.Locker, t time.Time, wake func()) {
	d.stop()
	if t.IsZero() {
		return
	}
	wait := time.Until(t)
	if wait <= 0 {
		d.expired = true
		wake()
		return
	}
	epoch := d.epoch
	d.timer = time.AfterFunc(wait, func() {
		mu.Lock()
		defer mu.Unlock()
		if d.epoch == epoch {
			d.expired = true
			wake()
		}
	})
}

// stop lifts the deadline.
func (d *deadline) stop() {
	d.epoch++
	d.expired = false
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}
