package sbc

import (
	"fmt"
	"slices"
	"strconv"

	"sallyport/sbc/header"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// stage is one more part of what an administrator has asked for: the rules of sender and receiver up to it, and its name.
type stage struct {
	name  string
	rules [2]tu.Rules
}

// stages add part after part of the rules, in the order in which header.Finish has them: what changes between two of them is the
// effect of that part.
func stages(from, to *tu.Peer) []stage {
	var in, out tu.Rules
	if from.Rules != nil {
		in = *from.Rules
	}
	if to.Rules != nil {
		out = *to.Rules
	}
	var at [2]tu.Rules
	list := []stage{{}}
	step := func(peer *tu.Peer, name string, use bool) {
		if use {
			list = append(list, stage{name: keyOf(peer) + name, rules: at})
		}
	}
	at[0].NumbersIn = in.NumbersIn
	step(from, "numbers.inbound", len(in.NumbersIn) > 0)
	at[0].Naming = in.Naming
	step(from, "identity", in.Naming != tu.Naming{})
	at[1].NumbersOut = out.NumbersOut
	numbers := "numbers.outbound"
	if to.Kind == tu.KindNode {
		numbers = "numbers" // of the rule that has chosen the node
	}
	step(to, numbers, len(out.NumbersOut) > 0)
	at[1].Form = out.Form
	step(to, "numbers", out.Form != nil)
	at[1].Naming = out.Naming
	step(to, "identity", out.Naming != tu.Naming{})
	for i := range in.Inbound {
		at[0].Inbound = in.Inbound[:i+1]
		step(from, "headers.inbound["+strconv.Itoa(i)+"]", true)
	}
	for i := range out.Outbound {
		at[1].Outbound = out.Outbound[:i+1]
		step(to, "headers.outbound["+strconv.Itoa(i)+"]", true)
	}
	at[0].CodesIn = in.CodesIn
	step(from, "codes.inbound", len(in.CodesIn) > 0)
	at[1].CodesOut = out.CodesOut
	step(to, "codes.outbound", len(out.CodesOut) > 0)
	return list
}

// keyOf is where the configuration has the rules of a peer.
func keyOf(p *tu.Peer) string {
	switch p.Kind {
	case tu.KindPhone:
		return "phones."
	case tu.KindNode:
		return "routes.inbound[]."
	case tu.KindTrunk:
	}
	return "trunks[" + p.Name + "]."
}

// play is the message that comes of a crossing under some rules, before the leak guard; nil: none.
func (t *translator) play(s *crossing, st *stage) (*rehearsal, *message.Message) {
	s.rules = [2]*tu.Rules{&st.rules[0], &st.rules[1]}
	var r *rehearsal
	if t.m.IsRequest() {
		r = s.playRequest(t.w, t.m)
	} else {
		r = s.playResponse(t.w, t.m)
	}
	m, _, _, _ := r.outcome(!t.m.IsRequest())
	return r, m
}

// explain plays the message part by part, and notes what each has changed.
func (t *translator) explain(s *crossing, out *Translated) {
	var before sheet
	var last *rehearsal
	why := map[string][]string{}
	for i, st := range stages(s.from.Peer, s.to.Peer) {
		r, m := t.play(s, &st)
		if m == nil {
			out.Refused = "nothing comes of it: it would be dropped"
			return
		}
		if last = r; t.m.IsRequest() && len(r.sent) == 0 && len(r.acks) == 0 {
			out.Refused = fmt.Sprintf("%d %s: it is answered so, and goes no further", m.Status, m.Reason)
		}
		after := sheetOf(m)
		if i > 0 {
			before.changes(after, func(name string) { why[name] = append(why[name], st.name) })
		}
		before = after
	}
	m, side, hide, hop := last.outcome(!t.m.IsRequest())
	target := m.URI
	t.w.leaks.Check(side, m, hide)
	if hop != nil && hop.Target != nil {
		m.URI = target
	}
	after := sheetOf(m)
	before.changes(after, func(name string) { why[name] = append(why[name], "the leak guard: a host or id of the other side") })
	dir := header.DirectionOf(s.from.Peer, s.to.Peer)
	out.fill(t.m, m, func(name string) (bool, string) { return header.Passage(dir, name, s.from.Peer.Trusted) }, why)
	if len(m.Body) > 0 || len(t.m.Body) > 0 {
		out.Body = bodyText(t.m.Body, m.Body)
	}
}

func bodyText(was, is []byte) string {
	switch {
	case len(was) == 0:
		return fmt.Sprintf("none → %d bytes", len(is))
	case len(is) == 0:
		return fmt.Sprintf("%d bytes → none", len(was))
	case string(was) == string(is):
		return fmt.Sprintf("%d bytes, passed as they are", len(is))
	}
	return fmt.Sprintf("%d bytes → %d: session descriptions have the gate's addresses, ports and keys", len(was), len(is))
}

// sheet is a message as lists of values by name, in order of appearance.
type sheet struct {
	names  []string
	values map[string][]string
}

func (s *sheet) add(name, value string) {
	if s.values == nil {
		s.values = map[string][]string{}
	}
	if s.values[name] == nil {
		s.names = append(s.names, name)
	}
	s.values[name] = append(s.values[name], value)
}

// startLine is the name that the start line has in a sheet.
const startLine = ""

func sheetOf(m *message.Message) sheet {
	var s sheet
	if m.IsRequest() {
		s.add(startLine, m.Method+" "+m.URI.String()+" SIP/2.0")
	} else {
		s.add(startLine, "SIP/2.0 "+strconv.Itoa(m.Status)+" "+m.Reason)
	}
	s.add("From", m.From.String())
	s.add("To", m.To.String())
	s.add("Call-ID", m.CallID)
	s.add("CSeq", strconv.FormatUint(uint64(m.CSeq), 10)+" "+m.Method)
	if m.MaxForwards >= 0 {
		s.add("Max-Forwards", strconv.Itoa(m.MaxForwards))
	}
	for _, h := range m.Headers {
		s.add(h.Name, h.Value)
	}
	return s
}

// changes tells the names whose values differ.
func (s *sheet) changes(after sheet, tell func(name string)) {
	for _, name := range s.names {
		if !slices.Equal(s.values[name], after.values[name]) {
			tell(name)
		}
	}
	for _, name := range after.names {
		if s.values[name] == nil {
			tell(name)
		}
	}
}
