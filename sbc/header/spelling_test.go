package header

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// spellings are how a receiver may find an address written in a text.
func spellings(a netip.Addr) []string {
	if a.Is6() {
		b := a.As16()
		var full, long []string
		for i := 0; i < 16; i += 2 {
			full = append(full, fmt.Sprintf("%x", uint16(b[i])<<8|uint16(b[i+1])))
			long = append(long, fmt.Sprintf("%04X", uint16(b[i])<<8|uint16(b[i+1])))
		}
		quad := netip.AddrFrom4([4]byte(b[12:])).String()
		list := []string{a.String(), strings.ToUpper(a.String()), strings.Join(full, ":"), strings.Join(long, ":"), strings.Join(full[:6], ":") + ":" + quad}
		for _, s := range slices.Clone(list) {
			list = append(list, "["+s+"]", "["+s+"%eth0]", "["+s+"%25eth0]", "["+s+"]:5060")
		}
		return append(list, a.String()+":5060", strings.Join(full, ":")+":5060", a.String()+"%2")
	}
	b := a.As4()
	hex := fmt.Sprintf("%x:%x", uint16(b[0])<<8|uint16(b[1]), uint16(b[2])<<8|uint16(b[3]))
	long := strings.ToUpper(fmt.Sprintf("%02x%02x:%02x%02x", b[0], b[1], b[2], b[3]))
	list := []string{a.String(), fmt.Sprintf("%03d.%03d.%03d.%03d", b[0], b[1], b[2], b[3]), "00" + a.String(), a.String() + ":5060"}
	for _, prefix := range []string{"::ffff:", "::FFFF:", "0:0:0:0:0:ffff:", "0000:0000:0000:0000:0000:FFFF:", "::", "::ffff:0:", "64:ff9b::", "0064:FF9B::", "64:ff9b:1::", "fe80::5efe:", "2001:db8::200:5efe:"} {
		list = append(list, prefix+a.String(), prefix+hex, prefix+long, "["+prefix+hex+"]", "["+prefix+a.String()+"%25eth0]:5060")
	}
	return append(list,
		"2002:"+hex+"::1", "["+"2002:"+long+"::]",
		fmt.Sprintf("64:ff9b:1:%x:%x:%x::", uint16(b[0])<<8|uint16(b[1]), b[2], uint16(b[3])<<8), // RFC 6052 §2.2, 48 bits
		fmt.Sprintf("64:ff9b:1:ab%02x:%02x:%02x%02x::", b[0], b[1], b[2], b[3]),                  // 56
		fmt.Sprintf("64:ff9b:1:abcd:%02x:%02x%02x:%x::", b[0], b[1], b[2], uint16(b[3])<<8),      // 64
	)
}

// hostSpellings are how a resolver may find an IPv4 address written where nothing but a host stands.
func hostSpellings(a netip.Addr) []string {
	b := a.As4()
	n := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	return []string{
		strconv.Itoa(int(n)), fmt.Sprintf("0x%x", n), fmt.Sprintf("0X%08X", n), fmt.Sprintf("0%o", n),
		fmt.Sprintf("%d.%d", b[0], n&0xffffff), fmt.Sprintf("%d.%d.%d", b[0], b[1], n&0xffff), fmt.Sprintf("0%o.%d.0x%x.%03o", b[0], b[1], b[2], b[3]),
		fmt.Sprintf("0x%x.0x%x.0x%x.0x%x", b[0], b[1], b[2], b[3]), fmt.Sprintf("0%o.0x%x", b[0], n&0xffffff),
	}
}

