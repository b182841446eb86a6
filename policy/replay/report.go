package replay

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"sallyport/policy"
	"sallyport/sbc/reason"
)

// The bounds of a report.
const (
	sourcesMost = 20_000 // sources told one by one; further ones are summed
	bansMost    = 1000
	sampleMost  = 100 // bytes of a text that a stranger wrote
)

// Report is what became of a capture.
type Report struct {
	Config   string         `json:"config"`
	Capture  Facts          `json:"capture"`
	Messages uint64         `json:"messages"` // received
	Allowed  uint64         `json:"allowed"`
	Refused  uint64         `json:"refused"`
	Ignored  uint64         `json:"ignored"` // keep-alives and what is no SIP
	Sent     uint64         `json:"sent"`
	Other    uint64         `json:"other"` // between others
	Sources  []SourceReport `json:"sources"`
	Rules    []RuleReport   `json:"rules"` // those that had something to say
	Bans     []BanReport    `json:"bans,omitempty"`
	Notes    []string       `json:"notes,omitempty"`

	by   map[netip.Addr]*SourceReport
	rest SourceReport // of sources beyond the bound
	hits map[int32]*RuleReport
}

// SourceReport is what became of one source's messages.
type SourceReport struct {
	Address  netip.Addr `json:"address"`
	Who      string     `json:"who"` // trunk NAME, node NAME, phone, stranger
	Messages uint64     `json:"messages"`
	Allowed  uint64     `json:"allowed"`
	Refused  uint64     `json:"refused"`
	Phones   int        `json:"phones,omitempty"` // most registered behind it at a time
	Agent    string     `json:"ua,omitempty"`     // the last one
	First    time.Time  `json:"first"`
	Last     time.Time  `json:"last"`
	Refusals []Refusal  `json:"refusals,omitempty"` // most frequent first
}

// Refusal is one reason why messages of a source went no further.
type Refusal struct {
	Reason reason.Reason `json:"reason"` // empty: no listener
	Rule   string        `json:"rule,omitempty"`
	Limit  string        `json:"limit,omitempty"`
	Count  uint64        `json:"count"`
	First  Sample        `json:"first"`

	rule, limit int32
}

// Sample is one message in brief.
type Sample struct {
	Time   time.Time `json:"time"`
	Start  string    `json:"start"` // method and Request-URI, or status
	From   string    `json:"from,omitempty"`
	Agent  string    `json:"ua,omitempty"`
	Source string    `json:"source"` // "udp 198.51.100.7:40122"
}

// RuleReport is what one rule did.
type RuleReport struct {
	Path    string `json:"path"`
	Name    string `json:"name"`
	Hits    uint64 `json:"hits"`
	Shadow  uint64 `json:"shadow_hits,omitempty"` // what it would have refused
	Alarms  uint64 `json:"alarms,omitempty"`
	Sources int    `json:"sources"` // that it refused
}

// BanReport is one ban that the guard would have made.
type BanReport struct {
	At       time.Time `json:"at"`
	Target   string    `json:"target"`
	Until    time.Time `json:"until,omitzero"`
	Reason   string    `json:"reason"`
	Evidence []string  `json:"evidence,omitempty"`
}

func newReport(config string) *Report {
	return &Report{Config: config, by: map[netip.Addr]*SourceReport{}, hits: map[int32]*RuleReport{}, rest: SourceReport{Who: "others"}}
}

func (p *Report) banned(b policy.Ban) {
	if len(p.Bans) < bansMost {
		p.Bans = append(p.Bans, BanReport{b.Since, b.Target(), b.Until, b.Reason, b.Evidence})
	}
}

// add counts one message.
func (p *Report) add(r *run, m *Message, j *judged) {
	switch j.way {
	case elsewhere:
		p.Other++
		return
	case sent:
		p.Sent++
		return
	case received:
	}
	if j.verdict.Action == policy.Ignore {
		p.Ignored++
		return
	}
	p.Messages++
	s := p.source(m.Source.Addr())
	if s.Messages == 0 {
		s.First = j.now
		s.Who = r.who(j.face, m.Source.Addr())
	}
	if phones := r.known.book.phones[m.Source.Addr().Unmap()]; phones > 0 {
		s.Phones = max(s.Phones, phones)
		if s.Who == whoStranger {
			s.Who = whoPhone
		}
	}
	s.Messages++
	s.Last = j.now
	if a := j.view.Bytes(j.view.UserAgents[0]); len(a) > 0 {
		s.Agent = brief(a)
	}
	p.rule(r.rules, &j.verdict)
	if !j.verdict.Refused() {
		s.Allowed++
		p.Allowed++
		return
	}
	s.Refused++
	p.Refused++
	known := slices.ContainsFunc(s.Refusals, func(x Refusal) bool { return x.rule == j.verdict.Rule })
	s.refuse(r.rules, m, j)
	if !known && j.verdict.Rule >= 0 {
		p.hits[j.verdict.Rule].Sources++
	}
}

