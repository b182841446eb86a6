package sbc

import (
	"context"
	"slices"
	"strings"
	"time"

	"sallyport/sbc/api"
	"sallyport/sbc/config"
	"sallyport/sbc/trunk"
	"sallyport/sbc/tu"
)

// Trunks are the trunks in file order.
func (c control) Trunks(ctx context.Context) ([]api.Trunk, error) {
	var out []api.Trunk
	var known []config.Trunk
	err := c.core.Do(ctx, func(now time.Time) {
		a := c.assembly
		known = a.world.snap.Trunks
		for s := range a.book.Systems {
			if s.Kind != tu.KindTrunk {
				continue
			}
			t := api.Trunk{
				Name: s.Name, Mode: "address", State: a.book.Best(s).String(), Load: a.load(now, trunk.Key{Of: trunk.OfTrunk, Name: s.Name}),
				Drained: a.drainedBy(tu.KindTrunk, s.Name), Peers: c.peers(s), Denied: a.book.Denied(s.Name),
			}
			if _, registers := a.world.registrations[s.Name]; registers {
				t.Mode, t.Registration = "register", c.enrolment(s.Name)
			}
			if s.Any != nil && s.Any.Group != "" {
				t.Group = s.Any.Group
				of := a.load(now, trunk.Key{Of: trunk.OfGroup, Name: t.Group})
				t.GroupLoad = &of
			}
			out = append(out, t)
		}
	})
	refused := c.refusedCallers(known)
	for i := range out {
		out[i].Refused = refused[out[i].Name]
	}
	return out, err
}

// load is how many calls somebody has.
func (a *assembly) load(now time.Time, k trunk.Key) api.Load {
	l := a.leases.ledger
	b := l.Bound(k)
	return api.Load{Calls: l.Now(k), Most: b.Calls, High: l.High(k), Rate: l.Rate(now, k), RateMost: b.PerSecond}
}

// drainedBy says who has taken something out; nil: nobody has.
func (a *assembly) drainedBy(kind tu.Kind, name string) *api.Drained {
	d, is := a.drains.list[drainKey(kind, name)]
	if !is {
		return nil
	}
	return &api.Drained{DrainedBy: d.By, DrainedSince: d.Since}
}

// peers runs in the core's turn.
func (c control) peers(s *trunk.System) []api.Peer {
	var out []api.Peer
	for _, h := range s.Hops {
		x := c.assembly.book.Health(h.ID)
		if no := c.unconnected(&h.Hop); no != "" {
			x.Why = strings.TrimPrefix(x.Why+"; "+no, "; ")
		}
		out = append(out, api.Peer{
			Address: h.Flow.Remote.String(), Transport: h.Flow.Transport.String(), State: x.State.String(), Reason: x.Why,
			Since: x.Since, Answer: c.assembly.probes[h.ID].said, Latency: float64(x.Latency.Microseconds()) / 1000,
		})
	}
	return c.named(s, out)
}

// Nodes are the PBX nodes in file order.
func (c control) Nodes(ctx context.Context) ([]api.Node, error) {
	var out []api.Node
	err := c.core.Do(ctx, func(now time.Time) {
		bindings := c.assembly.phones.byNode()
		for s := range c.assembly.book.Nodes {
			for i, p := range c.peers(s) {
				id := ""
				if i < len(s.Hops) { // else it is a name without an address
					id = s.Hops[i].ID
				}
				same := func(n api.Node) bool { return n.Address == p.Address && n.Transport == p.Transport && n.Name == p.Name }
				if i := slices.IndexFunc(out, same); i >= 0 {
					out[i].Realms = append(out[i].Realms, s.Realm.String())
					continue
				}
				out = append(out, api.Node{
					Peer: p, Realms: []string{s.Realm.String()}, Load: c.assembly.load(now, trunk.Key{Of: trunk.OfNode, Name: p.Address}),
					Drained: c.assembly.drainedBy(tu.KindNode, p.Address), Bindings: bindings[id],
				})
			}
		}
	})
	return out, err
}
