package sdp

import (
	"net/netip"
	"slices"
	"testing"
)

// types makes a set of payload types.
func types(numbers ...uint) (p Payloads) {
	for _, n := range numbers {
		p[n>>6] |= 1 << (n & 63)
	}
	return p
}

func TestStreamsOfTheCorpus(t *testing.T) {
	type want struct {
		file, kind, proto string
		i, n              int
		addr, rtcp        string
		port              uint16
		mux, rtp          bool
		direction         Direction
		payloads          Payloads
	}
	tests := []want{
		{file: "polycom-offer", n: 1, kind: "audio", proto: "RTP/AVP", addr: "10.0.0.51", port: 2238, rtcp: "10.0.0.51:2239", rtp: true, payloads: types(9, 0, 8, 18, 127)},
		{file: "yealink-hold-offer", n: 1, kind: "audio", proto: "RTP/AVP", addr: "192.168.1.34", port: 11784, rtcp: "192.168.1.34:11785", rtp: true, direction: SendOnly, payloads: types(8, 101)},
		{file: "yealink-srtp-offer", n: 1, kind: "audio", proto: "RTP/SAVP", addr: "192.168.1.34", port: 11790, rtcp: "192.168.1.34:11791", rtp: true, payloads: types(9, 8, 0, 101)},
		{file: "asterisk-answer", i: 1, n: 2, kind: "video", proto: "RTP/AVP", addr: "10.0.0.10", rtp: true, payloads: types(99)},
		{file: "freeswitch-offer", n: 1, kind: "audio", proto: "RTP/AVP", addr: "10.0.0.11", port: 24810, rtcp: "10.0.0.11:24811", rtp: true, payloads: types(9, 0, 8, 101, 13)},
		{file: "freeswitch-video-answer", i: 1, n: 2, kind: "video", proto: "RTP/AVP", addr: "10.0.0.11", port: 24840, rtcp: "10.0.0.11:24841", rtp: true, payloads: types(96)},
		{file: "cisco-gateway-answer", n: 1, kind: "audio", proto: "RTP/AVP", addr: "203.0.113.21", port: 18330, rtcp: "203.0.113.21:18331", rtp: true, payloads: types(8, 101)},
		{file: "linphone-offer", n: 1, kind: "audio", proto: "RTP/AVPF", addr: "192.168.178.31", port: 7078, rtcp: "192.168.178.31:7079", rtp: true, payloads: types(96, 97, 98, 0, 8, 18, 101, 99, 100)},
		{file: "webrtc-offer", n: 2, kind: "audio", proto: "UDP/TLS/RTP/SAVPF", addr: "198.51.100.77", port: 54400, rtcp: "198.51.100.77:54403", mux: true, rtp: true, payloads: types(109, 9, 0, 8, 101)},
		{file: "webrtc-offer", i: 1, n: 2, kind: "application", proto: "UDP/DTLS/SCTP", addr: "0.0.0.0", port: 9, rtcp: "0.0.0.0:10"},
		{file: "t38-offer", n: 1, kind: "image", proto: "udptl", addr: "10.0.0.10", port: 4662, rtcp: "10.0.0.10:4663"},
		{file: "t38-answer", i: 1, n: 2, kind: "image", proto: "UDPTL", addr: "203.0.113.20", port: 41100, rtcp: "203.0.113.20:41101"},
		{file: "carrier-ipv6-offer", n: 1, kind: "audio", proto: "RTP/AVP", addr: "2001:db8:20::5", port: 20480, rtcp: "[2001:db8:20::5]:20481", rtp: true, payloads: types(8, 0, 18, 100)},
		{file: "hold-rfc2543-offer", n: 1, kind: "audio", proto: "RTP/AVP", addr: "0.0.0.0", port: 18330, rtcp: "0.0.0.0:18331", rtp: true, payloads: types(8, 101)},
		{file: "camera-sloppy-offer", n: 1, kind: "audio", proto: "RTP/AVP", addr: "192.168.7.9", port: 5004, rtcp: "192.168.7.9:5005", rtp: true, payloads: types(0)},
		{file: "talkative-offer", i: 1, n: 2, kind: "message", proto: "TCP/MSRP", addr: "10.0.0.10", port: 7394, rtcp: "10.0.0.10:7395"},
	}
	files := corpus(t)
	for _, tt := range tests {
		s := must(t, files[tt.file])
		if s.Len() != tt.n {
			t.Errorf("%s: %d streams", tt.file, s.Len())
			continue
		}
		m := s.At(tt.i)
		var rtcp netip.AddrPort
		if tt.rtcp != "" {
			rtcp = netip.MustParseAddrPort(tt.rtcp)
		}
		if m.Type != tt.kind || m.Proto != tt.proto || m.Port != tt.port || m.Addr != netip.MustParseAddr(tt.addr) ||
			m.RTCP != rtcp || m.Mux != tt.mux || m.Direction != tt.direction || m.Payloads != tt.payloads ||
			m.IsRTP() != tt.rtp || m.Rejected() != (tt.port == 0) {
			t.Errorf("%s stream %d: %+v", tt.file, tt.i, m)
		}
	}
}

