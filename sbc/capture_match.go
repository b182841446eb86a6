package sbc

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"time"

	"sallyport/media"
	"sallyport/nat"
	"sallyport/policy"
	"sallyport/sbc/call"
	"sallyport/sbc/scan"
	"sallyport/sbc/trace"
	"sallyport/sbc/tu"
)

// mediaFace are the interfaces of a capture that media is on, by nat.Side.
var mediaFace = [2]string{nat.Outside: "outside media", nat.Inside: "inside media"}

// asks reports whether somebody captures everything of a source.
func (cs *captures) asks(source netip.Addr) bool {
	for _, c := range cs.all() {
		if c.what.from(source) {
			return true
		}
	}
	return false
}

// heard shows a message that came, and what the guard said to it. Any reader calls it.
func (cs *captures) heard(p *policy.Packet, v *policy.Verdict) {
	for _, c := range cs.all() {
		comment, ok := c.wants(cs.sbc, p.Source.Addr(), p.View)
		if c.what.rules != nil {
			c.mu.Lock()
			if path, hit := c.what.rules.matched(cs.sbc.guard.Rules(), v, string(p.View.Bytes(p.View.CallID))); hit {
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
			if r, ok := cs.sbc.guard.Rules().Rule(v.Rule); ok {
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

// answered shows what a reader has answered by itself.
func (cs *captures) answered(now time.Time, i *nat.Interface, to netip.AddrPort, b []byte) {
	var v scan.View
	for n, c := range cs.all() {
		if n == 0 {
			_ = scan.Scan(b, &v) // our own words
		}
		if comment, ok := c.wants(cs.sbc, to.Addr(), &v); ok {
			c.note(now, i, to, true, comment, b)
		}
	}
}

// sent shows a message that leaves. It runs in the core's turn: whatever changes a call says something, so here captures
// learn of calls and streams.
func (cs *captures) sent(to nat.Flow, b []byte) {
	list := cs.all()
	i := cs.sbc.assembly.world.interfaces[to.Interface]
	if len(list) == 0 || i == nil {
		return
	}
	var v scan.View
	_ = scan.Scan(b, &v) // our own words, or a keep-alive
	callID := string(v.Bytes(v.CallID))
	for _, c := range list {
		_, ok := c.wants(cs.sbc, to.Remote.Addr(), &v)
		begins := v.IsRequest && string(v.Bytes(v.Method)) == "INVITE" && v.ToTag.Len() == 0
		described := !bytes.HasSuffix(b, []byte("\r\n\r\n"))
		if callID != "" && (begins || ok && (described || !c.knows(callID))) {
			cs.followed(c, callID)
		}
		if comment, ok := c.wants(cs.sbc, to.Remote.Addr(), &v); ok {
			c.note(cs.sbc.now(), i, to.Remote, true, comment, b)
		}
	}
}

// note queues a message.
func (c *capture) note(at time.Time, i *nat.Interface, remote netip.AddrPort, sent bool, comment string, b []byte) {
	p := trace.Packet{
		At: at, Face: i.String(), From: remote, To: i.Bind, Sent: sent, Comment: comment, Length: len(b), Data: b[:min(len(b), captureMessage)],
	}
	if sent {
		p.From, p.To = p.To, p.From
	}
	c.queue.put(&p)
}

// wants reports whether a message belongs to a capture, and which call it belongs to.
func (c *capture) wants(s *SBC, remote netip.Addr, v *scan.View) (comment string, ok bool) {
	ok = c.what.from(remote) || c.what.aor != "" && (s.means(c.what.aor, v.Bytes(v.From)) || s.means(c.what.aor, v.Bytes(v.To)))
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

// from reports whether everything of a source is wanted.
func (s *subject) from(a netip.Addr) bool {
	return s.source.IsValid() && s.source.Contains(a.Unmap().WithZone(""))
}

// means reports whether the value of a From or To field names a phone.
func (s *SBC) means(aor string, value []byte) bool {
	user, _, _ := strings.Cut(aor, "@")
	i := bytes.IndexByte(value, ':') // the scheme's; a display name with one in it is looked behind below
	for i >= 0 {
		rest := value[i+1:]
		if bytes.HasPrefix(rest, []byte(user)) && len(rest) > len(user) && rest[len(user)] == '@' {
			host := rest[len(user)+1:]
			if end := bytes.IndexAny(host, ":;>? \t"); end >= 0 {
				host = host[:end]
			}
			snap := s.snap.Load()
			return strings.EqualFold(string(host), snap.PBX.Domain) || slices.Contains(snap.Phones.Domains, strings.ToLower(string(host)))
		}
		next := bytes.IndexByte(rest, ':')
		if next < 0 {
			return false
		}
		i += 1 + next
	}
	return false
}

// survey looks for the calls in progress that a capture follows. It runs in the core's turn.
func (cs *captures) survey(c *capture) {
	for id, x := range cs.sbc.assembly.calls {
		if c.matches(id, x) {
			cs.follow(c, id, x)
		}
	}
}

// followed looks whether the call of a Call-ID is one that a capture follows. It runs in the core's turn.
func (cs *captures) followed(c *capture, callID string) {
	for id, x := range cs.sbc.assembly.calls {
		if x.Is(callID) {
			if c.matches(id, x) {
				cs.follow(c, id, x)
			}
			return
		}
	}
}

// matches reports whether a call is one that a capture's subject has a part in.
func (c *capture) matches(id tu.UserID, x *call.Call) bool {
	s := &c.what
	if s.call != 0 {
		return s.call == id
	}
	v := x.View()
	if s.aor != "" {
		return v.AoR == s.aor
	}
	if s.rules != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		return slices.ContainsFunc(v.Legs, func(l call.LegView) bool { return s.rules.lately(l.CallID) })
	}
	at := func(text string) bool {
		ap, err := netip.ParseAddrPort(text)
		return err == nil && s.from(ap.Addr())
	}
	for i := range v.Legs {
		if at(v.Legs[i].Remote) {
			return true
		}
	}
	return slices.ContainsFunc(v.Streams, func(s call.StreamView) bool { return at(s.Signalled[0]) || at(s.Signalled[1]) })
}

// follow takes a call in: the Call-IDs of its legs, and its streams.
func (cs *captures) follow(c *capture, id tu.UserID, x *call.Call) {
	v := x.View()
	c.mu.Lock()
	c.follows[id] = v.ID
	for i := range v.Legs {
		if v.Legs[i].CallID != "" {
			c.callIDs[v.Legs[i].CallID] = id
		}
	}
	c.mu.Unlock()
	if c.form == 0 {
		return
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for _, stream := range cs.sbc.core.Streams(id) {
		s := cs.streams[stream]
		if s == nil {
			s = &capturedStream{user: id, comment: "call " + v.ID}
			cs.streams[stream] = s
		}
		if !slices.Contains(s.by, c) {
			s.by = append(s.by, c)
		}
		cs.settle(stream, s)
	}
}

// settle has a stream copied as its captures want it. The lock is held.
func (cs *captures) settle(id media.ID, s *capturedStream) {
	var forms media.Tap
	for _, c := range s.by {
		forms |= c.form
	}
	if forms == 0 {
		delete(cs.streams, id)
	}
	if forms != s.forms {
		s.forms = forms
		_ = cs.sbc.plane.Tap(id, forms) // a stream that has ended has nothing to copy
	}
}

// ended hears that a call is over. It runs in the core's turn. What follows, such as the last answer, is captured too.
func (cs *captures) ended(id tu.UserID) {
	for _, c := range cs.all() {
		c.mu.Lock()
		_, follows := c.follows[id]
		c.mu.Unlock()
		if follows {
			time.AfterFunc(captureLinger, func() { cs.forget(c, id) })
		}
	}
}

// forget ends what a capture has to do with a call.
func (cs *captures) forget(c *capture, user tu.UserID) {
	c.mu.Lock()
	delete(c.follows, user)
	for callID, id := range c.callIDs {
		if id == user {
			delete(c.callIDs, callID)
		}
	}
	c.mu.Unlock()
	cs.mu.Lock()
	for id, s := range cs.streams {
		if s.user == user {
			s.by = slices.DeleteFunc(s.by, func(x *capture) bool { return x == c })
			cs.settle(id, s)
		}
	}
	cs.mu.Unlock()
	if c.what.call == user {
		c.finish("the call is over")
	}
}

// copied takes copies of media from the relay.
func (cs *captures) copied(list []media.Copy, lost int) {
	now := cs.sbc.now()
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for i := range list {
		m := &list[i]
		s := cs.streams[m.ID]
		if s == nil {
			continue
		}
		p := trace.Packet{
			// By the monotonic clock, if there is one: the relay's wall clock is as old as its process.
			At: now.Round(0).Add(m.At.Sub(now)), Face: mediaFace[m.Side], From: m.Remote, To: m.Local, Sent: m.Sent, Comment: s.comment,
			Length: len(m.Data), Data: m.Data,
		}
		if m.Sent {
			p.From, p.To = p.To, p.From
		}
		if m.Why != media.Accepted {
			p.Comment += "; not relayed: " + m.Why.String()
		}
		for _, c := range s.by {
			if m.Form&c.form != 0 {
				c.queue.put(&p)
			}
		}
	}
	for _, c := range cs.all() {
		if c.form != 0 {
			c.missed.Add(uint64(lost))
		}
	}
}
