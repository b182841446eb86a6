package header

import (
	"strings"

	"sallyport/sbc/message"
)

// wants are the privacy values of a message (RFC 3323 §4.2, RFC 3325 §9.3, RFC 7044 §5.1).
type wants uint8

const (
	wantsID      wants = 1 << iota // PAI is not for those outside the Trust Domain
	wantsUser                      // nor is any name of the caller
	wantsHeader                    // Via, Contact and the like are obscured: the gate does so for everybody
	wantsSession                   // so is where the media comes from: likewise
	wantsHistory
	wantsNone     // "MUST NOT" be made private
	wantsCritical // or the request fails: what is asked for is always done
	wantsMore     // something that nobody has heard of
)

var privacyValues = map[string]wants{
	"id": wantsID, "user": wantsUser, "header": wantsHeader, "session": wantsSession, "history": wantsHistory, "none": wantsNone,
	"critical": wantsCritical,
}

// asked are the privacy values of a message.
func asked(m *message.Message) (w wants) {
	for i := range m.Headers {
		if m.Headers[i].Name != "Privacy" {
			continue
		}
		for v := range privacyOf(m.Headers[i].Value) {
			if one, known := privacyValues[strings.ToLower(v)]; known {
				w |= one
			} else {
				w |= wantsMore
			}
		}
	}
	return w
}

// privacyOf yields the values of a Privacy field. They are separated by semicolons (RFC 3323 §4.2); commas are met as well.
func privacyOf(value string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for v := range strings.FieldsFuncSeq(value, func(r rune) bool { return r == ';' || r == ',' || r == ' ' || r == '\t' }) {
			if !yield(v) {
				return
			}
		}
	}
}

// private reports whether a message may hold something that is not for everybody.
func private(m *message.Message) bool {
	for i := range m.Headers {
		switch h := &m.Headers[i]; h.Name {
		case "Privacy":
			return true
		case "Remote-Party-ID", "Diversion", "History-Info":
			if indexFold(h.Value, "privacy=") >= 0 {
				return true
			}
		}
	}
	return false
}

// hide does for a peer outside the Trust Domain what the caller asks for, so that nothing is left to ask: "When a privacy
// service performs one of the functions … it SHOULD remove the corresponding priv-value" (RFC 3323 §5).
func (f *finish) hide() {
	m := f.out
	w := asked(m)
	f.hideEntries()
	if w&wantsNone != 0 {
		return // RFC 3323 §4.2: "none … privacy functions MUST NOT be performed"
	}
	if w&(wantsID|wantsUser) != 0 {
		// "The proxy MUST remove all the P-Asserted-Identity header fields" (RFC 3325 §7), and there is no use in that while
		// From or a signature has the same number.
		dropAsserted(m)
		m.Remove("Identity")
		if f.fresh {
			hideFrom(m)
		}
	}
	if w&wantsUser != 0 { // RFC 3323 §4.1: fields that the user wrote
		for _, name := range [...]string{"Subject", "Call-Info", "Organization", "Reply-To", "User-Agent", "Server", "In-Reply-To"} {
			m.Remove(name)
		}
	}
	if w&(wantsHeader|wantsSession|wantsHistory) != 0 { // RFC 7044 §10.1.2
		dropDiversion(m)
	}
	rest := ""
	if w&wantsMore != 0 {
		rest = unknownOf(m)
	}
	m.Remove("Privacy")
	if rest != "" {
		m.Add("Privacy", rest)
	}
}

// unknownOf are the privacy values that nobody has heard of, with critical where that stood among them.
func unknownOf(m *message.Message) string {
	var list []string
	for i := range m.Headers {
		if m.Headers[i].Name != "Privacy" {
			continue
		}
		for v := range privacyOf(m.Headers[i].Value) {
			if w, known := privacyValues[strings.ToLower(v)]; message.ValidToken(v) && (!known || w == wantsCritical) {
				list = append(list, v)
			}
		}
	}
	return strings.Join(list, ";")
}

// anonymous is who calls where nobody shall know it (RFC 3323 §4.1.1.3).
var anonymous = message.NameAddr{Display: `"Anonymous"`, URI: message.URI{Scheme: "sip", User: "anonymous", Host: "anonymous.invalid"}}

func hideFrom(m *message.Message) { m.From.Display, m.From.URI = anonymous.Display, anonymous.URI }

// hideEntries hides what single entries ask for: History-Info by a header of their URI (RFC 7044 §10.1), Diversion (RFC 5806 §4.2)
// and Remote-Party-ID by a parameter.
func (f *finish) hideEntries() {
	m := f.out
	gone := false
	for i := range m.Headers {
		h := &m.Headers[i]
		switch h.Name {
		case "Remote-Party-ID", "Diversion", "History-Info":
		default:
			continue
		}
		if indexFold(h.Value, "privacy=") < 0 {
			continue
		}
		list, err := message.ParseNameAddrs(h.Value)
		if err != nil {
			h.Name, gone = "", true
			continue
		}
		kept := list[:0]
		for _, n := range list {
			hidden := hiddenEntry(&n)
			if hidden && h.Name == "Remote-Party-ID" {
				continue
			}
			if hidden {
				cause := keepParams(n.URI.Params, func(name string) bool { return name == "cause" })
				n.Display, n.URI = "", anonymous.URI
				n.URI.Params = cause
			}
			kept = append(kept, n)
		}
		if len(kept) == 0 {
			h.Name, gone = "", true
			continue
		}
		h.Value = joined(kept)
	}
	if gone {
		m.Remove("")
	}
}

// hiddenEntry reports whether an entry asks for privacy.
func hiddenEntry(n *message.NameAddr) bool {
	if v, ok := n.Param("privacy"); ok && !strings.EqualFold(strings.Trim(v, `"`), "off") {
		return true
	}
	for p := range strings.SplitSeq(strings.TrimPrefix(n.URI.Headers, "?"), "&") {
		if name, value, _ := strings.Cut(p, "="); strings.EqualFold(name, "Privacy") && !strings.EqualFold(value, "none") {
			return true
		}
	}
	return false
}
