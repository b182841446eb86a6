package header

import (
	"bytes"
	"slices"
	"strings"

	"sallyport/media/sdp"
	"sallyport/sbc/message"
)

// body looks at the parts of a body that programs read. Texts that people wrote stay as they are, and so does what is not text, and
// what is compressed or encoded.
func (c *check) body(m *message.Message) {
	kind, typed := m.Get("Content-Type")
	if typed {
		kind = c.contentType(kind, m)
	}
	if len(m.Body) == 0 {
		return
	}
	c.descriptions(kind, m)
	c.documents(kind, m)
}

// contentType looks at the type of a body: its start parameter names a part (RFC 2387 §3.2), its URL a place (RFC 4483 §5.2), and a
// boundary is what the body has.
func (c *check) contentType(kind string, m *message.Message) string {
	now := inspect(c, kind)
	if now == kind {
		return kind
	}
	if was, is := boundary(kind), boundary(now); was != is {
		m.Body = bytes.ReplaceAll(m.Body, []byte("--"+was), []byte("--"+is))
	}
	m.Set("Content-Type", now)
	return now
}

// boundary is what divides the parts of a body of a type; empty: it has none.
func boundary(kind string) string {
	_, params, _ := strings.Cut(kind, ";")
	v, _ := message.NameAddr{Params: ";" + params}.Param("boundary")
	return strings.Trim(v, `"`)
}

// descriptions looks at the session descriptions in a body: first at the hosts of their lines, with which other words of a line
// change, then at all of their text.
func (c *check) descriptions(kind string, m *message.Message) {
	shift := 0
	out := m.Body
	for start, end := range sdp.Parts(kind, m.Body) {
		was := m.Body[start:end]
		now, n := sdp.Replace(was, c.sdpHost, c.g.own[c.side])
		c.hits += n
		if n > 0 && !c.g.own[c.side].IsValid() {
			c.stuck = true
			return
		}
		hits := c.hits
		if now = inspect(c, now); n == 0 && c.hits == hits {
			continue
		}
		out = slices.Concat(out[:start+shift], now, out[end+shift:])
		shift += len(now) - len(was)
	}
	m.Body = out
}

func (c *check) sdpHost(h []byte) bool { return host(c, h) }

// documents looks at the other parts: states of dialogs, registrations, presence, waiting messages, fragments of messages, reports.
func (c *check) documents(kind string, m *message.Message) {
	whole, _, _ := strings.Cut(kind, ";")
	whole = strings.ToLower(strings.TrimSpace(whole))
	if whole == "application/sdp" {
		return
	}
	look := func(b []byte) []byte { return inspect(c, b) }
	var head func([]byte) []byte
	if strings.HasPrefix(whole, "multipart/") {
		head = look // Content-ID, which a document in another part names, or Geolocation (RFC 6442 §4.1)
	}
	m.Body = editParts(kind, m.Body, func(media string, part []byte) []byte {
		if document(media) {
			return look(part)
		}
		return part
	}, head)
}

// document reports whether a program reads what has this media type, in lower case.
func document(media string) bool {
	if strings.HasSuffix(media, "+xml") || strings.HasSuffix(media, "+json") {
		return true
	}
	switch media {
	case "application/xml", "application/json",
		"application/simple-message-summary", // RFC 3842
		"message/sipfrag", "message/sip",     // RFC 3420, RFC 3261 §23
		"message/external-body", // RFC 4483: fields that say what and where it is
		"application/vq-rtcpxr": // RFC 6035: who heard whom, and how
		return true
	}
	return false
}
