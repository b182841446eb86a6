package config

import (
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sallyport/nat"
)

func TestInterfaces(t *testing.T) {
	for file, want := range map[string][]string{
		"minimal": {
			"0 outside/phones udp 203.0.113.10:5060 203.0.113.10:5060",
			"1 outside/trunks udp 203.0.113.10:5080 203.0.113.10:5080",
			"2 inside/phones udp 10.0.0.2:5060 10.0.0.2:5060",
			"3 inside/trunks udp 10.0.0.2:5080 10.0.0.2:5080",
		},
		"nat": {
			"0 outside/phones udp 10.0.0.2:5060 198.51.100.5:5060",
			"1 outside/trunks udp 10.0.0.2:5080 198.51.100.5:5080",
			"2 inside/phones udp 10.0.0.2:5062 10.0.0.2:5062",
			"3 inside/trunks udp 10.0.0.2:5082 10.0.0.2:5082",
		},
		"large": {
			"0 outside/trunks udp 203.0.113.11:5080 203.0.113.11:5080",
			"1 inside/trunks udp [fd00::2]:5080 [fd00::2]:5080",
		},
		"six": {
			"0 outside/trunks udp [2001:db8::10]:5080 [2001:db8::10]:5080",
			"1 inside/trunks udp [fd00::2]:5080 [fd00::2]:5080",
		},
	} {
		snap, report := parseFile(t, filepath.Join(corpus, "good", file+".yaml"))
		if snap == nil {
			t.Fatal(report.String())
		}
		var got []string
		for i := range snap.Interfaces {
			n := &snap.Interfaces[i]
			got = append(got, string(rune('0'+n.ID))+" "+n.String()+" "+n.Advertised.String())
		}
		if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
			t.Errorf("%s:\n%s\nwant:\n%s", file, g, w)
		}
	}
}

// TestRenumber: a socket keeps its number, no two sockets share one, and new numbers are the lowest free ones.
func TestRenumber(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		live := drawInterfaces(t, "live")
		for i := range live {
			live[i].ID = uint16(i * 2) // gaps, as closed sockets leave them
		}
		wanted := drawInterfaces(t, "wanted")
		got := Renumber(live, wanted)
		used := map[uint16]nat.Interface{}
		for _, l := range live {
			used[l.ID] = l
		}
		for i, g := range got {
			if g.Bind != wanted[i].Bind || g.Advertised != wanted[i].Advertised {
				t.Fatal("more than the number changed")
			}
			same := false
			for _, l := range live {
				if l.Bind == g.Bind {
					same = l.ID == g.ID
				}
			}
			if _, taken := used[g.ID]; taken && !same {
				t.Fatalf("number %d is taken by another socket", g.ID)
			}
			used[g.ID] = g
			if int(g.ID) >= 2*len(live)+len(wanted) {
				t.Fatalf("number %d is not a low one", g.ID)
			}
		}
	})
}

func drawInterfaces(t *rapid.T, label string) []nat.Interface {
	ports := rapid.SliceOfNDistinct(rapid.Uint16Range(1, 12), 0, 6, rapid.ID[uint16]).Draw(t, label)
	out := make([]nat.Interface, len(ports))
	for i, p := range ports {
		at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 1}), p)
		out[i] = nat.Interface{ID: uint16(i), Bind: at, Advertised: at}
	}
	return out
}
