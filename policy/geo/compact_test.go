package geo

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func compactOf(t testing.TB, d *Database) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := d.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// sealed puts a right checksum behind a body.
func sealed(body []byte) []byte {
	sum := sha256.Sum256(body)
	return append(bytes.Clone(body), sum[:]...)
}

func TestCompactFileHoldsAll(t *testing.T) {
	for _, text := range []string{torText, stanzaText, "0.0.0.0/0,DE\n::/0,FR\n::1/128,JP\nff00::/8,BR\n"} {
		d := mustRead(t, []byte(text)).Describe("here", "do what you like\nbut say so", time.Unix(1_780_000_000, 7))
		if got := mustRead(t, compactOf(t, d)); !reflect.DeepEqual(got, d) {
			t.Errorf("%+v\nis not\n%+v", got, d)
		}
	}
	undated := mustRead(t, []byte("0.0.0.0/0,DE"))
	if got := mustRead(t, compactOf(t, undated)); !got.Built().IsZero() {
		t.Error(got.Built())
	}
}

func TestDescribeKeepsWhatItIsNotTold(t *testing.T) {
	d := mustRead(t, []byte(torText))
	if got := d.Describe("", "", time.Time{}); !reflect.DeepEqual(got, d) {
		t.Errorf("%+v", got)
	}
	long := d.Describe(strings.Repeat("s", 5000), strings.Repeat("l", 500_000), time.Time{})
	if got := mustRead(t, compactOf(t, long)); len(got.Source()) != maxSource || len(got.Licence()) != maxLicence {
		t.Error(len(got.Source()), len(got.Licence()))
	}
}

func TestDamagedCompactFileIsRefused(t *testing.T) {
	whole := compactOf(t, mustRead(t, []byte(torText)))
	for i := range whole {
		bad := bytes.Clone(whole)
		bad[i] ^= 0x10
		if _, err := Read(bytes.NewReader(bad), "x"); err == nil {
			t.Fatalf("a flip of byte %d is not seen", i)
		}
		if _, err := Read(bytes.NewReader(whole[:i]), "x"); err == nil {
			t.Fatalf("a cut at byte %d is not seen", i)
		}
	}
	if _, err := readCompact(append(bytes.Clone(whole), 0)); !errors.Is(err, ErrDamaged) {
		t.Error(err)
	}
}

// TestForgedCompactFileIsRefused: the checksum fits, the content does not.
func TestForgedCompactFileIsRefused(t *testing.T) {
	head := func(codes string) []byte {
		b := append(bytes.Clone(magic), 0, 0, 0) // no date, source, licence
		b = append(b, byte(len(codes)/2))
		return append(b, codes...)
	}
	for name, body := range map[string][]byte{
		"an unknown code":           append(head("ZZ"), 0, 0),
		"a country without a code":  append(head("DE"), 1, 0, 2, 0),
		"ranges that stand still":   append(head("DE"), 2, 5, 1, 0, 0, 0),
		"a range behind the end":    append(binary.AppendUvarint(append(head("DE"), 2, 5, 1), 1<<32-1), 1, 0),
		"IPv6 that stands still":    append(head("DE"), 0, 2, 1, 1, 1, 0, 1, 1),
		"IPv6 that goes back":       append(head("DE"), 0, 2, 1, 2, 1, 0, 1, 1),
		"more ranges than bytes":    append(binary.AppendUvarint(head("DE"), 1<<31), 1, 1),
		"a text without an end":     append(bytes.Clone(magic), 0, 100, 'x'),
		"bytes behind it":           append(head("DE"), 0, 0, 1),
		"nothing behind the header": bytes.Clone(magic),
	} {
		if d, err := readCompact(sealed(body)); err == nil {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

func TestWriteReportsErrors(t *testing.T) {
	d := mustRead(t, []byte(torText))
	for room := range 40 {
		if err := d.Write(&narrow{room}); err == nil {
			t.Fatalf("%d bytes were enough", room)
		}
	}
}

// narrow takes a few bytes.
type narrow struct{ room int }

func (n *narrow) Write(b []byte) (int, error) {
	if len(b) > n.room {
		return 0, errors.New("no space left")
	}
	n.room -= len(b)
	return len(b), nil
}

func TestNilDatabaseKnowsNothing(t *testing.T) {
	var d *Database
	if d.Country(netip.MustParseAddr("192.0.2.1")) != (Code{}) || d.Len() != 0 || !d.Built().IsZero() || d.Source()+d.Licence() != "" || d.Holds(Code{'D', 'E'}) {
		t.Error("it does")
	}
	if mustRead(t, []byte(torText)).Country(netip.Addr{}) != (Code{}) {
		t.Error("no address has a country")
	}
}

func TestHolds(t *testing.T) {
	d := mustRead(t, []byte(torText))
	if !d.Holds(Code{'A', 'U'}) || d.Holds(Code{'D', 'E'}) || d.Holds(Code{}) {
		t.Error("it does not know what it holds")
	}
}

func TestCompactRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := builder{nested: true, most: 1000}
		for line := range rapid.IntRange(1, 30).Draw(t, "n") {
			raw := [16]byte{0x20, 1}
			copy(raw[2:], rapid.SliceOfN(rapid.Byte(), 14, 14).Draw(t, "raw"))
			p, _ := netip.AddrFrom16(raw).Prefix(rapid.IntRange(3, 128).Draw(t, "bits"))
			if rapid.Bool().Draw(t, "v4") {
				p, _ = netip.AddrFrom4([4]byte(raw[2:6])).Prefix(rapid.IntRange(1, 32).Draw(t, "bits"))
			}
			_ = b.addPrefix(p, Code{'D', 'A' + byte(rapid.SampledFrom([]int{4, 9, 10}).Draw(t, "code"))}, line)
		}
		d, err := b.database()
		if err != nil {
			return // one prefix with two countries
		}
		checkDatabase(t, d)
		var file bytes.Buffer
		if err := d.Write(&file); err != nil {
			t.Fatal(err)
		}
		if got, err := readCompact(file.Bytes()); err != nil || !reflect.DeepEqual(got, d) {
			t.Fatalf("%v: %+v, want %+v", err, got, d)
		}
	})
}

