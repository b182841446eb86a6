package call

import (
	"time"

	"sallyport/nat"
	"sallyport/sbc/dialog"
	"sallyport/sbc/digest"
	"sallyport/sbc/header"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// Settings are what all calls share. They never change; a reload makes new ones for new calls.
type Settings struct {
	Tags *tu.TagKey
	// Names makes the ids of phones' calls towards the PBX. Nil: they are random, as all others are.
	Names *tu.NameKey
	// Destinations judge the media addresses that peers of a side name.
	Destinations [2]nat.DestinationRules
	// Internal are the internal ranges.
	Internal nat.Ranges
	// Decoys are what strangers see in the place of answers that name no user. Nil: 403.
	Decoys *header.Decoys
	// Ties tell the ids of other calls. Nil: none is known.
	Ties tu.Ties
	// Keys are what peers have let earlier calls in by. Nil: each call waits to be asked.
	Keys *digest.Keyring
	// Behind is the user of the phone that the PBX knows by a token. Nil: there are no tokens.
	Behind func(token string) (user string, ok bool)
	// Loop leads back into this program: what is sent there arrives as if a PBX node had sent it. So one call becomes part of
	// another one by nothing but messages. Nil: there is none.
	Loop *tu.Hop
}

// phase is how far a call is.
type phase uint8

const (
	unborn      phase = iota // waiting for its INVITE
	routing                  // waiting for a plan
	reserving                // waiting for ports
	inviting                 // an INVITE is out, nobody rings
	ringing                  // a provisional answer came
	answered                 // the callee's 2xx went to the caller, whose ACK is awaited
	established              // ACK is here
	ending                   // the CDR is written; last transactions finish
)

// The legs of a call; they index its arrays.
const (
	caller = 0
	callee = 1
)

var legNames = [2]string{"caller", "callee"}

// leg is one side of the call: the peer, how to reach it, and what it has said of its media.
type leg struct {
	peer     *tu.Peer
	hop      tu.Hop        // the set-up's flow, and our addresses as this peer sees them
	callID   string        // Call-ID of the leg's dialogs
	guest    bool          // which is the peer's making
	tag      string        // our tag: of the callee's leg; the caller's has one a fork
	user     string        // user part of our Contact
	secure   bool          // which is a SIPS URI
	noUpdate bool          // its Allow has no UPDATE
	replaces bool          // it can replace one dialog by another (RFC 3891)
	brought  tu.Secrets    // hidden from the other leg
	places   []int         // where its m= lines stand in the call; nil: it has the same
	asked    []int         // those of its last offer, which our answer has to have
	media    mediaState    // SDP and aims
	keys     *keys         // digits; nil: none yet
	timer    *sessionTimer // nil: none
	bye      bool          // a BYE of the call's dialog has gone to it, or come from it
	place    tu.Ref        // that it holds at its peer: of its INVITE, once that is answered; 0: the caller's
}

// pair is one dialog with the callee, and the dialog with the caller that stands for it: "one upstream To-tag for each
// downstream To-tag".
type pair struct {
	dlg      [2]dialog.Dialog
	early    proposal // the callee's last provisional description
	acked    bool     // its 2xx has our ACK
	steady   *steady  // what reliable responses have made of it; nil: there were none
	over     bool     // ended by itself: by a BYE of the caller while it was early, or as a fork that nobody wanted
	forsaken bool     // its callee's hop has died while it was early; the caller may not know
	was      *former  // who stood there, where it is not the leg's peer of now; nil: it is
}

// maxEarly bounds the early dialogs of one INVITE, maxPairs all that it makes.
const (
	maxEarly = 8
	maxPairs = 2 * maxEarly
)

// Call is one call. It is a tu.User.
type Call struct {
	set *Settings
	id  string // its name in the CDR and in `sbc calls`
	ids tu.IDs

	began time.Time // by Resume: when the challenged INVITE came; zero: this one is the first

	phase       phase
	legs        [2]leg
	invite      *message.Message // the caller's INVITE, until its 2xx is acknowledged
	offered     bool             // it has an offer
	assured     assurance        // what it wants of provisional responses
	conditional bool             // it knows preconditions, and may
	wants199    bool             // it wants to hear of early dialogs that end
	tx          tu.TxID          // its server transaction
	final       bool             // it has its final answer
	acked       bool             // … and the ACK for its 2xx
	tag         string           // our To tag in the first dialog, and in answers that belong to none
	taken       bool             // that dialog is there
	up          dialog.Dialog    // what its dialogs have in common
	pairs       []pair
	won         int           // index of the pair that was answered, -1
	early       proposal      // the last provisional description of all
	first       *proposal     // what the INVITE offered, once early dialogs have other descriptions of the caller; nil: they have not
	kept        []tu.Answered // 2xx that wait for the caller's PRACK, one a fork
	seals       seals         // of the last offer
	swapped     bool          // the callee refused the form that its media was offered in first

	hops     []tu.Hop
	attempts []attempt // one INVITE a hop; the last one is the current
	byes     []tu.Ref  // BYEs without a final answer
	cseq     uint32    // of the INVITE on the callee's leg, the same for every hop
	named    bool      // the ids of the callee's leg are a function of the caller's
	lastRef  tu.Ref
	acks     []sentAck // for copies of the 2xx they acknowledged

	streams     []tu.Stream
	prints      []tu.Fingerprint // our certificate for each, as it was when they got their ports
	cnames      tu.CNAMEKey      // for what RTCP says of the peers, in all streams
	waiting     []tu.Event       // events that wait for ports
	owns        []own            // requests of our own within the dialogs
	served      bool             // the event at hand has waited: what the pool could not give it is answered with port 0
	relays      []relay          // requests of the dialog on their way to the other leg
	moves       *moves           // transfers; nil: there was none
	redirection *redirection     // nil: there was none
	full        int              // what is said where a hop had no place for the call and no other one took it; 0: each had one
	creds       *digest.Book     // nil: no peer that was asked has an account

	at                        time.Time // of the event at hand
	attemptAt, ringAt, timerC time.Time
	endAt                     time.Time        // when it has lasted as long as it may
	retimed                   int              // how often its INVITE was sent again for a 422
	byeCaller                 bool             // BYE to the caller as soon as its ACK is here (RFC 3261 §15)
	forged                    int              // requests with a phone's ids from elsewhere
	cause                     *message.Message // the BYE that ended the call, for what the other leg's should say
	why                       string           // Reason of the CANCEL, or early BYE, that ends the call

	cdr      tu.CDR
	answerAt time.Time
	ended    bool
	sure     certain
}

// certain is what the last Step that returned had done: its actions ran, those of a Step that panics do not.
type certain struct {
	final, recorded bool
	won             int
	bye             [2]bool
	joining         *third // the third leg that had answered; nil: none
	asking          *taker // the INVITE that would take a place, without an answer
}

// New makes the call of an INVITE. It waits for the Arrived event.
func New(set *Settings, seed tu.Seed) *Call {
	c := &Call{set: set, ids: tu.NewIDs(seed, set.Tags), won: -1}
	c.id = c.ids.CallID()[:12]
	beside := tu.NewFewIDs(seed, set.Tags) // so that recorded runs keep their ids
	c.cnames = beside.Block()
	return c
}

// Step handles one event.
func (c *Call) Step(now time.Time, ev tu.Event, do []tu.Action) []tu.Action {
	c.sure = certain{
		final: c.final, recorded: c.phase == ending, won: c.won, bye: [2]bool{c.legs[caller].bye, c.legs[callee].bye},
	}
	if c.ended {
		return do
	}
	c.sure.joining, c.sure.asking = c.moves.certain()
	c.at = now
	if r, ok := ev.(tu.Reserved); ok {
		return c.authorize(now, len(do), c.maybeEnd(c.askOn(now, c.reserved(now, r, do))))
	}
	if len(c.waiting) > 0 && len(c.waiting) < maxWaiting {
		c.waiting = append(c.waiting, ev)
		return do
	}
	return c.authorize(now, len(do), c.maybeEnd(c.askOn(now, c.handle(now, ev, do))))
}

// maxWaiting bounds the events that wait for ports; the answer to Reserve is already on its way.
const maxWaiting = 16

func (c *Call) handle(now time.Time, ev tu.Event, do []tu.Action) []tu.Action {
	if c.creds != nil {
		if do, taken := c.challengeHeard(now, ev, do); taken {
			return do
		}
	}
	if c.moves != nil {
		if do, taken := c.moveHeard(now, ev, do); taken {
			return do
		}
	}
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
	case tu.Moved:
		do = c.moved(ev, do)
	case tu.DigitHeard:
		do = c.digitHeard(ev, do)
	case tu.MediaRefused:
		do = c.hangUp(now, 488, reason.MediaForbidden, do)
	case tu.Hangup:
		do = c.hangUp(now, ev.Code, ev.Why, do)
	case tu.Tick:
		do = c.tick(now, do)
	}
	return do
}

