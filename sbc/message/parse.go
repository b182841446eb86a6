package message

import (
	"bytes"
	"log/slog"
	"strings"

	"github.com/emiago/sipgo/sip"

	"sallyport/sbc/scan"
)

// splitter is sipgo's parser with no typed header fields: it splits and unfolds, we look inside. Its own types lose
// parameters, white space and quotes, or keep the last of several values.
var splitter = func() *sip.Parser {
	sip.SetDefaultLogger(slog.New(slog.DiscardHandler))
	raw := make(map[string]sip.HeaderParser, len(knownNames))
	for spelled, name := range knownNames {
		raw[spelled] = func(_ []byte, value string) (sip.Header, error) { return sip.NewHeader(name, value), nil }
	}
	return sip.NewParser(sip.WithHeadersParsers(raw))
}()

// Parse reads and validates the message that Scan found in data; v must come from a Scan of the same data that
// returned no error. Nothing of data is kept. The error is always an *Error.
//
// What scan and parser read must agree on everything that the guard decides by: method, Call-ID, CSeq, branch, tags,
// User-Agent, lengths. A message that two readers read differently is refused.
func Parse(data []byte, v *scan.View) (*Message, error) {
	if !v.Complete() || int(v.HeadEnd) > len(data) || int(v.Body.End) > len(data) {
		return nil, bad("message was not scanned to its end")
	}
	p := parse{m: &Message{MaxForwards: -1}, v: v, length: -1}
	if err := p.startLine(); err != nil {
		return nil, err
	}
	headers, err := p.split(data)
	if err != nil {
		return nil, err
	}
	p.m.Via = make([]Via, 0, max(v.Vias, 1))
	p.m.Headers = make([]Header, 0, max(len(headers)-v.Vias-5, 2))
	for _, h := range headers {
		if err := p.take(h.Name(), h.Value()); err != nil {
			return nil, err
		}
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

// startLine reads what the scan found there.
func (p *parse) startLine() *Error {
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
	p.m.URI = u
	return nil
}

// split lets sipgo take the header section apart.
func (p *parse) split(data []byte) ([]sip.Header, *Error) {
	v := p.v
	section := data[v.Start:v.HeadEnd]
	if phrase := v.Bytes(v.Phrase); !v.IsRequest && (v.Phrase.End == 0 || oneWordSIP(phrase)) {
		// sipgo stumbles over a status line without a phrase and takes "SIP/2.0 200 sip" for a request line.
		const ok = "SIP/2.0 200 OK\r\n"
		fields := data[v.FirstField:v.HeadEnd]
		section = append(append(make([]byte, 0, len(ok)+len(fields)), ok...), fields...)
	}
	msg, _, err := splitter.ParseHeaders(section, false)
	if err != nil {
		return nil, bad("header section: " + err.Error())
	}
	switch msg := msg.(type) {
	case *sip.Request:
		if v.IsRequest && strings.EqualFold(string(msg.Method), p.m.Method) {
			return msg.Headers(), nil
		}
	case *sip.Response:
		if !v.IsRequest {
			return msg.Headers(), nil
		}
	}
	return nil, bad("start line can be read in two ways")
}

func oneWordSIP(phrase []byte) bool {
	return len(phrase) >= 3 && bytes.EqualFold(phrase[:3], []byte("sip")) && bytes.IndexByte(phrase, ' ') < 0
}
