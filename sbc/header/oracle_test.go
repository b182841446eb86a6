package header

import (
	"bytes"
	"html"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"sallyport/nat"
)

// naive looks for addresses in a text the slow way: at every part of it, at every depth of escaping.
type naive struct {
	addrs map[netip.Addr]bool
	nets  []netip.Prefix // IPv4 addresses within IPv6 ones, where they are its last bits or its first ones
}

// oracle looks for the secret addresses.
var oracle = newNaive(secretAddrs...)

func newNaive(addrs ...netip.Addr) *naive {
	o := &naive{addrs: map[netip.Addr]bool{}}
	for _, a := range addrs {
		o.addrs[a] = true
		if a.Is6() {
			continue
		}
		for _, p := range []string{"::ffff:", "::", "::ffff:0:", "64:ff9b::", "64:ff9b:1::"} {
			o.addrs[netip.MustParseAddr(p+a.String())] = true
		}
		b := a.As4()
		o.nets = append(o.nets, netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 0x02, b[0], b[1], b[2], b[3]}), 48))
	}
	return o
}

// is reports whether an IPv6 address is or shows one of the secret ones.
func (o *naive) is(a netip.Addr) bool {
	if o.addrs[a] || o.addrs[a.Unmap()] {
		return true
	}
	for _, p := range o.nets {
		if p.Contains(a) {
			return true
		}
	}
	b := a.As16()
	if a.Is6() && bytes.HasPrefix(b[:], []byte{0, 0x64, 0xff, 0x9b, 0, 1}) {
		for _, at := range [][4]int{{6, 7, 9, 10}, {7, 9, 10, 11}, {9, 10, 11, 12}} {
			if o.addrs[netip.AddrFrom4([4]byte{b[at[0]], b[at[1]], b[at[2]], b[at[3]]})] {
				return true
			}
		}
	}
	return a.Is6() && assigned(a) && (bytes.Equal(b[8:12], []byte{0, 0, 0x5e, 0xfe}) || bytes.Equal(b[8:12], []byte{2, 0, 0x5e, 0xfe})) && o.addrs[netip.AddrFrom4([4]byte(b[12:]))]
}

var (
	aQuad    = regexp.MustCompile(`^\d+(\.\d+){3}$`)
	aRun     = regexp.MustCompile(`[\d.]+`)
	aNumber  = regexp.MustCompile(`^(\d{2})(\.\d{2}){4,}$`)
	aPort    = regexp.MustCompile(`^:\d{4,5}$`)
	aHost    = regexp.MustCompile(`(?i)(?:@|//|sips?:)([a-z0-9._-]+)`)
	escapedC = regexp.MustCompile(`%[0-9a-fA-F]{2}|(?s:\\.)|&#?\w+;`)
)

// shows reports whether somebody finds a secret address in a text.
func (o *naive) shows(v string) bool {
	for range deepest + 1 {
		if o.showsAt(v) {
			return true
		}
		v = escapedC.ReplaceAllStringFunc(v, func(s string) string {
			if s[0] == '\\' {
				return s[1:]
			}
			if s[0] == '&' {
				if c := html.UnescapeString(s); len(c) == 1 && len(s) <= referenceMost && !strings.HasPrefix(s, "&#X") {
					return c
				}
				return s
			}
			s, _ = url.PathUnescape(s)
			return s
		})
	}
	return false
}

func (o *naive) showsAt(v string) bool {
	for _, at := range aRun.FindAllStringIndex(v, -1) {
		run := strings.Trim(v[at[0]:at[1]], ".")
		groups := strings.Split(run, ".")
		plus := at[0] > 0 && v[at[0]-1] == '+' && v[at[0]] != '.' && !strings.Contains(run, "..")
		if len(groups) > 4 && (plus || aNumber.MatchString(run)) {
			continue
		}
		for i := range max(0, len(groups)-3) {
			if q := strings.Join(groups[i:i+4], "."); aQuad.MatchString(q) {
				if a, ok := quadOf(groups[i : i+4]); ok && o.addrs[a] {
					return true
				}
			}
		}
	}
	for i := range len(v) {
		if i > 0 && hexByte(v[i-1]) {
			continue
		}
		for j := i + 2; j <= min(len(v), i+60); j++ {
			if !addressByte(v[j-1]) || !addressByte(v[i]) {
				break
			}
			if j < len(v) && hexByte(v[j]) || strings.Count(v[i:j], ":") < 2 {
				continue
			}
			if a, err := netip.ParseAddr(v[i:j]); err == nil && a.Zone() == "" && o.is(a) && !o.partOf(v, i, j) {
				return true
			}
		}
	}
	return false
}