// escapes write a text as it would stand in a URI, in a quoted string, in a document, or in one of them within another.
var escapes = map[string]func(string) string{
	"plain":        func(s string) string { return s },
	"dots":         func(s string) string { return strings.ReplaceAll(s, ".", "%2E") },
	"marks":        strings.NewReplacer(".", "%2e", ":", "%3A", "[", "%5B", "]", "%5D", "%", "%25").Replace,
	"URI":          func(s string) string { return each(s, "%%%02X") },
	"uri":          func(s string) string { return each(s, "%%%02x") },
	"first":        func(s string) string { return each(s[:1], "%%%02X") + s[1:] },
	"URI in a URI": func(s string) string { return each(each(s, "%%%02X"), "%%%02X") },
	"three deep": func(s string) string {
		return strings.ReplaceAll(strings.NewReplacer(".", "%2E", ":", "%3A").Replace(s), "%", "%2525")
	},
	"quoted pairs": func(s string) string { return each(s, `\%c`) },
	"references":   func(s string) string { return each(s, "&#%d;") },
	"hexadecimal":  func(s string) string { return each(s, "&#x%04X;") },
	"both":         func(s string) string { return each(each(s, "%%%02X"), "&#x%x;") },
}

func each(s, format string) string {
	var out strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&out, format, s[i])
	}
	return out.String()
}

