//go:build linux

package process

import (
	"math"
	"net"
	"time"

	"golang.org/x/sys/unix"

	"sallyport/media"
)

// lookEvery is how often the table is looked at: for hints, and for orphans that have fallen silent.
const lookEvery = 250 * time.Millisecond

// newsEvery is how long news waits for more.
const newsEvery = 2 * time.Millisecond

// look tells the session what has happened to its legs and frees orphans that are silent. over says that nobody needs
// this process any more, greeted that somebody ever did.
func (s *server) look(now time.Time) (over, greeted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	greeted = s.last > 0
	if s.relay == nil {
		return s.abandoned(), greeted
	}
	if s.session == nil && s.options.Follow {
		s.relay.backend.Settle() // what the last one said is to show
	}
	r, used := s.relay, false
	hints := make([]hint, 0, perPacket)
	for h := range r.board.Holdings() {
		hints = s.hint(hints, hintsOfLeg)
		used = true
		o := &r.owners[h.Leg/2]
		seen := r.lastHeard(h)
		switch {
		case !o.orphaned:
			hints = o.news(hints, h, now.Sub(seen) >= r.layout.Silence)
		case time.Duration(r.moment(now)-o.went)*time.Millisecond >= r.layout.Silence && now.Sub(seen) >= r.layout.Silence:
			s.say("the call on port %d is over: nothing has come for %v, and nobody has asked for it", r.layout.Local(h.Leg).Port(), r.layout.Silence)
			r.free(h)
			hints = append(hints, hint{media.Freed, uint32(h.Leg), h.Generation})
		}
	}
	s.idle = !used
	if s.session == nil {
		return !used && s.abandoned() || s.unreachable(), greeted
	}
	s.hint(hints, perPacket)
	s.tapped(nil, 0) // what was lost is told, if nothing else is
	return false, greeted
}

// hintsOfLeg is how many hints one look may have of a leg.
const hintsOfLeg = 3

// hint sends the hints to whoever is there if there is no room for so many more, and returns those that are left.
func (s *server) hint(hints []hint, more int) []hint {
	if len(hints) == 0 || len(hints)+more <= perPacket {
		return hints
	}
	if s.session != nil {
		offer(s.session.conn, hintDatagram(hints))
	}
	return hints[:0]
}

// lastHeard is when anything came for a call, on either side; a call that never heard anything counts from its beginning.
func (r *relay) lastHeard(h media.Holding) time.Time {
	last := h.Since
	for o := range r.board.HoldingsOf(h.Leg, h.Peer) {
		if o.Generation == h.Generation && o.Seen.After(last) {
			last = o.Seen
		}
	}
	return last
}

// news are the hints about a leg in use.
func (o *owner) news(hints []hint, h media.Holding, silent bool) []hint {
	tell := func(k media.HintKind) { hints = append(hints, hint{k, uint32(h.Leg), h.Generation}) }
	if n := uint8(h.Latches); n != o.latches {
		o.latches = n
		tell(media.Latched)
	}
	if n := uint8(h.Heard); n != o.heard {
		o.heard = n
		tell(media.Heard)
	}
	if silent != o.silent {
		o.silent = silent
		if silent {
			tell(media.Silent)
		} else {
			tell(media.Resumed)
		}
	}
	return hints
}

// abandoned reports whether a process that follows has nobody to follow.
func (s *server) abandoned() bool { return s.options.Follow && s.session == nil }

// unreachable reports whether a process that follows has lost its place: nobody can greet it any more, and it would keep
// the ports from whoever takes its place.
func (s *server) unreachable() bool {
	if !s.options.Follow {
		return false
	}
	inode, err := inodeOf(s.options.Socket)
	return err != nil || inode != s.inode
}

// offer sends a datagram if there is room for it. What is lost the other side's sweep finds in the table.
func offer(c *net.UnixConn, b []byte) { offerUpTo(c, b, math.MaxInt) }

// offerUpTo is offer as long as no more than so many bytes wait on the way. It reports whether the datagram is on its way.
func offerUpTo(c *net.UnixConn, b []byte, most int) (sent bool) {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	_ = raw.Write(func(fd uintptr) bool {
		if most < math.MaxInt {
			if waiting, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ); err != nil || waiting > most {
				return true
			}
		}
		sent = unix.Sendto(int(fd), b, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, nil) == nil
		return true
	})
	return sent
}
