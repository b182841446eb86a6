package ice

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // RFC 8489 §14.5: MESSAGE-INTEGRITY is HMAC-SHA1
	"encoding/binary"
	"hash"
	"hash/crc32"
	"net/netip"
)

// The lengths of our credentials in characters: more than the 24 and 128 bits of RFC 8445 §5.3.
const (
	FragmentLen = 8
	PasswordLen = 24
)

// Credentials are a leg's own user fragment and password, of ice-chars (RFC 8839 §5.4).
type Credentials struct {
	Fragment [FragmentLen]byte
	Password [PasswordLen]byte
}

// Verdict is what a check comes to.
type Verdict uint8

// The verdicts.
const (
	Silent    Verdict = iota // not authentic, or no check: no answer
	Answered                 // authentic: the answer is to be sent
	Nominated                // authentic, and the peer wants this pair (RFC 8445 §8.1.1)
	Refused                  // authentic, and an error is to be sent
)

// Agent answers the checks of one leg. It belongs to one goroutine at a time.
type Agent struct {
	own Credentials
	mac hash.Hash
	sum [sha1.Size]byte
}

// NewAgent makes the agent of a leg.
func NewAgent(own Credentials) *Agent {
	return &Agent{own: own, mac: hmac.New(sha1.New, own.Password[:])}
}

// Own are the credentials that the agent was made with.
func (a *Agent) Own() Credentials { return a.own }

// STUN as far as a lite agent needs it (RFC 8489 §5, §14; RFC 8445 §16.1).
const (
	headerLen = 20
	cookie    = 0x2112A442

	bindingRequest  = 0x0001
	bindingResponse = 0x0101
	bindingError    = 0x0111

	attrUsername       = 0x0006
	attrIntegrity      = 0x0008
	attrErrorCode      = 0x0009
	attrUnknown        = 0x000A
	attrXORMapped      = 0x0020
	attrPriority       = 0x0024
	attrUseCandidate   = 0x0025
	attrFingerprint    = 0x8028
	attrControlled     = 0x8029
	attrControlling    = 0x802A
	firstOptional      = 0x8000 // attributes from here may be ignored
	integrityLen       = 4 + sha1.Size
	fingerprintLen     = 8
	fingerprintXOR     = 0x5354554e
	roleConflict       = 487
	unknownAttribute   = 420
	maxUnknownReported = 4
)

// request is what a check says.
type request struct {
	priority             uint32
	username             []byte
	integrity            int // where MESSAGE-INTEGRITY stands; 0: nowhere
	fingerprint          int
	nominates, conflicts bool
	unknown              [maxUnknownReported]uint16
	unknowns             int
}

// MaxAnswer is the length of the longest answer: a success to an IPv6 address.
const MaxAnswer = headerLen + 24 + integrityLen + fingerprintLen

// Check judges a datagram from a source, and writes the answer into into, which should have room for MaxAnswer bytes; it
// may be the datagram's own memory. The priority is that of the peer's candidate (RFC 8445 §7.1.1).
func (a *Agent) Check(datagram []byte, from netip.AddrPort, into []byte) (answer []byte, v Verdict, priority uint32) {
	r, ok := read(datagram)
	if !ok || !a.authentic(datagram, &r) {
		return nil, Silent, 0
	}
	var id [12]byte
	copy(id[:], datagram[8:headerLen])
	w := writer{b: into[:0:cap(into)]}
	switch {
	case r.unknowns > 0:
		// RFC 8489 §6.3.1: an unknown attribute that must be understood.
		w.begin(bindingError, id)
		w.refusal(unknownAttribute)
		w.unknown(r.unknown[:r.unknowns])
		v = Refused
	case r.conflicts:
		// RFC 8445 §7.3.1.1: both sides would be controlled; the other one repairs it, since a lite agent cannot control.
		w.begin(bindingError, id)
		w.refusal(roleConflict)
		v = Refused
	default:
		w.begin(bindingResponse, id)
		w.mapped(from, id)
		if v = Answered; r.nominates {
			v = Nominated
		}
	}
	a.seal(&w)
	return w.b, v, r.priority
}

// read takes a binding request apart. It reports false for everything else.
func read(b []byte) (r request, ok bool) {
	if len(b) < headerLen || binary.BigEndian.Uint16(b) != bindingRequest || binary.BigEndian.Uint32(b[4:]) != cookie ||
		int(binary.BigEndian.Uint16(b[2:])) != len(b)-headerLen || len(b)&3 != 0 {
		return r, false
	}
	for at := headerLen; at < len(b); {
		if at+4 > len(b) || r.fingerprint != 0 { // RFC 8489 §14.7: FINGERPRINT is the last one
			return r, false
		}
		kind, n := binary.BigEndian.Uint16(b[at:]), int(binary.BigEndian.Uint16(b[at+2:]))
		end := at + 4 + (n+3)&^3
		if end > len(b) {
			return r, false
		}
		// RFC 8489 §14.5: what stands behind MESSAGE-INTEGRITY is ignored, FINGERPRINT apart.
		if r.integrity == 0 || kind == attrFingerprint {
			if !r.take(kind, at, b[at+4:at+4+n]) {
				return r, false
			}
		}
		at = end
	}
	return r, r.integrity != 0 && len(r.username) > 0
}

