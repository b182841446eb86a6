package demo

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/rtp"

	"sallyport/media/sdp"
)

// The audio of the demonstration: PCMU, 20 ms a packet (RFC 3551 §4.5.14).
const (
	packetTime  = 20 * time.Millisecond
	packetBytes = 160
	pcmu        = 0
)

// sound is one end of one call's audio: an RTP socket and the goroutine that reads it. It counts what it hears, checks
// each payload that it knows by its mark, and sends what the other side says back to it, if asked to.
type sound struct {
	local netip.AddrPort
	said  netip.AddrPort // in descriptions
	conn  *net.UDPConn
	done  chan struct{}

	mu       sync.Mutex // guards all below
	header   rtp.Header // of the next packet
	version  int        // of our description
	to       netip.AddrPort
	sends    bool // as agreed by both descriptions
	echo     bool
	own      map[uint32]bool // marks that we speak under
	heard    map[uint32]*heard
	foreign  int // packets without a mark
	returned int // packets sent back
}

// heard is what arrived under one mark.
type heard struct {
	packets, reordered, damaged int
	next                        uint32
}

// maxMarks bounds what a sound remembers.
const maxMarks = 64

// listen opens the audio of a call at an address, on an even port as RFC 3550 §11 asks. Behind a NAT descriptions name
// another address, home, and another port than those that packets come from.
func listen(at, home netip.Addr, echo bool) (*sound, error) {
	for range 32 {
		conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, 0)))
		if err != nil {
			return nil, fmt.Errorf("no socket for audio: %w", err)
		}
		local := conn.LocalAddr().(*net.UDPAddr).AddrPort()
		if local.Port()%2 != 0 {
			_ = conn.Close()
			continue
		}
		s := &sound{
			local: local, conn: conn, done: make(chan struct{}), sends: true, echo: echo,
			header: rtp.Header{
				Version: 2, PayloadType: pcmu, SSRC: rand.Uint32(), SequenceNumber: uint16(rand.Uint32()), Timestamp: rand.Uint32(),
			},
			own: map[uint32]bool{}, heard: map[uint32]*heard{}, said: local,
		}
		if home.IsValid() {
			s.said = netip.AddrPortFrom(home, 11780+2*uint16(rand.N(100)))
		}
		go s.read()
		return s, nil
	}
	return nil, errors.New("no even port for audio: too many are in use on " + at.String())
}

// close ends the reader and waits for it.
func (s *sound) close() {
	_ = s.conn.Close()
	<-s.done
}

// describe is our description with a direction, which our sending keeps to from now on.
func (s *sound) describe(d sdp.Direction) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	s.sends = d.Sends()
	a := s.said.Addr()
	return fmt.Appendf(nil, "v=0\r\no=- %d %d IN IP4 %s\r\ns=-\r\nc=IN IP4 %s\r\nt=0 0\r\nm=audio %d RTP/AVP 0 101\r\n"+
		"a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=%s\r\n",
		s.header.SSRC, s.version, a, a, s.said.Port(), d)
}

// answer is our answer to an offer (RFC 3264 §6.1), or an offer of our own where there is none.
func (s *sound) answer(offer []byte) []byte {
	d := sdp.SendRecv
	if m, ok := audio(offer); ok {
		d = [...]sdp.Direction{
			sdp.SendRecv: sdp.SendRecv, sdp.SendOnly: sdp.RecvOnly, sdp.RecvOnly: sdp.SendOnly, sdp.Inactive: sdp.Inactive,
		}[m.Direction]
	}
	return s.describe(d)
}

// aim takes the far side's description.
func (s *sound) aim(description []byte) {
	m, ok := audio(description)
	if !ok || m.Rejected() || !m.Addr.IsValid() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.to = netip.AddrPortFrom(m.Addr, m.Port)
	s.sends = m.Direction.Receives()
}

func audio(description []byte) (sdp.Media, bool) {
	d, err := sdp.Parse(description)
	if err != nil || d.Len() == 0 {
		return sdp.Media{}, false
	}
	return d.At(0), true
}

// speak sends n packets under a mark, one each 20 ms, and reports how many went out.
func (s *sound) speak(ctx context.Context, mark uint32, n int) (sent int) {
	s.mu.Lock()
	s.own[mark] = true
	s.header.Marker = true // the first of a talk spurt (RFC 3551 §4.1)
	s.mu.Unlock()
	tick := time.NewTicker(packetTime)
	defer tick.Stop()
	payload := make([]byte, packetBytes)
	for i := range n {
		write(payload, mark, uint32(i))
		if s.send(payload) {
			sent++
		}
		select {
		case <-ctx.Done():
			return sent
		case <-tick.C:
		}
	}
	return sent
}

// send sends one packet, if the descriptions allow it.
func (s *sound) send(payload []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.sends || !s.to.IsValid() {
		return false
	}
	p := rtp.Packet{Header: s.header, Payload: payload}
	b, err := p.Marshal()
	if err != nil {
		return false
	}
	s.header.SequenceNumber++
	s.header.Timestamp += packetBytes
	s.header.Marker = false
	_, err = s.conn.WriteToUDPAddrPort(b, s.to)
	return err == nil
}

func (s *sound) read() {
	defer close(s.done)
	buf := make([]byte, 2048)
	var p rtp.Packet
	for {
		n, _, err := s.conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || p.Unmarshal(buf[:n]) != nil || p.PayloadType != pcmu {
			continue
		}
		if s.hear(p.Payload) && s.send(p.Payload) {
			s.mu.Lock()
			s.returned++
			s.mu.Unlock()
		}
	}
}

// hear counts a payload and reports whether it shall go back.
func (s *sound) hear(payload []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	mark, i, intact, ok := readMark(payload)
	if !ok {
		s.foreign++
		return s.echo
	}
	h := s.heard[mark]
	if h == nil {
		if len(s.heard) >= maxMarks {
			return false
		}
		h = &heard{}
		s.heard[mark] = h
	}
	h.packets++
	if !intact {
		h.damaged++
	}
	if i < h.next {
		h.reordered++
	}
	h.next = max(h.next, i+1)
	return s.echo && !s.own[mark]
}

// ear is what arrived under a mark so far.
func (s *sound) ear(mark uint32) heard {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.heard[mark]; h != nil {
		return *h
	}
	return heard{}
}

// A payload bears its mark, its number, and octets that follow from both: damage of any octet shows.
const markText = "SALLYPRT"

func write(payload []byte, mark, i uint32) {
	copy(payload, markText)
	binary.BigEndian.PutUint32(payload[8:], mark)
	binary.BigEndian.PutUint32(payload[12:], i)
	fill(payload[16:], mark, i)
}

func fill(b []byte, mark, i uint32) {
	x := (uint64(mark)<<32|uint64(i))*0x9e3779b97f4a7c15 + 1
	for k := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[k] = byte(x)
	}
}

func readMark(payload []byte) (mark, i uint32, intact, ok bool) {
	if len(payload) < 16 || string(payload[:8]) != markText {
		return 0, 0, false, false
	}
	mark, i = binary.BigEndian.Uint32(payload[8:]), binary.BigEndian.Uint32(payload[12:])
	var want [packetBytes - 16]byte
	fill(want[:], mark, i)
	return mark, i, string(payload[16:]) == string(want[:]), true
}
