package header

import "sallyport/sbc/tu"

// Tie is what a dialog that a peer names is called towards another peer; false: the field does not pass. The peer names a dialog
// of its own with us, or one that it was shown under a veil; what the PBX names of others is veiled from a phone.
func Tie(ties tu.Ties, from, to *tu.Peer, d DialogRef) (DialogRef, bool) {
	if ties == nil {
		return d, to.Kind == tu.KindNode
	}
	// The field may speak to us, and then to whoever stands behind us on the other side; or to our peer, as where a proxy has
	// told one end of the other one, and then it is we who are meant on the other side.
	named := tu.DialogID{CallID: d.CallID, Local: d.Local, Remote: d.Remote}
	if x, ok := ties.Counterpart(from.Side, named); ok {
		d.CallID, d.Local, d.Remote = x.CallID, x.Remote, x.Local
		return d, true
	}
	if x, ok := ties.Counterpart(from.Side, named.Reversed()); ok {
		d.CallID, d.Local, d.Remote = x.CallID, x.Local, x.Remote
		return d, true
	}
	switch {
	case from.Kind == tu.KindPhone && from.Name != "":
		named = tu.Meant(ties, from.Name, named)
	case to.Kind == tu.KindPhone && to.Name != "":
		named = tu.DialogID{CallID: ties.Veil(to.Name, d.CallID), Local: ties.Veil(to.Name, d.Local), Remote: ties.Veil(to.Name, d.Remote)}
	default:
		// The PBX may be told an id that we do not know: it is one of its own, or that of a call which does not come through us.
		return d, to.Kind == tu.KindNode
	}
	known := named.CallID != d.CallID || to.Kind == tu.KindNode
	d.CallID, d.Local, d.Remote = named.CallID, named.Local, named.Remote
	return d, known
}
