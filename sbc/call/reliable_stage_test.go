package call

import (
	"fmt"
	"strconv"
	"strings"

	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// rack is the RAck of the caller's PRACK for our last reliable response in a dialog, or for one so much later.
func (s *stage) rack(tag string, later int) string {
	n := uint32(later)
	if x := s.steady[tag]; x != nil {
		n += x.rseq
	}
	return fmt.Sprintf("%d %d INVITE", n, s.servers[1].msg.CSeq)
}

// steadyAnswer is our last reliable provisional response in a dialog with the caller.
type steadyAnswer struct {
	rseq      uint32
	described bool
	acked     bool
}

// reliable holds a response to the caller's INVITE to RFC 3262 §3.
func (s *stage) reliable(m *message.Message) {
	s.t.Helper()
	last := s.steady[m.To.Tag]
	if m.Status >= 200 {
		if m.Status < 300 && last != nil && last.described && !last.acked && !s.lawless {
			s.errorf("%d before the PRACK for a description", m.Status)
		}
		return
	}
	v, is := m.Get("RSeq")
	if is != has(m, "Require", "100rel") {
		s.errorf("%d with RSeq %q and %v", m.Status, v, m.Headers)
	}
	if !is {
		if assuranceOf(s.servers[1].msg) == required && m.Status > 100 {
			s.errorf("an unreliable %d to a caller that requires 100rel", m.Status)
		}
		return
	}
	n, err := strconv.ParseUint(v, 10, 32)
	switch {
	case err != nil || n == 0 || assuranceOf(s.servers[1].msg) == unassured:
		s.errorf("%d with RSeq %q", m.Status, v)
	case last == nil && n >= 1<<31:
		s.errorf("first RSeq %d", n)
	case last != nil && uint32(n) != last.rseq && (uint32(n) != last.rseq+1 || !last.acked && !s.lawless):
		s.errorf("RSeq %d after %+v", n, *last)
	case last != nil && uint32(n) == last.rseq:
		return
	}
	s.steady[m.To.Tag] = &steadyAnswer{rseq: uint32(n), described: len(m.Body) > 0}
}

// acknowledged notes a PRACK that the call hears of.
func (s *stage) acknowledged(ev tu.Event) {
	if a, ok := ev.(tu.Arrived); ok && a.Msg.Method == "PRACK" {
		rack, _ := a.Msg.Get("RAck")
		if x := s.steady[a.Msg.To.Tag]; x != nil && rack == s.rack(a.Msg.To.Tag, 0) {
			x.acked = true
		}
	}
}

// Preconditions among the formats of describe: those that are yet to be met, and those that are (RFC 3312 §5).
func init() {
	webLines["cond"] = []string{
		"curr:qos local none", "curr:qos remote none", "des:qos mandatory local sendrecv", "des:qos mandatory remote sendrecv",
		"conf:qos remote sendrecv",
	}
	webLines["met"] = []string{
		"curr:qos local sendrecv", "curr:qos remote none", "des:qos mandatory local sendrecv", "des:qos mandatory remote sendrecv",
	}
}

// conditionText are the preconditions of stream i.
func conditionText(i int, body []byte) (text string) {
	at := -1
	for line := range strings.Lines(string(body)) {
		line = strings.TrimRight(line, "\r\n")
		if strings.HasPrefix(line, "m=") {
			at++
		}
		if at != i {
			continue
		}
		if now, is := strings.CutPrefix(line, "a=curr:qos local "); is {
			text += " local:" + now
		}
		if strings.HasPrefix(line, "a=des:") || strings.HasPrefix(line, "a=conf:") {
			text += " " + line[2:strings.IndexByte(line, ':')]
		}
	}
	return text
}

// invited is our last INVITE to a leg: of what is open, provisional responses concern it alone.
func (p *player) invited(leg int) (x *client) {
	for _, ref := range p.refs {
		if y := p.clients[ref]; y.leg == leg && y.msg.Method == "INVITE" {
			x = y
		}
	}
	return x
}

// offering reports whether a request of ours takes part in offer and answer: a PRACK with a description offers, where the
// INVITE's own offer has been answered (RFC 3262 §5).
func (s *stage) offering(m *message.Message) bool {
	switch m.Method {
	case "INVITE":
		return true
	case "PRACK":
		return len(m.Body) > 0 && len(s.servers[1].msg.Body) > 0
	default:
		return m.Method == "UPDATE" && len(m.Body) > 0
	}
}
