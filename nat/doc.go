// Package nat holds the vocabulary of the gate (sides, realms, transports, interfaces, flows) and the address
// arithmetic of a border controller: which ranges are internal, what address a peer is told, and which addresses
// may never be a destination.
//
// It is pure: addresses in, answers out. It opens no socket, resolves no name and knows no SIP message.
//
// RFC 3261 §18 (transports), RFC 5626 (flows), RFC 1918, RFC 6598, RFC 6890 (special-purpose addresses).
package nat
