package tu

import "sallyport/nat"

// DialogID names a dialog as one of its ends writes it (RFC 3261 §12): Local is the tag of who writes.
type DialogID struct {
	CallID, Local, Remote string
}

// Reversed is the same dialog as its other end writes it.
func (d DialogID) Reversed() DialogID { return DialogID{d.CallID, d.Remote, d.Local} }

// Ties tell which dialogs belong together. They are asked in the core's turn.
type Ties interface {
	// Counterpart is the dialog of the other leg of the call that has a dialog of ours on a side. Both are named as we
	// write them: Local is our tag; Remote may be empty, as in a dialog that is still to be answered. ok is false where no
	// call has that dialog.
	Counterpart(side nat.Side, ours DialogID) (far DialogID, ok bool)
	// Phone is the address-of-record of the phone at the other end of an outside dialog of ours; empty where there is none.
	Phone(outside DialogID) (aor string)
	// Veil hides an id of the inside from one phone: what Unveil makes the id of again, for that phone alone.
	Veil(aor, id string) string
	// Unveil is the id behind a veil; ok is false for any other text.
	Unveil(aor, veiled string) (id string, ok bool)
}

// Shown is what a phone hears of a dialog inside: its own calls by its own ids, all others under veils. Both are in the order
// of a dialog-info document (RFC 4235 §4.1.1): Local is the tag of the end that the document is about. The PBX knows the
// phone by our dialog with it, and the phone may be that end or the other one.
func Shown(t Ties, aor string, d DialogID) DialogID {
	if far, ok := t.Counterpart(nat.Inside, d); ok && d.Local != "" && aor != "" && t.Phone(far) == aor {
		return far.Reversed()
	}
	if far, ok := t.Counterpart(nat.Inside, d.Reversed()); ok && d.Remote != "" && aor != "" && t.Phone(far) == aor {
		return far
	}
	return DialogID{t.Veil(aor, d.CallID), t.Veil(aor, d.Local), t.Veil(aor, d.Remote)}
}

// Meant is what the PBX hears of a dialog that a phone speaks of, in the order of Shown: the phone's own calls by the ids that
// the PBX has for them, and uncovered what the phone was shown under a veil. Another dialog keeps its ids.
func Meant(t Ties, aor string, d DialogID) DialogID {
	if far, ok := t.Counterpart(nat.Outside, d.Reversed()); ok && d.Remote != "" {
		return far
	}
	if far, ok := t.Counterpart(nat.Outside, d); ok && d.Local != "" {
		return far.Reversed()
	}
	call, ok := t.Unveil(aor, d.CallID)
	if !ok || aor == "" {
		return d
	}
	d.CallID = call
	for _, tag := range [...]*string{&d.Local, &d.Remote} {
		if id, ok := t.Unveil(aor, *tag); ok {
			*tag = id
		}
	}
	return d
}
