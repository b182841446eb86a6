package header

import (
	"errors"
	"strings"

	"sallyport/sbc/message"
	"sallyport/sbc/userpart"
)

// DialogRef is a dialog as another request names it: the value of Replaces (RFC 3891 §6.1), Join (RFC 3911 §7.1) or
// Target-Dialog (RFC 4538 §7). All three have the point of view of whoever receives the request: its own tag is Local.
type DialogRef struct {
	Name          string // of the header field, canonical
	CallID        string
	Local, Remote string
	Params        string // all others, raw, with the leading ';': early-only
}

// Early reports whether the dialog may only be taken while it is early (RFC 3891 §3).
func (d *DialogRef) Early() bool {
	for p := range strings.SplitSeq(d.Params, ";") {
		if name, _, _ := strings.Cut(p, "="); strings.EqualFold(strings.TrimSpace(name), "early-only") {
			return true
		}
	}
	return false
}

// tagNames are what a field calls the two tags.
func tagNames(field string) (local, remote string) {
	if field == "Target-Dialog" {
		return "local-tag", "remote-tag"
	}
	return "to-tag", "from-tag"
}

// NamesDialog reports whether a header field names a dialog.
func NamesDialog(name string) bool {
	return name == "Replaces" || name == "Join" || name == "Target-Dialog"
}

var errDialogRef = errors.New("it names no dialog: a Call-ID and each tag once")

// ParseDialogRef reads the value of a field that names a dialog.
func ParseDialogRef(field, value string) (DialogRef, error) {
	d := DialogRef{Name: field}
	local, remote := tagNames(field)
	id, rest, _ := strings.Cut(value, ";")
	if d.CallID = strings.TrimSpace(id); d.CallID == "" || strings.ContainsAny(d.CallID, " \t,") {
		return d, errDialogRef
	}
	for p := range strings.SplitSeq(rest, ";") {
		name, v, _ := strings.Cut(p, "=")
		name, v = strings.TrimSpace(name), strings.TrimSpace(v)
		to := &d.Local
		switch {
		case strings.EqualFold(name, local):
		case strings.EqualFold(name, remote):
			to = &d.Remote
		case message.ValidToken(name) && (v == "" || message.ValidToken(v)):
			d.Params += ";" + name
			if v != "" {
				d.Params += "=" + v
			}
			continue
		default:
			return d, errDialogRef
		}
		if *to != "" || !message.ValidToken(v) {
			return d, errDialogRef
		}
		*to = v
	}
	// "A Replaces header field MUST contain exactly one to-tag and exactly one from-tag" (RFC 3891 §6.1, and alike in the
	// others).
	if d.Local == "" || d.Remote == "" {
		return d, errDialogRef
	}
	return d, nil
}

// String writes the value.
func (d DialogRef) String() string {
	local, remote := tagNames(d.Name)
	return d.CallID + ";" + local + "=" + d.Local + ";" + remote + "=" + d.Remote + d.Params
}

// Refer is where a REFER leads: the value of Refer-To (RFC 3515 §2.1), with its header part taken apart.
type Refer struct {
	message.NameAddr                  // without header part
	Method           string           // INVITE where the URI names none
	Fields           []message.Header // of the header part, unescaped, names canonical
}

var errReferTo = errors.New("Refer-To is not one address that can be called")

// ParseRefer reads the Refer-To of a request: "MUST return a 400 … if the request contained zero or more than one Refer-To
// header field values" (RFC 3515 §2.4.2).
func ParseRefer(m *message.Message) (r Refer, err error) {
	list, err := m.NameAddrs("Refer-To")
	if err != nil || len(list) != 1 {
		return r, errReferTo
	}
	r.NameAddr, r.Method = list[0], "INVITE"
	if method, ok := r.URI.Param("method"); ok {
		r.Method = method
	}
	raw := strings.TrimPrefix(r.URI.Headers, "?")
	r.URI.Headers = ""
	if raw == "" {
		return r, nil
	}
	for f := range strings.SplitSeq(raw, "&") {
		name, value, _ := strings.Cut(f, "=")
		n, ok1 := unescape(name)
		v, ok2 := unescape(value)
		if !ok1 || !ok2 || !message.ValidToken(n) || len(r.Fields) >= referFieldsMost {
			return r, errReferTo
		}
		r.Fields = append(r.Fields, message.Header{Name: message.CanonicalName(n), Value: v})
	}
	return r, nil
}

// referFieldsMost bounds the header part of a Refer-To.
const referFieldsMost = 16

// Rehosted is the Refer-To that the other side gets: its user at host, and of its header part what passes. tie translates a
// field that names a dialog; ok is false where it may not pass, and then nothing does, for without it the call would be
// another one.
func (r *Refer) Rehosted(host string, tie func(DialogRef) (DialogRef, bool)) (n message.NameAddr, ok bool) {
	n = RewriteNameAddr(r.NameAddr, host)
	var part []byte
	for _, f := range r.Fields {
		value := f.Value
		switch f.Name {
		case "Replaces", "Join", "Target-Dialog":
			d, err := ParseDialogRef(f.Name, f.Value)
			if err != nil {
				return n, false
			}
			if d, ok = tie(d); !ok {
				return n, false
			}
			value = d.String()
		case "Require":
			if value, ok = optionTags(f.Value, nil); !ok {
				continue
			}
		case "Accept-Contact", "Reject-Contact", "Request-Disposition", "Subject", "User-to-User", "Priority":
		default: // what else could be meant for the call is told by whoever places it
			continue
		}
		sep := byte('&')
		if len(part) == 0 {
			sep = '?'
		}
		part = append(append(append(part, sep), f.Name...), '=')
		part = escape(part, value)
	}
	n.URI.Headers = string(part)
	return n, true
}

// ReferredBy rewrites the value of Referred-By (RFC 3892): who refers, at a host that the receiver knows. The token in the
// body that may prove it is of one hop, and goes.
func ReferredBy(value, host string) (string, bool) {
	n, err := message.ParseNameAddr(value)
	if err != nil {
		return "", false
	}
	n = RewriteNameAddr(n, host)
	return n.String(), true
}

// referredBy is ReferredBy of the allow list.
func referredBy(value string, h *Hosts) (string, bool) { return ReferredBy(value, h.Identity) }

// unescape takes %HH out of a text. What cannot stand in a header field afterwards is refused.
func unescape(s string) (string, bool) {
	if strings.IndexByte(s, '%') < 0 {
		return s, true
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); {
		b, next := userpart.Char(s, i)
		if s[i] == '%' && (next == i+1 || b < ' ' || b == 0x7f) {
			return "", false // half an escape; CR and LF would end the field
		}
		out = append(out, b)
		i = next
	}
	return string(out), true
}

// escape appends a value as the header part of a URI has it: all but letters, digits and marks as %HH (RFC 3261 §25.1,
// hvalue).
func escape(dst []byte, s string) []byte {
	const digit = "0123456789ABCDEF"
	for i := range len(s) {
		b := s[i]
		if b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || strings.IndexByte("-_.!~*'()", b) >= 0 {
			dst = append(dst, b)
			continue
		}
		dst = append(dst, '%', digit[b>>4], digit[b&15])
	}
	return dst
}
