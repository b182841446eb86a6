package header

import (
	"bytes"
	"strconv"
	"strings"

	"sallyport/media/sdp"
	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// Telling changes the bodies by which one side tells the other what goes on there: dialog states, waiting messages, how a
// referred call fares. Hosts are the receiver's; nil functions leave ids as they are.
type Telling struct {
	Hosts Hosts
	// Dialog is what the receiver calls a dialog. Both are in a document's order: Local is the tag of the end that the document
	// is about, and any id may be empty.
	Dialog func(tu.DialogID) tu.DialogID
	// Name is another name for an entry of a document, always the same, where its own would show an id or an address.
	Name func(id string) string
}

// TellingOf is how bodies of one peer are told to the other one, at the hosts that it is shown.
func TellingOf(ties tu.Ties, from, to *tu.Peer, hosts Hosts) Telling {
	t := Telling{Hosts: hosts}
	switch {
	case ties == nil || from == nil || to == nil:
	case to.Side == nat.Outside:
		t.Dialog = func(d tu.DialogID) tu.DialogID { return tu.Shown(ties, to.Name, d) }
		t.Name = func(id string) string { return ties.Veil(to.Name, id) }
	case from.Side == nat.Outside:
		t.Dialog = func(d tu.DialogID) tu.DialogID { return tu.Meant(ties, from.Name, d) }
	}
	return t
}

// partsMost bounds the parts of a list (RFC 4662): the lamps of one console.
const partsMost = 1024

// Body is a body as the receiver may see it; byte for byte but for what must change. It reports false for one of a known type
// that cannot be read: nobody knows what it shows, so it does not pass.
func (t *Telling) Body(contentType string, body []byte) ([]byte, bool) {
	if len(body) == 0 {
		return body, true
	}
	whole := true
	out := editParts(contentType, body, func(media string, part []byte) []byte {
		edited, ok := t.part(media, part)
		whole = whole && ok
		return edited
	}, nil)
	return out, whole
}

// part is Body for what is no multipart.
func (t *Telling) part(media string, body []byte) ([]byte, bool) {
	switch media {
	case "application/dialog-info+xml":
		out, err := t.dialogInfo(body)
		return out, err == nil
	case "application/rlmi+xml":
		out, err := t.list(body)
		return out, err == nil
	case "application/simple-message-summary":
		return t.summary(body), true
	case "message/sipfrag":
		return fragment(body)
	default:
		return body, true
	}
}

// editParts puts edited parts in the place of those of a body; edit is told the media type in lower case. head edits the fields
// of a part; nil: they stay. Where a part says how long it is, it says so truly.
func editParts(contentType string, body []byte, edit func(media string, part []byte) []byte, head func([]byte) []byte) []byte {
	var list []splice
	for p := range sdp.Leaves(contentType, body, partsMost) {
		was, fields := body[p.Start:p.End], body[p.Head:p.Start]
		now := edit(strings.ToLower(p.Media()), was)
		if head != nil && len(fields) > 0 {
			fields = head(fields)
		}
		if from, to, ok := partLength(fields); ok && len(now) != len(was) {
			fields = spliced(fields, []splice{{from, to, strconv.Itoa(len(now))}})
		}
		if !bytes.Equal(fields, body[p.Head:p.Start]) {
			list = append(list, splice{p.Head, p.Start, string(fields)})
		}
		if !bytes.Equal(now, was) {
			list = append(list, splice{p.Start, p.End, string(now)})
		}
	}
	return spliced(body, list)
}

// partLength finds the number of a Content-Length among the fields of a part.
func partLength(head []byte) (from, to int, ok bool) {
	at := 0
	for line := range bytes.Lines(head) {
		name, value, found := bytes.Cut(line, []byte{':'})
		if found && strings.EqualFold(string(bytes.TrimSpace(name)), "Content-Length") {
			number := bytes.TrimSpace(value)
			from = at + len(line) - len(value) + bytes.Index(value, number)
			return from, from + len(number), len(number) > 0
		}
		at += len(line)
	}
	return 0, 0, false
}

// uri is a URI of a document as the receiver may see it: its user at the receiver's host, without what is meant for one hop.
// What is no URI becomes nobody's.
func (t *Telling) uri(raw string) string {
	u, err := message.ParseURI(strings.TrimSpace(raw))
	switch {
	case err != nil:
		u = message.URI{Scheme: "sip", User: "anonymous", Host: "anonymous.invalid"}
	case u.Scheme == "sip" || u.Scheme == "sips":
		u = rehost(t.Hosts.Behind(u), t.Hosts.To)
	case u.Scheme == "tel":
		name, _ := splitHost(t.Hosts.To)
		u.Params = numberParams(u.Params, name, true)
	default:
		return raw // a urn, a pres URI: the guard looks for hosts in it
	}
	if now := u.String(); now != strings.TrimSpace(raw) {
		return now
	}
	return raw
}

// summary changes a message summary (RFC 3842 §5.2): the account is where its owner hears the messages, "Message-Account:
// sip:alice@vmail.example.com", and he dials it through the gate.
func (t *Telling) summary(body []byte) []byte {
	var list []splice
	at := 0
	for line := range bytes.Lines(body) {
		name, value, ok := bytes.Cut(line, []byte{':'})
		text := bytes.TrimSpace(value)
		if ok && len(text) > 0 && strings.EqualFold(string(bytes.TrimSpace(name)), "Message-Account") {
			from := at + len(line) - len(value) + bytes.Index(value, text)
			if now := t.account(string(text)); now != string(text) {
				list = append(list, splice{from, from + len(text), now})
			}
		}
		at += len(line)
	}
	return spliced(body, list)
}

// account is a URI of a message summary, which some write as a name-addr.
func (t *Telling) account(text string) string {
	open, end := strings.IndexByte(text, '<'), strings.LastIndexByte(text, '>')
	if open >= 0 && end > open {
		return text[:open+1] + t.uri(text[open+1:end]) + text[end:]
	}
	return t.uri(text)
}

// fragment keeps the status line of a response: "the body of each NOTIFY MUST begin with a SIP Response Status-Line" (RFC 3515
// §2.4.5), and fields behind it would show the way that the referred request went.
func fragment(body []byte) ([]byte, bool) {
	line, _, more := bytes.Cut(body, []byte("\n"))
	line = bytes.TrimRight(line, "\r")
	if !bytes.HasPrefix(line, []byte("SIP/2.0 ")) {
		return nil, false
	}
	if !more {
		return body, true
	}
	return append(append(make([]byte, 0, len(line)+2), line...), "\r\n"...), true
}

// Word is the media type of a Content-Type for a line of text: short, and only what such a type may hold.
func Word(contentType string) string {
	media, _, _ := strings.Cut(contentType, ";")
	if media = strings.TrimSpace(media); len(media) > 60 || !message.ValidToken(strings.Replace(media, "/", "-", 1)) {
		return "body of its type"
	}
	return media
}
