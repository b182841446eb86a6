package geo

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// mmdbWriter makes small MaxMind databases (MaxMind DB format 2.0) with records of 28 bits.
type mmdbWriter struct {
	version int
	nodes   [][2]int // ≥ 0: a node; -1: nothing; -2-n: the data at offset n
	data    bytes.Buffer
}

func newMMDB(version int) *mmdbWriter {
	return &mmdbWriter{version: version, nodes: [][2]int{{-1, -1}}}
}

// control begins a value of a type and a size below 29.
func control(kind, size int) []byte {
	if kind > 7 {
		return []byte{byte(size), byte(kind - 7)}
	}
	return []byte{byte(kind<<5 | size)}
}

// value encodes strings, numbers and maps. Keys keep their order.
func value(v any) []byte {
	switch v := v.(type) {
	case string:
		return append(control(2, len(v)), v...)
	case uint16:
		return append(control(5, 2), byte(v>>8), byte(v))
	case uint32:
		return binary.BigEndian.AppendUint32(control(6, 4), v)
	case uint64:
		return binary.BigEndian.AppendUint64(control(9, 8), v)
	case [][2]any:
		out := control(7, len(v))
		for _, pair := range v {
			out = append(append(out, value(pair[0])...), value(pair[1])...)
		}
		return out
	}
	panic(v)
}

// put gives a prefix a record.
func (w *mmdbWriter) put(prefix string, record any) {
	p := netip.MustParsePrefix(prefix)
	address, length := p.Addr().AsSlice(), p.Bits()
	if w.version == 6 && p.Addr().Is4() {
		address, length = append(make([]byte, 12), address...), length+96 // ::/96
	}
	at := 0
	for i := range length {
		bit := int(address[i/8]>>(7-i%8)) & 1
		if i == length-1 {
			w.nodes[at][bit] = -2 - w.data.Len()
			w.data.Write(value(record))
			return
		}
		if w.nodes[at][bit] < 0 {
			w.nodes = append(w.nodes, [2]int{-1, -1})
			w.nodes[at][bit] = len(w.nodes) - 1
		}
		at = w.nodes[at][bit]
	}
}

func (w *mmdbWriter) bytes() []byte {
	var out bytes.Buffer
	for _, n := range w.nodes {
		var record [2]uint32
		for i, to := range n {
			switch {
			case to >= 0:
				record[i] = uint32(to)
			case to == -1:
				record[i] = uint32(len(w.nodes))
			default:
				record[i] = uint32(len(w.nodes) + 16 - 2 - to)
			}
		}
		l, r := record[0], record[1]
		out.Write([]byte{byte(l >> 16), byte(l >> 8), byte(l), byte(l>>24)<<4 | byte(r>>24), byte(r >> 16), byte(r >> 8), byte(r)})
	}
	out.Write(make([]byte, 16))
	out.Write(w.data.Bytes())
	out.Write(mmdbMarker)
	out.Write(value([][2]any{
		{"node_count", uint32(len(w.nodes))}, {"record_size", uint16(28)}, {"ip_version", uint16(w.version)},
		{"database_type", "Test-Country"}, {"binary_format_major_version", uint16(2)}, {"binary_format_minor_version", uint16(0)},
		{"build_epoch", uint64(1_780_000_000)}, {"description", [][2]any{{"en", "made by a test"}}},
	}))
	return out.Bytes()
}

// country is a record of GeoLite2-Country or DB-IP: the country of use, and where the network is registered.
func country(used, registered string) [][2]any {
	var r [][2]any
	r = append(r, [2]any{"continent", [][2]any{{"code", "EU"}}})
	if used != "" {
		r = append(r, [2]any{"country", [][2]any{{"geoname_id", uint32(7)}, {"iso_code", used}}})
	}
	if registered != "" {
		r = append(r, [2]any{"registered_country", [][2]any{{"iso_code", registered}}})
	}
	return r
}

