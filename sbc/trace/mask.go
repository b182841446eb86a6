package trace

import (
	"bytes"
)

// Mask overwrites the secrets of a message with as many x, in place: what the recorder masks.
func Mask(message []byte) { mask(message) }

// secureProfiles are the profiles of m= lines that stand for SRTP (RFC 3711, 5124, 5764), the longest first, and what they are
// without it.
var secureProfiles = []struct{ secure, plain string }{
	{" UDP/TLS/RTP/SAVPF ", " RTP/AVPF "}, {" UDP/TLS/RTP/SAVP ", " RTP/AVP "}, {" RTP/SAVPF ", " RTP/AVPF "}, {" RTP/SAVP ", " RTP/AVP "},
}

// Unsecure makes the descriptions of a message those of media without SRTP, in place and in the same length: blanks at the
// end of m= lines fill it up. It is for a capture that holds the media decrypted: whoever reads it would take it for SRTP.
func Unsecure(message []byte) {
	_, body, _ := bytes.Cut(message, []byte("\r\n\r\n"))
	for line := range bytes.Lines(body) {
		switch {
		case bytes.HasPrefix(line, []byte("a=crypto:")):
			rest := line[len("a=crypto:"):]
			rest = bytes.TrimLeft(rest[until(rest, " \t"):], " \t")
			overwrite(rest[:until(rest, " \t\r\n")])
		case bytes.HasPrefix(line, []byte("m=")):
			text := bytes.TrimRight(line, "\r\n")
			for _, p := range secureProfiles {
				at := bytes.Index(text, []byte(p.secure))
				if at < 0 {
					continue
				}
				n := at + copy(text[at:], p.plain)
				n += copy(text[n:], text[at+len(p.secure):])
				for ; n < len(text); n++ {
					text[n] = ' '
				}
				break
			}
		}
	}
}

// mask overwrites the secrets of a message with as many x, in place. It needs no valid message.
func mask(message []byte) {
	head, body := message, []byte(nil)
	if i := bytes.Index(message, []byte("\r\n\r\n")); i >= 0 {
		head, body = message[:i], message[i+4:]
	}
	maskURIs(head)
	credentials := false
	for line := range bytes.Lines(head) {
		if c := line[0]; c != ' ' && c != '\t' { // else it goes on with the field above (RFC 3261 §7.3.1)
			name, _, _ := bytes.Cut(line, []byte(":"))
			name = bytes.TrimRight(name, " \t")
			credentials = bytes.EqualFold(name, []byte("authorization")) || bytes.EqualFold(name, []byte("proxy-authorization"))
		}
		if credentials {
			maskCredentials(line)
		}
	}
	maskSDP(body)
}

// maskCredentials masks the response of digest credentials, and all of Basic and Bearer ones.
func maskCredentials(line []byte) {
	for _, scheme := range []string{"basic ", "bearer "} {
		if i := indexFold(line, scheme); i >= 0 {
			overwrite(bytes.TrimRight(line[i+len(scheme):], "\r\n"))
		}
	}
	for at := 0; ; {
		i := indexFold(line[at:], "response")
		if i < 0 {
			return
		}
		at += i + len("response")
		value := bytes.TrimLeft(line[at:], " \t")
		if len(value) == 0 || value[0] != '=' {
			continue
		}
		value = bytes.TrimLeft(value[1:], " \t")
		if len(value) > 0 && value[0] == '"' {
			value = value[1:]
		}
		overwrite(value[:until(value, "\",; \t\r\n")])
	}
}

// maskURIs masks passwords of URIs (RFC 3261 §19.1.1): sip:user:password@host.
func maskURIs(head []byte) {
	for at := 0; ; {
		i := indexFold(head[at:], "sip")
		if i < 0 {
			return
		}
		ends := "@<>\" \t\r\n,"
		if at += i; at > 0 && head[at-1] == '<' {
			ends = "@<>\" \t\r\n" // a password may have a comma, and there it separates nothing (RFC 3261 §20)
		}
		at += len("sip")
		rest := head[at:]
		if len(rest) > 0 && rest[0]|0x20 == 's' {
			rest = rest[1:]
		}
		if len(rest) == 0 || rest[0] != ':' {
			continue
		}
		rest = rest[1:]
		end := until(rest, ends)
		if end == len(rest) || rest[end] != '@' {
			continue
		}
		if colon := bytes.IndexByte(rest[:end], ':'); colon >= 0 {
			overwrite(rest[colon+1 : end])
		}
	}
}

// maskSDP masks the keys of media: inline keys of whatever attribute (a=crypto, a=acap), MIKEY, k=, and ICE
// passwords.
func maskSDP(body []byte) {
	for line := range bytes.Lines(body) {
		switch {
		case bytes.HasPrefix(line, []byte("a=")) && indexFold(line, "inline:") >= 0:
			for at := 0; ; {
				i := indexFold(line[at:], "inline:")
				if i < 0 {
					break
				}
				at += i + len("inline:")
				overwrite(line[at:][:until(line[at:], "|; \t\r\n")])
			}
		case bytes.HasPrefix(line, []byte("k=")):
			overwrite(bytes.TrimRight(line[2:], "\r\n"))
		case bytes.HasPrefix(line, []byte("a=key-mgmt:")): // RFC 4567: "mikey" and the keys
			overwrite(bytes.TrimRight(line[len("a=key-mgmt:"):], "\r\n"))
		case bytes.HasPrefix(line, []byte("a=ice-pwd:")):
			overwrite(bytes.TrimRight(line[len("a=ice-pwd:"):], "\r\n"))
		}
	}
}

func overwrite(b []byte) {
	for i := range b {
		b[i] = 'x'
	}
}

// until is the length of what stands before the first of some bytes.
func until(b []byte, any string) int {
	if i := bytes.IndexAny(b, any); i >= 0 {
		return i
	}
	return len(b)
}

// indexFold finds a lower-case ASCII word in any case.
func indexFold(b []byte, word string) int {
	for i := 0; i+len(word) <= len(b); i++ {
		if b[i]|0x20 == word[0]|0x20 && bytes.EqualFold(b[i:i+len(word)], []byte(word)) {
			return i
		}
	}
	return -1
}
