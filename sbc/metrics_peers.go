package sbc

import (
	"slices"
	"time"

	"sallyport/sbc/metrics"
	"sallyport/sbc/trunk"
	"sallyport/sbc/tu"
)

// peerStates are the states of trunks and nodes, enrolmentStates those of our registrations.
var (
	peerStates      = []string{trunk.Up.String(), trunk.Unknown.String(), trunk.Degraded.String(), trunk.Down.String(), trunk.Drained.String()}
	enrolmentStates = []string{tu.Registered.String(), tu.Registering.String(), tu.Unregistered.String(), tu.Refused.String()}
)

// peerFigures are those of trunks and PBX nodes, as they were copied in the core's turn. With a thousand trunks there are some
// twenty thousand of them: they are given their names beside it.
type peerFigures struct {
	trunks, nodes []peerFigure
	groups        []line
}

type peerFigure struct {
	line
	best      trunk.State
	addresses [trunk.Drained + 1]int // by state
	nearest   time.Duration
	bindings  int
	registers bool
	is        tu.Registration
}

// line is the calls of a trunk, a group or a node.
type line struct {
	name             string
	now, high, limit int
}

func (a *assembly) line(k trunk.Key) line {
	l := a.leases.ledger
	return line{k.Name, l.Now(k), l.High(k), l.Bound(k).Calls}
}

// peers copies them. It runs in the core's turn.
func (a *assembly) peers() (out peerFigures) {
	groups, nodes, order := map[string]bool{}, map[string]*trunk.System{}, []string{}
	for sys := range a.book.Systems {
		if sys.Kind == tu.KindTrunk {
			out.trunks = append(out.trunks, a.trunkFigure(sys))
			if sys.Any != nil && sys.Any.Group != "" && !groups[sys.Any.Group] {
				groups[sys.Any.Group] = true
				out.groups = append(out.groups, a.line(trunk.Key{Of: trunk.OfGroup, Name: sys.Any.Group}))
			}
			continue
		}
		for _, h := range sys.Hops { // a node may serve both realms, and by several transports
			n := nodes[h.Peer.Name]
			if n == nil {
				n = &trunk.System{Name: h.Peer.Name, Kind: tu.KindNode}
				nodes[n.Name], order = n, append(order, n.Name)
			}
			if !slices.ContainsFunc(n.Hops, func(x trunk.Hop) bool { return x.ID == h.ID }) {
				n.Hops = append(n.Hops, h)
			}
		}
	}
	bindings := a.phones.byNode()
	for _, name := range order {
		n := nodes[name]
		f := peerFigure{line: a.line(trunk.Key{Of: trunk.OfNode, Name: name}), best: a.book.Best(n), nearest: a.nearest(n)}
		for i := range n.Hops {
			f.bindings += bindings[n.Hops[i].ID]
		}
		out.nodes = append(out.nodes, f)
	}
	return out
}

func (a *assembly) trunkFigure(sys *trunk.System) peerFigure {
	f := peerFigure{line: a.line(trunk.Key{Of: trunk.OfTrunk, Name: sys.Name}), best: a.book.Best(sys), nearest: a.nearest(sys)}
	for i := range sys.Hops {
		f.addresses[a.book.State(sys.Hops[i].ID)]++
	}
	if _, f.registers = a.world.registrations[sys.Name]; f.registers {
		f.is, _ = a.sbc.enrolments.of(sys.Name)
	}
	return f
}

// nearest is the shortest round trip to an address of a system; 0: none is measured.
func (a *assembly) nearest(sys *trunk.System) (least time.Duration) {
	for i := range sys.Hops {
		if took := a.book.Health(sys.Hops[i].ID).Latency; took > 0 && (least == 0 || took < least) {
			least = took
		}
	}
	return least
}

// tell gives a scrape what was copied.
func (p *peerFigures) tell(s *metrics.Scrape) {
	for i := range p.trunks {
		f := &p.trunks[i]
		for state, n := range f.addresses {
			s.Add(metrics.TrunkAddresses, float64(n), f.name, trunk.State(state).String())
		}
		f.tell(s, metrics.TrunkState, metrics.TrunkLatency)
		f.line.tell(s, metrics.TrunkCalls, metrics.TrunkHighest, metrics.TrunkLimit)
		if f.registers {
			s.States(metrics.TrunkRegister, enrolmentStates, f.is.State.String(), f.name)
			s.Time(metrics.TrunkRegUntil, f.is.Until, f.name)
		}
	}
	for i := range p.nodes {
		f := &p.nodes[i]
		f.tell(s, metrics.NodeState, metrics.NodeLatency)
		s.Add(metrics.NodeBindings, float64(f.bindings), f.name)
		f.line.tell(s, metrics.NodeCalls, metrics.NodeHighest, metrics.NodeLimit)
	}
	for i := range p.groups {
		p.groups[i].tell(s, metrics.GroupCalls, metrics.GroupHighest, metrics.GroupLimit)
	}
}

func (f *peerFigure) tell(s *metrics.Scrape, state, latency *metrics.Family) {
	s.States(state, peerStates, f.best.String(), f.name)
	if f.nearest > 0 {
		s.Add(latency, f.nearest.Seconds(), f.name)
	}
}

func (l *line) tell(s *metrics.Scrape, now, highest, limit *metrics.Family) {
	s.Add(now, float64(l.now), l.name)
	s.Add(highest, float64(l.high), l.name)
	s.Add(limit, float64(l.limit), l.name)
}
