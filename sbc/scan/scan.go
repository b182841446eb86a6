package scan

import (
	"bytes"
	"errors"
)

// Limits of one message. What is larger is refused before it is parsed.
const (
	MaxDatagram = 65535    // bytes a UDP read buffer must hold; a longer read has been cut
	MaxMessage  = 16 << 10 // header section and body together
	MaxLine     = 8 << 10  // one header field with its folded lines, or the start line
	MaxHeaders  = 128      // header fields
	MaxVias     = 32       // Via header fields; sbc/message applies it to the hops too
	MaxMethod   = 32       // bytes of a method
	MaxAgents   = 4        // User-Agent or Server fields that a View remembers
	MaxNonces   = 8        // of credentials, likewise
)

// The errors of Scan. Those of the first group end the scan where they occur; after those of the second the View is
// filled to the end, so that a short reply can be built from it (View.Complete tells).
var (
	ErrStartLine   = errors.New("start line is neither a request line nor a status line")
	ErrLineEnd     = errors.New("CR or LF that is not part of a CRLF in the header section")
	ErrControl     = errors.New("NUL or another control character in the header section")
	ErrHeaderName  = errors.New("header field name is not a token followed by a colon")
	ErrHeaderCount = errors.New("too many header fields")
	ErrLineLength  = errors.New("header field or start line too long")
	ErrNoEnd       = errors.New("header section has no end (CRLF CRLF)")

	ErrTooLarge      = errors.New("message too large")
	ErrViaCount      = errors.New("too many Via header fields")
	ErrContentLength = errors.New("Content-Length is not a number or occurs with different values")
	ErrBodyShort     = errors.New("Content-Length is larger than the datagram")
	ErrCSeq          = errors.New("CSeq is not a number below 2^31 and a method")
	ErrMaxForwards   = errors.New("Max-Forwards is not a number up to 255")
	ErrStatus        = errors.New("status code is not a number from 100 to 699")
)

// Span is a range of bytes of the scanned data. The zero Span is absent or empty.
type Span struct{ Start, End uint32 }

// Empty reports whether the span holds no byte.
func (s Span) Empty() bool { return s.End <= s.Start }

// Len is the number of bytes of the span.
func (s Span) Len() int { return int(s.End) - int(s.Start) }

// View is what a scan found. It has a fixed size and is meant to be used again and again; it refers to the scanned
// data, so it is valid only as long as those bytes stay. Values of header fields are trimmed but still folded.
type View struct {
	data []byte

	IsRequest  bool
	Method     Span // of a request
	RequestURI Span // of a request
	Version    Span // "SIP/2.0" in a proper message
	Status     int  // of a response, 100–699; 0 in a request
	Phrase     Span // of a response

	Via     Span // value of the first Via field, all hops of that field
	Branch  Span // branch of its first hop
	SentBy  Span // host and port of its first hop, as written
	Vias    int  // Via fields
	CallID  Span
	From    Span
	FromTag Span
	To      Span
	ToTag   Span

	CSeq       uint32
	CSeqMethod Span

	UserAgents [MaxAgents]Span // User-Agent of a request, Server of a response
	Agents     int             // how many there were; may be more than UserAgents holds

	MaxForwards    int // -1: absent
	ContentLength  int // -1: absent
	ContentLengths int // Content-Length fields

	Authorization Span // value of the first Authorization or Proxy-Authorization field

	Nonces  [MaxNonces]Span // that credentials name, of all such fields, without quotes
	Answers int             // how many there were; may be more than Nonces holds

	Headers    int    // header fields
	FirstField uint32 // offset of the first header field: where Field begins
	Start      uint32 // offset of the start line
	HeadEnd    uint32 // offset behind the empty line that ends the header section; 0: not found
	Body       Span   // as long as Content-Length says, or the rest
}

// Bytes returns the bytes of a span. They belong to the scanned data.
func (v *View) Bytes(s Span) []byte {
	if s.Empty() || int(s.End) > len(v.data) {
		return nil
	}
	return v.data[s.Start:s.End:s.End]
}

// Complete reports whether the header section has been read to its end.
func (v *View) Complete() bool { return v.HeadEnd != 0 }

// Scan finds the parts of the message that fills a datagram. On an error the View holds what was found before it.
func Scan(data []byte, v *View) error {
	err := v.head(data)
	if !v.Complete() {
		return err
	}
	rest := len(data) - int(v.HeadEnd)
	size := rest
	switch {
	case v.ContentLength > rest:
		// RFC 3261 §18.3: a datagram that ends before the body does is answered with 400.
		if err == nil {
			err = ErrBodyShort
		}
	case v.ContentLength >= 0:
		// RFC 3261 §18.3: bytes behind the body are padding and discarded.
		size = v.ContentLength
	}
	v.Body = Span{v.HeadEnd, v.HeadEnd + uint32(size)}
	if err == nil && int(v.Body.End-v.Start) > MaxMessage {
		err = ErrTooLarge
	}
	return err
}

// head scans the start line and the header section.
func (v *View) head(data []byte) error {
	*v = View{MaxForwards: -1, ContentLength: -1}
	if int64(len(data)) > MaxDatagram {
		return ErrTooLarge
	}
	v.data = data
	// RFC 3261 §7.5: CRLFs before the start line are ignored.
	at := 0
	for at+1 < len(data) && data[at] == '\r' && data[at+1] == '\n' {
		at += 2
	}
	v.Start = uint32(at)
	limit := min(len(data), at+MaxMessage)
	end, next, err := line(data[:limit], at)
	if err != nil {
		return err
	}
	first := v.startLine(at, end)
	if first != nil && !errors.Is(first, ErrStatus) {
		return first
	}
	v.FirstField = uint32(next)
	return v.fields(data[:limit], next, first)
}

