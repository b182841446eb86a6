package media

// agreed is what is known of a leg whose keys come of a handshake: the keys, and with whom.
type agreed struct {
	peer   Identity
	crypto Crypto
}

// agreed notes the keys that a handshake has come to. They live as long as the stream, so that an engine that takes the
// place of a lost one protects the call as before: the peer would not notice that it is to shake hands again.
func (p *Plane) agreed(a Agreement) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a.Leg < 0 || int(a.Leg) >= p.layout.Legs() || p.byPair[a.Leg/2] == none {
		return
	}
	s := &p.streams[p.byPair[a.Leg/2]]
	for side, pair := range s.pair {
		if s.live && s.generation == a.Generation && int32(pair*2) == a.Leg && s.want[side].Peer == a.Peer {
			s.agreed[side] = agreed{a.Peer, a.Crypto}
		}
	}
}

// withKeys gives a command the keys that are known for its peer.
func (s *stream) withKeys(side int, c *Command) {
	if k := &s.agreed[side]; c.flags&flagDTLS != 0 && k.crypto.Suite != NoCrypto && k.peer == c.peer {
		c.crypto = k.crypto
		c.flags |= flagSecure
	}
}

// Fingerprint is that of our certificate, for the SDP of legs whose keys come of a handshake. It reports false if the
// back end has no handshakes. It changes with the media process.
func (p *Plane) Fingerprint() (Fingerprint, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.board.Fingerprint()
}
