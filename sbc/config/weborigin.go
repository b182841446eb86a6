package config

import (
	"regexp"
	"slices"
	"strings"
)

// originRE is an origin without a path: scheme, host and perhaps a port.
var originRE = regexp.MustCompile(`^([a-z][a-z0-9+.-]*)://([a-z0-9_][a-z0-9_.-]*|\[[0-9a-f:.]+\])?(:[1-9][0-9]{0,4})?$`)

// opaqueOrigin is what browsers write for pages that have none, such as files.
const opaqueOrigin = "null"

// origin6454 is an origin as a browser writes it: in lower case, without the port that its scheme has anyway (RFC 6454 §6.2).
func origin6454(text string) (string, bool) {
	o := strings.ToLower(text)
	m := originRE.FindStringSubmatch(o)
	switch {
	case o == opaqueOrigin:
	case m == nil, m[2] == "" && (m[1] == "http" || m[1] == "https" || m[3] != ""):
		return "", false
	case m[1] == "https" && m[3] == ":443", m[1] == "http" && m[3] == ":80":
		o = strings.TrimSuffix(o, m[3])
	}
	return o, true
}

// origins checks the web sites whose pages may open a WebSocket.
func (c *checker) origins(path string, list []string) {
	var seen []string
	for i, text := range list {
		at := index(path, i)
		o, ok := origin6454(text)
		switch {
		case !ok:
			c.fail(at, "write what stands in the browser's address line up to the path, such as https://phone.example.com", "%q is no web site", text)
		case slices.Contains(seen, o):
			c.fail(at, "remove it", "%q stands here twice", text)
		}
		seen = append(seen, o)
	}
	if len(list) > 0 && c.doc.Outside.Phones.WSS == 0 && !c.unread("outside.phones") {
		c.warn(path, "add wss: 443 to outside.phones, or remove the list", "counts only for WebSockets, and none is open")
	}
}
