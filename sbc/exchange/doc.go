// Package exchange passes requests that belong to no dialog: MESSAGE, OPTIONS, NOTIFY that nobody subscribed to (message
// waiting, check-sync), PUBLISH and INFO, between phone and PBX and between trunk and PBX, either way. One request and its
// answer are one user: it comes in, asks for a route, goes out as a request of our own, and the final answer goes back.
//
//	routing → asking → over
//
// It refuses to fork, to remember anything beyond the answer, and to touch a text. It passes no provisional answer: for a
// request other than INVITE only 100 has a meaning, and that goes one hop (RFC 4320 §4.1). It never sends a 408. REFER
// is none of its own: it makes a subscription, whose NOTIFYs come in a dialog (RFC 3515 §2.4.4).
//
// It is pure: events in, actions out; ids come from the seed it is born with, or from the key that the retry after a
// challenge is told by.
//
// RFC 3261 §8, §11 (OPTIONS), §16.3, RFC 3428 (MESSAGE), RFC 3903 (PUBLISH), RFC 4320 (non-INVITE transactions), RFC 6665
// §4.1.3 with RFC 3842 §3.2 (NOTIFY without a subscription is the receiver's to judge), RFC 7332 (loops).
package exchange
