package firewall

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var began = time.Date(2027, 1, 31, 18, 0, 0, 0, time.UTC)

func entry(prefix string, minutes int) Entry {
	e := Entry{Prefix: netip.MustParsePrefix(prefix)}
	if minutes != 0 {
		e.Until = began.Add(time.Duration(minutes) * time.Minute)
	}
	return e
}

func TestCover(t *testing.T) {
	for _, tt := range []struct {
		name         string
		wanted, want []Entry
	}{
		{"nothing", nil, nil},
		{"in order", []Entry{entry("192.0.2.7/32", 1), entry("192.0.2.3/32", 2)}, []Entry{entry("192.0.2.3/32", 2), entry("192.0.2.7/32", 1)}},
		{"families", []Entry{entry("2001:db8::/64", 1), entry("192.0.2.7/32", 1)}, []Entry{entry("192.0.2.7/32", 1), entry("2001:db8::/64", 1)}},
		{"what has ended", []Entry{entry("192.0.2.7/32", -1), entry("192.0.2.8/32", 0)}, []Entry{entry("192.0.2.8/32", 0)}},
		{"the wider counts", []Entry{entry("192.0.2.7/32", 0), entry("192.0.2.0/24", 1), entry("192.0.0.0/16", 2)}, []Entry{entry("192.0.0.0/16", 2)}},
		{"of equal ones the longer", []Entry{entry("192.0.2.0/24", 1), entry("192.0.2.0/24", 0), entry("192.0.2.0/24", 5)}, []Entry{entry("192.0.2.0/24", 0)}},
		{"host bits", []Entry{entry("192.0.2.7/24", 1)}, []Entry{entry("192.0.2.0/24", 1)}},
		{"never everybody", []Entry{entry("0.0.0.0/0", 1), entry("::/0", 1), {}}, nil},
	} {
		if got := cover(began, tt.wanted); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// prefixes draws ranges that often lie within each other.
func prefixes() *rapid.Generator[Entry] {
	return rapid.Custom(func(t *rapid.T) Entry {
		e := Entry{}
		if minutes := rapid.IntRange(-1, 4).Draw(t, "minutes"); minutes != 0 {
			e.Until = began.Add(time.Duration(minutes) * time.Minute)
		}
		b := [16]byte{0x20, 1, 0xd, 0xb8}
		if rapid.Bool().Draw(t, "v6") {
			b[7], b[15] = rapid.ByteRange(0, 3).Draw(t, "net"), rapid.ByteRange(0, 3).Draw(t, "host")
			e.Prefix = netip.PrefixFrom(netip.AddrFrom16(b), rapid.SampledFrom([]int{32, 48, 62, 63, 64, 128}).Draw(t, "bits"))
			return e
		}
		a := netip.AddrFrom4([4]byte{192, 0, 2, rapid.ByteRange(0, 15).Draw(t, "host")})
		e.Prefix = netip.PrefixFrom(a, rapid.IntRange(26, 32).Draw(t, "bits"))
		return e
	})
}

// TestACoverHoldsWhatIsWanted: an address is covered if and only if some entry that holds wants it, and no two overlap.
func TestACoverHoldsWhatIsWanted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		wanted := rapid.SliceOfN(prefixes(), 0, 20).Draw(t, "wanted")
		got := cover(began, slices.Clone(wanted))
		in := func(list []Entry, a netip.Addr) bool {
			return slices.ContainsFunc(list, func(e Entry) bool { return e.Prefix.Contains(a) && !e.ended(began) })
		}
		for host := range 64 {
			a := netip.AddrFrom4([4]byte{192, 0, 2, byte(host)})
			if in(got, a) != in(wanted, a) {
				t.Fatalf("%s: covered %t, wanted %t", a, in(got, a), in(wanted, a))
			}
		}
		for i := 1; i < len(got); i++ {
			if got[i-1].Prefix.Overlaps(got[i].Prefix) || !got[i-1].Prefix.Addr().Less(got[i].Prefix.Addr()) {
				t.Fatalf("%v then %v", got[i-1], got[i])
			}
		}
	})
}

// TestStepsLeadToTheCover: whatever the kernel has, after a step it has the cover, and nothing is removed that is not there,
// nor added that is: the kernel refuses both.
func TestStepsLeadToTheCover(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		has := map[netip.Prefix]time.Time{}
		now := began
		for range rapid.IntRange(1, 6).Draw(t, "rounds") {
			now = now.Add(time.Duration(rapid.IntRange(0, 100).Draw(t, "seconds")) * time.Second)
			for p, until := range has { // as the kernel does
				if (&Entry{Until: until}).ended(now) {
					delete(has, p)
				}
			}
			want := cover(now, rapid.SliceOfN(prefixes(), 0, 12).Draw(t, "wanted"))
			remove, add := step(now, has, want)
			for _, e := range remove {
				if _, there := has[e.Prefix]; !there {
					t.Fatalf("removes %v", e)
				}
				delete(has, e.Prefix)
			}
			for _, e := range add {
				for p := range has {
					if p.Overlaps(e.Prefix) {
						t.Fatalf("adds %v beside %v", e, p)
					}
				}
				has[e.Prefix] = e.Until
			}
			if len(has) != len(want) {
				t.Fatalf("%v, want %v", has, want)
			}
			for _, e := range want {
				if until, there := has[e.Prefix]; !there || !same(until, e.Until) {
					t.Fatalf("%v, want %v", has, want)
				}
			}
			if remove, add := step(now, has, want); len(remove)+len(add) > 0 {
				t.Fatalf("a second step: %v %v", remove, add)
			}
		}
	})
}

func TestAfter(t *testing.T) {
	for prefix, want := range map[string]string{
		"192.0.2.7/32": "192.0.2.8", "192.0.2.0/24": "192.0.3.0", "192.0.2.255/32": "192.0.3.0", "255.255.255.255/32": "invalid IP",
		"240.0.0.0/4": "invalid IP", "2001:db8::/64": "2001:db8:0:1::", "2001:db8::1/128": "2001:db8::2", "10.0.0.0/9": "10.128.0.0",
	} {
		if got := after(netip.MustParsePrefix(prefix)).String(); got != want {
			t.Errorf("%s: %s, want %s", prefix, got, want)
		}
	}
}
