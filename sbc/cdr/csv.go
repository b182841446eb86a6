package cdr

import (
	"bytes"
	"encoding/csv"
	"slices"
	"strconv"
	"strings"
	"time"

	"sallyport/sbc/tu"
)

// Record is a call's record.
type Record = tu.CDR

// column is one column of the CSV format.
type column struct {
	name string
	text func(r *Record) string
}

// columns are those of version 1, in order. A later version adds columns at the end, and takes none away.
var columns = slices.Concat(
	[]column{
		{"call", func(r *Record) string { return r.Call }}, // first: Find looks for it
		{"version", func(*Record) string { return strconv.Itoa(Version) }},
		{"correlation", func(r *Record) string { return field(r.Correlation) }},
		{"direction", func(r *Record) string { return r.Direction }},
		{"trunk", func(r *Record) string { return field(r.Trunk) }},
		{"node", func(r *Record) string { return field(r.Node) }},
		{"aor", func(r *Record) string { return field(r.AoR) }},
		{"from", func(r *Record) string { return field(r.From) }},
		{"to", func(r *Record) string { return field(r.To) }},
		{"from_sent", func(r *Record) string { return field(r.FromSent) }},
		{"to_sent", func(r *Record) string { return field(r.ToSent) }},
		{"start", func(r *Record) string { return moment(r.Start) }},
		{"ringing", func(r *Record) string { return moment(r.Ringing) }},
		{"answer", func(r *Record) string { return moment(r.Answer) }},
		{"end", func(r *Record) string { return moment(r.End) }},
		{"duration", func(r *Record) string { return decimal(r.Duration) }},
		{"post_dial_delay", func(r *Record) string { return decimal(r.PostDial) }},
		{"code", func(r *Record) string { return strconv.Itoa(r.Code) }},
		{"reason", func(r *Record) string { return string(r.Reason) }},
		{"ended_by", func(r *Record) string { return r.EndedBy }},
		{"q850", func(r *Record) string { return count(uint64(r.Q850)) }},
		{"cause", func(r *Record) string { return field(r.Cause) }},
		{"attempts", func(r *Record) string { return strconv.Itoa(r.Attempts) }},
		{"tries", tries},
		{"transfers", transfers},
	},
	leg("caller", 0, func(r *Record) string { return r.Source }),
	leg("callee", 1, func(r *Record) string { return r.Destination }),
	[]column{
		{"streams", func(r *Record) string { return strconv.Itoa(len(r.Media)) }},
		{"codec", ofMedia(func(m *tu.StreamStats) string { return field(m.Codec) })},
	},
	mediaOf("outside", func(m *tu.StreamStats) *tu.LegStats { return &m.Outside }),
	mediaOf("inside", func(m *tu.StreamStats) *tu.LegStats { return &m.Inside }),
)

// leg are the columns of one leg.
func leg(name string, i int, address func(r *Record) string) []column {
	return []column{
		{name + "_address", func(r *Record) string { return address(r) }},
		{name + "_transport", func(r *Record) string { return r.Transports[i] }},
		{name + "_call_id", func(r *Record) string { return field(r.CallIDs[i]) }},
		{name + "_user_agent", func(r *Record) string { return field(r.UserAgents[i]) }},
	}
}

// mediaOf are the columns of one side's media: of the first stream, which is the voice in all calls that have one.
func mediaOf(name string, of func(*tu.StreamStats) *tu.LegStats) []column {
	number := func(f func(l *tu.LegStats) string) func(r *Record) string {
		return ofMedia(func(m *tu.StreamStats) string { return f(of(m)) })
	}
	return []column{
		{name + "_remote", number(func(l *tu.LegStats) string { return field(l.Remote) })},
		{name + "_srtp", number(func(l *tu.LegStats) string { return field(l.SRTP) })},
		{name + "_packets", number(func(l *tu.LegStats) string { return strconv.FormatUint(l.Packets, 10) })},
		{name + "_bytes", number(func(l *tu.LegStats) string { return strconv.FormatUint(l.Bytes, 10) })},
		{name + "_lost", number(func(l *tu.LegStats) string { return strconv.FormatUint(l.Lost, 10) })},
		{name + "_sent", number(func(l *tu.LegStats) string { return strconv.FormatUint(l.Sent, 10) })},
		{name + "_rejected", number(func(l *tu.LegStats) string { return strconv.FormatUint(l.Rejected, 10) })},
		{name + "_jitter_ms", number(func(l *tu.LegStats) string { return decimal(l.Jitter) })},
		{name + "_round_trip_ms", number(func(l *tu.LegStats) string { return some(l.RoundTrip) })},
		{name + "_mos_in", number(func(l *tu.LegStats) string { return some(l.MOSIn) })},
		{name + "_mos_out", number(func(l *tu.LegStats) string { return some(l.MOSOut) })},
	}
}

