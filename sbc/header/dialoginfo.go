package header

import (
	"strings"

	"sallyport/sbc/tu"
)

// dialogInfo changes a dialog-info document (RFC 4235 §4): whom it names at the receiver's host, and the ids by which the
// receiver would speak of a dialog. What a peer sends and receives there, its routes and session descriptions, do not pass.
func (t *Telling) dialogInfo(body []byte) ([]byte, error) {
	return editXML(body, t.dialogStarts, t.dialogEnds)
}

func (t *Telling) dialogStarts(e *xmlEdit) {
	switch {
	case e.is("", "dialog-info"):
		t.editURI(e, "entity")
	case e.is("dialog-info", "dialog"), e.is("dialog", "replaces"):
		t.editDialog(e)
	case e.is("local", "target"), e.is("remote", "target"):
		t.editURI(e, "uri")
	}
}

func (t *Telling) dialogEnds(e *xmlEdit) {
	switch {
	case e.is("dialog", "referred-by"), e.is("local", "identity"), e.is("remote", "identity"), e.is("route-set", "hop"):
		raw, ok := e.text()
		if !ok {
			e.setContent(t.uri("")) // not a URI: nobody's
			return
		}
		if now := t.uri(raw); strings.TrimSpace(raw) != "" && now != raw {
			e.setContent(now)
		}
	case e.is("local", "session-description"), e.is("remote", "session-description"):
		e.setContent("")
	}
}

// editURI changes an attribute that is a URI.
func (t *Telling) editURI(e *xmlEdit, name string) {
	for _, a := range e.attrs() {
		if a.name == name {
			e.set(&a, t.uri(a.value))
		}
	}
}

// editDialog translates the ids of a dialog, or of the one that it replaces.
func (t *Telling) editDialog(e *xmlEdit) {
	list := e.attrs()
	var d tu.DialogID
	for _, a := range list {
		switch a.name {
		case "call-id":
			d.CallID = a.value
		case "local-tag":
			d.Local = a.value
		case "remote-tag":
			d.Remote = a.value
		}
	}
	now := d
	if t.Dialog != nil && d != (tu.DialogID{}) {
		now = t.Dialog(d)
	}
	for _, a := range list {
		switch a.name {
		case "call-id":
			e.set(&a, now.CallID)
		case "local-tag":
			e.set(&a, now.Local)
		case "remote-tag":
			e.set(&a, now.Remote)
		case "id":
			// "The id attribute … serves as a unique identifier" (RFC 4235 §4.1.1): the next document says it again.
			if t.Name != nil && tells(a.value, &d) {
				e.set(&a, t.Name(a.value))
			}
		}
	}
}

// tells reports whether the name of an entry shows an id of its dialog, or an address.
func tells(name string, d *tu.DialogID) bool {
	if strings.IndexByte(name, '@') >= 0 {
		return true
	}
	for _, id := range [...]string{d.CallID, d.Local, d.Remote} {
		if len(id) >= 6 && strings.Contains(name, id) {
			return true
		}
	}
	for word := range strings.FieldsFuncSeq(name, func(r rune) bool { return r >= 0x80 || !quadByte(byte(r)) }) {
		if strings.Count(word, ".") >= 3 {
			return true
		}
	}
	return strings.Count(name, ":") >= 2 // as IPv6 addresses have
}

// list changes the document that tells which part of a body is whose (RFC 4662 §5.2).
func (t *Telling) list(body []byte) ([]byte, error) {
	return editXML(body, func(e *xmlEdit) {
		if e.is("", "list") || e.is("list", "resource") {
			t.editURI(e, "uri")
		}
	}, func(*xmlEdit) {})
}
