package api

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// The answers as the verbs print them. Zones are those of the reader.

// table lays rows out in columns, two blanks apart. Nothing is at a line's end.
func table(rows [][]string) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		fmt.Fprintln(w, strings.Join(r, "\t"))
	}
	_ = w.Flush() // a Builder takes everything
	lines := strings.Split(b.String(), "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, " ")
	}
	return strings.Join(lines, "\n")
}

func clock(t time.Time, zone *time.Location) string {
	if t.IsZero() {
		return "-"
	}
	return t.In(zone).Format(time.DateTime)
}

// Text is `sbc status`.
func (s *Status) Text(zone *time.Location) string {
	rows := [][]string{
		{"sbc", fmt.Sprintf("%s, pid %d, since %s", s.Version, s.PID, clock(s.Since, zone))},
		{"configuration", cmp.Or(s.Config, "flags alone")},
		{"calls", s.Calls.text()},
		{"media", s.Media.text()},
		{"core", fmt.Sprintf("%.1f %% busy", s.Busy*100)},
	}
	if s.Media.Orphans > 0 {
		rows = slices.Insert(rows, 4, []string{"orphans", s.Media.orphans(zone)})
	}
	if s.Phones != (PhoneGauge{}) {
		rows = slices.Insert(rows, 3, []string{"phones", s.Phones.text()})
	}
	if s.Peers != (PeerGauge{}) {
		rows = slices.Insert(rows, 2, []string{"peers", s.Peers.text()})
	}
	rows = slices.Insert(rows, 1, s.head(zone)...)
	for i := range s.Interfaces {
		rows = append(rows, []string{s.Interfaces[i].Side + "/" + s.Interfaces[i].Realm, s.Interfaces[i].text()})
	}
	for _, c := range summed(s.Counts) {
		where := ""
		if c.Side != "" {
			where = c.Side + "/" + c.Realm + " "
		}
		rows = append(rows, []string{c.Action, fmt.Sprintf("%d %s%s", c.Count, where, c.Reason)})
	}
	for i := range s.Rules {
		if r := &s.Rules[i]; r.Hits+r.Shadow > 0 {
			rows = append(rows, []string{"rule", r.text()})
		}
	}
	for i := range s.Data {
		rows = append(rows, []string{s.Data[i].Kind, s.Data[i].text(zone)})
	}
	for i := range s.Captures {
		rows = append(rows, s.Captures[i].row(zone))
	}
	for _, off := range s.Off {
		rows = append(rows, []string{"off", off})
	}
	return table(append(rows, s.foot()...))
}

func (d *DataSource) text(zone *time.Location) string {
	text := fmt.Sprintf("%s: %d entries", d.Name, d.Entries)
	if d.Entries == 1 {
		text = d.Name + ": 1 entry"
	}
	if !d.Fetched.IsZero() {
		text += ", of " + clock(d.Fetched, zone)
	}
	if d.Error != "" {
		text += "; now failing: " + printable(d.Error)
	}
	return text
}

// summed are the counts with those of one listener's transports added up.
func summed(counts []Count) []Count {
	var out []Count
	for _, c := range counts {
		same := func(o Count) bool { o.Count = c.Count; return o == c }
		if i := slices.IndexFunc(out, same); i >= 0 {
			out[i].Count += c.Count
			continue
		}
		out = append(out, c)
	}
	return out
}

func (r *Rule) text() string {
	text := fmt.Sprintf("%s %q: decided %d times", r.Path, r.Name, r.Hits)
	if r.Hits == 1 {
		text = fmt.Sprintf("%s %q: decided once", r.Path, r.Name)
	}
	if r.Shadow > 0 {
		text = fmt.Sprintf("%s %q: would have refused %d (shadow)", r.Path, r.Name, r.Shadow)
	}
	return text
}

func (c *CallGauge) text() string {
	text := fmt.Sprintf("%d now, %d at most, %d in all", c.Now, c.High, c.Total)
	if c.Most > 0 {
		text += fmt.Sprintf("; bound %d", c.Most)
	}
	return text
}

func (m *Media) text() string {
	text := fmt.Sprintf("%s %s: %d pairs, %d free, %d resting, %d in use at most", m.Ports, m.Backend, m.Pairs, m.Free, m.Resting, m.High)
	if m.Missing > 0 {
		text += fmt.Sprintf("; %d ports are held by other programs", m.Missing)
	}
	return text
}

