package message

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sallyport/sbc/scan"
)

const invite = "INVITE sip:+15551234567@198.51.100.5:5080;user=phone SIP/2.0\r\n" +
	"Via: SIP/2.0/UDP 203.0.113.20:5060;branch=z9hG4bK776asdhds;rport\r\n" +
	"Record-Route: <sip:203.0.113.20;lr;ftag=1928301774>\r\n" +
	"Max-Forwards: 69\r\n" +
	"From: \"Alice\" <sip:+15557654321@203.0.113.20>;tag=1928301774\r\n" +
	"To: <sip:+15551234567@198.51.100.5>\r\n" +
	"Call-ID: a84b4c76e66710@203.0.113.20\r\n" +
	"CSeq: 314159 INVITE\r\n" +
	"Contact: <sip:+15557654321@203.0.113.20:5060;transport=udp>\r\n" +
	"Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, UPDATE\r\n" +
	"User-Agent: Provider SBC 7.2\r\n" +
	"Content-Type: application/sdp\r\n" +
	"Content-Length: 135\r\n" +
	"\r\n" +
	"v=0\r\no=- 1 1 IN IP4 203.0.113.21\r\ns=-\r\nc=IN IP4 203.0.113.21\r\nt=0 0\r\nm=audio 20000 RTP/AVP 8 0 101\r\na=rtpmap:101 telephone-event/8000\r\n"

// with builds a request out of the mandatory fields and more lines. A line that begins with '-' removes the field of
// that name instead.
func with(lines ...string) string {
	fields := []string{
		"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1", "From: <sip:a@example.com>;tag=1", "To: <sip:b@example.com>",
		"Call-ID: 1", "CSeq: 1 OPTIONS",
	}
	for _, l := range lines {
		name, removes := strings.CutPrefix(l, "-")
		if !removes {
			fields = append(fields, l)
			continue
		}
		for i, f := range fields {
			if strings.HasPrefix(f, name+":") {
				fields = append(fields[:i:i], fields[i+1:]...)
				break
			}
		}
	}
	return "OPTIONS sip:b@example.com SIP/2.0\r\n" + strings.Join(fields, "\r\n") + "\r\n\r\n"
}

func TestParseInvite(t *testing.T) {
	m := mustParse(t, invite)
	want := &Message{
		Method: "INVITE",
		URI:    URI{Scheme: "sip", User: "+15551234567", Host: "198.51.100.5", Port: 5080, Params: ";user=phone"},
		Via:    []Via{{Transport: "UDP", Host: "203.0.113.20", Port: 5060, Branch: "z9hG4bK776asdhds"}},
		From:   NameAddr{Display: `"Alice"`, URI: URI{Scheme: "sip", User: "+15557654321", Host: "203.0.113.20"}, Tag: "1928301774"},
		To:     NameAddr{URI: URI{Scheme: "sip", User: "+15551234567", Host: "198.51.100.5"}},
		CallID: "a84b4c76e66710@203.0.113.20", CSeq: 314159, MaxForwards: 69,
		Headers: []Header{
			{"Record-Route", "<sip:203.0.113.20;lr;ftag=1928301774>"},
			{"Contact", "<sip:+15557654321@203.0.113.20:5060;transport=udp>"},
			{"Allow", "INVITE, ACK, CANCEL, OPTIONS, BYE, UPDATE"},
			{"User-Agent", "Provider SBC 7.2"},
			{"Content-Type", "application/sdp"},
		},
		Body: []byte(invite[strings.Index(invite, "v=0"):]),
	}
	if !reflect.DeepEqual(m, want) {
		t.Errorf("got\n%+v\nwant\n%+v", m, want)
	}
	if !m.IsRequest() {
		t.Error("no request")
	}
}

