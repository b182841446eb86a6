package sbc

import (
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
		peers[nat.Inside] = append(peers[nat.Inside], n.Address.String())
	}
	for _, p := range w.snap.PBX.Sources {
		peers[nat.Inside] = append(peers[nat.Inside], p.String())
	}
	for i := range w.snap.Trunks {
		for _, p := range w.snap.Trunks[i].Peers {
			peers[nat.Outside] = append(peers[nat.Outside], p.Address.String())
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
