package header

import (
	"net/netip"
	"strconv"
	"strings"

	"sallyport/sbc/message"
)

// RewriteURIHost makes of a peer's URI the one that stands in Request-URI, From or To on the other side: its user at
// host (host or host:port). A tel URI becomes a SIP URI (RFC 3261 §19.1.6), a sips one too: it vouches for TLS to the
// far end, and this gate does not. Anonymous stays anonymous, a urn stays what it is; of a URI of any other scheme
// nothing passes.
func RewriteURIHost(u message.URI, host string) message.URI {
	switch u.Scheme {
	case "sip", "sips":
		return rehost(u, host)
	case "tel":
		name, port := splitHost(host)
		return message.URI{
			Scheme: "sip", User: escapeUser(u.User + numberParams(u.Params, name, true)), Host: name, Port: port, Params: ";user=phone",
		}
	case "urn":
		return u
	}
	name, port := splitHost(host)
	return message.URI{Scheme: "sip", User: "anonymous", Host: name, Port: port}
}

// RewriteNameAddr is RewriteURIHost for From and To. The display name passes; tag and parameters do not: the tag is the
// leg's own, the parameters are extensions of one product.
func RewriteNameAddr(n message.NameAddr, host string) message.NameAddr {
	return message.NameAddr{Display: n.Display, URI: RewriteURIHost(n.URI, host)}
}

// Redirect appends to out the Contacts of a 3xx with their hosts rewritten; q and expires pass.
func Redirect(in, out *message.Message, host string) {
	list, star, err := in.Contacts()
	if err != nil || star {
		return
	}
	for _, c := range list {
		n := RewriteNameAddr(c, host)
		n.Params = keepParams(c.Params, func(name string) bool { return name == "q" || name == "expires" })
		out.Add("Contact", n.String())
	}
}

// identity rewrites the hosts of a list of addresses (P-Asserted-Identity, Diversion, History-Info, …). A tel URI
// stays one. What cannot be read does not pass.
func identity(value string, h *Hosts) (string, bool) {
	list, err := message.ParseNameAddrs(value)
	if err != nil {
		return "", false
	}
	out := make([]byte, 0, len(value)+32)
	for _, n := range list {
		switch n.URI.Scheme {
		case "sip", "sips":
			inner := n.URI.Headers
			n.URI = rehost(n.URI, h.Identity)
			n.URI.Headers = keepHeaders(inner)
		case "tel":
			name, _ := splitHost(h.Identity)
			n.URI.Params = numberParams(n.URI.Params, name, true)
		case "urn":
		default:
			continue
		}
		if len(out) > 0 {
			out = append(out, ", "...)
		}
		out = n.Append(out)
	}
	return string(out), len(out) > 0
}

// rehost replaces host and port of a SIP URI, and drops what is meant for one hop: maddr, transport, lr, method, ttl,
// gr, headers, and parameters that are not known to be harmless.
func rehost(u message.URI, host string) message.URI {
	u.Headers = ""
	u.Params = keepParams(u.Params, harmless)
	if nobody(u.Host) {
		u.User, u.Port = cleanUser(u.User, u.Host), 0
		return u
	}
	u.Scheme = "sip"
	u.Host, u.Port = splitHost(host)
	u.User = cleanUser(u.User, u.Host)
	return u
}

// nobody reports a host that hides the caller and names nothing (RFC 3323 §4.1.1.3, RFC 5806 §10.1).
func nobody(host string) bool {
	return strings.EqualFold(host, "anonymous.invalid") || strings.EqualFold(host, "unknown.invalid")
}

// harmless tells the parameters of a SIP URI that say something of the user, not of the way to it.
func harmless(name string) bool {
	switch name {
	case "user", "cause", "cpc", "oli", "isup-oli", "verstat": // RFC 3261 §19.1.1, 4458, 8588, calling party category
		return true
	}
	return false
}

// keepParams keeps parameters of a raw list (with its leading ';') by their names in lower case.
func keepParams(list string, keep func(name string) bool) string {
	if list == "" {
		return ""
	}
	var out []byte
	for p := range strings.SplitSeq(list[1:], ";") {
		name, _, _ := strings.Cut(p, "=")
		if name != "" && keep(strings.ToLower(name)) {
			out = append(append(out, ';'), p...)
		}
	}
	return string(out)
}

// keepHeaders keeps of the header part of a History-Info URI what that header field is for (RFC 7044 §5.2).
func keepHeaders(list string) string {
	if list == "" {
		return ""
	}
	var out []byte
	for p := range strings.SplitSeq(list[1:], "&") {
		name, _, _ := strings.Cut(p, "=")
		if !strings.EqualFold(name, "Reason") && !strings.EqualFold(name, "Privacy") {
			continue
		}
		sep := byte('&')
		if len(out) == 0 {
			sep = '?'
		}
		out = append(append(out, sep), p...)
	}
	return string(out)
}

// cleanUser cuts the password off a user part (RFC 3261 §19.1.1 advises against it), and applies numberParams.
func cleanUser(user, host string) string {
	if strings.IndexByte(user, ':') >= 0 {
		user, _, _ = strings.Cut(user, ":")
	}
	number, params, found := strings.Cut(user, ";")
	if !found {
		return user
	}
	return number + numberParams(";"+params, host, false)
}

// numberParams keeps of a number's parameters what says something of the number (RFC 3966, 4694, 4759, 8588), and puts
// our host in the place of a domain that a local number is local to (RFC 3966 §5.1.5); a context of digits stays. The
// trunk group that a number came by (RFC 4904) goes. Other parameters go from a tel URI; in the user part of a SIP URI
// they stay, for there they may be part of a name ("alice;day=tuesday", RFC 3261 §19.1.3).
func numberParams(list, host string, tel bool) string {
	if list == "" {
		return ""
	}
	var out []byte
	for p := range strings.SplitSeq(list[1:], ";") {
		name, value, _ := strings.Cut(p, "=")
		switch strings.ToLower(name) {
		case "ext", "isub", "postd", "rn", "npdi", "cic", "cpc", "oli", "enumdi", "verstat":
		case "phone-context", "rn-context", "cic-context":
			if strings.HasPrefix(value, "+") {
				break
			}
			if strings.IndexByte(host, ':') >= 0 {
				continue // an IPv6 address is no context
			}
			p = name + "=" + host
		case "tgrp", "trunk-context", "":
			continue
		default:
			if tel {
				continue
			}
		}
		out = append(append(out, ';'), p...)
	}
	return string(out)
}

// escapeUser escapes what a parameter of a tel URI may hold and a SIP user part may not (RFC 3261 §25.1).
func escapeUser(s string) string {
	if !strings.ContainsAny(s, ":[]") {
		return s
	}
	return strings.NewReplacer(":", "%3A", "[", "%5B", "]", "%5D").Replace(s)
}

// splitHost takes host[:port] apart; an IPv6 address may stand in brackets or bare.
func splitHost(s string) (host string, port uint16) {
	if rest, ok := strings.CutPrefix(s, "["); ok {
		h, p, _ := strings.Cut(rest, "]")
		n, _ := strconv.ParseUint(strings.TrimPrefix(p, ":"), 10, 16)
		return h, uint16(n)
	}
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return s, 0
	}
	if a, err := netip.ParseAddr(s); err == nil && a.Is6() {
		return s, 0
	}
	n, _ := strconv.ParseUint(s[i+1:], 10, 16)
	return s[:i], uint16(n)
}
