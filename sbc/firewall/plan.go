package firewall

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// Entry is a range of sources that the kernel shall drop.
type Entry struct {
	Prefix netip.Prefix
	Until  time.Time // zero: until it is no longer wanted
}

func (e *Entry) ended(now time.Time) bool { return !e.Until.IsZero() && !now.Before(e.Until) }

// cover makes of what is wanted what the kernel's intervals can hold: ranges that hold now and do not overlap, in their
// order. Of one range within another only the wider remains, until its own end; the narrower comes back with a later plan if
// it lasts longer.
func cover(now time.Time, wanted []Entry) []Entry {
	list := make([]Entry, 0, len(wanted))
	for _, e := range wanted {
		if e.Prefix.IsValid() && e.Prefix.Bits() > 0 && !e.Prefix.Addr().Is4In6() && !e.ended(now) {
			e.Prefix = e.Prefix.Masked()
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(a, b Entry) int {
		return cmp.Or(a.Prefix.Addr().Compare(b.Prefix.Addr()), cmp.Compare(a.Prefix.Bits(), b.Prefix.Bits()), latest(b, a))
	})
	kept := list[:0]
	for _, e := range list {
		if n := len(kept); n > 0 && kept[n-1].Prefix.Overlaps(e.Prefix) {
			continue
		}
		kept = append(kept, e)
	}
	return kept
}

// latest orders by the end; no end is the last.
func latest(a, b Entry) int {
	switch {
	case a.Until.IsZero() && b.Until.IsZero():
		return 0
	case a.Until.IsZero():
		return 1
	case b.Until.IsZero():
		return -1
	}
	return a.Until.Compare(b.Until)
}

// slack is how far an end may be off before an entry is written anew.
const slack = time.Second

// step is what leads from the entries that the kernel has, less those that have ended there meanwhile, to a cover. An entry
// with another end goes and comes again.
func step(now time.Time, has map[netip.Prefix]time.Time, want []Entry) (remove, add []Entry) {
	stays := make(map[netip.Prefix]bool, len(want))
	for _, e := range want {
		until, there := has[e.Prefix]
		if there && !(&Entry{Until: until}).ended(now) {
			if same(until, e.Until) {
				stays[e.Prefix] = true
				continue
			}
			remove = append(remove, Entry{e.Prefix, until})
			stays[e.Prefix] = true
		}
		add = append(add, e)
	}
	for p, until := range has {
		if e := (Entry{p, until}); !stays[p] && !e.ended(now) {
			remove = append(remove, e)
		}
	}
	slices.SortFunc(remove, func(a, b Entry) int {
		return cmp.Or(a.Prefix.Addr().Compare(b.Prefix.Addr()), cmp.Compare(a.Prefix.Bits(), b.Prefix.Bits()))
	})
	return remove, add
}

func same(a, b time.Time) bool {
	if a.IsZero() || b.IsZero() {
		return a.IsZero() && b.IsZero()
	}
	return a.Sub(b).Abs() < slack
}

// after is the first address behind a prefix; invalid if there is none.
func after(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for bit := p.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	last, _ := netip.AddrFromSlice(b)
	return last.Next()
}
