package header

import (
	"strings"

	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// ContactUser is the user part of our Contact for a URI that stands in Request-URI, From or To.
func ContactUser(u message.URI) string {
	if u.Scheme == "sip" || u.Scheme == "sips" {
		return u.User
	}
	return "" // a urn has none
}

// Contact is our Contact towards a hop: the user that it knows there, at our address as it sees it. A provider that we registered
// with knows us by one user, whatever the number is. secure says that a SIPS URI began the dialog or is asked for.
func Contact(hop tu.Hop, user string, secure bool) message.Header {
	here := hop.Here
	u := message.URI{Scheme: "sip", User: user, Host: here.Signal.Addr().String(), Port: here.Signal.Port()}
	if hop.Peer != nil && hop.Peer.ContactUser != "" {
		u.User = hop.Peer.ContactUser
	}
	switch {
	case here.Transport == nat.TLS && secure:
		// "If the request that initiated the dialog contained a SIPS URI in the Request-URI … or the Contact …, the
		// Contact … MUST be a SIPS URI" (RFC 3261 §12.1.1), which means TLS by itself.
		u.Scheme = "sips"
	case here.Transport == nat.WSS && secure:
		u.Scheme, u.Params = "sips", ";transport=ws" // RFC 7118 §5.2.2: both are needed to mean WSS
	case here.Transport != nat.UDP:
		u.Params = ";transport=" + here.Transport.Param()
	}
	n := message.NameAddr{URI: u}
	return message.Header{Name: "Contact", Value: n.String()}
}

// RequestURI is the Request-URI towards a hop: a phone's own Contact, without what a Contact may hold and a Request-URI may not
// (RFC 3261 §19.1.1, table 1); else the user that was asked for at the peer's host.
func RequestURI(u message.URI, hop tu.Hop, hosts Hosts) message.URI {
	if hop.Target == nil {
		return RewriteURIHost(u, hosts.RequestURI)
	}
	out := *hop.Target
	out.Headers = ""
	return out
}

// NamePhone puts a phone's own name in the place of its token, where the PBX wrote our Contact in To. It is the canonical spelling of the
// name (message.URI.AoR), which is equal to the phone's own.
func NamePhone(to *message.URI, hop tu.Hop) {
	if user, _, ok := strings.Cut(hop.Peer.Name, "@"); ok && hop.Peer.Token != "" && to.User == hop.Peer.Token {
		to.User = user
	}
}
