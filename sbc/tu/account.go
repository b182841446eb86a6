package tu

import "slices"

// Account is who we are to a peer system that asks for a password (RFC 3261 §22). It never changes.
type Account struct {
	Username string   // of the digest
	Password string   `json:"-"` // never shown: String hides it
	Realms   []string // whose challenges are answered; none: nobody's
}

// Answers reports whether a realm may have credentials of this account. A nil account has none.
func (a *Account) Answers(realm string) bool { return a != nil && slices.Contains(a.Realms, realm) }

// String is the account without its password, of a value as well as of a pointer.
func (a Account) String() string { return a.Username }

// GoString keeps the password out of %#v.
func (a Account) GoString() string { return a.Username }
