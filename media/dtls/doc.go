// Package dtls agrees on the keys of SRTP with a peer by a DTLS handshake on its media path (DTLS-SRTP).
//
// It stands beside the packet path. A back end hands in the DTLS records of its legs, and gets records to send and, once a
// peer has shown that it holds the certificate that signalling vouched for, the keys. It carries no media and no
// application data, resumes no session, renegotiates nothing, and speaks to nobody on whose records the engine has not
// decided that he may be the leg's peer: a handshake costs a thousand times what a packet costs.
//
// Behind a NAT a peer is not told from others by its address. So each source that may be the peer has a handshake of its own, of
// which no other knows or can change anything: few a leg, and few in all. The first that comes to its end with the certificate
// ends the others. A peer that has shown by ICE where it is has one, from wherever it comes.
//
// RFC 5763, RFC 5764 (DTLS-SRTP), RFC 8122 (fingerprints), RFC 8842 (setup).
package dtls
