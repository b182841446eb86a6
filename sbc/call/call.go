package call

import (
	"time"

	"sallyport/nat"
	"sallyport/sbc/dialog"
	"sallyport/sbc/header"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// Settings are what all calls share. They never change; a reload makes new ones for new calls.
type Settings struct {
	Tags *tu.TagKey
	// Destinations judge the media addresses that peers of a side name.
	Destinations [2]nat.DestinationRules
	// Internal are the internal ranges.
	Internal nat.Ranges
}

// phase is how far a call is.
type phase uint8

const (
	routing     phase = iota // waiting for a plan
	reserving                // waiting for ports
	inviting                 // an INVITE is out, nobody rings
	ringing                  // a provisional answer with a tag came
	answered                 // the callee's 2xx went to the caller, whose ACK is awaited
	established              // ACK is here
	ending                   // the CDR is written; last transactions finish
)

var phaseNames = [...]string{"routing", "reserving", "inviting", "ringing", "answered", "established", "ending"}

// String is the phase's name in `sbc calls`.
func (p phase) String() string { return phaseNames[p] }

// The legs of a call; they index its arrays.
const (
	caller = 0
	callee = 1
)

// leg is one side of the call: the peer, how to reach it, and what it has said of its media.
type leg struct {
	peer    *tu.Peer
	hop     tu.Hop     // the set-up's flow, and our addresses as this peer sees them
	callID  string     // Call-ID of the leg's dialogs
	tag     string     // our tag: of the callee's leg; the caller's has one a fork
	user    string     // user part of our Contact
	brought tu.Secrets // hidden from the other leg
	media   mediaState // SDP and aims
	bye     bool       // a BYE has gone to it, or come from it
}

// pair is one dialog with the callee, and the dialog with the caller that stands for it: "one upstream To-tag for each
// downstream To-tag".
type pair struct {
	dlg [2]dialog.Dialog
	ack *message.Message // our ACK for the callee's 2xx, repeated for each copy of it
}

// maxEarly bounds the early dialogs of one INVITE.
const maxEarly = 8

// Call is one call. It is a tu.User.
type Call struct {
	set *Settings
	id  string // its name in the CDR and in `sbc calls`
	ids tu.IDs

	phase  phase
	legs   [2]leg
	invite *message.Message // the caller's INVITE, until it is answered
	tx     tu.TxID          // its server transaction
	final  bool             // it has its final answer
	acked  bool             // … and the ACK for its 2xx
	pairs  []pair
	won    int // index of the pair that was answered, -1

	hops     []tu.Hop
	attempts []attempt // one INVITE a hop; the last one is the current
	open     int       // client transactions without a final answer
	cseq     uint32    // of the INVITE on the callee's leg, the same for every hop
	lastRef  tu.Ref

	streams []tu.Stream
	waiting []tu.Event // events that wait for ports
	noPorts bool       // the pool was asked for more once for the body at hand
	relays  []relay    // requests of the dialog on their way to the other leg

	attemptAt, ringAt, timerC time.Time
	byeCaller                 bool // BYE to the caller as soon as its ACK is here (RFC 3261 §15)

	cdr      tu.CDR
	answerAt time.Time
	ended    bool
	lastAck  [2]relay // the last re-INVITE acknowledged on each leg, for copies of its 2xx
}

// New makes the call of an INVITE. It waits for the Arrived event.
func New(set *Settings, seed tu.Seed) *Call {
	c := &Call{set: set, ids: tu.NewIDs(seed, set.Tags), won: -1}
	c.id = c.ids.CallID()[:12]
	return c
}

// Step handles one event.
func (c *Call) Step(now time.Time, ev tu.Event, do []tu.Action) []tu.Action {
	if r, ok := ev.(tu.Reserved); ok {
		return c.reserved(now, r, do)
	}
	if len(c.waiting) > 0 && len(c.waiting) < maxWaiting {
		c.waiting = append(c.waiting, ev)
		return do
	}
	return c.handle(now, ev, do)
}

// maxWaiting bounds the events that wait for ports; the answer to Reserve is already on its way.
const maxWaiting = 16

func (c *Call) handle(now time.Time, ev tu.Event, do []tu.Action) []tu.Action {
	switch ev := ev.(type) {
	case tu.Arrived:
		do = c.arrived(now, ev, do)
	case tu.Routed:
		do = c.routed(now, ev, do)
	case tu.Trying:
		if a := c.current(); a != nil && a.ref == ev.Ref {
			c.attemptAt = time.Time{}
		}
	case tu.Answered:
		do = c.heard(now, ev, do)
	case tu.Failed:
		do = c.failed(now, ev, do)
	case tu.Acked:
		do = c.ackArrived(now, ev, do)
	case tu.NotAcked:
		do = c.notAcked(now, ev, do)
	case tu.Cancelled:
		do = c.cancelled(now, ev, do)
	case tu.MediaHint:
		do = c.mediaHint(now, ev, do)
	case tu.MediaRefused:
		do = c.hangUp(now, 488, reason.MediaForbidden, do)
	case tu.Hangup:
		do = c.hangUp(now, ev.Code, ev.Why, do)
	case tu.Tick:
		do = c.tick(now, do)
	}
	return c.maybeEnd(do)
}

// arrived tells a new call from a request within one of its dialogs.
func (c *Call) arrived(now time.Time, ev tu.Arrived, do []tu.Action) []tu.Action {
	if ev.Msg.To.Tag == "" {
		if c.invite != nil {
			return c.answer(caller, ev.Tx, ev.Msg, 482, do) // a second first INVITE: the core sends none
		}
		return c.begin(now, ev, do)
	}
	return c.inDialog(now, ev, do)
}

// Deadline is the earliest of the call's timers.
func (c *Call) Deadline() time.Time {
	var t time.Time
	for _, x := range [...]time.Time{c.attemptAt, c.ringAt, c.timerC} {
		if !x.IsZero() && (t.IsZero() || x.Before(t)) {
			t = x
		}
	}
	return t
}

// tick runs the timers that are due.
func (c *Call) tick(now time.Time, do []tu.Action) []tu.Action {
	due := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }
	switch {
	case due(c.attemptAt):
		return c.nextHop(now, 408, reason.Timeout, c.giveUp(do))
	case due(c.ringAt), due(c.timerC):
		// "If Timer C fires … the proxy MUST … generate a CANCEL" (RFC 3261 §16.8); inward the user is unavailable.
		return c.refuse(now, 480, reason.RingTimeout, "sbc", c.giveUp(do))
	}
	return do
}

