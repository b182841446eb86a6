package header

import (
	"strings"

	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// Bounds of what rules may make of a message, so that whoever reads it can.
const (
	fieldsMost = 100     // fields beside the typed ones: what a rule would add behind them is left out
	valueMost  = 4 << 10 // bytes of a value
)

// Nameable reports whether a rule may name a header field, and if not, why.
func Nameable(name string) (why string, ok bool) {
	switch name {
	case "From", "To":
		return "", true
	case "Via", "Route", "Record-Route", "Path", "Service-Route", "Contact", "Call-ID", "CSeq", "Max-Forwards", "Max-Breadth":
		return "is the gate's own on each leg", false
	case "Content-Length", "Content-Type", "Content-Encoding", "Content-Transfer-Encoding", "Content-ID", "MIME-Version":
		return "says how the body is to be read", false
	case "Authorization", "Proxy-Authorization", "WWW-Authenticate", "Proxy-Authenticate", "Authentication-Info",
		"Proxy-Authentication-Info", "Security-Client", "Security-Server", "Security-Verify":
		return "holds credentials, which pass byte for byte or not at all", false
	case "Require", "Proxy-Require", "Unsupported", "RSeq", "RAck", "Session-Expires", "Min-SE", "Event", "Subscription-State",
		"Expires", "Min-Expires", "SIP-ETag", "SIP-If-Match", "Replaces", "Join", "Target-Dialog", "Refer-To", "Refer-Sub",
		"Timestamp", "In-Reply-To":
		return "is what transactions and dialogs live by", false
	}
	return "", true
}

// Single reports whether a header field stands in a message at most once (RFC 3261 §7.3.1, §20), so that none can be added.
func Single(name string) bool {
	switch name {
	case "From", "To", "User-Agent", "Server", "Content-Disposition", "Referred-By", "Subject", "Date", "Priority", "Organization",
		"Reply-To", "Retry-After", "P-Charging-Vector", "Privacy":
		return true
	}
	return false
}

// addressed reports whether the value of a field is a list of addresses.
func addressed(name string) bool {
	switch name {
	case "From", "To", "Diversion", "History-Info", "P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID", "P-Served-User",
		"P-Called-Party-ID", "P-Associated-Uri", "Referred-By", "Reply-To":
		return true
	}
	return false
}

// FitValue reports whether a value may stand in a field: it is of one line, and where the field holds addresses they can be
// read.
func FitValue(name, value string) bool {
	if value == "" || len(value) > valueMost || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		return false
	}
	switch {
	case name == "Allow", name == "Supported": // the guard does not look at words
		for word := range strings.SplitSeq(value, ",") {
			if !message.ValidToken(strings.Trim(word, " \t")) {
				return false
			}
		}
		return true
	case !addressed(name):
		return value == strings.Trim(value, " \t")
	}
	names, err := message.ParseNameAddrs(value)
	if err != nil {
		return false
	}
	if name != "From" && name != "To" {
		return true
	}
	return len(names) == 1 && fitName(&names[0])
}

// fitName reports whether a name can be who a request is from, or to: its tag is the leg's own, and parameters are nobody's.
func fitName(n *message.NameAddr) bool {
	switch n.URI.Scheme {
	case "sip", "sips":
		if n.URI.Host == "" {
			return false
		}
	case "tel":
		if n.URI.User == "" {
			return false
		}
	default:
		return false
	}
	return n.Tag == "" && n.Params == "" && n.URI.Headers == ""
}

// apply lets a rule act on a message.
func (f *finish) apply(r *tu.Rule) {
	m := f.out
	if r.Method != "" && r.Method != m.Method {
		return
	}
	if _, ok := Nameable(r.Header); !ok {
		return
	}
	switch r.Header {
	case "From":
		f.applyName(r, &m.From)
		return
	case "To":
		f.applyName(r, &m.To)
		return
	}
	switch r.Action {
	case tu.RuleSet:
		applySet(r, m)
	case tu.RuleAdd:
		applyAdd(r, m)
	case tu.RuleRemove:
		applyRemove(r, m)
	case tu.RuleReplace:
		applyReplace(r, m)
	}
}

// applyName puts another name in From or To, of a request that opens a dialog alone.
func (f *finish) applyName(r *tu.Rule, n *message.NameAddr) {
	if !f.fresh || r.Action != tu.RuleSet && r.Action != tu.RuleReplace {
		return
	}
	plain := *n
	plain.Tag, plain.Params = "", ""
	value, ok := expand(r, plain.String())
	if !ok {
		return
	}
	if made, err := message.ParseNameAddr(value); err == nil {
		made.Tag, made.Params = n.Tag, n.Params
		*n = made
	}
}

// expand is what a rule writes where a field has a value; ok is false where the rule does not concern that value, or what it
// would write cannot stand there.
func expand(r *tu.Rule, present string) (value string, ok bool) {
	value = r.Value
	if r.Match != nil {
		at := r.Match.FindStringSubmatchIndex(present)
		if at == nil {
			return "", false
		}
		value = string(r.Match.ExpandString(nil, r.Value, present, at))
	}
	value = strings.Trim(value, " \t")
	return value, FitValue(r.Header, value)
}

// first is the first value that a rule concerns, and what it makes of it.
func first(r *tu.Rule, m *message.Message) (value string, ok bool) {
	if r.Match == nil {
		return expand(r, "")
	}
	for i := range m.Headers {
		if m.Headers[i].Name == r.Header {
			if value, ok = expand(r, m.Headers[i].Value); ok {
				return value, true
			}
		}
	}
	return "", false
}

// applySet leaves one field of the name, where the first one stood.
func applySet(r *tu.Rule, m *message.Message) {
	value, ok := first(r, m)
	if !ok {
		return
	}
	kept, done := m.Headers[:0], false
	for _, h := range m.Headers {
		if h.Name == r.Header {
			if done {
				continue
			}
			h.Value, done = value, true
		}
		kept = append(kept, h)
	}
	m.Headers = kept
	if !done && len(m.Headers) < fieldsMost {
		m.Add(r.Header, value)
	}
}

// applyAdd appends a field; one that may stand there once only where there is none.
func applyAdd(r *tu.Rule, m *message.Message) {
	value, ok := first(r, m)
	if !ok || len(m.Headers) >= fieldsMost {
		return
	}
	if _, there := m.Get(r.Header); there && Single(r.Header) {
		return
	}
	m.Add(r.Header, value)
}

// applyRemove takes the fields away that a rule concerns.
func applyRemove(r *tu.Rule, m *message.Message) {
	kept := m.Headers[:0]
	for _, h := range m.Headers {
		if h.Name != r.Header || r.Match != nil && !r.Match.MatchString(h.Value) {
			kept = append(kept, h)
		}
	}
	m.Headers = kept
}

// applyReplace rewrites each field that a rule concerns.
func applyReplace(r *tu.Rule, m *message.Message) {
	for i := range m.Headers {
		if h := &m.Headers[i]; h.Name == r.Header {
			if value, ok := expand(r, h.Value); ok {
				h.Value = value
			}
		}
	}
}
