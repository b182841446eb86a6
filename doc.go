// Package sallyport is the root of a session border controller: a SIP-aware gate with two doors, one outside towards
// trunk providers and roaming phones, one inside towards the PBX.
//
// The root holds no code. It is the place of the tests that keep the laws of the house: which room may import which,
// what a pure room refrains from, how long a file may grow. The program is cmd/sbc; the assembly of all rooms is sbc.
package sallyport
