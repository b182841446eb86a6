package config

import (
	"net/netip"
	"slices"
	"strings"
)

// httpAddress is the address of admin.http; invalid where there is none, or none that can be read.
func httpAddress(text string) netip.AddrPort {
	if rest, is := strings.CutPrefix(text, "localhost:"); is {
		text = "127.0.0.1:" + rest
	}
	a, err := netip.ParseAddrPort(text)
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// adminHTTP checks where metrics and health are read. There is no password: who reaches it reads it.
func (c *checker) adminHTTP() {
	const path, hint = "admin.http", "write 127.0.0.1:8080, or another address of this machine and a port"
	text := c.doc.Admin.HTTP
	if text == "" {
		return
	}
	at := httpAddress(text)
	a := at.Addr()
	switch {
	case !at.IsValid():
		c.fail(path, hint, "%q is not an address and a port", text)
		return
	case at.Port() == 0:
		c.fail(path, hint, "port 0 is none that somebody could ask at")
		return
	case a.Zone() != "", a.IsMulticast(), a == broadcast.Addr:
		c.fail(path, hint, "%s cannot be listened on", a)
		return
	}
	var outside []netip.Addr
	for _, l := range listeners(c.doc) {
		if l.transport.Reliable() && l.bind.Port() == at.Port() && (a.IsUnspecified() || l.bind.Addr() == a) {
			c.fail(path, "give one of the two another port", "listens on %s, as %s does", at, l.path)
		}
		if l.side.String() == "outside" && !slices.Contains(outside, l.bind.Addr()) {
			outside = append(outside, l.bind.Addr())
		}
	}
	switch {
	case a.IsLoopback():
	case a.IsUnspecified():
		c.warn(path, "bind 127.0.0.1, or the inside address, and let the monitoring system come there",
			"%s is every address of this machine, those outside too: the Internet reads metrics and health", at)
	case slices.Contains(outside, a):
		c.warn(path, "bind 127.0.0.1, or the inside address, and let the monitoring system come there",
			"%s is an address outside: the Internet reads metrics and health", at)
	default:
		c.warn(path, "let a packet filter admit the monitoring system alone", "whoever reaches %s reads metrics and health, without a password", at)
	}
}
