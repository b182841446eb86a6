package capture

import (
	"bytes"
	"net/netip"
	"time"

	"sallyport/nat"
	"sallyport/policy"
	"sallyport/sbc/scan"
	"sallyport/sbc/trace"
)

// Asks reports whether somebody captures everything of a source. Any reader calls it.
func (s *Set) Asks(source netip.Addr) bool {
	for _, c := range s.all() {
		if c.what.from(source) {
			return true
		}
	}
	return false
}

// Heard shows a message that came, and what the guard said to it. Any reader calls it; nothing of either is kept.
func (s *Set) Heard(p *policy.Packet, v *policy.Verdict) {
	for _, c := range s.all() {
		comment, ok := s.wants(c, p.Source.Addr(), p.View)
		if c.what.rules != nil {
			c.mu.Lock()
			if path, hit := c.what.rules.matched(s.program.Rules(), v, string(p.View.Bytes(p.View.CallID))); hit {
				comment, ok = joined(comment, path), true
			}
			c.mu.Unlock()
		}
		if !ok {
			continue
		}
		switch {
		case v.Action == policy.Ignore:
			comment = joined(comment, "no message")
		case v.Refused():
			said := "refused: " + string(v.Reason)
			if r, ok := s.program.Rules().Rule(v.Rule); ok {
				said += " (" + r.Path + ")"
			}
			comment = joined(comment, said)
		}
		c.note(p.Now, p.Interface, p.Source, false, comment, p.Data)
	}
}

func joined(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}

// Answered shows what a reader has answered by itself. Any reader calls it; nothing of b is kept.
func (s *Set) Answered(i *nat.Interface, to netip.AddrPort, b []byte) {
	list := s.all()
	if len(list) == 0 {
		return
	}
	now := s.now()
	var v scan.View
	_ = scan.Scan(b, &v) // our own words
	for _, c := range list {
		if comment, ok := s.wants(c, to.Addr(), &v); ok {
			c.note(now, i, to, true, comment, b)
		}
	}
}

// Sent shows a message that leaves by an interface; nil: one that no longer exists. It runs in the core's turn: whatever changes
// a call says something, so here captures learn of calls and streams. Nothing of b is kept.
func (s *Set) Sent(i *nat.Interface, to netip.AddrPort, b []byte) {
	list := s.all()
	if len(list) == 0 || i == nil {
		return
	}
	var v scan.View
	_ = scan.Scan(b, &v) // our own words, or a keep-alive
	callID := string(v.Bytes(v.CallID))
	for _, c := range list {
		_, ok := s.wants(c, to.Addr(), &v)
		begins := v.IsRequest && string(v.Bytes(v.Method)) == "INVITE" && v.ToTag.Len() == 0
		described := !bytes.HasSuffix(b, []byte("\r\n\r\n"))
		if callID != "" && (begins || ok && (described || !c.knows(callID))) {
			s.followed(c, callID)
		}
		if comment, ok := s.wants(c, to.Addr(), &v); ok {
			c.note(s.now(), i, to, true, comment, b)
		}
	}
}

// wants reports whether a message belongs to a capture, and which call it belongs to.
func (s *Set) wants(c *capture, remote netip.Addr, v *scan.View) (comment string, ok bool) {
	ok = c.what.from(remote) || c.what.aor != "" && (s.names(c.what.aor, v.Bytes(v.From)) || s.names(c.what.aor, v.Bytes(v.To)))
	c.mu.Lock()
	defer c.mu.Unlock()
	callID := string(v.Bytes(v.CallID))
	if id, follows := c.callIDs[callID]; follows {
		return "call " + c.follows[id], true
	}
	return "", ok || c.what.rules != nil && c.what.rules.lately(callID)
}

func (c *capture) knows(callID string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.callIDs[callID]
	return ok
}

// note queues a message.
func (c *capture) note(at time.Time, i *nat.Interface, remote netip.AddrPort, sent bool, comment string, b []byte) {
	p := trace.Packet{
		At: at, Face: i.String(), From: remote, To: i.Bind, Sent: sent, Comment: comment, Length: len(b), Data: b[:min(len(b), messageMost)],
	}
	if sent {
		p.From, p.To = p.To, p.From
	}
	c.queue.put(&p)
}