func TestParseResponse(t *testing.T) {
	for _, phrase := range []string{" Session Progress", " ", "", " SIP", " sip-error", " SIP error"} {
		m := mustParse(t, "SIP/2.0 183"+phrase+"\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1;rport=5062;received=192.0.2.9\r\n"+
			"f: sip:a@b.example;tag=1\r\nt: <sip:c@d.example>;tag=2\r\ni: x\r\nCSeq: 3 INVITE\r\nServer: PBX\r\nl: 0\r\n\r\n")
		if m.IsRequest() || m.Status != 183 || m.Reason != trim(phrase) || m.Method != "INVITE" || m.MaxForwards != -1 || m.URI != (URI{}) {
			t.Errorf("%q: %+v", phrase, m)
		}
		if v := m.Via[0]; v.RPort != 5062 || v.Received != "192.0.2.9" {
			t.Errorf("Via %+v", v)
		}
	}
}

func TestParseKeepsNothingOfTheBuffer(t *testing.T) {
	data := []byte(invite)
	m, _, err := parseBytes(data)
	if err != nil {
		t.Fatal(err)
	}
	for i := range data {
		data[i] = 'X'
	}
	if !reflect.DeepEqual(m, mustParse(t, invite)) {
		t.Error("the message changed with the buffer")
	}
}

