// Package call is the back-to-back user agent: one call joins the leg of its caller (where we answer) with the leg of its
// callee (where we ask), and translates between them. Each leg is a user agent of its own standing: own Call-ID, tags,
// sequence numbers, offers and answers.
//
// It is pure: events in, actions out; ids come from the seed a call is born with. It opens no socket, reads no clock,
// routes no number and reserves no port: it asks for these by action and hears an event.
//
// One file holds one phase: setup (INVITE in, route, ports), attempt (INVITE out, failover), provisional and answer
// (what the callee says), reliable and prack (RFC 3262 on each leg), early (offers before the answer), tags (100rel,
// preconditions, 199), ack, cancel, indialog and relay (requests of a dialog on their way to the other leg), offer
// (re-INVITE and UPDATE with glare), bye, abort. flow.go tells who may speak for a leg and lets that of a phone move;
// challenge.go lets the PBX's challenges through to phones and nowhere else, credentials.go answers those of peers with an
// account; refer.go passes transfers, transfer.go and
// third.go do them, taker.go and pickup.go let somebody inside take a leg's place, moves.go hands events to them,
// replaces.go translates the ids of other dialogs, redirect.go follows a 3xx; media.go edits SDP and aims the relay;
// lines.go lets each leg keep its order of m= lines, numbers.go its payload types, origin.go the versions that it is told;
// allow.go has lists of codecs, fax.go T.38; own.go sends requests of
// our own, for timer.go and refresh.go (RFC 4028) and for transfers; hold.go keeps holds from peers that take none;
// secure.go has SRTP by keys in SDP, suites.go these keys, besteffort.go voices that are offered twice, dtls.go SRTP by handshakes, with
// ICE; build.go writes messages; digits.go converts digits, keys.go reads and writes them; record.go
// keeps the CDR; view.go shows the call to the administrator. testdata/call plays every race and pattern, event by
// event.
//
// Digits come as telephone events (RFC 4733) or in INFO. How a peer has them, tu.DTMF says. On the way from one leg to the
// other an event becomes INFO (E→I), INFO an event (I→E), or nothing is changed (·); "agreed" says which of the two have
// telephone events by offer and answer:
//
//	from     to       agreed: both   the first   the second   none
//	pass     pass             ·          ·           ·          ·
//	pass     rfc4733          I→E        ·           I→E        ·
//	pass     info             E→I        E→I         ·          ·
//	rfc4733  pass             ·          E→I         ·          ·
//	rfc4733  rfc4733          ·          ·           ·          ·
//	rfc4733  info             E→I        E→I         ·          ·
//	info     pass             I→E        ·           I→E        ·
//	info     rfc4733          I→E        ·           I→E        ·
//	info     info             ·          ·           ·          ·
//
// For that, who speaks INFO is offered no events, and who speaks events, or stands opposite to INFO, is offered some even
// where the other one has none.
//
//	routing → reserving → inviting → ringing → answered → established → ending
//	   └─────────┴───────────┴──────────┴──── refused, cancelled ─────────┘
//
// RFC 3261 §13–15, RFC 3262, RFC 3264, RFC 3311, RFC 3312 (passed), RFC 3515, RFC 3891, RFC 3892, RFC 4028, RFC 4488,
// RFC 4538, RFC 6228, RFC 4568, RFC 4733 §2.4, RFC 5407, RFC 5763,
// RFC 6086, RFC 6337, RFC 7092 (SDP-modifying, media relay), RFC 8842.
package call
