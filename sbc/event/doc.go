// Package event passes subscriptions: a SUBSCRIBE of one side becomes one of our own on the other, and what the notifier
// tells goes back. The subscriber's leg is a dialog in which we are the notifier, the notifier's leg one in which we are the
// subscriber; each has Call-ID, tags and sequence numbers of its own. One subscription is one user, from its first SUBSCRIBE
// until both legs are done with it. Phones subscribe at the PBX, and the PBX at phones, alike.
//
//	routing → asking → active → over
//	             └── refused ────┘
//
// Every event package passes, known or not. So does every body, told as its receiver may hear it: a lamp (dialog-info) has hosts
// and ids of the receiver's side, the calls of others under veils that one phone alone can have lifted; what says that it is such a
// document and is none is left out. A REFER outside of dialogs is a subscription to how the referred request fares.
//
// The room keeps no state of a resource, answers no SUBSCRIBE and makes no NOTIFY of its own but the last one, when the gate itself
// must end a subscription: at a drain, and where the PBX's node is lost, or does not take a refresh; "deactivated" then has the
// phone subscribe anew at a node that lives. It tries no other node for a refresh: a dialog lives at one. A subscription
// that forks at its notifier is followed to one of them, the first that notifies; NOTIFYs of the others are answered 481, which
// ends them there (RFC 6665 §4.1.2.4 and §4.4.1; a package that wants several is served one). A dialog bears one
// subscription: another package in it is refused (RFC 6665 §4.5.2).
//
// One file holds one phase: setup (the first SUBSCRIBE, hops), initial (its answer), indialog (what is asked in a dialog),
// relay (requests on their way to the other leg), lapse (timers and ends), refer (what REFER has of its own). flow.go tells who may
// speak for a leg and lets that of a phone move; build.go and body.go write messages. testdata plays each of them, event by event.
//
// It is pure: events in, actions out; ids come from the seed it is born with, or from the key that the retry after a
// challenge is told by.
//
// RFC 6665 (obsoletes 3265), RFC 3842 (message-summary), RFC 4235 (dialog), RFC 4662 (lists), RFC 3515, 4488, 7614 and 7647 (REFER;
// of 7614 nosub alone: explicitsub is refused, and whoever asks for it asks again without), RFC 3261 §12, RFC 4320, RFC 5057 §5.1.
package event