// validation is the validator's table: a request, the code of its refusal (0: accepted), a word of the reason.
var validation = []struct {
	name, data string
	code       int
	detail     string
}{
	{"as it is", with(), 0, ""},
	{"no Max-Forwards is forgiven", with(), 0, ""},
	{"no Via", with("-Via"), 400, "no Via"},
	{"no From", with("-From"), 400, "no From"},
	{"no To", with("-To"), 400, "no To"},
	{"no Call-ID", with("-Call-ID"), 400, "no Call-ID"},
	{"no CSeq", with("-CSeq"), 400, "no CSeq"},
	{"no From tag", with("-From", "From: <sip:a@b.example>"), 400, "no tag"},
	{"empty From tag", with("-From", "From: <sip:a@b.example>;tag="), 400, "tag is not a token"},
	{"two From tags", with("-From", "From: <sip:a@b.example>;tag=1;tag=2"), 400, "tag"},
	{"two To", with("t: <sip:x@y.example>"), 400, "more than one To"},
	{"two From", with("f: <sip:x@y.example>;tag=1"), 400, "more than one From"},
	{"two Call-ID", with("i: 2"), 400, "more than one Call-ID"},
	{"two CSeq", with("CSeq: 2 OPTIONS"), 400, "more than one CSeq"},
	{"two Max-Forwards", with("Max-Forwards: 1", "Max-Forwards: 1"), 400, "more than one Max-Forwards"},
	{"two equal Content-Length", with("l: 0", "Content-Length: 0"), 400, "more than one Content-Length"},
	{"two Content-Type", with("c: a/b", "Content-Type: a/b"), 400, "more than one Content-Type"},
	{"two Expires", with("Expires: 1", "Expires: 1"), 400, "more than one Expires"},
	{"two User-Agent", with("User-Agent: a", "User-Agent: b"), 400, "more than one User-Agent"},
	{"two Refer-To", with("Refer-To: <sip:a@b.example>", "r: <sip:a@b.example>"), 400, "more than one Refer-To"},
	{"two Allow", with("Allow: INVITE", "Allow: BYE"), 0, ""},
	{"two Contact", with("Contact: <sip:a@b.example>", "m: <sip:c@d.example>"), 0, ""},
	{"CSeq method", with("-CSeq", "CSeq: 1 INVITE"), 400, "another method"},
	{"CSeq method in small letters", with("-CSeq", "CSeq: 1 options"), 400, "another method"},
	{"CSeq range", with("-CSeq", "CSeq: 2147483648 OPTIONS"), 400, "CSeq"},
	{"CSeq highest", with("-CSeq", "CSeq: 2147483647 OPTIONS"), 0, ""},
	{"CSeq with several spaces", with("-CSeq", "CSeq: 1 \t OPTIONS"), 0, ""},
	{"Max-Forwards 255", with("Max-Forwards: 255"), 0, ""},
	{"Max-Forwards 256", with("Max-Forwards: 256"), 400, "Max-Forwards"},
	{"Max-Forwards negative", with("Max-Forwards: -1"), 400, "Max-Forwards"},
	{"Call-ID with a space", with("-Call-ID", "Call-ID: a b"), 400, "Call-ID"},
	{"Call-ID empty", with("-Call-ID", "Call-ID:"), 400, "Call-ID"},
	{"no branch", with("-Via", "Via: SIP/2.0/UDP h"), 400, "no branch"},
	{"branch is only the cookie", with("-Via", "Via: SIP/2.0/UDP h;branch=z9hG4bK"), 400, "no branch"},
	{"branch without the cookie", with("-Via", "Via: SIP/2.0/UDP h;branch=1"), 0, ""},
	{"branch only in the second hop", with("-Via", "Via: SIP/2.0/UDP h, SIP/2.0/UDP i;branch=2"), 400, "no branch"},
	{"Via version", with("-Via", "Via: SIP/3.0/UDP h;branch=b"), 400, "Via"},
	{"Via protocol", with("-Via", "Via: HTTP/2.0/UDP h;branch=b"), 400, "Via"},
	{"Via host", with("-Via", "Via: SIP/2.0/UDP h_(;branch=b"), 400, "Via"},
	{"Via port", with("-Via", "Via: SIP/2.0/UDP h:99999;branch=b"), 400, "Via"},
	{"two branches", with("-Via", "Via: SIP/2.0/UDP h;branch=b;branch=c"), 400, "Via"},
	{"rport no port", with("-Via", "Via: SIP/2.0/UDP h;branch=b;rport=x"), 400, "Via"},
	{"received no address", with("-Via", "Via: SIP/2.0/UDP h;branch=b;received=evil.example"), 400, "Via"},
	{"too many hops in one field", with("Via: " + strings.Repeat("SIP/2.0/UDP h;branch=b, ", 31) + "SIP/2.0/UDP h;branch=b"), 400, "too many Via"},
	{"From scheme missing", with("-From", "From: alan@example.com;tag=1"), 400, "From"},
	{"To quotes", with("-To", `To: "open <sip:a@b.example>`), 400, "To"},
	{"Contact broken", with("Contact: <sip:a@b.example"), 400, "Contact"},
	{"Contact star in OPTIONS", with("Contact: *"), 400, "Contact"},
	{"Contact empty", with("Contact:"), 400, "Contact"},
	{"65 contacts", with("Contact: " + strings.Repeat("<sip:a@b>, ", 64) + "<sip:a@b>"), 400, "too many contacts"},
	{"64 contacts", with("Contact: " + strings.Repeat("<sip:a@b>, ", 63) + "<sip:a@b>"), 0, ""},
	{"Route broken", with("Route: <sip:a@b>;,"), 400, "Route"},
	{"Record-Route broken", with("Record-Route: sip:a b"), 400, "Record-Route"},
	{"Refer-To is judged by its reader", with("Refer-To: nonsense"), 0, ""},
	{"version 3", strings.Replace(with(), " SIP/2.0\r\n", " SIP/3.0\r\n", 1), 505, "version"},
	{"version 2.00", strings.Replace(with(), " SIP/2.0\r\n", " SIP/2.00\r\n", 1), 505, "version"},
	{"scheme http", strings.Replace(with(), "sip:b@example.com SIP", "http://b SIP", 1), 416, "Request-URI"},
	{"scheme tel", strings.Replace(with(), "sip:b@example.com SIP", "tel:+1555 SIP", 1), 0, ""},
	{"scheme SIPS", strings.Replace(with(), "sip:b@example.com SIP", "SIPS:b@example.com SIP", 1), 0, ""},
	{"no scheme", strings.Replace(with(), "sip:b@example.com SIP", "b@example.com SIP", 1), 400, "Request-URI"},
	{"star", strings.Replace(with(), "sip:b@example.com SIP", "* SIP", 1), 400, "Request-URI"},
	{"small method", strings.ReplaceAll(with(), "OPTIONS", "options"), 0, ""},
	{"unknown method", strings.ReplaceAll(with(), "OPTIONS", "NEWMETHOD"), 0, ""},
}

