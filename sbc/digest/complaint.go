package digest

import "errors"

// Complaint says to the administrator why a challenge has no answer: what Answer returned, of who, whose account is written at keys.
func Complaint(why error, who, keys string) string {
	switch {
	case errors.Is(why, ErrRefused):
		return who + " refuses user name or password of " + keys + ": " + why.Error()
	case errors.Is(why, ErrForeign):
		return who + " got no password: " + why.Error() + "; if that is a name of its own, write it into realm of " + keys
	default:
		return who + " asks for a password in a way that we do not know: " + why.Error()
	}
}