func (p *Report) source(a netip.Addr) *SourceReport {
	a = a.Unmap()
	s := p.by[a]
	if s == nil {
		if len(p.by) >= sourcesMost {
			return &p.rest
		}
		s = &SourceReport{Address: a}
		p.by[a] = s
	}
	return s
}

// rule counts what the rules had to say.
func (p *Report) rule(rules *policy.Rules, v *policy.Verdict) {
	for said, n := range [...]int32{v.Rule, v.Shadow, v.Alarm} {
		info, ok := rules.Rule(n)
		if !ok {
			continue
		}
		x := p.hits[n]
		if x == nil {
			x = &RuleReport{Path: info.Path, Name: info.Name}
			p.hits[n] = x
		}
		*[...]*uint64{&x.Hits, &x.Shadow, &x.Alarms}[said]++
	}
}

// refuse counts a refusal.
func (s *SourceReport) refuse(rules *policy.Rules, m *Message, j *judged) {
	v := &j.verdict
	for i := range s.Refusals {
		if x := &s.Refusals[i]; x.Reason == v.Reason && x.rule == v.Rule && x.limit == v.Limit {
			x.Count++
			return
		}
	}
	x := Refusal{Reason: v.Reason, rule: v.Rule, limit: v.Limit, Limit: rules.Limit(v.Limit), Count: 1, First: sampleOf(m, j)}
	if info, ok := rules.Rule(v.Rule); ok {
		x.Rule = info.Path + " " + strconv.Quote(brief([]byte(info.Name)))
	}
	s.Refusals = append(s.Refusals, x)
}

// sampleOf is a message in brief.
func sampleOf(m *Message, j *judged) Sample {
	v := j.view
	x := Sample{Time: j.now, Source: m.Transport.String() + " " + m.Source.String()}
	switch {
	case v.IsRequest:
		x.Start = brief(v.Bytes(v.Method)) + " " + brief(v.Bytes(v.RequestURI))
		x.From = policy.Person(v.Bytes(v.From))
	case v.Status != 0:
		x.Start = fmt.Sprintf("%d to %s", v.Status, brief(v.Bytes(v.CSeqMethod)))
	default:
		x.Start = "no SIP message"
	}
	x.Agent = brief(v.Bytes(v.UserAgents[0]))
	return x
}

// brief makes what a stranger wrote fit for a terminal.
func brief(b []byte) string {
	b = b[:min(len(b), sampleMost)]
	return strings.Map(func(r rune) rune {
		if strconv.IsPrint(r) && r != '\uFFFD' {
			return r
		}
		return '?'
	}, string(b))
}

// finish orders what was counted.
func (p *Report) finish(r *run, facts *Facts) {
	p.Capture = *facts
	if text := r.doors.note(p.Config); text != "" {
		p.Notes = append(p.Notes, text)
	}
	switch n := len(r.presumed); n {
	case 0:
	case 1:
		p.Notes = append(p.Notes, "a phone that registers within the first hour counts as registered from the beginning")
	default:
		p.Notes = append(p.Notes, fmt.Sprintf("%d phones that register within the first hour count as registered from the beginning", n))
	}
	p.Notes = append(p.Notes, facts.Notes()...)
	if r.unjudged > 0 {
		p.Notes = append(p.Notes, fmt.Sprintf("%d messages were cut within their header and could not be judged", r.unjudged))
	}
	p.Sources = []SourceReport{}
	for _, s := range p.by {
		p.Sources = append(p.Sources, *s)
	}
	slices.SortFunc(p.Sources, func(a, b SourceReport) int {
		return cmp.Or(cmp.Compare(b.Refused, a.Refused), cmp.Compare(b.Messages, a.Messages), a.Address.Compare(b.Address))
	})
	if p.rest.Messages > 0 {
		p.Sources = append(p.Sources, p.rest)
		p.Notes = append(p.Notes, fmt.Sprintf("only the first %d sources are told one by one", sourcesMost))
	}
	for i := range p.Sources {
		sortRefusals(p.Sources[i].Refusals)
	}
	p.Rules = []RuleReport{}
	for n := range int32(len(r.rules.Rules())) {
		if h := p.hits[n]; h != nil {
			p.Rules = append(p.Rules, *h)
		}
	}
}

func sortRefusals(list []Refusal) {
	slices.SortStableFunc(list, func(a, b Refusal) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), a.First.Time.Compare(b.First.Time))
	})
}