func TestValidator(t *testing.T) {
	for _, tt := range validation {
		t.Run(tt.name, func(t *testing.T) {
			m, _, err := parseBytes([]byte(tt.data))
			if codeOf(err) != tt.code || err != nil && !strings.Contains(err.Error(), tt.detail) {
				t.Fatalf("%v, want %d with %q", err, tt.code, tt.detail)
			}
			if (m == nil) != (err != nil) {
				t.Error("message and error do not exclude each other")
			}
		})
	}
}

// TestAgreement: what the scan says must be what the parser finds; a View of another message is refused.
func TestAgreement(t *testing.T) {
	base := with("User-Agent: one", "Max-Forwards: 70", "Content-Length: 0")
	for name, other := range map[string]string{
		"method":         strings.ReplaceAll(base, "OPTIONS", "OPTIINS"),
		"Call-ID":        strings.Replace(base, "Call-ID: 1", "Call-ID: 2", 1),
		"CSeq":           strings.Replace(base, "CSeq: 1", "CSeq: 2", 1),
		"branch":         strings.Replace(base, "z9hG4bK1", "z9hG4bK2", 1),
		"From tag":       strings.Replace(base, "tag=1", "tag=2", 1),
		"User-Agent":     strings.Replace(base, "one", "two", 1),
		"Max-Forwards":   strings.Replace(base, "70", "69", 1),
		"Content-Length": strings.Replace(base, "Length: 0", "Lengtx: 0", 1),
	} {
		var v scan.View
		if err := scan.Scan([]byte(other), &v); err != nil {
			t.Fatal(err)
		}
		if _, err := Parse([]byte(base), &v); codeOf(err) != 400 {
			t.Errorf("%s: %v", name, err)
		}
	}
	var empty scan.View
	if _, err := Parse([]byte(base), &empty); codeOf(err) != 400 {
		t.Errorf("empty view: %v", err)
	}
}

func TestFoldedAgentAgrees(t *testing.T) {
	m := mustParse(t, with("User-Agent: My\r\n \t Phone  1"))
	if ua, _ := m.Get("User-Agent"); ua != "My Phone  1" {
		t.Errorf("%q", ua)
	}
}

// TestNothingIsLost goes through what sipgo's own header types lose or bend.
func TestNothingIsLost(t *testing.T) {
	t.Run("quoted parameters of a Polycom contact", func(t *testing.T) {
		value := `<sip:100@192.0.2.7:5060>;methods="INVITE, ACK, BYE";+sip.instance="<urn:uuid:1-2>"`
		m := mustParse(t, with("Contact: "+value))
		if got, _ := m.Get("Contact"); got != value {
			t.Errorf("raw %q", got)
		}
		list, _, err := m.Contacts()
		if err != nil || len(list) != 1 || list[0].String() != value {
			t.Fatalf("%v %v", list, err)
		}
		if v, ok := list[0].Param("Methods"); !ok || v != `"INVITE, ACK, BYE"` {
			t.Errorf("methods %q", v)
		}
	})
	t.Run("second contact without brackets", func(t *testing.T) {
		list, _, err := mustParse(t, with("Contact: <sip:a@b.example>, sip:x@y.example")).Contacts()
		if err != nil || len(list) != 2 || list[1].URI.Host != "y.example" {
			t.Errorf("%v %v", list, err)
		}
	})
	t.Run("several Contact fields keep their order", func(t *testing.T) {
		list, _, err := mustParse(t, with("m: <sip:1@b.example>", "Contact: <sip:2@b.example>")).Contacts()
		if err != nil || len(list) != 2 || list[0].URI.User != "1" || list[1].URI.User != "2" {
			t.Errorf("%v %v", list, err)
		}
	})
	t.Run("parameters and display names of routes", func(t *testing.T) {
		value := `"edge" <sip:p1.example.com;lr>;dir=in , <sip:p2.example.com;lr;ob>;x="a,b"`
		m := mustParse(t, with("Record-Route: "+value, "Route: <sip:p3.example.com;lr>;method=INVITE"))
		list, err := m.NameAddrs("Record-Route")
		if err != nil || len(list) != 2 || list[0].String() != `"edge" <sip:p1.example.com;lr>;dir=in` || list[1].String() != `<sip:p2.example.com;lr;ob>;x="a,b"` {
			t.Errorf("%v %v", list, err)
		}
		if list, err = m.NameAddrs("Route"); err != nil || list[0].Params != ";method=INVITE" {
			t.Errorf("%v %v", list, err)
		}
		if list, err = m.NameAddrs("Path"); list != nil || err != nil {
			t.Errorf("%v %v", list, err)
		}
	})
	t.Run("Refer-To", func(t *testing.T) {
		value := "<sip:x@y.example?Replaces=1%3Bto-tag%3D2&Require=replaces>;method=INVITE"
		list, err := mustParse(t, with("r: "+value)).NameAddrs("Refer-To")
		if err != nil || len(list) != 1 || list[0].String() != value || list[0].URI.Headers != "?Replaces=1%3Bto-tag%3D2&Require=replaces" {
			t.Errorf("%v %v", list, err)
		}
	})
}

