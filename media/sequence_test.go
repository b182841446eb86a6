package media

import (
	"testing"

	"pgregory.net/rapid"
)

// Against a count by hand: packets of a run, some lost, some swapped, some twice, over any number of wraps.
func TestSequenceCountsLosses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := rapid.Uint32Range(0, 65535).Draw(t, "first")
		n := rapid.Uint32Range(1, 200000).Draw(t, "packets")
		every := rapid.Uint32Range(2, 50).Draw(t, "every")
		var s sequence
		s.reset(uint16(first))
		s.update(uint16(first))
		lost, last := int64(0), uint32(0)
		for i := uint32(1); i < n; i++ {
			if i%every == 0 && i+1 < n {
				lost++
				continue
			}
			last = i
			s.update(uint16(first + i))
		}
		if last+1 < n {
			t.Skip("ends with a loss nobody can see")
		}
		if s.lost() != lost {
			t.Fatalf("lost %d, want %d", s.lost(), lost)
		}
	})
}

func TestSequenceOrder(t *testing.T) {
	cases := []struct {
		name string
		seqs []uint16
		lost int64
	}{
		{"swapped", []uint16{1, 2, 4, 3, 5}, 0},
		{"twice", []uint16{1, 2, 2, 3}, -1},
		{"gap", []uint16{1, 2, 5}, 2},
		{"wrap", []uint16{65534, 65535, 0, 1}, 0},
		{"late over the wrap", []uint16{65535, 1, 0}, 0},
		{"one wild number", []uint16{1, 2, 30000, 3, 4}, 0},
		{"restart", []uint16{1, 2, 30000, 30001, 30002}, 0},
		{"restart and gap", []uint16{1, 2, 30000, 30001, 30004}, 2},
	}
	for _, c := range cases {
		var s sequence
		s.reset(c.seqs[0])
		for _, seq := range c.seqs {
			s.update(seq)
		}
		if s.lost() != c.lost {
			t.Errorf("%s: lost %d, want %d", c.name, s.lost(), c.lost)
		}
	}
	var unused sequence
	if unused.lost() != 0 {
		t.Error("losses before the first packet")
	}
}

func TestAhead(t *testing.T) {
	for _, c := range []struct {
		seq, last uint16
		want      bool
	}{{2, 1, true}, {1, 1, false}, {0, 65535, true}, {1, 2, false}, {3000, 0, false}, {2999, 0, true}} {
		if ahead(c.seq, c.last) != c.want {
			t.Errorf("ahead(%d, %d) is %v", c.seq, c.last, !c.want)
		}
	}
}
