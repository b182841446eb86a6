package header

import (
	"net/netip"

	"sallyport/sbc/userpart"
)

// quads finds IPv4 addresses: four numbers with dots between them, with leading zeros or without, also within longer words.
// "1712-10.0.0.2", "v10.0.0.2" and "10.0.0.2.5060" show an address as well as "10.0.0.2" does; "10.0.0.20" shows another one.
func quads[T text](c *check, v T) (list []splice) {
	for i := 0; ; {
		dot := index(v, i, '.')
		if dot < 0 {
			return list
		}
		from, to := dot, dot+1
		for from > i && digit(v[from-1]) {
			from--
		}
		for to < len(v) && quadByte(v[to]) {
			to++
		}
		i = to
		for from < to && v[from] == '.' { // a full stop belongs to the text
			from++
		}
		for to > from && v[to-1] == '.' {
			to--
		}
		if to-from >= len("0.0.0.0") {
			list = quadRun(c, v, from, to, list)
		}
	}
}

// quadRun looks through a run of digits and dots.
func quadRun[T text](c *check, v T, from, to int, list []splice) []splice {
	run, at := v[from:to], 0
	var now []byte // with our address in it
	for {
		begin, end := quadIn(c, run, at)
		if end == 0 {
			break
		}
		if now == nil && dialled(run, from > 0 && v[from-1] == '+') {
			return list
		}
		if c.replace() {
			now = append(append(now, run[at:begin]...), c.g.text[c.side]...)
			at = end
			continue
		}
		return list
	}
	if now == nil {
		return list
	}
	now = append(now, run[at:]...)
	if _, end := quadIn(c, now, 0); end > 0 { // a part of our address and what stands beside it
		now = append(now[:0], c.g.text[c.side]...)
	}
	return append(list, splice{from, to, string(now)})
}

// quadIn is where the next address that leaks stands in a run of digits and dots, from the beginning of a number on. end is 0
// where there is none.
func quadIn[T text](c *check, run T, at int) (begin, end int) {
	for {
		if a, end := quad(run, at); end > at {
			if c.addr(netip.AddrFrom4(a)) {
				return at, end
			}
			if end == len(run) {
				return 0, 0
			}
		}
		dot := index(run, at, '.')
		if dot < 0 {
			return 0, 0
		}
		at = dot + 1
	}
}

// dialled reports whether a run of digits and dots is too long for an address and written as telephone numbers are, with dots for
// the eye (RFC 3966 §5.1.1): behind a "+", or in groups of two, "01.10.20.30.40". Whom it calls must not change.
func dialled[T text](run T, plus bool) bool {
	groups, length, pairs := 1, 0, true
	for i := range len(run) {
		if run[i] != '.' {
			length++
			continue
		}
		if length == 0 {
			return false
		}
		pairs = pairs && length == 2
		groups, length = groups+1, 0
	}
	return groups > 4 && (plus || pairs && length == 2)
}

// quad reads the four numbers of an IPv4 address at i. end is i if there are none.
func quad[T text](v T, i int) (a [4]byte, end int) {
	at := i
	for n := range a {
		first, value := at, 0
		for at < len(v) && digit(v[at]) {
			value = min(value*10+int(v[at]-'0'), 256)
			at++
		}
		if at == first || value > 255 || n < 3 && (at == len(v) || v[at] != '.') {
			return a, i
		}
		a[n] = byte(value)
		if at++; n == 3 {
			at--
		}
	}
	return a, at
}

func quadByte(c byte) bool { return digit(c) || c == '.' }

// hostNumber reads a host that resolvers take for an address although it is no dotted quad: "167772162", "10.2", "012.0.0.2",
// "0x0a000002" (POSIX, inet_addr). numeric says that it is no name; a is invalid if it is no such address, or a dotted quad, which
// is found anywhere.
func hostNumber[T text](w T) (a netip.Addr, numeric bool) {
	if w[len(w)-1] == '.' {
		w = w[:len(w)-1]
	}
	var parts [4]uint64
	n, usual := 0, true
	for at := 0; at <= len(w); at++ {
		base, value, next := cNumber(w, at)
		if next == at || n == len(parts) || next < len(w) && w[next] != '.' {
			return a, false
		}
		usual = usual && base == 10
		parts[n], at = value, next
		n++
	}
	if n == 0 || n == len(parts) && usual {
		return a, true
	}
	last := parts[n-1]
	if last >= 1<<(8*(5-n)) {
		return a, true
	}
	for i, p := range parts[:n-1] {
		if p > 255 {
			return a, true
		}
		last |= p << (24 - 8*i)
	}
	return netip.AddrFrom4([4]byte{byte(last >> 24), byte(last >> 16), byte(last >> 8), byte(last)}), true
}

// cNumber reads a number as C writes it: hexadecimal behind 0x, octal behind 0. next is at if there is none.
func cNumber[T text](w T, at int) (base int, value uint64, next int) {
	base, next = 10, at
	switch {
	case at+2 < len(w) && w[at] == '0' && w[at+1]|0x20 == 'x' && hexByte(w[at+2]):
		base, next = 16, at+2
	case at+1 < len(w) && w[at] == '0' && digit(w[at+1]):
		base, next = 8, at+1
	}
	for next < len(w) {
		d := userpart.Hex(w[next])
		if d < 0 || d >= base {
			break
		}
		value = min(value*uint64(base)+uint64(d), 1<<32)
		next++
	}
	return base, value, next
}
