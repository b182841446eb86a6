// Package natlab is a network in memory: hosts, UDP sockets and the impairments of real paths (loss, duplication,
// delay, reordering, MTU, full socket buffers, ICMP), so that the whole program runs in virtual time inside a
// testing/synctest bubble and replays from a seed.
//
// Nothing in it enters the kernel: a blocked read waits on a sync.Cond, a datagram under way on one timer of the
// network. It keeps no goroutine of its own. Make the network inside the bubble that uses it, and Close it there.
//
// A datagram goes the way host → uplink → (path) → node. Hosts are the only nodes and the network the only uplink
// as long as no NAT box stands between them.
//
// Tests and the demonstration import it, the program never does. It knows no SIP and no RTP.
//
// RFC 768, RFC 792 and RFC 4443 (port unreachable), RFC 1122 §4.1.3.3 (ICMP reaches the sender's socket).
package natlab
