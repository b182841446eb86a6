package geo

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"strings"
	"time"

	"sallyport/nat"
)

// readText reads a text database: comma-separated ranges (tor's geoip and geoip6, DB-IP, IP2Location), prefixes with a
// code, or the stanzas of an IPFire export. Comments begin with #.
func readText(data []byte, most int) (*Database, error) {
	t := textReader{b: builder{most: most}}
	for line := range bytes.Lines(data) {
		t.line++
		if err := t.read(strings.TrimSpace(string(line))); err != nil {
			return nil, fmt.Errorf("line %d: %w", t.line, err)
		}
	}
	if err := t.endStanza(); err != nil {
		return nil, fmt.Errorf("line %d: %w", t.line, err)
	}
	d, err := t.b.database()
	if err != nil {
		return nil, err
	}
	d.source, d.built = clip(t.source, maxSource), t.built
	d.licence = clip(strings.TrimSpace(t.comments.String()), maxLicence)
	return d, nil
}

// textReader is the state between lines.
type textReader struct {
	b        builder
	line     int
	rows     int // lines that are neither empty nor comments
	stanzas  bool
	comments strings.Builder // of the file's head
	source   string
	built    time.Time

	// The stanza under way.
	net     netip.Prefix
	netLine int
	code    Code
}

// read takes one line, without white space around it.
func (t *textReader) read(line string) error {
	line = strings.TrimPrefix(line, "\ufeff")
	if comment, ok := strings.CutPrefix(line, "#"); ok {
		t.comment(strings.TrimSpace(comment))
		return nil
	}
	if line == "" {
		return t.endStanza()
	}
	t.rows++
	key, value, isPair := strings.Cut(line, ":")
	if t.rows == 1 && (key == "net" || key == "aut-num") { // neither begins an address
		t.stanzas, t.b.nested = true, true
	}
	switch {
	case t.stanzas && isPair:
		return t.stanza(key, strings.TrimSpace(value))
	case t.stanzas:
		return fmt.Errorf("%q is no line of the form `net: …` or `country: …`", clip(line, 80))
	}
	return t.row(line)
}

// comment reads a line of the head, where exports say who made them, when, and on which terms.
func (t *textReader) comment(text string) {
	if t.rows > 0 || t.comments.Len() > maxLicence {
		return
	}
	t.comments.WriteString(text + "\n")
	key, value, _ := strings.Cut(text, ":")
	value = strings.TrimSpace(value)
	switch strings.ToLower(key) {
	case "generated":
		for _, layout := range []string{time.RFC1123, time.RFC1123Z, time.RFC3339, time.DateOnly} {
			if at, err := time.Parse(layout, value); err == nil {
				t.built = at.UTC()
			}
		}
	case "vendor":
		t.source = value
	}
}

// stanza takes one line of an IPFire export.
func (t *textReader) stanza(key, value string) (err error) {
	switch key {
	case "net":
		if err = t.endStanza(); err == nil {
			t.net, err = netip.ParsePrefix(value)
			t.netLine = t.line
		}
	case "country":
		if len(value) > 2 {
			return fmt.Errorf("%q is no country code", clip(value, 80))
		}
		t.code = readCode(value)
	}
	return err
}

// endStanza takes over a network once all is known of it.
func (t *textReader) endStanza() error {
	p, code := t.net, t.code
	t.net, t.code = netip.Prefix{}, Code{}
	if !p.IsValid() {
		return nil
	}
	return t.b.addPrefix(p, code, t.netLine)
}

// row takes one line of a comma-separated file: start,end,code or prefix,code. What follows is not looked at.
func (t *textReader) row(line string) error {
	fields := splitRow(line)
	if strings.Contains(fields[0], "/") {
		p, err := netip.ParsePrefix(fields[0])
		switch {
		case err != nil && t.rows == 1:
			return nil // the names of the columns
		case err != nil:
			return err
		case len(fields) < 2:
			return errors.New("no country code behind the prefix")
		}
		// Prefixes nest or lie apart, so that a list of them may name a wide one and exceptions from it.
		t.b.nested = true
		return t.addRow(p.Masked().Addr(), nat.LastOf(p.Masked()), fields[1])
	}
	first, last, err := ends(fields)
	switch {
	case len(fields) < 3 || err != nil && t.rows == 1:
		if t.rows == 1 {
			return nil // the names of the columns
		}
		return fmt.Errorf("%q is neither start,end,code nor prefix,code", clip(line, 80))
	case err != nil:
		return err
	}
	return t.addRow(first, last, fields[2])
}

// ends reads the first and the last address of a range.
func ends(fields []string) (first, last netip.Addr, err error) {
	if len(fields) < 2 {
		return first, last, errors.New("one field only")
	}
	if isDigits(fields[0]) && isDigits(fields[1]) {
		a, errFirst := parseNumber(fields[0])
		b, errLast := parseNumber(fields[1])
		if a.less(wide{0, 1 << 32}) && b.less(wide{0, 1 << 32}) {
			return addressOf4(a), addressOf4(b), errors.Join(errFirst, errLast)
		}
		return addressOf(a), addressOf(b), errors.Join(errFirst, errLast)
	}
	first, errFirst := parseAddr(fields[0])
	last, errLast := parseAddr(fields[1])
	return first, last, errors.Join(errFirst, errLast)
}

func (t *textReader) addRow(first, last netip.Addr, code string) error {
	if len(code) > 2 {
		return fmt.Errorf("%q is no country code; databases without codes cannot be used (of GeoLite2 take the MMDB)", clip(code, 80))
	}
	return t.b.add(first, last, readCode(code), t.line)
}

// splitRow splits at commas, semicolons or tabs, whichever the line has, and takes the quotes off.
func splitRow(line string) []string {
	separator := ","
	for _, other := range []string{";", "\t"} {
		if !strings.Contains(line, separator) {
			separator = other
		}
	}
	fields := strings.Split(line, separator)
	for i, f := range fields {
		fields[i] = strings.Trim(strings.TrimSpace(f), `"'`)
	}
	return fields
}

func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

func parseAddr(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return netip.Addr{}, fmt.Errorf("%q is no address", clip(s, 80))
	}
	return a, nil
}

// parseNumber reads the decimal number of an address.
func parseNumber(digits string) (wide, error) {
	var n wide
	for _, digit := range []byte(digits) {
		carry, lo := bits.Mul64(n.lo, 10)
		over, hi := bits.Mul64(n.hi, 10)
		lo, c := bits.Add64(lo, uint64(digit-'0'), 0)
		hi, overflow := bits.Add64(hi, carry, c)
		if over != 0 || overflow != 0 {
			return wide{}, fmt.Errorf("%q is no address: it has more than 128 bits", clip(digits, 80))
		}
		n = wide{hi, lo}
	}
	return n, nil
}

// addressOf4 is the IPv4 address that a number below 2³² stands for.
func addressOf4(n wide) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(n.lo >> 24), byte(n.lo >> 16), byte(n.lo >> 8), byte(n.lo)})
}

// addressOf is the IPv6 address that a number stands for.
func addressOf(n wide) netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], n.hi)
	binary.BigEndian.PutUint64(b[8:], n.lo)
	return netip.AddrFrom16(b)
}
