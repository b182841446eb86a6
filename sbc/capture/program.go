package capture

import (
	"context"
	"iter"
	"time"

	"sallyport/media"
	"sallyport/policy"
	"sallyport/sbc/tu"
)

// Program is what captures ask the running program.
type Program interface {
	// Do runs f in the core's turn and waits for it. Its error is that of a program that ends, or of ctx.
	Do(ctx context.Context, f func(now time.Time)) error
	// Calls are the calls in progress. It is called in the core's turn.
	Calls() iter.Seq2[tu.UserID, Call]
	// Streams are the streams that a call has at the relay. It is called in the core's turn.
	Streams(tu.UserID) []media.ID
	// Tap has the relay copy a stream in these forms from now on, 0: not at all. It must not hand out copies itself: those go
	// to Set.Copied later.
	Tap(media.ID, media.Tap) error
	// Phone finds the address-of-record that somebody means by a word: user@domain, or a user of whom something is known. It is
	// called outside of the core's turn.
	Phone(ctx context.Context, word string) (aor string, ok bool)
	// Serves reports whether a host stands for the domain of phones. Anybody calls it.
	Serves(host string) bool
	// Rules are those that the guard judges by. Anybody calls it.
	Rules() *policy.Rules
}

// Call is a call in progress. It is asked in the core's turn.
type Call interface {
	// Is reports whether this is the call's id, or the Call-ID of one of its legs.
	Is(name string) bool
	// View tells what a capture needs to know of it now.
	View() View
}

// View is a call as far as a capture looks into it.
type View struct {
	ID      string
	AoR     string   // of the phone; "": no phone has a part in it
	CallIDs []string // of its legs; "" of one that has none yet
	Ends    []string // address:port of its legs' peers, and of the media that SDP has named; what is no address:port is passed over
}
