package message

import "strings"

// Header is one header field: its canonical name ("Call-ID", never "i") and its value, unfolded and trimmed,
// otherwise byte for byte as it arrived.
type Header struct {
	Name, Value string
}

// Message is one SIP message (RFC 3261 §7). A parsed message is never changed: it is shared between goroutines.
// A message under construction belongs to its builder until it is handed on.
//
// The header fields that every room needs are typed; all others stand in Headers, in their order of arrival, one
// entry for each field line (several values on one line stay one value).
type Message struct {
	Method string // of the request, or, in a response, of its CSeq
	URI    URI    // Request-URI; zero in a response
	Status int    // 0 in a request
	Reason string // reason phrase of a response

	Via         []Via // topmost first, one entry a hop, however they were written
	From, To    NameAddr
	CallID      string
	CSeq        uint32
	MaxForwards int // -1: absent
	Headers     []Header
	Body        []byte
}

// IsRequest reports whether the message is a request.
func (m *Message) IsRequest() bool { return m.Status == 0 }

// Get returns the first value of a header field that is not typed. The name must be canonical.
func (m *Message) Get(name string) (value string, ok bool) {
	for i := range m.Headers {
		if m.Headers[i].Name == name {
			return m.Headers[i].Value, true
		}
	}
	return "", false
}

// Add appends a header field. The name must be canonical.
func (m *Message) Add(name, value string) {
	m.Headers = append(m.Headers, Header{Name: name, Value: value})
}

// Set replaces all fields of a name by one.
func (m *Message) Set(name, value string) {
	m.Remove(name)
	m.Add(name, value)
}

// Remove drops all fields of a name.
func (m *Message) Remove(name string) {
	kept := m.Headers[:0]
	for _, h := range m.Headers {
		if h.Name != name {
			kept = append(kept, h)
		}
	}
	m.Headers = kept
}

// Tokens yields the comma-separated values of all fields of a name, trimmed: the option tags of Supported, the
// methods of Allow. It does not look into quoted strings or angle brackets; use NameAddrs for those.
func (m *Message) Tokens(name string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for i := range m.Headers {
			if m.Headers[i].Name != name {
				continue
			}
			for tok := range strings.SplitSeq(m.Headers[i].Value, ",") {
				if tok = strings.TrimSpace(tok); tok != "" && !yield(tok) {
					return
				}
			}
		}
	}
}

// URI is a SIP, SIPS or tel URI (RFC 3261 §19.1, RFC 3966), or any other absolute URI kept opaque.
type URI struct {
	Scheme string // lower case: "sip", "sips", "tel", or another
	User   string // escaped as it arrived, with password and user parameters; the number of a tel URI; the whole
	// rest of a URI of another scheme
	Host    string // without brackets for IPv6; empty in a tel URI
	Port    uint16 // 0: absent
	Params  string // raw, with the leading ';', or empty
	Headers string // raw, with the leading '?', or empty
}

// NameAddr is the value of From, To, Contact, Route, P-Asserted-Identity and their kin (RFC 3261 §20.10).
type NameAddr struct {
	Display string // as it arrived, quotes included, or empty
	URI     URI
	Tag     string // the tag parameter, which Params leaves out
	Params  string // the other header parameters, raw, with the leading ';', or empty
}

// Via is one hop of a Via header field (RFC 3261 §20.42).
type Via struct {
	Transport string // "UDP", "TCP", …, upper case
	Host      string // sent-by host, without brackets for IPv6
	Port      uint16 // sent-by port; 0: absent
	Branch    string
	RPort     int    // -1: absent; 0: present and empty (RFC 3581); else its value
	Received  string // or empty
	Params    string // the other parameters, raw, with the leading ';', or empty
}
