package transaction

import (
	"sallyport/nat"
	"sallyport/sbc/message"
)

// ID names a server transaction. A number is never used twice; 0 names none.
type ID uint64

// Kind says what an effect is.
type Kind uint8

// The effects, and which fields of Effect they fill.
const (
	// Transmit: send Bytes to Flow. The bytes are shared with the table; nobody may change them.
	Transmit Kind = iota + 1

	// NewRequest: Msg came by Flow and opened the server transaction ID. Merged says that it is a second copy of a
	// request that is being served already (RFC 3261 §8.2.2.2).
	NewRequest
	// Cancelled: the CANCEL Msg matches the unanswered INVITE of ID (and User, if owned). The CANCEL has been answered.
	Cancelled
	// AckFor2xx: Msg is the first ACK for the 2xx of ID (and User). Copies are absorbed.
	AckFor2xx
	// NotAcked: no ACK came for the 2xx of ID (and User) within 64·T1.
	NotAcked
	// StrayAck: the ACK Msg from Flow matches nothing, or not from there.
	StrayAck
	// Full: the request Msg found no room; Flow is where a stateless 503 would go. Nothing was stored.
	Full

	// Provisional: Msg from Flow is a 1xx to the request (User, Ref), 100 included.
	Provisional
	// Response: Msg from Flow is the final response to (User, Ref): once; but every 2xx to an INVITE, each copy and
	// each fork, for 64·T1 (RFC 6026 §7.2).
	Response
	// Timeout: the request (User, Ref) has no final response and gets none: Timer B or F, or 64·T1 after CANCEL.
	Timeout
	// Failed: the request (User, Ref) could not be delivered.
	Failed
	// Lost: the request (User, Ref) had a provisional response and gets no final one: who sent it is gone.
	Lost
	// LateAnswer: Msg from Flow is a 2xx to an INVITE that nobody waits for any more: ACK each copy, and end the
	// dialog by BYE, unless the INVITE was Within one. Repeat says that a 2xx with this To tag was reported so before.
	LateAnswer
)

var kindNames = [...]string{
	"none", "transmit", "new-request", "cancelled", "ack-for-2xx", "not-acked", "stray-ack", "full",
	"provisional", "response", "timeout", "failed", "lost", "late-answer",
}

// String is the effect's name in logs and golden files.
func (k Kind) String() string { return kindNames[k] }

// Effect is one thing that the table wants done or heard. Kind says which fields are filled.
type Effect struct {
	Kind   Kind
	Merged bool             // NewRequest
	Repeat bool             // LateAnswer
	Within bool             // LateAnswer
	Ref    uint32           // the user's name for a client transaction
	User   uint64           // of a client transaction, or the owner of ID; 0: none
	ID     ID               // a server transaction
	Msg    *message.Message // what arrived
	Flow   nat.Flow         // Transmit, Full: where to; else where Msg came from
	Bytes  []byte           // Transmit
}

// Counters count what a table threw away. They only grow.
type Counters struct {
	StrayResponses  uint64 // match no transaction, or hold more than one Via
	ForgedResponses uint64 // match a transaction, but came from elsewhere
	StrayAcks       uint64
	StrayCancels    uint64
	ForgedRequests  uint64 // ACK and CANCEL from elsewhere than their INVITE
	Full            uint64 // requests without room
	Unsendable      uint64 // answers and ACKs of the table's own that could not be written
}
