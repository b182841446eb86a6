package message

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"sallyport/sbc/scan"
)

// torture is what becomes of each message of RFC 4475 and RFC 5118: 0 accepted, else the code of the refusal (a refused
// response is dropped). "judged later" means that the message is well-formed and its meaning is for others to refuse.
var torture = []struct {
	file string
	code int
	why  string
}{
	// RFC 4475 §3.1.1: valid messages.
	{"rfc4475-wsinv", 0, "white space and folding everywhere; the branch without the magic cookie is harmless"},
	{"rfc4475-intmeth", 400, "valid by the grammar, but a NUL in a quoted string and a method of 43 bytes do not pass our gate"},
	{"rfc4475-esc01", 0, "escapes in URIs stay as they are"},
	{"rfc4475-escnull", 0, "%00 in a user part is text, nobody decodes it"},
	{"rfc4475-esc02", 0, "'%' is a token character: an unknown method and an unknown header field"},
	{"rfc4475-lwsdisp", 0, "no space between display name and '<'"},
	{"rfc4475-longreq", 513, "valid, but 34 Via and no branch in the first; TestLongreq has it within our limits"},
	{"rfc4475-dblreq", 0, "a REGISTER; what follows its Content-Length in the datagram is discarded"},
	{"rfc4475-semiuri", 0, "semicolons in the user part"},
	{"rfc4475-transports", 0, "unknown transports in lower Vias concern nobody"},
	{"rfc4475-mpart01", 0, "the body is opaque"},
	{"rfc4475-unreason", 0, "UTF-8 in a reason phrase"},
	{"rfc4475-noreason", 0, "empty reason phrase"},
	// §3.1.2: invalid messages.
	{"rfc4475-badinv01", 400, "empty parameters and elements in Via"},
	{"rfc4475-clerr", 400, "Content-Length beyond the datagram (RFC 3261 §18.3)"},
	{"rfc4475-ncl", 400, "negative Content-Length"},
	{"rfc4475-scalar02", 400, "CSeq, Max-Forwards and Expires out of range"},
	{"rfc4475-scalarlg", 400, "a response with CSeq out of range: dropped"},
	{"rfc4475-quotbal", 400, "quotation mark without its partner in To"},
	{"rfc4475-ltgtruri", 400, "angle brackets around the Request-URI"},
	{"rfc4475-lwsruri", 400, "white space in the Request-URI"},
	{"rfc4475-lwsstart", 400, "several spaces in the request line"},
	{"rfc4475-trws", 400, "space behind the request line"},
	{"rfc4475-escruri", 400, "header fields in the Request-URI"},
	{"rfc4475-baddate", 0, "nobody here reads Date"},
	{"rfc4475-regbadct", 400, "Contact with '?' outside of angle brackets"},
	{"rfc4475-badaspec", 0, "white space within the angle brackets is forgiven; we write it without"},
	{"rfc4475-baddn", 400, "the file lacks its empty line (with it: a comma in an unquoted display name, 400 too)"},
	{"rfc4475-badvers", 505, "SIP/7.0"},
	{"rfc4475-mismatch01", 400, "CSeq names another method"},
	{"rfc4475-mismatch02", 400, "CSeq names another method"},
	{"rfc4475-bigcode", 400, "a response with a status of ten digits: dropped"},
	// §3.2: transaction layer.
	{"rfc4475-badbranch", 400, "nothing behind the magic cookie"},
	// §3.3: application layer.
	{"rfc4475-insuf", 400, "To, From, Call-ID missing"},
	{"rfc4475-unkscm", 416, "unknown scheme in the Request-URI"},
	{"rfc4475-novelsc", 416, "known scheme, but none of ours, in the Request-URI"},
	{"rfc4475-unksm2", 0, "other schemes in To, From, Contact: judged later"},
	{"rfc4475-bext01", 0, "unknown Require: judged later (420)"},
	{"rfc4475-invut", 0, "unknown body type: judged later (415)"},
	{"rfc4475-regaut01", 0, "unknown authentication scheme: judged later"},
	{"rfc4475-multi01", 400, "single-valued header fields twice"},
	{"rfc4475-mcl01", 400, "two values of Content-Length"},
	{"rfc4475-bcast", 0, "a response with a broadcast address in its lower Via: it matches no transaction"},
	{"rfc4475-zeromf", 0, "Max-Forwards 0: judged later (483, or 200 for OPTIONS to us)"},
	{"rfc4475-cparam01", 0, "unknown Contact parameter"},
	{"rfc4475-cparam02", 0, "unknown URI parameter in Contact"},
	{"rfc4475-regescrt", 0, "escaped header fields in a Contact URI are legal"},
	{"rfc4475-sdp01", 0, "Accept without application/sdp: judged later"},
	// §3.4.
	{"rfc4475-inv2543", 400, "RFC 2543: no From tag, no branch"},
	// An extra of the archive.
	{"rfc4475-test", 400, "no SIP version"},

	{"rfc5118-ipv6-good", 0, "IPv6 reference in the Request-URI"},
	{"rfc5118-ipv6-bad", 400, "IPv6 address without brackets"},
	{"rfc5118-port-ambiguous", 0, "the port was meant, but the whole is one address"},
	{"rfc5118-port-unambiguous", 0, "port behind the brackets"},
	{"rfc5118-via-received-param-with-delim", 0, "received with brackets"},
	{"rfc5118-via-received-param-no-delim", 0, "received without brackets"},
	{"rfc5118-ipv6-in-sdp", 400, "the RFC's Content-Length is larger than its body"},
	{"rfc5118-ipv6-in-sdp-fixed", 0, "the same with the right length"},
	{"rfc5118-mult-ip-in-header", 0, "both families in Via"},
	{"rfc5118-mult-ip-in-sdp", 0, "both families in SDP; the Content-Length is short, the body is cut"},
	{"rfc5118-mult-ip-in-sdp-fixed", 0, "the same with the right length"},
	{"rfc5118-ipv4-mapped-ipv6", 0, "IPv4-mapped addresses; the Content-Length is short, the body is cut"},
	{"rfc5118-ipv4-mapped-ipv6-fixed", 0, "the same with the right length"},
	{"rfc5118-ipv6-bug-abnf-3-colons", 400, "three colons, which the grammar of RFC 3261 let pass, are no address"},
	{"rfc5118-ipv6-correct-abnf-2-colons", 0, "two colons and an IPv4 tail"},
}

