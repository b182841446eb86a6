package policy

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"sync/atomic"
)

// Live is the live set: the dialogs and the INVITE transactions of calls in progress, each with the address of the
// leg it belongs to. The core is its one writer; the guard reads it. Requests that belong to it are allowed whatever
// the rules say of their source. It is bounded by the number of calls, and by its own cap besides.
type Live struct {
	seed    maphash.Seed
	most    int64
	count   atomic.Int64
	stripes [liveStripes]liveStripe
	near    *vouched // hears of each leg's address; nil: nobody does
}

const liveStripes = 64

type liveStripe struct {
	mu   sync.RWMutex
	legs map[uint64]netip.Addr
}

func (l *Live) init(seed maphash.Seed, most int) {
	l.seed, l.most = seed, int64(most)
	for i := range l.stripes {
		l.stripes[i].legs = make(map[uint64]netip.Addr)
	}
}

// Add makes a dialog live: requests whose To-tag is tag, from source, are its own (RFC 3261 §12.2.2). It reports false
// if the set is full; the dialog's requests are then judged like any others.
func (l *Live) Add(tag string, source netip.Addr) bool {
	return l.put(maphash.String(l.seed, tag), source)
}

// Remove ends a dialog.
func (l *Live) Remove(tag string) { l.remove(maphash.String(l.seed, tag)) }

// AddInvite makes the transaction of an INVITE live, so that its CANCEL and the ACK of a refusal are allowed however
// long it rang (RFC 3261 §9.1, §17.1.1.3).
func (l *Live) AddInvite(callID, branch string, source netip.Addr) bool {
	return l.put(invitation(maphash.String(l.seed, callID), maphash.String(l.seed, branch)), source)
}

// RemoveInvite ends the transaction of an INVITE.
func (l *Live) RemoveInvite(callID, branch string) {
	l.remove(invitation(maphash.String(l.seed, callID), maphash.String(l.seed, branch)))
}

// Len is how many dialogs and transactions are live.
func (l *Live) Len() int { return int(l.count.Load()) }

// invitation joins two keyed hashes into a third one that no tag's hash equals but by chance.
func invitation(callID, branch uint64) uint64 {
	return callID*0x9e3779b97f4a7c15 ^ branch
}

func (l *Live) put(key uint64, source netip.Addr) bool {
	s := &l.stripes[key%liveStripes]
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, there := s.legs[key]; !there {
		if l.count.Add(1) > l.most {
			l.count.Add(-1)
			return false
		}
	}
	source = source.Unmap().WithZone("")
	l.near.leg(source, 1) // first: who has a leg is vouched for at every moment
	if old, there := s.legs[key]; there {
		l.near.leg(old, -1)
	}
	s.legs[key] = source
	return true
}

func (l *Live) remove(key uint64) {
	s := &l.stripes[key%liveStripes]
	s.mu.Lock()
	defer s.mu.Unlock()
	if leg, there := s.legs[key]; there {
		delete(s.legs, key)
		l.near.leg(leg, -1)
		l.count.Add(-1)
	}
}

// holds reports whether a dialog with this local tag is live at this address.
func (l *Live) holds(tag []byte, source netip.Addr) bool {
	return l.leg(maphash.Bytes(l.seed, tag), source)
}

// holdsInvite reports whether an INVITE transaction is live at this address.
func (l *Live) holdsInvite(callID, branch []byte, source netip.Addr) bool {
	return l.leg(invitation(maphash.Bytes(l.seed, callID), maphash.Bytes(l.seed, branch)), source)
}

func (l *Live) leg(key uint64, source netip.Addr) bool {
	leg, there := l.at(key)
	return there && leg == source
}

// at is the address of a leg.
func (l *Live) at(key uint64) (leg netip.Addr, there bool) {
	s := &l.stripes[key%liveStripes]
	s.mu.RLock()
	defer s.mu.RUnlock()
	leg, there = s.legs[key]
	return leg, there
}