// arrived tells a new call from a request within one of its dialogs.
func (c *Call) arrived(now time.Time, ev tu.Arrived, do []tu.Action) []tu.Action {
	switch {
	case ev.Msg.To.Tag != "":
		return c.inDialog(now, ev, do)
	case c.phase != unborn && ev.Peer != nil && ev.Peer.Kind == tu.KindNode && ev.Msg.Method == "INVITE":
		return c.arrivedAgain(now, ev, do)
	case c.phase != unborn || ev.Msg.Method != "INVITE" || ev.Peer == nil:
		m := message.Reply(ev.Msg, 482, "") // the core makes one call of one INVITE
		m.To.Tag = c.defaultTag()
		return append(do, tu.Respond{Tx: ev.Tx, Side: c.sideOf(ev), Msg: m})
	default:
		return c.begin(now, ev, do)
	}
}

// Deadline is the earliest of the call's timers.
func (c *Call) Deadline() time.Time {
	var t time.Time
	if len(c.waiting) > 0 || c.ended {
		return t // ports are on their way; until then a Tick would have to wait too
	}
	earlier := func(x time.Time) {
		if !x.IsZero() && (t.IsZero() || x.Before(t)) {
			t = x
		}
	}
	earlier(c.attemptAt)
	earlier(c.ringAt)
	earlier(c.timerC)
	for i := range c.relays {
		earlier(c.relays[i].timerC)
	}
	for i := range c.pairs {
		if !c.final {
			earlier(c.pairs[i].pledgeDue())
		}
	}
	if c.moves != nil {
		c.moves.deadlines(earlier)
	}
	for i := range c.owns {
		earlier(c.owns[i].timerC)
		earlier(c.owns[i].again)
	}
	if c.lasts() {
		earlier(c.endAt)
		earlier(c.legs[caller].timer.next())
		earlier(c.legs[callee].timer.next())
	}
	return t
}