func FuzzCompact(f *testing.F) {
	for _, text := range []string{torText, stanzaText, "0.0.0.0/0,DE\n::1/128,JP\n"} {
		whole := compactOf(f, mustRead(f, []byte(text)))
		f.Add(whole[len(magic) : len(whole)-sha256.Size])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		d, err := decodeCompact(append(bytes.Clone(magic), body...))
		if err != nil {
			return
		}
		for _, a := range []string{"0.0.0.0", "192.0.2.1", "255.255.255.255", "::", "2001:db8::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"} {
			d.Country(netip.MustParseAddr(a))
		}
	})
}

// BenchmarkCountry looks addresses up all over the space in a database as large as those of the world are.
func BenchmarkCountry(b *testing.B) {
	build := builder{most: maxRanges}
	codes := []Code{{'D', 'E'}, {'F', 'R'}, {'U', 'S'}}
	for i := range 400_000 {
		start := uint32(i) * 10_000
		_ = build.add(addressOf4(wide{0, uint64(start)}), addressOf4(wide{0, uint64(start + 9_999)}), codes[i%3], i)
		_ = build.add(addressOf(wide{0x2000_0000_0000_0000 + uint64(i)<<32, 0}), addressOf(wide{0x2000_0000_0000_0000 + uint64(i)<<32 + 1<<32 - 1, ^uint64(0)}), codes[i%3], i)
	}
	d, err := build.database()
	if err != nil || d.Len() != 800_000 {
		b.Fatal(err, d.Len())
	}
	b.Run("IPv4", func(b *testing.B) {
		b.ReportAllocs()
		n := uint32(1)
		for b.Loop() {
			n = n*1664525 + 1013904223
			d.Country(addressOf4(wide{0, uint64(n)}))
		}
	})
	b.Run("IPv6", func(b *testing.B) {
		b.ReportAllocs()
		n := uint32(1)
		for b.Loop() {
			n = n*1664525 + 1013904223
			d.Country(addressOf(wide{0x2000_0000_0000_0000 + uint64(n%400_000)<<32, uint64(n)}))
		}
	})
}

func TestCountryAllocatesNothing(t *testing.T) {
	d := mustRead(t, []byte(stanzaText))
	v4, v6 := netip.MustParseAddr("192.0.2.200"), netip.MustParseAddr("2001:db8:1::9")
	if n := testing.AllocsPerRun(100, func() { d.Country(v4); d.Country(v6) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
