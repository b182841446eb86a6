package header

import (
	"bytes"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"sallyport/media/sdp"
	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/scan"
	"sallyport/sbc/tu"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// The network of the tests: the gate is 198.51.100.5 outside and 10.0.0.2 inside, the provider 203.0.113.20, the PBX
// 10.0.0.10 with the domain example.com.
var (
	gateOutside = netip.MustParseAddr("198.51.100.5")
	gateInside  = netip.MustParseAddr("10.0.0.2")
)

func testGuard() *Guard {
	return NewGuard(
		[2][]netip.Addr{nat.Outside: {gateOutside}, nat.Inside: {gateInside}},
		[2][]string{nat.Outside: {"203.0.113.20:5060", "itsp.example", "203.0.113.0/24", "[2001:db8:20::5]:5060"}, nat.Inside: {"10.0.0.10:5060", "pbx.example.internal", "pbx", "10.0.0.11/32", "fd00:10::10"}},
		"example.com")
}

var directions = []Direction{TrunkToPBX, PBXToTrunk, PhoneToPBX, PBXToPhone}

// String is the direction's name in the tests.
func (d Direction) String() string {
	return [...]string{"trunk to PBX", "PBX to trunk", "phone to PBX", "PBX to phone"}[d]
}

// leaves is the side that a message of a direction leaves.
func (d Direction) leaves() nat.Side {
	if d == TrunkToPBX || d == PhoneToPBX {
		return nat.Inside
	}
	return nat.Outside
}

var testHosts = map[Direction]Hosts{
	TrunkToPBX: {RequestURI: "example.com", From: "10.0.0.2:5080", To: "example.com", Identity: "10.0.0.2:5080"},
	PBXToTrunk: {RequestURI: "itsp.example", From: "198.51.100.5:5080", To: "itsp.example", Identity: "198.51.100.5:5080"},
	PhoneToPBX: {RequestURI: "example.com", From: "example.com", To: "example.com", Identity: "example.com"},
	PBXToPhone: {RequestURI: "192.168.1.34:5060", From: "example.com", To: "example.com", Identity: "example.com"},
}

// parse reads a message written with bare line feeds; Content-Length is added.
func parse(t testing.TB, text string) *message.Message {
	t.Helper()
	head, body, _ := strings.Cut(text, "\n\n")
	body = strings.ReplaceAll(body, "\n", "\r\n")
	raw := []byte(strings.ReplaceAll(head, "\n", "\r\n") + "\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body)
	var v scan.View
	if err := scan.Scan(raw, &v); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	m, err := message.Parse(raw, &v)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return m
}

// across builds what the other side gets, the way a call does it.
func across(t testing.TB, d Direction, in *message.Message) *message.Message {
	t.Helper()
	h := testHosts[d]
	out := &message.Message{
		Method: in.Method, Status: in.Status, Reason: in.Reason, CallID: "fresh", CSeq: 1, MaxForwards: 69,
		From: RewriteNameAddr(in.From, h.From), To: RewriteNameAddr(in.To, h.To),
		Via: []message.Via{{Transport: "UDP", Host: "198.51.100.5", Port: 5080, Branch: "z9hG4bKfresh", RPort: -1}},
	}
	if d.leaves() == nat.Inside {
		out.Via[0].Host = "10.0.0.2"
	}
	out.From.Tag = "fresh-from"
	if in.IsRequest() {
		out.URI = RewriteURIHost(in.URI, h.RequestURI)
	} else {
		out.To.Tag = "fresh-to"
		out.MaxForwards = -1
	}
	Copy(d, in, out, h)
	if in.Status/100 == 3 {
		Redirect(in, out, h.From)
	}
	if kind, ok := in.Get("Content-Type"); ok {
		out.Add("Content-Type", kind)
		out.Body = in.Body
		if from, to, ok := sdp.FindSDP(kind, in.Body); ok && from == 0 && to == len(in.Body) {
			s, err := sdp.Parse(in.Body)
			if err != nil {
				t.Fatal(err)
			}
			own := testGuard().own[d.leaves()]
			for i := range s.Len() {
				s.SetMedia(i, own, 30000, 30001)
			}
			s.DropCandidates()
			s.SetOrigin("-", 1, 1, own)
			out.Body = s.Bytes()
		}
	}
	return out
}

// brought is what a leg's message brought with it, as a call notes it.
func brought(m *message.Message) *tu.Secrets {
	var s tu.Secrets
	s.AddID(m.CallID)
	s.AddID(m.From.Tag)
	s.AddID(m.To.Tag)
	for i := range m.Via {
		s.AddID(m.Via[i].Branch)
		s.AddHost(m.Via[i].Host)
	}
	contacts, _, _ := m.Contacts()
	routes, _ := m.NameAddrs("Record-Route")
	for _, n := range append(contacts, routes...) {
		s.AddHost(n.URI.Host)
	}
	addBody(&s, m.Body)
	return &s
}

// addBody notes the addresses of a description.
func addBody(s *tu.Secrets, body []byte) {
	sdp.Replace(body, func(host []byte) bool {
		if a, err := netip.ParseAddr(string(host)); err == nil {
			s.AddAddr(a)
		}
		return false
	}, netip.Addr{})
}

func written(t testing.TB, m *message.Message) string {
	t.Helper()
	b, err := m.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(b), "\r\n", "\n")
}

// secrets are what must not be seen on a side, whatever the message.
var secrets = [2][]string{
	nat.Outside: {"10.0.0.", ".internal", "Asterisk", "FreeSWITCH", "sipXecs", "as58f4", "as3a", "z9hG4bK5a3b", "71c3f8a9", "callserver", "X-", "candidate"},
	nat.Inside:  {"2001:db8:20", "203.0.113.", "198.51.100.", "192.168.", "192.0.2.", "itsp.example", "carrier", "Carrier", "CARRIER", "phone-1", "z9hG4bKphone", "phonecall", "Yealink", "secret"},
}

func TestPairs(t *testing.T) {
	files, err := filepath.Glob("testdata/pairs/*.txt")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d pairs, %v", len(files), err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		parts := strings.SplitN(string(b), "----\n", 3)
		d := direction(t, strings.TrimSpace(parts[0]))
		in := parse(t, parts[1])
		out := across(t, d, in)
		raw := written(t, out)
		hits, ok := testGuard().Check(d.leaves(), out, brought(in))
		got := raw
		if hits > 0 {
			got += "guard " + strconv.Itoa(hits) + "\n" + written(t, out)
		}
		if *update {
			if err := os.WriteFile(f, []byte(parts[0]+"----\n"+parts[1]+"----\n"+got), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if got != parts[2] {
			t.Errorf("%s:\n%s\nwant\n%s", f, got, parts[2])
		}
		if !ok {
			t.Errorf("%s: the guard could not repair", f)
		}
		for _, s := range secrets[d.leaves()] {
			if strings.Contains(written(t, out), s) {
				if !(strings.HasPrefix(s, "X-") && d == TrunkToPBX) {
					t.Errorf("%s shows %q", f, s)
				}
			}
		}
		if again, _ := testGuard().Check(d.leaves(), out, brought(in)); again != 0 {
			t.Errorf("%s: the guard finds %d more after its repair", f, again)
		}
	}
}

func direction(t *testing.T, name string) Direction {
	t.Helper()
	for _, d := range directions {
		if d.String() == name {
			return d
		}
	}
	t.Fatalf("no direction %q", name)
	return 0
}

func TestCopyNeverChangesItsInput(t *testing.T) {
	files, _ := filepath.Glob("testdata/pairs/*.txt")
	for _, f := range files {
		b, _ := os.ReadFile(f)
		parts := strings.SplitN(string(b), "----\n", 3)
		in := parse(t, parts[1])
		before := written(t, in)
		for _, d := range directions {
			out := across(t, d, in)
			testGuard().Check(d.leaves(), out, brought(in))
		}
		if after := written(t, in); !bytes.Equal([]byte(before), []byte(after)) {
			t.Errorf("%s: the parsed message changed:\n%s", f, after)
		}
	}
}
