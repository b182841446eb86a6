package media

import "net/netip"

// Keying agrees on keys with the peers of legs by DTLS handshakes, beside the packet path. Its functions do not wait; the
// thread of the leg calls them.
type Keying interface {
	// Want says who the peer of a leg is; repeating it is harmless.
	Want(leg int32, generation uint32, peer Identity)
	// Begin says where the peer of an active leg is.
	Begin(leg int32, generation uint32, to netip.AddrPort)
	// Take takes a DTLS record that came from where the peer may be.
	Take(leg int32, generation uint32, from netip.AddrPort, record []byte)
	// Forget ends a leg's handshake or association.
	Forget(leg int32)
}

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
func (e *Engine) handshake(c *Command) {
	l, known := &e.legs[c.Leg], e.peers[c.Leg/2]
	for i := int(c.Leg); i <= int(c.Leg)+1; i++ {
		e.examine(i, c)
	}
	if c.flags&flagDTLS == 0 {
		e.leave(c.Leg)
		return
	}
	e.peers[c.Leg/2] = c.peer
	if e.keying == nil || c.flags&flagSecure != 0 && known != c.peer {
		return // an earlier engine had the handshake: the keys have come with the command
	}
	e.keying.Want(c.Leg, c.Generation, c.peer)
	if c.peer.Role == Active && l.remote.usable() && (l.state == stateLocked || c.flags&flagChecked == 0) {
		e.keying.Begin(c.Leg, c.Generation, l.remote.AddrPort())
	}
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

// carry hands a DTLS record over, if it is from where the peer may be: by ICE a checked address, else one that signalling
// vouches for. Whoever it is, he must show the peer's certificate before anything follows from it.
func (e *Engine) carry(now int64, i int, l *leg, from Endpoint, h *header, record []byte) Verdict {
	r := e.ruling(i)
	switch {
	case e.keying == nil || l.is(flagControl):
		return e.reject(i, RejectedDTLS)
	case l.is(flagChecked):
		if why := e.checked(now, i, l, from, h); why != Accepted {
			return e.reject(i, why)
		}
	case from.port == 0 || e.isOwn(from) || from != l.remote && !r.candidate(from):
		return e.reject(i, RejectedSource)
	}
	e.keying.Take(int32(i), l.generation, from.AddrPort(), record)
	return Verdict{Why: RejectedDTLS} // taken, and not counted as rejected
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
