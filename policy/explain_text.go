package policy

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"sallyport/nat"
	"sallyport/policy/geo"
	"sallyport/sbc/reason"
)

// shownRecords is how many records the text shows; the JSON has them all.
const shownRecords = 5

// shownUsers is how many users the text names.
const shownUsers = 8

// Text is the explanation as `sbc why` prints it: one labelled line for each thing that there is to say. Times are in
// the given zone.
func (x *Explanation) Text(zone *time.Location) string {
	var b strings.Builder
	line := func(label, format string, args ...any) {
		fmt.Fprintf(&b, "%-8s"+format+"\n", append([]any{label}, args...)...)
	}
	country := ""
	if x.Country != (geo.Code{}) {
		country = x.Country.String() + " · "
	}
	fmt.Fprintf(&b, "%s   %s%s\n", x.Address, country, x.heading())
	if x.Seen == nil {
		line("record", "none; recording since %s", x.Recording.In(zone).Format(time.DateTime))
	} else {
		line("now", "%s", x.Now.sentence(zone))
		line("since", "%s", x.sinceText(zone))
	}
	for i, p := range x.Last[:min(len(x.Last), shownRecords)] {
		line(labelOnce("last", i), "%s", p.text(zone))
	}
	for i, k := range x.owing() {
		line(labelOnce("bucket", i), "%s", k)
	}
	if len(x.Behind) > 0 {
		line("phones", "%s", few(userParts(x.Behind)))
	}
	shown := 0
	for _, m := range x.Meets {
		if x.Seen == nil || m.Action != x.Now.Action || m.Reason != x.Now.Reason {
			line(labelOnce("meets", shown), "%s/%s %s: %s", m.Side, m.Realm, m.Method, m.brief(zone))
			shown++
		}
	}
	for i, s := range x.Passes {
		line(labelOnce("passes", i), "with %s %s burst %d", s.Method, s.Rate, s.Burst)
	}
	for i, s := range x.Shadows {
		line(labelOnce("shadow", i), "rule %q would have refused %d of the %d messages on record", s.Rule, s.Count, len(x.Last))
	}
	for i, s := range x.Alarms {
		line(labelOnce("alarms", i), "rule %q was met by %d of the %d messages on record", s.Rule, s.Count, len(x.Last))
	}
	x.Account.lines(zone, x.Now.Ban, line)
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
		parts = append(parts, k.Side+"/"+k.Realm+" · "+k.who())
	}
	if len(parts) > 0 {
		return strings.Join(parts, "; ")
	}
	if x.Seen != nil {
		return x.Seen.Side + "/" + x.Seen.Realm + " · stranger"
	}
	return "stranger"
}

// who names what is known of an address at a listener.
func (k *Identity) who() string {
	switch {
	case k.Count == 1:
		return "1 phone registered behind it"
	case k.Count > 1:
		return fmt.Sprintf("%d phones registered behind it", k.Count)
	}
	return strings.TrimSpace(k.Kind + " " + k.Name)
}

// sentence says what a request meets: a word in capitals, and the rule.
func (m *Meeting) sentence(zone *time.Location) string {
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
		text += m.Ban.sentence(zone)
	case m.Reason == reason.Ban:
		text += "for a short time: its port, or the user whose password is guessed"
	case m.Rule != nil:
		text += fmt.Sprintf("%s %s", m.Rule.Path, m.Rule.name())
	case m.Reason != reason.Allow:
		text += string(m.Reason)
	default:
		text += m.Side + "/" + m.Realm + " " + m.Method
	}
	switch {
	case m.Code == 200:
		text += " (answered 200 here)"
	case m.Code != 0:
		text += fmt.Sprintf(" (answered %d)", m.Code)
	case m.Action == Drop.String():
		text += " (silence)"
	}
	return text + m.shadowText()
}

func (m *Meeting) shadowText() string {
	if m.Shadow == "" {
		return ""
	}
	return fmt.Sprintf("; shadow rule %q would refuse it", m.Shadow)
}

