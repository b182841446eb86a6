// Package ice answers the connectivity checks of ICE peers as a lite agent does: it has one candidate, its own port, sends no
// checks, and leaves the choice of the pair to the peer (RFC 8445 §2.5).
//
// It is text work on one datagram: no socket, no clock, no table. Whoever checks with the right password has shown that
// signalling and media come from the same peer, and that it hears what is sent to its address: a latch needs no more.
//
// It refuses to be asked by strangers: a check that is not authentic is met with silence, not with 401, so that a port
// tells nobody that it is there. It is always controlled; a peer that thinks otherwise is told (487).
//
// RFC 8445 (ICE), RFC 8489 (STUN), RFC 7675 §5.1 (consent: answers are all that it takes from us).
package ice