// tick runs the timers that are due.
func (c *Call) tick(now time.Time, do []tu.Action) []tu.Action {
	due := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }
	switch {
	case due(c.attemptAt):
		return c.nextHop(now, 408, reason.Timeout, c.giveUp(true, do))
	case due(c.ringAt), due(c.timerC):
		// "If Timer C fires … the proxy MUST … generate a CANCEL" (RFC 3261 §16.8); inward the user is unavailable.
		return c.refuse(now, 480, reason.RingTimeout, "sbc", do)
	case due(c.endAt) && c.lasts():
		return c.hangUp(now, 200, reason.LimitExceeded, do)
	}
	do = c.tickPledges(now, do)
	for i := range c.relays {
		if due(c.relays[i].timerC) {
			c.relays[i].timerC = time.Time{}
			do = append(do, tu.Cancel{Ref: c.relays[i].ref})
		}
	}
	return c.tickSessions(now, c.tickOwn(now, c.tickMoves(now, do)))
}

// hangUp ends the call from our side, whatever its phase.
func (c *Call) hangUp(now time.Time, code int, why reason.Reason, do []tu.Action) []tu.Action {
	switch {
	case c.phase == ending:
		c.forgetSubs(now, true)
		return do
	case c.phase == unborn:
		c.phase = ending
		return do
	case c.final:
		return c.over(now, code, why, "sbc", c.byeBoth(do))
	case code < 400 || code > 699:
		code = 480
	}
	return c.refuse(now, code, why, "sbc", do)
}

// mediaHint ends a call whose media has been silent both ways for too long.
func (c *Call) mediaHint(now time.Time, ev tu.MediaHint, do []tu.Action) []tu.Action {
	if !ev.Silent || c.phase != established || c.left() >= 0 {
		return do
	}
	return c.hangUp(now, 200, reason.MediaTimeout, do)
}

// maybeEnd ends the user once its CDR is written, no transaction of it is open, and nothing waits to be looked at.
func (c *Call) maybeEnd(do []tu.Action) []tu.Action {
	if c.phase != ending || c.byeCaller || c.ended || len(c.byes) > 0 || len(c.relays) > 0 || len(c.owns) > 0 || len(c.waiting) > 0 || c.telling() ||
		c.moves.busy() {
		return do
	}
	for i := range c.attempts {
		if !c.attempts[i].done {
			return do
		}
	}
	c.ended = true
	return append(do, tu.End{})
}

// newBye names a BYE of ours, or a PRACK of our own, whose answer the call's end waits for.
func (c *Call) newBye() tu.Ref {
	c.lastRef++
	c.byes = append(c.byes, c.lastRef)
	return c.lastRef
}

// Uses reports whether a leg of the call stands on an interface.
func (c *Call) Uses(iface uint16) bool {
	return c.legs[caller].hop.Flow.Interface == iface || c.legs[callee].peer != nil && c.legs[callee].hop.Flow.Interface == iface
}
