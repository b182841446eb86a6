package policy

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"time"
)

// What is proven, and for how long. A datagram's source can be forged; who answers a challenge that was sent to an
// address has received there. The nonce in the answer is the proof: nobody else has seen it.
const (
	nonceLife  = 10 * time.Minute // how long a challenge may be answered
	provenLife = 10 * time.Minute // how long an answer speaks for the address and port that it came from
	answerLife = 64 * time.Second // how long an outcome may take to come back from the PBX
)

// proofs remembers challenges and answers by keyed hashes. Strangers and known peers have tables of their own, so that
// no number of challenged strangers takes the room of a phone.
type proofs struct {
	seed    maphash.Seed
	nonces  [2]agedTable // challenge and the address that it was passed to
	sources [2]agedTable // address and port that has answered one
	answers [2]agedTable // address, port, Call-ID and CSeq of requests that answered one; counts those not yet accounted for
}

func (p *proofs) init(seed maphash.Seed, capacity int) {
	p.seed = seed
	for known := range 2 {
		p.nonces[known].init(nonceLife, 2*capacity)
		p.sources[known].init(provenLife, capacity)
		p.answers[known].init(answerLife, capacity)
	}
}

func (p *proofs) nonceKey(a netip.Addr, nonce uint64) uint64 {
	return p.hash('n', netip.AddrPortFrom(a, 0), nonce, 0)
}

func (p *proofs) hash(kind byte, source netip.AddrPort, text uint64, number uint32) uint64 {
	var b [31]byte
	a := source.Addr().As16()
	copy(b[:], a[:])
	binary.LittleEndian.PutUint16(b[16:], source.Port())
	binary.LittleEndian.PutUint64(b[18:], text)
	binary.LittleEndian.PutUint32(b[26:], number)
	b[30] = kind
	return maphash.Bytes(p.seed, b[:]) | 1
}

// passed notes a challenge that went to a source.
func (p *proofs) passed(now time.Duration, source netip.AddrPort, nonce string, known bool) {
	p.nonces[index(known)].add(now, p.nonceKey(source.Addr(), maphash.String(p.seed, nonce)), 0)
}

// answered reports whether a nonce was passed to this address lately. The port may have changed: a NAT deals them out
// anew.
func (p *proofs) answered(now time.Duration, a netip.Addr, nonce []byte) bool {
	key := p.nonceKey(a, maphash.Bytes(p.seed, nonce))
	// A stranger that was challenged may be a known peer by the time that it answers.
	return p.nonces[0].has(now, key) || p.nonces[1].has(now, key)
}

// see reads the proof that a datagram carries.
func (p *proofs) see(now time.Duration, s *Subject) {
	if !s.Request || !s.Credentials {
		return
	}
	for i := 0; i < len(s.Nonces) && !s.Proven; i++ {
		s.Proven = len(s.Nonces[i]) > 0 && p.answered(now, s.Source.Addr(), s.Nonces[i])
	}
}

// prove notes that a request with an answer came from a source and goes on.
func (p *proofs) prove(now time.Duration, s *Subject, known bool) {
	if !s.Transport.Reliable() {
		p.sources[index(known)].add(now, p.hash('s', s.Source, 0, 0), 0)
	}
	key := p.answerKey(s.Source, maphash.Bytes(p.seed, s.CallID), s.CSeq)
	answers := &p.answers[index(known)]
	if !answers.count(now, key, 0, 1<<15, true) {
		answers.add(now, key, 1)
	}
}

func (p *proofs) answerKey(source netip.AddrPort, callID uint64, cseq uint32) uint64 {
	return p.hash('a', source, callID, cseq)
}

// proven reports whether this address and port has answered a challenge lately.
func (p *proofs) proven(now time.Duration, source netip.AddrPort) bool {
	key := p.hash('s', source, 0, 0)
	return p.sources[0].has(now, key) || p.sources[1].has(now, key)
}

// account takes one of the requests with an answer that a source sent under a Call-ID and CSeq. It reports false if there
// is none left: then it was no answer of ours, or the outcome was told before.
func (p *proofs) account(now time.Duration, source netip.AddrPort, callID string, cseq uint32) bool {
	key := p.answerKey(source, maphash.String(p.seed, callID), cseq)
	for known := range p.answers {
		if p.answers[known].take(now, key) {
			return true
		}
	}
	return false
}

// has reports whether a key is alive.
func (t *agedTable) has(now time.Duration, key uint64) bool {
	return t.with(now, key, func(*agedKey) bool { return true })
}

// take lowers a key's first counter. It reports false if there is nothing to take.
func (t *agedTable) take(now time.Duration, key uint64) bool {
	return t.with(now, key, func(k *agedKey) bool {
		if k.counts[0] == 0 {
			return false
		}
		k.counts[0]--
		return true
	})
}

// index is the place of strangers or of known peers in a pair of tables.
func index(known bool) int {
	if known {
		return 1
	}
	return 0
}

// Challenged tells the guard that a 401 or 407 was passed to a source: one request with credentials from there is not
// charged, and one that answers this nonce proves that the source receives what is sent to it. An empty nonce proves
// nothing.
func (g *Guard) Challenged(now time.Time, source netip.AddrPort, nonce string) {
	a := source.Addr().Unmap().WithZone("")
	g.state.challenged(now, a)
	if nonce != "" {
		g.state.conduct.proofs.passed(g.state.age(now), netip.AddrPortFrom(a, source.Port()), nonce, g.directory().known(a))
	}
}
