package media_test

import (
	"encoding/binary"
	"net/netip"
	"time"

	pionsrtp "github.com/pion/srtp/v3"
	pionstun "github.com/pion/stun/v3"
	"golang.org/x/sys/unix"

	"sallyport/media"
	"sallyport/nat"
)

// speaker is one end of calls.
type speaker struct {
	fd     int
	at     netip.AddrPort
	side   nat.Side
	call   *soakCall // the present one, or the last one
	heard  bool      // audio of the present one
	proved bool      // a check of the present one was answered
}

// soakCall is a call of the soak. What its peers say carries its number.
type soakCall struct {
	number     uint32
	id         media.ID
	local      [2]netip.AddrPort
	ends       [2]*speaker // by nat.Side
	seq        uint16
	send, hear *pionsrtp.Context // of the outside peer; nil: plain
	mute       bool              // keys of a handshake are awaited: nothing may be heard
}

func (s *soak) speaker(side nat.Side, at netip.AddrPort) {
	s.t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}); err != nil {
		s.t.Fatalf("%v: %v", at, err)
	}
	e := &speaker{fd: fd, at: at, side: side}
	s.all = append(s.all, e)
	s.idle[side] = append(s.idle[side], e)
}

// setUp makes calls and waits until their peers hear each other.
func (s *soak) setUp(n int) {
	var list []*soakCall
	for range n {
		list = append(list, s.reserve())
	}
	s.settle()
	for _, c := range list {
		if c.number%8 == 6 {
			s.check(c)
		}
		s.say(c, nat.Outside)
		s.say(c, nat.Outside)
	}
	s.linger()
	for _, c := range list {
		if !c.mute {
			s.await(c.ends[1], &c.ends[1].heard)
			s.say(c, nat.Inside)
			s.say(c, nat.Inside)
		}
	}
	s.linger()
	for _, c := range list {
		if !c.mute {
			s.await(c.ends[0], &c.ends[0].heard)
		}
	}
	s.live = append(s.live, list...)
}

// linger has peers of calls that are over send where those were.
func (s *soak) linger() {
	for range min(2, len(s.late)) {
		c := s.late[s.rnd.IntN(len(s.late))]
		s.say(c, nat.Outside)
		s.say(c, nat.Inside)
	}
}

// reserve makes a call of the next two speakers that are idle.
func (s *soak) reserve() *soakCall {
	c := &soakCall{number: s.number}
	s.number++
	var err error
	if c.id, c.local, err = s.plane.Reserve(time.Now()); err != nil {
		s.t.Fatalf("call %d: %v", c.number, err)
	}
	for _, old := range s.late {
		if old.local[0] == c.local[0] || old.local[1] == c.local[1] {
			s.noisy++
		}
	}
	for side := range c.ends {
		e := s.idle[side][0]
		s.idle[side] = s.idle[side][1:]
		s.listen(e) // what it heard until now was of its last call
		e.call, e.heard, e.proved = c, false, false
		c.ends[side] = e
	}
	for side, w := range s.wants(c) {
		if err := s.plane.Point(c.id, nat.Side(side), w); err != nil {
			s.t.Fatalf("call %d: %v", c.number, err)
		}
	}
	return c
}

// wants are what call asks of its legs: one in two is plain.
func (s *soak) wants(c *soakCall) (w [2]media.Want) {
	for side := range w {
		w[side] = want("phone")
		w[side].RTP, w[side].Fallback = c.ends[side].at, c.ends[side].at.Addr()
	}
	out := &w[nat.Outside]
	out.Continuous = c.number&1 == 0
	switch c.number % 8 {
	case 0, 1:
		out.Latch = media.Strict
	case 2:
		out.Latch = media.Delayed
		if c.ends[0].at.Addr() == own(7) {
			out.Latch = media.Strict // in doubt a neighbour's old audio teaches it the neighbour's port
		}
	case 4:
		s.protect(c, out, media.AES128CM80, pionsrtp.ProtectionProfileAes128CmHmacSha1_80, 16, 14)
	case 5:
		s.protect(c, out, media.AEADAES128GCM, pionsrtp.ProtectionProfileAeadAes128Gcm, 16, 12)
	case 6:
		out.ICE, out.Mux, out.Latch = credentials, true, media.Strict
	case 7:
		c.mute = true
		out.Mux = true
		out.Peer = media.Identity{Role: media.Passive, Print: media.Fingerprint{Hash: media.SHA256}}
		if c.number%16 == 7 {
			out.Peer.Role = media.Active // a handshake begins that never ends
		}
	}
	return w
}

func (s *soak) protect(c *soakCall, w *media.Want, suite media.Suite, profile pionsrtp.ProtectionProfile, key, salt int) {
	w.Latch, w.Crypto.Suite = media.Strict, suite
	context := func(master []byte) *pionsrtp.Context {
		binary.BigEndian.PutUint32(master, c.number)
		k, err := pionsrtp.CreateContext(master[:key], master[key:key+salt], profile)
		if err != nil {
			s.t.Fatal(err)
		}
		return k
	}
	w.Crypto.Send[8], w.Crypto.Receive[8] = 1, 2
	c.hear, c.send = context(w.Crypto.Send[:]), context(w.Crypto.Receive[:])
}

