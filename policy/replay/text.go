package replay

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"sallyport/policy"
)

// rowsMost is how many sources the text tells; JSON tells all.
const rowsMost = 30

// Text is the report for people to read, times in a zone.
func (p *Report) Text(zone *time.Location) string {
	var b strings.Builder
	p.head(&b, zone)
	fmt.Fprintf(&b, "verdicts  by %s: %s allowed, %s refused", p.Config, amount(p.Allowed), amount(p.Refused))
	if p.Ignored > 0 {
		fmt.Fprintf(&b, ", %s keep-alives and other things ignored", amount(p.Ignored))
	}
	b.WriteString("\n")
	p.notes(&b)
	b.WriteString("\n")
	table(&b, "SOURCE\tWHO\tPHONES\tMESSAGES\tALLOWED\tREFUSED\tWHY", len(p.Sources), func(i int) string {
		s := &p.Sources[i]
		name := "others"
		if s.Address.IsValid() {
			name = s.Address.String()
		}
		return fmt.Sprintf("%s\t%s\t%d\t%d\t%d\t%d\t%s", name, s.Who, s.Phones, s.Messages, s.Allowed, s.Refused, whys(s.Refusals))
	})
	if len(p.Rules) > 0 {
		b.WriteString("\n")
		table(&b, "RULE\tHITS\tWOULD\tALARMS\tSOURCES", len(p.Rules), func(i int) string {
			x := &p.Rules[i]
			return fmt.Sprintf("%s %q\t%d\t%d\t%d\t%d", x.Path, x.Name, x.Hits, x.Shadow, x.Alarms, x.Sources)
		})
	}
	if len(p.Bans) > 0 {
		b.WriteString("\n")
		table(&b, "BAN\tAT\tFOR\tWHY", len(p.Bans), func(i int) string {
			x := &p.Bans[i]
			return fmt.Sprintf("%s\t%s\t%s\t%s", x.Target, clock(x.At, zone), lasting(x), strings.Join(x.why(zone), "; "))
		})
	}
	return b.String()
}

// why is what made a ban.
func (x *BanReport) why(zone *time.Location) []string {
	out := []string{x.Reason}
	for _, line := range x.Evidence {
		out = append(out, policy.InZone(line, zone))
	}
	return out
}

func lasting(x *BanReport) string {
	if x.Until.IsZero() {
		return "ever"
	}
	return x.Until.Sub(x.At).String()
}

// head says what the capture is.
func (p *Report) head(b *strings.Builder, zone *time.Location) {
	c := &p.Capture
	fmt.Fprintf(b, "capture   %s to %s, %s packets: %s messages received, %s sent", day(c.First, zone), clock(c.Last, zone),
		amount(c.Packets), amount(p.Messages+p.Ignored), amount(p.Sent))
	if p.Other > 0 {
		fmt.Fprintf(b, ", %s datagrams and messages of others", amount(p.Other))
	}
	b.WriteString("\n")
}

func (p *Report) notes(b *strings.Builder) {
	for _, n := range p.Notes {
		fmt.Fprintf(b, "note      %s\n", n)
	}
}

// whys are the reasons of a source's refusals in a line.
func whys(list []Refusal) string {
	var out []string
	for i := range list {
		if i == 3 {
			out = append(out, fmt.Sprintf("and %d more reasons", len(list)-i))
			break
		}
		out = append(out, fmt.Sprintf("%d %s", list[i].Count, list[i].why()))
	}
	return strings.Join(out, "; ")
}

// why is a refusal's reason with its rule.
func (x *Refusal) why() string {
	text := string(x.Reason)
	if text == "" {
		text = "no listener"
	}
	if x.Rule != "" {
		text += " " + x.Rule
	}
	if x.Limit != "" {
		text += " " + x.Limit
	}
	return text
}

// table writes rows under a title, columns in line; what is beyond rowsMost is summed.
func table(b *strings.Builder, title string, n int, row func(int) string) {
	var rows strings.Builder
	w := tabwriter.NewWriter(&rows, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, title)
	for i := range min(n, rowsMost) {
		fmt.Fprintln(w, row(i))
	}
	_ = w.Flush() // a strings.Builder takes everything
	for line := range strings.Lines(rows.String()) {
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	if n > rowsMost {
		fmt.Fprintf(b, "… and %d more; --json lists all\n", n-rowsMost)
	}
}

// amount groups the digits of a figure.
func amount(n uint64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func day(t time.Time, zone *time.Location) string   { return t.In(zone).Format("2006-01-02 15:04:05") }
func clock(t time.Time, zone *time.Location) string { return t.In(zone).Format(time.TimeOnly) }
