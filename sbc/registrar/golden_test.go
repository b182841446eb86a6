package registrar

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
	"sallyport/sbc/tu/script"
)

// TestGolden plays the files of testdata: an event, a line of dashes, the actions and the changes of the Book that came of it.
// README.txt there tells the language.
func TestGolden(t *testing.T) { script.Golden(t, "testdata/*.txt", 20, play) }

// play runs a script and returns it with what came of it.
func play(t *testing.T, text string) string {
	p := &player{stage: newStage(t), names: script.Names{}}
	out := script.Play(text, func(line string) (lines []string) {
		for _, a := range p.event(line) {
			lines = append(lines, p.show(a))
		}
		for _, c := range p.set.Book.Changes() {
			lines = append(lines, p.change(c))
		}
		consistent(t, p.set.Book)
		return lines
	})
	for i, r := range p.runs {
		if !r.over {
			t.Errorf("REGISTER %d has not ended at the end of the file", i+1)
		}
	}
	return out
}

type player struct {
	*stage
	names script.Names
}

type words = script.Words

func (p *player) event(line string) []tu.Action {
	what, plain, w := script.Event(line)
	for k, v := range w {
		w[k] = strings.ReplaceAll(v, "_", " ")
	}
	switch what {
	case "set":
		return p.configure(w)
	case "a", "b", "c", "d", "e", "f":
		return p.phone(p.phones[what], plain, w)
	case "routed":
		ev := tu.Routed{Code: w.Number("code", 0), Why: reason.Reason(w["why"])}
		for _, name := range plain {
			ev.Hops = append(ev.Hops, nodeHop(name))
		}
		return p.step(p.of(w), ev)
	case "pbx":
		return p.pbx(plain[0], w)
	case "trying":
		return p.step(p.of(w), tu.Trying{Ref: p.ref(w)})
	case "failed":
		code, _ := strconv.Atoi(plain[0])
		why := reason.Timeout
		if w["why"] != "" {
			why = reason.Reason(w["why"])
		}
		return p.step(p.of(w), tu.Failed{Ref: p.ref(w), Code: code, Why: why})
	case "tick":
		return p.tick(plain[0], w)
	case "hangup":
		return p.step(p.of(w), tu.Hangup{Code: w.Number("code", 0), Why: reason.Reason(w["why"])})
	case "abort":
		r := p.of(w)
		do := r.Abort(p.now, nil)
		p.owe(r, do)
		return do
	case "pass":
		p.pass(plain[0])
		p.set.Book.Expire(p.now)
		return nil
	case "lost":
		p.set.Book.Lost(p.phones[plain[0]].flow)
		return nil
	}
	p.t.Fatalf("unknown event %q", line)
	return nil
}

func (p *player) configure(w words) []tu.Action {
	for k, v := range w {
		switch k {
		case "outside":
			p.set.Outside, _ = time.ParseDuration(v)
		case "inside":
			p.set.Inside, _ = time.ParseDuration(v)
		case "reauthenticate":
			p.set.Reauthenticate, _ = time.ParseDuration(v)
		case "grace":
			d, _ := time.ParseDuration(v)
			p.set.Book.Hold(d, p.set.Outside)
		case "contacts":
			p.set.Limits.Contacts = w.Number(k, 0)
		case "source":
			p.set.Limits.PerSource = w.Number(k, 0)
		case "bindings":
			p.set.Limits.Bindings = w.Number(k, 0)
		default:
			p.t.Fatalf("unknown setting %q", k)
		}
	}
	return nil
}

// phone sends a REGISTER, or moves: at=ADDRESS:PORT.
func (p *player) phone(x *phone, plain []string, w words) []tu.Action {
	if at := w["at"]; at != "" {
		x.flow.Remote = netip.MustParseAddrPort(at)
		if x.flow.Conn != 0 {
			x.flow.Conn++
		}
	}
	if v := w["callid"]; v != "" {
		x.callID = v
	}
	if v := w["user"]; v != "" {
		x.user = v
	}
	x.cseq = uint32(w.Number("cseq", int(x.cseq)+1)) - 1
	if len(plain) == 0 {
		return nil
	}
	m := x.request()
	for _, k := range slices.Sorted(maps.Keys(w)) {
		v := w[k]
		switch {
		case k == "contact" && v == "none":
			m.Remove("Contact")
		case k == "contact":
			m.Remove("Contact")
			for one := range strings.SplitSeq(v, "|") {
				m.Add("Contact", one)
			}
		case k == "via":
			at := netip.MustParseAddrPort(v)
			m.Via[0].Host, m.Via[0].Port = at.Addr().String(), at.Port()
		case k == "maxforwards":
			m.MaxForwards = w.Number(k, 0)
		case k == "to":
			m.To = mustNameAddr(p.t, v)
		case k == "from":
			m.From = mustNameAddr(p.t, v)
		case k == "auth":
			m.Add("Authorization", `Digest username="204", realm="example.com", nonce="n1", uri="sip:example.com", response="r"`)
		case k[0] >= 'A' && k[0] <= 'Z':
			m.Set(k, v)
		}
	}
	if m, ok := p.local(x, m); ok {
		return []tu.Action{tu.Respond{Tx: tu.TxID(len(p.runs)), Msg: m}}
	}
	_, do := p.start(x, m, nil)
	return do
}

