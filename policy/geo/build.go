package geo

import (
	"fmt"
	"net/netip"
	"slices"

	"sallyport/nat"
)

// The bounds of what is read.
const (
	maxFile    = 256 << 20 // bytes, unpacked
	maxRanges  = 4_000_000
	maxSource  = 1 << 10  // bytes of the source's name
	maxLicence = 64 << 10 // bytes of the licence's text
)

// builder collects ranges in the order of a file and turns them into a Database.
type builder struct {
	nested bool // a range may lie within another: the narrower one wins
	most   int
	ranges [2][]entry // IPv4, IPv6
}

// entry is one range of a file, both ends included.
type entry struct {
	first, last wide
	code        Code
	line        int // where it stands, for errors
}

// add takes one range, which must be of one IP version.
func (b *builder) add(first, last netip.Addr, code Code, line int) error {
	if first.Is4In6() && last.Is4In6() {
		first, last = first.Unmap(), last.Unmap()
	}
	e := entry{number(first), number(last), code, line}
	switch {
	case first.Is4() != last.Is4():
		return fmt.Errorf("%s-%s mixes IPv4 and IPv6", first, last)
	case e.last.less(e.first):
		return fmt.Errorf("%s-%s ends before it starts", first, last)
	case len(b.ranges[0])+len(b.ranges[1]) >= b.most:
		return fmt.Errorf("more than %d ranges: this is no country database", b.most)
	}
	version := 1
	if first.Is4() {
		version = 0
	}
	b.ranges[version] = append(b.ranges[version], e)
	return nil
}

// addPrefix takes one prefix.
func (b *builder) addPrefix(p netip.Prefix, code Code, line int) error {
	p = p.Masked()
	return b.add(p.Addr(), nat.LastOf(p), code, line)
}

// database sorts what was collected. The builder is of no use afterwards.
func (b *builder) database() (*Database, error) {
	d := &Database{codes: []Code{{}}}
	numbers := map[Code]uint8{{}: 0}
	numberOf := func(c Code) uint8 {
		n, known := numbers[c]
		if !known {
			n = uint8(len(d.codes)) // readCode admits 250 codes
			numbers[c] = n
			d.codes = append(d.codes, c)
		}
		return n
	}
	err := b.sweep(0, wide{0, 1<<32 - 1}, func(start wide, c Code) {
		d.v4.starts = append(d.v4.starts, uint32(start.lo))
		d.v4.country = append(d.v4.country, numberOf(c))
	})
	if err != nil {
		return nil, err
	}
	err = b.sweep(1, wide{^uint64(0), ^uint64(0)}, func(start wide, c Code) {
		d.v6.starts = append(d.v6.starts, start)
		d.v6.country = append(d.v6.country, numberOf(c))
	})
	if err != nil {
		return nil, err
	}
	d.v4.starts, d.v4.country = slices.Clip(d.v4.starts), slices.Clip(d.v4.country)
	d.v6.starts, d.v6.country = slices.Clip(d.v6.starts), slices.Clip(d.v6.country)
	return d, nil
}

// sweep walks the ranges of one IP version from the lowest address to the highest and calls emit wherever the country
// changes. Wider ranges come before those within them; what is open at a place is on a stack.
func (b *builder) sweep(version int, end wide, emit func(wide, Code)) error {
	ranges := b.ranges[version]
	slices.SortFunc(ranges, order)
	border := borders{emit: emit}
	var open []entry
	top := func() Code {
		if len(open) == 0 {
			return Code{}
		}
		return open[len(open)-1].code
	}
	closeBefore := func(place wide) {
		for len(open) > 0 && open[len(open)-1].last.less(place) {
			last := open[len(open)-1].last
			open = open[:len(open)-1]
			// One that ends with the range around it leaves nothing of that one.
			for len(open) > 0 && open[len(open)-1].last == last {
				open = open[:len(open)-1]
			}
			if next, ok := last.next(end); ok {
				border.set(next, top())
			}
		}
	}
	for _, e := range ranges {
		closeBefore(e.first)
		if len(open) > 0 {
			if err := b.mayOverlap(&open[len(open)-1], &e); err != nil {
				return err
			}
		}
		border.set(e.first, e.code)
		open = append(open, e)
	}
	for len(open) > 0 {
		next, ok := open[len(open)-1].last.next(end)
		if !ok {
			break
		}
		closeBefore(next)
	}
	border.flush()
	return nil
}

// order is by start, wider ones first, then by place in the file.
func order(a, b entry) int {
	switch {
	case a.first != b.first:
		return sign(a.first.less(b.first))
	case a.last != b.last:
		return sign(b.last.less(a.last))
	}
	return a.line - b.line
}

func sign(less bool) int {
	if less {
		return -1
	}
	return 1
}

// mayOverlap judges a range that begins within another.
func (b *builder) mayOverlap(outer, inner *entry) error {
	switch {
	case outer.first == inner.first && outer.last == inner.last && outer.code == inner.code:
		return nil
	case outer.first == inner.first && outer.last == inner.last:
		return fmt.Errorf("line %d: the range stands in line %d with another country", inner.line, outer.line)
	case !b.nested || outer.last.less(inner.last):
		return fmt.Errorf("line %d: the range overlaps that of line %d", inner.line, outer.line)
	}
	return nil
}

// borders joins neighbouring ranges of one country.
type borders struct {
	emit    func(wide, Code)
	pending bool
	start   wide
	code    Code
	told    Code // of the range before; nothing lies before the first one
}

// set says that another country begins at a place. A later word on the same place replaces an earlier one.
func (b *borders) set(start wide, code Code) {
	if b.pending && b.start != start {
		b.flush()
	}
	b.pending, b.start, b.code = true, start, code
}

func (b *borders) flush() {
	if b.pending && b.code != b.told {
		b.emit(b.start, b.code)
		b.told = b.code
	}
	b.pending = false
}