var escapeNames = func() (list []string) {
	for name := range escapes {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}()

// secretAddrs are those that nobody outside may see.
var secretAddrs = []netip.Addr{
	netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.10"), netip.MustParseAddr("10.0.0.11"), netip.MustParseAddr("10.0.0.77"),
	netip.MustParseAddr("fd00:10::10"), netip.MustParseAddr("fd00:10::77"), netip.MustParseAddr("fe80::a"),
}

var broughtAddrs = &tu.Secrets{
	Hosts: []string{"10.0.0.77", "fd00:0010::77"}, Addrs: []netip.Addr{netip.MustParseAddr("fe80::a")},
}

// TestSpellings: every spelling of every address is found in a text, in every way to escape it, and our own stands there.
func TestSpellings(t *testing.T) {
	arounds := [][2]string{{"", ""}, {"at ", "."}, {"x=", ";y"}, {"sip:a@", ":5060"}, {"1712-", "-77"}, {"<http://", "/a>"}, {"received:", ", x"}, {"(v", ")"}}
	n := 0
	for _, a := range secretAddrs {
		for _, s := range spellings(a) {
			for _, how := range escapeNames {
				n++
				around := arounds[n%len(arounds)]
				if strings.HasPrefix(around[1], ":") && strings.Contains(s, ":") && !strings.HasPrefix(s, "[") {
					continue // one address with that; see TestRuns
				}
				v := around[0] + escapes[how](s) + around[1]
				c := check{g: testGuard(), brought: broughtAddrs, names: true}
				got := inspect(&c, v)
				if c.hits == 0 || c.stuck || oracle.shows(got) || !strings.HasPrefix(got, around[0]) || !strings.HasSuffix(got, around[1]) || !strings.Contains(got, "198.51.100.5") {
					t.Errorf("%s, %s: %q became %q, %d hits", a, how, v, got, c.hits)
				}
			}
			n++ // 12 ways, 8 places: each spelling stands elsewhere in each way
		}
	}
}

// TestSpellingsOfHosts: what only a resolver reads as an address is found where a host stands, and nowhere else.
func TestSpellingsOfHosts(t *testing.T) {
	for _, s := range hostSpellings(secretAddrs[1]) {
		for _, how := range escapeNames {
			for format, leaks := range map[string]bool{
				"<sip:4711@%s>": true, "<sip:4711@%s:5060;lr>": true, "http://%s/a.png": true, "Call %s back": false, "x=%s": false, "<tel:%s>": false,
				"<sip:%s>":   !regexp.MustCompile(`^\d+$`).MatchString(s), // some write numbers so
				"<sip:%s@h>": false, "<sip:4711@pbx.example.org;x=%s>": false,
			} {
				v := fmt.Sprintf(format, escapes[how](s))
				c := check{g: testGuard(), brought: &noSecrets, names: true}
				got := inspect(&c, v)
				if leaks != (c.hits == 1) || !leaks && got != v || leaks && got != fmt.Sprintf(format, "198.51.100.5") {
					t.Errorf("%s: %q became %q, %d hits", how, v, got, c.hits)
				}
			}
		}
	}
}

// TestRuns: what each run of numbers is.
func TestRuns(t *testing.T) {
	const own = "198.51.100.5"
	for v, want := range map[string]string{
		"1.10.0.0.10.5":                  "1." + own + ".5",
		"v1.10.0.0.10":                   "v1." + own,
		"10.0.0.10.":                     own + ".",
		"10.0.0.10...":                   own + "...",
		"1700000000.10.0.0.10":           "1700000000." + own,
		"10.0.0.10.5060":                 own + ".5060",
		"10.0.0.10.10.0.0.10":            own + "." + own,
		"10.0.0.10.0.0.10":               own + ".0.0.10",
		"010.000.000.010":                own,
		"10.0.0.10x":                     own + "x",
		"fd00:10::10.5060":               own + ".5060",
		"1712:fd00:10::10":               "1712:" + own,
		"fd00:10::10:5060":               own + ":5060",
		"x::ffff:a00:a":                  "x" + own,
		":::ffff:a00:a":                  ":" + own,
		"::ffff:10.0.0.10.":              own + ".",
		"[::ffff:a00:a":                  "[" + own,
		"10.0.0.10%31":                   own + "%31", // it is there for whoever does not read the escape
		"%2010.0.0.10":                   "%20" + own,
		"%32%35%35.0.0.10 %31%30.0.0.10": "%32%35%35.0.0.10 " + own,
		// Others.
		"10.0.0.100": "", "110.0.0.10": "", "1.110.0.0.10": "", "10.0.0.10%": own + "%", "10.0..0.10": "", "10.0.0": "", "256.10.0.0": "", "0.10.0.0.100": "",
		"fd00:10::100": "", "2001:db8:fd00:10::10": "", "fd00:10::10:1": "", "[fd00:10::10:5060]": "", "fd00:10::1": "", "::ffff:a00:b0": "", "9b::a00:a": "", "a00:a": "",
		"23:29:00": "", "::": "", "::1": "", "std::string": "", "0.0.0.0": "", "2001:db8::a00:a": "", "2003:a00:a::1": "",
		// Telephone numbers (RFC 3966 §5.1.1).
		"01.10.20.30.40": "", "+49.10.20.30.40": "", "+1.10.20.30.40.1": "", "10.20.30.40": own, "+10.20.30.40": "+" + own, "+10.20.30.40.": "+" + own + ".", "+.10.20.30.40": "+." + own, "+1..10.20.30.40": "+1.." + own, "5.10.20.30.40": "5." + own,
	} {
		if want == "" {
			want = v
		}
		g := NewGuard([2][]netip.Addr{{gateOutside}, {gateInside}}, [2][]string{nat.Inside: {"10.0.0.10", "fd00:10::10", "10.20.30.40"}})
		c := check{g: g, brought: &noSecrets}
		if got := inspect(&c, v); got != want || (got != v) != (c.hits > 0) || c.stuck {
			t.Errorf("%q: %q, want %q, %d hits", v, got, want, c.hits)
		}
		b := check{g: g, brought: &noSecrets}
		if got := inspect(&b, []byte(v)); string(got) != want || b != c {
			t.Errorf("%q as bytes: %q, want %q", v, got, want)
		}
	}
}

// TestRunsOfOurOwn: our address must not make a forbidden one with what stands beside it.
func TestRunsOfOurOwn(t *testing.T) {
	g := NewGuard([2][]netip.Addr{{netip.MustParseAddr("1.2.3.4")}, {gateInside}}, [2][]string{nat.Inside: {"1.1.2.3", "2.3.4.4"}})
	for _, v := range []string{"1.1.2.3.4", "1.2.3.4.4", "1.1.1.2.3.4.4", "%31.1.2.3.4"} {
		c := check{g: g, brought: &noSecrets}
		if got := inspect(&c, v); strings.Contains(got, "1.1.2.3") || strings.Contains(got, "2.3.4.4") || c.stuck {
			t.Errorf("%q became %q", v, got)
		}
	}
}

// TestHextet holds the reader of IPv6 addresses against netip: it reads the same, and the longest.
func TestHextet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.StringMatching(`[0-9a-fA-F:.]{0,6}(:{0,2}[0-9a-f]{1,4}){0,9}(:{0,2}[0-9.]{0,9}){0,2}`).Draw(t, "v")
		a, end := hextet(v, 0)
		var want netip.Addr
		longest := 0
		for to := range len(v) + 1 {
			if to < len(v) && (hexByte(v[to]) || v[:to] == "::" && v[to] == ':') {
				continue
			}
			if x, err := netip.ParseAddr(v[:to]); err == nil && x.Is6() {
				want, longest = x, to
			}
		}
		if end != longest || longest > 0 && a != want {
			if dotted := strings.Contains(v[:end], "."); dotted && longest < end {
				return // zeros in front of a number, which netip refuses
			}
			t.Fatalf("%q: %v up to %d, want %v up to %d", v, a, end, want, longest)
		}
	})
}

