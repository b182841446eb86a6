package exchange

import (
	"bytes"
	"strings"

	"sallyport/sbc/header"
	"sallyport/sbc/message"
)

func contentType(m *message.Message) string {
	v, _ := m.Get("Content-Type")
	return v
}

// passable is the body as it may pass: texts as they are, a session description muted. It reports false for one that does
// not pass: without a type nobody could read it (RFC 3261 §20.15), and a description within a multipart cannot be muted
// without its other parts being touched.
func passable(m *message.Message) ([]byte, bool) {
	if len(m.Body) == 0 {
		return nil, true
	}
	kind, _, _ := strings.Cut(contentType(m), ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	switch {
	case kind == "":
		return nil, false
	case kind == "application/sdp":
		return mute(m.Body)
	case strings.HasPrefix(kind, "multipart/") && bytes.Contains(bytes.ToLower(m.Body), []byte("application/sdp")):
		return nil, false
	default:
		return m.Body, true
	}
}

// readable reports whether a body is what its type says, of the types that the gate knows: what it could not read it could not
// pass, and a PUBLISH without its body would be another one (RFC 3903 §4.1).
func readable(m *message.Message) bool {
	t := header.Telling{}
	_, ok := t.Body(contentType(m), m.Body)
	return ok
}

// copyBody passes the body of a leg's message as the other leg may see it, if it may.
func (e *Exchange) copyBody(from int, out, in *message.Message) {
	body, ok := passable(in)
	if !ok || len(body) == 0 {
		return
	}
	_, hosts := e.hosts(from)
	t := header.TellingOf(e.set.Ties, e.legs[from].hop.Peer, e.legs[1-from].hop.Peer, hosts)
	if body, ok = t.Body(contentType(in), body); !ok {
		return
	}
	out.Body = body
	out.Set("Content-Type", contentType(in))
}

// mute takes addresses and ports out of a session description that is no offer or answer, as in the 200 to an OPTIONS: it
// says what a peer can do, not where (RFC 3264 §9). Lines that name a place only go, and so does who made it; one that
// is no description does not pass.
func mute(body []byte) ([]byte, bool) {
	if !bytes.HasPrefix(body, []byte("v=0")) {
		return nil, false
	}
	out := make([]byte, 0, len(body))
	for line := range bytes.Lines(body) {
		text := bytes.TrimRight(line, "\r\n")
		end := line[len(text):]
		if len(text) == 0 {
			continue
		}
		if len(text) < 2 || text[1] != '=' || bytes.IndexByte(text, '\r') >= 0 {
			return nil, false
		}
		text, ok := muteLine(text)
		if !ok {
			return nil, false
		}
		if text != nil {
			out = append(append(out, text...), end...)
		}
	}
	return out, true
}

// muteLine is one line without its place; nil: the line does not pass. It reports false for one that cannot be read.
func muteLine(line []byte) (muted []byte, ok bool) {
	switch line[0] {
	case 'o':
		return []byte("o=- 1 1 IN IP4 0.0.0.0"), true
	case 'c':
		return []byte("c=IN IP4 0.0.0.0"), true
	case 'm':
		// m=<media> <port>[/<number>] <proto> <fmt> …
		media, rest, _ := bytes.Cut(line, []byte(" "))
		_, rest, ok := bytes.Cut(rest, []byte(" "))
		return append(append(append([]byte(nil), media...), " 0 "...), rest...), ok
	case 's':
		return []byte("s=-"), true // product names like to stand here
	case 'u', 'e', 'p', 'i':
		return nil, true
	case 'a':
		name, _, _ := bytes.Cut(line[2:], []byte(":"))
		switch strings.ToLower(string(name)) {
		case "rtcp", "candidate", "remote-candidates", "end-of-candidates", "source-filter", "ssrc", "alt", "path",
			"ice-ufrag", "ice-pwd", "ice-options", "ice-lite", "tool", "crypto", "fingerprint", "setup":
			return nil, true
		}
	}
	return line, true
}
