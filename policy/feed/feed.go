// Package feed reads lists of addresses that others keep: one address, prefix or start-end a line, as block lists and the
// exports of threat databases write them.
//
// Who keeps a list is not who runs the gate, so the list is believed in what it is there for and no further. What would
// refuse a large part of the world, or addresses that belong to nobody's network but ours, is left out and counted. What is
// no list (an error page, half a list) is an error, so that the last good copy stays in force. The room fetches nothing
// and knows nothing of what a list does.
//
// RFC 4632, RFC 4291 (notation); RFC 6890 (what is special-purpose).
package feed

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"strings"

	"github.com/gaissmai/bart"

	"sallyport/nat"
)

// The bounds of what a list may say.
const (
	maxLine   = 64 << 10 // bytes of one line
	shortest4 = 8        // bits of the widest IPv4 prefix: one entry refuses at most a 256th of the world
	shortest6 = 19       // bits of the widest IPv6 prefix: the largest block that a registry has given to one network

	// largest is the part of all addresses that a whole list may refuse; of IPv6 of those that are given out (RFC 4291 §2.5.4).
	// The largest lists of attackers hold a few percent: what wants more is a mistake of those who keep it, or their enemy's.
	largest = 0.25
)

// special are the ranges that no list has a say on (RFC 6890): ours, and those that no packet comes from. The ranges for
// documentation are not among them, they harm nobody.
var special = prefixes("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
	"192.168.0.0/16", "224.0.0.0/3", "::/127", "::ffff:0:0/96", "fc00::/7", "fe80::/10", "ff00::/8")

func prefixes(texts ...string) (list []netip.Prefix) {
	for _, t := range texts {
		list = append(list, netip.MustParsePrefix(t))
	}
	return list
}

// Report counts what a list said.
type Report struct {
	Lines     int // that are neither empty nor comments
	Entries   int // prefixes in the set
	Again     int // lines whose prefixes were there already
	Junk      int // lines that are no address, prefix or range
	FirstJunk int // the number of the first of them; 0: none
	Wide      int // lines that would refuse too much: wider than /8, or /19 of IPv6
	Special   int // lines within or around private and reserved ranges
}

// Left is how many lines were left out.
func (r *Report) Left() int { return r.Junk + r.Wide + r.Special }

// ErrNone is returned for a text without a single line; an empty list has at least a comment that says so.
var ErrNone = errors.New("the list is empty, without even a comment; take it for a failure of whoever sent it")

// Parse reads a list of at most most prefixes: an address, a prefix, or start-end a line, or one of these as the first
// field of a line of CSV. Comments begin with #, ; or //. More prefixes are an error and not cut off, since a list that is
// cut would no longer be what its name says; so is a text in which more than every tenth line is junk.
func Parse(r io.Reader, most int) (*bart.Lite, Report, error) {
	p := parser{set: new(bart.Lite), most: most}
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 4096), maxLine)
	for lines.Scan() {
		p.line++
		if err := p.read(lines.Text()); err != nil {
			return nil, p.report, err
		}
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, p.report, fmt.Errorf("line %d is longer than %d KiB: this is no address list", p.line+1, maxLine>>10)
	case err != nil:
		return nil, p.report, err
	}
	return p.end()
}

// parser is the state between lines.
type parser struct {
	set      *bart.Lite
	most     int
	line     int
	comments bool
	headed   bool       // the first line was the names of CSV columns, or else no list follows
	part     [2]float64 // of all addresses that it refuses: IPv4, IPv6
	report   Report
}

// end judges the list as a whole.
func (p *parser) end() (*bart.Lite, Report, error) {
	r := &p.report
	switch {
	case r.Lines == 0 && (p.headed || !p.comments):
		return nil, *r, ErrNone
	case r.Junk*10 > r.Lines || r.Junk > 0 && r.Entries == 0:
		return nil, *r, fmt.Errorf("%d of %d lines are neither address, prefix nor start-end, the first one is line %d: this is no address list",
			r.Junk, r.Lines, r.FirstJunk)
	}
	return p.set, *r, nil
}

// read takes one line.
func (p *parser) read(line string) error {
	line, comment := content(line)
	p.comments = p.comments || comment
	if line == "" {
		return nil
	}
	p.report.Lines++
	list, ok := parseEntry(line)
	if !ok && p.report.Lines == 1 && !p.headed && strings.ContainsAny(line, ",\t") && !strings.ContainsAny(line, "<{[") {
		p.report.Lines, p.headed = 0, true
		return nil
	}
	return p.take(list, ok)
}

