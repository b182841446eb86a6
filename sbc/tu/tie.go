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
	// write them: Local is our tag. ok is false where no call has that dialog.
	Counterpart(side nat.Side, ours DialogID) (far DialogID, ok bool)
	// Veil hides an id of the inside from one phone: what Unveil makes the id of again, for that phone alone.
	Veil(aor, id string) string
	// Unveil is the id behind a veil; ok is false for any other text.
	Unveil(aor, veiled string) (id string, ok bool)
}
