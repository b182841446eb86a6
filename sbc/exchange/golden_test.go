package exchange

import (
	"fmt"
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
		t.Error("the exchange has not ended at the end of the file")
	}
	return out
}

// player runs a script on a stage.
type player struct {
	t *testing.T
	*stage
	names script.Names // ids of ours, by what they are called in the file
}

// words are the arguments of an event: name=value.
type words = script.Words

func (p *player) event(line string) []tu.Action {
	what, plain, w := script.Event(line)
	ref := tu.Ref(w.Number("re", len(p.clients)))
	switch what {
	case "from":
		p.stage = newStage(p.t, plain[0])
		return nil
	case "again": // another exchange of the same phone
		set := p.e.set
		p.stage = newStage(p.t, plain[0])
		p.e = New(set, tu.Seed{8})
		return nil
	case "a":
		m := p.request(plain[0])
		adorn(m, w)
		ev := p.arrive(m)
		if w["peer"] == "none" {
			ev.Peer = nil
		}
		return p.step(ev)
	case "b":
		code, _ := strconv.Atoi(plain[0])
		ev := p.response(ref, code)
		adorn(ev.Msg, w)
		asks(ev.Msg, w["ask"])
		return p.step(ev)
	case "routed":
		return p.step(p.routed(plain, w))
	case "trying":
		return p.step(tu.Trying{Ref: ref})
	case "failed":
		code, _ := strconv.Atoi(plain[0])
		p.clients[ref-1].final = true
		ev := tu.Failed{Ref: ref, Code: code, Why: reason.Timeout}
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
	case "cancelled":
		return p.step(tu.Cancelled{Tx: 1})
	case "moved":
		return p.step(tu.Moved{Token: token, Flow: p.hop.Flow})
	case "abort":
		// A Step that panics has changed things and sent nothing.
		p.e.Step(p.now, tu.Hangup{Code: 500, Why: reason.Internal}, nil)
		do := p.e.Abort(p.now, nil)
		p.take(do)
		return do
	}
	p.t.Fatalf("unknown event %q", line)
	return nil
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
		due := s.e.Deadline()
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
		case k == "from":
			m.From.URI, _ = message.ParseURI(v)
		case k == "totag":
			m.To.Tag = v
		case k == "maxforwards":
			m.MaxForwards = w.Number(k, 0)
		case k == "cseq":
			m.CSeq = uint32(w.Number(k, 0))
		case k == "sdp":
			m.Body = []byte("v=0\r\no=FreeSWITCH 1 1 IN IP4 192.168.1.20\r\ns=FreeSWITCH\r\nc=IN IP4 10.0.0.99\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\na=rtcp:4001\r\na=ptime:20\r\n")
			m.Set("Content-Type", "application/sdp")
		case k == "text":
			m.Body = []byte(v)
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
		return fmt.Sprintf("a< %d %s #%d%s", a.Msg.Status, a.Msg.Method, a.Tx, p.details(a.Msg))
	case tu.Send:
		return fmt.Sprintf("b> %s [%d] %s to %s%s", a.Msg.Method, a.Ref, a.Msg.URI, a.Hop.Flow.Remote, p.details(a.Msg))
	case tu.Route:
		return fmt.Sprintf("route %s for %s", a.Msg.URI, a.Peer.Kind)
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
		fmt.Fprintf(&b, " %s %s cseq=%d mf=%d From:%s To:%s", p.name("C", m.CallID), p.name("T", m.From.Tag), m.CSeq,
			m.MaxForwards, m.From.URI, m.To.URI)
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
