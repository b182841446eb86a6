package replay

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"time"

	"sallyport/policy"
	"sallyport/sbc/reason"
)

// SuggestOptions say how generous limits are to be.
type SuggestOptions struct {
	Percentile float64 // of the minutes of all sources that the limit itself lets pass; 0: 99
	Margin     float64 // percent that is added; negative: 50
}

// ownMost is how many sources may get a limit of their own.
const ownMost = 20

// leastBurst is the smallest bucket that is suggested: that of the default.
const leastBurst = 4

// Suggestion are rate limits learned from a capture.
type Suggestion struct {
	Capture    Facts                    `json:"capture"`
	Percentile float64                  `json:"percentile"`
	Margin     float64                  `json:"margin_percent"`
	Requests   int                      `json:"requests"` // learned from
	Sources    int                      `json:"sources"`
	Methods    []MethodReport           `json:"methods"`
	Rules      []policy.RateLimitConfig `json:"-"`
	Limits     []LimitReport            `json:"rate_limits"`
	Predicted  Prediction               `json:"predicted"`
	LeftOut    []LeftOut                `json:"left_out"`
	Notes      []string                 `json:"notes,omitempty"`
}

// LimitReport is one suggested rule.
type LimitReport struct {
	Name     string            `json:"name"`
	Range    []string          `json:"range"`
	Limits   map[string]string `json:"limits"`
	Burst    int               `json:"burst"`
	PerPhone bool              `json:"per_phone"`
	Phones   int               `json:"phones,omitempty"` // behind it
}

// MethodReport is how many requests of a method a source sent in a minute, for each phone behind it.
type MethodReport struct {
	Method   string     `json:"method"`
	Requests int        `json:"requests"`
	Sources  int        `json:"sources"`
	Median   float64    `json:"median"`
	High     float64    `json:"percentile"` // the one asked for
	Most     float64    `json:"most"`
	Busiest  netip.Addr `json:"busiest"`
}

// Prediction is what the suggested limits would have refused of the sources that were learned from, found out by
// running the capture through them.
type Prediction struct {
	Requests uint64         `json:"requests"`
	Sources  int            `json:"sources"`
	Who      []SourceReport `json:"who"`
}

// Suggest learns rate limits for phones from a capture.
func Suggest(open Opener, s *Setup, o SuggestOptions) (*Suggestion, error) {
	if o.Percentile == 0 {
		o.Percentile = 99
	}
	if o.Margin < 0 {
		o.Margin = 50
	}
	if o.Percentile < 1 || o.Percentile > 100 || o.Margin > 10_000 {
		return nil, fmt.Errorf("a percentile is 1 to 100 and a margin 0 to 10000 percent, not %g and %g", o.Percentile, o.Margin)
	}
	first, err := newRun(open, s)
	if err != nil {
		return nil, err
	}
	l := &learner{sources: map[netip.Addr]*pupil{}}
	r, err := first.with([]policy.RateLimitConfig{})
	if err != nil {
		return nil, err
	}
	report, err := r.all(open, func(m *Message, j *judged) { l.watch(r, m, j) })
	if err != nil {
		return nil, err
	}
	x := &Suggestion{Capture: report.Capture, Percentile: o.Percentile, Margin: o.Margin, Notes: report.Notes}
	var good []*pupil
	good, x.LeftOut = l.divide()
	x.note(l)
	if x.general(good); len(x.Rules) == 0 {
		return nil, errUntaught
	}
	if err := x.own(open, first, good); err != nil {
		return nil, err
	}
	x.Predicted, err = x.predict(open, first, good)
	x.tell(good)
	return x, err
}

var errUntaught = errors.New("the capture holds no requests of phones that were let in: there is nothing to learn from\n" +
	"  hint: capture longer, where phones register, and with the answers; or let the running program record: sbc limits suggest without a file")

// enough is how long a capture should be: quiet hours alone teach limits that a busy one breaks.
const enough = 24 * time.Hour

func (x *Suggestion) note(l *learner) {
	if d := x.Capture.Last.Sub(x.Capture.First); d < enough {
		x.Notes = append(x.Notes, fmt.Sprintf("the capture is of %s only: limits learned from less than a day may be too narrow for a busy hour; try them with shadow: true", d.Round(time.Second)))
	}
	if l.full {
		x.Notes = append(x.Notes, fmt.Sprintf("only the first %d requests of %d sources were learned from", eventsMost, learnedMost))
	}
	if !l.answers {
		x.Notes = append(x.Notes, "the capture holds no answers: what repeats a request with a password counts as another request")
	}
}

