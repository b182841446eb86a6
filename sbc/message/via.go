package message

import (
	"errors"
	"net/netip"
	"strings"

	"sallyport/sbc/scan"
)

var (
	errViaProtocol = errors.New("Via does not begin with SIP/2.0/ and a transport")
	errViaParam    = errors.New("Via with an empty parameter, a second branch or an rport that is no port")
	errViaCount    = errors.New("too many Via hops")
)

// appendVias reads a Via value, which may hold several hops, comma-separated (RFC 3261 §20.42).
func appendVias(list []Via, s string) ([]Via, error) {
	for {
		end, err := elementLen(s)
		if err != nil {
			return nil, err
		}
		if len(list) == scan.MaxVias {
			return nil, errViaCount
		}
		list = append(list, Via{RPort: -1})
		if err := list[len(list)-1].parse(trim(s[:end])); err != nil {
			return nil, err
		}
		if end == len(s) {
			return list, nil
		}
		s = s[end+1:]
	}
}

// parse reads one hop: SIP / 2.0 / UDP host : port ; parameters, with white space where the grammar lets it be.
func (v *Via) parse(s string) (err error) {
	name, rest, ok1 := strings.Cut(s, "/")
	version, rest, ok2 := strings.Cut(rest, "/")
	if !ok1 || !ok2 || !strings.EqualFold(trim(name), "SIP") || trim(version) != "2.0" {
		return errViaProtocol
	}
	rest = trim(rest)
	i := space(rest)
	if i < 0 || !ValidToken(rest[:i]) {
		return errViaProtocol
	}
	v.Transport = upper(rest[:i])
	sentBy, params := rest[i:], ""
	if i := strings.IndexByte(sentBy, ';'); i >= 0 {
		sentBy, params = sentBy[:i], sentBy[i:]
	}
	if v.Host, v.Port, err = parseSentBy(trim(sentBy)); err != nil {
		return err
	}
	v.Params, err = normalise(params, v.take)
	return err
}

// parseSentBy reads host and port with white space around the colon.
func parseSentBy(s string) (string, uint16, error) {
	if space(s) < 0 {
		return parseHostPort(s)
	}
	i := strings.LastIndexByte(s, ':')
	if i < 0 || strings.IndexByte(s[i:], ']') >= 0 {
		return "", 0, errURIHost // white space inside the host
	}
	host, none, err := parseHostPort(trim(s[:i]))
	if err != nil || none != 0 {
		return "", 0, errURIHost
	}
	port, err := parsePort(trim(s[i+1:]))
	return host, port, err
}

// take picks out the parameters that Via has fields for.
func (v *Via) take(p param) (bool, error) {
	switch {
	case p.name == "":
		return true, errViaParam
	case strings.EqualFold(p.name, "branch"):
		if v.Branch != "" || !ValidToken(p.value) {
			return true, errViaParam
		}
		v.Branch = p.value
	case strings.EqualFold(p.name, "rport"):
		// RFC 3581 §3: without a value in a request, with one in a response.
		v.RPort = 0
		if p.value != "" {
			port, err := parsePort(p.value)
			if err != nil {
				return true, errViaParam
			}
			v.RPort = int(port)
		}
	case strings.EqualFold(p.name, "received"):
		// RFC 5118 §4.5: IPv6 with brackets or without.
		v.Received = strings.TrimSuffix(strings.TrimPrefix(p.value, "["), "]")
		if _, err := netip.ParseAddr(v.Received); err != nil {
			return true, errViaParam
		}
	default:
		return false, nil
	}
	return true, nil
}

// append writes the hop.
func (v *Via) append(dst []byte) []byte {
	dst = append(append(append(dst, "SIP/2.0/"...), v.Transport...), ' ')
	dst = appendHostPort(dst, v.Host, v.Port)
	if v.Branch != "" {
		dst = append(append(dst, ";branch="...), v.Branch...)
	}
	dst = appendSource(dst, v.Received, v.RPort)
	return append(dst, v.Params...)
}

// SetSource notes where a request really came from, in its topmost Via: received if sent-by is not that address
// (RFC 3261 §18.2.1), received and rport if the sender asks for it (RFC 3581 §4). What the sender itself put there is
// overwritten. The reader calls it once, before the message is shared. A response is left alone.
func (m *Message) SetSource(src netip.AddrPort) {
	if !m.IsRequest() || len(m.Via) == 0 {
		return
	}
	v := &m.Via[0]
	v.Received, v.RPort = sourceParams(v.Host, v.RPort, src)
}

// sourceParams is the rule of SetSource for a hop with that sent-by host and rport.
func sourceParams(host string, rport int, src netip.AddrPort) (received string, port int) {
	addr := src.Addr().Unmap().WithZone("")
	if rport >= 0 {
		return addr.String(), int(src.Port())
	}
	if a, err := netip.ParseAddr(host); err == nil && a.Unmap() == addr {
		return "", -1
	}
	return addr.String(), -1
}
