package replay

import (
	"cmp"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"sallyport/nat"
	"sallyport/policy"
	"sallyport/sbc/reason"
)

// The bounds of learning.
const (
	eventsMost   = 4_000_000 // requests that are learned from
	learnedMost  = 100_000   // sources
	creditsMost  = 1024      // as the guard's
	creditLife   = 32 * time.Second
	neverMost    = 20 // left out sources that are named
	officePhones = 3  // so many phones behind an address make an office, which may have a limit of its own
)

// learner notes the requests that a limit would be charged with.
type learner struct {
	sources map[netip.Addr]*pupil // by policy.SourceKey
	events  int
	full    bool
	answers bool // the capture holds answers of the program
}

// pupil is one source.
type pupil struct {
	key      netip.Addr
	address  netip.Addr
	phones   int // most behind it at a time
	answered bool
	refused  reason.Reason // as a scanner
	agent    string
	credits  int // challenges that it has not answered
	credited time.Time
	requests map[string][]time.Duration // by method: when, since the beginning
	began    time.Time
}

// watch sees one message of the learning run.
func (l *learner) watch(r *run, m *Message, j *judged) {
	if j.face.Side != nat.Outside || j.face.Realm != nat.Phones {
		return
	}
	if j.way == sent {
		l.sent(m, j)
		return
	}
	p := l.pupil(r, m.Source.Addr())
	if p == nil {
		return
	}
	p.phones = max(p.phones, r.known.book.phones[p.address])
	v := j.view
	if a := v.Bytes(v.UserAgents[0]); len(a) > 0 {
		p.agent = brief(a)
	}
	switch j.verdict.Reason {
	case reason.UserAgent, reason.MessageRule, reason.Ban, reason.BlackList, reason.Country:
		p.refused = j.verdict.Reason
		return
	case reason.Allow, reason.NotRegistered, reason.Stranger, reason.StrangersBudget:
	default:
		return // not charged: of a call in progress, a repeat, malformed, or white-listed
	}
	if !v.IsRequest {
		return
	}
	if !v.Authorization.Empty() && p.credits > 0 && j.now.Sub(p.credited) < creditLife {
		p.credits--
		return
	}
	if l.events >= eventsMost {
		l.full = true
		return
	}
	l.events++
	method := string(v.Bytes(v.Method))
	p.requests[method] = append(p.requests[method], j.now.Sub(p.began))
}

func (l *learner) pupil(r *run, a netip.Addr) *pupil {
	a = a.Unmap().WithZone("")
	key := policy.SourceKey(a)
	p := l.sources[key]
	if p == nil {
		if len(l.sources) >= learnedMost {
			l.full = true
			return nil
		}
		p = &pupil{key: key, address: a, began: r.now, requests: map[string][]time.Duration{}}
		l.sources[key] = p
	}
	return p
}

// sent hears of an answer.
func (l *learner) sent(m *Message, j *judged) {
	v := j.view
	if v.IsRequest || v.Status < 200 {
		return
	}
	l.answers = true
	p := l.sources[policy.SourceKey(m.Destination.Addr().Unmap().WithZone(""))]
	switch {
	case p == nil:
	case !j.asks && (v.Status == 401 || v.Status == 407): // it was sent again
	case j.asks:
		if j.now.Sub(p.credited) >= creditLife {
			p.credits = 0
		}
		p.credits, p.credited = min(p.credits+1, creditsMost), j.now
	case v.Status < 300:
		p.answered = true
	}
}

// LeftOut is a source that was not learned from.
type LeftOut struct {
	Address netip.Addr `json:"address"`
	Why     string     `json:"why"`
	Agent   string     `json:"ua,omitempty"`
}

// divide tells the sources to learn from from those that are left out.
func (l *learner) divide() (good []*pupil, out []LeftOut) {
	out = []LeftOut{}
	for _, p := range l.sources {
		switch {
		case p.refused != "" && p.phones == 0:
			out = append(out, LeftOut{p.address, "refused: " + string(p.refused), p.agent})
		case l.answers && p.phones == 0 && !p.answered:
			out = append(out, LeftOut{p.address, "never registered", p.agent})
		case len(p.requests) > 0:
			good = append(good, p)
		}
	}
	slices.SortFunc(good, func(a, b *pupil) int { return cmp.Or(cmp.Compare(b.phones, a.phones), a.key.Compare(b.key)) })
	slices.SortFunc(out, func(a, b LeftOut) int { return cmp.Or(strings.Compare(a.Why, b.Why), a.Address.Compare(b.Address)) })
	return good, out
}

// share is how many phones a source's requests are divided by.
func (p *pupil) share() float64 { return float64(max(1, p.phones)) }

// minutes are how many requests of a method came in each minute in which there were any.
func (p *pupil) minutes(method string) []float64 {
	counts := map[time.Duration]float64{}
	for _, at := range p.requests[method] {
		counts[at/time.Minute]++
	}
	out := make([]float64, 0, len(counts))
	for _, n := range counts {
		out = append(out, n)
	}
	return out
}

// peak is the most requests of a method in a minute.
func (p *pupil) peak(method string) float64 {
	if m := p.minutes(method); len(m) > 0 {
		return slices.Max(m)
	}
	return 0
}

// burst is the smallest bucket with which a rate, in requests a minute, lets every request of a method pass: the most by
// which any run of them outruns the rate.
func (p *pupil) burst(method string, rate float64) float64 {
	// A bucket that is empty at first and may go below zero: how far it goes below its highest level so far.
	most, level := 0.0, 0.0
	var last time.Duration
	for i, at := range p.requests[method] {
		if i > 0 {
			level = max(0, level-(at-last).Minutes()*rate)
		}
		last = at
		level++
		most = max(most, level)
	}
	return most
}

// percentile is the smallest of the values that so many percent of them do not exceed (nearest rank).
func percentile(values []float64, percent float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	rank := int(math.Ceil(percent / 100 * float64(len(values))))
	return values[min(max(rank, 1), len(values))-1]
}