// general makes the rule for all phones.
func (x *Suggestion) general(good []*pupil) {
	methods := map[string]bool{}
	for _, p := range good {
		x.Sources++
		for m := range p.requests {
			methods[m] = true
		}
	}
	rule := policy.RateLimitConfig{Name: "all phones", Range: []string{"any"}, Realms: []string{"phones"}, Limits: map[string]string{}, PerPhone: true}
	burst := leastBurst
	for _, m := range slices.Sorted(maps.Keys(methods)) {
		report := describe(m, good, x.Percentile)
		x.Methods = append(x.Methods, report)
		x.Requests += report.Requests
		if !limitable(m) {
			continue
		}
		rate := x.rate(report.High)
		rule.Limits[m] = policy.Rate{Count: rate, Per: time.Minute}.String()
		var runs []float64
		for _, p := range good {
			if len(p.requests[m]) > 0 {
				runs = append(runs, p.burst(m, float64(rate)*p.share())/p.share())
			}
		}
		burst = max(burst, x.rate(percentile(runs, x.Percentile)))
	}
	rule.Burst = &burst
	if len(rule.Limits) > 0 {
		x.Rules = []policy.RateLimitConfig{rule}
	}
}

// limitable reports whether a rule can name a method.
func limitable(method string) bool { return policy.MethodOf([]byte(method)) != policy.MethodOther }

// rate adds the margin and rounds up.
func (x *Suggestion) rate(n float64) int {
	return max(1, int(math.Ceil(n*(1+x.Margin/100)-1e-9)))
}

// describe is the distribution of a method over all minutes of all sources.
func describe(method string, good []*pupil, percent float64) MethodReport {
	r := MethodReport{Method: method}
	var minutes []float64
	for _, p := range good {
		n := len(p.requests[method])
		if n == 0 {
			continue
		}
		r.Requests += n
		r.Sources++
		for _, count := range p.minutes(method) {
			count /= p.share()
			if count > r.Most {
				r.Most, r.Busiest = count, p.address
			}
			minutes = append(minutes, count)
		}
	}
	r.Median, r.High = percentile(minutes, 50), percentile(minutes, percent)
	return r
}

// own makes rules for the offices that the rule for all would refuse.
func (x *Suggestion) own(open Opener, first *run, good []*pupil) error {
	refused, err := x.predict(open, first, good)
	if err != nil {
		return err
	}
	for _, p := range good {
		hit := slices.ContainsFunc(refused.Who, func(s SourceReport) bool { return policy.SourceKey(s.Address) == p.key })
		if !hit || p.phones < officePhones || len(x.Rules) > ownMost {
			continue
		}
		rule := policy.RateLimitConfig{
			Name: "office " + p.address.String(), Range: []string{p.scope()}, Realms: []string{"phones"},
			Limits: map[string]string{}, Comment: fmt.Sprintf("%d phones", p.phones),
		}
		burst := leastBurst
		for m := range p.requests {
			if limitable(m) {
				rate := x.rate(p.peak(m))
				rule.Limits[m] = policy.Rate{Count: rate, Per: time.Minute}.String()
				burst = max(burst, x.rate(p.burst(m, float64(rate))))
			}
		}
		rule.Burst = &burst
		x.Rules = append(x.Rules, rule)
	}
	return nil
}

// scope is the range that is this source alone: an address, of IPv6 its /64.
func (p *pupil) scope() string {
	if p.address.Is4() {
		return p.address.String()
	}
	return policy.SourcePrefix(p.address).String()
}

// predict runs the capture through the rules so far.
func (x *Suggestion) predict(open Opener, first *run, good []*pupil) (Prediction, error) {
	r, err := first.with(x.Rules)
	if err != nil {
		return Prediction{}, err
	}
	report, err := r.all(open, nil)
	if err != nil {
		return Prediction{}, err
	}
	learned := map[netip.Addr]bool{}
	for _, p := range good {
		learned[p.key] = true
	}
	out := Prediction{Who: []SourceReport{}}
	for i := range report.Sources {
		s := &report.Sources[i]
		n := uint64(0)
		for k := range s.Refusals {
			if s.Refusals[k].Reason == reason.LimitExceeded {
				n += s.Refusals[k].Count
			}
		}
		if n > 0 && s.Address.IsValid() && learned[policy.SourceKey(s.Address)] {
			out.Requests += n
			out.Sources++
			out.Who = append(out.Who, *s)
		}
	}
	return out, nil
}

// tell puts the rules into the report.
func (x *Suggestion) tell(good []*pupil) {
	for i := range x.Rules {
		rule := &x.Rules[i]
		l := LimitReport{Name: rule.Name, Range: rule.Range, Limits: rule.Limits, Burst: *rule.Burst, PerPhone: rule.PerPhone}
		for _, p := range good {
			if p.scope() == rule.Range[0] {
				l.Phones = max(l.Phones, p.phones)
			}
		}
		x.Limits = append(x.Limits, l)
	}
	slices.SortStableFunc(x.Methods, func(a, b MethodReport) int { return cmp.Compare(b.Requests, a.Requests) })
}
