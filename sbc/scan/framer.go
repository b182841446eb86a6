package scan

import (
	"bytes"
	"errors"
)

// MaxPending is how many bytes of a stream a Framer holds at most.
const MaxPending = 64 << 10

// keepBuffer is the largest empty buffer that an idle Framer keeps.
const keepBuffer = 4 << 10

// The errors of a Framer, besides those of Scan. After any of them, be it of the frame or of a header field, nothing
// more is read from the stream and it must be closed.
var (
	ErrOverflow     = errors.New("more bytes fed than the framer may hold")
	ErrStreamLength = errors.New("message on a stream without exactly one Content-Length")
	ErrStreamBytes  = errors.New("bytes between messages that are no CRLF")
)

// Framer cuts a TCP or TLS stream into messages (RFC 3261 §18.3): bytes in by Feed, messages out by Next. The end of a
// message is told by its Content-Length alone, so any doubt about it is an error for good: a peer that reads the
// length differently could smuggle one message inside another.
//
// The zero Framer is ready. It belongs to one reader.
type Framer struct {
	buf   []byte // unread bytes are buf[at:]
	at    int
	seen  int  // bytes of buf[at:] that hold no end of a header section
	total int  // length of the message at buf[at:], once its header section is known
	view  View // of that header section
	err   error
}

// Feed adds bytes of the stream; they are copied. Call Next until it says None before feeding more.
func (f *Framer) Feed(p []byte) error {
	if f.err != nil {
		return f.err
	}
	if len(f.buf)-f.at+len(p) > MaxPending {
		return f.fail(ErrOverflow)
	}
	if f.at > 0 {
		f.buf = f.buf[:copy(f.buf, f.buf[f.at:])]
		f.at = 0
	}
	if len(f.buf) == 0 && cap(f.buf) > keepBuffer {
		f.buf = nil
	}
	f.buf = append(f.buf, p...)
	return nil
}

// Pending is the number of bytes that are no whole message yet. A reader whose deadline for a message runs from its
// first byte, not from its last, sees by it when to start the clock.
func (f *Framer) Pending() int { return len(f.buf) - f.at }

// Next returns the next whole message with its View, or KeepAlive for a CRLF CRLF ping (RFC 5626 §3.5.1: answer it
// with one CRLF), or None when more bytes are needed. The message and the View are valid until the next Feed. Single
// CRLFs between messages are skipped (RFC 3261 §7.5).
func (f *Framer) Next(v *View) (kind Kind, msg []byte, err error) {
	if f.err != nil {
		return None, nil, f.err
	}
	if f.total == 0 {
		if kind, done := f.between(); done {
			return kind, nil, f.err
		}
		if err := f.head(); err != nil {
			return None, nil, f.fail(err)
		}
	}
	if f.total == 0 || f.Pending() < f.total {
		return None, nil, nil
	}
	msg = f.buf[f.at : f.at+f.total : f.at+f.total]
	*v = f.view
	v.data = msg
	v.Body = Span{v.HeadEnd, uint32(f.total)}
	f.at += f.total
	f.total, f.seen = 0, 0
	return Message, msg, nil
}

// between takes what may stand between messages. Whether a CRLF is alone shows only with the byte behind it, so the
// answer does not depend on how the stream was cut.
func (f *Framer) between() (Kind, bool) {
	for {
		p := f.buf[f.at:]
		switch {
		case len(p) == 0:
			return None, true
		case isToken[p[0]]:
			return None, false
		case p[0] != '\r' || (len(p) > 1 && p[1] != '\n'):
			f.fail(ErrStreamBytes)
			return None, true
		case len(p) < 3:
			return None, true
		case p[2] != '\r':
			f.at += 2
		case len(p) == 3:
			return None, true
		case p[3] != '\n':
			f.fail(ErrStreamBytes)
			return None, true
		default:
			f.at += 4
			return KeepAlive, true
		}
	}
}

// head looks for the end of the header section and reads the length of the body. Bytes once searched are not searched
// again.
func (f *Framer) head() error {
	p := f.buf[f.at:]
	from := max(f.seen-3, 0)
	i := bytes.Index(p[from:], []byte("\r\n\r\n"))
	if i < 0 {
		if f.seen = len(p); f.seen > MaxMessage {
			return ErrTooLarge
		}
		return nil
	}
	end := from + i + 4
	if end > MaxMessage {
		return ErrTooLarge
	}
	if err := f.view.head(p[:end]); err != nil {
		return err
	}
	// RFC 3261 §18.3, §20.14: over streams Content-Length is mandatory.
	if f.view.ContentLengths != 1 || int(f.view.HeadEnd) != end {
		return ErrStreamLength
	}
	if f.view.ContentLength > MaxMessage-end {
		return ErrTooLarge
	}
	f.total = end + f.view.ContentLength
	return nil
}

func (f *Framer) fail(err error) error {
	f.err, f.buf = err, nil
	f.at, f.total = 0, 0
	return err
}
