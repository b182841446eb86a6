package config

import (
	"slices"
	"strings"

	"sallyport/sbc/header"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// mostRules bounds the rules on the messages of a peer, in each direction: every message meets them all.
const mostRules = 64

// headers checks the rules on header fields of a peer.
func (c *checker) headers(path string, h *HeadersSection) {
	c.headerRules(path+".inbound", h.Inbound)
	c.headerRules(path+".outbound", h.Outbound)
}

func (c *checker) headerRules(path string, list []HeaderEntry) {
	c.few(path, len(list))
	for i := range list {
		c.headerRule(index(path, i), &list[i])
	}
}

func (c *checker) few(path string, n int) {
	if n > mostRules {
		c.fail(path, "keep those that are needed", "%d rules; there may be %d, for every message meets them all", n, mostRules)
	}
}

func (c *checker) headerRule(at string, e *HeaderEntry) {
	name := message.CanonicalName(e.Header)
	switch why, may := header.Nameable(name); {
	case e.Header == "":
		c.fail(at+".header", "write header: X-Account", "missing")
		return
	case !headerRE.MatchString(e.Header):
		c.fail(at+".header", "write a name such as X-Account", "%q is not the name of a header field", e.Header)
		return
	case !may:
		c.fail(at+".header", "remove the rule", "%s %s: no rule can name it", name, why)
		return
	}
	if e.Action == "" {
		c.fail(at+".action", "write action: set, add, remove or replace", "missing")
		return
	}
	if e.Method == "CANCEL" {
		c.fail(at+".method", "write INVITE: a CANCEL has the names of the INVITE that it ends", "no rule acts on a CANCEL")
	} else if e.Method != "" {
		c.method(at+".method", e.Method)
	}
	c.headerAction(at, name, e)
	c.headerValue(at+".value", name, e)
}

// headerAction checks that an action can do something with a field.
func (c *checker) headerAction(at, name string, e *HeaderEntry) {
	switch {
	case (name == "From" || name == "To") && (e.Action == "add" || e.Action == "remove"):
		c.fail(at+".action", "write set with a whole name, such as \"<sip:+4930123@example.com>\"; identity: { from: remove } hides who calls",
			"every message has one %s: it can be set or replaced, in requests that begin something", name)
	case e.Action == "add" && header.Single(name):
		c.fail(at+".action", "write set", "%s stands in a message once", name)
	case e.Action == "replace" && e.Match.Regexp() == nil:
		c.fail(at, "write match: '(.*)' for every value, or set to write one where there is none", "replace wants a match")
	}
}

// headerValue checks what a rule writes.
func (c *checker) headerValue(at, name string, e *HeaderEntry) {
	if e.Action == "remove" {
		if e.Value != "" {
			c.fail(at, "remove it, or choose another action", "stands beside remove, which writes nothing")
		}
		return
	}
	_, highest := header.Template(e.Value)
	re := e.Match.Regexp()
	switch {
	case e.Value == "":
		c.fail(at, "write what shall stand there, or action: remove", "missing")
	case re == nil && highest > 0:
		c.fail(at, "add match: '(.*)'", "$%d stands for a group of match, and there is none", highest)
	case re != nil && highest > re.NumSubexp():
		c.fail(at, "put parentheses around what it stands for", "$%d: match has no such group", highest)
	case re != nil && strings.IndexByte(e.Value, '$') >= 0: // what comes of it is checked in each message
	case !header.FitValue(name, e.Value):
		c.fail(at, fitHint(name), "%q cannot be a value of %s", e.Value, name)
	}
}

func fitHint(name string) string {
	switch name {
	case "From", "To":
		return `write a whole name: "<sip:+4930123@example.com>", without tag and parameters behind it`
	case "P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID", "Diversion", "History-Info", "Referred-By", "Reply-To",
		"P-Served-User", "P-Called-Party-ID", "P-Associated-Uri":
		return `write an address: "<sip:+4930123@example.com>"`
	case "Allow", "Supported":
		return "write words, with commas between them"
	}
	return "write one line, without blanks at its ends"
}

// numbers checks the rules on numbers of a trunk.
func (c *checker) numbers(path string, n *NumbersSection) {
	for _, d := range []struct {
		path string
		list []NumberEntry
	}{{path + ".inbound", n.Inbound}, {path + ".outbound", n.Outbound}} {
		c.numberRules(d.path, d.list)
	}
}

// numberRules checks the rules on numbers of one direction.
func (c *checker) numberRules(path string, list []NumberEntry) {
	c.few(path, len(list))
	for i := range list {
		at, e := index(path, i), &list[i]
		if e.Of == "" {
			c.fail(at+".of", "write of: called (who is called) or of: calling (who calls)", "missing")
		}
		re := e.Match.Regexp()
		if re == nil {
			c.fail(at+".match", `write match: '0([1-9][0-9]+)', against the whole number`, "missing")
			continue
		}
		_, highest := header.Template(e.Replace)
		switch {
		case e.Replace == "":
			c.fail(at+".replace", "write the number that shall stand there: +49$1", "missing: a number cannot be empty")
		case highest > re.NumSubexp():
			c.fail(at+".replace", "put parentheses around what it stands for", "$%d: match has no such group", highest)
		}
	}
}

// identity checks how a trunk is told who calls.
func (c *checker) identity(path string, id *IdentitySection, registers bool) {
	for _, k := range []struct {
		path, value string
		forms       bool
	}{{path + ".from", id.From, false}, {path + ".asserted", id.Asserted, true}} {
		form, _ := identityForm(k.value)
		const name = "or a name: sip:+4930123@example.com, \"Example <sip:+4930123@example.com>\""
		switch {
		case k.value == wordAccount && registers:
		case k.value == wordAccount:
			c.fail(k.path, "write the account as a name, such as sip:account@sip.example.net; the word is for mode: register", "the trunk has no account")
		case form > tu.IdentityFixed && !k.forms:
			c.fail(k.path, "write pass, remove, account, "+name, "%s is a form of identity.asserted", k.value)
		case form == tu.IdentityFixed && header.FitValue("From", k.value):
		case form == tu.IdentityFixed, form == tu.IdentityPass && k.value != "pass":
			hint := "write pass, remove, account, " + name
			if k.forms {
				hint = "write pass, remove, account, p-asserted, p-preferred, remote-party-id, " + name
			}
			c.fail(k.path, hint, "%q is neither a word of this key nor a name", k.value)
		}
	}
}

// codes checks answers under another code.
func (c *checker) codes(path string, s *CodesSection) {
	for _, d := range []struct {
		path string
		list []CodeEntry
	}{{path + ".inbound", s.Inbound}, {path + ".outbound", s.Outbound}} {
		c.few(d.path, len(d.list))
		for i, e := range d.list {
			at := index(d.path, i)
			switch {
			case !header.MayRecode(e.From):
				c.fail(at+".from", "write a refusal such as 603, 503 or 302",
					"%d is no final refusal, or says what to do next: it is passed as it is", e.From)
			case !header.MayBecome(e.To):
				c.fail(at+".to", "write a refusal such as 486, 480 or 404", "%d is no refusal that means something by itself", e.To)
			case slices.ContainsFunc(d.list[:i], func(x CodeEntry) bool { return x.From == e.From }):
				c.fail(at+".from", "keep one of the two", "%d stands here twice", e.From)
			}
		}
	}
}
