package route

import (
	"slices"
	"strings"

	"sallyport/sbc/message"
	"sallyport/sbc/userpart"
)

// Form is how numbers of the public network are written.
type Form uint8

// The forms; the examples are +49 30 1234567 at home in Germany.
const (
	FormDialled       Form = iota // as it was dialled
	FormE164                      // 49301234567
	FormPlus                      // +49301234567
	FormNational                  // 0301234567; of other countries as FormInternational
	FormInternational             // 0049301234567
)

var forms = [...]string{"dialled", "e164", "plus", "national", "international"}

// String is the form's word in the configuration.
func (f Form) String() string { return forms[int(f)%len(forms)] }

// ParseForm finds a form by its word.
func ParseForm(word string) (Form, bool) {
	i := slices.Index(forms[:], word)
	return Form(max(i, 0)), i >= 0
}

// AtHome reports whether a form can only be written by who knows how his country dials.
func (f Form) AtHome() bool { return f == FormNational || f == FormInternational }

// Write gives a number of the public network a form. It stays as it is where the country is needed and unknown.
func (c *Country) Write(e164 string, f Form) string {
	n := strings.TrimPrefix(e164, "+")
	switch {
	case f == FormE164:
		return n
	case c == nil || !f.AtHome():
		return e164
	case f == FormNational && strings.HasPrefix(n, c.Code) && CallingCode(n) == c.Code && c.fits(n[len(c.Code):]):
		if c.whole {
			return n[len(c.Code):]
		}
		return c.trunk + n[len(c.Code):]
	}
	return c.intl[0] + n
}

// Shape is how a trunk is given numbers. It never changes.
type Shape struct {
	Country *Country // how the PBX's phones dial; nil: unknown
	Form    Form
	Phone   bool     // SIP URIs with a number say so: user=phone
	Keep    []string // numbers that stay as they are dialled
}

// Apply gives the number of a URI its shape. It reports false where nothing changes: a name stays a name.
//
// "If the user string contains a telephone number formatted as a telephone-subscriber, the user parameter value 'phone' SHOULD
// be present" (RFC 3261 §19.1.1). A tel URI has no other form than a global one: "Globally unique numbers are identified by
// the leading '+' character" (RFC 3966 §5.1.4), and a local number would need a context that both sides know.
func (s *Shape) Apply(u message.URI) (message.URI, bool) {
	switch u.Scheme {
	case "sip", "sips", "tel":
	default:
		return u, false
	}
	before := u
	d := s.Country.Read(u)
	if _, number := userpart.Number(d.Text); !number || slices.Contains(s.Keep, d.Text) {
		return u, false
	}
	if s.Form != FormDialled && d.E164 != "" {
		_, params := split(u)
		params = without(params, "phone-context") // the number is not local to it any more
		if u.Scheme == "tel" {
			u.User, u.Params = d.E164, params
		} else {
			u.User = s.Country.Write(d.E164, s.Form) + params
		}
	}
	if _, said := u.Param("user"); s.Phone && u.Scheme != "tel" && !said {
		u.Params += ";user=phone"
	}
	return u, u != before
}
