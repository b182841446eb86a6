package header

import (
	"regexp"
	"strings"

	"sallyport/sbc/message"
	"sallyport/sbc/tu"
	"sallyport/sbc/userpart"
)

// callers are the fields that name who calls, or who had the call before, besides From.
var callers = [...]string{"P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID", "Diversion"}

func namesCaller(name string) bool {
	for _, c := range callers {
		if name == c {
			return true
		}
	}
	return false
}

// numbers rewrites the numbers of a message. Called: Request-URI and To; calling: From and the callers' fields.
func (f *finish) numbers(list []tu.Number) {
	if len(list) > 0 {
		f.parties(func(called bool, u *message.URI) bool { return renumber(list, called, u) })
	}
}

// form gives the numbers of a message the form that the receiver wants. A name stays a name.
func (f *finish) form(shape func(message.URI) (message.URI, bool)) {
	if shape == nil {
		return
	}
	f.parties(func(_ bool, u *message.URI) (changed bool) {
		if !nobody(u.Host) {
			*u, changed = shape(*u)
		}
		return changed
	})
}

// parties hands out who is called and who calls, of a message whose names may change, and those who are named besides.
func (f *finish) parties(edit func(called bool, u *message.URI) (changed bool)) {
	m := f.out
	if f.fresh {
		edit(true, &m.URI)
		edit(true, &m.To.URI)
		edit(false, &m.From.URI)
	}
	for i := range m.Headers {
		h := &m.Headers[i]
		if !namesCaller(h.Name) {
			continue
		}
		names, err := message.ParseNameAddrs(h.Value)
		if err != nil {
			continue
		}
		changed := false
		for j := range names {
			changed = edit(false, &names[j].URI) || changed
		}
		if changed {
			h.Value = joined(names)
		}
	}
}

// joined writes a list.
func joined(names []message.NameAddr) string {
	var out []byte
	for i := range names {
		if i > 0 {
			out = append(out, ", "...)
		}
		out = names[i].Append(out)
	}
	return string(out)
}

// renumber gives the user of a URI its new number by the first of a list that matches; its parameters stay.
func renumber(list []tu.Number, called bool, u *message.URI) bool {
	switch u.Scheme {
	case "sip", "sips", "tel":
	default:
		return false
	}
	if nobody(u.Host) {
		return false // nobody has no number
	}
	user, params := u.User, ""
	if u.Scheme != "tel" {
		if i := strings.IndexAny(user, ";:"); i >= 0 {
			user, params = user[:i], user[i:]
		}
	}
	number := plainNumber(user)
	for i := range list {
		n := &list[i]
		if n.Called != called {
			continue
		}
		at := n.Match.FindStringSubmatchIndex(number)
		if at == nil {
			continue
		}
		to, ok := userOf(n.Match.ExpandString(nil, n.Replace, number, at))
		if !ok {
			return false
		}
		changed := to+params != u.User
		u.User = to + params
		return changed
	}
	return false
}

// keys are what a telephone can dial and a URI may hold escaped.
var keys = strings.NewReplacer("%2B", "+", "%2b", "+", "%23", "#", "%2A", "*", "%2a", "*")

// plainNumber is a number as it is dialled: what is there for the eye is cut (RFC 3966 §5.1.1), whatever is escaped is read; a
// name stays as it is, but for keys before or behind it.
func plainNumber(user string) string {
	if n, ok := userpart.Number(user); ok {
		return n
	}
	return keys.Replace(user)
}

// userMost is the longest user that a rule writes.
const userMost = 128

// userOf makes the user part of a URI of what a rule wrote (RFC 3261 §25.1); it reports false for what cannot be one.
func userOf(text []byte) (string, bool) {
	if len(text) == 0 || len(text) > userMost {
		return "", false
	}
	for _, c := range text {
		switch {
		case '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', strings.IndexByte("+*#-_.!~'()&=$,/", c) >= 0:
		default:
			return "", false
		}
	}
	return strings.ReplaceAll(string(text), "#", "%23"), true
}

// groupRE finds $1 and ${1}; $$ is a dollar sign.
var groupRE = regexp.MustCompile(`\$\$|\$\{?([0-9]+)\}?`)

// Template makes of a text with $1 one for tu.Rule and tu.Number: regexp.Expand would read "$1x" as a group named 1x. highest is
// the highest group that it names, 0 if none.
func Template(text string) (template string, highest int) {
	template = groupRE.ReplaceAllStringFunc(text, func(s string) string {
		if s == "$$" {
			return s
		}
		digits := strings.Trim(s, "${}")
		n := 0
		for _, c := range digits[:min(len(digits), 4)] {
			n = n*10 + int(c-'0')
		}
		highest = max(highest, n)
		return "${" + digits + "}"
	})
	return template, highest
}
