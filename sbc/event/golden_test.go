package event

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sallyport/sbc/header"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
	"sallyport/sbc/tu/script"
)

// TestGolden plays the files of testdata. A file is a list of blocks: an event, a line of dashes, the actions that came of
// it. Lines that begin with # are comments. README.txt there tells the language.
func TestGolden(t *testing.T) { script.Golden(t, "testdata/*.txt", 20, play) }

// play runs a script and returns it with the actions that came of it.
func play(t *testing.T, text string) string {
	p := &player{t: t, stage: newStage(t, "phone1"), names: script.Names{}}
	out := script.Play(text, func(line string) (lines []string) {
		for _, a := range p.event(line) {
			lines = append(lines, p.show(a))
		}
		return lines
	})
	if !p.ended {
		t.Error("the subscription has not ended at the end of the file")
	}
	return out
}

// player runs a script on a stage.
type player struct {
	t *testing.T
	*stage
	names script.Names // ids of ours, by what they are called in the file
}

// veiled is an id in a body as 204 was shown it.
var veiled = regexp.MustCompile(`VEIL:[^"]+`)

// words are the arguments of an event: name=value.
type words = script.Words

func (p *player) event(line string) []tu.Action {
	what, plain, w := script.Event(line)
	switch what {
	case "from":
		p.stage = newStage(p.t, plain[0])
		trusts(p.hop[subscriber].Peer, w)
		return nil
	case "again": // another subscription of the same phone
		next, set := p.next, p.s.set
		p.stage = newStage(p.t, plain[0])
		p.s, p.next = New(set, tu.Seed{8}), next
		return nil
	case "a", "b":
		return p.peer(int(what[0]-'a'), plain[0], w)
	case "routed":
		return p.step(p.routed(plain, w))
	case "trying":
		return p.step(tu.Trying{Ref: p.client(w, notifier).ref})
	case "failed":
		code, _ := strconv.Atoi(plain[0])
		x := p.client(w, p.leg(w))
		x.final = code
		ev := tu.Failed{Ref: x.ref, Code: code, Why: reason.Timeout}
		if w["why"] != "" {
			ev.Why = reason.Reason(w["why"])
		}
		return p.step(ev)
	case "tick":
		d, _ := time.ParseDuration(strings.TrimPrefix(plain[0], "+"))
		return p.pass(d)
	case "hangup":
		code, _ := strconv.Atoi(plain[0])
		return p.step(tu.Hangup{Code: code, Why: reason.Reason(w["why"])})
	case "moved":
		h := p.hop[subscriber]
		if h.Peer.Kind != tu.KindPhone {
			h = p.hop[notifier]
		}
		to := h.Flow
		to.Remote = netip.MustParseAddrPort(plain[0])
		p.flows[to] = true
		name := token
		if w["token"] != "" {
			name = w["token"]
		}
		return p.step(tu.Moved{Token: name, Flow: to, Here: h.Here})
	case "abort":
		// A Step that panics has changed things and sent nothing.
		p.s.Step(p.now, tu.Hangup{Code: 500, Why: reason.Internal}, nil)
		p.lawless = true
		do := p.s.Abort(p.now, nil)
		p.take(do)
		return do
	}
	p.t.Fatalf("unknown event %q", line)
	return nil
}

func (p *player) leg(w words) int {
	if w["leg"] == "a" {
		return subscriber
	}
	return notifier
}

// client picks the request of ours that an event is about: re=N, else the last one to the leg that has no final answer.
func (p *player) client(w words, leg int) *client {
	if n := w.Number("re", 0); n > 0 {
		return p.clients[tu.Ref(n)]
	}
	var found *client
	for _, ref := range p.refs {
		if x := p.clients[ref]; x.leg == leg && x.final == 0 {
			found = x
		}
	}
	if found == nil {
		p.t.Fatal("no request to answer")
	}
	return found
}

func (p *player) peer(l int, what string, w words) []tu.Action {
	tag := "x"
	if w["tag"] != "" {
		tag = w["tag"]
	}
	if code, err := strconv.Atoi(what); err == nil {
		ev := p.response(p.client(w, l), code, tag)
		adorn(ev.Msg, w)
		asks(ev.Msg, w["ask"])
		if w["at"] != "" {
			ev.Flow.Remote = netip.MustParseAddrPort(w["at"])
			p.flows[ev.Flow] = true
		}
		return p.step(ev)
	}
	m := p.request(l, what, tag)
	if w["fresh"] != "" {
		m.To.Tag = ""
	}
	adorn(m, w)
	if m.CSeq != p.next[l] { // an old number
		p.next[l]--
	}
	ev := p.arrive(l, m)
	if w["peer"] == "none" {
		ev.Peer = nil
	}
	if w["from"] != "" {
		h := stageHop(w["from"])
		ev.Flow, ev.Peer, ev.Here = h.Flow, h.Peer, h.Here
	}
	if w["at"] != "" {
		p.comesBy(&ev, netip.MustParseAddrPort(w["at"]), uint16(w.Number("interface", int(ev.Flow.Interface))), w["bound"] != "")
	}
	return p.step(ev)
}

