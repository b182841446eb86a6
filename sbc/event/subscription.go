package event

import (
	"time"

	"sallyport/nat"
	"sallyport/sbc/dialog"
	"sallyport/sbc/digest"
	"sallyport/sbc/header"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// Limits bound what one subscription holds.
type Limits struct {
	Waiting int // requests that wait for the far side; 8 where 0
}

// Settings are what all subscriptions share. They never change; a reload makes new ones for new subscriptions.
type Settings struct {
	Names  *tu.NameKey // ids towards the PBX of what phones ask
	Tags   *tu.TagKey
	Domain string // pbx.domain
	Limits Limits
	Decoys *header.Decoys  // what strangers see in the place of answers that name no user; nil: 403
	Ties   tu.Ties         // the ids of calls; nil: none is known
	Keys   *digest.Keyring // what peers let us in by, from before; nil: nothing is kept
	// Behind is the user of the phone that the PBX knows by a token of ours; nil: there are no tokens.
	Behind func(token string) (user string, ok bool)
}

// phase is how far a subscription is.
type phase uint8

const (
	unborn  phase = iota // waiting for its SUBSCRIBE
	routing              // waiting for a plan
	asking               // our SUBSCRIBE is out
	active               // the subscriber has its 2xx
	refused              // the subscriber has another final answer
)

// The legs of a subscription; they index its arrays.
const (
	subscriber = 0
	notifier   = 1
)

// leg is one side of the subscription: the peer, the way to it, our dialog with it.
type leg struct {
	hop     tu.Hop
	callID  string
	tag     string // ours
	user    string // user part of our Contact
	secure  bool   // which is a SIPS URI
	dlg     dialog.Dialog
	made    bool       // dlg is there
	opened  bool       // the core knows it
	brought tu.Secrets // hidden from the other leg
}

// Subscription is one subscription through the gate. It is a tu.User.
type Subscription struct {
	set *Settings
	ids tu.IDs

	phase phase
	over  bool // there is no subscription any more; last transactions finish
	ended bool
	legs  [2]leg

	req  *message.Message // the subscriber's first SUBSCRIBE, or its REFER
	tx   tu.TxID          // its server transaction
	kind string           // event package, without parameters

	sent      *message.Message // our first SUBSCRIBE, as it went last
	hops      []tu.Hop
	attempts  []attempt
	attemptAt time.Time // when the current hop has been silent for too long

	notified  bool      // the dialog with the notifier is that of a NOTIFY
	silentAt  time.Time // Timer N: a NOTIFY is due by then
	expiresAt time.Time // with a margin, in which the notifier says so itself

	relays  []relay
	own     []tu.Ref // requests of our own that are not answered
	lastRef tu.Ref
	creds   *digest.Book // nil: no peer that was asked has an account
	forged  int          // requests with a phone's ids from elsewhere
	unread  int          // bodies that were left out

	sure certain
}

// certain is what the last Step that returned had done: its actions ran, those of a Step that panics do not.
type certain struct {
	phase phase
	over  bool
	made  [2]bool
}

// Starts reports whether a request of a method outside of dialogs makes a subscription.
func Starts(method string) bool { return method == "SUBSCRIBE" || method == "REFER" }

// New makes the user of a SUBSCRIBE or REFER outside of dialogs. It waits for the Arrived event.
func New(set *Settings, seed tu.Seed) *Subscription {
	return &Subscription{set: set, ids: tu.NewIDs(seed, set.Tags)}
}

// Step handles one event.
func (s *Subscription) Step(now time.Time, ev tu.Event, do []tu.Action) []tu.Action {
	if s.ended {
		return do
	}
	s.sure = certain{
		phase: s.phase, over: s.over, made: [2]bool{s.legs[subscriber].opened, s.legs[notifier].made},
	}
	return s.authorize(now, len(do), s.maybeEnd(s.handle(now, ev, do)))
}

func (s *Subscription) handle(now time.Time, ev tu.Event, do []tu.Action) []tu.Action {
	if s.creds != nil {
		if do, taken := s.challengeHeard(now, ev, do); taken {
			return do
		}
	}
	switch ev := ev.(type) {
	case tu.Arrived:
		if ev.Msg.To.Tag != "" && s.phase != unborn {
			return s.inDialog(now, ev, do)
		}
		return s.begin(ev, do)
	case tu.Routed:
		return s.routed(now, ev, do)
	case tu.Trying:
		s.lives(ev.Ref)
		return do
	case tu.Answered:
		return s.answered(now, ev, do)
	case tu.Failed:
		return s.failed(now, ev, do)
	case tu.Moved:
		return s.moved(ev, do)
	case tu.Hangup:
		return s.hangUp(ev, do)
	case tu.Tick:
		return s.tick(now, do)
	default:
		return do // of INVITEs and media; "CANCEL has no effect" here (RFC 3261 §9.1)
	}
}

// Deadline is the earliest of the subscription's timers.
func (s *Subscription) Deadline() time.Time {
	var first time.Time
	if s.ended {
		return first
	}
	for _, t := range [...]time.Time{s.attemptAt, s.silentAt, s.expiresAt} {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}

// phone reports whether the leg is that of a roaming phone: it is reached by its flow alone (RFC 5626 §2), whatever its
// Contact says, and its flow may move.
func (l *leg) phone() bool { return l.hop.Peer != nil && l.hop.Peer.Kind == tu.KindPhone }

// side is where the leg stands.
func (l *leg) side() nat.Side {
	if l.hop.Peer == nil {
		return nat.Outside
	}
	return l.hop.Peer.Side
}

// waiting is how many requests may wait for the far side.
func (s *Subscription) waiting() int {
	if s.set.Limits.Waiting > 0 {
		return s.set.Limits.Waiting
	}
	return 8
}

// newRef names a request of ours.
func (s *Subscription) newRef() tu.Ref {
	s.lastRef++
	return s.lastRef
}

// Phone is the flow of the leg that is a roaming phone's, or a stranger's at its place; false: neither is, or it is over.
func (s *Subscription) Phone() (flow nat.Flow, ok bool) {
	for i := range s.legs {
		if l := &s.legs[i]; l.phone() && !s.over {
			return l.hop.Flow, true
		}
	}
	return flow, false
}

// At reports whether the subscription is one of a phone whose notifier is a node of the PBX, by its name in health: when that
// node is lost, the phone is to subscribe anew. What a referred call does nobody else could tell it.
func (s *Subscription) At(node string) bool {
	return s.phase == active && !s.over && s.renewable() && s.legs[notifier].hop.ID == node
}

// Uses reports whether a leg of the subscription stands on an interface.
func (s *Subscription) Uses(iface uint16) bool {
	for i := range s.legs {
		if s.legs[i].hop.Peer != nil && s.legs[i].hop.Flow.Interface == iface {
			return true
		}
	}
	return false
}
