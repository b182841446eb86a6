//go:build linux

// Package process lets the relay live in a process of its own, so that audio flows on while signalling crashes, restarts
// or is upgraded, and so that neither the scheduler nor the collector of a busy program stands in its way.
//
// Serve is that process: the epoll back end behind a unix seqpacket socket. Backend is what signalling holds instead of
// an in-process back end: it starts the process where none answers, greets it, fills it, and starts and fills it again
// when it is lost.
//
// The shared table (media.Board in a sealed memfd, mapped for reading only by signalling) is the truth: which legs are in
// use, since when, what they counted, which ports other programs hold. The socket carries commands one way, each the
// whole wanted state of a leg and harmless to repeat, and hints the other way, which may get lost: a sweep each second
// reads the table. Who greets is told everything else by the table as well.
//
// One signalling process is served at a time. A leg belongs to the connection that spoke of it last. When that ends
// without a goodbye its legs are orphans: they are served until they have been silent for as long as the layout says,
// then freed. Signalling that comes back finds them in the table and keeps their ports out of its pool meanwhile.
//
// What handshakes show (media.Certificate) crosses the socket in both greetings, with its private key: signalling keeps it for
// the process that takes the place of a lost one, and that process for signalling that comes back.
//
// Only processes of the same user are heard (SO_PEERCRED; the socket has mode 0600). Every datagram is checked as if a
// stranger had written it. The process opens ports, relays, and does nothing else: no configuration, no file, no log but
// a few lines on standard error.
package process
