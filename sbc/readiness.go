package sbc

import (
	"fmt"
	"time"

	"sallyport/sbc/trunk"
	"sallyport/sbc/tu"
)

// Whether calls should be sent here is asked by load balancers, which have other places to send them to. Calls that are here already go to
// a node of which nothing is known (trunk.Unknown), for want of anything better; but a gate before a PBX that has never said a word to it
// is no better place than another. So a node counts once something of it has been heard, an answer to OPTIONS or to anything else; for a
// while after the start it counts unheard, so that a restart takes nobody out of the rotation. Where nothing is asked (pbx.health.interval:
// 0) nothing would ever be heard of an idle PBX, and a node counts until it fails.

// graceLeast is for how long at least, after the start and after each change of the configuration, nodes count unheard.
const graceLeast = 10 * time.Second

// noNode says why the PBX takes no calls; "": it does, or may. It runs in the core's turn.
func (a *assembly) noNode(now time.Time) string {
	if !a.book.Available(tu.KindNode) {
		return "every PBX node is down or drained, or has no address: see `sbc pbx`"
	}
	probe := &a.world.snap.PBX.Probe
	since := a.swapped
	if since.Before(a.sbc.since) {
		since = a.sbc.since
	}
	grace := max(graceLeast, probe.Interval*time.Duration(max(probe.Failures, 1)))
	if probe.Interval == 0 || now.Sub(since) < grace || a.anyAnswered() {
		return ""
	}
	return fmt.Sprintf("no PBX node has answered anything in the %s since the start or the last reload: see `sbc pbx`", now.Sub(since).Round(time.Second))
}

// anyAnswered reports whether a node that may be used has ever said anything.
func (a *assembly) anyAnswered() bool {
	w := a.watch()
	for s := range a.book.Nodes {
		for i := range s.Hops {
			id := s.Hops[i].ID
			if a.book.Usable(id) && (a.book.Asked(id) != trunk.Unknown || w.Ever(id)) {
				return true
			}
		}
	}
	return false
}
