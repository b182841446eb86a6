package tu

import (
	"time"
)

// User is one thing that lives in time. The core calls it in its turn, never concurrently, and runs the
// actions only after the method has returned: a panicking Step has sent nothing.
type User interface {
	// Step handles one event and appends what is to be done. It is total: every event in every state has a result.
	Step(now time.Time, ev Event, do []Action) []Action
	// Deadline is when the user wants a Tick; the zero time means never.
	Deadline() time.Time
	// Abort ends the user after a panic: it answers what is open, closes dialogs, and gives back ports. It reads only
	// what was fixed when a dialog was made; a request with CSeq 0 gets the dialog's next number and last target from
	// the core.
	Abort(now time.Time, do []Action) []Action
}

// TxID names a live server transaction.
type TxID uint64

// Ref is a user's own name for a client transaction it opened; unique within the user.
type Ref uint32

// UserID names a living user; a number is never used twice.
type UserID uint64