// TestSpellings: case, white space, compact names and lists on one line.
func TestSpellings(t *testing.T) {
	t.Run("compact names", func(t *testing.T) {
		m := mustParse(t, with("k: replaces", "r: <sip:a@b.example>", "b: <sip:c@d.example>", "x: 90", "o: dialog", "s: hi", "u: presence",
			"e: gzip", "a: *", "c: text/plain", "y: sig", "d: proxy", "j: *"))
		for _, name := range []string{"Supported", "Refer-To", "Referred-By", "Session-Expires", "Event", "Subject", "Allow-Events",
			"Content-Encoding", "Accept-Contact", "Content-Type", "Identity", "Request-Disposition", "Reject-Contact"} {
			if _, ok := m.Get(name); !ok {
				t.Errorf("no %s", name)
			}
		}
	})
	t.Run("case of parameter names", func(t *testing.T) {
		m := mustParse(t, with("-From", "-Via", "From: <sip:a@b.example>;X=1;TAG=9", "Via: SIP/2.0/udp h;Branch=z9hG4bK5;RPort;Received=192.0.2.3;Maddr=1"))
		if v := m.Via[0]; m.From.Tag != "9" || v.Branch != "z9hG4bK5" || v.RPort != 0 || v.Received != "192.0.2.3" || v.Params != ";Maddr=1" || v.Transport != "UDP" {
			t.Errorf("%+v %+v", m.From, m.Via)
		}
	})
	t.Run("white space around ; = and :", func(t *testing.T) {
		m := mustParse(t, with("-To", "-Via", "To: <sip:a@b.example> ; tag = 2 ; x", "Via: SIP/2.0/UDP h : 5070 ; branch = z9hG4bK6 ; ttl = 3"))
		if v := m.Via[0]; m.To.Tag != "2" || m.To.Params != ";x" || v.Host != "h" || v.Port != 5070 || v.Branch != "z9hG4bK6" || v.Params != ";ttl=3" {
			t.Errorf("%+v %+v", m.To, m.Via)
		}
	})
	t.Run("several hops in one Via, the first without parameters but a branch elsewhere", func(t *testing.T) {
		m := mustParse(t, with("-Via", "Via: SIP/2.0/UDP h1;branch=b1, SIP/2.0/UDP h2, SIP/2.0/TCP [2001:db8::1]:5061;branch=b3", "v: SIP/2.0/TLS h4"))
		want := []Via{
			{Transport: "UDP", Host: "h1", Branch: "b1", RPort: -1}, {Transport: "UDP", Host: "h2", RPort: -1},
			{Transport: "TCP", Host: "2001:db8::1", Port: 5061, Branch: "b3", RPort: -1}, {Transport: "TLS", Host: "h4", RPort: -1},
		}
		if !reflect.DeepEqual(m.Via, want) {
			t.Errorf("%+v", m.Via)
		}
	})
	t.Run("CSeq with two spaces", func(t *testing.T) {
		if m := mustParse(t, with("-CSeq", "CSeq: 1  OPTIONS")); m.Method != "OPTIONS" {
			t.Errorf("%+v", m)
		}
	})
	t.Run("unknown fields keep order and value", func(t *testing.T) {
		m := mustParse(t, with("X-a: 1, 2;;", "P-Asserted-Identity: \"A\" <sip:a@b.example>, <tel:+1>", "x-A: \xd0\xaf \"", "Subject:  two  spaces "))
		want := []Header{{"X-A", "1, 2;;"}, {"P-Asserted-Identity", "\"A\" <sip:a@b.example>, <tel:+1>"}, {"X-A", "\xd0\xaf \""}, {"Subject", "two  spaces"}}
		if !reflect.DeepEqual(m.Headers, want) {
			t.Errorf("%+v", m.Headers)
		}
		if list, err := m.NameAddrs("P-Asserted-Identity"); err != nil || len(list) != 2 || list[1].URI.Scheme != "tel" {
			t.Errorf("%v %v", list, err)
		}
	})
	t.Run("Authorization byte for byte", func(t *testing.T) {
		value := `Digest username="a",  realm="b",nonce = "c==", uri="sip:x;y=\"z\"", qop=auth , nc=00000001`
		if got, _ := mustParse(t, with("Authorization: "+value)).Get("Authorization"); got != value {
			t.Errorf("%q", got)
		}
	})
}

