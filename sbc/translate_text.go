package sbc

import (
	"fmt"
	"strings"

	"sallyport/sbc/message"
)

// Translated is what a message becomes on the other side.
type Translated struct {
	From    string            `json:"from"`
	To      string            `json:"to,omitempty"`
	Presets []string          `json:"presets,omitempty"` // of the trunk that sends or gets it: what they set
	Refused string            `json:"refused,omitempty"` // it goes no further; Fields are the answer's, if there are any
	Start   TranslatedField   `json:"start"`             // the start line
	Fields  []TranslatedField `json:"fields"`
	Body    string            `json:"body,omitempty"`
}

// TranslatedField is one header field: what it was, what it is, and why.
type TranslatedField struct {
	Name   string   `json:"name,omitempty"`
	Effect string   `json:"effect"` // passed, rewritten, added, removed
	Was    string   `json:"was,omitempty"`
	Is     string   `json:"is,omitempty"`
	Why    []string `json:"why,omitempty"`
}

// fill compares the message that came with the one that goes.
func (t *Translated) fill(in, out *message.Message, passes func(name string) (bool, string), why map[string][]string) {
	was, is := sheetOf(in), sheetOf(out)
	bodiless := len(in.Body) == 0
	t.Fields = []TranslatedField{}
	for _, name := range append(is.names, missing(&is, &was)...) {
		if bodiless && name == "Content-Type" {
			continue
		}
		a, b := was.values[name], is.values[name]
		if (in.IsRequest() != out.IsRequest()) && name != startLine && name != "From" && name != "To" && name != "Call-ID" && name != "CSeq" {
			a = nil // an answer is no translation of its request
			if len(b) == 0 {
				continue
			}
		}
		for i := range max(len(a), len(b)) {
			f := TranslatedField{Name: name}
			if i < len(a) {
				f.Was = a[i]
			}
			if i < len(b) {
				f.Is = b[i]
			}
			f.judge(passes, why[name])
			if name == startLine {
				t.Start = f
			} else {
				t.Fields = append(t.Fields, f)
			}
		}
	}
	for _, v := range in.Via {
		t.Fields = append(t.Fields, TranslatedField{Name: "Via", Effect: "removed", Was: viaText(&v), Why: []string{"belongs to one hop: the gate has its own"}})
	}
}

func missing(is, was *sheet) (names []string) {
	for _, name := range was.names {
		if is.values[name] == nil {
			names = append(names, name)
		}
	}
	return names
}

func viaText(v *message.Via) string {
	text := "SIP/2.0/" + v.Transport + " " + v.Host
	if v.Port != 0 {
		text += fmt.Sprintf(":%d", v.Port)
	}
	return text
}

// judge tells what has happened to a field, and why.
func (f *TranslatedField) judge(passes func(name string) (bool, string), why []string) {
	f.Why = why
	allowed, reason := passes(f.Name)
	switch {
	case f.Was == f.Is:
		f.Effect = "passed"
	case f.Is == "":
		f.Effect = "removed"
		if len(why) == 0 {
			f.Why = []string{reason}
			if allowed {
				f.Why = []string{removedText(f.Name)}
			}
		}
	case f.Was == "":
		f.Effect = "added"
		if len(why) == 0 {
			f.Why = []string{"the gate's own"}
		}
	default:
		f.Effect = "rewritten"
		f.Why = append(f.own(), why...)
	}
}

// removedText says why a field that passes has not.
func removedText(name string) string {
	switch name {
	case "Allow", "Supported", "Require":
		return "nothing in it works through the gate"
	case "P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID", "Privacy", "Subject", "Call-Info", "Reply-To", "Diversion", "History-Info", "Identity":
		return "the caller asks for privacy, and the receiver is not trusted with it (RFC 3323, 3325); or it cannot be read"
	}
	return "it concerns the other leg alone, or cannot be read"
}

// own says what the gate itself does to a field that passes.
func (f *TranslatedField) own() []string {
	switch f.Name {
	case startLine:
		if strings.HasPrefix(f.Is, "SIP/2.0 ") {
			return nil
		}
		return []string{"who is asked for, at the receiver's host"}
	case "From":
		if strings.Contains(f.Is, "@anonymous.invalid") && !strings.Contains(f.Was, "@anonymous.invalid") {
			return []string{"the caller asks for privacy, or the receiver is told no names (RFC 3323)"}
		}
		fallthrough
	case "To":
		return []string{"host of this side, tag of this leg"}
	case "Call-ID", "CSeq":
		return []string{"this leg's own"}
	case "Max-Forwards":
		return []string{"one less"}
	case "Contact":
		return []string{"the gate, as the receiver sees it"}
	case "Allow", "Supported", "Require":
		return []string{"what works through the gate"}
	case "P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID", "Diversion", "History-Info", "P-Called-Party-ID", "P-Served-User", "Warning":
		return []string{"host of this side"}
	}
	return nil
}

var effectMarks = map[string]string{"passed": "=", "rewritten": "~", "added": "+", "removed": "-"}

// Text is the whole for people.
func (t *Translated) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "from  %s\n", t.From)
	if t.To != "" {
		fmt.Fprintf(&b, "to    %s\n", t.To)
	}
	if len(t.Presets) > 0 {
		fmt.Fprintf(&b, "presets of the trunk set  %s\n", strings.Join(t.Presets, ", "))
	}
	if t.Refused != "" {
		fmt.Fprintf(&b, "REFUSED  %s\n", t.Refused)
	}
	if t.Start.Effect == "" {
		return b.String()
	}
	b.WriteString("\n= passed  ~ rewritten  + added  - removed\n\n")
	for _, f := range append([]TranslatedField{t.Start}, t.Fields...) {
		value := f.Is
		if f.Effect == "removed" {
			value = f.Was
		}
		if f.Name != startLine {
			value = f.Name + ": " + value
		}
		fmt.Fprintf(&b, "%s %s\n", effectMarks[f.Effect], value)
		if f.Effect == "rewritten" {
			fmt.Fprintf(&b, "    was  %s\n", f.Was)
		}
		if len(f.Why) > 0 {
			fmt.Fprintf(&b, "    why  %s\n", strings.Join(f.Why, "; "))
		}
	}
	if t.Body != "" {
		fmt.Fprintf(&b, "\nbody  %s\n", t.Body)
	}
	return b.String()
}
