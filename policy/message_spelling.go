package policy

import (
	"bytes"
	"sync"

	"sallyport/sbc/userpart"
)

// plains are buffers for values whose escapes have been resolved.
var plains = sync.Pool{New: func() any { b := make([]byte, 0, 512); return &b }}

// plainSpelling is a part of a message with the escapes of its URI resolved; nil: it has none, or is no URI. An escaped character is
// equal to itself (RFC 3261 §19.1.4): who writes "sip:%3204@" shall not get past a rule on "sip:204@". Both spellings are looked at, so that a
// rule may be about the escapes themselves. It goes back to plains.
func plainSpelling(part int, value []byte) *[]byte {
	switch part {
	case partFrom, partTo, partURI:
	default:
		return nil
	}
	if bytes.IndexByte(value, '%') < 0 {
		return nil
	}
	plain, _ := plains.Get().(*[]byte)
	*plain = userpart.AppendPlain((*plain)[:0], value)
	return plain
}
