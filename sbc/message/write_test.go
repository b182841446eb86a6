package message

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/emiago/sipgo/sip"
	"pgregory.net/rapid"

	"sallyport/sbc/scan"
)

// TestAppendGolden fixes the order of the fields, byte for byte.
func TestAppendGolden(t *testing.T) {
	m := mustParse(t, invite)
	m.Via = append([]Via{{Transport: "UDP", Host: "2001:db8::9", Port: 5080, Branch: "z9hG4bKnew", RPort: 0, Params: ";alias"}}, m.Via...)
	m.Via[1].Received, m.Via[1].RPort = "203.0.113.21", 5061
	m.Body = []byte("v=0\r\n")
	m.Headers = m.Headers[:1]
	want := "INVITE sip:+15551234567@198.51.100.5:5080;user=phone SIP/2.0\r\n" +
		"Via: SIP/2.0/UDP [2001:db8::9]:5080;branch=z9hG4bKnew;rport;alias\r\n" +
		"Via: SIP/2.0/UDP 203.0.113.20:5060;branch=z9hG4bK776asdhds;received=203.0.113.21;rport=5061\r\n" +
		"Max-Forwards: 69\r\n" +
		"From: \"Alice\" <sip:+15557654321@203.0.113.20>;tag=1928301774\r\n" +
		"To: <sip:+15551234567@198.51.100.5>\r\n" +
		"Call-ID: a84b4c76e66710@203.0.113.20\r\n" +
		"CSeq: 314159 INVITE\r\n" +
		"Record-Route: <sip:203.0.113.20;lr;ftag=1928301774>\r\n" +
		"Content-Length: 5\r\n\r\nv=0\r\n"
	got, err := m.Append([]byte("before"))
	if err != nil || string(got) != "before"+want {
		t.Errorf("%v\n%s", err, got)
	}
	if m.String() != want {
		t.Errorf("String\n%s", m.String())
	}
	r := Reply(m, 180, "")
	if got := string(mustAppend(t, r)); !strings.HasPrefix(got, "SIP/2.0 180 Ringing\r\nVia: ") || strings.Contains(got, "Max-Forwards") || !strings.HasSuffix(got, "Content-Length: 0\r\n\r\n") {
		t.Errorf("%s", got)
	}
}

func TestAppendRefuses(t *testing.T) {
	tests := []struct {
		name   string
		change func(m *Message)
		want   error
	}{
		{"no Via", func(m *Message) { m.Via = nil }, ErrWriteMissing},
		{"no Call-ID", func(m *Message) { m.CallID = "" }, ErrWriteMissing},
		{"no method", func(m *Message) { m.Method = "" }, ErrWriteMissing},
		{"no From", func(m *Message) { m.From = NameAddr{} }, ErrWriteMissing},
		{"no To", func(m *Message) { m.To = NameAddr{} }, ErrWriteMissing},
		{"method no token", func(m *Message) { m.Method = "IN VITE" }, ErrWriteMissing},
		{"no Request-URI", func(m *Message) { m.URI = URI{} }, ErrWriteStart},
		{"only a scheme", func(m *Message) { m.URI = URI{Scheme: "sip"} }, ErrWriteStart},
		{"space in the Request-URI", func(m *Message) { m.URI.User = "a b" }, ErrWriteStart},
		{"line end in the Request-URI", func(m *Message) { m.URI.Params = ";a\r\nX: y" }, ErrWriteStart},
		{"status 99", func(m *Message) { m.Status = 99 }, ErrWriteStart},
		{"status 700", func(m *Message) { m.Status = 700 }, ErrWriteStart},
		{"line end in the phrase", func(m *Message) { m.Status, m.Reason = 200, "OK\r\nX: y" }, ErrWriteControl},
		{"line end in From", func(m *Message) { m.From.Display = "\"a\r\nX: y\"" }, ErrWriteControl},
		{"LF in the To tag", func(m *Message) { m.To.Tag = "a\nb" }, ErrWriteControl},
		{"CR in a Via", func(m *Message) { m.Via[0].Params = ";a\r" }, ErrWriteControl},
		{"LF in the branch", func(m *Message) { m.Via[0].Branch = "\n" }, ErrWriteControl},
		{"NUL in the Call-ID", func(m *Message) { m.CallID = "a\x00" }, ErrWriteControl},
		{"LF in a value", func(m *Message) { m.Add("Subject", "a\nX-Evil: 1") }, ErrWriteControl},
		{"vertical tab in a value", func(m *Message) { m.Add("Subject", "a\x0bb") }, ErrWriteControl},
		{"name empty", func(m *Message) { m.Add("", "a") }, ErrWriteName},
		{"name with a colon", func(m *Message) { m.Add("X: y\r\nZ", "a") }, ErrWriteName},
		{"name with a space", func(m *Message) { m.Add("X ", "a") }, ErrWriteName},
		{"a second Content-Length", func(m *Message) { m.Add("Content-Length", "3") }, ErrWriteTyped},
		{"a Via among the headers", func(m *Message) { m.Add("Via", "SIP/2.0/UDP h") }, ErrWriteTyped},
		{"a To in small letters", func(m *Message) { m.Add("to", "<sip:a@b>") }, ErrWriteTyped},
		{"a compact Call-ID", func(m *Message) { m.Add("i", "x") }, ErrWriteTyped},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := mustParse(t, invite)
			tt.change(m)
			got, err := m.Append([]byte("before"))
			if !errors.Is(err, tt.want) || string(got) != "before" {
				t.Errorf("%v %q, want %v", err, got, tt.want)
			}
			if s := m.String(); strings.Contains(s, "X-Evil: 1\r\n") && !strings.Contains(s, "?X-Evil") {
				t.Errorf("String splits a line: %q", s)
			}
		})
	}
}

