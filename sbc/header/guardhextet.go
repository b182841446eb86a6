package header

import (
	"net/netip"

	"sallyport/sbc/userpart"
)

// hextets finds IPv6 addresses, with brackets and without, in any case and with all or none of their zeros, also in front of a port;
// and IPv4 addresses within them, see embedded. One within a longer run of digits and colons is found if the run is not itself the
// address of somebody else.
func hextets[T text](c *check, v T) (list []splice) {
	for i := 0; ; {
		colon := index(v, i, ':')
		if colon < 0 {
			return list
		}
		second := colon + 1
		for second < len(v) && hexByte(v[second]) {
			second++
		}
		if second == len(v) || v[second] != ':' { // one colon makes none
			i = second
			continue
		}
		for colon > i && hexByte(v[colon-1]) {
			colon--
		}
		list, i = hextetRun(c, v, colon, list)
	}
}

// hextetRun looks through a run of hexadecimal digits, colons and dots that begins at i, and tells where it ends.
func hextetRun[T text](c *check, v T, i int, list []splice) ([]splice, int) {
	for i < len(v) {
		hex := hexByte(v[i])
		if hex || double(v, i) && (i == 0 || !hexByte(v[i-1])) {
			a, end := hextet(v, i)
			leaks := end > i && c.addr(a)
			if !leaks && end > i {
				end, leaks = beforePort(c, v, i, end)
			}
			if leaks && c.replace() {
				list = append(list, inPlaceOf(c, v, i, end))
				end = list[len(list)-1].to
			}
			if leaks || end > i && assigned(a) && !goesOn(v, end) {
				i = end
				continue
			}
		}
		switch {
		case hex:
			for i < len(v) && hexByte(v[i]) {
				i++
			}
		case v[i] == ':', v[i] == '.':
			i++
		default:
			return list, i
		}
	}
	return list, i
}

// hextet reads the longest IPv6 address that begins at i (RFC 4291 §2.2). end is i if there is none. netip reads texts whose end is
// known.
func hextet[T text](v T, i int) (a netip.Addr, end int) {
	var groups [8]uint16
	n, gap, at, whole := 0, -1, i, 0 // gap: the groups before "::"; whole: the groups up to end
	end = i
	if double(v, at) {
		if gap, at = 0, at+2; at == len(v) || !hexByte(v[at]) && v[at] != ':' { // of ":::" the end is one
			end = at
		}
	}
	for n < len(groups) {
		if b, stop := quad(v, at); stop > at && (gap < 0 && n == 6 || gap >= 0 && n < 6) {
			groups[n], groups[n+1] = uint16(b[0])<<8|uint16(b[1]), uint16(b[2])<<8|uint16(b[3])
			return ipv6(&groups, n+2, gap), stop
		}
		first := at
		for at < len(v) && hexByte(v[at]) && at-first <= 4 {
			groups[n] = groups[n]<<4 | uint16(userpart.Hex(v[at]))
			at++
		}
		if at == first || at-first > 4 {
			break
		}
		if n++; gap < 0 && n == 8 || gap >= 0 && n < 8 {
			whole, end = n, at
		}
		if at == len(v) || v[at] != ':' {
			break
		}
		if at++; at == len(v) || v[at] != ':' {
			continue
		}
		if gap >= 0 || n == 8 {
			break
		}
		if gap, at = n, at+1; at == len(v) || !hexByte(v[at]) {
			whole, end = n, at
		}
	}
	return ipv6(&groups, whole, gap), end
}

// double reports whether "::" stands at i.
func double[T text](v T, i int) bool { return i+1 < len(v) && v[i] == ':' && v[i+1] == ':' }

// goesOn reports whether more of a run of digits and colons stands behind an address, which it has too many of for one.
func goesOn[T text](v T, i int) bool {
	return i+1 < len(v) && v[i] == ':' && (v[i+1] == ':' || hexByte(v[i+1]))
}

// ipv6 is the address of n groups, with zeros in the gap behind the first ones; -1: there is none.
func ipv6(groups *[8]uint16, n, gap int) netip.Addr {
	var b [16]byte
	for i, g := range groups[:n] {
		if gap >= 0 && i >= gap {
			i += len(groups) - n
		}
		b[2*i], b[2*i+1] = byte(g>>8), byte(g)
	}
	return netip.AddrFrom16(b)
}

