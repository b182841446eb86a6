// Package replay runs captured SIP through the guard in virtual time: who is let in, who is refused and by which rule,
// and what another configuration would change. From the same captures it learns rate limits.
//
// A capture is a pcap or pcapng file, made by tcpdump, tshark or the program's own flight recorder. It is read as a
// stream, whatever its size, and everything that is held meanwhile is bounded, whoever wrote the file: IPv4 and IPv6
// fragments are put together, TCP streams are put in order and cut into messages by the framer that runs on the wire.
// What cannot be read (TLS, packets that were cut, a damaged end) is counted and told, and the rest is used.
//
// The messages go through policy.Guard and nothing else: no second implementation of any rule lives here. What the
// running program tells its guard is told by the answers that the capture holds: challenges, registrations and their
// end, calls, and what an answer says about whoever asked, which is judged by sbc/credentials as in the running program.
// An answer to a request that this guard refuses is not told, for it would not have been given. What only the rooms
// behind the guard decide (parser, routes, capacity) is not part of a replay; docs/policy.md has what it cannot know.
//
// RFC 791, RFC 8200, RFC 5722 (fragments); RFC 9293 §3.4 (sequence numbers); RFC 3261 §10.2, §12, §17.1.3, §22.
package replay
