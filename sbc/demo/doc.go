// Package demo is the demonstration: the gate on loopback between a stand-in provider and a stand-in PBX that make real
// calls with audio through it. Its Agent is a small scripted user agent, which the whole-program tests use too, on any
// packet connection, in real and in virtual time.
//
// It is no PBX: an Agent answers, rings, refuses and hangs up as its script says, echoes audio, and knows no features.
package demo