// wherever are the places of a message that another side's text gets to; a body is one that a program reads.
var wherever = map[string]func(m *message.Message, s string){
	"display name":    func(m *message.Message, s string) { m.From.Display = `"` + s + `"` },
	"user":            func(m *message.Message, s string) { m.To.URI.User = s },
	"URI parameter":   func(m *message.Message, s string) { m.URI.Params = ";x=" + s },
	"URI header":      func(m *message.Message, s string) { m.To.URI.Headers = "?x=" + s },
	"parameter":       func(m *message.Message, s string) { m.From.Params = ";x=" + s },
	"Via parameter":   func(m *message.Message, s string) { m.Via[0].Params = ";x=" + s },
	"Subject":         func(m *message.Message, s string) { m.Add("Subject", "at "+s) },
	"Reason":          func(m *message.Message, s string) { m.Add("Reason", `SIP;cause=200;text="by `+s+`"`) },
	"Warning":         func(m *message.Message, s string) { m.Add("Warning", `399 x "by `+s+`"`) },
	"Call-Info":       func(m *message.Message, s string) { m.Add("Call-Info", "<http://h/?u="+s+">;purpose=icon") },
	"Geolocation":     func(m *message.Message, s string) { m.Add("Geolocation", "<https://"+s+"/1>") },
	"Refer-To":        func(m *message.Message, s string) { m.Add("Refer-To", "<sip:1@h?Referred-By=sip%3a1%40"+s+">") },
	"Event":           func(m *message.Message, s string) { m.Add("Event", "dialog;x="+s) },
	"extension":       func(m *message.Message, s string) { m.Add("X-Node", s) },
	"reason phrase":   func(m *message.Message, s string) { answerTo(m).Reason = "No (" + s + ")" },
	"type of a body":  func(m *message.Message, s string) { typed(m, `application/x;URL="http://`+s+`/a"`, "x") },
	"status document": func(m *message.Message, s string) { typed(m, "application/pidf+xml", "<a>"+s+"</a>") },
	"summary": func(m *message.Message, s string) {
		typed(m, "application/simple-message-summary", "Voice-Message: 1/0 ("+s+")\r\n")
	},
	"fragment":              func(m *message.Message, s string) { typed(m, "message/sipfrag;version=2.0", "SIP/2.0 200 "+s+"\r\n") },
	"report":                func(m *message.Message, s string) { typed(m, "application/vq-rtcpxr", "LocalAddr: IP="+s+"\r\n") },
	"JSON":                  func(m *message.Message, s string) { typed(m, "application/x+json", `{"a":"`+s+`"}`) },
	"SDP, an attribute":     func(m *message.Message, s string) { describe(m, "a=fmtp:97 x="+s) },
	"SDP, a session's name": func(m *message.Message, s string) { describe(m, "s="+s) },
	"SDP, a link":           func(m *message.Message, s string) { describe(m, "u=http://"+s+"/") },
	"a part's field": func(m *message.Message, s string) {
		typed(m, "multipart/mixed;boundary=b", "--b\r\nContent-Type: text/plain\r\nContent-ID: <x@"+s+">\r\n\r\nx\r\n--b--\r\n")
	},
}

