package media_test

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	pionrtcp "github.com/pion/rtcp"
	"github.com/pion/srtp/v3"
	"golang.org/x/sys/unix"

	"sallyport/media"
	"sallyport/nat"
)

// siege is a call over real sockets that others want to hear and to be heard in. Rounds are a closed loop: what everybody
// throws, then a packet of the call through each door that must be the next one to come out. Ports are first in, first
// out, so with it all that came before has been judged.
type siege struct {
	*rig
	from, control string // sockets of the peer outside: its audio, its reports; empty: the browser's
	browser       *browser
	mux           bool
	checked       bool // it shows where it is by checks
	free          bool // nothing but its packets tells the peer from a neighbour behind its NAT, until the latch

	send, hear *srtp.Context // of the peer outside; nil: plain
	seq        uint16
	wire       [][]byte // what the peer has sent, as the network saw it
	told       uint32
	pace       pace
	thrown     int
	open       bool // the leg has its latch
	helloed    []byte
}

var sieges = []struct {
	name  string
	want  media.Want
	begin func(*siege)
}{
	{"RTP, NAT keeps the port", with(latching("phone"), func(w *media.Want) { w.Latch = media.Strict }), (*siege).plain},
	{"RTP, NAT changes the port", with(latching("phone"), func(w *media.Want) {
		w.RTP, w.Latch = netip.AddrPortFrom(netip.Addr{}, 9000), media.Strict
	}), (*siege).plain},
	{"SDES, NAT keeps the port", with(latching("phone"), func(w *media.Want) { w.Latch, w.Crypto = media.Strict, keysOf() }), (*siege).keyed},
	{"SDES, NAT changes the port", with(latching("phone"), func(w *media.Want) {
		w.RTP, w.Latch, w.Crypto = netip.AddrPortFrom(netip.Addr{}, 9000), media.Ported, keysOf()
	}), (*siege).keyed},
	{"DTLS, NAT changes the port", with(latching("phone"), func(w *media.Want) {
		w.RTP, w.Latch, w.Mux = netip.AddrPortFrom(netip.Addr{}, 9000), media.Ported, true
	}), (*siege).shaken},
	{"DTLS and ICE", with(latching("phone"), func(w *media.Want) {
		w.RTP, w.Latch, w.Mux, w.ICE = netip.AddrPortFrom(netip.Addr{}, 9), media.Strict, true, credentials
	}), (*siege).shaken},
}

// latching is a leg of a phone behind a NAT: of its SDP the port counts.
func latching(peer string) media.Want {
	return with(want(peer), func(w *media.Want) {
		w.RTP, w.Fallback = netip.AddrPortFrom(netip.Addr{}, peers[peer].Port()), peers[peer].Addr()
	})
}

func keysOf() media.Crypto {
	c := media.Crypto{Suite: media.AES128CM80}
	for i := range 30 {
		c.Receive[i], c.Send[i] = byte(i+1), byte(99-i)
	}
	return c
}

// Over real sockets and each back end: whatever others throw at a call before, at and after its latch, from elsewhere and
// from the phone's own address, with packets of their own making and with captured ones, they hear nothing and nothing of
// theirs is heard, and of the call nothing is missing. It goes on so in the next process when the media process is lost.
func TestBackendsUnderSiege(t *testing.T) {
	for name, rigOf := range map[string]func(*testing.T) *rig{"epoll": epollRig, "steer": steerRig, "process": processRig} {
		for _, c := range sieges {
			t.Run(name+"/"+c.name, func(t *testing.T) {
				rounds := 20
				if name == "steer" {
					rounds = 6 // slower: see pace
				}
				s := &siege{rig: rigOf(t), from: "phone", control: "phone rtcp", mux: c.want.Mux, seq: 1, helloed: hello(t)}
				s.pace.on = name == "steer"
				s.free = c.want.Crypto.Suite == media.NoCrypto && c.want.RTP.Port() == 9000 && !c.want.Mux
				w := c.want
				if c.want.Mux {
					s.browser = newBrowser(t, 14100, s.at(outsideRTP))
					s.checked = c.want.ICE != media.Credentials{}
					s.from, s.control, w.Peer = "", "", s.browser.print()
				}
				s.point(nat.Outside, with(w, func(w *media.Want) { w.Final = false }))
				s.barrage(3) // it rings
				s.point(nat.Outside, w)
				s.point(nat.Inside, want("pbx"))
				c.begin(s)
				s.endures(rounds)
			})
		}
	}
}

// endures is the siege of a call that stands.
func (s *siege) endures(rounds int) {
	s.latches()
	for range rounds {
		s.round()
	}
	for range rounds / 2 {
		s.flood()
		s.calm()
	}
	if s.renew != nil {
		s.renew()
		s.latches()
		for range 10 {
			s.round()
		}
	}
	s.calm()
	s.calm()
	s.overheard()
	if s.thrown < 80*rounds {
		s.t.Errorf("%d packets were thrown at the call, want %d", s.thrown, 80*rounds)
	}
}

// plain: its first packets come at once, between those of the others.
func (s *siege) plain() {}

// keyed has the keys that the SDP has told.
func (s *siege) keyed() {
	k := keysOf()
	context := func(key [46]byte) *srtp.Context {
		c, err := srtp.CreateContext(key[:16], key[16:30], srtp.ProtectionProfileAes128CmHmacSha1_80)
		if err != nil {
			s.t.Fatal(err)
		}
		return c
	}
	s.send, s.hear = context(k.Receive), context(k.Send)
}

