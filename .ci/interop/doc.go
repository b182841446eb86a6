// Package interop runs the program between real peers in network namespaces: sipp plays the provider outside and the PBX
// inside, and what both ends see on the wire decides. Where order within a millisecond matters or a peer has to behave
// badly, sockets of the test's own play the peer.
//
// The tests carry the build tag "interop" and need root, sipp, iproute2 and tshark; `make interop` brings what is missing.
// Every test makes a world of its own and removes it, and what it leaves (configuration, logs, message files, captures)
// is kept when it fails.
package interop
