package sbc

import (
	"context"
	"slices"
	"strings"
	"time"

	"sallyport/nat"
	"sallyport/sbc/api"
	"sallyport/sbc/config"
	"sallyport/sbc/reason"
	"sallyport/sbc/resolve"
	"sallyport/sbc/trunk"
	"sallyport/sbc/tu"
)

// namedEntry is an entry of the configuration that is a name.
type namedEntry struct {
	name      config.Name
	transport nat.Transport
	realms    [2]bool
}

// named tells of a system's addresses which names they come from, and adds the names that lead nowhere.
func (c control) named(s *trunk.System, list []api.Peer) []api.Peer {
	x := c.expander()
	for _, e := range x.entriesOf(s) {
		state := x.state(c.naming, x.want(s.Side, e.realms, e.name, e.transport))
		from := api.Resolved{Name: e.name.String(), NameAt: state.At, NameError: troubles(&state)}
		for i := range list {
			for _, at := range state.Endpoints {
				if list[i].Name == "" && list[i].Address == at.Address.String() && list[i].Transport == at.Transport.String() {
					list[i].Resolved = from
				}
			}
		}
		if len(state.Endpoints) == 0 {
			list = append(list, api.Peer{Transport: e.transport.String(), State: trunk.Unknown.String(), Resolved: from})
		}
	}
	return list
}

// expander knows what is our own in the configuration in force.
func (c control) expander() *expander {
	x := newExpander(c.snap.Load())
	x.see = c.naming.see
	x.ours()
	return x
}

// state is how a name stands, without the answers that are not used.
func (x *expander) state(n *naming, w resolve.Want) resolve.State {
	s := n.watcher.State(w)
	s.Refused = slices.Clip(s.Refused)
	s.Endpoints = slices.DeleteFunc(slices.Clone(s.Endpoints), func(e resolve.Endpoint) bool {
		why := w.Refuse(e.Address)
		if why != "" {
			s.Refused = append(s.Refused, addressText(e.Address)+" "+why)
		}
		return why != ""
	})
	return s
}

// entriesOf are the entries of a system that are names.
func (x *expander) entriesOf(s *trunk.System) (out []namedEntry) {
	if s.Kind == tu.KindNode {
		for i := range x.out.PBX.Nodes {
			if n := &x.out.PBX.Nodes[i]; !n.Name.IsZero() && n.Realms[s.Realm] {
				out = append(out, namedEntry{n.Name, n.Transport, n.Realms})
			}
		}
		return out
	}
	for i := range x.out.Trunks {
		t := &x.out.Trunks[i]
		for j := range t.Peers {
			if p := &t.Peers[j]; t.Name == s.Name && !p.Name.IsZero() {
				out = append(out, namedEntry{p.Name, p.Transport, trunkRealm})
			}
		}
	}
	return out
}

// troubles is what is wrong with a name, in one line.
func troubles(s *resolve.State) string {
	text := errorText(s.Err)
	if s.Err == nil && len(s.Refused) > 0 {
		text = "not used: " + strings.Join(s.Refused, ", ")
	}
	return text
}

// list is how each name stands, for `sbc status`.
func (n *naming) list(snap *config.Snapshot) []api.DataSource {
	var out []api.DataSource
	wants, _ := wantsOf(snap)
	for i := range wants {
		s := n.watcher.State(wants[i])
		out = append(out, api.DataSource{
			Kind: wants[i].Role + " name", Name: wants[i].Host, Entries: len(s.Endpoints), Fetched: s.At, Error: troubles(&s),
		})
	}
	return out
}

// limits are its capped tables.
func (n *naming) limits() []api.Limit {
	known, knownMost := n.resolver.Known()
	watched, watchedMost := n.watcher.Levels()
	return []api.Limit{
		{Name: "DNS records", Level: known, High: known, Cap: knownMost}, {Name: "names", Level: watched, High: watched, Cap: watchedMost},
	}
}

// nowhere says of a call that found no way which names of its trunk, or of the PBX, have no address; "": none.
func (c control) nowhere(r *tu.CDR) (text string) {
	if r.Reason != reason.NoRoute && r.Reason != reason.NoPBX {
		return ""
	}
	x := c.expander()
	for _, s := range []trunk.System{
		{Name: r.Trunk, Kind: tu.KindTrunk, Side: nat.Outside}, {Kind: tu.KindNode, Side: nat.Inside, Realm: nat.Trunks},
		{Kind: tu.KindNode, Side: nat.Inside, Realm: nat.Phones},
	} {
		for _, e := range x.entriesOf(&s) {
			state := x.state(c.naming, x.want(s.Side, e.realms, e.name, e.transport))
			line := "name    " + e.name.String() + " has no address yet: " + troubles(&state) + "\n"
			if len(state.Endpoints) == 0 && !strings.Contains(text, line) {
				text += line
			}
		}
	}
	return text
}

// NameReport is what a name of a configuration leads to.
type NameReport struct {
	Path, Name string
	Leads      string // addresses; "": nowhere
	Error      string
}

// LookUpNames looks the names of a configuration up, once each, by the name servers of this machine.
func LookUpNames(ctx context.Context, snap *config.Snapshot) []NameReport {
	return lookUpNames(ctx, snap, &resolve.System{})
}

func lookUpNames(ctx context.Context, snap *config.Snapshot, ex resolve.Exchanger) []NameReport {
	wants, paths := wantsOf(snap)
	ctx, cancel := context.WithTimeout(ctx, namesTime)
	defer cancel()
	w := resolve.NewWatcher(resolve.New(ex, time.Now), time.Now, func(resolve.Want, resolve.State, resolve.State) {})
	w.Ask(ctx, wants)
	var out []NameReport
	for i := range wants {
		s := w.State(wants[i])
		r := NameReport{Path: paths[wants[i].Key()], Name: wants[i].Host, Error: troubles(&s)}
		if len(s.Endpoints) > 0 {
			r.Leads = leadsTo(s.Endpoints)
		}
		out = append(out, r)
	}
	return out
}
