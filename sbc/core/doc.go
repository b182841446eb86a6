// Package core is the one goroutine that owns every transaction, dialog and user. It turns what arrives into events,
// lets the user concerned Step, and runs the actions that come back; nothing here knows a SIP method beyond what
// matching needs (INVITE, ACK, CANCEL).
//
// It never blocks and never waits for an edge: datagrams leave by one non-blocking call, everything costly runs
// elsewhere and posts an event back. A user that panics is aborted; the process lives.
//
// The loop is in loop.go, matching in match.go, and each action's executor in a file named after it.
//
// RFC 3261 §8.2, §12.2.2, §17; RFC 3581.
package core