// smallMMDB is the fixture of this package's tests.
func smallMMDB() []byte {
	w := newMMDB(6)
	w.put("192.0.2.0/24", country("DE", "FR"))
	w.put("198.51.100.0/25", country("", "US"))
	w.put("198.51.100.128/25", country("", ""))
	w.put("2001:db8::/32", country("JP", ""))
	return w.bytes()
}

func mustRead(t testing.TB, data []byte) *Database {
	t.Helper()
	d, err := Read(bytes.NewReader(data), "test file")
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// wantCountries checks addresses: "192.0.2.1 DE" and "192.0.3.1 -" for unknown.
func wantCountries(t testing.TB, d *Database, lines ...string) {
	t.Helper()
	for _, line := range lines {
		text, want, _ := strings.Cut(line, " ")
		if got := d.Country(netip.MustParseAddr(text)).String(); got != strings.Trim(want, "- ") {
			t.Errorf("%s is in %q, want %q", text, got, want)
		}
	}
}

func TestMMDB(t *testing.T) {
	d := mustRead(t, smallMMDB())
	wantCountries(t, d, "192.0.2.0 DE", "192.0.2.255 DE", "192.0.1.255 -", "192.0.3.0 -", "198.51.100.127 US", "198.51.100.128 -",
		"2001:db8::1 JP", "2001:db7:ffff::1 -", "2001:db9:: -", "::ffff:192.0.2.9 DE", "::192.0.2.9 -")
	if d.Source() != "Test-Country: made by a test" || !d.Built().Equal(time.Unix(1_780_000_000, 0)) || d.Len() != 3 {
		t.Error(d.Source(), d.Built(), d.Len())
	}
}

func TestMMDBOfIPv4Only(t *testing.T) {
	w := newMMDB(4)
	w.put("0.0.0.0/1", country("BR", ""))
	w.put("192.0.2.1/32", country("de", ""))
	wantCountries(t, mustRead(t, w.bytes()), "0.0.0.0 BR", "127.255.255.255 BR", "128.0.0.0 -", "192.0.2.1 DE", "192.0.2.2 -", "2001:db8:: -")
}

func TestMMDBOfAnotherKindIsRefused(t *testing.T) {
	w := newMMDB(4)
	w.put("192.0.2.0/24", [][2]any{{"country", "a name in place of a map"}})
	_, err := Read(bytes.NewReader(w.bytes()), "asn.mmdb")
	if err == nil || !strings.Contains(err.Error(), "192.0.2.0/24") || !strings.Contains(err.Error(), "country database") {
		t.Error(err)
	}
	w = newMMDB(4)
	w.put("192.0.2.0/24", [][2]any{{"autonomous_system_number", uint32(64496)}})
	if _, err = Read(bytes.NewReader(w.bytes()), "asn.mmdb"); err == nil {
		t.Error("a database without countries is taken")
	}
}

// TestMMDBAliasesAreLeftOut: databases point from ::ffff:0:0/96 and 2002::/16 to their IPv4 part.
func TestMMDBAliasesAreLeftOut(t *testing.T) {
	w := newMMDB(6)
	w.put("192.0.2.0/24", country("DE", ""))
	w.put("2002::/16", country("JP", ""))
	w.put("2003::/16", country("JP", ""))
	at := 0
	for range 96 {
		at = w.nodes[at][0]
	}
	for i := range w.nodes {
		if w.nodes[i][0] <= -2 && w.nodes[i][1] <= -2 {
			w.nodes[i][0] = at // 2002::/16
		}
	}
	d := mustRead(t, w.bytes())
	wantCountries(t, d, "192.0.2.1 DE", "2002::1 -", "2002:c000:201::1 -", "2003::1 JP")
}

func TestMMDBRecordSizes(t *testing.T) {
	treeOf := func(size uint, data string) *tree { return &tree{data: []byte(data), nodes: 1, size: size} }
	for _, c := range []struct {
		t           *tree
		left, right uint
	}{
		{treeOf(24, "\x01\x02\x03\x04\x05\x06"), 0x010203, 0x040506},
		{treeOf(28, "\x01\x02\x03\xab\x04\x05\x06"), 0xa010203, 0xb040506},
		{treeOf(32, "\x01\x02\x03\x04\x05\x06\x07\x08"), 0x01020304, 0x05060708},
	} {
		left, errLeft := c.t.child(0, 0)
		right, errRight := c.t.child(0, 1)
		if left != c.left || right != c.right || errLeft != nil || errRight != nil {
			t.Errorf("%d bits: %x %x %v %v", c.t.size, left, right, errLeft, errRight)
		}
		if _, err := c.t.child(1, 0); err == nil {
			t.Error("a node behind the last one is read")
		}
	}
	if _, err := treeOf(16, "1234").child(0, 0); err == nil {
		t.Error("records of 16 bits are read")
	}
	if _, err := treeOf(32, "1234").child(0, 0); err == nil {
		t.Error("half a node is read")
	}
}

// TestMMDBTreeWithoutEnd: all nodes point to the next one with both hands, so that 2⁶⁰ networks share one record.
func TestMMDBTreeWithoutEnd(t *testing.T) {
	w := newMMDB(6)
	w.nodes = nil
	for i := range 60 {
		w.nodes = append(w.nodes, [2]int{i + 1, i + 1})
	}
	w.nodes = append(w.nodes, [2]int{-2, -2})
	w.data.Write(value(country("DE", "")))
	if _, err := read(w.bytes(), 10_000); err == nil || !strings.Contains(err.Error(), "more than 10000") {
		t.Error(err)
	}
}

func TestMMDBThatPointsToItself(t *testing.T) {
	w := newMMDB(4)
	w.nodes = [][2]int{{0, 0}}
	if d, err := read(w.bytes(), 10_000); err == nil {
		t.Error("taken: ", d.Len())
	}
}

// TestEveryCutAndEveryFlipOfAnMMDBIsSurvived damages the fixture in all simple ways.
func TestEveryCutAndEveryFlipOfAnMMDBIsSurvived(t *testing.T) {
	whole := smallMMDB()
	for i := range whole {
		_, _ = read(whole[:i], 1000)
		for _, mask := range []byte{0x01, 0x80, 0xff} {
			bad := bytes.Clone(whole)
			bad[i] ^= mask
			_, _ = read(bad, 1000)
		}
	}
}

func TestMMDBEqualsItsPrefixes(t *testing.T) {
	codes := strings.Fields("DE FR US BR JP")
	rapid.Check(t, func(t *rapid.T) {
		w := newMMDB(4)
		used := map[string]string{}
		for range rapid.IntRange(1, 20).Draw(t, "n") {
			// Networks of one width cannot overlap.
			p := fmt.Sprintf("10.%d.%d.0/24", rapid.IntRange(0, 2).Draw(t, "b"), rapid.IntRange(0, 255).Draw(t, "c"))
			if used[p] == "" {
				used[p] = rapid.SampledFrom(codes).Draw(t, "code")
				w.put(p, country(used[p], ""))
			}
		}
		d := mustRead(&testing.T{}, w.bytes())
		for b := range 3 {
			for c := range 256 {
				a := netip.AddrFrom4([4]byte{10, byte(b), byte(c), byte(c)})
				if got, want := d.Country(a).String(), used[fmt.Sprintf("10.%d.%d.0/24", b, c)]; got != want {
					t.Fatalf("%s: %q, want %q", a, got, want)
				}
			}
		}
	})
}

func FuzzMMDB(f *testing.F) {
	f.Add(smallMMDB())
	w := newMMDB(4)
	w.put("0.0.0.0/1", country("BR", ""))
	f.Add(w.bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		if !isMMDB(data) {
			data = append(data, smallMMDB()[300:]...)
		}
		d, err := read(data, 2000)
		if err == nil {
			checkDatabase(t, d)
		}
	})
}
