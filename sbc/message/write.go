package message

import (
	"errors"
	"strconv"
)

// The errors of Append. Each means a fault of the builder, or foreign text that must not pass.
var (
	ErrWriteControl = errors.New("message holds CR, LF, NUL or another control character; refuse or clean what was copied into it")
	ErrWriteName    = errors.New("header field name is not a token")
	ErrWriteTyped   = errors.New("Via, From, To, Call-ID, CSeq, Max-Forwards and Content-Length are written from their fields, not from Headers")
	ErrWriteStart   = errors.New("start line needs a method and a Request-URI without white space, or a status from 100 to 699")
	ErrWriteMissing = errors.New("message needs Via, From, To, Call-ID and a CSeq method")
)

// Append writes the message behind dst: the only way out for bytes. It refuses line ends and control characters in
// every part, names that are no tokens, and messages that lack what RFC 3261 §8.1.1 demands; dst is then returned as
// it was. It does not allocate if dst has room.
func (m *Message) Append(dst []byte) ([]byte, error) {
	if len(m.Via) == 0 || m.CallID == "" || !ValidToken(m.Method) || m.From.URI.Scheme == "" || m.To.URI.Scheme == "" {
		return dst, ErrWriteMissing
	}
	for i := range m.Headers {
		if err := checkName(m.Headers[i].Name); err != nil {
			return dst, err
		}
	}
	out, err := m.appendStart(dst)
	if err != nil {
		return dst, err
	}
	w := writer{out: out}
	m.write(&w)
	if w.foul {
		return dst, ErrWriteControl
	}
	return append(w.out, m.Body...), nil
}

// appendStart writes the start line (RFC 3261 §7.1, §7.2).
func (m *Message) appendStart(dst []byte) ([]byte, error) {
	out := dst
	if m.IsRequest() {
		out = append(append(out, m.Method...), ' ')
		from := len(out)
		out = m.URI.Append(out)
		for _, c := range out[from:] {
			if c <= ' ' || c == 0x7f {
				return dst, ErrWriteStart
			}
		}
		if m.URI.Scheme == "" || m.URI.User == "" && m.URI.Host == "" {
			return dst, ErrWriteStart
		}
		return append(out, " SIP/2.0\r\n"...), nil
	}
	if m.Status < 100 || m.Status > 699 {
		return dst, ErrWriteStart
	}
	out = append(out, "SIP/2.0 "...)
	out = append(strconv.AppendInt(out, int64(m.Status), 10), ' ')
	from := len(out)
	out = append(out, m.Reason...)
	if foul(out[from:]) {
		return dst, ErrWriteControl
	}
	return append(out, "\r\n"...), nil
}

// write writes the header section.
func (m *Message) write(w *writer) {
	for i := range m.Via {
		w.name("Via")
		w.out = m.Via[i].append(w.out)
		w.end()
	}
	if m.MaxForwards >= 0 {
		w.number("Max-Forwards", m.MaxForwards)
	}
	w.name("From")
	w.out = m.From.Append(w.out)
	w.end()
	w.name("To")
	w.out = m.To.Append(w.out)
	w.end()
	w.field("Call-ID", m.CallID)
	w.name("CSeq")
	w.out = append(strconv.AppendUint(w.out, uint64(m.CSeq), 10), ' ')
	w.out = append(w.out, m.Method...)
	w.end()
	for i := range m.Headers {
		w.field(m.Headers[i].Name, m.Headers[i].Value)
	}
	w.number("Content-Length", len(m.Body))
	w.out = append(w.out, "\r\n"...)
}

// writer appends header fields and remembers whether one of them held what may not be written.
type writer struct {
	out  []byte
	from int // where the value begins
	foul bool

	scrub bool // replace what is foul instead
}

func (w *writer) name(name string) {
	w.out = append(append(w.out, name...), ": "...)
	w.from = len(w.out)
}

func (w *writer) end() {
	for i, c := range w.out[w.from:] {
		if c < ' ' && c != '\t' {
			if w.foul = true; w.scrub {
				w.out[w.from+i] = '?'
			}
		}
	}
	w.out = append(w.out, "\r\n"...)
}

func (w *writer) field(name, value string) {
	w.name(name)
	w.out = append(w.out, value...)
	w.end()
}

func (w *writer) number(name string, n int) {
	w.name(name)
	w.out = append(strconv.AppendInt(w.out, int64(n), 10), "\r\n"...)
}

// foul finds control characters; a tab is white space.
func foul(value []byte) bool {
	for _, c := range value {
		if c < ' ' && c != '\t' {
			return true
		}
	}
	return false
}

// checkName refuses what cannot stand in Headers.
func checkName(name string) error {
	if !ValidToken(name) {
		return ErrWriteName
	}
	switch len(name) { // those of the names below, long and compact: others need no look into the table of names
	case 1, 2, 3, 4, 7, 12, 14:
		switch CanonicalName(name) {
		case "Via", "From", "To", "Call-ID", "CSeq", "Max-Forwards", "Content-Length":
			return ErrWriteTyped
		}
	}
	return nil
}

// appendSource writes received and rport of a hop.
func appendSource(dst []byte, received string, rport int) []byte {
	if received != "" {
		dst = append(append(dst, ";received="...), received...)
	}
	if rport >= 0 {
		dst = append(dst, ";rport"...)
	}
	if rport > 0 {
		dst = strconv.AppendInt(append(dst, '='), int64(rport), 10)
	}
	return dst
}

// String writes the message for logs and golden files, complete or not; control characters outside the body show as
// '?'. It is no substitute for Append.
func (m *Message) String() string {
	w := writer{scrub: true}
	if m.IsRequest() {
		w.out = append(m.URI.Append(append(append(w.out, m.Method...), ' ')), " SIP/2.0"...)
	} else {
		w.out = append(strconv.AppendInt(append(w.out, "SIP/2.0 "...), int64(m.Status), 10), ' ')
		w.out = append(w.out, m.Reason...)
	}
	w.end()
	m.write(&w)
	return string(append(w.out, m.Body...))
}
