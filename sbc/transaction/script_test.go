package transaction

import (
	"bytes"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"sallyport/nat"
	"sallyport/sbc/message"
)

var update = flag.Bool("update", false, "rewrite the expected lines of testdata/timeline")

// dayZero is when virtual time begins.
var dayZero = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// TestTimelines replays testdata/timeline: commands, each followed by the effects it had, indented. The commands are in
// script.run; times are since the start. "run 32s" runs the timers of so long a time, "until 1.5s" goes to that moment
// and runs only what is due before it.
func TestTimelines(t *testing.T) {
	files, err := filepath.Glob("testdata/timeline/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no timelines: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := replay(t, string(want))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(want) {
				t.Errorf("timeline differs; -update rewrites it\n--- got\n%s--- want\n%s", got, want)
			}
		})
	}
}

func replay(t *testing.T, text string) string {
	s := newScript(t, Config{})
	var out strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "  ") {
			continue // what is expected
		}
		out.WriteString(line + "\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		for _, l := range s.run(line) {
			out.WriteString("  " + l + "\n")
		}
		verify(t, s.table)
	}
	return out.String()
}

// script is a table with a clock and a memory for what its peers need.
type script struct {
	t     failer
	table *Table
	now   time.Time
	reqs  map[ID]*message.Message
	said  []string
}

func newScript(t failer, cfg Config) *script {
	return &script{t: t, table: NewTable(cfg), now: dayZero, reqs: map[ID]*message.Message{}}
}

// words are a command's arguments: positions and key=value pairs.
type words struct {
	pos []string
	key map[string]string
}

func (w words) get(k, otherwise string) string {
	if v, ok := w.key[k]; ok {
		return v
	}
	return otherwise
}

func split(line string) words {
	w := words{key: map[string]string{}}
	for _, f := range strings.Fields(line) {
		if k, v, ok := strings.Cut(f, "="); ok {
			w.key[k] = v
		} else {
			w.pos = append(w.pos, f)
		}
	}
	return w
}

// run runs one command.
func (s *script) run(line string) []string {
	s.said = nil
	w := split(line)
	num := func(i int) uint64 {
		n, err := strconv.ParseUint(w.pos[i], 10, 64)
		if err != nil {
			s.t.Fatalf("%s: %v", line, err)
		}
		return n
	}
	var err error
	var out []Effect
	switch w.pos[0] {
	case "table":
		s.table = NewTable(s.config(w))
	case "recv":
		from := flow(w.get("src", "A"))
		out = s.table.Request(s.now, request(w.pos[1], w), from, flow(w.get("reply", w.get("src", "A"))), nil)
	case "resp":
		out = s.table.Response(s.now, response(int(num(1)), w.pos[2], w), flow(w.get("src", "B")), nil)
	case "respond":
		out, err = s.table.Respond(s.now, ID(num(1)), s.reply(ID(num(1)), int(num(2)), w), nil)
	case "send":
		out, err = s.table.Send(s.now, num(2), uint32(num(3)), request(w.pos[1], w), flow(w.get("dst", "B")), nil)
	case "cancel":
		out = s.table.Cancel(s.now, num(1), uint32(num(2)), w.get("quiet", "yes") == "yes", strings.NewReplacer("_", " ", "CRLF", "\r\n").Replace(w.get("reason", "")), nil)
	case "disown":
		out = s.table.Disown(s.now, num(1), nil)
	case "own":
		s.table.Own(ID(num(1)), num(2), w.get("tag", ""))
	case "drop":
		s.table.Drop(s.now, ID(num(1)))
	case "unreachable":
		out = s.table.Unreachable(s.now, flow(w.pos[1]), nil)
	case "forsake":
		out = s.table.Forsake(s.now, func(to nat.Flow) bool { return to == flow(w.pos[1]) }, nil)
	case "run":
		s.advance(s.now.Add(dur(s.t, w.pos[1])), true)
	case "until":
		s.advance(dayZero.Add(dur(s.t, w.pos[1])), false)
	case "len":
		srv, cli := s.table.Len()
		s.say("%d server, %d client, %d timers", srv, cli, len(s.table.queue.slots))
	case "counters":
		s.say("%s", strings.Trim(fmt.Sprintf("%+v", s.table.Counters()), "{}"))
	default:
		s.t.Fatalf("no command %q", line)
	}
	s.hear(out)
	if err != nil {
		s.say("error: %v", err)
	}
	return s.said
}

