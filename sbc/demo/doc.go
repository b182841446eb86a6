// Package demo is the demonstration: the gate as it is, on loopback, between a stand-in provider, a phone behind a NAT and
// a stand-in PBX that make real calls with audio through it. Run plays its scenes, draws the ladder of each call over both
// legs, judges the audio by marks in the payloads, lets strangers scan the gate, and looks through everything that the gate
// sent to one side for what belongs to the other. It needs Linux, where all of 127.0.0.0/8 is the loopback interface.
//
// Its Agent is a small scripted user agent, which the whole-program tests use too, on any packet connection or stream, in
// real and in virtual time. As a phone it registers, answers digest challenges, refreshes, and lives on when its NAT or its
// connection changes; with a Registrar it is what phones register at.
//
// It is no PBX: an Agent answers, rings, refuses and hangs up as its script says, and knows no features.
//
// RFC 3261 §9, §10, §13–15, §22, 3264, 3550, 3551, 5626 §4.4.1, 7616.
package demo
