package sbc

import (
	"slices"
	"sync/atomic"

	"sallyport/nat"
	"sallyport/sbc/header"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// leakGuard makes the configuration's leak guard: what of one side the other may never see.
func (w *world) leakGuard() *header.Guard {
	var peers [2][]string
	for _, n := range w.snap.PBX.Nodes {
		peers[nat.Inside] = append(peers[nat.Inside], n.Address.String(), n.Name.Host)
	}
	for _, p := range w.snap.PBX.Sources {
		peers[nat.Inside] = append(peers[nat.Inside], p.String())
	}
	for i := range w.snap.Trunks {
		t := &w.snap.Trunks[i]
		for _, p := range t.Peers {
			peers[nat.Outside] = append(peers[nat.Outside], p.Address.String(), p.Name.Host)
		}
		for _, p := range slices.Concat(t.Sources, t.MediaSources) { // ranges of one address; wider ones name nobody
			peers[nat.Outside] = append(peers[nat.Outside], p.String())
		}
	}
	return header.NewGuard(w.own(), peers, w.snap.PBX.Domain)
}

// leaks is the guard in force.
type leaks struct{ now atomic.Pointer[header.Guard] }

// Check is the last look at a message before it leaves a side.
func (l *leaks) Check(leaving nat.Side, m *message.Message, brought *tu.Secrets) (int, bool) {
	return l.now.Load().Check(leaving, m, brought)
}