func (s *script) config(w words) Config {
	n, _ := strconv.Atoi(w.get("max", "0"))
	cfg := Config{Max: n}
	if same, ok := w.key["same"]; ok {
		cfg.SameSystem = func(a, b nat.Flow) bool {
			return strings.Contains(same, name(a)) && strings.Contains(same, name(b))
		}
	}
	if known, ok := w.key["known"]; ok {
		cfg.Known = func(f nat.Flow) bool { return strings.Contains(known, name(f)) }
	}
	return cfg
}

// advance runs the timers up to a moment; those due at it only if inclusive.
func (s *script) advance(to time.Time, inclusive bool) {
	for {
		next := s.table.Next()
		if next.IsZero() || next.After(to) || !inclusive && next.Equal(to) {
			s.now = to
			return
		}
		if next.Before(s.now) {
			next = s.now
		}
		s.now = next
		s.hear(s.table.Tick(s.now, nil))
	}
}

func (s *script) say(format string, args ...any) {
	at := strconv.FormatFloat(s.now.Sub(dayZero).Seconds(), 'f', -1, 64) + "s"
	s.said = append(s.said, at+" "+fmt.Sprintf(format, args...))
}

func (s *script) hear(out []Effect) {
	for _, e := range out {
		l := e.Kind.String()
		switch e.Kind {
		case Transmit:
			l += " to " + name(e.Flow) + ": " + brief(read(s.t, e.Bytes))
		case NewRequest:
			s.reqs[e.ID] = e.Msg
			l += fmt.Sprintf(" #%d %s", e.ID, brief(e.Msg))
			if e.Merged {
				l += " merged"
			}
		case Cancelled, AckFor2xx, NotAcked:
			l += fmt.Sprintf(" #%d", e.ID)
			if e.User != 0 {
				l += fmt.Sprintf(" user %d", e.User)
			}
		case Full:
			l += " for " + name(e.Flow) + ": " + brief(e.Msg)
		case Provisional, Response:
			l += fmt.Sprintf(" user %d ref %d: %s", e.User, e.Ref, brief(e.Msg))
		case Timeout, Failed, Lost:
			l += fmt.Sprintf(" user %d ref %d", e.User, e.Ref)
		case LateAnswer, StrayAck:
			l += ": " + brief(e.Msg)
			if e.Repeat {
				l += " repeat"
			}
			if e.Within {
				l += " within"
			}
		}
		s.say("%s", l)
	}
}

// brief is a message on one line: what matters to a transaction.
func brief(m *message.Message) string {
	b := m.Method
	if !m.IsRequest() {
		b = strconv.Itoa(m.Status) + " " + m.Method
	}
	b += " b=" + strings.TrimPrefix(m.Via[0].Branch, "z9hG4bK")
	if m.To.Tag != "" {
		b += " to=" + m.To.Tag
	}
	for _, h := range m.Headers {
		if h.Name == "Route" {
			b += " route=" + h.Value
		}
		if h.Name == "Reason" {
			b += " reason=" + strings.ReplaceAll(h.Value, " ", "_")
		}
	}
	return b
}

func dur(t failer, s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// flow reads a peer's name: a letter for its address, then /tcp, :port or @interface.
func flow(s string) nat.Flow {
	f := nat.Flow{Interface: 1, Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, s[0] - 'A' + 1}), 5060)}
	s = s[1:]
	if rest, ok := strings.CutSuffix(s, "/tcp"); ok {
		f.Transport, f.Conn, s = nat.TCP, 7, rest
	}
	if rest, n, ok := strings.Cut(s, "@"); ok {
		i, _ := strconv.Atoi(n)
		f.Interface, s = uint16(i), rest
	}
	if n, ok := strings.CutPrefix(s, ":"); ok {
		p, _ := strconv.Atoi(n)
		f.Remote = netip.AddrPortFrom(f.Remote.Addr(), uint16(p))
	}
	return f
}

