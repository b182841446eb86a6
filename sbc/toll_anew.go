package sbc

import (
	"time"

	"sallyport/nat"
	"sallyport/sbc/call"
	"sallyport/sbc/tu"
)

// further is what a transferred call counts beside its first number: what each of its transfers has called, under an id of its own.
type further struct {
	call   *call.Call
	turn   uint64   // transfers that were judged
	keys   []uint64 // those that count
	open   bool     // the last one of them is under way
	before int      // transfers that had come about before it
}

// turnShift leaves a user's number the lower part of an id in the ledger.
const turnShift = 56

// judgeAnew judges the number that a call in progress is to be transferred or redirected to. A provider has chosen it and the PBX
// pays, so it is judged as a call of the PBX's to that number is. What leads to the PBX or to a phone costs nothing.
func (a *assembly) judgeAnew(now time.Time, r *tu.Route) (tu.Routed, bool) {
	c := a.calls[r.User]
	if c == nil || r.Peer.Kind != tu.KindNode || r.Peer.Realm != nat.Trunks {
		return tu.Routed{}, true
	}
	ev := &tu.Arrived{Msg: r.Msg, Peer: r.Peer, Flow: r.Chosen}
	asked, _ := a.calling(ev)
	if r.By != nil {
		asked.Trunk = r.By.Peer.Name
	}
	if a.emergency(ev) || r.By != nil && a.leases.calls[r.User].free {
		return tu.Routed{}, true // wherever a provider has an emergency number answered
	}
	key, f := uint64(r.User), (*further)(nil)
	if r.By == nil {
		f = a.followFurther(now, c)
		f.turn++
		key |= f.turn << turnShift
	}
	answer, ok := a.judgeAs(now, key, asked, ev)
	switch {
	case !ok:
		return tu.Routed{Code: answer.Code, Why: answer.Why, Peer: asked.Trunk}, false
	case f == nil: // the same call, by another number
		a.countToll(r.User, c)
	case a.tolls.ledger.Counts(key):
		f.keys, f.open = append(f.keys, key), true
		f.before, _ = c.Transfers()
	}
	return tu.Routed{}, true
}

// followFurther is what a call counts for its transfers; those of before have come about or failed.
func (a *assembly) followFurther(now time.Time, c *call.Call) *further {
	f := a.tolls.further[c.ID()]
	if f == nil {
		f = &further{call: c}
		a.tolls.further[c.ID()] = f
	}
	if f.open {
		a.endFurther(now, f)
	}
	return f
}

// settleFurther hears how a transfer has ended: its minutes run from then on, or it counts no more.
func (a *assembly) settleFurther(now time.Time, f *further) {
	if _, underWay := f.call.Transfers(); f.open && !underWay {
		a.endFurther(now, f)
	}
}

func (a *assembly) endFurther(now time.Time, f *further) {
	f.open = false
	last := f.keys[len(f.keys)-1]
	if n, _ := f.call.Transfers(); n > f.before {
		a.tolls.ledger.Answered(now, last)
		return
	}
	f.keys = f.keys[:len(f.keys)-1]
	a.tellTolls(now, a.tolls.ledger.End(now, last), nil)
}

// dropFurther counts what the transfers of a call have used, when it has ended.
func (a *assembly) dropFurther(now time.Time, name string) {
	f := a.tolls.further[name]
	if f == nil {
		return
	}
	delete(a.tolls.further, name)
	if f.open {
		a.endFurther(now, f)
	}
	for _, key := range f.keys {
		a.tellTolls(now, a.tolls.ledger.End(now, key), nil)
	}
}