func (m *Media) orphans(zone *time.Location) string {
	return fmt.Sprintf("%d streams of calls from before this start, the oldest since %s: their ports come back when they are silent",
		m.Orphans, clock(m.OrphansSince, zone))
}

func (i *Interface) text() string {
	text := i.Transport + " " + i.Bind
	if i.Advertised != "" && i.Advertised != i.Bind {
		text += " as " + i.Advertised
	}
	if i.Drops > 0 {
		text += fmt.Sprintf(", %d dropped by the kernel", i.Drops)
	}
	if i.Closing {
		text += ", closing: waits for its last call"
	}
	return text
}

// LimitsText is `sbc status --limits`.
func (s *Status) LimitsText() string {
	rows := [][]string{{"TABLE", "LEVEL", "HIGH", "CAP"}}
	for _, l := range s.Limits {
		rows = append(rows, []string{l.Name, fmt.Sprint(l.Level), fmt.Sprint(l.High), fmt.Sprint(l.Cap)})
	}
	return table(rows)
}

// AuditText is `sbc status --audit`; ok is false if a figure should be another.
func (s *Status) AuditText() (text string, ok bool) {
	rows, ok := [][]string{{"FIGURE", "VALUE", ""}}, true
	for _, g := range s.Audit {
		mark := ""
		if g.Bad {
			mark, ok = "← should be 0", false
		}
		rows = append(rows, []string{g.Name, fmt.Sprint(g.Value), mark})
	}
	return table(rows), ok
}

// CallsText is `sbc calls`.
func CallsText(list []Call, now time.Time, zone *time.Location) string {
	if len(list) == 0 {
		return "no calls\n"
	}
	rows := [][]string{{"CALL", "DIRECTION", "STATE", "FROM", "TO", "TRUNK/PHONE", "NODE", "SINCE", "TALKING"}}
	for i := range list {
		c := &list[i]
		rows = append(rows, []string{
			c.ID, c.Direction, c.State, printable(c.From), printable(c.To), cmp.Or(c.Trunk, printable(c.AoR), "-"),
			cmp.Or(c.Node, "-"), clock(c.Start, zone),
			c.talking(now),
		})
	}
	return table(rows)
}

func (c *Call) talking(now time.Time) string {
	if c.Answer.IsZero() {
		return "-"
	}
	return max(now.Sub(c.Answer), 0).Truncate(time.Second).String()
}

// Text is `sbc calls ID`.
func (c *Call) Text(now time.Time, zone *time.Location) string {
	rows := [][]string{
		{"call", c.ID},
		{"direction", c.Direction},
		{"state", c.State},
		{"from", printable(c.From)},
		{"to", printable(c.To)},
		{"node", cmp.Or(c.Node, "-")},
		{"since", clock(c.Start, zone)},
		{"answered", clock(c.Answer, zone)},
		{"talking", c.talking(now)},
	}
	if c.Trunk != "" || c.AoR == "" {
		rows = slices.Insert(rows, 5, []string{"trunk", cmp.Or(c.Trunk, "-")})
	}
	if c.AoR != "" {
		rows = slices.Insert(rows, 5, []string{"phone", printable(c.AoR)})
	}
	if c.Correlation != "" {
		rows = append(rows, []string{"correlation", c.Correlation})
	}
	for _, x := range c.Transfers {
		rows = append(rows, []string{"transfer", printable(x)})
	}
	for _, l := range c.Legs {
		rows = append(rows, []string{l.Side, fmt.Sprintf("%s, %s at %s, Call-ID %s", l.State, l.Peer, l.Remote, printable(l.CallID))})
	}
	for i := range c.Streams {
		rows = append(rows, c.Streams[i].rows()...)
	}
	return table(rows)
}

func (p *Problem) text() string {
	if p.Hint == "" {
		return p.Text
	}
	return p.Text + "\n  hint: " + p.Hint
}

// Text is `sbc drain`.
func (d DrainResult) Text() string {
	left := "drained: no calls are left"
	switch {
	case d.Left == 1:
		left = "1 call is still in progress"
	case d.Left > 1:
		left = fmt.Sprintf("%d calls are still in progress", d.Left)
	}
	return left + "; new ones are refused until sbc is restarted\n"
}

// printable keeps what peers wrote from steering a terminal: everything but graphic characters becomes '?'.
func printable(s string) string { return Printable(s) }

// Printable is a foreign text for a terminal: what would move its cursor or turn its letters round becomes a question mark.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r >= 0x200b && r <= 0x200f || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return '?'
		}
		return r
	}, s)
}
