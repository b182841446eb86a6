package message

// longNames are the header fields whose usual spelling we keep (RFC 3261 §20 and the IANA registry).
var longNames = []string{
	"Accept", "Accept-Contact", "Accept-Encoding", "Accept-Language", "Alert-Info", "Allow", "Allow-Events",
	"Answer-Mode", "Authentication-Info", "Authorization", "Call-ID", "Call-Info", "Contact", "Content-Disposition",
	"Content-Encoding", "Content-ID", "Content-Language", "Content-Length", "Content-Transfer-Encoding",
	"Content-Type", "CSeq", "Date", "Diversion", "Error-Info", "Event", "Expires", "Feature-Caps", "Flow-Timer",
	"From", "Geolocation", "Geolocation-Error", "Geolocation-Routing", "History-Info", "Identity", "In-Reply-To",
	"Info-Package", "Join", "Max-Breadth", "Max-Forwards", "MIME-Version", "Min-Expires", "Min-SE", "Organization",
	"P-Access-Network-Info", "P-Asserted-Identity", "P-Called-Party-ID", "P-Charging-Function-Addresses",
	"P-Charging-Vector", "P-Early-Media", "P-Preferred-Identity", "Path", "Priority", "Privacy", "Proxy-Authenticate",
	"Proxy-Authorization", "Proxy-Require", "RAck", "Reason", "Record-Route", "Recv-Info", "Refer-Sub", "Refer-To",
	"Referred-By", "Reject-Contact", "Remote-Party-ID", "Replaces", "Reply-To", "Request-Disposition", "Require",
	"Retry-After", "Route", "RSeq", "Security-Client", "Security-Server", "Security-Verify", "Server",
	"Service-Route", "Session-Expires", "SIP-ETag", "SIP-If-Match", "Subject", "Subscription-State", "Supported",
	"Target-Dialog", "Timestamp", "To", "Unsupported", "User-Agent", "User-to-User", "Via", "Warning",
	"WWW-Authenticate",
}

// compactNames are the one-letter names (RFC 3261 §7.3.3 and the IANA registry).
var compactNames = map[string]string{
	"a": "Accept-Contact", "b": "Referred-By", "c": "Content-Type", "d": "Request-Disposition",
	"e": "Content-Encoding", "f": "From", "i": "Call-ID", "j": "Reject-Contact", "k": "Supported",
	"l": "Content-Length", "m": "Contact", "o": "Event", "r": "Refer-To", "s": "Subject", "t": "To",
	"u": "Allow-Events", "v": "Via", "x": "Session-Expires", "y": "Identity",
}

// knownNames finds the canonical name by the lower-case name, long or compact.
var knownNames = func() map[string]string {
	m := make(map[string]string, len(longNames)+len(compactNames))
	for _, n := range longNames {
		m[lower(n)] = n
	}
	for c, n := range compactNames {
		m[c] = n
	}
	return m
}()

// CanonicalName is the one spelling of a header field name that this program uses: the long form in its usual
// capitals, and of a name it does not know every word capitalised ("x-trunk" is "X-Trunk"), so that a name compares
// equal however a peer wrote it (RFC 3261 §7.3.1: names are case-insensitive).
func CanonicalName(name string) string {
	var buf [64]byte
	if len(name) <= len(buf) {
		for i := range len(name) {
			buf[i] = lowerByte(name[i])
		}
		if known, ok := knownNames[string(buf[:len(name)])]; ok {
			return known
		}
	}
	return capitalise(name)
}

func capitalise(name string) string {
	first := true
	for i := range len(name) {
		if name[i] != wantCase(name[i], first) {
			break
		}
		if first = name[i] == '-'; i == len(name)-1 {
			return name
		}
	}
	out := []byte(name)
	first = true
	for i, c := range out {
		out[i] = wantCase(c, first)
		first = c == '-'
	}
	return string(out)
}

func wantCase(c byte, first bool) byte {
	if first && 'a' <= c && c <= 'z' {
		return c - 0x20
	}
	if !first {
		return lowerByte(c)
	}
	return c
}

func lowerByte(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 0x20
	}
	return c
}

// lower is ASCII lower case; it allocates only if there is something to change.
func lower(s string) string {
	for i := range len(s) {
		if c := s[i]; 'A' <= c && c <= 'Z' {
			out := []byte(s)
			for j, c := range out {
				out[j] = lowerByte(c)
			}
			return string(out)
		}
	}
	return s
}

// upper is ASCII upper case; it allocates only if there is something to change.
func upper(s string) string {
	for i := range len(s) {
		if c := s[i]; 'a' <= c && c <= 'z' {
			out := []byte(s)
			for j, c := range out {
				if 'a' <= c && c <= 'z' {
					out[j] = c - 0x20
				}
			}
			return string(out)
		}
	}
	return s
}

// tokenByte tells the bytes of a token (RFC 3261 §25.1).
var tokenByte = func() (t [256]bool) {
	for _, c := range "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.!%*_+`'~" {
		t[c] = true
	}
	return t
}()

// ValidToken reports whether s is a token: a method, header field name, option tag, tag (RFC 3261 §25.1).
func ValidToken(s string) bool {
	for i := range len(s) {
		if !tokenByte[s[i]] {
			return false
		}
	}
	return s != ""
}
