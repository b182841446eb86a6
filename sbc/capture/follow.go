package capture

import (
	"net/netip"
	"slices"
	"time"

	"sallyport/media"
	"sallyport/nat"
	"sallyport/policy"
	"sallyport/sbc/trace"
	"sallyport/sbc/tu"
)

// mediaFace are the interfaces of a capture that media is on, by nat.Side.
var mediaFace = [2]string{nat.Outside: "outside media", nat.Inside: "inside media"}

// survey looks for the calls in progress that a capture follows. It runs in the core's turn.
func (s *Set) survey(c *capture) {
	for id, call := range s.program.Calls() {
		if c.matches(id, call) {
			s.follow(c, id, call)
		}
	}
}

// followed looks whether the call of a Call-ID is one that a capture follows. It runs in the core's turn.
func (s *Set) followed(c *capture, callID string) {
	for id, call := range s.program.Calls() {
		if call.Is(callID) {
			if c.matches(id, call) {
				s.follow(c, id, call)
			}
			return
		}
	}
}

// matches reports whether a call is one that a capture's subject has a part in.
func (c *capture) matches(id tu.UserID, call Call) bool {
	x := &c.what
	if x.call != 0 {
		return x.call == id
	}
	v := call.View()
	switch {
	case x.aor != "":
		_, ok := policy.Names([]byte("sip:"+v.AoR), x.aor)
		return ok
	case x.rules != nil:
		c.mu.Lock()
		defer c.mu.Unlock()
		return slices.ContainsFunc(v.CallIDs, x.rules.lately)
	}
	return slices.ContainsFunc(v.Ends, func(text string) bool {
		at, err := netip.ParseAddrPort(text)
		return err == nil && x.from(at.Addr())
	})
}

// follow takes a call in: the Call-IDs of its legs, and its streams.
func (s *Set) follow(c *capture, id tu.UserID, call Call) {
	v := call.View()
	c.mu.Lock()
	c.follows[id] = v.ID
	for _, callID := range v.CallIDs {
		if callID != "" {
			c.callIDs[callID] = id
		}
	}
	c.mu.Unlock()
	if c.form == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, at := range s.program.Streams(id) {
		st := s.streams[at]
		if st == nil {
			st = &stream{user: id, comment: "call " + v.ID}
			s.streams[at] = st
		}
		if !slices.Contains(st.by, c) {
			st.by = append(st.by, c)
		}
		s.settle(at, st)
	}
}

// settle has a stream copied as its captures want it. The lock is held.
func (s *Set) settle(id media.ID, st *stream) {
	var forms media.Tap
	for _, c := range st.by {
		forms |= c.form
	}
	if forms == 0 {
		delete(s.streams, id)
	}
	if forms != st.forms {
		st.forms = forms
		_ = s.program.Tap(id, forms) // a stream that has ended has nothing to copy
	}
}

// Ended hears that a user is gone, a call or another one. It runs in the core's turn. What follows, such as the last answer, is
// captured too.
func (s *Set) Ended(id tu.UserID) {
	for _, c := range s.all() {
		c.mu.Lock()
		_, follows := c.follows[id]
		c.mu.Unlock()
		if follows {
			time.AfterFunc(linger, func() { s.forget(c, id) })
		}
	}
}

// forget ends what a capture has to do with a call.
func (s *Set) forget(c *capture, user tu.UserID) {
	c.mu.Lock()
	delete(c.follows, user)
	for callID, id := range c.callIDs {
		if id == user {
			delete(c.callIDs, callID)
		}
	}
	c.mu.Unlock()
	s.mu.Lock()
	for id, st := range s.streams {
		if st.user == user {
			st.by = slices.DeleteFunc(st.by, func(x *capture) bool { return x == c })
			s.settle(id, st)
		}
	}
	s.mu.Unlock()
	if c.what.call == user {
		c.finish("the call is over")
	}
}

// Copied takes copies of media from the relay, and how many more were lost on their way: it is a media.Onlooker.
func (s *Set) Copied(list []media.Copy, lost int) {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range list {
		m := &list[i]
		st := s.streams[m.ID]
		if st == nil {
			continue
		}
		p := packetOf(m, now, st.comment)
		for _, c := range st.by {
			if m.Form&c.form != 0 {
				c.queue.put(&p)
			}
		}
	}
	for _, c := range s.all() {
		if c.form != 0 {
			c.missed.Add(uint64(lost))
		}
	}
}

// packetOf is a datagram of media as it is in a file.
func packetOf(m *media.Copy, now time.Time, comment string) trace.Packet {
	p := trace.Packet{
		// By the monotonic clock, if there is one: the relay's wall clock is as old as its process.
		At: now.Round(0).Add(m.At.Sub(now)), Face: mediaFace[m.Side], From: m.Remote, To: m.Local, Sent: m.Sent, Comment: comment,
		Length: len(m.Data), Data: m.Data,
	}
	if m.Sent {
		p.From, p.To = p.To, p.From
	}
	if m.Why != media.Accepted {
		p.Comment += "; not relayed: " + m.Why.String()
	}
	return p
}
