package header

import (
	"bytes"
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
	c.parts(kind, m)
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

// parts looks at session descriptions, and at the parts that tell states of dialogs, registrations, presence, waiting messages, or
// are fragments of messages and reports.
func (c *check) parts(kind string, m *message.Message) {
	var head func([]byte) []byte
	if whole, _, _ := strings.Cut(kind, "/"); strings.EqualFold(strings.TrimSpace(whole), "multipart") {
		head = func(b []byte) []byte { return inspect(c, b) } // Content-ID, which a document in another part names, or Geolocation (RFC 6442 §4.1)
	}
	m.Body = editParts(kind, m.Body, func(media string, part []byte) []byte {
		switch {
		case media == "application/sdp":
			return c.description(part)
		case document(media):
			return inspect(c, part)
		}
		return part
	}, head)
}

// description looks at a session description: first at the hosts of its lines, with which other words of a line change, then at all
// of its text.
func (c *check) description(was []byte) []byte {
	now, n := sdp.Replace(was, c.sdpHost, c.g.own[c.side])
	c.hits += n
	if n > 0 && !c.g.own[c.side].IsValid() {
		c.stuck = true
		return was
	}
	return inspect(c, now)
}

func (c *check) sdpHost(h []byte) bool { return host(c, h) }

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
