package call

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"sallyport/media/sdp"
	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// show writes an action as one line of a golden file.
func (p *player) show(a tu.Action) string {
	switch a := a.(type) {
	case tu.Respond:
		x := p.servers[a.Tx]
		return fmt.Sprintf("%c< %d %s #%d%s", 'a'+x.leg, a.Msg.Status, x.msg.Method, a.Tx, p.details(a.Msg, true))
	case tu.Send:
		return fmt.Sprintf("%c> %s [%d] %s cseq=%d%s%s", 'a'+p.clients[a.Ref].leg, a.Msg.Method, a.Ref, a.Msg.URI, a.Msg.CSeq, p.to(a.Hop), p.details(a.Msg, true))
	case tu.SendAck:
		leg := 'b'
		if a.Hop.Peer.Side == p.hop[caller].Peer.Side {
			leg = 'a'
		}
		return fmt.Sprintf("%c> ACK %s cseq=%d%s%s", leg, a.Msg.URI, a.Msg.CSeq, p.to(a.Hop), p.details(a.Msg, true))
	case tu.Cancel:
		s := fmt.Sprintf("cancel [%d]", a.Ref)
		if a.Quiet {
			s += " quiet"
		}
		if a.Reason != "" {
			s += fmt.Sprintf(" %s Reason:<%s>", a.Side, a.Reason)
		}
		return s
	case tu.OpenDialog:
		return fmt.Sprintf("open %s %s from %s", a.Side, p.name(a.Local, 'T'), a.Source)
	case tu.Route:
		if a.By != nil {
			return fmt.Sprintf("may route %s by %s, chosen by %s", a.Msg.URI, a.By.Peer.Name, a.Chosen.Remote)
		}
		return fmt.Sprintf("route %s", a.Msg.URI)
	case tu.Reserve:
		return fmt.Sprintf("reserve %d", a.Streams)
	case tu.Point:
		return fmt.Sprintf("point %d %s %s", a.Stream, a.Side, p.aimText(a.Aim))
	case tu.Record:
		return "record " + recordText(a.CDR)
	case tu.CloseDialog:
		return fmt.Sprintf("close %s %s", a.Side, p.name(a.Local, 'T'))
	case tu.Drop:
		return "drop"
	case tu.Note:
		return fmt.Sprintf("note %s %s %d %s: %s", a.Source, a.Method, a.Code, a.Why, a.Text)
	case tu.Release:
		return "release"
	case tu.Occupy:
		return "occupy at " + a.Hop.Peer.Name
	case tu.Vacate:
		return fmt.Sprintf("vacate [%d]", a.Ref&^takerPlace)
	case tu.End:
		return "end"
	}
	return fmt.Sprintf("%T", a)
}

// name gives an id of ours, which is random, a name of its kind and order.
func (p *player) name(id string, kind byte) string {
	if id == "" {
		return "-"
	}
	if n := p.names[id]; n != "" {
		return n
	}
	if len(id) < 10 { // a peer's
		return id
	}
	return p.names.Of(string(kind), id)
}

func (p *player) to(h tu.Hop) string {
	s := " to " + h.Flow.Remote.String()
	if h.Flow.Transport != nat.UDP {
		s += fmt.Sprintf("/%s#%d", h.Flow.Transport, h.Flow.Conn)
	}
	return s
}

// details are tags, header fields and body of a message.
func (p *player) details(m *message.Message, fields bool) string {
	var b strings.Builder
	from, to := m.From.Tag, m.To.Tag
	if m.IsRequest() {
		fmt.Fprintf(&b, " %s→%s", p.name(from, 'T'), p.name(to, 'T'))
	} else if m.Status > 100 {
		fmt.Fprintf(&b, " %s", p.name(to, 'T'))
	}
	b.WriteString(p.parties(m))
	var plain message.Header // what every INVITE with an offer says
	if m.Method == "INVITE" && m.IsRequest() && to == "" && len(m.Body) > 0 {
		plain = message.Header{Name: "Supported", Value: "100rel"}
	}
	offered := false
	for _, h := range m.Headers {
		if !fields || h.Name == "Content-Type" && h.Value == "application/sdp" || h.Name == "Allow" && h.Value == allow && m.Status != 405 {
			continue
		}
		if h == plain {
			offered = true
			continue
		}
		if h.Name == "RSeq" {
			h.Value = p.rseqText(to, h.Value)
		}
		fmt.Fprintf(&b, " %s:%s", h.Name, passwordText(h, m))
	}
	if plain.Name != "" && !offered {
		b.WriteString(" no-100rel")
	}
	if len(m.Body) > 0 {
		b.WriteString(" " + p.bodyText(m))
	}
	return b.String()
}

