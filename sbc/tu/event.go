package tu

import (
	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
)

// Event is what happened to a user: one of the types of this file.
type Event interface{ isEvent() }

// Arrived is a request that opened a server transaction: the first one of a new user, or one within a dialog.
type Arrived struct {
	Tx   TxID
	Msg  *message.Message
	Flow nat.Flow
	Peer *Peer // who sent it, by transport source; nil for a stranger
	Here Local // how that peer sees the interface it came in by
}

// Acked is the first ACK for a 2xx that Tx sent (RFC 3261 §13.3.1.4). Repeats are absorbed below.
type Acked struct {
	Tx  TxID
	Msg *message.Message
}

// NotAcked says that no ACK came for the 2xx of Tx within 64·T1.
type NotAcked struct{ Tx TxID }

// Cancelled is a CANCEL for an INVITE that has no final answer yet. The CANCEL itself has been answered.
type Cancelled struct {
	Tx  TxID
	Msg *message.Message
}

// Answered is a response to the request of Ref: every provisional one but 100, the final one, and for an INVITE every
// repeat and fork of its 2xx (RFC 6026).
type Answered struct {
	Ref  Ref
	Msg  *message.Message
	Flow nat.Flow
}

// Failed says that the request of Ref has no answer and gets none.
type Failed struct {
	Ref  Ref
	Code int           // what it counts as: 408 timer, 503 transport or overload (RFC 3261 §8.1.3.1)
	Why  reason.Reason // timeout, overload, leak
	Lost bool          // it had a provisional answer, and who gave it has died since
}

// Trying is a 100 to the request of Ref: it proves that the next hop lives.
type Trying struct{ Ref Ref }

// Routed answers a Route action: the hops to try in order, or a refusal.
type Routed struct {
	Hops []Hop
	Code int           // with an empty plan: the answer
	Why  reason.Reason // with an empty plan: its reason
	Peer string        // with an empty plan: who was asked for, if known
	Wait int           // with an empty plan: seconds after which it may be asked for again; 0: that is not known
}

// Reserved answers a Reserve action: one entry for each stream that got ports, in order; none if the pool is empty.
type Reserved struct {
	Streams []Stream
	Print   Fingerprint // of our certificate, for handshakes on them; without a hash there can be none
}

// MediaHint is word from the relay: a stream has been silent too long.
type MediaHint struct {
	Stream int // index of the call's stream
	Silent bool
}

// MediaRefused says that the relay will not send to the address that a leg's SDP named.
type MediaRefused struct {
	Stream int
	Side   nat.Side
}

// DigitHeard is a digit that a leg's peer sent as a telephone event (RFC 4733), once it is over.
type DigitHeard struct {
	Stream   int
	Side     nat.Side
	Event    uint8  // RFC 4733 §3.2: 0-9, 10 for *, 11 for #, 12-15 for A-D
	Volume   uint8  // dBm0 without the sign, 0-63
	Duration uint16 // milliseconds
}

// Moved says that the binding of a phone is on another flow now: what goes to that phone goes there.
type Moved struct {
	Token string
	Flow  nat.Flow
	Here  Local // our interface, as the phone sees it there
}

// Hangup asks a user to end what it holds: drain, administrator.
type Hangup struct {
	Code int
	Why  reason.Reason
}

// Doubted says to a probe that its address is in doubt: others have heard nothing there. It asks at once.
type Doubted struct{}

// Tick is the user's deadline.
type Tick struct{}

func (Arrived) isEvent()      {}
func (Acked) isEvent()        {}
func (NotAcked) isEvent()     {}
func (Cancelled) isEvent()    {}
func (Answered) isEvent()     {}
func (Failed) isEvent()       {}
func (Trying) isEvent()       {}
func (Routed) isEvent()       {}
func (Reserved) isEvent()     {}
func (MediaHint) isEvent()    {}
func (MediaRefused) isEvent() {}
func (DigitHeard) isEvent()   {}
func (Moved) isEvent()        {}
func (Hangup) isEvent()       {}
func (Doubted) isEvent()      {}
func (Tick) isEvent()         {}
