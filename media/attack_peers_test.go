package media_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	piondtls "github.com/pion/dtls/v3"
	pionrtcp "github.com/pion/rtcp"

	gatedtls "sallyport/media/dtls"
	"sallyport/nat"
)

// says sends a datagram from the peer's socket.
func (s *siege) says(datagram []byte) {
	s.pace.wait(nat.Outside)
	if s.browser != nil {
		s.browser.send(datagram)
	} else {
		s.rig.send(s.from, s.at(outsideRTP), datagram)
	}
}

// seal is what the network sees of a packet.
func (s *siege) seal(plain []byte, control bool) []byte {
	s.t.Helper()
	if s.send == nil {
		return plain
	}
	do := func() ([]byte, error) { return s.send.EncryptRTP(nil, plain, nil) }
	if control {
		do = func() ([]byte, error) { return s.send.EncryptRTCP(nil, plain, nil) }
	}
	b, err := do()
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

// speak sends the peer's next packet and returns what is to be heard of it.
func (s *siege) speak() []byte {
	plain := rtp(0, s.seq, siegeSSRC)
	s.seq++
	b := s.seal(plain, false)
	s.wire = append(s.wire, b)
	s.says(b)
	return plain
}

// latches has the peer speak, amid the others, until it is heard. From then on nothing may be missing.
func (s *siege) latches() {
	s.t.Helper()
	s.open = s.open && s.renew != nil
	s.reaches("pbx", s.speak)
	if s.browser != nil {
		s.wire = nil // what came before the keys has not been heard yet, whoever repeats it
	}
	s.reaches("pbx rtcp", func() []byte {
		plain := s.report()
		s.reports(s.seal(plain, true))
		return plain
	})
	s.open = true
	s.calm()
}

// report is the peer's next report.
func (s *siege) report() []byte {
	s.told++
	return must(pionrtcp.Marshal([]pionrtcp.Packet{&pionrtcp.SenderReport{SSRC: siegeSSRC, PacketCount: s.told}}))
}

func (s *siege) reports(datagram []byte) {
	if s.mux {
		s.says(datagram)
	} else {
		s.pace.wait(nat.Outside)
		s.rig.send(s.control, s.at(outsideRTCP), datagram)
	}
}

// reaches sends until something arrives, and takes in what else is on its way.
func (s *siege) reaches(at string, send func() []byte) {
	s.t.Helper()
	buf, sent := make([]byte, 2048), [][]byte(nil)
	for range 400 {
		sent = append(sent, send())
		s.barrage(1)
		_ = s.sockets[at].SetReadDeadline(time.Now().Add(20 * time.Millisecond)) // then once more
		n, err := s.sockets[at].Read(buf)
		if err != nil {
			continue
		}
		for i := 0; ; i++ {
			for i < len(sent) && !bytes.Equal(sent[i], buf[:n]) {
				i++ // before the latch
			}
			switch {
			case i == len(sent):
				s.t.Fatalf("%s hears % .40x", at, buf[:n])
			case i == len(sent)-1:
				return
			}
			_, p := s.next(at)
			n = copy(buf, p)
		}
	}
	s.t.Fatalf("the peer is never heard at %s", at)
}

// round is an attack and what the call has to say.
func (s *siege) round() {
	s.barrage(1) // no more at a time than a port's buffer holds
	s.calm()
	s.spoof()
	s.calm()
}

// flood is one burst at the audio's port, of what looks like it.
func (s *siege) flood() {
	for n := range 40 {
		s.throw([]string{"attacker", "phone elsewhere"}[n&1], outsideRTP, tagged(rtp(0, s.seq+uint16(n), siegeSSRC)))
	}
}

// calm passes a packet through each door: the next one at each end must be it.
func (s *siege) calm() {
	s.t.Helper()
	said := s.speak()
	s.arrives("pbx", said)
	said = s.report()
	s.reports(s.seal(said, true))
	s.arrives("pbx rtcp", said)
	for _, control := range []bool{false, true} {
		from, to, said := "pbx", insideRTP, rtp(0, s.seq, 0x9b)
		if control {
			from, to, said = "pbx rtcp", insideRTCP, rtcp(0x9b)
		}
		s.pace.wait(nat.Inside)
		s.rig.send(from, s.at(to), said)
		if got := s.heard(control); !bytes.Equal(got, said) {
			s.t.Fatalf("the peer hears % .40x, want % .40x", got, said)
		}
	}
}

func (s *siege) arrives(at string, want []byte) {
	s.t.Helper()
	if _, got := s.next(at); !bytes.Equal(got, want) {
		s.t.Fatalf("%s hears % .40x, want % .40x", at, got, want)
	}
}

// heard is the next packet that the peer hears.
func (s *siege) heard(control bool) (plain []byte) {
	s.t.Helper()
	var b []byte
	switch {
	case s.browser != nil:
		select {
		case b = <-s.browser.media:
		case <-time.After(soon):
			s.t.Fatal("the peer hears nothing")
		}
	case control:
		_, b = s.next(s.control)
	default:
		_, b = s.next(s.from)
	}
	if s.hear == nil {
		return b
	}
	var err error
	if control {
		plain, err = s.hear.DecryptRTCP(nil, b, nil)
	} else {
		plain, err = s.hear.DecryptRTP(nil, b, nil)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return plain
}

// intrude has a neighbour shake hands with a certificate of his own.
func (s *siege) intrude() (stop func()) {
	own, _, err := gatedtls.NewCertificate(time.Now())
	if err != nil {
		s.t.Fatal(err)
	}
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(peers["phone"].Addr(), 14200)))
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), soon)
	conn, err := piondtls.ClientWithOptions(c, net.UDPAddrFromAddrPort(s.at(outsideRTP)), piondtls.WithCertificates(own),
		piondtls.WithInsecureSkipVerify(true), piondtls.WithSRTPProtectionProfiles(piondtls.SRTP_AES128_CM_HMAC_SHA1_80))
	if err != nil {
		s.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = conn.HandshakeContext(ctx)
	}()
	return func() {
		cancel()
		<-done
		_, _ = conn.Close(), c.Close()
	}
}

// hello is a DTLS ClientHello as strangers send it.
func hello(t *testing.T) []byte {
	t.Helper()
	here, there := pair(t), pair(t)
	conn, err := piondtls.ClientWithOptions(here, there.LocalAddr(), piondtls.WithInsecureSkipVerify(true),
		piondtls.WithSRTPProtectionProfiles(piondtls.SRTP_AES128_CM_HMAC_SHA1_80))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = conn.HandshakeContext(ctx)
	}()
	buf := make([]byte, 2048)
	_ = there.SetReadDeadline(time.Now().Add(soon))
	n, err := there.Read(buf)
	cancel()
	<-done
	if err = errors.Join(err, conn.Close()); err != nil {
		t.Fatal(err)
	}
	return buf[:n]
}

func pair(t *testing.T) *net.UDPConn {
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(own(1), 0)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}
