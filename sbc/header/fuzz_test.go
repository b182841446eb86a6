package header

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/scan"
	"sallyport/sbc/tu"
)

// seeds are the messages of the pairs.
func seeds(f *testing.F) {
	files, _ := filepath.Glob("testdata/pairs/*.txt")
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		text := strings.SplitN(string(b), "----\n", 3)[1]
		raw, err := parse(f, text).Append(nil)
		if err != nil {
			f.Fatal(err)
		}
		for i := range directions {
			f.Add(raw, uint8(i))
		}
	}
}

func parseRaw(raw []byte) *message.Message {
	var v scan.View
	if scan.Scan(raw, &v) != nil {
		return nil
	}
	m, err := message.Parse(raw, &v)
	if err != nil {
		return nil
	}
	return m
}

// FuzzCopy: what any message becomes on the other side can be written, read again, and holds nothing that never passes.
func FuzzCopy(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, raw []byte, way uint8) {
		in := parseRaw(raw)
		if in == nil {
			return
		}
		d := directions[int(way)%len(directions)]
		h := testHosts[d]
		out := &message.Message{
			Method: in.Method, Status: in.Status, Reason: in.Reason, CallID: "fresh", CSeq: in.CSeq, MaxForwards: 1,
			From: RewriteNameAddr(in.From, h.From), To: RewriteNameAddr(in.To, h.To),
			Via: []message.Via{{Transport: "UDP", Host: "10.0.0.2", Branch: "z9hG4bKfresh", RPort: -1}},
		}
		out.From.Tag = "fresh"
		if in.IsRequest() {
			out.URI = RewriteURIHost(in.URI, h.RequestURI)
		} else {
			out.To.Tag = "fresh"
		}
		Copy(d, in, out, h)
		for i := range out.Headers {
			switch out.Headers[i].Name {
			case "Server", "User-Agent", "Organization", "Via", "Record-Route", "Route", "Contact", "Call-ID", "Content-Type":
				t.Fatalf("%s passed", out.Headers[i].Name)
			}
		}
		b, err := out.Append(nil)
		if err != nil {
			t.Fatalf("%v\n%q", err, raw)
		}
		if out.Method != "INVITE" && out.Method != "BYE" { // others may want fields that a call adds
			return
		}
		if len(b) <= scan.MaxMessage && parseRaw(b) == nil {
			t.Fatalf("cannot be read again:\n%s", b)
		}
	})
}

// FuzzGuard: a second look finds nothing but what cannot be repaired; what is repaired can be written.
func FuzzGuard(f *testing.F) {
	seeds(f)
	g := testGuard()
	bring := &tu.Secrets{Hosts: []string{"asterisk", "node7.example", "10.0.0.77", "fd00::7"}, IDs: []string{"as58f4", "z9hG4bKx"}}
	f.Fuzz(func(t *testing.T, raw []byte, way uint8) {
		m := parseRaw(raw)
		if m == nil {
			return
		}
		side := nat.Side(way % 2)
		hits, ok := g.Check(side, m, bring)
		if hits == 0 && !ok {
			t.Fatal("not repaired, but nothing found")
		}
		again, _ := g.Check(side, m, bring)
		if ok && again != 0 {
			b, _ := m.Append(nil)
			t.Fatalf("%d hits after a repair\n%s", again, b)
		}
		if _, err := m.Append(nil); err != nil {
			t.Fatal(err)
		}
	})
}
