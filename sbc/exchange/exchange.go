package exchange

import (
	"strings"
	"time"

	"sallyport/sbc/digest"
	"sallyport/sbc/header"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// Settings are what all exchanges share. They never change; a reload makes new ones for new exchanges.
type Settings struct {
	Names  *tu.NameKey // ids towards the PBX of what phones ask
	Tags   *tu.TagKey
	Domain string          // pbx.domain
	Decoys *header.Decoys  // what strangers see in the place of answers that name no user; nil: 403
	Ties   tu.Ties         // the ids of calls; nil: none is known
	Keys   *digest.Keyring // what peers let us in by, from before; nil: nothing is kept
	// Behind is the user of the phone that the PBX knows by a token of ours; nil: there are no tokens.
	Behind func(token string) (user string, ok bool)
}

// Passes reports whether requests of a method pass outside of dialogs.
func Passes(method string) bool {
	switch method {
	case "OPTIONS", "INFO", "MESSAGE", "NOTIFY", "PUBLISH":
		return true
	default:
		return false
	}
}

// phase is how far an exchange is.
type phase uint8

const (
	unborn  phase = iota // waiting for its request
	routing              // waiting for a plan
	asking               // the request is out
	over                 // it has its final answer
)

// The legs of an exchange; they index its arrays.
const (
	asker = 0
	asked = 1
)

// leg is one side of the exchange: the peer, the way to it, and what it has shown of its side.
type leg struct {
	hop     tu.Hop
	user    string     // user part of our Contact
	secure  bool       // which is a SIPS URI
	brought tu.Secrets // hidden from the other leg
}

// Exchange is one request outside of dialogs and its answer. It is a tu.User.
type Exchange struct {
	set *Settings
	ids tu.IDs

	phase phase
	legs  [2]leg
	req   *message.Message // the asker's
	tx    tu.TxID          // its server transaction
	tag   string           // our To tag in the answer

	callID, from string // Call-ID and From tag of what we ask
	cseq         uint32
	hops         []tu.Hop
	attempts     []attempt
	attemptAt    time.Time // when the current hop has been silent for too long
	lastRef      tu.Ref
	creds        *digest.Book // nil: no peer that was asked has an account

	sure phase // before the Step at hand: the actions of one that panics do not run
}

// New makes the user of a request outside of dialogs. It waits for the Arrived event.
func New(set *Settings, seed tu.Seed) *Exchange {
	return &Exchange{set: set, ids: tu.NewIDs(seed, set.Tags)}
}

// Deadline is when the next hop is due.
func (e *Exchange) Deadline() time.Time { return e.attemptAt }

// Step handles one event.
func (e *Exchange) Step(now time.Time, ev tu.Event, do []tu.Action) []tu.Action {
	if e.phase == over {
		return do
	}
	e.sure = e.phase
	switch ev := ev.(type) {
	case tu.Arrived:
		return e.arrived(ev, do)
	case tu.Routed:
		return e.routed(now, ev, do)
	case tu.Trying:
		return e.provisional(ev.Ref, do)
	case tu.Answered:
		return e.answered(now, ev, do)
	case tu.Failed:
		e.creds.Heard(now, ev)
		return e.failed(now, ev, do)
	case tu.Tick:
		return e.tick(now, do)
	case tu.Hangup:
		return e.hangUp(ev, do)
	default:
		// The rest is of INVITEs, media and dialogs. A CANCEL "has no effect on requests other than INVITE" (RFC 3261
		// §9.1), and a request that is out is not sent again because its phone has moved.
		return do
	}
}

// Abort ends the exchange after a panic: whoever asked hears 500.
func (e *Exchange) Abort(_ time.Time, do []tu.Action) []tu.Action {
	if e.req != nil && e.sure != over {
		do = e.respond(e.reply(500), do)
	}
	return append(do, tu.End{})
}

// Uses reports whether a leg of the exchange stands on an interface.
func (e *Exchange) Uses(iface uint16) bool {
	for i := range e.legs {
		if e.legs[i].hop.Peer != nil && e.legs[i].hop.Flow.Interface == iface {
			return true
		}
	}
	return false
}

// arrived takes the request: what is wrong with it is said before anybody is asked.
func (e *Exchange) arrived(ev tu.Arrived, do []tu.Action) []tu.Action {
	m := ev.Msg
	if e.phase != unborn {
		return e.stray(ev, 482, do) // the core makes one exchange of one request
	}
	if ev.Peer == nil {
		e.phase = over
		return append(e.stray(ev, 403, do), tu.End{})
	}
	e.req, e.tx, e.phase = m, ev.Tx, routing
	a := &e.legs[asker]
	a.hop = tu.Hop{Peer: ev.Peer, Here: ev.Here, Flow: ev.Flow}
	a.user = header.ContactUser(header.RewriteURIHost(m.URI, ev.Here.Signal.String()))
	a.secure = m.URI.Scheme == "sips"
	a.brought.Notice(m, ev.Flow.Remote.Addr())
	e.name()
	switch {
	case m.To.Tag != "":
		return e.refuse(481, do) // RFC 3261 §12.2.2: it speaks of a dialog, and there is none
	case !Passes(m.Method):
		// "The response MUST include an Allow header field containing a list of valid methods" (RFC 3261 §8.2.1).
		return e.refuse(405, do, message.Header{Name: "Allow", Value: header.Methods})
	}
	// "If a UAS does not understand an option-tag listed in a Require header field, it MUST respond with 420" (RFC 3261
	// §8.2.2.3).
	if tags := header.Unsupported(m); len(tags) > 0 {
		return e.refuse(420, do, message.Header{Name: "Unsupported", Value: strings.Join(tags, ", ")})
	}
	// "If the Max-Forwards value is 0 … 483" (RFC 3261 §16.3; RFC 7332 §4: a B2BUA does as a proxy does).
	if m.MaxForwards == 0 {
		return e.refuse(483, do)
	}
	if _, ok := passable(m); !ok {
		return e.refuse(415, do)
	}
	if !readable(m) {
		return e.refuse(400, do)
	}
	return append(do, tu.Route{Msg: m, Peer: ev.Peer})
}

// routed takes the plan.
func (e *Exchange) routed(now time.Time, ev tu.Routed, do []tu.Action) []tu.Action {
	if e.phase != routing {
		return do
	}
	if len(ev.Hops) == 0 {
		return e.refuseFor(ev.Code, ev.Why, do)
	}
	e.hops, e.phase = ev.Hops, asking
	return e.nextHop(now, 0, "", do)
}

// hangUp ends the exchange from our side.
func (e *Exchange) hangUp(ev tu.Hangup, do []tu.Action) []tu.Action {
	if e.phase == unborn {
		e.phase = over
		return append(do, tu.End{})
	}
	return e.refuseFor(ev.Code, ev.Why, do)
}

// stray answers a request that is not the exchange's own.
func (e *Exchange) stray(ev tu.Arrived, code int, do []tu.Action) []tu.Action {
	m := message.Reply(ev.Msg, code, "")
	if m.To.Tag == "" {
		m.To.Tag = e.ids.Tag()
	}
	side := e.legs[asker].side()
	if ev.Peer != nil {
		side = ev.Peer.Side
	}
	return append(do, tu.Respond{Tx: ev.Tx, Side: side, Msg: m})
}
