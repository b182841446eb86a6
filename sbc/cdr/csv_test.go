package cdr

import (
	"bytes"
	"encoding/csv"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"sallyport/sbc/tu"
)

// full is a record in which everything is said.
func full() tu.CDR {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.FixedZone("", 3600))
	leg := func(n uint64) tu.LegStats {
		return tu.LegStats{
			Packets: n, Bytes: n * 160, Lost: 2, Jitter: 1.25, MOSIn: 4.3, MOSOut: 4.1, Sent: n + 1, RoundTrip: 20, Rejected: 3,
			Remote: "198.51.100.7:4000", SRTP: "AES_CM_128_HMAC_SHA1_80", Latched: true,
		}
	}
	return tu.CDR{
		Call: "abcdef012345", Correlation: "ffff", Direction: "outbound", Trunk: "itsp", Node: "10.0.0.10:5060", AoR: "204@example.com",
		From: "204", To: "0301234", FromSent: "+4930204", ToSent: "+49301234", Source: "10.0.0.10:5060", Destination: "203.0.113.20:5060",
		CallIDs: [2]string{"a@b", "c"}, Transports: [2]string{"tcp", "udp"}, UserAgents: [2]string{"PBX, Inc.", `say "hi"`},
		Start: at, Ringing: at.Add(time.Second), Answer: at.Add(3 * time.Second), End: at.Add(63500 * time.Millisecond), Duration: 60.5,
		Code: 200, Reason: "media-timeout", EndedBy: "sbc", Cause: `Q.850;cause=16;text="Normal"`, Q850: 16, PostDial: 1, Attempts: 2,
		Tries: []tu.Try{
			{Peer: "itsp", Address: "203.0.113.21:5060", Transport: "udp", At: at, Code: 503, Reason: "no-capacity", Took: 0.1},
			{Peer: "itsp", Address: "203.0.113.20:5060", Transport: "udp", At: at, Code: 200, Took: 3},
		},
		Transfers: []tu.Transferral{{Leg: "callee", To: "205", At: at.Add(10 * time.Second)}},
		Media:     []tu.StreamStats{{Codec: "PCMA", Outside: leg(100), Inside: leg(99)}, {Outside: leg(5)}},
	}
}

// parseCSV reads lines of CSV by their column.
func parseCSV(t *testing.T, text []byte) []map[string]string {
	t.Helper()
	rows, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var out []map[string]string
	for _, row := range rows[1:] {
		m := map[string]string{}
		for i, name := range rows[0] {
			m[name] = row[i]
		}
		out = append(out, m)
	}
	return out
}

// TestColumns: the first version of the schema. Columns are added behind these, with another version; none goes or moves.
func TestColumns(t *testing.T) {
	const first = "call,version,correlation,direction,trunk,node,aor,from,to,from_sent,to_sent,start,ringing,answer,end,duration," +
		"post_dial_delay,code,reason,ended_by,q850,cause,attempts,tries,transfers,caller_address,caller_transport,caller_call_id," +
		"caller_user_agent,callee_address,callee_transport,callee_call_id,callee_user_agent,streams,codec," +
		"outside_remote,outside_srtp,outside_packets,outside_bytes,outside_lost,outside_sent,outside_rejected,outside_jitter_ms," +
		"outside_round_trip_ms,outside_mos_in,outside_mos_out," +
		"inside_remote,inside_srtp,inside_packets,inside_bytes,inside_lost,inside_sent,inside_rejected,inside_jitter_ms," +
		"inside_round_trip_ms,inside_mos_in,inside_mos_out"
	if got := strings.TrimSuffix(string(csvHeader()), "\n"); got != first || Version != 1 {
		t.Errorf("version %d has the columns\n%s", Version, got)
	}
}

func TestCSVRecord(t *testing.T) {
	r := full()
	line, err := appendCSV(csvHeader(), &r)
	if err != nil {
		t.Fatal(err)
	}
	got := parseCSV(t, line)[0]
	for name, want := range map[string]string{
		"call": "abcdef012345", "version": "1", "start": "2026-01-02T02:04:05.678Z", "duration": "60.500", "post_dial_delay": "1.000",
		"to_sent": "+49301234", "caller_user_agent": "PBX, Inc.", "callee_user_agent": `say "hi"`, "q850": "16",
		"tries":     "itsp 203.0.113.21:5060 503 no-capacity | itsp 203.0.113.20:5060 200",
		"transfers": "callee to 205 at 2026-01-02T02:04:15.678Z", "streams": "2", "codec": "PCMA", "outside_packets": "100",
		"inside_packets": "99", "outside_mos_in": "4.300", "callee_transport": "udp", "caller_call_id": "a@b", "reason": "media-timeout",
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	empty := record(1)
	line, _ = appendCSV(csvHeader(), &empty)
	got = parseCSV(t, line)[0]
	for _, name := range []string{"ringing", "answer", "q850", "codec", "outside_packets", "inside_mos_in"} {
		if got[name] != "" {
			t.Errorf("%s is %q in a record that knows nothing of it", name, got[name])
		}
	}
}

// TestSchemaIsDocumented: docs/cdr.md names every field and column, and no other.
func TestSchemaIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/cdr.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), "Version "+strconv.Itoa(Version)) {
		t.Errorf("docs/cdr.md does not speak of version %d", Version)
	}
	var told []string // the first column of its tables
	for line := range strings.Lines(string(page)) {
		if rest, ok := strings.CutPrefix(line, "| `"); ok {
			cell, _, _ := strings.Cut(rest, " |")
			for name := range strings.SplitSeq(cell, ", `") {
				told = append(told, strings.TrimSuffix(name, "`"))
			}
		}
	}
	var have []string
	for i := range columns {
		have = append(have, columns[i].name)
	}
	for _, typ := range []reflect.Type{
		reflect.TypeFor[tu.CDR](), reflect.TypeFor[tu.Try](), reflect.TypeFor[tu.Transferral](), reflect.TypeFor[tu.StreamStats](),
		reflect.TypeFor[tu.LegStats](),
	} {
		for i := range typ.NumField() {
			name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			have = append(have, name)
		}
	}
	for _, name := range have {
		if !slices.Contains(told, name) {
			t.Errorf("docs/cdr.md does not explain %s", name)
		}
	}
	for _, name := range told {
		if !slices.Contains(have, name) {
			t.Errorf("docs/cdr.md explains %s, which there is not", name)
		}
	}
}

