package media

import "slices"

// Certificate is ours, which our handshakes show. Signalling keeps it for the next media process: what was told of it in
// descriptions is true there, too. The empty one is none.
type Certificate struct {
	DER []byte
	Key []byte // PKCS #8
}

// String tells nothing of it: it may go into a log by mistake.
func (Certificate) String() string { return "certificate" }

// GoString is String.
func (c Certificate) GoString() string { return c.String() }

// Empty reports whether there is none.
func (c Certificate) Empty() bool { return len(c.DER) == 0 || len(c.Key) == 0 }

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
			s.agree(side, agreed{a.Peer, a.Crypto})
		}
	}
}

// mostAgreed bounds the peers of one leg whose keys are kept: while it rings, several may answer in turn.
const mostAgreed = 4

// agree notes keys, in the place of earlier ones of the same peer, or of the peer that has agreed on none for the longest time.
func (s *stream) agree(side int, a agreed) {
	list := slices.DeleteFunc(s.agreed[side], func(k agreed) bool { return k.peer == a.peer })
	if len(list) >= mostAgreed {
		list = slices.Delete(list, 0, 1)
	}
	s.agreed[side] = append(list, a)
}

// withKeys gives a command the keys that are known for its peer.
func (s *stream) withKeys(side int, c *Command) {
	if c.flags&flagDTLS == 0 {
		return
	}
	for i := range s.agreed[side] {
		if k := &s.agreed[side][i]; k.peer == c.peer {
			c.crypto = k.crypto
			c.flags |= flagSecure
		}
	}
}

// Fingerprint is that of our certificate, for the SDP of legs whose keys come of a handshake. It reports false if the
// back end has no handshakes. It stays the same when another media process takes the place of a lost one.
func (p *Plane) Fingerprint() (Fingerprint, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.board.Fingerprint()
}
