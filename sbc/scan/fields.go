package scan

import (
	"encoding/binary"
	"math/bits"
)

// isToken tells the bytes of a token (RFC 3261 §25.1).
var isToken = func() (t [256]bool) {
	for _, c := range "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.!%*_+`'~" {
		t[c] = true
	}
	return t
}()

// IsToken reports whether a byte may stand in a token.
func IsToken(c byte) bool { return isToken[c] }

// control returns the offset of the first byte below 0x20 from an offset on, or len(data). Eight bytes at a time: the
// subtraction sets the top bit of a byte below 0x20 by its borrow; bytes that had the top bit set are masked out.
func control(data []byte, at int) int {
	const (
		spaces = 0x2020202020202020
		tops   = 0x8080808080808080
	)
	for ; at+8 <= len(data); at += 8 {
		x := binary.LittleEndian.Uint64(data[at:])
		if low := (x - spaces) &^ x & tops; low != 0 {
			return at + bits.TrailingZeros64(low)/8 // borrows run upwards: the lowest one is true
		}
	}
	for at < len(data) && data[at] >= ' ' {
		at++
	}
	return at
}

// isSpace tells the bytes of linear white space, a folded line end included.
func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

func trim(data []byte, from, end int) Span {
	for from < end && isSpace(data[from]) {
		from++
	}
	for end > from && isSpace(data[end-1]) {
		end--
	}
	return Span{uint32(from), uint32(end)}
}

// foldEqual compares with a lower-case ASCII word.
func foldEqual(b []byte, word string) bool {
	if len(b) != len(word) {
		return false
	}
	for i := range len(word) {
		c := b[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != word[i] {
			return false
		}
	}
	return true
}

// number reads an unsigned decimal number up to most, leading zeros allowed.
func number(b []byte, most uint64) (n uint64, ok bool) {
	if len(b) == 0 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		if n = n*10 + uint64(c-'0'); n > most {
			return 0, false
		}
	}
	return n, true
}

// note takes in one header field if it is one of those that a View knows, by its long or its compact name.
func (v *View) note(name, value Span) error {
	n := v.data[name.Start:name.End]
	switch len(n) {
	case 1:
		return v.noteCompact(n[0]|0x20, value)
	case 2:
		if foldEqual(n, "to") {
			return v.noteCompact('t', value)
		}
	case 3:
		if foldEqual(n, "via") {
			return v.noteCompact('v', value)
		}
	case 4:
		if foldEqual(n, "from") {
			return v.noteCompact('f', value)
		}
		if foldEqual(n, "cseq") {
			return v.noteCSeq(value)
		}
	case 6:
		if !v.IsRequest && foldEqual(n, "server") {
			v.noteAgent(value)
		}
	case 7:
		if foldEqual(n, "call-id") {
			return v.noteCompact('i', value)
		}
	case 10:
		if v.IsRequest && foldEqual(n, "user-agent") {
			v.noteAgent(value)
		}
	case 12:
		if foldEqual(n, "max-forwards") {
			return v.noteMaxForwards(value)
		}
	case 13:
		if foldEqual(n, "authorization") {
			v.noteAuthorization(value)
		}
	case 14:
		if foldEqual(n, "content-length") {
			return v.noteCompact('l', value)
		}
	case 19:
		if foldEqual(n, "proxy-authorization") {
			v.noteAuthorization(value)
		}
	}
	return nil
}

// noteCompact takes in a field by its compact name (RFC 3261 §20). Of fields that may occur once the first one counts;
// sbc/message refuses a second.
func (v *View) noteCompact(name byte, value Span) error {
	switch name {
	case 'i':
		if v.CallID.Empty() {
			v.CallID = value
		}
	case 'f':
		if v.From.Empty() {
			v.From, v.FromTag = value, v.tag(value)
		}
	case 't':
		if v.To.Empty() {
			v.To, v.ToTag = value, v.tag(value)
		}
	case 'v':
		if v.Vias++; v.Vias == 1 {
			v.Via = value
			v.firstHop(value)
		}
		if v.Vias > MaxVias {
			return ErrViaCount
		}
	case 'l':
		return v.noteLength(value)
	}
	return nil
}

func (v *View) noteLength(value Span) error {
	v.ContentLengths++
	n, ok := number(v.Bytes(value), 1<<31-1)
	if !ok || (v.ContentLengths > 1 && int(n) != v.ContentLength) {
		return ErrContentLength
	}
	v.ContentLength = int(n)
	return nil
}

func (v *View) noteMaxForwards(value Span) error {
	n, ok := number(v.Bytes(value), 255)
	if !ok {
		return ErrMaxForwards
	}
	if v.MaxForwards < 0 {
		v.MaxForwards = int(n)
	}
	return nil
}

// noteCSeq reads number and method (RFC 3261 §8.1.1.5: below 2³¹).
func (v *View) noteCSeq(value Span) error {
	if !v.CSeqMethod.Empty() {
		return nil
	}
	i := value.Start
	for i < value.End && !isSpace(v.data[i]) {
		i++
	}
	n, ok := number(v.data[value.Start:i], 1<<31-1)
	method := trim(v.data, int(i), int(value.End))
	if !ok || method.Empty() {
		return ErrCSeq
	}
	for _, c := range v.Bytes(method) {
		if !isToken[c] {
			return ErrCSeq
		}
	}
	v.CSeq, v.CSeqMethod = uint32(n), method
	return nil
}

func (v *View) noteAgent(value Span) {
	if v.Agents < MaxAgents {
		v.UserAgents[v.Agents] = value
	}
	v.Agents++
}

func (v *View) noteAuthorization(value Span) {
	if v.Authorization.Empty() {
		v.Authorization = value
	}
	i := value.Start
	for i < value.End && !isSpace(v.data[i]) {
		i++ // the scheme
	}
	// Each that is named counts, whichever of them its reader takes: else one that is there for show would hide another one.
	for nonce := v.param(Span{i, value.End}, ',', "nonce"); nonce.End > 0; nonce = v.param(Span{i, value.End}, ',', "nonce") {
		i = nonce.End
		if n := v.Bytes(nonce); len(n) >= 2 && n[0] == '"' && n[len(n)-1] == '"' {
			nonce = Span{nonce.Start + 1, nonce.End - 1}
		}
		if v.Answers < MaxNonces {
			v.Nonces[v.Answers] = nonce
		}
		v.Answers++
	}
}
