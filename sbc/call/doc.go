// Package call is the back-to-back user agent: one call joins the leg of its caller (where we answer) with the leg of its
// callee (where we ask), and translates between them. Each leg is a user agent of its own standing: own Call-ID, tags,
// sequence numbers, offers and answers.
//
// It is pure: events in, actions out; ids come from the seed a call is born with. It opens no socket, reads no clock,
// routes no number and reserves no port: it asks for these by action and hears an event.
//
// One file holds one phase: setup (INVITE in, route, ports), attempt (INVITE out, failover), provisional and answer (what
// the callee says), ack, cancel, indialog and relay (requests of a dialog on their way to the other leg), offer (re-INVITE
// and UPDATE with glare), bye, abort. flow.go tells who may speak for a leg and lets that of a phone move; challenge.go lets
// the PBX's challenges through to phones and nowhere else; media.go edits SDP and aims the relay; build.go writes messages;
// record.go keeps the CDR; view.go shows the call to the administrator. testdata/call plays every race and pattern, event
// by event.
//
//	routing → reserving → inviting → ringing → answered → established → ending
//	   └─────────┴───────────┴──────────┴──── refused, cancelled ─────────┘
//
// RFC 3261 §13–15, RFC 3264, RFC 5407, RFC 6337, RFC 7092 (SDP-modifying, media relay).
package call