func TestTokens(t *testing.T) {
	m := mustParse(t, with("Require: 100rel, timer", "Require: path", "Supported: x"))
	if got := slices.Collect(m.Tokens("Require")); fmt.Sprint(got) != "[100rel timer path]" {
		t.Errorf("%v", got)
	}
	if got := slices.Collect(mustParse(t, with()).Tokens("Require")); got != nil {
		t.Errorf("%v", got)
	}
}

func TestRefusal(t *testing.T) {
	if Refusal(nil) != nil {
		t.Error("nil")
	}
	for err, code := range map[error]int{
		scan.ErrTooLarge: 513, scan.ErrHeaderCount: 513, scan.ErrViaCount: 513, scan.ErrLineLength: 513,
		scan.ErrBodyShort: 400, scan.ErrLineEnd: 400, fmt.Errorf("wrapped: %w", &Error{Code: 416}): 416,
	} {
		if got := Refusal(err); got.Code != code || got.Text() == "" || !strings.HasPrefix(got.Error(), fmt.Sprint(code)) {
			t.Errorf("%v: %v", err, got)
		}
	}
	if e := (&Error{Code: 400, Phrase: "Bad Route"}); e.Text() != "Bad Route" {
		t.Error(e)
	}
}

func TestParseAllocations(t *testing.T) {
	data := []byte(invite)
	var v scan.View
	n := 1000.0
	for range 50 { // under the race detector a pool forgets now and then what it was given
		n = min(n, testing.AllocsPerRun(1, func() {
			if err := scan.Scan(data, &v); err != nil {
				t.Fatal(err)
			}
			if _, err := Parse(data, &v); err != nil {
				t.Fatal(err)
			}
		}))
	}
	if n > 24 {
		t.Errorf("%v allocations, want at most 24", n)
	}
}

func BenchmarkParse(b *testing.B) {
	data := []byte(invite)
	b.ReportAllocs()
	b.SetBytes(int64(len(data)))
	var v scan.View
	for b.Loop() {
		if err := scan.Scan(data, &v); err != nil {
			b.Fatal(err)
		}
		if _, err := Parse(data, &v); err != nil {
			b.Fatal(err)
		}
	}
}
