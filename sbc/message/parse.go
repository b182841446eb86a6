package message

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"

	"github.com/emiago/sipgo/sip"

	"sallyport/sbc/scan"
)

// splitter is sipgo's parser with no typed header fields: it splits, we look inside. Its own types lose parameters, white
// space and quotes, or keep the last of several values. A field whose name we know is noted under its usual name; others
// come as sipgo's own.
type splitter struct {
	parser sip.HeadersParser
	found  []sip.Header // the last field; scratch
	field  Header       // the last one whose name we know
	uri    sip.Uri      // scratch
}

var noted = sip.NewHeader("", "")

// splitters are kept for the next message: one works for one goroutine at a time.
var splitters = sync.Pool{New: func() any {
	s := &splitter{parser: make(sip.HeadersParser, len(knownNames))}
	for spelled, name := range knownNames {
		s.parser[spelled] = func(_ []byte, value string) (sip.Header, error) {
			s.field = Header{Name: name, Value: value}
			return noted, nil
		}
	}
	return s
}}

func init() { sip.SetDefaultLogger(slog.New(slog.DiscardHandler)) }

// release gives a splitter back, without what it has read.
func (s *splitter) release() {
	clear(s.found)
	s.field, s.uri = Header{}, sip.Uri{}
	splitters.Put(s)
}

// split takes one field apart; folded lines are joined before.
func (s *splitter) split(line []byte) (Header, error) {
	var err error
	if s.found, err = s.parser.ParseHeader(s.found[:0], line); err != nil {
		return Header{}, err
	}
	if h := s.found[0]; h != noted {
		return Header{Name: capitalise(h.Name()), Value: h.Value()}, nil
	}
	return s.field, nil
}

// Parse reads and validates the message that Scan found in data; v must come from a Scan of the same data that
// returned no error. Nothing of data is kept. The error is always an *Error.
//
// What scan and parser read must agree on everything that the guard decides by: method, Call-ID, CSeq, branch, tags,
// User-Agent, lengths. A message that two readers read differently is refused.
func Parse(data []byte, v *scan.View) (*Message, error) {
	if !v.Complete() || int(v.HeadEnd) > len(data) || int(v.Body.End) > len(data) {
		return nil, bad("message was not scanned to its end")
	}
	room := &struct { // one piece of memory for a usual message
		Message
		via [1]Via
	}{}
	p := parse{m: &room.Message, v: v, length: -1}
	p.m.MaxForwards, p.m.Via = -1, room.via[:0]
	if v.Vias > len(room.via) {
		p.m.Via = make([]Via, 0, v.Vias)
	}
	s := splitters.Get().(*splitter)
	defer s.release()
	if err := p.startLine(s); err != nil {
		return nil, err
	}
	if err := p.fields(s, data); err != nil {
		return nil, err
	}
	if err := p.mandatory(); err != nil {
		return nil, err
	}
	if err := p.lists(); err != nil {
		return nil, err
	}
	if err := p.agree(); err != nil {
		return nil, err
	}
	p.m.Body = bytes.Clone(v.Bytes(v.Body))
	return p.m, nil
}

// parse is one message on its way.
type parse struct {
	m      *Message
	v      *scan.View
	seen   uint32 // single-valued fields met, a bit each
	cseq   string // method of CSeq
	length int    // Content-Length; -1: absent
	agents int    // User-Agent or Server fields met
}

// fields takes the header section.
func (p *parse) fields(s *splitter, data []byte) *Error {
	v := p.v
	p.m.Headers = make([]Header, 0, max(v.Headers-v.Vias-5, 2))
	for at := v.FirstField; ; {
		name, value, next, ok := v.Field(at)
		if !ok {
			return nil
		}
		line := data[name.Start:value.End]
		if bytes.IndexByte(line, '\r') >= 0 {
			line = scan.Unfold(line)
		}
		f, err := s.split(line)
		if err != nil {
			return bad("header section: " + err.Error())
		}
		if err := p.take(f.Name, f.Value); err != nil {
			return err
		}
		at = next
	}
}

// startLine reads what the scan found there.
func (p *parse) startLine(s *splitter) *Error {
	v := p.v
	if !bytes.EqualFold(v.Bytes(v.Version), []byte("SIP/2.0")) {
		// RFC 3261 §21.5.6.
		return &Error{Code: 505, Detail: "SIP version is not 2.0"}
	}
	if !v.IsRequest {
		p.m.Status, p.m.Reason = v.Status, string(v.Bytes(v.Phrase))
		return nil
	}
	p.m.Method = intern(v.Bytes(v.Method))
	uri := string(v.Bytes(v.RequestURI))
	if scheme, _, ok := strings.Cut(uri, ":"); ok && validScheme(scheme) {
		switch lower(scheme) {
		case "sip", "sips", "tel":
		default:
			// RFC 3261 §8.2.2.1.
			return &Error{Code: 416, Detail: "Request-URI is neither sip, sips nor tel"}
		}
	}
	u, err := ParseURI(uri)
	if err != nil {
		return bad("Request-URI: " + err.Error())
	}
	if u.Headers != "" {
		// RFC 3261 §19.1.1, table 1: headers cannot stand in a Request-URI.
		return bad("Request-URI carries header fields")
	}
	if sip.ParseUri(uri, &s.uri) != nil || s.uri.Wildcard {
		return bad("start line can be read in two ways")
	}
	p.m.URI = u
	return nil
}
