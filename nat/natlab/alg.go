package natlab

import (
	"bytes"
	"net/netip"
	"strconv"
)

// SIPALGOptions say how clever a router's SIP "helper" is.
type SIPALGOptions struct {
	Port      uint16 // of the remote or the phone whose datagrams it looks at; 0: 5060
	Ports     bool   // it rewrites the port behind an address in Via, Contact and Request-URI as well, to the mapped one
	FixLength bool   // it corrects Content-Length; otherwise an edited body is cut or has a tail
}

// SIPALG mangles SIP over UDP the way cheap routers do: on the way out the private address becomes the public one in
// Via, Contact, and the c= and o= lines of a body; on the way in the public one becomes private in the same places and
// in the start line. It opens no port for the media it announces, and cannot know that we would have managed without.
func SIPALG(o SIPALGOptions) ALG {
	if o.Port == 0 {
		o.Port = 5060
	}
	return func(t Translation, payload []byte) []byte {
		if t.Remote.Port() != o.Port && t.Private.Port() != o.Port {
			return payload
		}
		return o.edit(t, payload)
	}
}

func (o SIPALGOptions) edit(t Translation, payload []byte) []byte {
	head, body, whole := bytes.Cut(payload, []byte("\r\n\r\n"))
	start, fields, _ := bytes.Cut(head, []byte("\r\n"))
	if !whole || !bytes.Contains(start, []byte("SIP/2.0")) {
		return payload
	}
	from, to := t.Private, t.Public
	if !t.Out {
		from, to = to, from
		start = o.replace(start, from, to)
	}
	var edited []byte
	for line := range bytes.Lines(body) {
		if bytes.HasPrefix(line, []byte("c=")) || bytes.HasPrefix(line, []byte("o=")) {
			line = SIPALGOptions{}.replace(line, from, to)
		}
		edited = append(edited, line...)
	}
	out := append([]byte(nil), start...)
	for line := range bytes.SplitSeq(fields, []byte("\r\n")) {
		if len(fields) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch string(bytes.ToLower(bytes.TrimSpace(name))) {
		case "via", "v", "contact", "m":
			line = o.replace(line, from, to)
		case "content-length", "l":
			if o.FixLength && string(bytes.TrimSpace(value)) == strconv.Itoa(len(body)) {
				line = append(append([]byte(nil), name...), ": "+strconv.Itoa(len(edited))...)
			}
		}
		out = append(append(out, "\r\n"...), line...)
	}
	return append(append(out, "\r\n\r\n"...), edited...)
}

// replace puts one address for another, and the port behind it where the options and the message say so.
func (o SIPALGOptions) replace(line []byte, from, to netip.AddrPort) (out []byte) {
	old, port := []byte(from.Addr().String()), ":"+strconv.Itoa(int(from.Port()))
	done := 0
	for at := 0; ; {
		i := bytes.Index(line[at:], old)
		if i < 0 {
			return append(out, line[done:]...)
		}
		i += at
		at = i + len(old)
		if i > 0 && partOfAddress(line[i-1]) || at < len(line) && partOfAddress(line[at]) {
			continue
		}
		out = append(append(out, line[done:i]...), to.Addr().String()...)
		if end := at + len(port); o.Ports && bytes.HasPrefix(line[at:], []byte(port)) &&
			(end == len(line) || !partOfAddress(line[end])) {
			out = append(out, ":"+strconv.Itoa(int(to.Port()))...)
			at = end
		}
		done = at
	}
}

// partOfAddress keeps 192.168.1.1 from being found in 192.168.1.10.
func partOfAddress(c byte) bool { return c >= '0' && c <= '9' || c == '.' }
