package policy

import (
	"net/netip"

	"github.com/gaissmai/bart"

	"sallyport/nat"
)

// PeerKind is what a known peer is.
type PeerKind uint8

// The kinds of sources. A source that no Peer covers is a stranger.
const (
	Stranger PeerKind = iota
	Trunk
	Node
	Phone // holds a live binding
	peerKinds
)

var peerKindNames = [peerKinds]string{"stranger", "trunk", "node", "phone"}

// String is the kind's name in logs and `sbc why`.
func (k PeerKind) String() string { return peerKindNames[k] }

// system reports a trunk or a node: it never meets rules that do not name it, nor bans made from evidence.
func (k PeerKind) system() bool { return k == Trunk || k == Node }

// Peer is a range of sources that the program knows, at one realm of one side. What a peer may do elsewhere it may do
// as a stranger: the listener decides the role.
type Peer struct {
	Prefix netip.Prefix
	Kind   PeerKind
	Side   nat.Side
	Realm  nat.Realm
	Name   string // of the trunk, the node or the AoR
}

// peerTable finds the peer of a source. It never changes.
type peerTable struct {
	tables [2][2]bart.Table[*Peer] // by side and realm
	all    bart.Lite               // the peers of all of them
	list   []Peer
}

// newPeerTable compiles a list of peers. Of two with the same prefix at the same realm the first one counts.
func newPeerTable(list []Peer) *peerTable {
	t := &peerTable{list: append([]Peer(nil), list...)}
	for i := range t.list {
		p := &t.list[i]
		p.Prefix = p.Prefix.Masked()
		if !p.Prefix.IsValid() || p.Kind == Stranger {
			continue
		}
		t.all.Insert(p.Prefix)
		table := &t.tables[p.Side][p.Realm]
		if _, there := table.Get(p.Prefix); !there {
			table.Insert(p.Prefix, p)
		}
	}
	return t
}

// find is the peer that a source is at a realm of a side, or nil.
func (t *peerTable) find(side nat.Side, realm nat.Realm, source netip.Addr) *Peer {
	p, ok := t.tables[side][realm].Lookup(source)
	if !ok {
		return nil
	}
	return p
}

// known reports whether a source is a peer anywhere: its evidence then has a place that strangers cannot take.
func (t *peerTable) known(source netip.Addr) bool { return t.all.Contains(source) }