// fields scans the header fields. first is an earlier error that lets the scan go on; the earliest one is returned.
func (v *View) fields(data []byte, at int, first error) error {
	for {
		if at+1 < len(data) && data[at] == '\r' && data[at+1] == '\n' {
			v.HeadEnd = uint32(at + 2)
			return first
		}
		name, value, next, err := field(data, at)
		if err != nil {
			if errors.Is(err, ErrNoEnd) && len(v.data) > len(data) {
				err = ErrTooLarge
			}
			return err
		}
		if v.Headers++; v.Headers > MaxHeaders {
			return ErrHeaderCount
		}
		if err := v.note(name, value); err != nil && first == nil {
			first = err
		}
		at = next
	}
}

// Field returns the header field at an offset and the offset of the next one. It begins with FirstField and is false
// at the end of the header section. The value is trimmed, but folded line ends are still in it.
func (v *View) Field(at uint32) (name, value Span, next uint32, ok bool) {
	if at >= v.HeadEnd-2 || !v.Complete() {
		return Span{}, Span{}, at, false
	}
	name, value, n, err := field(v.data[:v.HeadEnd], int(at))
	return name, value, uint32(n), err == nil
}

// Unfold joins the lines of a field by one space each (RFC 3261 §7.3.1).
func Unfold(lines []byte) []byte {
	out := make([]byte, 0, len(lines))
	for first := true; ; first = false {
		line, rest, more := bytes.Cut(lines, []byte("\r\n"))
		if !first {
			out = append(out, ' ')
		}
		out = append(out, bytes.Trim(line, " \t")...)
		if !more {
			return out
		}
		lines = rest
	}
}

// line finds the end of the line at an offset: where its CRLF is and where the next line begins.
func line(data []byte, at int) (end, next int, err error) {
	for i := at; ; {
		i = control(data, i)
		switch {
		case i >= len(data):
			return 0, 0, ErrNoEnd
		case data[i] == '\t':
			i++
		case data[i] == '\r' && i+1 < len(data) && data[i+1] == '\n':
			if i-at > MaxLine {
				return 0, 0, ErrLineLength
			}
			return i, i + 2, nil
		case data[i] == '\r' && i+1 == len(data):
			return 0, 0, ErrNoEnd
		case data[i] == '\r' || data[i] == '\n':
			return 0, 0, ErrLineEnd
		default:
			return 0, 0, ErrControl
		}
	}
}

// field finds name and value of the header field at an offset, folded lines included (RFC 3261 §7.3.1).
func field(data []byte, at int) (name, value Span, next int, err error) {
	i := at
	for _, c := range data[at:] {
		if !isToken[c] {
			break
		}
		i++
	}
	name = Span{uint32(at), uint32(i)}
	for i < len(data) && (data[i] == ' ' || data[i] == '\t') {
		i++
	}
	if i == len(data) {
		return name, value, 0, ErrNoEnd
	}
	if name.Empty() || data[i] != ':' {
		return name, value, 0, nameError(data[i])
	}
	from := i + 1
	end, next, err := line(data, from)
	for err == nil && next < len(data) && (data[next] == ' ' || data[next] == '\t') {
		end, next, err = line(data, next)
	}
	if err == nil && end-at > MaxLine {
		err = ErrLineLength
	}
	if err != nil {
		return name, value, 0, err
	}
	return name, trim(data, from, end), next, nil
}

// nameError says why a byte cannot stand in or behind a header field name.
func nameError(c byte) error {
	switch {
	case c == '\r' || c == '\n':
		return ErrLineEnd
	case c < ' ' && c != '\t':
		return ErrControl
	}
	return ErrHeaderName
}

// startLine takes the start line apart (RFC 3261 §7.1, §7.2): exactly one space between its parts.
func (v *View) startLine(at, end int) error {
	s := v.data[at:end]
	one := bytes.IndexByte(s, ' ')
	if one < 1 {
		return ErrStartLine
	}
	if len(s) > 4 && foldEqual(s[:4], "sip/") {
		return v.statusLine(at, at+one, end)
	}
	two := bytes.IndexByte(s[one+1:], ' ') + one + 1
	if two <= one+1 || two == len(s)-1 || bytes.IndexByte(s[two+1:], ' ') >= 0 || bytes.IndexByte(s, '\t') >= 0 {
		return ErrStartLine
	}
	if !foldEqual(s[two+1:min(two+5, len(s))], "sip/") || one > MaxMethod {
		return ErrStartLine
	}
	for _, c := range s[:one] {
		if !isToken[c] {
			return ErrStartLine
		}
	}
	v.IsRequest = true
	v.Method = Span{uint32(at), uint32(at + one)}
	v.RequestURI = Span{uint32(at + one + 1), uint32(at + two)}
	v.Version = Span{uint32(at + two + 1), uint32(end)}
	return nil
}

// statusLine reads version, code and phrase. The space before an empty phrase is often forgotten, so it is not asked
// for.
func (v *View) statusLine(at, space, end int) error {
	v.Version = Span{uint32(at), uint32(space)}
	code := v.data[space+1 : end]
	if i := bytes.IndexByte(code, ' '); i >= 0 {
		v.Phrase = Span{uint32(space + 1 + i + 1), uint32(end)}
		code = code[:i]
	}
	n, ok := number(code, 699)
	if !ok || len(code) != 3 || n < 100 {
		return ErrStatus
	}
	v.Status = int(n)
	return nil
}