// assigned reports whether an address can be somebody's (RFC 4291 §2.4, and what IPv4 addresses are embedded in); a run of digits and
// colons that is none, as "1712:fd00:10::10" or the end of "received:fd00:10::10", may still hold one.
func assigned(a netip.Addr) bool {
	b := a.As16()
	switch first := uint16(b[0])<<8 | uint16(b[1]); {
	case first>>13 == 1, first>>9 == 0xfc>>1, first>>6 == 0xfe80>>6, first>>8 == 0xff, first == 0, first == 0x64:
		return true
	}
	return false
}

// beforePort finds an address that leaks in front of a port. Without brackets the two look like one address (RFC 5118 §4.3).
func beforePort[T text](c *check, v T, i, end int) (int, bool) {
	port := end
	for port > i && digit(v[port-1]) {
		port--
	}
	if size := end - port; size < 4 || size > 5 || port == i || v[port-1] != ':' || bracketed(v, i, end) > 0 {
		return end, false
	}
	a, at := hextet(v[:port-1], i)
	return at, at == port-1 && c.addr(a)
}

// inPlaceOf puts our address in the place of the one at v[i:end], with brackets and zone.
func inPlaceOf[T text](c *check, v T, i, end int) splice {
	if behind := bracketed(v, i, end); behind > 0 {
		return splice{i - 1, behind, c.g.text[c.side]}
	}
	if i > 0 && v[i-1] == ':' || end < len(v) && v[end] == ':' {
		return splice{i, end, c.g.text[c.side]}
	}
	return splice{i, end, c.g.own[c.side].String()} // as bare as what it replaces
}

// bracketed is the index behind the brackets around v[i:end], 0: there are none. A zone may stand in them (RFC 4007 §11, RFC 6874).
func bracketed[T text](v T, i, end int) int {
	if i == 0 || v[i-1] != '[' {
		return 0
	}
	if end < len(v) && v[end] == '%' {
		for end++; end < len(v) && (hostByte[v[end]] || v[end] == '~' || v[end] == '%'); {
			end++
		}
	}
	if end < len(v) && v[end] == ']' {
		return end + 1
	}
	return 0
}

// embeddings are the prefixes behind which an IPv4 address stands, and where: IPv4-compatible (RFC 4291 §2.5.5.1), IPv4-translated
// (RFC 2765 §2.1), NAT64 (RFC 6052 §2.2; RFC 8215, at each of its lengths), 6to4 (RFC 3056 §2). IPv4-mapped ones are IPv4 to Unmap.
var embeddings = []struct {
	prefix netip.Prefix
	at     [4]int
}{
	{netip.MustParsePrefix("::/96"), [4]int{12, 13, 14, 15}},
	{netip.MustParsePrefix("::ffff:0:0:0/96"), [4]int{12, 13, 14, 15}},
	{netip.MustParsePrefix("64:ff9b::/96"), [4]int{12, 13, 14, 15}},
	{netip.MustParsePrefix("64:ff9b:1::/48"), [4]int{6, 7, 9, 10}},
	{netip.MustParsePrefix("64:ff9b:1::/48"), [4]int{7, 9, 10, 11}},
	{netip.MustParsePrefix("64:ff9b:1::/48"), [4]int{9, 10, 11, 12}},
	{netip.MustParsePrefix("64:ff9b:1::/48"), [4]int{12, 13, 14, 15}},
	{netip.MustParsePrefix("2002::/16"), [4]int{2, 3, 4, 5}},
}

// embedded reports whether an IPv6 address shows an IPv4 address that leaks.
func (c *check) embedded(a netip.Addr) bool {
	b := a.As16()
	for _, e := range embeddings {
		if e.prefix.Contains(a) && c.shown(netip.AddrFrom4([4]byte{b[e.at[0]], b[e.at[1]], b[e.at[2]], b[e.at[3]]})) {
			return true
		}
	}
	// ISATAP (RFC 5214 §6.1), behind any prefix.
	return b[8]&^2 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe && c.shown(netip.AddrFrom4([4]byte(b[12:])))
}

// literal reads a host that is an address, without brackets.
func literal[T text](h T) (netip.Addr, bool) {
	if a, end := quad(h, 0); end > 0 && end == len(h) {
		return netip.AddrFrom4(a), true
	}
	if a, end := hextet(h, 0); end > 0 && (end == len(h) || h[end] == '%') {
		return a, true
	}
	return netip.Addr{}, false
}
