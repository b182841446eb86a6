// Package capture writes what happens to a subject into pcapng files while it happens: the SIP messages of a source, of a call
// or of a phone, on both legs, and the media of those calls. `sbc capture` has it sent to the administrator's client; message
// rules with capture: true have what they match written into files of bounded size and number.
//
// A Set holds the captures under way. Readers show it what came and what the guard said (Heard), what they have answered by
// themselves (Answered), and ask whether a source is to be looked at although it floods (Asks); the core's turn shows it what
// leaves (Sent) and which user is gone (Ended); the relay hands it copies of the streams that it had tapped (Copied). While
// nobody captures, each of these costs one atomic load and allocates nothing.
//
// A capture follows a call from its first message on, or from where it stands: the Call-IDs of its legs and its streams. A
// message belongs to the calls whose Call-ID it has, so both legs are in one file although they have nothing in common on the
// wire.
//
// Nobody who carries a call waits for a file. What finds no room in a capture's queue is lost and counted, and the file says
// how much that was. Time, size, number and memory of captures are bounded.
//
// No secret gets into a file: credentials, passwords in URIs and keys of media are overwritten (sbc/trace). Where media is
// decrypted, SDP says so, lest whoever reads the file take it for SRTP.
//
// The room decides nothing about a message and changes none. It opens no socket, knows neither how a call works nor who may
// ask for a capture, and looks into the program through Program alone. What came in before somebody asked is the flight
// recorder's (sbc/trace).
//
// RFC 3261 §8.1.1.4 (Call-ID), §12 (dialogs); RFC 4568 §9.1 (keys in SDP); draft-ietf-opsawg-pcapng (the file, which sbc/trace
// writes).
package capture