// rseqText counts the reliable responses of a dialog from the first one, whose number is random.
func (p *player) rseqText(tag, value string) string {
	if p.first == nil {
		p.first = map[string]uint32{}
	}
	n, _ := strconv.ParseUint(value, 10, 32)
	if _, known := p.first[tag]; !known {
		p.first[tag] = uint32(n)
	}
	return fmt.Sprintf("+%d", uint32(n)-p.first[tag])
}

func (p *player) bodyText(m *message.Message) string {
	s, err := sdp.Parse(m.Body)
	if err != nil {
		return fmt.Sprintf("%q", m.Body)
	}
	var b strings.Builder
	o, _ := s.Origin()
	b.WriteString("sdp")
	for i := range s.Len() {
		l := s.At(i)
		fmt.Fprintf(&b, " %s:%d@%s", l.Type, l.Port, l.Host)
		if l.Direction != sdp.SendRecv {
			fmt.Fprintf(&b, ":%s", l.Direction)
		}
		if l.Type == "image" {
			b.WriteString(faxText(m.Body, l.Proto))
		} else if formats := strings.Join(l.Formats, "+"); formats != "0" {
			fmt.Fprintf(&b, " [%s]", formatsText(m.Body, l.Formats))
		}
		b.WriteString(p.sealText(s, i) + p.webText(s, i, m.Body))
	}
	if o.Version != "" {
		fmt.Fprintf(&b, " v%s", o.Version)
	}
	return b.String()
}

// formatsText writes formats as describeFormats reads them.
func formatsText(body []byte, numbers []string) string {
	var list []string
	for _, n := range numbers {
		text := n
		for line := range strings.Lines(string(body)) {
			line = strings.TrimRight(line, "\r\n")
			if encoding, ok := strings.CutPrefix(line, "a=rtpmap:"+n+" "); ok {
				text += "=" + encoding
			}
			if parameters, ok := strings.CutPrefix(line, "a=fmtp:"+n+" "); ok {
				text += "(" + parameters + ")"
			}
		}
		list = append(list, text)
	}
	return strings.Join(list, "+")
}

// numbersText are the payload types that a peer may send, and what becomes of them.
func numbersText(a tu.Aim) string {
	var list []string
	for n := range uint8(128) {
		switch to := a.Numbers[n]; {
		case to == 255:
			list = append(list, fmt.Sprintf("%d>x", n))
		case to > 0:
			list = append(list, fmt.Sprintf("%d>%d", n, to-1))
		case a.Payloads.Has(n):
			list = append(list, strconv.Itoa(int(n)))
		}
	}
	return strings.Join(list, ",")
}

func (p *player) aimText(a tu.Aim) string {
	var b strings.Builder
	switch {
	case a.RTP.IsValid():
		b.WriteString(a.RTP.String())
	case a.RTP.Port() != 0:
		fmt.Fprintf(&b, "wait:%d", a.RTP.Port())
	default:
		b.WriteString("none")
	}
	for _, w := range []struct {
		on   bool
		name string
	}{{a.Send, "send"}, {a.Receive, "receive"}, {a.Final, "final"}, {a.Opaque, "opaque"}} {
		if w.on {
			b.WriteString(" " + w.name)
		}
	}
	fmt.Fprintf(&b, " epoch=%d", a.Epoch)
	if a.Latch != tu.LatchOff {
		fmt.Fprintf(&b, " latch:%s", a.Fallback)
	}
	if text := numbersText(a); text != "0" && text != "" {
		b.WriteString(" types:" + text)
	}
	b.WriteString(keysText(a))
	for _, s := range a.Sources {
		fmt.Fprintf(&b, " or:%s", s.Addr())
	}
	return b.String() + p.cryptoText(a.Crypto) + p.shakeText(a)
}

func recordText(r tu.CDR) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %d by %s", r.Direction, r.Code, r.EndedBy)
	if r.Reason != "" {
		fmt.Fprintf(&b, " %s", r.Reason)
	}
	if r.AoR != "" {
		fmt.Fprintf(&b, " aor=%s", r.AoR)
	} else {
		fmt.Fprintf(&b, " trunk=%s", r.Trunk)
	}
	fmt.Fprintf(&b, " node=%s attempts=%d", r.Node, r.Attempts)
	for _, x := range r.Transfers {
		fmt.Fprintf(&b, " %s=>%s", x.Leg, x.To)
	}
	if r.Duration > 0 {
		fmt.Fprintf(&b, " talked=%v", time.Duration(r.Duration*float64(time.Second)))
	}
	return b.String()
}
