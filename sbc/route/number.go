package route

import (
	"slices"
	"strings"

	"sallyport/sbc/message"
	"sallyport/sbc/userpart"
)

// Dialled is a number as somebody asks for it, and what it is in the public network.
type Dialled struct {
	Text string // without parameters and what is there for the eye; a name as it is
	E164 string // "+4930123"; empty: a name, a short or a private number, or nobody can tell
}

// String is both, for people.
func (d Dialled) String() string {
	if d.E164 == "" || d.E164 == d.Text {
		return d.Text
	}
	return d.Text + " (" + d.E164 + ")"
}

// Number is the dialled user part of a sip or tel URI without parameters. Of a number what is there for the eye is cut (RFC
// 3966 §5.1.1: "-", ".", "(", ")") and escapes are resolved: "%2B" and "+" are the same (RFC 3261 §19.1.4). Names stay as they
// are.
func Number(uri message.URI) string {
	user, _ := split(uri)
	if n, ok := userpart.Number(user); ok {
		return n
	}
	return user
}

// split takes the user part of a URI and the parameters of a number apart. In a SIP URI they stand before the "@", with the
// password, if there is one; in a tel URI they are those of the URI.
func split(uri message.URI) (user, params string) {
	user = uri.User
	i := strings.IndexAny(user, ";:")
	if i < 0 {
		if uri.Scheme == "tel" {
			return user, uri.Params
		}
		return user, ""
	}
	user, params = user[:i], user[i:]
	if i := strings.IndexByte(params, ':'); i >= 0 {
		params = params[:i]
	}
	if uri.Scheme == "tel" {
		params = uri.Params
	}
	return user, params
}

func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// param looks a parameter of a number up, by its name in lower case; list begins with ";" or is empty.
func param(list, name string) string {
	for p := range strings.SplitSeq(list, ";") {
		key, value, _ := strings.Cut(p, "=")
		if strings.EqualFold(key, name) {
			return value
		}
	}
	return ""
}

// without is a list of parameters without one of them.
func without(list, name string) string {
	var out []byte
	for p := range strings.SplitSeq(list, ";") {
		if key, _, _ := strings.Cut(p, "="); p != "" && !strings.EqualFold(key, name) {
			out = append(append(out, ';'), p...)
		}
	}
	return string(out)
}

// Read is what a URI dials, read as the country's phones dial; nil knows numbers that begin with "+" alone.
//
// A number that is local to a part of the public network is read as that part dials: "A context consisting of the initial
// digits of a global number does not imply that adding these to the local number will generate a valid E.164 number" (RFC 3966
// §5.1.5), so they are not simply put before it. One that is local to a domain is read as the PBX's own.
func (c *Country) Read(uri message.URI) Dialled {
	switch uri.Scheme {
	case "sip", "sips", "tel":
	default:
		return Dialled{Text: uri.User}
	}
	user, params := split(uri)
	n, ok := userpart.Number(user)
	if !ok {
		return Dialled{Text: user}
	}
	if context, global := strings.CutPrefix(param(params, "phone-context"), "+"); global {
		context, _ = userpart.Number(context)
		c = countryOf(CallingCode(context))
	}
	return Dialled{Text: n, E164: c.international(n)}
}

// Readings are the numbers of the public network that whoever is sent a URI may take it for, for those who judge what may be
// called: as Read reads it and, where it is local to a part of the network, as it would be without that, and with the digits of
// the part put before it too, as some do whatever RFC 3966 says of it.
func (c *Country) Readings(uri message.URI) (out []string) {
	d := c.Read(uri)
	add := func(n string) {
		if n != "" && !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	add(d.E164)
	add(c.international(d.Text)) // by who does not read phone-context
	_, params := split(uri)
	for _, list := range [...]string{params, uri.Params} { // behind the host it has no meaning, and is understood by some
		if context := partOf(list); context != "" && allDigits(d.Text) {
			add("+" + context + d.Text)
			add("+" + context + strings.TrimLeft(d.Text, "0"))
			add(countryOf(CallingCode(context)).international(d.Text))
		}
	}
	return out
}

// partOf is the part of the public network that a number with these parameters is local to, by its first digits, however they are
// escaped; empty: none.
func partOf(params string) string {
	context, _ := userpart.Number(param(params, "phone-context"))
	if part, global := strings.CutPrefix(context, "+"); global && allDigits(part) {
		return part
	}
	return ""
}

// international is a dialled number of the public network with "+" and calling code; empty: it is none.
func (c *Country) international(n string) string {
	if rest, global := strings.CutPrefix(n, "+"); global {
		return public(rest)
	}
	if c == nil || !allDigits(n) {
		return ""
	}
	for _, prefix := range c.intl {
		if rest, ok := strings.CutPrefix(n, prefix); ok {
			if e := public(rest); e != "" {
				return e
			}
		}
	}
	if national, ok := strings.CutPrefix(n, c.trunk); ok && c.trunk != "" && c.fits(national) {
		return "+" + c.Code + national
	}
	if c.whole && c.fits(n) {
		return "+" + c.Code + n
	}
	return ""
}

// The lengths of a number of the public network: "the maximum length of the international number is 15 digits" (E.164 §6.1),
// and what is shorter than four behind the calling code is an emergency or service number, which has no international form.
const (
	digitsMost    = 15
	nationalLeast = 4
)

// public is a number behind "+", with it; empty: it cannot be one.
func public(n string) string {
	code := CallingCode(n)
	if code == "" || !allDigits(n) {
		return ""
	}
	national := n[len(code):]
	if c := countryOf(code); c != nil && c.trunk == "0" {
		national = strings.TrimLeft(national, "0") // +49 (0)30: written so by many, and no number begins with it
	}
	if len(national) < nationalLeast || len(code)+len(national) > digitsMost {
		return ""
	}
	return "+" + code + national
}

// fits reports whether a number may be a national one, by its length and its beginning.
func (c *Country) fits(national string) bool {
	if len(national) < c.min || len(national) > c.max || !allDigits(national) {
		return false
	}
	switch {
	case c.Code == "1" && (national[0] < '2' || national[3] < '2'):
		return false // areas and exchanges of North America begin with 2 to 9
	case c.trunk == "0" && national[0] == '0':
		return false
	}
	for _, p := range c.never {
		if strings.HasPrefix(national, p) {
			return false
		}
	}
	for _, p := range c.intl { // it would be dialled as another country's
		if strings.HasPrefix(c.trunk+national, p) || c.whole && strings.HasPrefix(national, p) {
			return false
		}
	}
	return true
}