// hangUp ends the call from our side, whatever its phase.
func (c *Call) hangUp(now time.Time, code int, why reason.Reason, do []tu.Action) []tu.Action {
	switch {
	case c.phase == ending:
		return do
	case c.final:
		return c.over(now, code, why, "sbc", c.byeBoth(do))
	default:
		return c.refuse(now, code, why, "sbc", c.giveUp(do))
	}
}

// mediaHint ends a call whose media has been silent both ways for too long.
func (c *Call) mediaHint(now time.Time, ev tu.MediaHint, do []tu.Action) []tu.Action {
	if !ev.Silent || c.phase != established {
		return do
	}
	return c.hangUp(now, 200, reason.MediaTimeout, do)
}

// maybeEnd ends the user once its CDR is written and no transaction of it is open.
func (c *Call) maybeEnd(do []tu.Action) []tu.Action {
	if c.phase == ending && c.open == 0 && !c.byeCaller && !c.ended {
		c.ended = true
		do = append(do, tu.End{})
	}
	return do
}

// direction is the way from one leg to the other.
func (c *Call) direction(from int) header.Direction {
	a, b := c.legs[from].peer, c.legs[1-from].peer
	switch {
	case a.Kind == tu.KindTrunk:
		return header.TrunkToPBX
	case a.Kind == tu.KindPhone:
		return header.PhoneToPBX
	case b.Kind == tu.KindPhone:
		return header.PBXToPhone
	default:
		return header.PBXToTrunk
	}
}

func (c *Call) newRef() tu.Ref {
	c.lastRef++
	c.open++
	return c.lastRef
}

// Uses reports whether a leg of the call stands on an interface.
func (c *Call) Uses(iface uint16) bool {
	return c.legs[caller].hop.Flow.Interface == iface || c.legs[callee].peer != nil && c.legs[callee].hop.Flow.Interface == iface
}
