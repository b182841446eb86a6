package sdp

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Direction says which way media flows, as seen by who wrote the description (RFC 8866 §6.7).
type Direction uint8

// The directions.
const (
	SendRecv Direction = iota
	SendOnly
	RecvOnly
	Inactive
)

var directionNames = [...]string{"sendrecv", "sendonly", "recvonly", "inactive"}

// String is the attribute's name.
func (d Direction) String() string { return directionNames[d] }

// Sends reports whether the writer means to send.
func (d Direction) Sends() bool { return d == SendRecv || d == SendOnly }

// Receives reports whether the writer means to receive.
func (d Direction) Receives() bool { return d == SendRecv || d == RecvOnly }

// Payloads is the set of RTP payload types 0–127 of a stream: bit n of the 128.
type Payloads = [2]uint64

// Media is what a relay must know of one stream: a copy, taken when At was called.
type Media struct {
	Type     string // "audio", "video", "image", "text", "application", …
	Port     uint16 // 0: rejected, or not used any more
	NumPorts int    // ports asked for; 1 where the line does not say
	Proto    string // as written
	Formats  []string

	Host string     // of the c= line that counts for the stream; empty: there is none
	Addr netip.Addr // the same as an address, unmapped; invalid: a host name, or none

	RTCP      netip.AddrPort // from a=rtcp, else Addr and Port+1 (RFC 3605); invalid where no address is known
	RTCPHost  string         // of a=rtcp, as written, else empty
	Mux       bool           // a=rtcp-mux: RTCP may come on the RTP port (RFC 5761)
	Direction Direction
	Payloads  Payloads // of an RTP stream: the numbers of its formats
}

// Rejected reports whether the stream is declined or closed (RFC 3264 §6, §8.2).
func (m *Media) Rejected() bool { return m.Port == 0 }

// Hold reports the hold of RFC 2543 equipment, an unspecified connection address (RFC 3264 §8.4).
func (m *Media) Hold() bool { return m.Addr.IsValid() && m.Addr.IsUnspecified() }

// IsRTP reports whether the stream is RTP over UDP of any profile: RTP/AVP, RTP/SAVPF, UDP/TLS/RTP/SAVP, …
func (m *Media) IsRTP() bool {
	return m.Datagram() && (hasFold(m.Proto, "RTP/") || strings.Contains(strings.ToUpper(m.Proto), "/RTP/"))
}

// Datagram reports whether the stream runs over UDP, so that a relay of datagrams can carry it: every protocol but
// those whose name begins with TCP (RFC 4145, 4571, 4975: TCP, TCP/RTP/AVP, TCP/MSRP, TCP/TLS/…).
func (m *Media) Datagram() bool {
	return !strings.EqualFold(m.Proto, "TCP") && !hasFold(m.Proto, "TCP/")
}

func hasFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// Len is the number of m= lines, rejected ones included.
func (s *Session) Len() int { return len(s.media) }

// At reads stream i, counted from 0. It panics where there is none.
func (s *Session) At(i int) Media {
	sec := s.media[i]
	st, _ := parseStream(sec[0].value()) // Parse has checked the line
	m := Media{
		Type: st.media, Port: st.port, NumPorts: st.num, Proto: st.proto,
		Formats: strings.Fields(st.formats), Direction: s.direction(sec),
	}
	if c, ok := s.connection(sec); ok {
		m.Host, m.Addr = c.host, c.addr
	}
	m.readRTCP(sec)
	if m.IsRTP() {
		m.readPayloads()
	}
	return m
}

func (m *Media) readRTCP(sec []line) {
	addr, port := m.Addr, uint32(m.Port)+1
	for _, l := range sec {
		switch name, v := l.attribute(); {
		case strings.EqualFold(name, "rtcp-mux"):
			m.Mux = true
		case strings.EqualFold(name, "rtcp"):
			r, _ := parseRTCP(v)
			port = uint32(r.port)
			if r.host != "" {
				m.RTCPHost, addr = r.host, literal(r.host)
			}
		}
	}
	if m.Port != 0 && addr.IsValid() && port > 0 && port <= 65535 {
		m.RTCP = netip.AddrPortFrom(addr, uint16(port))
	}
}