// say sends a packet of a call to where it is, or was.
func (s *soak) say(c *soakCall, side nat.Side) {
	packet := s.buf[:172:256]
	clear(packet)
	c.seq++
	packet[0] = 0x80 // RFC 3550 §5.1: version 2, payload type 0
	binary.BigEndian.PutUint16(packet[2:], c.seq)
	binary.BigEndian.PutUint32(packet[4:], uint32(c.seq)*160)
	binary.BigEndian.PutUint32(packet[8:], 2*c.number+uint32(side)+1)
	binary.BigEndian.PutUint32(packet[12:], c.number)
	if c.send != nil && side == nat.Outside {
		var err error
		if packet, err = c.send.EncryptRTP(nil, packet, nil); err != nil {
			s.t.Fatal(err)
		}
	}
	s.write(c.ends[side], c.local[side], packet)
}

func (s *soak) write(e *speaker, to netip.AddrPort, packet []byte) {
	if err := unix.Sendto(e.fd, packet, 0, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}); err != nil {
		s.t.Fatalf("%v to %v: %v", e.at, to, err)
	}
}

// check has a peer show where it is (RFC 8445 §7).
func (s *soak) check(c *soakCall) {
	m, err := pionstun.Build(pionstun.TransactionID, pionstun.BindingRequest, pionstun.NewUsername(string(credentials.Fragment[:])+":theirs"),
		pionstun.RawAttribute{Type: pionstun.AttrPriority, Value: []byte{1, 2, 3, 4}}, pionstun.RawAttribute{Type: pionstun.AttrUseCandidate},
		pionstun.NewShortTermIntegrity(string(credentials.Password[:])), pionstun.Fingerprint)
	if err != nil {
		s.t.Fatal(err)
	}
	s.write(c.ends[0], c.local[0], m.Raw)
	s.await(c.ends[0], &c.ends[0].proved)
}

// await listens until something has been heard.
func (s *soak) await(e *speaker, heard *bool) {
	for limit := time.Now().Add(soon); ; {
		if s.listen(e); *heard || s.t.Failed() {
			return
		}
		if time.Now().After(limit) {
			legs, _ := s.plane.Stats(e.call.id)
			s.t.Fatalf("call %d: nothing reached %v: %v %v", e.call.number, e.at, legs[0].Rejected, legs[1].Rejected)
		}
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(e.fd), Events: unix.POLLIN}}, 100)
	}
}

// listen takes what a speaker has heard. All of it is of its call, and from the port that the call has.
func (s *soak) listen(e *speaker) {
	for {
		n, from, err := unix.Recvfrom(e.fd, s.buf[:], 0)
		if err != nil {
			return
		}
		packet, c := s.buf[:n], e.call
		switch {
		case n == 0 || c == nil:
			s.t.Errorf("%v hears %x before its first call", e.at, packet)
			return
		case packet[0] < 4:
			e.proved = true
			continue
		case packet[0] >= 20 && packet[0] < 64: // a handshake begins (RFC 7983), or the last of one whose call is over
			continue
		}
		if c.hear != nil && e.side == nat.Outside {
			if packet, err = c.hear.DecryptRTP(nil, packet, nil); err != nil {
				s.t.Errorf("call %d: %v", c.number, err)
				return
			}
		}
		at := from.(*unix.SockaddrInet4)
		if port := netip.AddrPortFrom(netip.AddrFrom4(at.Addr), uint16(at.Port)); port != c.local[e.side] || len(packet) != 172 {
			s.t.Errorf("call %d on %v: %v hears %d bytes from %v", c.number, c.local, e.at, len(packet), port)
		} else if of := binary.BigEndian.Uint32(packet[12:]); of != c.number || c.mute {
			s.t.Errorf("call %d on %v: %v hears call %d", c.number, c.local, e.at, of)
		}
		e.heard = true
	}
}

// release ends calls at random; their peers do not know yet.
func (s *soak) release(n int) {
	var list []*soakCall
	for range n {
		i := s.rnd.IntN(len(s.live))
		c := s.live[i]
		s.live[i] = s.live[len(s.live)-1]
		s.live = s.live[:len(s.live)-1]
		s.plane.Release(time.Now(), c.id)
		if s.late = append(s.late, c); len(s.late) > soakLingers {
			s.retire()
		}
		list = append(list, c)
	}
	s.linger()
	if !s.again {
		return
	}
	s.settle()
	for _, c := range list {
		for side, e := range c.ends {
			s.idle[side] = append([]*speaker{e}, s.idle[side]...)
		}
	}
}

// retire has the peers of the call that was released longest ago hang up.
func (s *soak) retire() {
	c := s.late[0]
	s.late = append(s.late[:0], s.late[1:]...)
	if !s.again {
		for side, e := range c.ends {
			s.idle[side] = append(s.idle[side], e)
		}
	}
}
