package call

import (
	"sallyport/sbc/header"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// The option tags of a call are said on each leg by its own right: 100rel (RFC 3262), precondition (RFC 3312), 199 (RFC 6228).

// takeTags notes what the caller's INVITE says of them. It returns what it requires and cannot have: a precondition is met end
// to end or not at all, and "the offerer MUST" have reliable responses for it (RFC 3312 §11).
func (c *Call) takeTags(m *message.Message) (missing []string) {
	if c.assured = assuranceOf(m); c.assured == supported && c.legs[caller].lacks().Option("100rel") {
		c.assured = unassured
	}
	c.wants199 = has(m, "Supported", "199")
	asked := has(m, "Require", "precondition")
	c.conditional = c.assured != unassured && (asked || has(m, "Supported", "precondition"))
	if missing = header.Unsupported(m); asked && !c.conditional {
		missing = append(missing, "precondition")
	}
	return missing
}

// offerTags writes them into our INVITE: "Supported: 100rel is sent only if our INVITE carries an offer or the caller supports
// it", for the answer to an offer in a reliable response would have nowhere to come from.
func (c *Call) offerTags(in, out *message.Message) {
	if c.offered || c.assured != unassured {
		out.Add("Supported", "100rel")
		for i := range out.Headers {
			if h := &out.Headers[i]; h.Name == "Allow" && !has(out, "Allow", "PRACK") {
				h.Value += ", PRACK" // the caller's own, who is not asked
			}
		}
	}
	if c.wants199 {
		out.Add("Supported", "199")
	}
	if c.legs[callee].lacks().Option("precondition") && !has(in, "Require", "precondition") {
		c.conditional = false
	}
	c.conditions(in, out)
}

// conditions passes the tag of preconditions where both peers have them.
func (c *Call) conditions(in, out *message.Message) {
	if !c.conditional {
		return
	}
	for _, name := range [2]string{"Supported", "Require"} {
		if has(in, name, "precondition") {
			out.Add(name, "precondition")
		}
	}
}

// missing lists what a request of a dialog requires and cannot have.
func (c *Call) missing(m *message.Message) []string {
	tags := header.Unsupported(m)
	if !c.conditional && has(m, "Require", "precondition") {
		tags = append(tags, "precondition")
	}
	return tags
}

// lacks is what a leg's peer is not told that it may use, and not asked for.
func (l *leg) lacks() tu.Lacks {
	if l.peer == nil {
		return 0
	}
	return l.peer.Manners.Lacks
}
