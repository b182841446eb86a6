// Package policy decides what a message may do before anybody has parsed it, and remembers why.
//
// The Guard stands behind every socket. It sees the bytes through a raw scan, asks Decide, and answers allow, reject
// or drop; a drop costs no allocation, no log line and no answer. Decide is a function of (now, Subject, Rules, State)
// and follows Order, the fixed order of checks. Rules is an immutable snapshot compiled from Config and swapped as a
// whole; State holds what outlives a snapshot: limiter debt, bans, live dialogs, admitted requests, evidence and
// counters, each in a table of fixed size that strangers cannot turn against known peers. Explain answers "why?" from
// the same function and the same evidence.
//
// A source is known by its transport address and the listener it reached, never by what a message says of itself.
// Limits are keyed by address (IPv6 by /64), never by port, and debt survives idleness. A limit may follow the number of
// phones behind an address (per_phone). In a flood Shed drops strangers' first datagrams before they are scanned.
//
// The room opens no socket, starts no goroutine, reads no clock and writes no log: the time, the hash seed and the
// lines' destination are handed in. It does not judge destinations, trunks' capacity or credentials; rooms behind the
// parser do.
//
// RFC 3261 §17, §18 (what a repeat is), §26.3.2.4 (stateless refusals); RFC 5853 §3.5 (access control); RFC 6177
// (why IPv6 is keyed by /64); RFC 8489 §5 (STUN on a SIP port is no SIP).
package policy
