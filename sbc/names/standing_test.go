package names

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"sallyport/nat"
	"sallyport/sbc/resolve"
)

const standingConfig = `
outside: { address: 203.0.113.10 }
inside: { address: 10.0.0.2 }
pbx:
  domain: example.com
  nodes:
    - { address: "10.0.0.10:5060" }
    - { address: "pbx.example.com:5060", realms: [ phones ] }
    - { address: trunks.example.com, realms: [ trunks ], transport: udp }
    - { address: "both.example.com:5070" }
trunks:
  - { name: a, peers: [ { address: "203.0.113.20:5060" }, { address: "sip.provider.example:5060" }, { address: gone.example } ] }
  - { name: b, peers: [ { address: "203.0.113.30:5060" } ], sources: [ out.provider.example ] }
`

// TestStandings: whose names stand how.
func TestStandings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := newZone(t, hostA, "pbx.example.com. 60 IN A 10.0.0.11", "both.example.com. 60 IN A 10.0.0.12", "out.provider.example. 60 IN A 203.0.113.31")
		d, snap := newDesk(z, ""), snapshotOf(t, standingConfig)
		d.Ask(t.Context(), snap)
		d.Use(snap)
		text := func(list []Standing) (out []string) {
			for _, s := range list {
				trouble, _, _ := strings.Cut(s.Trouble(), " ")
				if s.State.Err == nil && !s.State.At.Equal(time.Now()) {
					t.Errorf("%s stands since %s", s.Written(), s.State.At)
				}
				out = append(out, fmt.Sprintf("%s %s %s -> %q %s", s.Path, s.Want.Role, s.Written(), s.Leads(), trouble))
			}
			return out
		}
		pbx, trunks, both := `pbx.nodes[1].address node pbx.example.com:5060 -> "10.0.0.11:5060" `,
			`pbx.nodes[2].address node trunks.example.com -> "" trunks.example.com`, `pbx.nodes[3].address node both.example.com:5070 -> "10.0.0.12:5070" `
		provider, gone := `trunks[0].peers[1].address peer sip.provider.example:5060 -> "203.0.113.20:5060" `,
			`trunks[0].peers[2].address peer gone.example -> "" gone.example`
		for what, c := range map[string]struct{ got, want []string }{
			"trunk a":         {text(d.Trunk(snap, "a")), []string{provider, gone}},
			"trunk b":         {text(d.Trunk(snap, "b")), nil}, // a source is nowhere to send to
			"no trunk":        {text(d.Trunk(snap, "")), nil},
			"nodes of phones": {text(d.Nodes(snap, nat.Phones)), []string{pbx, both}},
			"nodes of trunks": {text(d.Nodes(snap, nat.Trunks)), []string{trunks, both}},
			"all":             {text(d.All(snap)), []string{pbx, trunks, both, provider, gone, `trunks[1].sources peer out.provider.example -> "203.0.113.31" `}},
		} {
			if !slices.Equal(c.got, c.want) {
				t.Errorf("%s:\n%s\nwant\n%s", what, strings.Join(c.got, "\n"), strings.Join(c.want, "\n"))
			}
		}
		if got := fmt.Sprint(d.Levels()); !strings.Contains(got, "{DNS records ") || !strings.Contains(got, " {names 6 4096}") {
			t.Errorf("levels %s", got)
		}
	})
}

// TestNowForbidden: an answer of before that the configuration does not let be used is shown as refused, and used nowhere; what others
// see of the name's state is not touched.
func TestNowForbidden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := newZone(t, hostA, hostB)
		d, snap := newDesk(z, ""), snapshotOf(t, oneName)
		d.Ask(t.Context(), snap)
		next := snapshotOf(t, strings.Replace(oneName, "{ address: 203.0.113.10 }", "{ address: 203.0.113.10, external_address: 203.0.113.20 }", 1))
		for range 2 {
			list := d.Trunk(next, "itsp")
			if len(list) != 1 || list[0].Leads() != "203.0.113.21:5060" || list[0].Trouble() != "not used: 203.0.113.20:5060 is our own address" {
				t.Errorf("%+v", list)
			}
			if list = d.Trunk(snap, "itsp"); len(list) != 1 || list[0].Leads() != "203.0.113.20:5060, 203.0.113.21:5060" || list[0].Trouble() != "" {
				t.Errorf("%+v", list)
			}
		}
		if got := peersOf(d.Expand(next)); !slices.Equal(got, []string{"203.0.113.22:5060", "203.0.113.21:5060"}) {
			t.Errorf("peers %v", got)
		}
		d.Use(next)
		if list := d.All(next); len(list) != 1 || list[0].Leads() != "203.0.113.21:5060" {
			t.Errorf("%+v", list)
		}
	})
}

func TestLeadsTo(t *testing.T) {
	var list []resolve.Endpoint
	for i := range 9 {
		list = append(list, resolve.Endpoint{Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), uint16(i%2)*5060)})
	}
	for n, want := range map[int]string{
		0: "nothing", 1: "192.0.2.0", 2: "192.0.2.0, 192.0.2.1:5060",
		8: "192.0.2.0, 192.0.2.1:5060, 192.0.2.2, 192.0.2.3:5060, 192.0.2.4, 192.0.2.5:5060, 192.0.2.6, 192.0.2.7:5060",
		9: "192.0.2.0, 192.0.2.1:5060, 192.0.2.2, 192.0.2.3:5060, 192.0.2.4, 192.0.2.5:5060, 192.0.2.6, 192.0.2.7:5060, …",
	} {
		if got := leadsTo(list[:n]); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

// TestStandingsAgreeProperty: whatever a zone says, the peers that are used are those that the standings show, and none of them is
// forbidden.
func TestStandingsAgreeProperty(t *testing.T) {
	snap := snapshotOf(t, oneName)
	rules := Destinations(snap)[nat.Outside]
	rapid.Check(t, func(r *rapid.T) {
		var records []string
		for range rapid.IntRange(0, 6).Draw(r, "records") {
			at := rapid.SampledFrom([]string{"203.0.113.10", "203.0.113.20", "203.0.113.21", "10.0.0.10", "10.0.0.2", "127.0.0.1", "169.254.169.254", "224.0.0.1", "198.51.100.7"}).Draw(r, "address")
			records = append(records, "sip.provider.example. 30 IN A "+at)
		}
		d := newDesk(newZone(t, records...), "")
		d.Ask(t.Context(), snap)
		used := peersOf(d.Expand(snap))[1:]
		var shown []string
		for _, s := range d.Trunk(snap, "itsp") {
			for _, e := range s.State.Endpoints {
				shown = append(shown, e.Address.String())
			}
		}
		if !slices.Equal(used, shown) {
			r.Fatalf("used %v, shown %v", used, shown)
		}
		for _, at := range used {
			a := netip.MustParseAddrPort(at).Addr()
			if why, bad := nat.ForbiddenDestination(a, rules); bad || a.IsPrivate() {
				r.Fatalf("%s is used (%s)", at, why)
			}
		}
	})
}
