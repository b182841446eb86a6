package sbc

import (
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

// peerFigures are those of trunks and PBX nodes. They run in the core's turn.
func (a *assembly) peerFigures(s *metrics.Scrape) {
	groups, nodes := map[string]bool{}, map[string]bool{}
	bindings := a.phones.byNode()
	for sys := range a.book.Systems {
		if sys.Kind == tu.KindTrunk {
			a.trunkFigures(s, sys)
			if sys.Any != nil && sys.Any.Group != "" {
				groups[sys.Any.Group] = true
			}
			continue
		}
		for i := range sys.Hops {
			h := &sys.Hops[i]
			if nodes[h.ID] {
				continue // it serves both realms
			}
			nodes[h.ID] = true
			health := a.book.Health(h.ID)
			s.States(metrics.NodeState, peerStates, health.State.String(), h.Peer.Name)
			if health.Latency > 0 {
				s.Add(metrics.NodeLatency, health.Latency.Seconds(), h.Peer.Name)
			}
			s.Add(metrics.NodeBindings, float64(bindings[h.ID]), h.Peer.Name)
			a.lineFigures(s, trunk.Key{Of: trunk.OfNode, Name: h.Peer.Name}, metrics.NodeCalls, metrics.NodeHighest, metrics.NodeLimit)
		}
	}
	for name := range groups {
		a.lineFigures(s, trunk.Key{Of: trunk.OfGroup, Name: name}, metrics.GroupCalls, metrics.GroupHighest, metrics.GroupLimit)
	}
}

func (a *assembly) trunkFigures(s *metrics.Scrape, sys *trunk.System) {
	addresses := map[string]int{}
	var nearest time.Duration
	for i := range sys.Hops {
		h := a.book.Health(sys.Hops[i].ID)
		addresses[h.State.String()]++
		if h.Latency > 0 && (nearest == 0 || h.Latency < nearest) {
			nearest = h.Latency
		}
	}
	for _, state := range peerStates {
		s.Add(metrics.TrunkAddresses, float64(addresses[state]), sys.Name, state)
	}
	s.States(metrics.TrunkState, peerStates, a.book.Best(sys).String(), sys.Name)
	if nearest > 0 {
		s.Add(metrics.TrunkLatency, nearest.Seconds(), sys.Name)
	}
	a.lineFigures(s, trunk.Key{Of: trunk.OfTrunk, Name: sys.Name}, metrics.TrunkCalls, metrics.TrunkHighest, metrics.TrunkLimit)
	if _, registers := a.world.registrations[sys.Name]; registers {
		is, _ := a.sbc.enrolments.of(sys.Name)
		s.States(metrics.TrunkRegister, enrolmentStates, is.State.String(), sys.Name)
		s.Time(metrics.TrunkRegUntil, is.Until, sys.Name)
	}
}

// lineFigures are the calls of a trunk, a group or a node.
func (a *assembly) lineFigures(s *metrics.Scrape, k trunk.Key, now, highest, limit *metrics.Family) {
	l := a.leases.ledger
	s.Add(now, float64(l.Now(k)), k.Name)
	s.Add(highest, float64(l.High(k)), k.Name)
	s.Add(limit, float64(l.Bound(k).Calls), k.Name)
}
