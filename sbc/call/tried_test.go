package call

import (
	"strings"
	"testing"
	"time"

	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

func TestQ850(t *testing.T) {
	for in, want := range map[string]int{
		"":                                       0,
		`Q.850;cause=16;text="Normal"`:           16,
		`q.850 ; cause = 17`:                     17,
		"SIP;cause=200":                          0,
		`SIP;cause=200;text="a", Q.850;cause=31`: 31,
		`SIP;text=", Q.850;cause=1"`:             0,
		`SIP;text="\", Q.850;cause=1"`:           0,
		"Q.850;cause=128":                        0, // seven bits
		"Q.850;cause=-1":                         0,
		"Q.850;cause=x, Q.850;cause=3":           3,
		"Q.850":                                  0,
		`Q.850;text="`:                           0,
		"preemption;cause=1":                     0,
	} {
		if got := q850(in); got != want {
			t.Errorf("q850(%q) = %d, want %d", in, got, want)
		}
	}
}

func FuzzQ850(f *testing.F) {
	f.Add(`Q.850;cause=16;text="Normal, clearing"`)
	f.Add(`SIP;cause=200, Q.850;cause=31`)
	f.Add(`Q.850;text="\`)
	f.Fuzz(func(t *testing.T, s string) {
		if n := q850(s); n < 0 || n > 127 {
			t.Errorf("%q has the cause %d", s, n)
		}
		var all []string
		for part := range unquotedSplit(s, ',') {
			all = append(all, part)
		}
		if strings.Join(all, ",") != s {
			t.Errorf("%q falls into %q", s, all)
		}
	})
}

// TestTries: what became of each hop, whatever it counted as on the way to the caller.
func TestTries(t *testing.T) {
	c := &Call{}
	c.cdr.Start = start
	hop := func(name string) *tu.Hop {
		h := stageHop("itsp1")
		peer := *h.Peer
		peer.Name, h.Peer = name, &peer
		return &h
	}
	m := &message.Message{Method: "INVITE"}
	m.From.URI.User, m.URI.User = "204", "+49301"
	c.legs[callee].peer = &tu.Peer{Kind: tu.KindNode}

	c.tried(start, 503, reason.Timeout) // nobody was asked
	c.tryBegins(start, hop("one"), m)
	c.tried(start.Add(2*time.Second), 408, reason.Timeout)
	c.tried(start.Add(3*time.Second), 503, reason.NoPBX)
	c.tryBegins(start.Add(2*time.Second), hop("two"), m)
	c.said(start.Add(3*time.Second), 401)
	c.said(start.Add(4*time.Second), 503)
	c.tried(start.Add(4*time.Second), 480, reason.NoCapacity)
	c.tryBegins(start.Add(4*time.Second), hop("three"), m)
	c.said(start.Add(5*time.Second), 200)
	c.tried(start.Add(9*time.Second), 200, "")
	want := []tu.Try{
		{Peer: "one", Code: 408, Reason: reason.Timeout, Took: 2}, {Peer: "two", Code: 503, Reason: reason.NoCapacity, Took: 2},
		{Peer: "three", Code: 200, Took: 1},
	}
	for i, x := range c.cdr.Tries {
		if w := want[i]; x.Peer != w.Peer || x.Code != w.Code || x.Reason != w.Reason || x.Took != w.Took {
			t.Errorf("try %d is %+v, want %+v", i, x, w)
		}
	}
	if c.cdr.FromSent != "204" || c.cdr.ToSent != "+49301" {
		t.Errorf("sent %q to %q", c.cdr.FromSent, c.cdr.ToSent)
	}
}

func TestAgentOfRecord(t *testing.T) {
	c := &Call{}
	invite := &message.Message{Method: "INVITE", Headers: []message.Header{{Name: "User-Agent", Value: strings.Repeat("x", 300)}}}
	c.cdrAgent(caller, invite)
	c.cdrAgent(caller, &message.Message{Method: "INVITE", Headers: []message.Header{{Name: "User-Agent", Value: "later"}}})
	if got := c.cdr.UserAgents[caller]; got != strings.Repeat("x", agentMost) {
		t.Errorf("the caller is %q", got)
	}
	ringing := &message.Message{Status: 180, Headers: []message.Header{{Name: "User-Agent", Value: "phone"}, {Name: "Server", Value: "server"}}}
	c.cdrAgent(callee, ringing)
	if got := c.cdr.UserAgents[callee]; got != "server" {
		t.Errorf("the callee is %q", got)
	}
	c.cdr.UserAgents[callee] = ""
	ringing.Headers = ringing.Headers[:1]
	if c.cdrAgent(callee, ringing); c.cdr.UserAgents[callee] != "phone" {
		t.Errorf("the callee is %q", c.cdr.UserAgents[callee])
	}
}

// tried checks what a record says of the way.
func (s *stage) tried(r *tu.CDR) {
	if len(r.Tries) != r.Attempts || r.PostDial < 0 {
		s.errorf("%d attempts, and tries %+v", r.Attempts, r.Tries)
	}
	for i, x := range r.Tries {
		known := x.Code == 0 || x.Code >= 200 && x.Code <= 699
		if x.At.Before(r.Start) || x.Took < 0 || !known || x.Code == 0 && i+1 < len(r.Tries) {
			s.errorf("try %d of %+v", i, r.Tries)
		}
	}
}

// recorded checks that the times of a record agree.
func (s *stage) recorded(r tu.CDR) {
	last := r.Start
	for _, t := range []time.Time{r.Ringing, r.Answer, r.End} {
		if t.IsZero() {
			continue
		}
		if t.Before(last) {
			s.errorf("record runs backwards: %+v", r)
		}
		last = t
	}
	if r.Code < 200 || r.Code > 699 || r.EndedBy == "" {
		s.errorf("record %+v", r)
	}
	s.tried(&r)
}
