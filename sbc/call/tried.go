package call

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// What the record says of the way to the callee: each hop that was asked, what became of it, and why the call ended in the
// words of who ended it.

// tryBegins notes a hop that the INVITE goes to, and what it is told of both ends.
func (c *Call) tryBegins(now time.Time, hop *tu.Hop, m *message.Message) {
	c.cdr.Tries = append(c.cdr.Tries, tu.Try{
		Peer: hop.Peer.Name, Address: hop.Flow.Remote.String(), Transport: hop.Flow.Transport.String(), At: c.wall(now),
	})
	c.cdr.FromSent, c.cdr.ToSent = m.From.URI.User, m.URI.User
	if c.legs[callee].phone() {
		c.cdr.ToSent = m.To.URI.User // the Request-URI is its own Contact
	}
}

// tried notes what became of the last hop. What it said itself stays: how it counts is another matter.
func (c *Call) tried(now time.Time, code int, why reason.Reason) {
	n := len(c.cdr.Tries)
	if n == 0 {
		return
	}
	t := &c.cdr.Tries[n-1]
	if t.Code == 0 {
		t.Code = code
		t.Took = c.wall(now).Sub(t.At).Seconds()
	}
	if t.Reason == "" && code >= 300 {
		t.Reason = why
	}
}

// Way puts into a record what is known so far of the way to the callee, and of what the ends are and were told.
func (c *Call) Way(r *tu.CDR) {
	r.Transports, r.UserAgents, r.FromSent, r.ToSent = c.cdr.Transports, c.cdr.UserAgents, c.cdr.FromSent, c.cdr.ToSent
	if b := &c.legs[callee]; b.peer != nil && !c.loops(callee) {
		r.Transports[callee] = b.hop.Flow.Transport.String()
	}
	if r.Tries = c.cdr.Tries; c.phase != ending {
		r.Tries = slices.Clone(r.Tries) // what is known of them changes still
	}
	switch {
	case !c.cdr.Ringing.IsZero():
		r.PostDial = c.cdr.Ringing.Sub(c.cdr.Start).Seconds()
	case !c.cdr.Answer.IsZero():
		r.PostDial = c.cdr.Answer.Sub(c.cdr.Start).Seconds()
	}
}

// unsent notes that there was no place for the INVITE at the hop: a failure of that kind is ours.
func (c *Call) unsent(why reason.Reason) {
	if n := len(c.cdr.Tries); n > 0 && why == reason.NoCapacity {
		c.cdr.Tries[n-1].Unsent = true
	}
}

// said notes a final answer of the hop that was asked last. The next one to the same hop (credentials, a longer interval, other
// media) counts in its place.
func (c *Call) said(now time.Time, code int) {
	if n := len(c.cdr.Tries); n > 0 {
		c.cdr.Tries[n-1].Code = 0
	}
	c.tried(now, code, "")
}

// cdrAgent notes what an end calls itself.
func (c *Call) cdrAgent(leg int, m *message.Message) {
	if c.cdr.UserAgents[leg] != "" {
		return
	}
	name := "Server" // "contains information about the software used by the UAS" (RFC 3261 §20.35)
	if m.IsRequest() {
		name = "User-Agent"
	}
	agent, ok := m.Get(name)
	if !ok {
		agent, _ = m.Get("User-Agent") // which many write into answers
	}
	c.cdr.UserAgents[leg] = strings.Clone(agent[:min(len(agent), agentMost)]) // of the message nothing else stays
}

// agentMost bounds what is kept of such a name, in bytes.
const agentMost = 128

// cdrCause notes why an end has ended the call, if it says so. The first word counts: what follows are answers to it.
func (c *Call) cdrCause(m *message.Message) {
	if why := reasonOf(m); why != "" && c.cdr.Cause == "" {
		c.cdr.Cause = strings.Clone(why)
		c.cdr.Q850 = q850(why)
	}
}

// q850 is the cause of ITU-T Q.850 in a Reason: "protocol … Q.850 … The cause value … in decimal" (RFC 3326 §2). 0: there is
// none.
func q850(why string) int {
	for value := range unquotedSplit(why, ',') {
		first := true
		known := false
		for part := range unquotedSplit(value, ';') {
			part = strings.TrimSpace(part)
			if first {
				first, known = false, strings.EqualFold(part, "Q.850")
				continue
			}
			name, text, _ := strings.Cut(part, "=")
			if !known || !strings.EqualFold(strings.TrimSpace(name), "cause") {
				continue
			}
			// "cause value: 7 bits" (Q.850 §2.2.5).
			if n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 7); err == nil {
				return int(n)
			}
		}
	}
	return 0
}

// unquotedSplit yields the parts of a text between separators that stand in no quotes.
func unquotedSplit(s string, sep byte) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		from, quoted := 0, false
		for i := 0; i < len(s); i++ {
			switch {
			case quoted && s[i] == '\\':
				i++
			case s[i] == '"':
				quoted = !quoted
			case s[i] == sep && !quoted:
				if !yield(s[from:i]) {
					return
				}
				from = i + 1
			}
		}
		yield(s[from:])
	}
}