// brief is the sentence of a line that has named listener and method already.
func (m *Meeting) brief(zone *time.Location) string {
	if m.Reason != reason.Allow {
		return m.sentence(zone)
	}
	text := "ALLOWED"
	if m.Method == MethodRegister.String() && m.Side == nat.Outside.String() {
		text += "  to the PBX, which checks the password"
	}
	return text + m.shadowText()
}

func (ban *Ban) sentence(zone *time.Location) string {
	text := printable([]byte(ban.Target()))
	if ban.Reason != "" {
		text += ": " + printable([]byte(ban.Reason))
	}
	if ban.By != "" {
		text += " (by " + printable([]byte(ban.By)) + ")"
	}
	if ban.Until.IsZero() {
		return text + ", until removed"
	}
	return text + ", until " + ban.Until.In(zone).Format(time.DateTime)
}

// seconds is a time to wait in words: 44 s, 3 min 20 s, 5 h 12 min, 2 d 3 h.
func seconds(s float64) string {
	n := int(math.Ceil(s))
	pair := func(unit int, name string, less int, small string) string {
		if n%unit/less == 0 {
			return fmt.Sprintf("%d %s", n/unit, name)
		}
		return fmt.Sprintf("%d %s %d %s", n/unit, name, n%unit/less, small)
	}
	switch {
	case n < 120:
		return fmt.Sprintf("%d s", n)
	case n < 3600:
		return pair(60, "min", 1, "s")
	case n < 86_400:
		return pair(3600, "h", 60, "min")
	}
	return pair(86_400, "d", 3600, "h")
}

// sinceText counts what was refused since the first message.
func (x *Explanation) sinceText(zone *time.Location) string {
	s := x.Seen
	layout := time.TimeOnly
	if s.Last.Sub(s.First) > 12*time.Hour {
		layout = time.DateTime
	}
	text := fmt.Sprintf("%s: %d refused", s.First.In(zone).Format(layout), s.Refused)
	if len(s.Methods) > 0 {
		methods := sortedKeys(s.Methods)
		slices.SortStableFunc(methods, func(a, b string) int { return int(s.Methods[b]) - int(s.Methods[a]) })
		for i, m := range methods {
			methods[i] = fmt.Sprintf("%d %s", s.Methods[m], m)
		}
		text += " (" + strings.Join(methods, ", ") + ")"
	}
	if s.Passed > 0 || s.Refused == 0 {
		text += fmt.Sprintf(", %d allowed", s.Passed)
	}
	return text + x.usersText()
}

// usersText names those on whose behalf refused messages were sent.
func (x *Explanation) usersText() string {
	users, one, behind := x.Seen.Users, "sender", ""
	if x.Seen.Side == nat.Outside.String() && x.Seen.Realm == nat.Phones.String() && (len(x.Known) == 0 || len(x.Behind) > 0) {
		registered := userParts(x.Behind)
		users = slices.DeleteFunc(slices.Clone(users), func(u string) bool { return slices.Contains(registered, u) })
		one, behind = "phone", " without registration"
	}
	if len(users) == 0 {
		return ""
	}
	if len(users) > 1 {
		one += "s"
	}
	return fmt.Sprintf(", %d %s%s: %s", len(users), one, behind, few(users))
}

// few names the first of many.
func few(users []string) string {
	if len(users) <= shownUsers {
		return strings.Join(users, " ")
	}
	return strings.Join(users[:shownUsers], " ") + " …"
}

// userParts are the users of AoRs.
func userParts(aors []string) []string {
	out := make([]string, len(aors))
	for i, a := range aors {
		out[i], _, _ = strings.Cut(a, "@")
	}
	return out
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
	if string(p.Reason) != p.Action {
		verdict += " " + string(p.Reason)
	}
	return strings.Join(parts, " ") + "  " + verdict
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
