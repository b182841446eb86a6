// Package transaction is the table of SIP transactions: the four machines of RFC 3261 §17 with the corrections of
// RFC 6026 and RFC 4320, the retransmission of a 2xx until its ACK, and CANCEL.
//
// It is state and functions. Messages, the time and branches are handed in; what is to be sent and what a user should
// hear come back as effects, appended to a slice, in order. It opens no socket, starts no goroutine, reads no clock,
// draws no random number and calls nobody back but the pure questions of its Config. A table belongs to one goroutine.
//
// What it refuses to do: it chooses no destination, keeps no dialog, invents no final answer for a living user, and
// never answers a source that its Config does not know, except where a transaction of that source stands.
//
// Each machine has its file: server_invite.go, server_other.go, client_invite.go, client_other.go. What they share is
// in server.go and client.go; ack.go and cancel.go hold the two requests that belong to another's transaction.
//
// Every finished transaction keeps its struct, its keys and, while the peer may still repeat itself, the bytes to
// answer with; messages are let go with the last state that needs them.
//
// RFC 3261 §8.1.3.3, §8.2.2.2, §9, §13.3.1.4, §17; RFC 6026; RFC 4320; RFC 5407 (races).
package transaction
