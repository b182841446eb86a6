package policy

import (
	"fmt"
	"strings"

	"sallyport/sbc/reason"
)

// Text is the trial as `sbc policy test` prints it: who sends what, one line for each step, and what it comes to.
func (t *Trial) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s   %s\n", t.Source, strings.Join(t.heading(), " · "))
	width := 0
	for i := range t.Steps {
		width = max(width, len(t.Steps[i].Name))
	}
	for i := range t.Steps {
		f := &t.Steps[i]
		mark := ' '
		if f.Decides {
			mark = '>'
		}
		fmt.Fprintf(&b, "%c%2d  %-*s  %s\n", mark, f.Number, width, f.Name, f.Found)
	}
	fmt.Fprintf(&b, "verdict  %s\n", t.sentence())
	return b.String()
}

// heading says who sends what.
func (t *Trial) heading() (parts []string) {
	if t.Country != "" {
		parts = append(parts, t.Country)
	}
	who := strings.TrimSpace(t.Kind + " " + t.Name)
	parts = append(parts, t.Side+"/"+t.Realm+" "+t.Transport, who)
	if t.Phones > 0 {
		k := Identity{Count: t.Phones}
		parts = append(parts, k.who())
	}
	parts = append(parts, strings.TrimSpace(t.Method+" "+t.User))
	if t.Agent != "" {
		parts = append(parts, fmt.Sprintf("%q", t.Agent))
	}
	return parts
}

// sentence is what it comes to.
func (t *Trial) sentence() string {
	text := t.Action
	if t.Code != 0 {
		text += fmt.Sprintf(" %d", t.Code)
	}
	if t.Retry > 0 {
		text += fmt.Sprintf(" with Retry-After: %d", t.Retry)
	}
	if string(t.Reason) != t.Action && t.Reason != reason.Reason("") {
		text += " " + string(t.Reason)
	}
	if t.Rule != nil {
		text += fmt.Sprintf(", %s (%s)", t.Rule.name(), t.Rule.Path)
	}
	if t.Limit != "" {
		text += ", " + t.Limit
	}
	if t.Ban {
		text += ", and its source is banned as far as the evidence allows"
	}
	return text
}