// of is the REGISTER that an event is about: re=N, else the last one.
func (p *player) of(w words) *run { return p.runs[w.Number("re", len(p.runs))-1] }

func (p *player) ref(w words) tu.Ref { return tu.Ref(w.Number("ref", int(p.of(w).last))) }

// pbx is an answer of the PBX: 2xx grants what was asked, for at most grant=SECONDS; alien= adds a Contact of another phone,
// silent= lists none.
func (p *player) pbx(status string, w words) []tu.Action {
	r, ref := p.of(w), p.ref(w)
	code, _ := strconv.Atoi(status)
	var ev tu.Answered
	if code/100 == 2 {
		var alien []string
		if w["alien"] != "" {
			alien = strings.Split(p.tokens(w["alien"]), "|")
		}
		ev = p.grant(r, ref, uint32(w.Number("grant", 3600)), alien...)
		ev.Msg.Status = code
		if w["silent"] != "" {
			ev.Msg.Remove("Contact")
		}
	} else {
		ev = tu.Answered{Ref: ref, Msg: message.Reply(r.sent[ref].Msg, code, ""), Flow: r.sent[ref].Hop.Flow}
		ev.Msg.To.Tag = "pbx-tag"
		ev.Msg.Add("Server", "PBX/1.0")
	}
	for _, k := range slices.Sorted(maps.Keys(w)) {
		if k[0] >= 'A' && k[0] <= 'Z' {
			ev.Msg.Set(k, p.tokens(w[k]))
		}
	}
	return p.step(r, ev)
}

// tokens puts real tokens in the place of their names.
func (p *player) tokens(s string) string {
	for real, name := range p.names {
		s = strings.ReplaceAll(s, "{"+name+"}", real)
	}
	return s
}

func (p *player) pass(by string) {
	d, err := time.ParseDuration(strings.TrimPrefix(by, "+"))
	if err != nil {
		p.t.Fatal(err)
	}
	p.now = p.now.Add(d)
}

// tick lets time pass; a Tick comes when the deadline does.
func (p *player) tick(by string, w words) []tu.Action {
	before := p.now
	p.pass(by)
	end := p.now
	p.now = before
	var do []tu.Action
	for {
		due := p.of(w).Deadline()
		if due.IsZero() || due.After(end) {
			p.now = end
			return do
		}
		p.now = due
		do = append(do, p.step(p.of(w), tu.Tick{})...)
	}
}

// show writes an action as one line.
func (p *player) show(a tu.Action) string {
	switch a := a.(type) {
	case tu.Respond:
		return fmt.Sprintf("%s< %d %s%s", p.runs[a.Tx-1].phone.name, a.Msg.Status, a.Msg.Reason, p.fields(a.Msg))
	case tu.Send:
		m := a.Msg
		return fmt.Sprintf("pbx> [%d] %s %s from %s to %s cseq=%d %s %s forwards=%d via %s%s", a.Ref, m.Method, m.URI, m.From.URI, m.To.URI, m.CSeq,
			p.name(m.CallID, 'C'), p.name(m.From.Tag, 'G'), m.MaxForwards, a.Hop.Flow.Remote, p.fields(m))
	case tu.Route:
		return "route"
	case tu.Note:
		s := fmt.Sprintf("note %s %s/%s %s %d", a.Source, a.Side, a.Realm, a.Method, a.Code)
		if a.Why != "" {
			s += " " + string(a.Why)
		}
		if a.Text != "" {
			s += ": " + a.Text
		}
		return s
	case tu.End:
		return "end"
	}
	return fmt.Sprintf("%T", a)
}

func (p *player) fields(m *message.Message) string {
	var b strings.Builder
	for _, h := range m.Headers {
		v := h.Value
		if h.Name == "Contact" {
			v = p.hide(v)
		}
		fmt.Fprintf(&b, " %s:%s", h.Name, v)
	}
	return b.String()
}

// hide puts names in the place of tokens.
func (p *player) hide(v string) string {
	list, err := message.ParseNameAddrs(v)
	if err != nil {
		return v
	}
	for _, n := range list {
		if len(n.URI.User) == 16 {
			v = strings.ReplaceAll(v, n.URI.User, p.name(n.URI.User, 'T'))
		}
	}
	return v
}

// name gives an id of ours a name of its kind and order.
func (p *player) name(id string, kind byte) string {
	return p.names.Of(string(kind), id)
}

func (p *player) change(c Change) string {
	switch {
	case c.Old == nil:
		return "+ " + p.binding(c.New)
	case c.New == nil:
		return "- " + p.binding(c.Old)
	}
	return "~ " + p.binding(c.New)
}

func (p *player) binding(b *Binding) string {
	s := fmt.Sprintf("%s %s %s on %s %s at %s told %v pbx %v nat %s", b.AoR, p.name(b.Token, 'T'), b.Contact, b.Flow.Transport, b.Flow.Remote,
		b.Node, b.Expires.Sub(p.now), b.ExpiresPBX.Sub(p.now), b.NAT)
	if b.Lost {
		s += " lost"
	}
	if b.Since != b.Refreshed {
		s += fmt.Sprintf(" since %v", p.now.Sub(b.Since))
	}
	for _, c := range b.ALG {
		s += " alg: " + c
	}
	return s
}