// shaken agrees upon keys while the others do what they can.
func (s *siege) shaken() {
	print, ok := s.plane.Fingerprint()
	if !ok {
		s.t.Fatal("the back end has no handshakes")
	}
	var over atomic.Bool
	done := make(chan struct{})
	defer func() { over.Store(true); <-done }()
	go func() {
		defer close(done)
		for !over.Load() {
			s.barrage(1)
			time.Sleep(10 * time.Millisecond) // they are no flood yet
		}
	}()
	defer s.intrude()()
	if s.checked {
		s.browser.check()
	}
	s.send, s.hear = s.browser.shake(print)
}

const siegeSSRC = 0x5e6e

// pace holds back so that a pair of ports hears less than media/steer lets pass of it in one of its windows: what is beyond
// that is dropped by the kernel, from whomever it is.
type pace struct {
	on   bool
	mu   sync.Mutex
	sent [2]int // by side
}

func (p *pace) wait(side nat.Side) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sent[side]++; !p.on || p.sent[side] < 200 {
		return
	}
	p.sent = [2]int{}
	for began := window(); window() == began; {
		time.Sleep(5 * time.Millisecond)
	}
}

// window is media/steer's, by its clock: a precise one may be in the next window while that is late, where the machine is.
func window() int64 {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC_COARSE, &now)
	return now.Nano() >> 27
}

// throw sends one datagram of somebody else.
func (s *siege) throw(from string, to door, payload []byte) {
	s.pace.wait(to.side)
	s.thrown++
	if _, err := s.sockets[from].WriteToUDPAddrPort(payload, s.at(to)); err != nil {
		s.t.Error(err)
	}
}

// barrage throws what needs no knowledge of the call, and after the latch what a listener at the wire could make.
func (s *siege) barrage(times int) {
	ssrc := uint32(attackSSRC)
	if s.open {
		ssrc = siegeSSRC // known by now to who listens
	}
	bye := must(pionrtcp.Marshal([]pionrtcp.Packet{&pionrtcp.ReceiverReport{SSRC: ssrc}, &pionrtcp.Goodbye{Sources: []uint32{ssrc}}}))
	for n := range times {
		guessed := stunRequest(s.t)
		for _, from := range []string{"attacker", "phone elsewhere"} {
			for _, p := range [][]byte{
				tagged(rtp(96, uint16(s.thrown), attackSSRC)), tagged(rtcp(attackSSRC)), bye, stun(), guessed, dtls(), s.helloed,
				[]byte("junk, and more of it"), {0x80}, nil,
			} {
				s.throw(from, outsideRTP, p)
				s.throw(from, outsideRTCP, p)
			}
			if s.open || !s.free || from == "attacker" {
				s.throw(from, outsideRTP, tagged(rtp(0, uint16(n), attackSSRC)))
			}
			for _, p := range s.wire[max(0, len(s.wire)-2):] { // captured, and made to look like the next ones
				if !s.open && s.free && from != "attacker" {
					break
				}
				next := bytes.Clone(p)
				next[3] += 3
				for _, p := range [][]byte{p, next} {
					s.throw(from, outsideRTP, p)
				}
			}
		}
		for _, from := range []string{"attacker", "phone elsewhere", "pbx rtcp"} {
			s.throw(from, insideRTP, tagged(rtp(0, uint16(n), attackSSRC)))
		}
		s.throw("attacker", insideRTCP, bye)
	}
}

// spoof throws as from the peer's own address and port: only keys tell it from the peer.
func (s *siege) spoof() {
	throw := func(payload []byte) {
		s.thrown++
		s.says(payload)
	}
	for _, p := range [][]byte{stun(), stunRequest(s.t), dtls(), s.helloed, {21, 254, 253, 0, 0, 0, 0, 0, 9, 0, 2, 2, 40}, []byte("junk junk junk"), {0x80}} {
		throw(p)
	}
	if s.send == nil {
		return
	}
	forged, err := srtp.CreateContext(make([]byte, 16), make([]byte, 14), srtp.ProtectionProfileAes128CmHmacSha1_80)
	if err != nil {
		s.t.Fatal(err)
	}
	sealed, _ := forged.EncryptRTP(nil, rtp(0, s.seq+1, siegeSSRC), nil)
	bye, _ := forged.EncryptRTCP(nil, rtcp(siegeSSRC), nil)
	throw(rtp(0, s.seq+1, siegeSSRC))
	throw(rtp(0, s.seq+1, attackSSRC))
	throw(rtcp(siegeSSRC))
	throw(sealed)
	throw(bye)
	for _, p := range s.wire[max(0, len(s.wire)-4):] {
		throw(p)
		changed := bytes.Clone(p)
		changed[20]++
		throw(changed)
		changed = bytes.Clone(p)
		changed[3]++
		throw(changed)
	}
}

// overheard fails if anything waits at a socket that nothing of the call may reach. A neighbour whose hand is shaken before
// he has to show a certificate gets records of that.
func (s *siege) overheard() {
	s.t.Helper()
	for _, at := range []string{"attacker", "phone elsewhere", "pbx", "pbx rtcp", "phone", "phone rtcp"} {
		for {
			b, ok := waiting(s.t, s.sockets[at])
			if !ok {
				break
			}
			if at == "phone elsewhere" && s.browser != nil && len(b) > 0 && b[0] >= 20 && b[0] < 64 {
				continue
			}
			s.t.Errorf("%s hears % .40x", at, b)
		}
	}
}

// waiting takes a datagram that is there already.
func waiting(t *testing.T, c *net.UDPConn) (datagram []byte, ok bool) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Time{})
	buf := make([]byte, 2048)
	err = errors.Join(raw.Read(func(fd uintptr) bool {
		var n int
		if n, _, err = syscall.Recvfrom(int(fd), buf, syscall.MSG_DONTWAIT); err == nil {
			datagram, ok = buf[:n], true
		}
		return true
	}), err)
	if !ok && !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	return datagram, ok
}
