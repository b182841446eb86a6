package media

import (
	"net/netip"
	"testing"

	pionrtcp "github.com/pion/rtcp"
	pionrtp "github.com/pion/rtp"
)

func TestParseClasses(t *testing.T) {
	sr, _ := pionrtcp.Marshal([]pionrtcp.Packet{&pionrtcp.SenderReport{SSRC: 9}})
	audio, _ := (&pionrtp.Packet{Header: pionrtp.Header{Version: 2, PayloadType: 0, SSRC: 9}}).Marshal()
	cookie := append([]byte{0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42}, make([]byte, 12)...)
	cases := []struct {
		name  string
		flags flags
		buf   []byte
		want  class
	}{
		{"empty", 0, nil, classJunk},
		{"one byte", 0, []byte{0x80}, classJunk},
		{"audio", 0, audio, classRTP},
		{"audio, mux", flagMux, audio, classRTP},
		{"audio on the RTCP port", flagControl, audio, classJunk},
		{"report", flagControl, sr, classRTCP},
		{"report, mux", flagMux, sr, classRTCP},
		{"report on the RTP port", 0, sr, classRTCP},
		{"report cut short", flagControl, sr[:20], classJunk},
		{"payload type 72 with marker is a report, mux", flagMux, append([]byte{0x80, 72, 0, 1}, sr[4:]...), classJunk},
		{"payload type 72 is audio, no mux", 0, append([]byte{0x80, 72, 0, 1}, sr[4:]...), classRTP},
		{"eleven bytes", 0, audio[:11], classJunk},
		{"CSRC beyond the end", 0, append([]byte{0x8f}, audio[1:]...), classJunk},
		{"extension beyond the end", 0, append([]byte{0x90}, audio[1:]...), classJunk},
		{"long extension", 0, append(append([]byte{0x90}, audio[1:]...), 0xbe, 0xde, 0, 1, 0, 0, 0), classJunk},
		{"whole extension", 0, append(append([]byte{0x90}, audio[1:]...), 0xbe, 0xde, 0, 1, 0, 0, 0, 0), classRTP},
		{"STUN", 0, cookie, classSTUN},
		{"DTLS", 0, []byte{22, 254, 253}, classDTLS},
		{"TURN channel", 0, []byte{0x40, 0, 0, 0}, classJunk},
		{"SIP", 0, []byte("OPTIONS sip:a"), classJunk},
		{"version 3", 0, append([]byte{0xc0}, audio[1:]...), classJunk},
		{"UDPTL", flagOpaque, []byte{0, 1, 1, 6, 0}, classOpaque},
		{"STUN among UDPTL", flagOpaque, cookie, classSTUN},
	}
	for _, c := range cases {
		if h := parse(c.flags, c.buf); h.class != c.want {
			t.Errorf("%s: class %d, want %d", c.name, h.class, c.want)
		}
	}
}

func TestClocks(t *testing.T) {
	for pt, want := range map[uint8]uint32{0: 8000, 8: 8000, 9: 8000, 18: 8000, 6: 16000, 11: 44100, 16: 11025, 17: 22050, 14: 90000, 34: 90000, 96: 8000} {
		if got := clockOf(pt); got != want {
			t.Errorf("payload type %d: %d Hz, want %d", pt, got, want)
		}
	}
}

// FuzzParse compares the reading of headers with pion's: whatever it reads as version 2 and we expect on the port, we
// read alike; what we read as RTP holds the header that it claims.
func FuzzParse(f *testing.F) {
	audio, _ := (&pionrtp.Packet{
		Header:  pionrtp.Header{Version: 2, PayloadType: 101, Marker: true, SequenceNumber: 7, Timestamp: 8, SSRC: 9, CSRC: []uint32{1}},
		Payload: []byte{1},
	}).Marshal()
	report, _ := pionrtcp.Marshal([]pionrtcp.Packet{&pionrtcp.ReceiverReport{SSRC: 9, Reports: []pionrtcp.ReceptionReport{{SSRC: 1}}}})
	for _, b := range [][]byte{nil, audio, report, {22, 1, 2}, {0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42}} {
		for fl := range uint8(16) {
			f.Add(fl, b)
		}
	}
	f.Fuzz(func(t *testing.T, bits uint8, buf []byte) {
		fl := flags(bits) & (flagMux | flagOpaque | flagControl)
		h := parse(fl, buf)
		if h.latchy && (h.class == classJunk || h.class == classSTUN || h.class == classDTLS) {
			t.Fatalf("class %d counts for a latch", h.class)
		}
		if fl != 0 {
			return
		}
		var p pionrtp.Header
		n, err := p.Unmarshal(buf)
		if err == nil && p.Version == 2 && !isControl(0, buf) && h.class != classRTP {
			t.Fatalf("pion reads % x, we do not", buf)
		}
		if h.class == classRTP && err == nil &&
			(h.seq != p.SequenceNumber || h.ssrc != p.SSRC || h.pt != p.PayloadType || h.stamp != p.Timestamp || n > len(buf)) {
			t.Fatalf("read %+v, pion %+v", h, p)
		}
	})
}

func TestEndpoints(t *testing.T) {
	for _, text := range []string{"192.0.2.1:4000", "[2001:db8::1]:4000", "255.255.255.254:1"} {
		at := netip.MustParseAddrPort(text)
		e := EndpointOf(at)
		if e.AddrPort() != at || e.Is4() != at.Addr().Is4() || e.Port() != at.Port() || !e.usable() {
			t.Errorf("%v became %v", at, e.AddrPort())
		}
		if at.Addr().Is4() {
			if e != Endpoint4(at.Addr().As4(), at.Port()) || e.As4() != at.Addr().As4() {
				t.Errorf("%v: forms differ", at)
			}
			if inV6 := netip.AddrPortFrom(netip.AddrFrom16(at.Addr().As16()), at.Port()); EndpointOf(inV6) != e {
				t.Errorf("%v: the mapped form differs", at)
			}
		}
	}
	for _, text := range []string{"0.0.0.0:7", "[::]:7", "[::ffff:0.0.0.0]:7"} {
		if e := EndpointOf(netip.MustParseAddrPort(text)); e.usable() || e.port != 7 || e.AddrPort().IsValid() {
			t.Errorf("%s is usable", text)
		}
	}
	if EndpointOf(netip.MustParseAddrPort("192.0.2.1:0")).usable() {
		t.Error("port 0 is usable")
	}
}

func FuzzNetworkContains(f *testing.F) {
	f.Add([]byte{192, 0, 2, 1}, uint8(24), []byte{192, 0, 2, 9})
	f.Add(make([]byte, 16), uint8(0), []byte{1, 2, 3, 4})
	f.Add(make([]byte, 16), uint8(80), []byte{1, 2, 3, 4})
	f.Add([]byte{10, 0, 0, 0}, uint8(0), append([]byte{0x20, 1}, make([]byte, 14)...))
	f.Fuzz(func(t *testing.T, prefix []byte, bits uint8, addr []byte) {
		p, ok1 := netip.AddrFromSlice(prefix)
		a, ok2 := netip.AddrFromSlice(addr)
		if !ok1 || !ok2 || p.Is4In6() || a.Is4In6() || int(bits) > p.BitLen() || a.IsUnspecified() {
			t.Skip()
		}
		want := netip.PrefixFrom(p, int(bits)).Contains(a)
		if got := networkOf(netip.PrefixFrom(p, int(bits))).contains(EndpointOf(netip.AddrPortFrom(a, 1))); got != want {
			t.Fatalf("%v/%d contains %v: %v, netip says %v", p, bits, a, got, want)
		}
	})
}
