package config

import "time"

// Bounds of throttling.
const (
	shortestThrottle = Duration(time.Minute)
	unattended       = Duration(time.Hour) // longer, and whoever was shut out at the PBX stays for too long
)

// throttling checks what is asked of the PBX, and for how long the gate answers in its place.
func (c *checker) throttling(r *RegistrationSection) {
	const inside, again = "phones.registration.inside", "phones.registration.reauthenticate"
	c.span(inside, r.Inside, shortestThrottle, longestExpiry, "0 for no throttling")
	c.span("phones.registration.grace", r.Grace, shortestThrottle, longestExpiry, "0 for none")
	switch {
	case r.Reauthenticate < shortestThrottle || r.Reauthenticate > longestExpiry:
		c.fail(again, "write 1m to 1d; inside: 0 sends every REGISTER to the PBX", "%s is out of range", r.Reauthenticate)
	case r.Inside < shortestThrottle || r.Inside > longestExpiry: // off, or complained of
	case r.Outside == 0:
		c.fail(inside, "write outside: 60s", "phones are told as the PBX says (outside: 0), which would be as long: there is nothing to throttle")
	case r.Inside <= 3*r.Outside:
		// A refresh comes when up to one outside lifetime has passed, and needs two more.
		c.fail(inside, "write 1h, or a shorter outside", "%s leaves no room: a refresh is answered here while the PBX's lifetime is over twice %s",
			r.Inside, r.Outside)
	case r.Reauthenticate <= r.Outside:
		c.fail(again, "write 10m", "%s is no longer than outside, %s: every REGISTER would go to the PBX", r.Reauthenticate, r.Outside)
	case r.Reauthenticate > unattended:
		c.warn(again, "write 10m to 1h", "a phone whose password was changed, or that the PBX has removed, stays registered for up to %s", r.Reauthenticate)
	}
}
