// Package trace is the flight recorder: the SIP messages that came in last, and the program's answers to the outside,
// in a ring of memory of a fixed size. `sbc record` dumps it, `sbc replay` and `sbc limits suggest` read it.
//
// Noting a message costs one short lock and a copy, and allocates nothing. Strangers have a ring of their own, and at
// most 200 of their messages a second are kept: no flood overwrites what is known of phones, trunks and the PBX. How
// many were left out is counted and told in the dump.
//
// A dump is a pcapng file with made-up IP and UDP headers, so that every tool reads it, messages of TLS connections
// too. It holds no secret that a message carried: the response of credentials, passwords in URIs and keys of media are
// overwritten with as many x. The rest of a message stays byte for byte.
//
// A File is the same for packets as they come, with media among them: what captures are written to.
//
// The room judges nothing, opens no file and no socket, and reads no clock.
//
// RFC 3261 §19.1.1 (passwords in URIs), §20.7, §20.28 (credentials); RFC 4568 §9.1 (keys in SDP); RFC 8839 §5.4
// (ice-pwd); draft-ietf-opsawg-pcapng (the file).
package trace
