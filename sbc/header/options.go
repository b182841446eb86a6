package header

import (
	"slices"
	"strings"

	"sallyport/sbc/message"
)

// Methods is the value of the Allow header field that we send.
const Methods = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, PRACK, UPDATE, REFER, MESSAGE, NOTIFY"

var methods = strings.Split(Methods, ", ")

// optionsServed are the option tags that work through the gate because nothing but header fields that pass is needed
// for them. All others change what the gate itself must do (path, outbound, gruu, …).
var optionsServed = []string{
	"eventlist",        // RFC 4662: the states of a list in one body, which passes
	"replaces", "join", // RFC 3891, RFC 3911: the ids in the fields are translated, or a call acts upon them
	"tdialog",             // RFC 4538
	"histinfo",            // RFC 7044
	"nosub", "norefersub", // RFC 7614, RFC 4488: a REFER of which nothing is told
	"privacy",                             // RFC 3323
	"pref",                                // RFC 3840
	"uui",                                 // RFC 7433
	"geolocation-http", "geolocation-sip", // RFC 6442
	"resource-priority", // RFC 4412
}

// optionsOfCalls are those that a call serves for each of its legs by itself. Copy passes none of them: what is said of
// them on one leg is no word on the other.
var optionsOfCalls = []string{
	"100rel",       // RFC 3262
	"precondition", // RFC 3312
	"199",          // RFC 6228
	"timer",        // RFC 4028
}

// ofCall reports whether a call takes a request that requires a tag of its own.
func ofCall(m *message.Message, tag string) bool {
	switch m.Method {
	case "INVITE", "UPDATE", "PRACK":
		return slices.ContainsFunc(optionsOfCalls, func(s string) bool { return strings.EqualFold(s, tag) })
	default:
		return false
	}
}

func served(tag string) bool {
	return slices.ContainsFunc(optionsServed, func(s string) bool { return strings.EqualFold(s, tag) })
}

// Unsupported lists the option tags that a request requires and that we do not serve: the value of Unsupported in a
// 420 (RFC 3261 §8.2.2.3). ACK and CANCEL are never refused for them.
func Unsupported(m *message.Message) []string {
	if !m.IsRequest() || m.Method == "ACK" || m.Method == "CANCEL" {
		return nil
	}
	var missing []string
	for _, name := range [2]string{"Require", "Proxy-Require"} {
		for tag := range m.Tokens(name) {
			if !served(tag) && !(name == "Require" && ofCall(m, tag)) && !slices.Contains(missing, tag) {
				missing = append(missing, tag)
			}
		}
	}
	return missing
}

// optionTags keeps the tags of Supported and Require that we serve.
func optionTags(value string, _ *Hosts) (string, bool) { return filter(value, served) }

// allow keeps the methods that we serve: what the far end could not be sent through us is not offered.
func allow(value string, _ *Hosts) (string, bool) {
	return filter(value, func(m string) bool { return slices.Contains(methods, m) })
}

// filter keeps elements of a list of tokens; it reports false if none is left.
func filter(value string, keep func(string) bool) (string, bool) {
	out := make([]byte, 0, len(value))
	for tok := range strings.SplitSeq(value, ",") {
		if tok = strings.TrimSpace(tok); tok == "" || !keep(tok) {
			continue
		}
		if len(out) > 0 {
			out = append(out, ", "...)
		}
		out = append(out, tok...)
	}
	return string(out), len(out) > 0
}

// warning puts our host in the place of each warn-agent (RFC 3261 §20.43); what cannot be read does not pass.
func warning(value string, h *Hosts) (string, bool) {
	var out []byte
	for rest := value; rest != ""; {
		code, text, ok := strings.Cut(strings.TrimLeft(rest, " \t,"), " ")
		if len(code) != 3 || strings.Trim(code, "0123456789") != "" || !ok {
			return "", false
		}
		open := strings.IndexByte(text, '"')
		if open < 0 {
			return "", false
		}
		end := quotedEnd(text, open)
		if end < 0 {
			return "", false
		}
		if len(out) > 0 {
			out = append(out, ", "...)
		}
		out = append(append(append(append(append(out, code...), ' '), h.Identity...), ' '), text[open:end]...)
		if rest = strings.TrimLeft(text[end:], " \t"); rest != "" && rest[0] != ',' {
			return "", false
		}
	}
	return string(out), len(out) > 0
}

// quotedEnd is the index behind the quoted string that begins at an index, or -1 if it does not end.
func quotedEnd(s string, open int) int {
	for i := open + 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

// charging keeps the number of a P-Charging-Vector, by which the provider's bills are found again; its other parameters
// name the provider's hosts (RFC 7315 §4.6).
func charging(value string, _ *Hosts) (string, bool) {
	kept := keepParams(";"+value, func(name string) bool { return strings.TrimSpace(name) == "icid-value" })
	kept = strings.Trim(kept, "; ")
	return kept, kept != ""
}

// challenge cuts auth-int from an offered qop list: a digest over a body that we rewrite can never match. All else
// stays byte for byte.
func challenge(value string, _ *Hosts) (string, bool) {
	at := indexFold(value, "qop=\"")
	if at < 0 {
		return value, true
	}
	from := at + len("qop=\"")
	n := strings.IndexByte(value[from:], '"')
	if n < 0 {
		return value, true
	}
	qop, left := filter(value[from:from+n], func(q string) bool { return !strings.EqualFold(q, "auth-int") })
	if !left || indexFold(value[from:from+n], "auth-int") < 0 {
		return value, true
	}
	return value[:from] + strings.ReplaceAll(qop, ", ", ",") + value[from+n:], true
}

// indexFold is strings.Index in any case; sub is short and in lower case.
func indexFold(s, sub string) int {
	for i := 0; i+len(sub) <= len(s); i++ {
		if strings.EqualFold(s[i:i+len(sub)], sub) {
			return i
		}
	}
	return -1
}
