package transport

import "net/netip"

// Holder names the program that holds a UDP or TCP port of this machine, as far as this process may know: "asterisk (pid 812)", or "a
// program of user 108" where another user's cannot be looked at; "": nobody seems to.
func Holder(at netip.AddrPort, tcp bool) string { return holder(at, tcp) }
