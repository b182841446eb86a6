// Package media is the relay engine: it carries the audio of a call from one side to the other, and nothing else.
//
// It has two halves that share no pointer. The Plane is what signalling holds: the port pool, the wanted state of every
// stream, the media timeout. The Engine is what worker threads hold: a table of legs of fixed size, without pointers,
// indexed by port, and one pure function, Packet, that says for each datagram where it goes. Between them travel
// Commands, each the whole wanted state of one leg, harmless to repeat, and a Board of published counters. A back end
// (media/epoll, media/steer, media/sim) owns the Engine and the sockets; media/process puts it into a process of its own.
//
// Either half may be lost while the other goes on. A new engine is filled from the Plane, and what the old Board counted
// and had proven is kept. A new Plane finds on the Board which legs an earlier one left in use, and hands out none of their
// ports until the engine has freed them.
//
// The engine knows addresses and packet headers. It knows no SIP and no SDP, transcodes nothing, keeps no packet, and
// answers none: a datagram is relayed to the one address that signalling vouched for, or dropped and counted.
//
// Who may speak for a leg is decided by latching (RFC 7362), narrowed so that a third party neither hears nor injects:
//
//   - candidates are the SDP's address and the signalling address of the leg, nothing else;
//   - Off: the SDP's address and port, and the configured sources;
//   - Strict: the SDP's port if it sends within 500 ms, else the port is learned from three valid packets; the 500 ms
//     count from the moment when both sides have an address, since nobody sends before he knows where to, and once more
//     from the 2xx, so that what came while it rang cannot keep the leg from the phone;
//   - Delayed: learned at once from that moment, but the SDP's port may retake within 3 s, and after the 2xx;
//   - Ported: as Strict without the first 500 ms, for a peer whose NAT is known to change ports; the SDP's port may retake
//     within 500 ms;
//   - once locked only signalling moves a leg; or a NAT that rebinds: same address, another port, the locked one
//     silent for 500 ms, same SSRC, next sequence numbers; or five seconds without a valid packet;
//   - an RTCP port is learned by the same rules, and only from reports that name the SSRC of the RTP leg.
//
// What is left is a race: between the answer and the lock, a host with the peer's own address and a negotiated payload
// type may be first, if the peer does not send from its SDP's port in time. Strict pays for its safety with up to 500 ms of
// a phone's first words where the NAT changes ports, until signalling knows that it does; Delayed does not.
//
// A peer hears its own payload types (Numbering), and where it is Continuous one SSRC, one sequence and one clock, whichever
// sources take turns behind the gate; RTCP says what goes with it (RFC 2198 §3, 3550 §6.4, 3611 §4, 4585 §6). What one engine
// has put together so is lost with it: the next one lets the peer hear the source as it is.
//
// RTCP says of a peer no more than that: figures, feedback, and which streams are of one participant, under another name
// (media/cname). Other items of SDES, texts, APP, extensions and what is not well formed do not pass, either way.
//
// Digits (RFC 4733) are told to signalling once they are over, each once, by a ring on the Board and a hint; Tones are played
// by the clock: Due says when, Play sends. While a tone lasts its peer hears nothing else, and in one sequence with what it
// heard before and hears after.
//
// Figures are counted as packets come and read off the peers' RTCP, and stand on the Board: what each peer sent and what is
// missing of it, what each peer says of what it was sent, the round trip to it. Quality is an estimate on the reading side
// (Estimate, Scores); no packet waits for it. What a peer may send at most is bounded in rate and size (Police).
//
// Those who look on get copies of a call's datagrams (Plane.Tap): the worker leaves them in a ring of fixed size, what finds no
// room is lost and counted, and the call goes on as before.
//
// RFC 3550 (RTP, RTCP: §6.4, §A.1, §A.3, §A.8), RFC 3551 §6 (payload types), RFC 4961 (symmetric RTP), RFC 5761 (RTCP on the
// RTP port), RFC 4733 (telephone events), RFC 7362 (latching), RFC 7983 (telling protocols apart on one
// port), RFC 3611 (extended reports), ITU-T G.107 and G.113 (quality).
package media
