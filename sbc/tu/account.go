package tu

import "slices"

// Account is who we are to a peer system that asks for a password (RFC 3261 §22). It never changes.
type Account struct {
	Username string   // of the digest
	Password Password `json:"-"`
	Realms   []string // whose challenges are answered; none: nobody's
}

// Answers reports whether a realm may have credentials of this account. A nil account has none.
func (a *Account) Answers(realm string) bool { return a != nil && slices.Contains(a.Realms, realm) }

// Same reports whether two accounts are one login: name and password, whatever the realms.
func (a *Account) Same(o *Account) bool {
	if a == nil || o == nil {
		return a == o
	}
	return a.Username == o.Username && a.Password.Is(o.Password)
}

// String is the account without its password, of a value as well as of a pointer.
func (a Account) String() string { return a.Username }

// GoString keeps the password out of %#v.
func (a Account) GoString() string { return a.Username }

// Password is a secret text that only Reveal shows. Methods alone would not hide it: in an unexported field nothing asks for them, and
// a text is printed as it is. Of this type printing finds an address, at whatever depth it stands, and encoders find nothing.
type Password struct{ held *string }

// NewPassword hides a text. An empty one is no password: it is the zero value.
func NewPassword(text string) Password {
	if text == "" {
		return Password{}
	}
	return Password{held: &text}
}

// Reveal is the text.
func (p Password) Reveal() string {
	if p.held == nil {
		return ""
	}
	return *p.held
}

// Is reports whether two passwords are the same text. Do not compare them by ==: that is whether they were made together.
func (p Password) Is(o Password) bool { return p.Reveal() == o.Reveal() }

// String hides it.
func (p Password) String() string {
	if p.held == nil {
		return ""
	}
	return "(hidden)"
}

// GoString hides it.
func (p Password) GoString() string { return p.String() }
