package policy

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"sallyport/nat"
	"sallyport/sbc/reason"
)

// shownRecords is how many records the text shows; the JSON has them all.
const shownRecords = 5

// Text is the explanation as `sbc why` prints it: one labelled line for each thing that there is to say. Times are in
// the given zone.
func (x *Explanation) Text(zone *time.Location) string {
	var b strings.Builder
	line := func(label, format string, args ...any) {
		fmt.Fprintf(&b, "%-8s"+format+"\n", append([]any{label}, args...)...)
	}
	fmt.Fprintf(&b, "%s   %s\n", x.Address, x.heading())
	if x.Seen == nil {
		line("record", "none; recording since %s", x.Recording.In(zone).Format(time.DateTime))
	} else {
		line("now", "%s", x.Now.sentence())
		line("since", "%s", x.sinceText(zone))
	}
	for i, p := range x.Last[:min(len(x.Last), shownRecords)] {
		line(labelOnce("last", i), "%s", p.text(zone))
	}
	for i, k := range x.owing() {
		line(labelOnce("bucket", i), "%s", k)
	}
	for i, m := range x.Meets {
		if x.Seen == nil || m.Action != x.Now.Action || m.Reason != x.Now.Reason {
			line(labelOnce("meets", i), "%s/%s %s: %s", m.Side, m.Realm, m.Method, m.sentence())
		}
	}
	for i, s := range x.Passes {
		line(labelOnce("passes", i), "with %s %s burst %d", s.Method, s.Rate, s.Burst)
	}
	for i, s := range x.Shadows {
		line(labelOnce("shadow", i), "rule %q would have refused %d of the %d messages on record", s.Rule, s.Count, len(x.Last))
	}
	for i, f := range x.Fix {
		line(labelOnce("fix", i), "%s", f)
	}
	return b.String()
}

func labelOnce(label string, i int) string {
	if i > 0 {
		return ""
	}
	return label
}

// heading says who the address is.
func (x *Explanation) heading() string {
	var parts []string
	for _, k := range x.Known {
		parts = append(parts, strings.TrimSpace(fmt.Sprintf("%s/%s · %s %s", k.Side, k.Realm, k.Kind, k.Name)))
	}
	if len(parts) > 0 {
		return strings.Join(parts, "; ")
	}
	if x.Seen != nil {
		return x.Seen.Side + "/" + x.Seen.Realm + " · stranger"
	}
	return "stranger"
}

// sentence says what a request meets: a word in capitals, and the rule.
func (m *Meeting) sentence() string {
	word := map[reason.Reason]string{
		reason.LimitExceeded: "LIMITED", reason.StrangersBudget: "LIMITED", reason.Ban: "BANNED",
		reason.BlackList: "BLACK-LISTED",
	}[m.Reason]
	switch {
	case word != "":
	case m.Action == Allow.String():
		word = "ALLOWED"
	default:
		word = "REFUSED"
	}
	text := word + "  "
	switch {
	case m.Limit != "":
		text += fmt.Sprintf("%s %s: %d over, clears in %s", m.Rule.name(), m.Limit, m.Over, seconds(m.Clears))
	case m.Ban != nil:
		text += m.Ban.sentence()
	case m.Rule != nil:
		text += fmt.Sprintf("%s %s", m.Rule.Path, m.Rule.name())
	default:
		text += string(m.Reason)
	}
	switch {
	case m.Code == 200:
		text += " (answered 200 here)"
	case m.Code != 0:
		text += fmt.Sprintf(" (answered %d)", m.Code)
	case m.Action == Drop.String():
		text += " (silence)"
	}
	if m.Shadow != "" {
		text += fmt.Sprintf("; shadow rule %q would refuse it", m.Shadow)
	}
	return text
}

func (ban *Ban) sentence() string {
	text := ban.Prefix.String()
	if ban.Reason != "" {
		text += ": " + printable([]byte(ban.Reason))
	}
	if ban.By != "" {
		text += " (by " + printable([]byte(ban.By)) + ")"
	}
	if ban.Until.IsZero() {
		return text + ", until removed"
	}
	return text + ", until " + ban.Until.Format(time.DateTime)
}

func seconds(s float64) string {
	return (time.Duration(math.Ceil(s)) * time.Second).String()
}

// sinceText counts what was refused since the first message.
func (x *Explanation) sinceText(zone *time.Location) string {
	s := x.Seen
	text := fmt.Sprintf("%s: %d refused", s.First.In(zone).Format(time.TimeOnly), s.Refused)
	if len(s.Methods) > 0 {
		methods := sortedKeys(s.Methods)
		slices.SortStableFunc(methods, func(a, b string) int { return int(s.Methods[b]) - int(s.Methods[a]) })
		for i, m := range methods {
			methods[i] = fmt.Sprintf("%d %s", s.Methods[m], m)
		}
		text += " (" + strings.Join(methods, ", ") + ")"
	}
	text += fmt.Sprintf(", %d allowed", s.Passed)
	if n := len(s.Users); n > 0 {
		what := "senders refused"
		if len(x.Known) == 0 && s.Side == nat.Outside.String() && s.Realm == nat.Phones.String() {
			what = "phones without registration"
		}
		users := s.Users
		more := ""
		if n > 8 {
			users, more = users[:8], " …"
		}
		text += fmt.Sprintf(", %d %s: %s%s", n, what, strings.Join(users, " "), more)
	}
	return text
}

// text is one record on a line.
func (p *RecordedPacket) text(zone *time.Location) string {
	parts := []string{p.At.In(zone).Format("15:04:05.000"), p.Method}
	if p.User != "" {
		parts = append(parts, p.User)
	}
	parts = append(parts, fmt.Sprintf("%s:%d", p.Transport, p.Port))
	if p.Agent != "" {
		parts = append(parts, fmt.Sprintf("%q", p.Agent))
	}
	verdict := p.Action
	if p.Code != 0 {
		verdict += fmt.Sprintf(" %d", p.Code)
	}
	return strings.Join(parts, " ") + "  " + verdict + " " + string(p.Reason)
}

// owing tells the buckets that something is owed to, except the one that `now` speaks of.
func (x *Explanation) owing() (lines []string) {
	for _, k := range x.Buckets {
		if k.Clears == 0 || k.Limit == x.Now.Limit {
			continue
		}
		text := fmt.Sprintf("rule %q %s: %.1f left, clears in %s", k.Rule, k.Limit, k.Left, seconds(k.Clears))
		if k.Shared {
			text += ", shared: the table of sources is full"
		}
		if k.Shadow {
			text += ", shadow"
		}
		lines = append(lines, text)
	}
	return lines
}