// partOf reports whether what stands at v[i:j] is only a part of somebody else's address.
func (o *naive) partOf(v string, i, j int) bool {
	for from := max(0, i-40); from <= i; from++ {
		if from > 0 && hexByte(v[from-1]) {
			continue
		}
		for to := j; to <= min(len(v), j+40) && (to == j || addressByte(v[to-1])); to++ {
			if from == i && to == j || to < len(v) && hexByte(v[to]) || from < i && goesOn(v, to) {
				continue
			}
			a, err := netip.ParseAddr(v[from:to])
			if err != nil || a.Zone() != "" || !a.Is6() || !assigned(a) {
				continue
			}
			if from < i || !aPort.MatchString(v[j:to]) || from > 0 && v[from-1] == '[' {
				return true
			}
		}
	}
	return false
}

func addressByte(c byte) bool { return hexByte(c) || c == ':' || c == '.' }

func quadOf(groups []string) (netip.Addr, bool) {
	var b [4]byte
	for i, g := range groups {
		n, err := strconv.ParseUint(strings.TrimLeft(g, "0")+"", 10, 8)
		if strings.Trim(g, "0") == "" {
			n, err = 0, nil
		}
		if err != nil {
			return netip.Addr{}, false
		}
		b[i] = byte(n)
	}
	return netip.AddrFrom4(b), true
}

// resolves reports whether a host at v that resolvers read as a number is secret: what the guard may change besides.
func (o *naive) resolves(v string) bool {
	for range deepest + 1 {
		for _, at := range aHost.FindAllStringSubmatch(v, -1) {
			parts := strings.Split(strings.TrimSuffix(at[1], "."), ".")
			n := uint64(0)
			for i, p := range parts {
				x, err := strconv.ParseUint(p, 0, 64)
				if err != nil {
					break
				}
				if i < len(parts)-1 {
					x <<= 24 - 8*i
				}
				n |= x
			}
			if o.addrs[netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})] {
				return true
			}
		}
		v = html.UnescapeString(escapedC.ReplaceAllStringFunc(v, func(s string) string {
			if s[0] == '%' {
				s, _ = url.PathUnescape(s)
			}
			return strings.TrimPrefix(s, `\`)
		}))
	}
	return false
}

// FuzzScan holds the scanner against the naive look: nothing that it finds survives, and nothing else changes.
func FuzzScan(f *testing.F) {
	for _, s := range []string{
		"10.0.0.10", "x-10.0.0.10.", "1.10.0.0.2.5", "01.10.20.30.40", "010.000.000.010", "[fd00:10::10]", "::ffff:10.0.0.10", "::ffff:a00:a", "64:ff9b::a00:a",
		"2001:db8:fd00:10::10", "fd00:10::10:5060", "1712:fd00:10::10", "[fd00:10::10%25eth0]", "10%2E0.0.10", "%2531%25310", `1\0.0.0.10`, "&#49;0.0.0.10", "%2010.0.0.10",
		"sip:a@0x0a00000a", "http://10.10/", "fe80::5efe:a00:2", "2002:a00:2::", "fd00:0:0:0:0:0:0:10", "10.0.0.10.0.0.10", "+.10.0.0.10", "+1.10.0.0.10.", "1::5efe:A00:2", "::0::A00:2", "::A00:2:00::0", "2002:A00:2:::",
	} {
		f.Add(s)
	}
	g := NewGuard([2][]netip.Addr{{gateOutside}, {gateInside}}, [2][]string{nat.Inside: {"10.0.0.10", "10.0.0.11", "fd00:10::10"}})
	f.Fuzz(func(t *testing.T, v string) {
		if len(v) > 400 {
			return
		}
		c := check{g: g, brought: broughtAddrs}
		got := inspect(&c, v)
		if (c.hits == 0) != (got == v) {
			t.Fatalf("%d hits, %q became %q", c.hits, v, got)
		}
		if c.hits > 0 && !oracle.shows(v) && !oracle.resolves(v) {
			t.Fatalf("%q shows nothing, but became %q", v, got)
		}
		if !c.stuck && oracle.shows(got) {
			t.Fatalf("%q became %q, which still shows an address", v, got)
		}
		b := check{g: g, brought: broughtAddrs}
		if other := inspect(&b, []byte(v)); string(other) != got || b != c {
			t.Fatalf("%q became %q, as bytes %q", v, got, other)
		}
	})
}
