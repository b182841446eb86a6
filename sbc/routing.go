package sbc

import (
	"cmp"
	"slices"
	"strings"

	"sallyport/nat"
	"sallyport/policy/toll"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/route"
	"sallyport/sbc/trunk"
	"sallyport/sbc/tu"
)

// addRoutes makes the rules on where calls go, when all systems are there.
func (w *world) addRoutes() {
	r := &w.snap.Routes
	cfg := route.Config{Country: r.Country, Inbound: r.Inbound, Emergency: r.Emergency}
	for i := range w.snap.Trunks {
		t := &w.snap.Trunks[i]
		cfg.Trunks = append(cfg.Trunks, route.Trunk{
			Name: t.Name, Match: t.Outbound, Group: t.Group, Priority: t.Priority, Weight: t.Weight,
		})
	}
	w.table = route.New(cfg)
	w.renumbered = make([]map[*tu.Peer]*tu.Peer, len(r.Inbound))
	for i := range r.Inbound {
		if len(r.Inbound[i].Numbers) > 0 {
			w.renumbered[i] = w.nodesWith(&tu.Rules{NumbersOut: r.Inbound[i].Numbers})
		}
	}
}

// nodesWith are the nodes for calls of trunks, told numbers by rules of their own: what a rule on calls that come in does to
// numbers is done on the way to the PBX, behind what the trunk's own rules do.
func (w *world) nodesWith(rules *tu.Rules) map[*tu.Peer]*tu.Peer {
	out := map[*tu.Peer]*tu.Peer{}
	for i := range w.systems {
		if w.systems[i].Name != pbxName {
			continue
		}
		for j := range w.systems[i].Hops {
			peer := *w.systems[i].Hops[j].Peer
			peer.Rules = rules
			out[w.systems[i].Hops[j].Peer] = &peer
		}
	}
	return out
}

// reads is what a URI dials, as the PBX's phones dial.
func (w *world) reads(u message.URI) route.Dialled { return w.table.Country().Read(u) }

// urgent reports whether a URI dials an emergency number, as it is dialled.
func (w *world) urgent(u message.URI) bool {
	return slices.Contains(w.snap.Policy.Emergency, toll.Number(u.User))
}

// tell finds out which of the trunks that have its source a request is of. In a dialog that has been settled before.
func (a *assembly) tell(ev *tu.Arrived) {
	face := a.world.interfaces[ev.Flow.Interface]
	if ev.Peer == nil || len(ev.Peer.Also) == 0 || face == nil {
		return
	}
	if p, _ := a.choose(face, ev.Flow, ev.Msg); p != nil {
		ev.Peer, ev.Here = p, a.world.here(face, ev.Flow.Remote.Addr(), p)
	}
}

func (a *assembly) choose(face *nat.Interface, from nat.Flow, m *message.Message) (*tu.Peer, trunk.By) {
	user, _, _ := strings.Cut(m.URI.User, ";")
	return a.book.Choose(face.Side, face.Realm, from.Remote.Addr(), trunk.Telling{
		Proven: a.provenTrunks(face, from), Transport: from.Transport, User: user, Called: a.world.reads(m.URI),
	})
}

// toTrunks is the way of a request of the PBX: the trunks that take its number, in the order of the file, groups of them by turns;
// those first of whose addresses more is to be hoped. An emergency call has its own trunks before all others, and no drain stops
// it.
func (a *assembly) toTrunks(u message.URI) tu.Routed {
	return a.taken(a.outbound(u, true))
}

func (a *assembly) taken(steps []route.Step, hops []tu.Hop) tu.Routed {
	if len(steps) > 0 && len(hops) == 0 {
		// They are drained, or nobody knows their addresses at the moment: no reason to say that there is no such number.
		return tu.Routed{Code: 503, Why: reason.NoRoute, Peer: steps[0][0].Trunk}
	}
	if hops = a.listed(hops); len(hops) == 0 {
		return tu.Routed{Code: 404, Why: reason.NoRoute}
	}
	return tu.Routed{Hops: hops}
}

// outbound is the plan for a URI that the PBX calls. Unless it is kept, the turn among trunks of a group stays whose it was.
func (a *assembly) outbound(u message.URI, keep bool) ([]route.Step, []tu.Hop) {
	urgent := a.world.urgent(u)
	steps := a.world.table.Outbound(a.world.reads(u), urgent)
	var hops []tu.Hop
	for _, step := range steps {
		for _, name := range a.inOrder(step, keep) {
			if urgent {
				hops = append(hops, a.book.PlanAll(name, nat.Outside)...)
			} else {
				hops = append(hops, a.book.Plan(name, nat.Outside)...)
			}
		}
	}
	a.book.ByHealth(hops)
	return steps, hops
}

func (a *assembly) inOrder(step route.Step, keep bool) []string {
	if len(step) == 1 {
		return []string{step[0].Trunk}
	}
	return a.turns.Order(step, func(name string) int { return a.book.Rank(name, nat.Outside) }, keep)
}

// trunkFor is the trunk that a request of the PBX is given to first, for rules that name it; empty: none takes it.
func (a *assembly) trunkFor(u message.URI) string {
	steps := a.world.table.Outbound(a.world.reads(u), false)
	if len(steps) == 0 {
		return ""
	}
	return a.inOrder(steps[0], false)[0]
}

// toNodes is the way of a request of a trunk: the nodes of the groups that a rule names, with the numbers of that rule; else all
// nodes.
func (a *assembly) toNodes(trunk string, m *message.Message) tu.Routed {
	_, hops := a.inbound(trunk, a.world.reads(m.URI), a.world.reads(m.From.URI))
	return a.toPBX(hops)
}

// inbound is the plan for a call of a trunk, and the rule that has made it; -1: none.
func (a *assembly) inbound(trunk string, called, calling route.Dialled) (rule int, hops []tu.Hop) {
	if rule = a.world.table.Inbound(trunk, called, calling); rule < 0 {
		return rule, a.book.Plan(pbxName, nat.Inside)
	}
	groups := a.world.table.Rule(rule).To
	if len(groups) == 0 {
		groups = []string{""}
	}
	for _, g := range groups {
		hops = append(hops, a.book.PlanIn(pbxName, nat.Inside, g)...)
	}
	// Another group may well not know the number: it is asked where nobody of the first lives, not where one of it is slow.
	slices.SortStableFunc(hops, func(x, y tu.Hop) int { return cmp.Compare(a.vain(x.ID), a.vain(y.ID)) })
	for i := range hops {
		if p := a.world.renumbered[rule][hops[i].Peer]; p != nil {
			hops[i].Peer = p
		}
	}
	return rule, hops
}

// vain is how little is to be hoped of a node at all: it lives, is down, or is drained.
func (a *assembly) vain(id string) int {
	switch {
	case a.book.Usable(id):
		return 0
	case a.book.State(id) == trunk.Down:
		return 1
	}
	return 2
}
