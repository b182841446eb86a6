package message

import (
	"net/netip"
	"strings"

	"sallyport/sbc/userpart"
)

// AoR is the canonical address-of-record of a URI in From or To, user@domain: one text for each person, however he is spelled. Every
// domain that is served stands for the PBX's own, which is domain (RFC 3261 §10.3 step 5). The user is userpart.Canonical, so case counts in it;
// scheme, password, port and all parameters are no part of it. RFC 3261 §19.1.4 has a port 5060 that is written differ from one that
// is not, but no registrar keeps users by port: Kamailio and FreeSWITCH know user@host, Asterisk the user alone. Empty: it names nobody.
func (u URI) AoR(domain string) string {
	user := userpart.Canonical(u.User)
	if user == "" {
		return ""
	}
	return user + "@" + PlainHost(domain)
}

// UserName is the user part as it was written, without the password: for records and logs.
func (u URI) UserName() string {
	if u.Scheme == "sip" || u.Scheme == "sips" {
		return userpart.Named(u.User)
	}
	return u.User
}

// SplitAoR reads an address-of-record as people write it, and as it was kept by programs before: with or without a scheme, host, port
// and parameters, in any spelling. The user is canonical, the host plain, "" where there is none.
func SplitAoR(text string) (user, host string) {
	if scheme, rest, ok := strings.Cut(text, ":"); ok && (strings.EqualFold(scheme, "sip") || strings.EqualFold(scheme, "sips")) {
		text = rest
	}
	user, host, _ = strings.Cut(text, "@")
	if end := strings.IndexAny(host, ";?> \t"); end >= 0 {
		host = host[:end]
	}
	if name, _, port := strings.Cut(host, ":"); port && !strings.Contains(host[len(name)+1:], ":") {
		host = name
	} else if end := strings.IndexByte(host, ']'); end >= 0 {
		host = host[:end+1]
	}
	return userpart.Canonical(user), PlainHost(host)
}

// PlainHost is a host as it is compared, without brackets: names are equal whatever their case (RFC 3261 §19.1.4), the dot of the root at
// their end is none of them (RFC 1034 §3.1), and an IPv6 address is one address in all its spellings (RFC 5954 §4.2).
func PlainHost(host string) string {
	host = strings.TrimSuffix(host, ".")
	if strings.IndexByte(host, ':') >= 0 {
		if a, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
			return a.Unmap().String()
		}
	}
	return strings.ToLower(strings.Trim(host, "[]"))
}
