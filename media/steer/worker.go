//go:build linux

package steer

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"sallyport/media"
	"sallyport/media/thread"
)

// worker is the whole state of a thread.
type worker struct {
	thread.Thread
	layout media.Layout
	atlas  atlas
	bound  map[int]int // Backend.bound

	events   [4]unix.EpollEvent
	last     int       // datagrams of the last round
	intakes  [2]intake // by family
	exits    [2]exit   // by block
	sample   sampler
	stamping stamping
	refused  func(media.Verdict, []byte, unix.Errno)
	touched  int64                               // of no meaning: see media.Engine.Warm
	tone     [headroom + largest + tailroom]byte // what the engine makes itself
}

// newWorker makes the next worker of the crew. What it waits on is given back with the crew's, also where that fails.
func newWorker(b *Backend) (*worker, error) {
	w := &worker{layout: b.layout, atlas: newAtlas(b.layout), bound: b.bound}
	for i := range w.intakes {
		w.intakes[i].fd, w.exits[i].far.fd, w.exits[i].near.fd = -1, -1, -1
	}
	w.refused = w.refuse
	if err := b.crew.Enlist(&w.Thread, w); err != nil {
		return w, fmt.Errorf("media/steer: %w", err)
	}
	known := networks()
	for block := range b.layout.Blocks {
		if err := w.openExit(block, known); err != nil {
			return w, err
		}
	}
	return w, nil
}

// admit steers a pair to the worker's intake of its family, which the first pair opens.
func (w *worker) admit(pair int, s *steering) error {
	at, family := w.layout.Local(pair*2), 0
	if at.Addr().Is6() {
		family = 1
	}
	place := w.Number*len(w.intakes) + family
	if in := &w.intakes[family]; in.fd < 0 {
		fd, err := openIntake(at, w.layout)
		if err != nil {
			return err
		}
		in.fd, in.v6, w.bound[pair*2] = fd, family == 1, fd
		in.prepare()
		if err := errors.Join(w.watch(fd, int32(family)), s.socket(place, fd)); err != nil {
			return err
		}
	}
	return s.lead(pair, place)
}

func (w *worker) openExit(block int, known []netip.Prefix) error {
	a, e := w.layout.Addresses[block], &w.exits[block]
	e.vicinity = vicinityOf(a, known)
	for _, o := range []*outlet{&e.far, &e.near} {
		near := o == &e.near
		if near && !e.vicinity.known {
			break
		}
		fd, err := openOutlet(a, w.layout, near)
		if err != nil {
			return err
		}
		o.fd = fd
		o.prepare(a, w.layout.DSCP, hops(fd, a.Is6()), near)
	}
	return nil
}

func (w *worker) watch(fd int, index int32) error {
	if err := w.Watch(fd, index, 0); err != nil {
		return fmt.Errorf("media/steer: %w", err)
	}
	return nil
}

// shut closes every socket. The thread has ended, or never began.
func (w *worker) shut() {
	for _, fd := range []int{
		w.intakes[0].fd, w.intakes[1].fd, w.exits[0].far.fd, w.exits[0].near.fd, w.exits[1].far.fd, w.exits[1].near.fd,
	} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

// Resume implements thread.Work: what a batch left behind on which the engine failed is sent, so that its buffers may be used
// again.
func (w *worker) Resume() { w.flush() }

// Applied implements thread.Work.
func (w *worker) Applied([]media.Command) {}

// Carry implements thread.Work.
func (w *worker) Carry(now int64) {
	w.last = 0
	for i := range w.intakes {
		if in := &w.intakes[i]; in.pending() {
			w.relay(now, in)
			w.last += in.n
		}
	}
	if w.stamping.count(now, w.last) && w.stamping.turn(now) {
		w.stamp()
	}
}

// Wait implements thread.Work. While batches are full there is no need to ask.
func (w *worker) Wait() {
	switch {
	case w.intakes[0].pending() || w.intakes[1].pending():
		w.look()
	case w.Patient && w.last > 0 && w.last < batch:
		w.Sleep()
		// Whoever has packets had some a moment ago: to look is cheaper than to ask where. If nobody has any, the next
		// wait asks.
		for i := range w.intakes {
			w.intakes[i].ready = w.intakes[i].fd >= 0
		}
	default:
		w.mark(w.Await(w.events[:]))
	}
}

// look asks the kernel which sockets have something, without waiting.
func (w *worker) look() { w.mark(w.Look(w.events[:])) }

// mark notes what a wait has come to.
func (w *worker) mark(n int) {
	for i := range n {
		if index := w.events[i].Fd; index >= 0 { // else a ring
			w.intakes[index].ready = true
		}
	}
}

// relay judges a batch of datagrams and sends on what is accepted. A batch that the engine failed in the middle of is
// gone on with.
func (w *worker) relay(now int64, in *intake) {
	if in.next >= in.n {
		in.receive()
	}
	w.warm(in)
	for in.next < in.n {
		i := in.next
		in.next++
		w.judge(now, in, i)
	}
	w.flush()
	w.sample.sent(w.Engine, w.Number)
}

// warm has the processor fetch what the datagrams of a batch are going to need.
func (w *worker) warm(in *intake) {
	for i := in.next; i < in.n; i++ {
		if leg, ok := w.atlas.leg(in.destination(i)); ok {
			_, touched := w.Engine.Warm(leg)
			w.touched += touched
		}
	}
}

// flush sends what is queued.
func (w *worker) flush() {
	for block := range w.exits {
		e := &w.exits[block]
		if e.far.n > 0 {
			e.far.flush(w.refused)
		}
		if e.near.n > 0 {
			e.near.flush(w.refused)
		}
	}
}

// judge asks the engine about one datagram.
func (w *worker) judge(now int64, in *intake, i int) {
	leg, ok := w.atlas.leg(in.destination(i))
	if !ok {
		return // no address of ours: nobody steers such a datagram here
	}
	payload := in.payload(i)
	v := w.Engine.Packet(now, leg, in.source(i), payload)
	if v.Why != media.Accepted {
		return
	}
	block, port := w.atlas.place(int(v.Out))
	o := w.exits[block].to(v.To)
	if v.To.Is4() == o.v6 {
		w.Engine.Unsent(v) // of the other family: no packet of ours can go there
		return
	}
	o.put(v, port, &in.buf[i], len(v.Data))
	w.sample.take(in, i)
}

// Send implements thread.Work. What becomes of the packet, refuse is told.
func (w *worker) Send(v media.Verdict) bool {
	block, port := w.atlas.place(int(v.Out))
	o := w.exits[block].to(v.To)
	if v.To.Is4() == o.v6 || len(v.Data) > largest+tailroom {
		return false
	}
	o.put(v, port, &w.tone, copy(w.tone[headroom:], v.Data))
	o.flush(w.refused) // its buffer is used again for the next one
	return true
}

// refuse is told of a datagram that the kernel did not take.
func (w *worker) refuse(v media.Verdict, payload []byte, why unix.Errno) {
	if why == unix.EMSGSIZE && w.sendLarge(v, payload) == nil {
		return
	}
	w.Engine.Unsent(v)
}

func (w *worker) sendLarge(v media.Verdict, payload []byte) error {
	fd, ok := w.bound[int(v.Out)] // a port that has a socket
	if !ok {
		fd = -1
	}
	return large(w.layout.Local(int(v.Out)), fd, w.layout.DSCP, v.To, payload)
}
