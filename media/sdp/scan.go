package sdp

import (
	"bytes"
	"iter"
	"net/netip"
)

// Replace puts an address in the place of every host of which leaks is true, and changes the addrtype before it with
// it. A line of candidates that holds one is taken out: its port would be wrong at any other address. Without a hit b
// itself comes back; else a copy and the number of hits.
func Replace(b []byte, leaks func(host []byte) bool, by netip.Addr) ([]byte, int) {
	var out []byte
	hits, copied := 0, 0
	for at := 0; at < len(b); {
		l, next := nextLine(b, at)
		for h := range hosts(l) {
			if !leaks(l[h.from:h.to]) {
				continue
			}
			hits++
			if h.candidate {
				out = append(out, b[copied:at]...)
				copied = next
				break
			}
			from := at + h.from
			if h.family >= 0 {
				from = at + h.family
			}
			out = append(out, b[copied:from]...)
			copied = at + h.to
			if h.family < 0 {
				out = by.Unmap().AppendTo(out)
				continue
			}
			out = append(out, network(by)[len("IN "):]...)
		}
		at = next
	}
	if hits == 0 {
		return b, 0
	}
	return append(out, b[copied:]...), hits
}

// nextLine is the line that begins at an index, without its end, and the index of the one behind it.
func nextLine(b []byte, at int) (l []byte, next int) {
	end := bytes.IndexByte(b[at:], '\n')
	if end < 0 {
		return bytes.TrimRight(b[at:], "\r"), len(b)
	}
	return bytes.TrimRight(b[at:at+end], "\r"), at + end + 1
}

// host is the place of a host in a line.
type host struct {
	from, to  int
	family    int  // where the addrtype before it begins, or -1
	candidate bool // the line is one of ICE
}

// hosts yields the hosts of one line.
func hosts(l []byte) iter.Seq[host] {
	return func(yield func(host) bool) {
		switch {
		case len(l) < 2 || l[1] != '=':
		case l[0] == 'c':
			yieldNetwork(l, 2, 2, yield) // nettype, addrtype, address
		case l[0] == 'o':
			// From the right, as Origin does: the user name may hold blanks.
			n := 0
			for at := 2; ; n++ {
				w, end := field(l, at)
				if w == end {
					break
				}
				at = end
			}
			if n >= 1 {
				yieldNetwork(l, 2, n-1, yield)
			}
		case l[0] != 'a':
		case attributeIs(l, "rtcp"):
			yieldNetwork(l, len("a=rtcp:"), 3, yield)
		case attributeIs(l, "candidate"):
			yieldCandidate(l, yield)
		case attributeIs(l, "remote-candidates"):
			// RFC 8839 §5.2: component, address, port, repeated.
			at := len("a=remote-candidates:")
			for n := 0; ; n++ {
				w, end := field(l, at)
				if w == end || n%3 == 1 && !yield(host{from: w, to: end, family: -1, candidate: true}) {
					return
				}
				at = end
			}
		}
	}
}

// yieldNetwork yields the address that stands in field n, counted from 0, and the addrtype before it.
func yieldNetwork(l []byte, at, n int, yield func(host) bool) {
	family := -1
	for i := 0; ; i++ {
		w, end := field(l, at)
		if w == end {
			return
		}
		if i == n {
			if slash := bytes.IndexByte(l[w:end], '/'); slash >= 0 {
				end = w + slash // multicast: address/ttl
			}
			yield(host{from: w, to: end, family: family})
			return
		}
		if family = -1; i == n-1 {
			family = w
		}
		at = end
	}
}

// yieldCandidate yields the connection address and the related address (RFC 8839 §5.1).
func yieldCandidate(l []byte, yield func(host) bool) {
	related := false
	at := len("a=candidate:")
	for i := 0; ; i++ {
		w, end := field(l, at)
		if w == end {
			return
		}
		if (i == 4 || related) && !yield(host{from: w, to: end, family: -1, candidate: true}) {
			return
		}
		related = bytes.EqualFold(l[w:end], []byte("raddr"))
		at = end
	}
}

// field is the next run of non-blanks from an index; begin and end are equal where there is none.
func field(l []byte, at int) (begin, end int) {
	for at < len(l) && (l[at] == ' ' || l[at] == '\t') {
		at++
	}
	end = at
	for end < len(l) && l[end] != ' ' && l[end] != '\t' {
		end++
	}
	return at, end
}

// attributeIs reports whether an a= line has a name, in any case, and a value.
func attributeIs(l []byte, name string) bool {
	v := l[2:]
	return len(v) > len(name) && v[len(name)] == ':' && bytes.EqualFold(v[:len(name)], []byte(name))
}