func TestAppendAllocatesNothing(t *testing.T) {
	m := mustParse(t, invite)
	buf := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := m.Append(buf); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestAppendNeverSplitsALine: whatever stands in a message, a line end is written only where one is meant.
func TestAppendNeverSplitsALine(t *testing.T) {
	text := rapid.StringOf(rapid.RuneFrom([]rune("a:;<>\"@ \t\r\n\x00\x0bé%")))
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name, usual string) string {
			if rapid.IntRange(0, 3).Draw(t, name+"?") > 0 {
				return usual
			}
			return text.Draw(t, name)
		}
		m := &Message{
			Method: draw("method", "INVITE"), Status: rapid.SampledFrom([]int{0, 0, 200, 999}).Draw(t, "status"), Reason: draw("reason", "OK"),
			URI: URI{Scheme: draw("scheme", "sip"), User: draw("user", "a"), Host: draw("host", "h"), Params: draw("params", ";lr"), Headers: draw("headers", "")},
			Via: []Via{{Transport: draw("transport", "UDP"), Host: draw("via", "h"), Branch: draw("branch", "b"), RPort: rapid.IntRange(-1, 9).Draw(t, "rport"),
				Received: draw("received", ""), Params: draw("vparams", "")}},
			From:   NameAddr{Display: draw("display", ""), URI: URI{Scheme: "sip", Host: draw("fhost", "h")}, Tag: draw("tag", "t"), Params: draw("fparams", "")},
			To:     NameAddr{URI: URI{Scheme: "sip", Host: "h"}, Tag: draw("totag", "")},
			CallID: draw("callid", "id"), MaxForwards: rapid.IntRange(-1, 70).Draw(t, "mf"),
			Headers: []Header{{draw("name", "X-A"), draw("value", "1")}, {draw("name2", "X-B"), draw("value2", "2")}},
			Body:    []byte(draw("body", "x\r\ny")),
		}
		out, err := m.Append(nil)
		if err != nil {
			return
		}
		head, body, _ := bytes.Cut(out, []byte("\r\n\r\n"))
		if !bytes.Equal(body, m.Body) {
			t.Fatalf("body %q in %q", body, out)
		}
		lines := strings.Split(string(head), "\r\n")
		want := 1 + len(m.Via) + 4 + len(m.Headers) + 1
		if m.MaxForwards >= 0 {
			want++
		}
		if len(lines) != want {
			t.Fatalf("%d lines, want %d: %q", len(lines), want, head)
		}
		for _, l := range lines {
			if strings.ContainsAny(l, "\r\n\x00\x0b") {
				t.Fatalf("line %q", l)
			}
		}
	})
}