func TestField(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "204": "204", "+4930123": "+4930123", "anonymous": "anonymous", "a=b": "a=b", "x-1": "x-1",
		"=1+1": "'=1+1", "+1-2": "'+1-2", "+": "'+", "-2": "'-2", "@SUM(A1)": "'@SUM(A1)", "  =1": "  '=1",
		"a;=1": "a;'=1", `a,"=1`: `a,"'=1`, "a\t-1": "a\t'-1", "a;b=1": "a;b=1", "＝1": "'＝1", "==1": "'==1",
		"=cmd|'/C calc'!A0": "'=cmd|'/C calc'!A0", "Q.850;cause=16": "Q.850;cause=16",
	} {
		if got := field(in); got != want {
			t.Errorf("field(%q) = %q, want %q", in, got, want)
		}
	}
}

// TestNoFormula: whatever a peer writes, no cell is a formula, however a spreadsheet splits the line; a record is one line of as
// many fields as the header; nothing else is lost.
func TestNoFormula(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		foreign := rapid.StringOf(rapid.RuneFrom([]rune("=+-@＝;,|\t\n\"' a1é\x00|")))
		r := full()
		r.From, r.To, r.UserAgents[0], r.Cause = foreign.Draw(t, "from"), foreign.Draw(t, "to"), foreign.Draw(t, "agent"), foreign.Draw(t, "cause")
		line, err := appendCSV(nil, &r)
		if err != nil || bytes.Count(line, []byte("\n")) != 1 || !utf8.Valid(line) {
			t.Fatalf("%q, %v", line, err)
		}
		fields, err := csv.NewReader(bytes.NewReader(line)).Read()
		if err != nil || len(fields) != len(columns) {
			t.Fatalf("%d fields, %v", len(fields), err)
		}
		for _, f := range fields {
			if telephone(f) {
				continue
			}
			for _, cell := range strings.FieldsFunc(f, func(r rune) bool { return strings.ContainsRune(",;|\t", r) }) {
				cell = strings.TrimLeft(cell, ` "`)
				if c, _ := utf8.DecodeRuneInString(cell); cell != "" && strings.ContainsRune("=+-@＝＋－＠", c) {
					t.Fatalf("a formula in %q", f)
				}
			}
		}
		if from := fields[7]; strings.ReplaceAll(from, "'", "") != strings.ReplaceAll(text(r.From), "'", "") {
			t.Fatalf("%q became %q", r.From, from)
		}
	})
}

func TestCSVFiles(t *testing.T) {
	c := config(t)
	c.Format, c.Rotate = CSV, time.Hour
	synctest.Test(t, func(t *testing.T) {
		w := New(c, time.Now, func(err error) { t.Error(err) })
		for i := range 6 {
			w.Write(record(i))
			settle()
			time.Sleep(30 * time.Minute)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	})
	paths, _ := filepath.Glob(filepath.Join(c.Directory, "sbc-*.csv"))
	if len(paths) != 3 {
		t.Fatalf("files %q", paths)
	}
	n := 0
	for _, p := range paths {
		data, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range parseCSV(t, data) { // each has its header
			if r["call"] != record(n).Call {
				t.Errorf("%s: record %d is of %s", p, n, r["call"])
			}
			n++
		}
	}
	if n != 6 {
		t.Errorf("%d records", n)
	}
}

// TestFindInBothFormats: the format may have been another one before the crash.
func TestFindInBothFormats(t *testing.T) {
	c := config(t)
	since := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	if err := os.MkdirAll(c.Directory, 0o700); err != nil {
		t.Fatal(err)
	}
	one, two := record(1), record(2)
	lines, _ := appendCSV(csvHeader(), &one)
	torn, _ := appendCSV(nil, &two)
	lines = append(lines, torn[:len(torn)-5]...)
	for name, text := range map[string]string{"sbc-20260101-000000.csv": string(lines), "sbc-20260102-000000.jsonl": lineOf(t, "call-3", "")} {
		if err := os.WriteFile(filepath.Join(c.Directory, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, format := range []string{JSONL, CSV} {
		c.Format = format
		found, err := Find(c, since, map[string]bool{"call-1": true, "call-2": true, "call-3": true, "call": true})
		if err != nil || len(found) != 2 || !found["call-1"] || !found["call-3"] {
			t.Errorf("%s: found %v, %v", format, found, err)
		}
	}
}

func FuzzField(f *testing.F) {
	f.Add("=1+1")
	f.Add("+49301234")
	f.Add("a;\t =cmd|' /C calc'!A0")
	f.Fuzz(func(t *testing.T, s string) {
		got := field(text(s))
		if strings.ContainsAny(got, "\n\r") || len(got) > 2*maxField {
			t.Errorf("%q became %q", s, got)
		}
		if again := field(got); again != got {
			t.Errorf("%q is not settled: %q", got, again)
		}
	})
}