func (m *Media) readPayloads() {
	for _, f := range m.Formats {
		if pt, err := strconv.ParseUint(f, 10, 8); err == nil && pt < 128 {
			m.Payloads[pt>>6] |= 1 << (pt & 63)
		}
	}
}

// direction is the stream's own attribute, else the session's, else sendrecv (RFC 8866 §6.7).
func (s *Session) direction(sec []line) Direction {
	for _, lines := range [2][]line{sec, s.head} {
		for i := len(lines) - 1; i >= 0; i-- { // the last of several is what most receivers keep
			name, _ := lines[i].attribute()
			for d, n := range directionNames {
				if name == n {
					return Direction(d)
				}
			}
		}
	}
	return SendRecv
}

// connection is the c= line that counts for a stream: its own first one, else the session's (RFC 8866 §5.7).
func (s *Session) connection(sec []line) (connection, bool) {
	for _, lines := range [2][]line{sec, s.head} {
		if i := find(lines, 'c'); i >= 0 {
			return parseConnection(lines[i].value())
		}
	}
	return connection{}, false
}

// attribute splits an a= line into name and value; the name is empty for a line of another type.
func (l line) attribute() (name, value string) {
	if l.text == "" || l.text[0] != 'a' {
		return "", ""
	}
	name, value, _ = strings.Cut(l.value(), ":")
	return strings.TrimRight(name, " "), value
}

// stream is an m= line (RFC 8866 §5.14): media, port[/number], protocol, formats.
type stream struct {
	media, proto, formats string
	port                  uint16
	num                   int
	portAt, portEnd       int // where port and number stand in the value
}

func parseStream(v string) (stream, error) {
	st := stream{num: 1}
	media, at := word(v, 0)
	port, end := word(v, at)
	proto, rest := word(v, end)
	st.media, st.proto, st.formats = media, proto, v[rest:]
	st.portAt, st.portEnd = end-len(port), end
	p, number, several := strings.Cut(port, "/")
	n, err := strconv.ParseUint(p, 10, 16)
	if err != nil || proto == "" {
		return st, fmt.Errorf("m= line %.60q, want m=MEDIA PORT PROTOCOL FORMAT…", "m="+v)
	}
	st.port = uint16(n)
	if several {
		if k, err := strconv.ParseUint(number, 10, 16); err == nil && k > 0 {
			st.num = int(k)
		} else {
			return st, fmt.Errorf("m= line %.60q: number of ports, want 1–65535", "m="+v)
		}
	}
	return st, nil
}

// word is the next run of non-blanks in s from an index, and the index behind it.
func word(s string, from int) (w string, end int) {
	for from < len(s) && (s[from] == ' ' || s[from] == '\t') {
		from++
	}
	end = from
	for end < len(s) && s[end] != ' ' && s[end] != '\t' {
		end++
	}
	return s[from:end], end
}

// connection is a c= line (RFC 8866 §5.7).
type connection struct {
	host string // without TTL and number of addresses
	addr netip.Addr
}

func parseConnection(v string) (connection, bool) {
	_, at := word(v, 0)
	_, at = word(v, at)
	host, _ := word(v, at)
	host, _, _ = strings.Cut(host, "/") // multicast: address/ttl/number
	return connection{host: host, addr: literal(host)}, host != ""
}

// rtcpAttr is the value of a=rtcp (RFC 3605 §2.1).
type rtcpAttr struct {
	port uint16
	host string // empty: the stream's
}

func parseRTCP(v string) (rtcpAttr, bool) {
	port, at := word(v, 0)
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return rtcpAttr{}, false
	}
	_, at = word(v, at)
	_, at = word(v, at)
	host, _ := word(v, at)
	return rtcpAttr{port: uint16(n), host: host}, true
}

// literal reads an address; it is invalid for a host name. An IPv4 address in IPv6 clothes is an IPv4 address.
func literal(host string) netip.Addr {
	a, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap()
}
