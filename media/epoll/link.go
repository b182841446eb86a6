//go:build linux

package epoll

import (
	"golang.org/x/sys/unix"

	"sallyport/media"
)

const (
	linkAfter  = 10 // packets to one destination: what follows pays for the system calls
	ripeAtOnce = 4  // links made after one batch: the packets of the next one wait for them
	viaLink    = 1  // in an event: of a link's socket, not of the port's own
)

// link is where a port's packets go to, and the socket that is connected to it. It belongs to the port's worker.
type link struct {
	to   media.Endpoint
	sent int32 // packets to it; linkAfter: no more is tried for this destination
	fd   int32 // one more than the descriptor; 0: none
}

// socket is the descriptor, if there is one.
func (l *link) socket() (fd int32, ok bool) { return l.fd - 1, l.fd != 0 }

// linked is the socket that a packet to a destination leaves by, if it has one of its own. It counts the packet.
func (w *worker) linked(place int32, to media.Endpoint) (fd int32, ok bool) {
	l := &w.links[place]
	if l.to != to {
		w.cutLink(l)
		l.to = to
		return 0, false
	}
	if l.sent < linkAfter {
		switch {
		case l.sent < linkAfter-1:
			l.sent++
		case w.ripen < len(w.ripe): // else the next packet asks again
			l.sent++
			w.ripe[w.ripen] = place
			w.ripen++
		}
	}
	return l.socket()
}

// connect makes the links whose time has come.
func (w *worker) connect() {
	for _, place := range w.ripe[:w.ripen] {
		if l := &w.links[place]; w.room > 0 && l.fd == 0 && l.sent == linkAfter {
			w.connectTo(place, l)
		}
	}
	w.ripen = 0
}

// connectTo opens a link's socket. Where that fails, the port's own does all by itself.
func (w *worker) connectTo(place int32, l *link) {
	at, ok := w.local(int(place))
	if !ok {
		return
	}
	own := int(w.fds[place])
	// The port is shared for the moment of the bind alone: it stays in use to all other programs, and to a second one of ours.
	share := func(fd, yes int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, yes) }
	if share(own, 1) != nil {
		return
	}
	fd, err := bind(at, w.marked, true)
	_ = share(own, 0)
	if err != nil {
		return
	}
	_ = share(fd, 0)
	if err = unix.Connect(fd, sockaddr(l.to.AddrPort())); err == nil {
		err = w.watchAs(fd, place, viaLink)
	}
	if err != nil {
		_ = unix.Close(fd)
		return
	}
	l.fd = int32(fd) + 1
	w.room--
}

// cutLink closes a link's socket. What is queued there is lost, as what comes too late is anyhow.
func (w *worker) cutLink(l *link) {
	if fd, ok := l.socket(); ok {
		closeAll(fd)
		w.room++
	}
	*l = link{}
}

// unlink ends the links of the calls that have ended.
func (w *worker) unlink(list []media.Command) {
	for i := range list {
		if !list[i].Free {
			continue
		}
		for place := int(list[i].Leg); place < len(w.links); place += int(w.legs) {
			for port := range 2 {
				if l := &w.links[place+port]; l.to != (media.Endpoint{}) {
					w.cutLink(l)
				}
			}
		}
	}
}