func typed(m *message.Message, kind, body string) {
	m.Add("Content-Type", kind)
	m.Body = []byte(body)
}

// TestNoSpellingSurvives: whatever of the list stands at whatever place, escaped in whatever way, nobody reads it behind the guard.
func TestNoSpellingSurvives(t *testing.T) {
	var names []string
	for name := range wherever {
		names = append(names, name)
	}
	slices.Sort(names)
	g := testGuard()
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.SampledFrom(secretAddrs).Draw(t, "address")
		s := rapid.SampledFrom(spellings(a)).Draw(t, "spelling")
		s = escapes[rapid.SampledFrom(escapeNames).Draw(t, "escape")](s)
		s = rapid.SampledFrom([]string{"", "x", "9-", "(", "id:"}).Draw(t, "before") + s + rapid.SampledFrom([]string{"", ".", "-x", ")", "%20x"}).Draw(t, "behind")
		place := rapid.SampledFrom(names).Draw(t, "place")
		m := clean(nat.Outside)
		wherever[place](m, s)
		hits, ok := g.Check(nat.Outside, m, broughtAddrs)
		raw := string(mustWrite(t, m))
		if hits == 0 || !ok || oracle.shows(raw) {
			t.Fatalf("%s in %s: %d hits, ok %v\n%s", s, place, hits, ok, raw)
		}
		if hits, ok := g.Check(nat.Outside, m, broughtAddrs); hits != 0 || !ok {
			t.Fatalf("%s in %s: %d hits in a second look\n%s", s, place, hits, m)
		}
		m = clean(nat.Outside)
		wherever[place](m, strings.NewReplacer("0", "3", "a", "b").Replace(s))
		before := string(mustWrite(t, m))
		if hits, _ := g.Check(nat.Outside, m, broughtAddrs); (hits != 0) != oracle.shows(before) || hits == 0 && string(mustWrite(t, m)) != before {
			t.Fatalf("%d hits in what shows nothing: %s\n%s", hits, before, m)
		}
	})
}

func mustWrite(t *rapid.T, m *message.Message) []byte {
	b, err := m.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestNothingFoundCostsNothing: escaped characters or not, in fields and bodies.
func TestNothingFoundCostsNothing(t *testing.T) {
	c := check{g: testGuard(), brought: broughtAddrs, names: true}
	for _, v := range []string{
		"<sip:%2B49-30-123@198.51.100.5:5080;user=phone>;x=%20", `"\"A\" 01.23.45.67.89 at 10:20:30" <sip:1@[2001:db8::5]:5060>`,
		"a=fingerprint:sha-256 " + strings.Repeat("0A:10:", 15) + "0A:10", "<http://h/?a=1&b=2&amp;c=%2531%252E2>", strings.Repeat("a%20b.", 50),
		"1.2.3.4.5.6.7.8 ::ffff:1.2.3.4 64:ff9b::1 12345::1 1::2::3 2002:a00:c::",
	} {
		b := []byte(v)
		if n := testing.AllocsPerRun(100, func() {
			inspect(&c, v)
			inspect(&c, b)
		}); n != 0 || c.hits != 0 {
			t.Errorf("%q: %v allocations, %d hits", v, n, c.hits)
		}
	}
}