// take judges what a line says and puts it into the set.
func (p *parser) take(list []netip.Prefix, ok bool) error {
	r := &p.report
	if !ok {
		if r.Junk++; r.FirstJunk == 0 {
			r.FirstJunk = p.line
		}
		return nil
	}
	for _, prefix := range list {
		switch {
		case prefix.Addr().Is4() && prefix.Bits() < shortest4 || prefix.Addr().Is6() && prefix.Bits() < shortest6:
			r.Wide++ // before special: what is everything is special, too
			return nil
		case isSpecial(prefix):
			r.Special++
			return nil
		}
	}
	fresh := false
	for _, prefix := range list {
		if p.set.Get(prefix) {
			continue
		}
		if r.Entries++; r.Entries > p.most {
			return fmt.Errorf("the list has more than %d entries; raise max_entries if it is meant to be so long", p.most)
		}
		p.set.Insert(prefix)
		fresh = true
		if err := p.grow(prefix); err != nil {
			return err
		}
	}
	if !fresh {
		r.Again++
	}
	return nil
}

// grow adds a prefix to the part of all addresses that the list refuses.
func (p *parser) grow(prefix netip.Prefix) error {
	family, all := 0, 0
	if prefix.Addr().Is6() {
		family, all = 1, 3 // 2000::/3
	}
	p.part[family] += math.Ldexp(1, all-prefix.Bits())
	if p.part[family] > largest {
		return fmt.Errorf("line %d: up to here the list refuses more than %.0f %% of all addresses: it is not believed", p.line, 100*largest)
	}
	return nil
}

func isSpecial(p netip.Prefix) bool {
	for _, s := range special {
		if s.Overlaps(p) {
			return true
		}
	}
	return false
}

// content is a line without comment and white space.
func content(line string) (text string, comment bool) {
	line = strings.TrimPrefix(line, "\ufeff")
	for _, mark := range []string{"#", "//", ";"} {
		if before, _, found := strings.Cut(line, mark); found {
			// A semicolon may separate fields; what is behind the first one is of no interest either way.
			line, comment = before, true
		}
	}
	return strings.TrimSpace(line), comment
}

// parseEntry reads the first field of a line.
func parseEntry(line string) ([]netip.Prefix, bool) {
	if i := strings.IndexAny(line, ",\t"); i >= 0 {
		line = line[:i]
	}
	line = strings.Trim(strings.TrimSpace(line), `"'`)
	if first, last, found := strings.Cut(line, "-"); found {
		return parseRange(strings.TrimSpace(first), strings.TrimSpace(last))
	}
	line, _, _ = strings.Cut(line, " ")
	if strings.Contains(line, "/") {
		prefix, err := netip.ParsePrefix(line)
		if err != nil {
			return nil, false
		}
		if a := prefix.Addr(); a.Is4In6() && prefix.Bits() >= 96 {
			prefix = netip.PrefixFrom(a.Unmap(), prefix.Bits()-96)
		}
		return []netip.Prefix{prefix.Masked()}, true
	}
	a, err := netip.ParseAddr(line)
	if err != nil {
		return nil, false
	}
	a = a.Unmap().WithZone("")
	return []netip.Prefix{netip.PrefixFrom(a, a.BitLen())}, true
}

// parseRange reads start-end as the shortest list of prefixes.
func parseRange(first, last string) ([]netip.Prefix, bool) {
	a, errA := netip.ParseAddr(first)
	b, errB := netip.ParseAddr(last)
	a, b = a.Unmap().WithZone(""), b.Unmap().WithZone("")
	if errA != nil || errB != nil || a.Is4() != b.Is4() || b.Less(a) {
		return nil, false
	}
	var list []netip.Prefix
	for a.IsValid() && !b.Less(a) {
		p := netip.PrefixFrom(a, a.BitLen())
		for p.Bits() > 0 {
			wider := netip.PrefixFrom(a, p.Bits()-1)
			if wider.Masked().Addr() != a || b.Less(nat.LastOf(wider)) {
				break
			}
			p = wider
		}
		list = append(list, p)
		a = nat.LastOf(p).Next()
	}
	return list, true
}
