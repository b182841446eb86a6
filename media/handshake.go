package media

import "net/netip"

// Keying agrees on keys with the peers of legs by DTLS handshakes, beside the packet path. Its functions do not wait; the
// thread of the leg calls them.
type Keying interface {
	// Want says who the peer of a leg is; repeating it is harmless.
	Want(leg int32, generation uint32, peer Identity)
	// Begin says where the peer of an active leg is.
	Begin(leg int32, generation uint32, to netip.AddrPort)
	// Take takes a DTLS record that came from where the peer may be. Nothing of the record is kept.
	Take(leg int32, generation uint32, from netip.AddrPort, s Standing, record []byte)
	// Forget ends a leg's handshake or association.
	Forget(leg int32)
}

// Standing is what the engine knows of who has sent a record.
type Standing uint8

// The standings.
const (
	Possible Standing = iota // it comes from the peer's address, as whatever else is behind the same NAT
	Named                    // it comes from the very port that signalling has named
	Proven                   // its sender has shown by checks that it is the peer, wherever it is (RFC 8445)
)

// Agreement is what a handshake has come to.
type Agreement struct {
	Leg        int32
	Generation uint32
	From       Endpoint // where the peer that has shown its certificate is
	Peer       Identity // who it is; keys that were agreed upon with somebody else are none
	Crypto     Crypto
}

// SetKeying gives the engine what its legs with DTLS need. Without it they stay silent.
func (e *Engine) SetKeying(k Keying) { e.keying = k }

// keeps is what a command does not say of a leg whose keys came of a handshake: that it is protected by them, as long as
// the peer is the same.
func (e *Engine) keeps(c *Command) flags {
	l := &e.legs[c.Leg]
	if l.state != stateFree && l.generation == c.Generation && c.flags&flagDTLS != 0 && e.peers[c.Leg/2] == c.peer {
		return l.flags & flagSecure
	}
	return 0
}

// handshake follows a command: who the leg's peer is, and whether it is still the one whose keys are known.
func (e *Engine) handshake(now int64, c *Command) {
	l := &e.legs[c.Leg]
	for i := int(c.Leg); i <= int(c.Leg)+1; i++ {
		e.examine(i, c)
	}
	if c.flags&flagDTLS == 0 {
		e.leave(c.Leg)
		return
	}
	e.peers[c.Leg/2] = c.peer
	if e.keying == nil {
		return
	}
	e.keying.Want(c.Leg, c.Generation, c.peer)
	// Where the keys are known, by an earlier engine or before another peer was tried, nobody begins anew but the peer.
	if c.peer.Role == Active && !l.is(flagSecure) && l.remote.usable() && (l.state == stateLocked || c.flags&flagChecked == 0) {
		e.keying.Begin(c.Leg, c.Generation, l.remote.AddrPort())
	}
	e.recall(now, int(c.Leg))
}

// leave ends the handshake or association of a leg.
func (e *Engine) leave(i int32) {
	if i&1 == 0 && e.peers[i/2].Role != NoDTLS {
		e.peers[i/2] = Identity{}
		if e.keying != nil {
			e.keying.Forget(i)
		}
	}
}

// carry hands a DTLS record over, if it is from where the peer may be. Whoever it is, he must show the peer's certificate
// before anything follows from it.
func (e *Engine) carry(now int64, i int, l *leg, from Endpoint, h *header, record []byte) Verdict {
	standing, why := e.mayShake(now, i, from, h)
	if why != Accepted {
		if why == RejectedSource {
			e.tooEarly(now, i, from, record) // an answer that names another peer may be on its way
		}
		return e.reject(i, why)
	}
	e.keying.Take(int32(i), l.generation, from.AddrPort(), standing, record)
	return Verdict{Why: RejectedDTLS} // taken, and not counted as rejected
}

// mayShake judges who sends a record: by ICE an address must have been checked, else be one that signalling vouches for. h
// is nil for a record of a while ago.
func (e *Engine) mayShake(now int64, i int, from Endpoint, h *header) (s Standing, why Rejection) {
	l, r := &e.legs[i], e.ruling(i)
	switch {
	case e.keying == nil || !l.is(flagDTLS) || l.is(flagControl):
		return 0, RejectedDTLS
	case l.is(flagChecked) && h == nil:
		return Proven, e.hasChecked(i, l, from)
	case l.is(flagChecked):
		return Proven, e.checked(now, i, l, from, h)
	case from.port == 0 || e.isOwn(from):
		return 0, RejectedSource
	case from == l.remote || from == r.exact:
		return Named, Accepted
	case r.candidate(from):
		return Possible, Accepted
	}
	return 0, RejectedSource
}

// Agree puts the keys of a handshake in force. It reports false if the leg has another stream by now, or another peer.
func (e *Engine) Agree(now int64, k *Agreement) bool {
	i := int(k.Leg)
	if i < 0 || i >= len(e.legs) || i&1 != 0 {
		return false
	}
	l := &e.legs[i]
	if l.state == stateFree || l.generation != k.Generation || !l.is(flagDTLS) || e.peers[i/2] != k.Peer {
		return false
	}
	e.arm(now, &Command{Leg: k.Leg, Generation: k.Generation, flags: flagSecure, extras: extras{crypto: k.Crypto}})
	l.flags |= flagSecure
	e.legs[i+1].flags |= flagSecure
	if l.mode != Off && !l.is(flagChecked) && l.state != stateFixed && k.From.usable() && e.ruling(i).candidate(k.From) {
		// The certificate is a better proof of where the peer is than three packets.
		e.lock(now, i, l, e.ruling(i), k.From)
	}
	return true
}
