package header

import (
	"strings"
	"testing"

	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// shout stands for any form: it marks what it was given.
func shout(u message.URI) (message.URI, bool) {
	if u.User == "alice" {
		return u, false
	}
	u.User = "+" + u.User
	return u, true
}

// TestForm: the last rule on numbers has the form of the trunk, and so have all who are named; a dialog keeps its names.
func TestForm(t *testing.T) {
	req := func(tag string) *message.Message {
		m := &message.Message{
			Method: "INVITE", URI: message.URI{Scheme: "sip", User: "030", Host: "h"},
			From: message.NameAddr{URI: message.URI{Scheme: "sip", User: "204", Host: "h"}, Tag: "f"},
			To:   message.NameAddr{URI: message.URI{Scheme: "sip", User: "030", Host: "h"}, Tag: tag},
		}
		m.Add("P-Asserted-Identity", `"A" <sip:205@h>, <tel:206>`)
		m.Add("Diversion", "<sip:alice@h>;reason=unconditional")
		m.Add("Contact", "<sip:204@g>")
		return m
	}
	trunk := &tu.Peer{Kind: tu.KindTrunk, Rules: &tu.Rules{Form: shout, NumbersOut: []tu.Number{{Called: true, Match: re("0(.*)"), Replace: "49${1}"}}}}
	pbx := &tu.Peer{Kind: tu.KindNode}
	in, out := req(""), req("")
	Finish(pbx, trunk, in, out)
	text := out.URI.String() + " " + out.To.String() + " " + out.From.String() + " " + fields(out)
	if want := "sip:+4930@h <sip:+4930@h> <sip:+204@h>;tag=f \"A\" <sip:+205@h>, <tel:+206>|<sip:alice@h>;reason=unconditional|<sip:+204@g>"; text != want {
		t.Errorf("%s\nwant %s", text, want)
	}
	in, out = req("t"), req("t")
	Finish(pbx, trunk, in, out)
	if out.URI.User != "030" || out.From.URI.User != "204" || !strings.Contains(fields(out), "<sip:+205@h>") {
		t.Errorf("within a dialog: %s %s %s", out.URI, out.From.URI, fields(out))
	}
	in, out = req(""), req("")
	in.From.URI.Host, out.From.URI.Host = "anonymous.invalid", "anonymous.invalid"
	Finish(pbx, trunk, in, out)
	if out.From.URI.User != "204" {
		t.Errorf("nobody has no number: %s", out.From.URI)
	}
	in, out = req(""), req("")
	Finish(trunk, pbx, in, out)
	if out.URI.User != "030" || out.From.URI.User != "204" {
		t.Errorf("what comes from there stays as it is: %s", out.URI)
	}
}

// fields are the values of a message's fields.
func fields(m *message.Message) string {
	var out []string
	for _, h := range m.Headers {
		out = append(out, h.Value)
	}
	return strings.Join(out, "|")
}