func read(t testing.TB, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("../../testdata/sip", file+".sip"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// parseBytes scans and parses.
func parseBytes(data []byte) (*Message, *scan.View, error) {
	v := new(scan.View)
	if err := scan.Scan(data, v); err != nil {
		return nil, v, err
	}
	m, err := Parse(data, v)
	return m, v, err
}

func mustParse(t testing.TB, data string) *Message {
	t.Helper()
	m, _, err := parseBytes([]byte(data))
	if err != nil {
		t.Fatalf("%v in %q", err, data)
	}
	return m
}

// mustAppend writes a message.
func mustAppend(t testing.TB, m *Message) []byte {
	t.Helper()
	out, err := m.Append(nil)
	if err != nil {
		t.Fatalf("%v in %v", err, m)
	}
	return out
}

func TestTorture(t *testing.T) {
	src := netip.MustParseAddrPort("198.51.100.99:40000")
	for _, tt := range torture {
		t.Run(tt.file, func(t *testing.T) {
			data := read(t, tt.file)
			m, v, err := parseBytes(data)
			if code := codeOf(err); code != tt.code {
				t.Fatalf("%v, want %d: %s", err, tt.code, tt.why)
			}
			if err == nil {
				again := mustParse(t, string(mustAppend(t, m)))
				if !reflect.DeepEqual(m, again) {
					t.Errorf("round trip changed\n%v\ninto\n%v", m, again)
				}
				return
			}
			reply, err := ShortReply(nil, data, v, src, tt.code, "", "tag1")
			if err != nil {
				if !errors.Is(err, ErrNoReply) {
					t.Fatal(err)
				}
				return
			}
			if len(reply) > len(data)+replyMargin {
				t.Errorf("the reply is %d bytes larger", len(reply)-len(data))
			}
			var rv scan.View
			if err := scan.Scan(reply, &rv); err != nil && !errors.Is(err, scan.ErrViaCount) || rv.Status != tt.code || rv.Vias != v.Vias {
				t.Errorf("reply %q: %v", reply, err)
			}
		})
	}
}

func codeOf(err error) int {
	if e := Refusal(err); e != nil {
		return e.Code
	}
	return 0
}

func TestTortureTableIsWhole(t *testing.T) {
	files, err := filepath.Glob("../../testdata/sip/rfc*.sip")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, tt := range torture {
		known[tt.file] = true
	}
	for _, f := range files {
		if name := strings.TrimSuffix(filepath.Base(f), ".sip"); !known[name] {
			t.Errorf("%s has no expected outcome", name)
		}
	}
	if len(files) != len(torture) {
		t.Errorf("%d files, %d outcomes", len(files), len(torture))
	}
}

// TestWsinv: RFC 4475 §3.1.1.1 in detail.
func TestWsinv(t *testing.T) {
	m := mustParse(t, string(read(t, "rfc4475-wsinv")))
	want := []Via{
		{Transport: "UDP", Host: "192.0.2.2", Branch: "390skdjuw", RPort: -1},
		{Transport: "TCP", Host: "spindle.example.com", Branch: "z9hG4bK9ikj8", RPort: -1},
		{Transport: "UDP", Host: "192.168.255.111", Branch: "z9hG4bK30239", RPort: -1},
	}
	if !reflect.DeepEqual(m.Via, want) {
		t.Errorf("Via %+v", m.Via)
	}
	if m.From.Tag != "98asjd8" || m.From.Display != `"J Rosenberg \\\""` || m.To.Tag != "1918181833n" {
		t.Errorf("From %+v To %+v", m.From, m.To)
	}
	if m.CSeq != 9 || m.MaxForwards != 68 || m.Method != "INVITE" || len(m.Body) != 150 {
		t.Errorf("CSeq %d, Max-Forwards %d, body %d", m.CSeq, m.MaxForwards, len(m.Body))
	}
	if s, ok := m.Get("Subject"); !ok || s != "" {
		t.Errorf("Subject %q %v", s, ok)
	}
	if s, _ := m.Get("Newfangledheader"); s != "newfangled value continued newfangled value" {
		t.Errorf("NewFangledHeader %q", s)
	}
	list, star, err := m.Contacts()
	if err != nil || star || len(list) != 1 || list[0].Params != ";newparam=newvalue;secondparam;q=0.33" {
		t.Errorf("Contact %+v %v", list, err)
	}
}

// TestIntmeth: RFC 4475 §3.1.1.2 without the NUL and with a method that fits passes as it is.
func TestIntmeth(t *testing.T) {
	data := bytes.ReplaceAll(read(t, "rfc4475-intmeth"), []byte("!interesting-Method0123456789_*+`.%indeed'~"), []byte("!int-Method01_*+`.%'~"))
	data = bytes.ReplaceAll(bytes.ReplaceAll(data, []byte("\\\x00"), []byte("0")), []byte("\\\x07"), []byte("7"))
	m := mustParse(t, string(data))
	if m.Method != "!int-Method01_*+`.%'~" || m.From.Display != "token1~` token2'+_ token3*%!.-" || m.From.Tag != "_token~1'+`*%!-." {
		t.Errorf("%+v", m)
	}
	if m.URI.User != "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)" {
		t.Errorf("user %q", m.URI.User)
	}
	if !reflect.DeepEqual(m, mustParse(t, string(mustAppend(t, m)))) {
		t.Error("round trip")
	}
}

// TestLongreq: RFC 4475 §3.1.1.7 with three Via fewer and a branch in the first.
func TestLongreq(t *testing.T) {
	data := string(read(t, "rfc4475-longreq"))
	for _, hop := range []string{"v: SIP/2.0/TCP sip32.example.com\r\n", "V: SIP/2.0/TCP sip31.example.com\r\n", "ViA: SIP/2.0/TCP sip29.example.com\r\n"} {
		data = strings.Replace(data, hop, "", 1)
	}
	data = strings.Replace(data, "sip33.example.com", "sip33.example.com;branch=z9hG4bKtop", 1)
	m := mustParse(t, data)
	if len(m.Via) != 31 || m.Via[30].Received != "192.0.2.5" || !strings.HasPrefix(m.From.Params, ";unknownheaderparamname") {
		t.Errorf("%d Via, last %+v, From %q", len(m.Via), m.Via[len(m.Via)-1], m.From.Params)
	}
	if v, ok := m.To.URI.Param("UnknownParam1"); !ok || !strings.HasPrefix(v, "verylong") {
		t.Errorf("To %+v", m.To.URI)
	}
}
