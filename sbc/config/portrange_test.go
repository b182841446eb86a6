package config

import "testing"

func TestPortRange(t *testing.T) {
	checkValues[PortRange](t, []valueCase{
		{text: "30000-31000", want: "30000-31000"},
		{text: "30000 - 31000", want: "30000-31000"},
		{text: "1-65535", want: "1-65535"},
		{text: "5-5", want: "5-5"},
		{text: "30000", bad: "not a port range", hint: "30000-31000"},
		{text: "", bad: "not a port range", hint: "30000-31000"},
		{text: "0-10", bad: "not a port range", hint: "65535"},
		{text: "1-65536", bad: "not a port range", hint: "65535"},
		{text: "a-b", bad: "not a port range", hint: "65535"},
		{text: "31000-30000", bad: "ends before", hint: "30000-31000"},
	})
}

func TestPortRangePairs(t *testing.T) {
	for _, c := range []struct {
		r     PortRange
		pairs int
	}{
		{PortRange{30000, 31000}, 500}, // 31000 has no port above it
		{PortRange{30000, 30999}, 500},
		{PortRange{30001, 30999}, 499},
		{PortRange{30000, 30001}, 1},
		{PortRange{30001, 30002}, 0},
		{PortRange{30001, 30001}, 0},
		{PortRange{30000, 30000}, 0},
		{PortRange{65534, 65535}, 1},
		{PortRange{65535, 65535}, 0},
		{PortRange{}, 0},
	} {
		if got := c.r.Pairs(); got != c.pairs {
			t.Errorf("%s: %d pairs, want %d", c.r, got, c.pairs)
		}
	}
	if r := (PortRange{10, 20}); !r.Contains(10) || !r.Contains(20) || r.Contains(9) || r.Contains(21) {
		t.Error("Contains is wrong at an end")
	}
}
