// Package sdp is a lossless editor of session descriptions. A description is held as the lines it came in; an edit
// touches the lines that must change and no other, and an untouched description comes out byte for byte, line ends
// included. Attributes, formats and protocols that it does not know (T.38, MSRP, vendor extensions) pass as they are.
//
// It reads what a relay must know of a stream (address, ports, direction, payload types and what they stand for), puts the
// relay's address in the place of the peer's, gives payload types other numbers, and takes out every line that could show
// an address, a host or a product of the other side.
//
// It refuses to choose codecs, to resolve host names, to judge whether an address is a fit destination (package nat
// does) and to normalise. Sloppy descriptions of real equipment are read as they are meant: bare line feeds, a missing
// last line end, a missing o=, s= or t= line, blanks in the user name of o=, any order of c= and t=, lower-case "in ip4",
// numbers of any length in o=. Of the lines that carry keys only those are read that every receiver reads alike.
//
// RFC 8866 (SDP), 4568 (a=crypto), 8122 (a=fingerprint), 8842 (a=setup), 3264 and 6337 (offer and answer), 3605 (a=rtcp), 5761
// (a=rtcp-mux), 8839 (ICE), 9143 (bundles), 5621 (bodies in several parts).
package sdp