// fuzzCorpus adds the torture messages and our own to a fuzz target.
func fuzzCorpus(f *testing.F) {
	files, err := filepath.Glob("../../testdata/sip/*.sip")
	if err != nil || len(files) == 0 {
		f.Fatal("no messages in testdata/sip", err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(invite))
	f.Add([]byte(with("Contact: <sip:a@b>;methods=\"A, B\" , sip:c@d", "k: x", "User-Agent: a\r\n b")))
}

// FuzzParse: what is accepted can be written, and reads back the same.
func FuzzParse(f *testing.F) {
	fuzzCorpus(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		m, v, err := parseBytes(data)
		if err != nil {
			if Refusal(err).Code < 400 {
				t.Fatal(err)
			}
			return
		}
		if !v.Complete() {
			t.Fatal("accepted without an end")
		}
		sameFields(t, data, v, m)
		out, err := m.Append(nil)
		if err != nil {
			t.Fatalf("%v from %q", err, data)
		}
		again, _, err := parseBytes(out)
		switch {
		case errors.Is(err, scan.ErrTooLarge), errors.Is(err, scan.ErrHeaderCount), errors.Is(err, scan.ErrLineLength):
			return // long names and a line for each hop take more room than they came in
		case err != nil:
			t.Fatalf("%v from %q", err, out)
		case !reflect.DeepEqual(m, again):
			t.Fatalf("%+v\nagain\n%+v", m, again)
		}
		_, _, _ = m.Contacts()
		for range m.Tokens("Require") {
		}
	})
}

// sameFields compares the fields with those that sipgo finds in the whole header section by itself, folded lines included.
func sameFields(t *testing.T, data []byte, v *scan.View, m *Message) {
	t.Helper()
	whole := sip.NewParser(sip.WithHeadersParsers(map[string]sip.HeaderParser{}))
	section := append([]byte("SIP/2.0 200 OK\r\n"), data[v.FirstField:v.HeadEnd]...)
	msg, _, err := whole.ParseHeaders(section, false)
	if err != nil {
		t.Fatalf("sipgo: %v", err)
	}
	var want []Header
	for _, h := range msg.(*sip.Response).Headers() {
		f := Header{Name: CanonicalName(h.Name()), Value: h.Value()}
		if checkName(f.Name) == nil {
			want = append(want, f)
		}
	}
	if !slices.Equal(m.Headers, want) {
		t.Fatalf("%q\nsipgo %q", m.Headers, want)
	}
}

// TestFieldsAreSipgos: lines that are folded in all ways.
func TestFieldsAreSipgos(t *testing.T) {
	for _, field := range []string{
		"Subject: a\r\n b", "Subject : a \t\r\n\t b \r\n \r\n c", "Subject:\r\n a", "s: \r\n \r\n \t", "X-y-z: \"a\r\n b\", c", "Subject: \u00a0a\u00a0\r\n \u00a0",
		"x-a:b\r\nk: 100rel ,\r\n timer", "Authorization: Digest a=\"b\",\r\n\tc=d", "Kette: x",
	} {
		data := []byte(with(field))
		m, v, err := parseBytes(data)
		if err != nil {
			t.Errorf("%q: %v", field, err)
			continue
		}
		sameFields(t, data, v, m)
	}
}

// FuzzScanAgrees: an accepted message says the same to the guard as to the core.
func FuzzScanAgrees(f *testing.F) {
	fuzzCorpus(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		m, v, err := parseBytes(data)
		if err != nil {
			return
		}
		cseq := string(v.Bytes(v.CSeqMethod))
		if v.IsRequest != m.IsRequest() || string(v.Bytes(v.CallID)) != m.CallID || v.CSeq != m.CSeq || cseq != m.Method ||
			v.IsRequest && string(v.Bytes(v.Method)) != m.Method || v.Status != m.Status || string(v.Bytes(v.Branch)) != m.Via[0].Branch ||
			string(v.Bytes(v.FromTag)) != m.From.Tag || string(v.Bytes(v.ToTag)) != m.To.Tag || !bytes.Equal(v.Bytes(v.Body), m.Body) {
			t.Fatalf("scan %+v, message %+v", v, m)
		}
		name := "Server"
		if m.IsRequest() {
			name = "User-Agent"
		}
		agents := 0
		for _, h := range m.Headers {
			if h.Name == name {
				agents++
			}
		}
		if agents != v.Agents {
			t.Fatalf("%d agents, scan %d", agents, v.Agents)
		}
	})
}
