package header

import (
	"strings"

	"sallyport/sbc/message"
)

// documents looks at the parts of a body that programs read: states of dialogs, registrations, presence, waiting messages. Texts
// that people wrote stay as they are, and so does what is not text.
func (c *check) documents(kind string, m *message.Message) {
	whole, _, _ := strings.Cut(kind, ";")
	whole = strings.ToLower(strings.TrimSpace(whole))
	if whole == "application/sdp" {
		return
	}
	scan := func(b []byte) []byte {
		was := string(b)
		if now := c.scan(was); now != was {
			return []byte(now)
		}
		return b
	}
	var head func([]byte) []byte
	if strings.HasPrefix(whole, "multipart/") {
		head = scan // Content-ID, which a document in another part names, Geolocation (RFC 6442 §4.1), or the start parameter (RFC 2387 §3.2)
		c.startPart(kind, m)
	}
	m.Body = editParts(kind, m.Body, func(media string, part []byte) []byte {
		if strings.HasSuffix(media, "+xml") || media == "application/simple-message-summary" {
			return scan(part)
		}
		return part
	}, head)
}

// startPart looks at the parameter that names the first part of a multipart. The others stay: a boundary is what the body has.
func (c *check) startPart(kind string, m *message.Message) {
	params := strings.Split(kind, ";")
	for i, p := range params {
		if name, _, _ := strings.Cut(p, "="); strings.EqualFold(strings.TrimSpace(name), "start") {
			params[i] = c.scan(p)
		}
	}
	if now := strings.Join(params, ";"); now != kind {
		m.Set("Content-Type", now)
	}
}
