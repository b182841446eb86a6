// Package trunk knows the peer systems on both sides: trunk providers and PBX nodes, with their addresses, their health
// and their order. It tells who a source is, and which hops of a system to try first.
//
// It identifies by transport source only, never by what a message says of itself. It is pure: the probe is a user of the
// core like any other, and the book is a value that belongs to the core's turn.
//
// RFC 3261 §11 (OPTIONS), RFC 2782 (priority and weight).
package trunk
