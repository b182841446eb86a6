package tu

import (
	"net/netip"
	"time"

	"sallyport/nat"
	"sallyport/sbc/credentials"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
)

// Action is what a user wants done: one of the types of this file, the closed list of the core's executors. Actions
// of one Step run in order.
type Action interface{ isAction() }

// Respond sends a response on a server transaction. The Via fields are those of the request; the core sees to the
// retransmission of a 2xx to INVITE until its ACK.
type Respond struct {
	Tx   TxID
	Side nat.Side // the side it leaves by
	Msg  *message.Message
	Hide *Secrets // what the other leg brought; may be nil
}

// Drop gives a request no answer at all, its repeats neither: what is said of it would help nobody but a forger.
type Drop struct{ Tx TxID }

// Send opens a client transaction. The message has no Via yet: the core writes one with a branch of its own. A request
// within an early or confirmed dialog is told by its Call-ID and From tag.
type Send struct {
	Ref  Ref
	Msg  *message.Message
	Hop  Hop
	Hide *Secrets
}

// SendAck sends the ACK for a 2xx, outside any transaction (RFC 3261 §13.2.2.4).
type SendAck struct {
	Msg  *message.Message
	Hop  Hop
	Hide *Secrets
}

// Cancel sends a CANCEL for the INVITE of Ref, at once or as soon as a provisional response allows it (RFC 3261 §9.1). A
// quiet one sends the INVITE itself no more: the next hop is tried instead.
type Cancel struct {
	Ref    Ref
	Quiet  bool
	Reason string   // RFC 3326; empty: none
	Side   nat.Side // with a Reason: the side it leaves by
	Hide   *Secrets // with a Reason: what the other leg brought
}

// OpenDialog makes requests of a dialog reach this user and tells the guard which source may send them.
type OpenDialog struct {
	Side   nat.Side
	CallID string
	Local  string     // our tag
	Source netip.Addr // the leg's signalling address
}

// CloseDialog forgets a dialog. Later requests of it are answered 481.
type CloseDialog struct {
	Side          nat.Side
	CallID, Local string
}

// Ping keeps a stream's way through NATs open: a double CRLF on its connection (RFC 5626 §4.4.1).
type Ping struct{ Flow nat.Flow }

// Route asks where a request shall go; a Routed event answers.
type Route struct {
	Msg  *message.Message
	Peer *Peer // who asks

	// Anew: the call was let pass with another number. This one is of the choosing of somebody who transfers or redirects it,
	// and stands at this flow; it is judged as that of a new call is.
	Anew   bool
	Chosen nat.Flow
	By     *Hop // with Anew: the way is known, and is the answer, if it may be gone; nil: the routes say

	User UserID // whose call it is; the core fills it in
}

// Reserve asks for ports for so many streams, a pair on each side; a Reserved event answers. A second Reserve adds
// streams.
type Reserve struct{ Streams int }

// Point tells the relay the whole wanted state of one leg of a stream. Equal states are harmless to repeat.
type Point struct {
	Stream int
	Side   nat.Side
	Aim    Aim
}

// Release gives all ports of the user back.
type Release struct{}

// Record writes the call's one CDR. The executor adds the media figures, so it comes before Release.
type Record struct{ CDR CDR }

// Health says what a probe found about a peer system.
type Health struct {
	Peer   string // Hop.ID
	Up     bool
	Known  bool   // false: never answered yet
	Answer string // to the last question: "200 OK", "no answer", "unreachable"; short, the phrase is the peer's

	Alive bool          // the last question was answered
	Took  time.Duration // after so long

	Seen netip.AddrPort // where the peer sees us; invalid: it does not say
}

// Occupy takes a place at a peer system for a leg that stands in another one's place now. An INVITE of ours that begins a leg has
// its place by itself, and so has that of the caller, whose Ref is 0.
type Occupy struct {
	Ref Ref    // names the place, as that of an INVITE would
	Leg string // its Call-ID
	Hop Hop    // of the leg
}

// Vacate gives the place of an INVITE, or of Occupy, back, while the call goes on: the leg is over.
type Vacate struct{ Ref Ref }

// Note leaves evidence on a source that `sbc why` reads back.
type Note struct {
	Source netip.AddrPort
	Side   nat.Side
	Realm  nat.Realm
	Method string
	Code   int
	Why    reason.Reason
	Text   string // one short clause, or empty

	// A judgement is for the guard, of the request that it is about; such a note has no text.
	Judgement credentials.Judgement
	Request   *message.Message
	Transport nat.Transport
}

// End says that the user is finished: no transaction or dialog of it may follow.
type End struct{}

func (Respond) isAction()     {}
func (Drop) isAction()        {}
func (Send) isAction()        {}
func (SendAck) isAction()     {}
func (Cancel) isAction()      {}
func (OpenDialog) isAction()  {}
func (CloseDialog) isAction() {}
func (Ping) isAction()        {}
func (Route) isAction()       {}
func (Reserve) isAction()     {}
func (Point) isAction()       {}
func (Release) isAction()     {}
func (Record) isAction()      {}
func (Health) isAction()      {}
func (Note) isAction()        {}
func (Occupy) isAction()      {}
func (Vacate) isAction()      {}
func (End) isAction()         {}
