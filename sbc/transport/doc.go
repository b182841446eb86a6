// Package transport owns the signalling sockets. It receives, lets the guard judge the bytes, parses what may pass and
// hands on immutable messages; it sends what it is given to the flow it is given for.
//
//	socket → size, sort → scan → guard → (drop | short reply) → parse, validate → SetSource → Handler.Deliver
//
// One goroutine reads each socket and each connection, so the messages of each are delivered in their order of arrival. It
// survives every read error of a socket and recovers from a panic in one message.
//
// Sockets are bound to concrete addresses only. A datagram leaves by the interface its flow names, and goes to the
// flow's address; nothing that a message says of itself chooses a destination here. Answers of this room's own are
// stateless, never repeated, go to the packet's source and are at most 200 bytes longer than what they answer.
//
// Send never waits. Over UDP it is one system call of the caller's. Over streams it queues: a flow that names its
// connection reaches that one or nobody, a flow without is a connection of our own, dialled when it is needed. A stream is
// cut by its Content-Length alone, and ended at the first doubt. Each connection is bounded in time (to its first message,
// in a message, idle, in taking what is sent) and in bytes, strangers' also in number; a full inbox stops the reading. An
// idle connection has a goroutine and a kilobyte, everything else is borrowed while a message is under way.
//
// A WebSocket (RFC 6455) begins as TLS does: the upgrade is part of the handshake, bounded with it, and who asks for something
// else learns nothing. A message is what its frames hold, fragments put together; where a Content-Length is, it must agree. From there
// it is the same path. Frames that break a rule, are not masked, too large, too many in a message, or too many without a message end
// the connection with the code that says why. Nothing is compressed. There is no unencrypted WebSocket, and none is ever dialled.
//
// TLS is 1.2 or later. Who is dialled must prove the name that was meant; connections of different classes (nat.Flow) are never the
// same one, whatever address they lead to. The certificate is replaced without a
// connection's end. Why a connection could not be made, or how the peer has ended its handshake, is logged and kept (Set.Trouble).
//
// The room keeps no transaction, judges nobody and resolves no name. Real sockets need Linux (IP_RECVERR,
// SO_RXQ_OVFL, TCP_USER_TIMEOUT).
//
// RFC 3261 §18 (transport), §18.3 (framing), §18.4 (ICMP), §8.2.7 and §16.11 (stateless answers); RFC 3581 (rport);
// RFC 5626 §3.5.1, §4.4.1 (keep-alive over streams); RFC 5922 §7, RFC 8996 (TLS); RFC 6455, RFC 7118 (WebSocket).
package transport
