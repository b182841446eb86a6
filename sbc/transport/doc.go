// Package transport owns the signalling sockets. It receives, lets the guard judge the bytes, parses what may pass and
// hands on immutable messages; it sends what it is given to the flow it is given for.
//
//	socket → size, sort → scan → guard → (drop | short reply) → parse, validate → SetSource → Handler.Deliver
//
// One goroutine reads each socket, so the messages of a socket are delivered in their order of arrival. It survives
// every read error and recovers from a panic in one message. Send runs on the caller's goroutine: one system call that
// never waits.
//
// Sockets are bound to concrete addresses only. A datagram leaves by the interface its flow names, and goes to the
// flow's address; nothing that a message says of itself chooses a destination here. Answers of this room's own are
// stateless, never repeated, go to the packet's source and are at most 200 bytes longer than what they answer.
//
// The room keeps no transaction, judges nobody and resolves no name. Real sockets need Linux (IP_RECVERR,
// SO_RXQ_OVFL). Streams find their place beside the datagrams: a Flow names their connection.
//
// RFC 3261 §18 (transport), §18.4 (ICMP), §8.2.7 and §16.11 (stateless answers); RFC 3581 (rport).
package transport
