// Package core owns every transaction, dialog and user. One goroutine at a time is the core, in its turn: the loop, or one
// that delivers a message while nobody else is at it. It turns what arrives into events, lets the user concerned Step, and
// runs the actions that come back; nothing here knows a SIP method beyond what
// matching needs (INVITE, ACK, CANCEL, and BYE for what ends late).
//
// It never blocks and never waits for an edge: datagrams leave by one non-blocking call, everything costly runs
// elsewhere and posts an event back.
//
// Three inboxes, all bounded: functions of the program, served first; messages; ICMP errors. What may be lost in one of
// them is said again by its sender or costs a timer; who must know whether it happened uses Do.
//
// A panic ends as little as possible. A user that fails is aborted (step.go) with all that it holds; a message, a
// function or a lookup that fails is logged and counted, and its request refused (match.go). Only timers of the table
// that fail each time end the process (loop.go).
//
// The loop is in loop.go, its inboxes in inbox.go, matching in match.go, and each action's executor in a file named
// after it.
//
// RFC 3261 §8.2, §12.2.2, §13.2.2.4, §17, §18.2; RFC 3581.
package core
