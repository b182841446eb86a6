// Package natlab is a network in memory: hosts, UDP sockets, streams, NAT boxes and the impairments of real paths (loss,
// duplication, delay, reordering, MTU, full socket buffers, ICMP), so that the whole program runs in virtual time
// inside a testing/synctest bubble and replays from a seed.
//
// Nothing in it enters the kernel: a blocked call waits on a sync.Cond, what is under way on one timer of the network.
// It keeps no goroutine of its own. Make the network inside the bubble that uses it, and Close it there.
//
// A datagram goes the way host → uplink → (path) → node. The uplink is the network, or the inner side of a NAT box; a
// node is a host or the outer side of a box. Boxes stand behind boxes as a carrier's do.
//
// Streams are the same way in segments, by a small TCP of 64-bit sequence numbers: handshake, window, repeats with
// back-off, half close, reset. So a lost mapping, a cut cable or a peer that does not read look as they do from a real
// socket. It leaves out what a test of a program cannot see: congestion control, urgent data, TIME_WAIT, checksums.
//
// NAT boxes are described by the terms of RFC 4787: mapping and filtering behaviour, each endpoint-independent,
// address-dependent or address-and-port-dependent; port preservation and parity; refresh; hairpinning. A session is the
// traffic of a private endpoint with one remote. A mapping lives as long as a session of its own, and a filter admits
// the remotes of live sessions. SIPALG is what makes a phone's owner call for help.
//
// Tests and the demonstration import it, the program never does. It knows no RTP, and of SIP what a bad router knows.
//
// RFC 768, RFC 792 and RFC 4443 (port unreachable), RFC 1122 §4.1.3.3 (ICMP reaches the sender's socket), RFC 4787 (NAT
// for UDP), RFC 5382 (for TCP), RFC 5508 (for ICMP), RFC 6888 (carrier-grade), RFC 9293 and RFC 6298 (streams).
package natlab