// take reads an attribute that stands at an offset.
func (r *request) take(kind uint16, at int, value []byte) bool {
	switch kind {
	case attrUsername:
		r.username = value
	case attrIntegrity:
		r.integrity = at
		return len(value) == sha1.Size
	case attrFingerprint:
		r.fingerprint = at
		return len(value) == 4
	case attrUseCandidate:
		r.nominates = true
	case attrControlled:
		r.conflicts = true
	case attrPriority:
		if len(value) == 4 {
			r.priority = binary.BigEndian.Uint32(value)
		}
	case attrControlling:
	default:
		if kind < firstOptional && r.unknowns < maxUnknownReported {
			r.unknown[r.unknowns] = kind
			r.unknowns++
		}
	}
	return true
}

// authentic checks whom a request is for, its integrity, and its fingerprint where it has one.
func (a *Agent) authentic(b []byte, r *request) bool {
	// RFC 8445 §7.2.2: USERNAME is the fragment of who is asked, a colon, that of who asks.
	if len(r.username) < FragmentLen+1 || string(r.username[:FragmentLen]) != string(a.own.Fragment[:]) || r.username[FragmentLen] != ':' {
		return false
	}
	if r.fingerprint != 0 {
		sum := crc32.ChecksumIEEE(b[:r.fingerprint]) ^ fingerprintXOR
		if binary.BigEndian.Uint32(b[r.fingerprint+4:]) != sum {
			return false
		}
	}
	return hmac.Equal(a.integrity(b[:r.integrity]), b[r.integrity+4:][:sha1.Size])
}

// integrity is the HMAC of a message up to MESSAGE-INTEGRITY, whose header says that it ends behind that (RFC 8489 §14.5).
func (a *Agent) integrity(b []byte) []byte {
	var length [2]byte
	binary.BigEndian.PutUint16(length[:], uint16(len(b)+integrityLen-headerLen))
	a.mac.Reset()
	_, _ = a.mac.Write(b[:2])
	_, _ = a.mac.Write(append(a.sum[:0], length[:]...))
	_, _ = a.mac.Write(b[4:])
	return a.mac.Sum(a.sum[:0])
}

// seal closes an answer with its integrity and fingerprint.
func (a *Agent) seal(w *writer) {
	sum := a.integrity(w.b)
	w.attribute(attrIntegrity, sha1.Size)
	w.b = append(w.b, sum...)
	w.length(fingerprintLen)
	crc := crc32.ChecksumIEEE(w.b) ^ fingerprintXOR
	w.attribute(attrFingerprint, 4)
	w.b = binary.BigEndian.AppendUint32(w.b, crc)
	w.length(0)
}

// writer puts an answer together.
type writer struct{ b []byte }

func (w *writer) begin(kind uint16, id [12]byte) {
	w.b = binary.BigEndian.AppendUint16(w.b, kind)
	w.b = append(w.b, 0, 0)
	w.b = binary.BigEndian.AppendUint32(w.b, cookie)
	w.b = append(w.b, id[:]...)
}

// length writes the header's length, with so much to come.
func (w *writer) length(more int) {
	binary.BigEndian.PutUint16(w.b[2:], uint16(len(w.b)+more-headerLen))
}

func (w *writer) attribute(kind uint16, n int) {
	w.b = binary.BigEndian.AppendUint16(w.b, kind)
	w.b = binary.BigEndian.AppendUint16(w.b, uint16(n))
}

// mapped writes XOR-MAPPED-ADDRESS (RFC 8489 §14.2).
func (w *writer) mapped(at netip.AddrPort, id [12]byte) {
	const family4, family6 = 1, 2
	var pad [16]byte
	binary.BigEndian.PutUint32(pad[:], cookie)
	copy(pad[4:], id[:])
	port := at.Port() ^ cookie>>16
	if a := at.Addr().Unmap(); a.Is4() {
		w.attribute(attrXORMapped, 8)
		w.b = append(w.b, 0, family4, byte(port>>8), byte(port))
		for i, v := range a.As4() {
			w.b = append(w.b, v^pad[i])
		}
	} else {
		w.attribute(attrXORMapped, 20)
		w.b = append(w.b, 0, family6, byte(port>>8), byte(port))
		for i, v := range a.As16() {
			w.b = append(w.b, v^pad[i])
		}
	}
}

// refusal writes ERROR-CODE (RFC 8489 §14.8) without a phrase.
func (w *writer) refusal(code int) {
	w.attribute(attrErrorCode, 4)
	w.b = append(w.b, 0, 0, byte(code/100), byte(code%100))
}

func (w *writer) unknown(kinds []uint16) {
	w.attribute(attrUnknown, 2*len(kinds))
	for _, k := range kinds {
		w.b = binary.BigEndian.AppendUint16(w.b, k)
	}
	if len(kinds)&1 == 1 {
		w.b = append(w.b, 0, 0)
	}
}