func (p *player) routed(names []string, w words) tu.Routed {
	ev := tu.Routed{Code: w.Number("code", 0), Why: reason.Reason(w["why"])}
	for _, name := range names {
		h := stageHop(name)
		if w["patient"] != "" {
			h.Peer.AttemptTimeout = 0
		}
		trusts(h.Peer, w)
		ev.Hops = append(ev.Hops, h)
	}
	return ev
}

// pass lets time go on; a Tick comes when the deadline does.
func (s *stage) pass(d time.Duration) (do []tu.Action) {
	end := s.now.Add(d)
	for {
		due := s.s.Deadline()
		if due.IsZero() || due.After(end) {
			s.now = end
			return do
		}
		s.now = due
		do = append(do, s.step(tu.Tick{})...)
	}
}

// adorn adds what an event says of a message: Header=value with _ for a blank, none removes it; text=, type=, sdp=1.
func adorn(m *message.Message, w words) {
	keys := make([]string, 0, len(w))
	for k := range w {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		v := strings.ReplaceAll(w[k], "_", " ")
		switch {
		case k == "uri":
			m.URI, _ = message.ParseURI(v)
		case k == "to":
			m.To.URI, _ = message.ParseURI(v)
		case k == "totag":
			m.To.Tag = v
		case k == "tagless":
			m.To.Tag = ""
		case k == "maxforwards":
			m.MaxForwards = w.Number(k, 0)
		case k == "cseq":
			m.CSeq = uint32(w.Number(k, 0))
		case k == "state":
			m.Set("Subscription-State", v)
		case k == "text":
			v = veiled.ReplaceAllStringFunc(v, func(id string) string { return settings().Ties.Veil("204@example.com", id[len("VEIL:"):]) })
			m.Body = []byte(strings.ReplaceAll(v, `\n`, "\r\n"))
			if _, typed := w["type"]; !typed {
				m.Set("Content-Type", "text/plain")
			}
		case k == "type" && v != "none":
			m.Set("Content-Type", v)
		case v == "none":
			m.Remove(k)
		case k[0] >= 'A' && k[0] <= 'Z':
			m.Set(k, v)
		}
	}
}

// show writes an action as one line of a golden file.
func (p *player) show(a tu.Action) string {
	switch a := a.(type) {
	case tu.Respond:
		x := p.servers[a.Tx-1]
		return fmt.Sprintf("%c< %d %s #%d%s", 'a'+x.leg, a.Msg.Status, a.Msg.Method, a.Tx, p.details(a.Msg))
	case tu.Send:
		return fmt.Sprintf("%c> %s [%d] %s cseq=%d to %s%s", 'a'+p.clients[a.Ref].leg, a.Msg.Method, a.Ref, a.Msg.URI, a.Msg.CSeq,
			a.Hop.Flow.Remote, p.details(a.Msg))
	case tu.OpenDialog:
		return fmt.Sprintf("open %s %s %s from %s", a.Side, p.name("C", a.CallID), p.name("T", a.Local), a.Source)
	case tu.CloseDialog:
		return fmt.Sprintf("close %s %s %s", a.Side, p.name("C", a.CallID), p.name("T", a.Local))
	case tu.Route:
		return fmt.Sprintf("route %s for %s", a.Msg.URI, a.Peer.Kind)
	case tu.Drop:
		return "drop"
	case tu.Note:
		return strings.TrimRight(fmt.Sprintf("note %s %s %s %s %d %s: %s", a.Source, a.Side, a.Realm, a.Method, a.Code, a.Why, a.Text), ": ")
	case tu.End:
		return "end"
	}
	return fmt.Sprintf("%T", a)
}

// name gives an id of ours a name of its kind and order.
func (p *player) name(kind, id string) string {
	if id == "" || len(id) < 10 || strings.Contains(id, "-id@") {
		return id
	}
	return p.names.Of(kind, id)
}

// details are ids, header fields and body of a message.
func (p *player) details(m *message.Message) string {
	var b strings.Builder
	if m.IsRequest() {
		fmt.Fprintf(&b, " %s %s→%s", p.name("C", m.CallID), p.name("T", m.From.Tag), p.name("T", m.To.Tag))
		if m.To.Tag == "" {
			fmt.Fprintf(&b, "- From:%s To:%s", m.From.URI, m.To.URI)
		}
	} else {
		fmt.Fprintf(&b, " %s", p.name("T", m.To.Tag))
	}
	for _, h := range m.Headers {
		if h.Name == "Allow" && h.Value == header.Methods {
			h.Value = "ours"
		}
		fmt.Fprintf(&b, " %s:%s", h.Name, passwordText(h, m))
	}
	if len(m.Body) > 0 {
		fmt.Fprintf(&b, " %q", m.Body)
	}
	return b.String()
}
