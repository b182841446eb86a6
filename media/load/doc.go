//go:build linux

// Package load is what the relay is measured with: endpoints that send and receive, each at an address of its own, a relay
// of raw system calls as the floor, and the plan of a load that both and the relay under test share. It stands beside the
// program and is never part of it.
//
// The Generator is open loop: packets leave at the planned moments whatever comes back, as voice does. It sends RTP
// packets of G.711 size (RFC 3551 §4.5.14, 20 ms), evenly spread over all streams, from two sockets only: each packet's
// control message names its sender's address, so that the relay meets as many sources as there are endpoints. It checks
// that each packet comes out at the other side, from the port that stream has there.
//
// The delay of a packet runs from the moment when it is handed to the batch that is sent to the kernel's stamp on its
// arrival; the time in a batch, some ten microseconds, is in it, for every relay alike.
//
// The Floor relays between fixed sockets, with an epoll loop and one receive and one send for each packet. It checks
// nothing, counts nothing and knows no call: what a relay costs beyond it is the relay's own.
//
// All of it is IPv4 and meant for loopback, where a whole network of addresses (127.0.0.0/8) is at hand.
package load