func name(f nat.Flow) string {
	s := string(rune('A' + f.Remote.Addr().As4()[3] - 1))
	if f.Remote.Port() != 5060 {
		s += ":" + strconv.Itoa(int(f.Remote.Port()))
	}
	if f.Transport.Reliable() {
		s += "/" + f.Transport.String()
	}
	return s
}

func base(method string, w words) *message.Message {
	seq, _ := strconv.Atoi(w.get("seq", "1"))
	return &message.Message{
		Method: method,
		Via:    []message.Via{{Transport: "UDP", Host: w.get("by", "a.example"), Branch: "z9hG4bK" + w.get("b", "1"), RPort: -1}},
		From:   message.NameAddr{URI: message.URI{Scheme: "sip", User: "alice", Host: "a.example"}, Tag: w.get("from", "ft")},
		To:     message.NameAddr{URI: message.URI{Scheme: "sip", User: "bob", Host: "b.example"}, Tag: w.get("to", "")},
		CallID: w.get("call", "c1"), CSeq: uint32(seq), MaxForwards: -1,
	}
}

func request(method string, w words) *message.Message {
	m := base(method, w)
	m.URI = message.URI{Scheme: "sip", User: w.get("uri", "bob"), Host: "b.example"}
	m.MaxForwards = 70
	if r, ok := w.key["route"]; ok {
		m.Add("Route", r)
	}
	m.Body = []byte(w.get("body", ""))
	return m
}

func response(status int, method string, w words) *message.Message {
	m := base(method, w)
	m.Status, m.Reason = status, "Phrase"
	if w.get("vias", "1") == "2" {
		m.Via = append(m.Via, m.Via[0])
	}
	return m
}

// reply is a user's response to a request that opened a transaction.
func (s *script) reply(id ID, status int, w words) *message.Message {
	req := s.reqs[id]
	if req == nil {
		req = request("OPTIONS", w)
	}
	m := *req
	m.URI, m.Headers, m.Body, m.MaxForwards = message.URI{}, nil, []byte(w.get("body", "")), -1
	m.Status, m.Reason = status, w.get("phrase", "Phrase")
	if m.To.Tag == "" && status > 100 {
		m.To.Tag = w.get("tag", "tt")
	}
	return &m
}

// read reads what Append wrote, as far as these tests care; it is no parser.
func read(t failer, b []byte) *message.Message {
	head, body, ok := bytes.Cut(b, []byte("\r\n\r\n"))
	lines := strings.Split(string(head), "\r\n")
	m := &message.Message{MaxForwards: -1, Body: body}
	first := strings.SplitN(lines[0], " ", 3)
	if !ok || len(first) < 3 {
		t.Fatalf("not a message: %q", b)
	}
	if first[0] == "SIP/2.0" {
		m.Status, _ = strconv.Atoi(first[1])
	} else {
		user, host, _ := strings.Cut(strings.TrimPrefix(first[1], "sip:"), "@")
		m.Method, m.URI = first[0], message.URI{Scheme: "sip", User: user, Host: host}
	}
	for _, l := range lines[1:] {
		field, v, _ := strings.Cut(l, ": ")
		switch field {
		case "Via":
			hop, params, _ := strings.Cut(v, ";branch=")
			branch, _, _ := strings.Cut(params, ";")
			by, _, _ := strings.Cut(hop[strings.LastIndexByte(hop, ' ')+1:], ":")
			m.Via = append(m.Via, message.Via{Transport: "UDP", Host: by, Branch: branch, RPort: -1})
		case "From", "To":
			addr, tag, _ := strings.Cut(v, ";tag=")
			uri := strings.Trim(addr, "<>")
			user, host, _ := strings.Cut(strings.TrimPrefix(uri, "sip:"), "@")
			n := message.NameAddr{URI: message.URI{Scheme: "sip", User: user, Host: host}, Tag: tag}
			if field == "From" {
				m.From = n
			} else {
				m.To = n
			}
		case "Call-ID":
			m.CallID = v
		case "CSeq":
			n, method, _ := strings.Cut(v, " ")
			seq, _ := strconv.Atoi(n)
			m.CSeq, m.Method = uint32(seq), method
		case "Route", "Reason":
			m.Add(field, v)
		}
	}
	return m
}

// failer is what these tests need of *testing.T, *testing.F and *rapid.T.
type failer interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}
