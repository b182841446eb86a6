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

// link is where an RTP port's packets go to, and the socket that is connected to it. It belongs to the port's worker. RTCP ports have
// none: a packet in five seconds pays for nothing.
type link struct {
	host [16]byte
	port uint16
	sent uint8 // packets to it; linkAfter: no more is tried for this destination
	fd   int32 // one more than the descriptor; 0: none
}

// leadsTo reports whether a link is one to a destination.
func (l *link) leadsTo(to media.Endpoint) bool { return l.port == to.Port() && l.host == to.As16() }

func (l *link) to() media.Endpoint { return media.Endpoint16(l.host, l.port) }

// socket is the descriptor, if there is one.
func (l *link) socket() (fd int32, ok bool) { return l.fd - 1, l.fd != 0 }

// linked is the socket that a packet to a destination leaves by, if it has one of its own. It counts the packet.
func (w *worker) linked(place int32, to media.Endpoint) (fd int32, ok bool) {
	if place&1 != 0 {
		return 0, false
	}
	l := &w.links[place>>1]
	if !l.leadsTo(to) {
		w.cutLink(l)
		l.host, l.port = to.As16(), to.Port()
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
		if l := &w.links[place>>1]; w.room > 0 && l.fd == 0 && l.sent == linkAfter {
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
	// Nothing may be left on the heap here: nobody collects it while there are calls.
	fd, err := open(at.Addr(), w.marked)
	if err == nil {
		err = share(fd, 1)
	}
	if err == nil {
		to, size := w.name(media.EndpointOf(at))
		err = errnoOf(unix.RawSyscall(unix.SYS_BIND, uintptr(fd), uintptr(to), size))
	}
	_ = share(own, 0)
	if fd < 0 {
		return
	}
	if err == nil {
		err = share(fd, 0)
	}
	if err == nil {
		to, size := w.name(l.to())
		err = errnoOf(unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(to), size))
	}
	if err == nil {
		err = w.Watch(fd, place, viaLink)
	}
	if err != nil {
		_ = unix.Close(fd)
		return
	}
	l.fd = int32(fd) + 1
	w.room--
}

// errnoOf is what a system call has to say.
func errnoOf(_, _ uintptr, errno unix.Errno) error {
	if errno != 0 {
		return errno
	}
	return nil
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
		for pair := int(list[i].Leg) >> 1; pair < len(w.links); pair += int(w.legs) >> 1 {
			if l := &w.links[pair]; *l != (link{}) {
				w.cutLink(l)
			}
		}
	}
}
