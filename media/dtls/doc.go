// Package dtls agrees on the keys of SRTP with a peer by a DTLS handshake on its media path (DTLS-SRTP).
//
// It stands beside the packet path. A back end hands in the DTLS records of its legs, and gets records to send and, once a
// peer has shown that it holds the certificate that signalling vouched for, the keys. It carries no media and no
// application data, resumes no session, renegotiates nothing, and speaks to nobody on whose records the engine has not
// decided that he may be the leg's peer: a handshake costs a thousand times what a packet costs.
//
// There is one handshake a leg at a time, and a bound for those that are under way.
//
// RFC 5763, RFC 5764 (DTLS-SRTP), RFC 8122 (fingerprints), RFC 8842 (setup).
package dtls
