package geo

import (
	"bytes"
	"compress/gzip"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport/nat"
)

const torText = `# This file has been converted from a location database.
#
# Generated: Thu, 25 Jun 2026 04:33:59 GMT
# Vendor:    Test Project
# License:   CC BY-SA 4.0
#
15726992,15726999,??
16777216,16777471,AU
16777472,16778239,CN
# a comment in between
2001:db8::,2001:db8:ffff:ffff:ffff:ffff:ffff:ffff,JP
`

const stanzaText = `#
# Generated: Thu, 25 Jun 2026 04:33:59 GMT
# Vendor:    Test Project
#

aut-num:             AS64496
name:                A name: with a colon

net:                 192.0.2.0/24
country:             DE
aut-num:             AS64496

net:                 192.0.2.128/25
country:             FR
is-anycast:          yes

net:                 192.0.2.192/26
aut-num:             AS64497
net:                 2001:db8::/32
country:             JP
net:                 2001:db8:1::/48
country:             A1
`

func TestTextFormats(t *testing.T) {
	for name, c := range map[string]struct {
		text  string
		wants []string
	}{
		"tor": {torText, []string{"1.0.0.0 AU", "1.0.0.255 AU", "1.0.1.0 CN", "1.0.3.255 CN", "1.0.4.0 -", "0.239.248.16 -", "2001:db8:7::1 JP"}},
		"stanzas, the narrower wins": {stanzaText, []string{"192.0.2.127 DE", "192.0.2.128 FR", "192.0.2.191 FR", "192.0.2.192 -",
			"192.0.3.0 -", "2001:db8::1 JP", "2001:db8:1::1 -", "2001:db8:2::1 JP"}},
		"DB-IP": {"\"192.0.2.0\",\"192.0.2.255\",\"DE\"\r\n\"2001:db8::\",\"2001:db8::ffff\",\"jp\"\r\n", []string{"192.0.2.9 DE", "2001:db8::9 JP"}},
		"IP2Location": {"\"0\",\"16777215\",\"-\",\"-\"\n\"16777216\",\"16777471\",\"US\",\"United States of America\"\n",
			[]string{"0.0.0.1 -", "1.0.0.7 US"}},
		"IP2Location, IPv6": {"\"0\",\"281470681743359\",\"-\",\"-\"\n\"281470698520576\",\"281470698520831\",\"US\",\"\"\n" +
			"\"42540766411282592856903984951653826560\",\"42540766490510755371168322545197776895\",\"DE\",\"\"\n",
			[]string{"1.0.0.9 US", "2001:db8::1 DE"}},
		"column names":      {"start_ip,end_ip,country\n192.0.2.0,192.0.2.255,DE", []string{"192.0.2.9 DE"}},
		"columns without":   {"network;country_code\n192.0.2.0/24;DE\n", []string{"192.0.2.9 DE"}},
		"prefixes, nested":  {"192.0.2.0/24,DE\n192.0.2.0/32,FR\n192.0.2.255/32,BR\n", []string{"192.0.2.0 FR", "192.0.2.1 DE", "192.0.2.254 DE", "192.0.2.255 BR", "192.0.3.0 -"}},
		"nested in any way": {"192.0.2.128/25,FR\n192.0.2.0/24,DE\n", []string{"192.0.2.9 DE", "192.0.2.129 FR"}},
		"tabs":              {"192.0.2.0\t192.0.2.255\tDE\tmore\n", []string{"192.0.2.9 DE"}},
		"the whole space":   {"0.0.0.0/0,DE\n::/0,FR\n255.255.255.255/32,BR\n", []string{"0.0.0.0 DE", "255.255.255.254 DE", "255.255.255.255 BR", ":: FR", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff FR"}},
		"mapped":            {"::ffff:192.0.2.0,::ffff:192.0.2.255,DE\n", []string{"192.0.2.9 DE"}},
		"twice the same":    {"192.0.2.0/24,DE\n192.0.2.0/24,DE\n", []string{"192.0.2.9 DE", "192.0.3.0 -"}},
		"a byte order mark": {"\ufeff192.0.2.0,192.0.2.255,DE\n", []string{"192.0.2.9 DE"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := mustRead(t, []byte(c.text))
			wantCountries(t, d, c.wants...)
			checkDatabase(t, d)
		})
	}
}

func TestTextSaysWhereItIsFrom(t *testing.T) {
	d := mustRead(t, []byte(torText))
	if d.Source() != "Test Project" || !d.Built().Equal(time.Date(2026, 6, 25, 4, 33, 59, 0, time.UTC)) {
		t.Error(d.Source(), d.Built())
	}
	if !strings.Contains(d.Licence(), "CC BY-SA 4.0") || strings.Contains(d.Licence(), "in between") {
		t.Errorf("%q", d.Licence())
	}
	d = mustRead(t, []byte("192.0.2.0/24,DE"))
	if d.Source() != "test file" || !d.Built().IsZero() || d.Licence() != "" {
		t.Error(d.Source(), d.Built(), d.Licence())
	}
}

func TestBadTextNamesTheLine(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.0,192.0.2.255,DE\n192.0.2.9,192.0.2.10,FR\n":                   "line 2: the range overlaps that of line 1",
		"192.0.2.0,192.0.2.255,DE\n192.0.2.255,192.0.3.10,FR\n":                 "line 2: the range overlaps that of line 1",
		"192.0.2.0/24,DE\n192.0.2.0/24,FR\n":                                    "line 2: the range stands in line 1 with another country",
		"192.0.2.0/24,DE\n192.0.2.128,192.0.3.9,FR\n":                           "line 2: the range overlaps that of line 1",
		"192.0.2.9,192.0.2.1,DE\n":                                              "line 1: 192.0.2.9-192.0.2.1 ends before it starts",
		"192.0.2.9,2001:db8::1,DE\n":                                            "line 1: 192.0.2.9-2001:db8::1 mixes",
		"192.0.2.0/24,DE\nnot an address,x,DE\n":                                "line 2: \"not an address\" is no address",
		"192.0.2.0/24,DE\njust this\n":                                          "line 2: \"just this\" is neither",
		"192.0.2.0/24,Germany\n":                                                "line 1: \"Germany\" is no country code",
		"network,geoname_id\n192.0.2.0/24,2921044\n":                            "take the MMDB",
		"192.0.2.0/24,DE\n192.0.2.0/33,DE\n":                                    "line 2",
		"192.0.2.0/24\n":                                                        "line 1: no country code behind the prefix",
		"a,b,c\n1,9999999999999999999999999999999999999999999999999999999,DE\n": "more than 128 bits",
		"<!DOCTYPE html>\n<html><body>404</body></html>\n":                      "line 2",
		"":                                      "no range with a country",
		"<html>404</html>":                      "no range with a country",
		"# nothing\n\n":                         "no range with a country",
		"10.0.0.0/8,??\n":                       "no range with a country",
		"net: 192.0.2.0/24\nrubbish\n":          "line 2: \"rubbish\" is no line",
		"net: 192.0.2.0\ncountry: DE\n":         "line 1",
		"net: 192.0.2.0/24\ncountry: Germany\n": "line 2: \"Germany\" is no country code",
		"net: 192.0.2.0/24\ncountry: DE\n\nnet: 192.0.2.0/24\ncountry: FR\n": "line 4: the range stands in line 1",
		"\x00\x01\x02": "neither text nor",
		"PK\x03\x04":   "zip",
	} {
		_, err := Read(strings.NewReader(text), "list.csv")
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "list.csv: ") {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestGzipIsUnpacked(t *testing.T) {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, _ = w.Write([]byte(torText))
	_ = w.Close()
	wantCountries(t, mustRead(t, packed.Bytes()), "1.0.0.1 AU")
	if _, err := Read(bytes.NewReader(packed.Bytes()[:20]), "cut"); err == nil {
		t.Error("half an archive is taken")
	}
	if _, err := Read(strings.NewReader("\x1f\x8b no archive"), "none"); err == nil {
		t.Error("no archive is taken")
	}
}

func TestSizesAreBounded(t *testing.T) {
	text := []byte("192.0.2.0/32,DE\n192.0.2.1/32,DE\n192.0.2.2/32,DE\n")
	if _, err := read(text, 3); err != nil {
		t.Error(err)
	}
	if _, err := read(text, 2); err == nil || !strings.Contains(err.Error(), "line 3: more than 2 ranges") {
		t.Error(err)
	}
	if _, err := readBounded(&endless{}, 1<<20); err == nil || !strings.Contains(err.Error(), "longer than 1 MiB") {
		t.Error(err)
	}
	var bomb bytes.Buffer
	w := gzip.NewWriter(&bomb)
	_, _ = w.Write(make([]byte, 2<<20))
	_ = w.Close()
	if _, err := readBounded(&bomb, 1<<20); err == nil || !strings.Contains(err.Error(), "longer than 1 MiB") {
		t.Error(err)
	}
	if _, err := Read(&endless{err: errors.New("cable cut")}, "x"); err == nil || !strings.Contains(err.Error(), "cable cut") {
		t.Error(err)
	}
}

// endless gives spaces for ever, or an error.
type endless struct{ err error }

func (e *endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = ' '
	}
	return len(b), e.err
}

// naive is a database that is searched from end to end: of all ranges around an address the narrowest one counts.
type naive []entry

func (n naive) country(a netip.Addr) Code {
	best, code := wide{^uint64(0), ^uint64(0)}, Code{}
	for _, e := range n {
		at, size := number(a), wide{0, e.last.lo - e.first.lo}
		if !at.less(e.first) && !e.last.less(at) && !best.less(size) {
			best, code = size, e.code
		}
	}
	return code
}

func TestNestedPrefixesEqualANaiveSearch(t *testing.T) {
	codes := []Code{{'D', 'E'}, {'F', 'R'}, {}, {'U', 'S'}}
	rapid.Check(t, func(t *rapid.T) {
		b := builder{nested: true, most: 100}
		var list naive
		taken := map[netip.Prefix]bool{}
		for line := range rapid.IntRange(1, 25).Draw(t, "n") {
			bits := rapid.IntRange(24, 32).Draw(t, "bits")
			p, _ := netip.AddrFrom4([4]byte{255, 255, 255, byte(rapid.IntRange(0, 255).Draw(t, "last"))}).Prefix(bits)
			if taken[p] {
				continue
			}
			taken[p] = true
			code := rapid.SampledFrom(codes).Draw(t, "code")
			if err := b.addPrefix(p, code, line); err != nil {
				t.Fatal(err)
			}
			list = append(list, entry{number(p.Addr()), number(nat.LastOf(p)), code, line})
		}
		d, err := b.database()
		if err != nil {
			t.Fatal(err)
		}
		checkDatabase(t, d)
		for i := range 256 {
			a := netip.AddrFrom4([4]byte{255, 255, 255, byte(i)})
			if got, want := d.Country(a), list.country(a); got != want {
				t.Fatalf("%s: %v, want %v of %v", a, got, want, list)
			}
		}
		if d.Country(netip.MustParseAddr("255.255.254.255")) != (Code{}) {
			t.Fatal("an address before all ranges has a country")
		}
	})
}

// fataler is what checkDatabase complains to.
type fataler interface{ Fatal(args ...any) }

// checkDatabase checks what holds for every database: starts rise, and no two neighbours are of one country.
func checkDatabase(t fataler, d *Database) {
	if !slices.IsSorted(d.v4.starts) || !slices.IsSortedFunc(d.v6.starts, func(a, b wide) int { return sign(a.less(b)) }) {
		t.Fatal("the starts do not rise")
	}
	for _, country := range [][]uint8{d.v4.country, d.v6.country} {
		for i, c := range country {
			if int(c) >= len(d.codes) || i > 0 && country[i-1] == c || i == 0 && c == 0 {
				t.Fatal("the ranges are not joined")
			}
		}
	}
}

func FuzzText(f *testing.F) {
	for _, seed := range []string{torText, stanzaText, "\"1.0.0.0\",\"1.0.0.255\",\"AU\"\n", "192.0.2.0/24,DE\n192.0.2.0/32,FR\n", "0,1,DE\n",
		"::,ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff,DE\n", "net: ::/0\ncountry: DE\nnet: ::/1\ncountry: FR"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := readText(data, 1000)
		if err == nil {
			checkDatabase(t, d)
		}
	})
}
