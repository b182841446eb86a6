package sdp

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// SetOrigin makes the o= line ours and the s= line "-": products put their names there. A missing o= line is added; a
// username that is empty or holds blanks becomes "-". The id stays the same for all descriptions of a leg, the version
// rises by one where a description differs from the last (RFC 3264 §8).
func (s *Session) SetOrigin(username string, id, version uint64, addr netip.Addr) {
	if username == "" || strings.ContainsAny(username, " \t\r\n\x00") {
		username = "-"
	}
	text := "o=" + username + " " + strconv.FormatUint(id, 10) + " " + strconv.FormatUint(version, 10) + " " + network(addr)
	if i := find(s.head, 'o'); i >= 0 {
		s.head[i].text = text
	} else {
		s.head = s.insert(s.head, 1, text)
	}
	if i := find(s.head, 's'); i >= 0 {
		s.head[i].text = "s=-"
	}
	if len(s.media) == 0 { // no SetMedia will follow
		s.head = connect(s.head, addr)
	}
}

// SetMedia puts our address and ports into stream i. The stream's own c= line is rewritten, else the session's counts
// for it; one is added where neither names the address. An a=rtcp line is rewritten if there is one, with an address
// if it had one; rtcp 0 removes it. Port 0 rejects the stream. An unspecified address stays unspecified, it says hold
// (RFC 3264 §8.4). The session's c= line is rewritten by the first call, whether or not it counts.
func (s *Session) SetMedia(i int, addr netip.Addr, port, rtcp uint16) {
	if !s.moved {
		s.head = connect(s.head, addr)
		s.moved = true
	}
	sec := s.media[i]
	sec[0].setPort(port)
	if find(sec, 'c') >= 0 {
		sec = connect(sec, addr)
	} else if c, ok := s.connection(nil); port != 0 && !(ok && (c.addr == addr.Unmap() || unspecified(c.addr))) {
		at := 1 // RFC 8866 §5: m=, i=, c=, b=, k=, a=
		for at < len(sec) && sec[at].text[0] == 'i' {
			at++
		}
		sec = s.insert(sec, at, "c="+network(addr))
	}
	c, _ := s.connection(sec)
	s.media[i] = setRTCP(sec, addr, rtcp, unspecified(c.addr))
}

// Reject declines stream i, or closes it (RFC 3264 §6, §8.2): port 0, and no line of it names an address. The m= line
// stays, so that the streams of offer and answer still pair. With the last stream the session's c= line is blanked too.
func (s *Session) Reject(i int) {
	sec := s.media[i]
	sec[0].setPort(0)
	s.media[i] = slices.DeleteFunc(blank(sec), func(l line) bool {
		name, _ := l.attribute()
		return strings.EqualFold(name, "rtcp") || iceAttribute(name) || l.crypto() || l.reveals()
	})
	for _, sec := range s.media {
		if st, _ := parseStream(sec[0].value()); st.port != 0 {
			return
		}
	}
	if !s.moved {
		s.head = blank(s.head)
	}
}

// RejectAll makes of an offer the answer that declines every stream: bare m= lines with port 0. SetOrigin makes it
// ours.
func (s *Session) RejectAll() {
	for i, sec := range s.media {
		sec[0].setPort(0)
		s.media[i] = sec[:1]
	}
	s.head = slices.DeleteFunc(blank(s.head), func(l line) bool {
		return strings.IndexByte("vosct", l.text[0]) < 0
	})
	s.moved = true
}

// setPort replaces port and number of ports of an m= line: a relay has one pair for a stream.
func (l *line) setPort(port uint16) {
	v := l.value()
	st, _ := parseStream(v)
	if st.port == port && st.num == 1 {
		return
	}
	l.text = "m=" + v[:st.portAt] + strconv.Itoa(int(port)) + v[st.portEnd:]
}

// connect rewrites the first c= line of a section and drops its others, which would be layers of multicast.
func connect(sec []line, addr netip.Addr) []line {
	first := find(sec, 'c')
	if first < 0 {
		return sec
	}
	c, _ := parseConnection(sec[first].value())
	if unspecified(c.addr) {
		addr = nowhere(addr)
	}
	if c.addr != addr.Unmap() || !unspecified(addr) {
		sec[first].text = "c=" + network(addr)
	}
	return dropAfter(sec, first, func(l line) bool { return l.text[0] == 'c' })
}

// blank is connect with the unspecified address of the line's own family: no media is wanted.
func blank(sec []line) []line {
	addr := netip.IPv4Unspecified()
	if i := find(sec, 'c'); i >= 0 {
		if c, _ := parseConnection(sec[i].value()); c.addr.IsValid() {
			addr = nowhere(c.addr)
		}
	}
	return connect(sec, addr)
}

// nowhere is the unspecified address of the family of an address.
func nowhere(addr netip.Addr) netip.Addr {
	if addr.Unmap().Is6() {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

// setRTCP rewrites the first a=rtcp line of a stream and drops its others.
func setRTCP(sec []line, addr netip.Addr, port uint16, held bool) []line {
	isRTCP := func(l line) bool {
		name, _ := l.attribute()
		return strings.EqualFold(name, "rtcp")
	}
	first := slices.IndexFunc(sec, isRTCP)
	if first < 0 {
		return sec
	}
	if port == 0 {
		return slices.DeleteFunc(sec, isRTCP)
	}
	_, v := sec[first].attribute()
	r, _ := parseRTCP(v)
	text := "a=rtcp:" + strconv.Itoa(int(port))
	switch {
	case r.host == "":
	case held && unspecified(literal(r.host)):
		text += " " + network(nowhere(addr))
	default:
		text += " " + network(addr)
	}
	sec[first].text = text
	return dropAfter(sec, first, isRTCP)
}

// dropAfter removes the lines behind an index that match.
func dropAfter(sec []line, i int, match func(line) bool) []line {
	return sec[:i+1+len(slices.DeleteFunc(sec[i+1:], match))]
}

// insert puts a line before index at (which is not 0), with the line end of the line before it.
func (s *Session) insert(sec []line, at int, text string) []line {
	before := &sec[at-1]
	l := line{text: text, end: before.end}
	if before.end == "" { // it was the last line, and had no end
		if before.end = s.head[0].end; before.end == "" {
			before.end = "\r\n"
		}
	}
	return slices.Insert(sec, at, l)
}

// network is nettype, addrtype and address as o=, c= and a=rtcp write them.
func network(addr netip.Addr) string {
	if addr = addr.Unmap(); addr.Is6() {
		return "IN IP6 " + addr.WithZone("").String()
	}
	return "IN IP4 " + addr.String()
}

func unspecified(a netip.Addr) bool { return a.IsValid() && a.IsUnspecified() }
