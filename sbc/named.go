package sbc

import (
	"context"
	"slices"
	"strings"

	"sallyport/nat"
	"sallyport/sbc/api"
	"sallyport/sbc/config"
	"sallyport/sbc/names"
	"sallyport/sbc/reason"
	"sallyport/sbc/trunk"
	"sallyport/sbc/tu"
)

// named tells of a system's addresses which names they come from, and adds the names that lead nowhere.
func (c control) named(s *trunk.System, list []api.Peer) []api.Peer {
	for _, n := range c.namesOf(s) {
		from := api.Resolved{Name: n.Written(), NameAt: n.State.At, NameError: n.Trouble()}
		for i := range list {
			for _, at := range n.State.Endpoints {
				if list[i].Name == "" && list[i].Address == at.Address.String() && list[i].Transport == at.Transport.String() {
					list[i].Resolved = from
				}
			}
		}
		if len(n.State.Endpoints) == 0 {
			list = append(list, api.Peer{Transport: n.Want.Transport.String(), State: trunk.Unknown.String(), Resolved: from})
		}
	}
	return list
}

// namesOf is how the names of a system stand.
func (c control) namesOf(s *trunk.System) []names.Standing {
	if s.Kind == tu.KindNode {
		return c.naming.Nodes(c.snap.Load(), s.Realm)
	}
	return c.naming.Trunk(c.snap.Load(), s.Name)
}

// nowhere says of a call that found no way which names of its trunk, or of the PBX, have no address; "": none.
func (c control) nowhere(r *tu.CDR) (text string) {
	if r.Reason != reason.NoRoute && r.Reason != reason.NoPBX {
		return ""
	}
	snap := c.snap.Load()
	for _, n := range slices.Concat(c.naming.Trunk(snap, r.Trunk), c.naming.Nodes(snap, nat.Trunks), c.naming.Nodes(snap, nat.Phones)) {
		line := "name    " + n.Written() + " has no address yet: " + n.Trouble() + "\n"
		if len(n.State.Endpoints) == 0 && !strings.Contains(text, line) {
			text += line
		}
	}
	return text
}

// nameData is how each name of the configuration stands, for `sbc status`.
func (s *SBC) nameData(snap *config.Snapshot) (out []api.DataSource) {
	for _, n := range s.naming.All(snap) {
		out = append(out, api.DataSource{
			Kind: n.Want.Role + " name", Name: n.Want.Host, Entries: len(n.State.Endpoints), Fetched: n.State.At, Error: n.Trouble(),
		})
	}
	return out
}

// nameLimits are the capped tables of names.
func (s *SBC) nameLimits() (out []api.Limit) {
	for _, l := range s.naming.Levels() {
		out = append(out, api.Limit{Name: l.Table, Level: l.Level, High: l.Level, Cap: l.Most})
	}
	return out
}

// NameReport is what a name of a configuration leads to.
type NameReport struct {
	Path, Name string
	Leads      string // addresses; "": nowhere
	Error      string
}

// LookUpNames looks the names of a configuration up, once each, by the name servers of this machine.
func LookUpNames(ctx context.Context, snap *config.Snapshot) (out []NameReport) {
	for _, n := range names.LookUp(ctx, snap, nil) {
		out = append(out, NameReport{n.Path, n.Want.Host, n.Leads(), n.Trouble()})
	}
	return out
}
