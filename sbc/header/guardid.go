package header

import (
	"slices"
	"strings"

	"sallyport/sbc/message"
	"sallyport/sbc/userpart"
)

// id counts an id of the other leg; there is no other to put in its place.
func (c *check) id(id string) {
	if id != "" && slices.Contains(c.brought.IDs, id) {
		c.hits++
		c.stuck = true
	}
}

// ours looks at an id that we have made. None of those shows a host, unlike the many Call-IDs that end in one.
func (c *check) ours(id string) {
	c.id(id)
	if c.shows(id) {
		c.hits++
		c.stuck = true
	}
}

// shows reports whether a text that cannot be repaired shows a host.
func (c *check) shows(v string) bool {
	before := *c
	inspect(c, v)
	found := c.hits > before.hits
	*c = before
	return found
}

// showsWhole reports whether a field shows a host that cannot be repaired: in its name, or in what is signed, of which a broken one is
// refused by whoever verifies it, and none is not (RFC 8224 §6.2).
func (c *check) showsWhole(h *message.Header) bool {
	return strings.IndexByte(h.Name, '.') >= 0 && c.shows(h.Name) || h.Name == "Identity" && c.shows(h.Value)
}

// showsID reports whether a field that may name a dialog holds an id of the other leg.
func (c *check) showsID(h *message.Header) bool {
	if len(c.brought.IDs) == 0 {
		return false
	}
	shows, value, plain := strings.Contains, h.Value, ""
	switch h.Name {
	case "Replaces", "Join", "Target-Dialog", "In-Reply-To", "Refer-To":
		// They are made of ids, of which one may well begin as another one does.
		// In a URI they are escaped; elsewhere a "%" is one (RFC 3261 §25.1, word).
		shows, plain = holdsWord, userpart.Plain(value)
	case "Referred-By", "Call-Info", "Session-Id":
	default:
		if !strings.HasPrefix(h.Name, "X-") && !strings.HasPrefix(h.Name, "P-") {
			return false
		}
	}
	return slices.ContainsFunc(c.brought.IDs, func(id string) bool { return len(id) >= 6 && (shows(value, id) || shows(plain, id)) })
}

// holdsWord reports whether a value holds an id that is not merely a part of a longer one.
func holdsWord(value, id string) bool {
	for at := 0; ; {
		i := strings.Index(value[at:], id)
		if i < 0 {
			return false
		}
		i += at
		end := i + len(id)
		if (i == 0 || !inID(value[i-1])) && (end == len(value) || !inID(value[end])) {
			return true
		}
		at = i + 1
	}
}

// inID reports whether a byte goes on a tag or a Call-ID. Of what both may have these are the ones that do not divide anything in
// a field that names dialogs.
func inID(b byte) bool {
	return b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || strings.IndexByte("-.!%*_+`'~", b) >= 0
}
