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
			"1 outside/phones tcp 203.0.113.10:5060 203.0.113.10:5060",
			"2 outside/trunks udp 203.0.113.10:5080 203.0.113.10:5080",
			"3 inside/phones udp 10.0.0.2:5060 10.0.0.2:5060",
			"4 inside/phones tcp 10.0.0.2:5060 10.0.0.2:5060",
			"5 inside/trunks udp 10.0.0.2:5080 10.0.0.2:5080",
			"6 inside/trunks tcp 10.0.0.2:5080 10.0.0.2:5080",
		},
		"nat": {
			"0 outside/phones udp 10.0.0.2:5060 198.51.100.5:5060",
			"1 outside/phones tcp 10.0.0.2:5060 198.51.100.5:5060",
			"2 outside/trunks udp 10.0.0.2:5080 198.51.100.5:5080",
			"3 inside/phones udp 10.0.0.2:5062 10.0.0.2:5062",
			"4 inside/trunks udp 10.0.0.2:5082 10.0.0.2:5082",
		},
		"large": {
			"0 outside/trunks udp 203.0.113.11:5080 203.0.113.11:5080",
			"1 inside/trunks udp [fd00::2]:5080 [fd00::2]:5080",
			"2 inside/trunks tcp [fd00::2]:5080 [fd00::2]:5080",
		},
		"six": {
			"0 outside/trunks udp [2001:db8::10]:5080 [2001:db8::10]:5080",
			"1 inside/trunks udp [fd00::2]:5080 [fd00::2]:5080",
			"2 inside/trunks tcp [fd00::2]:5080 [fd00::2]:5080",
		},
		"phones": {
			"0 outside/phones udp 10.1.0.3:5060 203.0.113.11:5060",
			"1 outside/phones tcp 10.1.0.3:5060 203.0.113.11:5060",
			"2 outside/phones tls 10.1.0.3:5061 203.0.113.11:5061",
			"3 inside/phones tcp 10.0.0.2:5060 10.0.0.2:5060",
		},
		"browsers": {
			"0 outside/phones udp 203.0.113.10:5060 198.51.100.5:5060",
			"1 outside/phones wss 203.0.113.10:443 198.51.100.5:443",
			"2 outside/trunks udp 203.0.113.10:5080 198.51.100.5:5080",
			"3 inside/phones udp 10.0.0.2:5060 10.0.0.2:5060",
			"4 inside/trunks udp 10.0.0.2:5080 10.0.0.2:5080",
			"5 inside/trunks tcp 10.0.0.2:5080 10.0.0.2:5080",
		},
		"streams": {
			"0 outside/phones udp 203.0.113.10:5060 203.0.113.10:5060",
			"1 outside/phones tcp 203.0.113.10:5060 203.0.113.10:5060",
			"2 outside/phones tls 203.0.113.10:5061 203.0.113.10:5061",
			"3 outside/trunks udp 203.0.113.10:5080 203.0.113.10:5080",
			"4 outside/trunks tcp 203.0.113.10:5080 203.0.113.10:5080",
			"5 outside/trunks tls 203.0.113.10:5081 203.0.113.10:5081",
			"6 inside/phones udp 10.0.0.2:5060 10.0.0.2:5060",
			"7 inside/phones tcp 10.0.0.2:5060 10.0.0.2:5060",
			"8 inside/trunks udp 10.0.0.2:5080 10.0.0.2:5080",
			"9 inside/trunks tcp 10.0.0.2:5080 10.0.0.2:5080",
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
			if g.Bind != wanted[i].Bind || g.Transport != wanted[i].Transport || g.Advertised != wanted[i].Advertised {
				t.Fatal("more than the number changed")
			}
			same := false
			for _, l := range live {
				if l.Bind == g.Bind && l.Transport == g.Transport {
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
	// A port is one socket of datagrams and one of streams.
	sockets := rapid.SliceOfNDistinct(rapid.Uint16Range(2, 13), 0, 6, rapid.ID[uint16]).Draw(t, label)
	out := make([]nat.Interface, len(sockets))
	for i, n := range sockets {
		at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 1}), n/2)
		out[i] = nat.Interface{ID: uint16(i), Transport: nat.Transport(n % 2), Bind: at, Advertised: at}
	}
	return out
}

// TestClashes: two listeners clash exactly if the kernel would refuse the second one.
func TestClashes(t *testing.T) {
	at := netip.MustParseAddrPort
	for _, c := range []struct {
		a, b listener
		want bool
	}{
		{listener{bind: at("192.0.2.1:5060")}, listener{bind: at("192.0.2.1:5060")}, true},
		{listener{bind: at("192.0.2.1:5060")}, listener{bind: at("192.0.2.1:5060"), transport: nat.TCP}, false},
		{listener{bind: at("192.0.2.1:5060"), transport: nat.TLS}, listener{bind: at("192.0.2.1:5060"), transport: nat.TCP}, true},
		{listener{bind: at("192.0.2.1:5060")}, listener{bind: at("192.0.2.2:5060")}, false},
		{listener{bind: at("192.0.2.1:5060")}, listener{bind: at("192.0.2.1:5061")}, false},
	} {
		if c.a.clashes(&c.b) != c.want || c.b.clashes(&c.a) != c.want {
			t.Errorf("%v %v and %v %v: not %v", c.a.bind, c.a.transport, c.b.bind, c.b.transport, c.want)
		}
	}
}