func TestConnectionOfAStream(t *testing.T) {
	tests := []struct {
		name, session, own string
		host               string
		addr               string
		hold               bool
	}{
		{"session", "c=IN IP4 10.0.0.1", "", "10.0.0.1", "10.0.0.1", false},
		{"own", "c=IN IP4 10.0.0.1", "c=IN IP4 10.0.0.2", "10.0.0.2", "10.0.0.2", false},
		{"own only", "", "c=IN IP6 2001:db8::1", "2001:db8::1", "2001:db8::1", false},
		{"none", "", "", "", "", false},
		{"name", "c=IN IP4 pbx.example", "", "pbx.example", "", false},
		{"mapped", "c=IN IP6 ::ffff:10.0.0.1", "", "::ffff:10.0.0.1", "10.0.0.1", false},
		{"multicast", "c=IN IP4 224.2.36.42/127", "", "224.2.36.42", "224.2.36.42", false},
		{"hold", "c=IN IP4 0.0.0.0", "", "0.0.0.0", "0.0.0.0", true},
		{"hold of one stream", "c=IN IP4 10.0.0.1", "c=IN IP6 ::", "::", "::", true},
		{"other spelling of an address", "c=IN IP4 010.000.000.001", "", "010.000.000.001", "", false},
		{"integer", "c=IN IP4 167772161", "", "167772161", "", false},
		{"telephone network", "c=PSTN E164 +441134960123", "", "+441134960123", "", false},
	}
	for _, tt := range tests {
		lines := slices.DeleteFunc([]string{"v=0", tt.session, "m=audio 4000 RTP/AVP 0", tt.own}, func(s string) bool { return s == "" })
		m := must(t, text(lines...)).At(0)
		var addr netip.Addr
		if tt.addr != "" {
			addr = netip.MustParseAddr(tt.addr)
		}
		if m.Host != tt.host || m.Addr != addr || m.Hold() != tt.hold {
			t.Errorf("%s: host %q addr %v hold %v", tt.name, m.Host, m.Addr, m.Hold())
		}
	}
}

func TestRTCPOfAStream(t *testing.T) {
	tests := []struct {
		line, want string
	}{
		{"a=ptime:20", "10.0.0.1:4001"},
		{"a=rtcp:53020", "10.0.0.1:53020"},
		{"a=rtcp:53020 IN IP4 10.0.0.7", "10.0.0.7:53020"},
		{"a=rtcp:53020 IN IP6 2001:db8::7", "[2001:db8::7]:53020"},
		{"a=RTCP:53020", "10.0.0.1:53020"},
		{"a=rtcp:0", ""},
		{"a=rtcp:53020 IN IP4 pbx.example", ""},
	}
	for _, tt := range tests {
		m := must(t, streamOf(tt.line)).At(0)
		got := ""
		if m.RTCP.IsValid() {
			got = m.RTCP.String()
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.line, got, tt.want)
		}
	}
	if m := must(t, text("v=0", "c=IN IP4 10.0.0.1", "m=audio 65535 RTP/AVP 0")).At(0); m.RTCP.IsValid() {
		t.Errorf("RTCP above the last port: %v", m.RTCP)
	}
	if m := must(t, text("v=0", "c=IN IP4 10.0.0.1", "m=audio 0 RTP/AVP 0")).At(0); m.RTCP.IsValid() {
		t.Errorf("RTCP of a rejected stream: %v", m.RTCP)
	}
	if m := must(t, streamOf("a=rtcp-mux")).At(0); !m.Mux {
		t.Error("a=rtcp-mux not seen")
	}
}

func TestDirection(t *testing.T) {
	tests := []struct {
		session, own   string
		want           Direction
		sends, receive bool
	}{
		{"a=x", "a=x", SendRecv, true, true},
		{"a=sendonly", "a=x", SendOnly, true, false},
		{"a=sendonly", "a=recvonly", RecvOnly, false, true},
		{"a=inactive", "a=sendrecv", SendRecv, true, true},
		{"a=x", "a=inactive", Inactive, false, false},
		{"a=x", "a=sendonly:x", SendOnly, true, false},
	}
	for _, tt := range tests {
		d := must(t, text("v=0", "c=IN IP4 10.0.0.1", tt.session, "m=audio 4000 RTP/AVP 0", tt.own)).At(0).Direction
		if d != tt.want || d.Sends() != tt.sends || d.Receives() != tt.receive || d.String() == "" {
			t.Errorf("%s, %s: %v", tt.session, tt.own, d)
		}
	}
	if d := must(t, streamOf("a=sendonly", "a=inactive")).At(0).Direction; d != Inactive {
		t.Errorf("of several the last counts: %v", d)
	}
}

func TestProtocols(t *testing.T) {
	tests := []struct {
		proto         string
		rtp, datagram bool
	}{
		{"RTP/AVP", true, true}, {"RTP/AVPF", true, true}, {"RTP/SAVP", true, true}, {"RTP/SAVPF", true, true},
		{"rtp/avp", true, true}, {"UDP/TLS/RTP/SAVP", true, true}, {"UDP/TLS/RTP/SAVPF", true, true},
		{"udptl", false, true}, {"UDPTL", false, true}, {"udp", false, true}, {"UDP/DTLS/SCTP", false, true},
		{"DTLS/SCTP", false, true}, {"TCP", false, false}, {"tcp", false, false}, {"TCP/RTP/AVP", false, false},
		{"TCP/MSRP", false, false}, {"TCP/TLS/BFCP", false, false}, {"TCP/DTLS/RTP/SAVP", false, false},
	}
	for _, tt := range tests {
		m := must(t, text("v=0", "m=audio 4000 "+tt.proto+" 0 x 300 127 128")).At(0)
		if m.IsRTP() != tt.rtp || m.Datagram() != tt.datagram {
			t.Errorf("%s: RTP %v, datagram %v", tt.proto, m.IsRTP(), m.Datagram())
		}
		if want := types(0, 127); tt.rtp && m.Payloads != want || !tt.rtp && m.Payloads != (Payloads{}) {
			t.Errorf("%s: payload types %x", tt.proto, m.Payloads)
		}
		if len(m.Formats) != 5 || m.NumPorts != 1 {
			t.Errorf("%s: formats %q, %d ports", tt.proto, m.Formats, m.NumPorts)
		}
	}
}
