// Package scan looks at the raw bytes of one SIP message and says where its parts are, before anything is parsed.
//
// The guard judges strangers by it: a message that is dropped costs one linear pass, no allocation and no copy. The
// stream framer cuts TCP and TLS streams into messages with the same scan, so that both are filtered alike.
//
// The scan is strict about structure (line ends, header names, sizes, the few numbers it reads) and blind to meaning:
// it knows no method, no URI and no extension. It holds spans only, allocates nothing, imports nothing of the program
// and keeps no state. What it accepts is not yet a valid message; sbc/message decides that, and compares its own
// findings with the scan's.
//
// RFC 3261 §7, §7.3, §7.5, §18.3, §20, §25.1; RFC 5626 §3.5.1 (CRLF keep-alives); RFC 8489 §5 (STUN header).
package scan