func ofMedia(f func(m *tu.StreamStats) string) func(r *Record) string {
	return func(r *Record) string {
		if len(r.Media) == 0 {
			return ""
		}
		return f(&r.Media[0])
	}
}

// tries are the hops that were asked, "itsp 203.0.113.20:5060 503 no-capacity" each, with " | " between.
func tries(r *Record) string {
	var all []string
	for i := range r.Tries {
		t := &r.Tries[i]
		all = append(all, strings.TrimSpace(t.Peer+" "+t.Address+" "+strconv.Itoa(t.Code)+" "+string(t.Reason)))
	}
	return field(strings.Join(all, " | "))
}

// transfers are the changes of the ends, "callee to 205 at 2026-01-02T03:04:05.678Z" each.
func transfers(r *Record) string {
	var all []string
	for i := range r.Transfers {
		t := &r.Transfers[i]
		all = append(all, t.Leg+" to "+t.To+" at "+moment(t.At))
	}
	return field(strings.Join(all, " | "))
}

// moment is a time in UTC, to the millisecond; none is empty.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}

func decimal(f float64) string { return strconv.FormatFloat(f, 'f', 3, 64) }

// some is a figure that may be missing: 0 is none.
func some(f float64) string {
	if f == 0 {
		return ""
	}
	return decimal(f)
}

func count(n uint64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(n, 10)
}

// field makes a text of foreign make harmless in a spreadsheet. Such a program takes what begins with one of = + - @ for a
// formula, the forms of full width too, and runs it; some split lines at semicolons or tabs whatever the quotes say. An
// apostrophe in front makes it text, as they define it themselves. A telephone number stays as it is: +4930123 computes to
// nothing but a number, and who bills by it needs it whole.
func field(s string) string {
	if telephone(s) {
		return s
	}
	var b strings.Builder
	begins := true // a cell, by some reading
	for _, r := range s {
		switch {
		case begins && strings.ContainsRune("=+-@＝＋－＠", r):
			b.WriteByte('\'')
			begins = false
		case strings.ContainsRune(",;|\t", r):
			begins = true
		case r != ' ' && r != '"':
			begins = false
		}
		b.WriteRune(r)
	}
	return b.String()
}

// telephone reports whether a text is a telephone number: digits, with a + in front or not.
func telephone(s string) bool {
	digits := strings.TrimPrefix(s, "+")
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return false
		}
	}
	return digits != ""
}

func csvHeader() []byte {
	names := make([]string, len(columns))
	for i := range columns {
		names[i] = columns[i].name
	}
	return csvLine(nil, names)
}

func csvLine(to []byte, fields []string) []byte {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	_ = w.Write(fields) // a buffer takes everything
	w.Flush()
	return append(to, b.Bytes()...)
}

// appendCSV appends a record as a line of CSV.
func appendCSV(to []byte, r *Record) ([]byte, error) {
	clean := Clean(*r)
	fields := make([]string, len(columns))
	for i := range columns {
		fields[i] = columns[i].text(&clean)
	}
	return csvLine(to, fields), nil
}

// callOfCSV is the call that a line is about: its name stands first, and is one of ours, without anything to quote. A line that
// was cut short has no end. The header is about none.
func callOfCSV(line []byte) (name string, whole bool) {
	raw, _, found := bytes.Cut(line, []byte(","))
	return string(raw), found && bytes.HasSuffix(line, []byte("\n")) && string(raw) != columns[0].name
}
