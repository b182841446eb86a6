package scan

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const invite = "INVITE sip:+15551234567@198.51.100.5:5080 SIP/2.0\r\n" +
	"Via: SIP/2.0/UDP 203.0.113.20:5060;branch=z9hG4bK776asdhds;rport\r\n" +
	"Via: SIP/2.0/UDP 203.0.113.99;branch=z9hG4bKsecond\r\n" +
	"Max-Forwards: 69\r\n" +
	"From: \"Alice; tag=no\" <sip:+15557654321@203.0.113.20;tag=no>;tag=1928301774\r\n" +
	"To: <sip:+15551234567@198.51.100.5>\r\n" +
	"Call-ID: a84b4c76e66710@203.0.113.20\r\n" +
	"CSeq: 314159 INVITE\r\n" +
	"User-Agent: Provider SBC 7.2\r\n" +
	"Proxy-Authorization: Digest username=\"a\", realm=\"b, nonce=c\", cnonce=\"x\", nonce=\"84a4cc6f\", uri=\"sip:x\"\r\n" +
	"Content-Type: text/plain\r\n" +
	"Content-Length: 5\r\n" +
	"\r\n" +
	"helloPADDING"

// found is a View in words.
func found(v *View) map[string]string {
	m := map[string]string{
		"method": string(v.Bytes(v.Method)), "uri": string(v.Bytes(v.RequestURI)), "version": string(v.Bytes(v.Version)),
		"phrase": string(v.Bytes(v.Phrase)), "via": string(v.Bytes(v.Via)), "branch": string(v.Bytes(v.Branch)),
		"sentby": string(v.Bytes(v.SentBy)), "callid": string(v.Bytes(v.CallID)), "from": string(v.Bytes(v.From)),
		"fromtag": string(v.Bytes(v.FromTag)), "to": string(v.Bytes(v.To)), "totag": string(v.Bytes(v.ToTag)),
		"cseqmethod": string(v.Bytes(v.CSeqMethod)), "body": string(v.Bytes(v.Body)),
		"numbers": fmt.Sprint(v.Status, v.CSeq, v.MaxForwards, v.ContentLength, v.ContentLengths, v.Vias, v.Headers),
	}
	for i := range min(v.Agents, MaxAgents) {
		m["agent"] += "[" + string(v.Bytes(v.UserAgents[i])) + "]"
	}
	for i := range min(v.Answers, MaxNonces) {
		m["nonce"] += "[" + string(v.Bytes(v.Nonces[i])) + "]"
	}
	return m
}

func TestScanFinds(t *testing.T) {
	tests := []struct {
		name, data string
		want       map[string]string
	}{
		{"request", invite, map[string]string{
			"method": "INVITE", "uri": "sip:+15551234567@198.51.100.5:5080", "version": "SIP/2.0",
			"via": "SIP/2.0/UDP 203.0.113.20:5060;branch=z9hG4bK776asdhds;rport", "branch": "z9hG4bK776asdhds",
			"sentby": "203.0.113.20:5060", "callid": "a84b4c76e66710@203.0.113.20", "fromtag": "1928301774",
			"to": "<sip:+15551234567@198.51.100.5>", "totag": "", "cseqmethod": "INVITE", "nonce": "[84a4cc6f]",
			"agent": "[Provider SBC 7.2]", "body": "hello", "numbers": "0 314159 69 5 1 2 11",
		}},
		{"response", "SIP/2.0 183 Session Progress\r\nv: SIP/2.0/TCP [2001:db8::1]:5060 ;branch=z9hG4bK1\r\n" +
			"f: sip:a@b;tag=1\r\nt: sip:c@d;x=\"y;tag=z\";TAG=2\r\ni: id\r\nCSEQ: 7\r\n\tINVITE\r\nserver: PBX\r\n\r\nrest",
			map[string]string{
				"version": "SIP/2.0", "phrase": "Session Progress", "sentby": "[2001:db8::1]:5060", "branch": "z9hG4bK1",
				"fromtag": "1", "totag": "2", "callid": "id", "cseqmethod": "INVITE", "agent": "[PBX]", "body": "rest",
				"numbers": "183 7 -1 -1 0 1 6",
			}},
		{"compact names, any case, space before the colon", "BYE sip:a SIP/2.0\r\nV : SIP / 2.0 / UDP  h : 5060 ; Branch = b , SIP/2.0/UDP i;branch=c\r\n" +
			"F\t: <sip:a@b> ; tag = x\r\nT:<sip:c@d>;tag=y\r\nI:\r\n call\r\nCSeq:1 BYE\r\nL : 0\r\n\r\n",
			map[string]string{
				"method": "BYE", "branch": "b", "sentby": "h : 5060", "fromtag": "x", "totag": "y", "callid": "call",
				"cseqmethod": "BYE", "numbers": "0 1 -1 0 1 1 6",
			}},
		{"line ends before the start line", "\r\n\r\nACK sip:a SIP/2.0\r\nCall-ID: x\r\n\r\n",
			map[string]string{"method": "ACK", "callid": "x", "numbers": "0 0 -1 -1 0 0 1"}},
		{"folded User-Agent, several of them", "OPTIONS sip:a SIP/2.0\r\nUser-Agent: friendly\r\n -scanner\r\nuser-agent:two\r\nUSER-AGENT: 3\r\n" +
			"User-Agent: 4\r\nUser-Agent: 5\r\nServer: not in a request\r\n\r\n",
			map[string]string{"agent": "[friendly\r\n -scanner][two][3][4]", "numbers": "0 0 -1 -1 0 0 6"}},
		{"no phrase", "SIP/2.0 200\r\n\r\n", map[string]string{"phrase": "", "numbers": "200 0 -1 -1 0 0 0"}},
		{"no URI brackets, tag of the URI's look", "BYE sip:a SIP/2.0\r\nFrom: sip:a@b;tag=t\r\nTo: \"q\\\"<x>\" <sip:u@h;tag=inner>;p;tag=outer\r\n\r\n",
			map[string]string{"fromtag": "t", "totag": "outer"}},
		{"open quotation mark hides nothing", "BYE sip:a SIP/2.0\r\nTo: \"open <sip:u@h>;tag=t\r\n\r\n",
			map[string]string{"totag": "", "to": "\"open <sip:u@h>;tag=t"}},
		{"nonce without quotes", "BYE sip:a SIP/2.0\r\nAuthorization: Digest nonce=abc,nonce=def\r\nProxy-Authorization: Digest nonce=2\r\n\r\n",
			map[string]string{"nonce": "[abc][def][2]"}},
		{"the same length twice", "BYE sip:a SIP/2.0\r\nl: 2\r\nContent-Length: 02\r\n\r\nxyz",
			map[string]string{"body": "xy", "numbers": "0 0 -1 2 2 0 2"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var v View
			if err := Scan([]byte(tt.data), &v); err != nil {
				t.Fatal(err)
			}
			got := found(&v)
			for k, want := range tt.want {
				if got[k] != want {
					t.Errorf("%s = %q, want %q", k, got[k], want)
				}
			}
		})
	}
}

// head is a request line.
const head = "BYE sip:a SIP/2.0\r\n"

func many(n int, s string) string { return strings.Repeat(s, n) }

var scanRefusals = []struct {
	name, data string
	want       error
	complete   bool // a short reply is possible
}{
	{"empty", "", ErrNoEnd, false},
	{"no line end", "BYE sip:a SIP/2.0", ErrNoEnd, false},
	{"no header section", head, ErrNoEnd, false},
	{"cut in a CRLF", head + "A: b\r", ErrNoEnd, false},
	{"no empty line", head + "A: b\r\n", ErrNoEnd, false},
	{"cut in a name", head + "A", ErrNoEnd, false},
	{"one word", "hello\r\n\r\n", ErrStartLine, false},
	{"two words", "BYE sip:a\r\n\r\n", ErrStartLine, false},
	{"HTTP", "GET / HTTP/1.1\r\n\r\n", ErrStartLine, false},
	{"two spaces", "BYE  sip:a SIP/2.0\r\n\r\n", ErrStartLine, false},
	{"space at the end", "BYE sip:a SIP/2.0 \r\n\r\n", ErrStartLine, false},
	{"space in the URI", "BYE sip:a ;lr SIP/2.0\r\n\r\n", ErrStartLine, false},
	{"tab in the URI", "BYE sip:a\t SIP/2.0\r\n\r\n", ErrStartLine, false},
	{"space first", " BYE sip:a SIP/2.0\r\n\r\n", ErrStartLine, false},
	{"method no token", "B(E sip:a SIP/2.0\r\n\r\n", ErrStartLine, false},
	{"method too long", many(33, "M") + " sip:a SIP/2.0\r\n\r\n", ErrStartLine, false},
	{"folded start line", head + " x: y\r\n\r\n", ErrHeaderName, false},
	{"bare LF in a value", head + "Subject: a\nX-Evil: 1\r\n\r\n", ErrLineEnd, false},
	{"bare CR in a value", head + "Subject: a\rX: 1\r\n\r\n", ErrLineEnd, false},
	{"bare LF as line end", head + "Subject: a\n\r\n", ErrLineEnd, false},
	{"LF only", "BYE sip:a SIP/2.0\nA: b\n\n", ErrLineEnd, false},
	{"CR CR LF", head + "A: b\r\r\n\r\n", ErrLineEnd, false},
	{"LF in a name", head + "A\nB: b\r\n\r\n", ErrLineEnd, false},
	{"NUL in a value", head + "A: b\x00c\r\n\r\n", ErrControl, false},
	{"NUL in a name", head + "A\x00: b\r\n\r\n", ErrControl, false},
	{"vertical tab in a name", head + "To\x0b: b\r\n\r\n", ErrControl, false},
	{"escape in a value", head + "A: \x1b[2J\r\n\r\n", ErrControl, false},
	{"control in the start line", "BYE sip:\x01 SIP/2.0\r\n\r\n", ErrControl, false},
	{"no colon", head + "Foobar roobar\r\n\r\n", ErrHeaderName, false},
	{"no name", head + ": b\r\n\r\n", ErrHeaderName, false},
	{"name no token", head + "A(b): c\r\n\r\n", ErrHeaderName, false},
	{"name folded", head + "A\r\n : c\r\n\r\n", ErrLineEnd, false},
	{"too many fields", head + many(MaxHeaders+1, "A:b\r\n") + "\r\n", ErrHeaderCount, false},
	{"line too long", head + "A: " + many(MaxLine, "x") + "\r\n\r\n", ErrLineLength, false},
	{"folded line too long", head + "A: b" + many(MaxLine/4+1, "\r\n c") + "\r\n\r\n", ErrLineLength, false},
	{"start line too long", "BYE sip:" + many(MaxLine, "x") + " SIP/2.0\r\n\r\n", ErrLineLength, false},
	{"header section too large", head + many(3, "A: "+many(MaxLine-10, "x")+"\r\n") + "\r\n", ErrTooLarge, false},
	{"larger than a datagram", head + "\r\n" + many(MaxDatagram, "x"), ErrTooLarge, false},

	{"body too large", head + "\r\n" + many(MaxMessage, "x"), ErrTooLarge, true},
	{"too many Via", head + many(MaxVias+1, "v: SIP/2.0/UDP h;branch=b\r\n") + "\r\n", ErrViaCount, true},
	{"status too large", "SIP/2.0 4294967301 x\r\nA: b\r\n\r\n", ErrStatus, true},
	{"status with two digits", "SIP/2.0 20 x\r\n\r\n", ErrStatus, true},
	{"status 700", "SIP/2.0 700 x\r\n\r\n", ErrStatus, true},
	{"status 099", "SIP/2.0 099 x\r\n\r\n", ErrStatus, true},
	{"status no number", "SIP/2.0 2x0 x\r\n\r\n", ErrStatus, true},
	{"negative length", head + "Content-Length: -1\r\n\r\n", ErrContentLength, true},
	{"length no number", head + "Content-Length: 1a\r\n\r\nxx", ErrContentLength, true},
	{"length empty", head + "Content-Length:\r\n\r\n", ErrContentLength, true},
	{"length huge", head + "Content-Length: 4294967296\r\n\r\n", ErrContentLength, true},
	{"lengths differ", head + "l: 1\r\nContent-Length: 2\r\n\r\nxx", ErrContentLength, true},
	{"length beyond the datagram", head + "l: 3\r\n\r\nxx", ErrBodyShort, true},
	{"CSeq too large", head + "CSeq: 2147483648 BYE\r\n\r\n", ErrCSeq, true},
	{"CSeq without a method", head + "CSeq: 1\r\n\r\n", ErrCSeq, true},
	{"CSeq with three parts", head + "CSeq: 1 BYE x\r\n\r\n", ErrCSeq, true},
	{"CSeq negative", head + "CSeq: -1 BYE\r\n\r\n", ErrCSeq, true},
	{"Max-Forwards 256", head + "Max-Forwards: 256\r\n\r\n", ErrMaxForwards, true},
	{"Max-Forwards no number", head + "Max-Forwards: x\r\n\r\n", ErrMaxForwards, true},
	{"the first error counts", head + "Max-Forwards: x\r\nl: x\r\n\r\n", ErrMaxForwards, true},
}

func TestScanRefuses(t *testing.T) {
	for _, tt := range scanRefusals {
		t.Run(tt.name, func(t *testing.T) {
			var v View
			if err := Scan([]byte(tt.data), &v); !errors.Is(err, tt.want) {
				t.Fatalf("error %v, want %v", err, tt.want)
			}
			if v.Complete() != tt.complete {
				t.Errorf("complete = %v", v.Complete())
			}
		})
	}
}

func TestScanLimitsAreInclusive(t *testing.T) {
	for name, data := range map[string]string{
		"fields": head + strings.Repeat("A:b\r\n", MaxHeaders) + "\r\n",
		"vias":   head + strings.Repeat("v: SIP/2.0/UDP h;branch=b\r\n", MaxVias) + "\r\n",
		"line":   head + "A:" + strings.Repeat("x", MaxLine-2) + "\r\n\r\n",
		"method": strings.Repeat("M", MaxMethod) + " sip:a SIP/2.0\r\n\r\n",
		"size":   head + "\r\n" + strings.Repeat("x", MaxMessage-len(head)-2),
		"pad":    head + "l:0\r\n\r\n" + strings.Repeat("x", MaxMessage),
	} {
		var v View
		if err := Scan([]byte(data), &v); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFieldWalksAllFields(t *testing.T) {
	var v View
	if err := Scan([]byte(invite), &v); err != nil {
		t.Fatal(err)
	}
	var names []string
	for at := v.FirstField; ; {
		name, _, next, ok := v.Field(at)
		if !ok {
			break
		}
		names, at = append(names, string(v.Bytes(name))), next
	}
	if len(names) != v.Headers || names[0] != "Via" || names[10] != "Content-Length" {
		t.Errorf("names %q", names)
	}
	var none View
	if _, _, _, ok := none.Field(0); ok {
		t.Error("an empty view has a field")
	}
}

func TestBytesOutOfRange(t *testing.T) {
	v := View{data: []byte("abc")}
	for _, s := range []Span{{}, {2, 1}, {0, 4}} {
		if b := v.Bytes(s); b != nil {
			t.Errorf("%v: %q", s, b)
		}
	}
	if s := (Span{1, 3}); s.Len() != 2 || string(v.Bytes(s)) != "bc" {
		t.Errorf("span %v", s)
	}
}

func TestScanAllocatesNothing(t *testing.T) {
	good, broken := []byte(invite), []byte(strings.Replace(invite, "Max-Forwards: 69", "Max-Forwards: \x00", 1))
	var v View
	if n := testing.AllocsPerRun(100, func() {
		_ = Scan(good, &v)
		_ = Scan(broken, &v)
		_ = Classify(good)
		for at := v.FirstField; ; {
			_, _, next, ok := v.Field(at)
			if !ok {
				break
			}
			at = next
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestControlMatchesNaiveSearch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := rapid.SliceOf(rapid.OneOf(rapid.Byte(), rapid.ByteRange(0x1e, 0x22), rapid.ByteRange(0x9e, 0xa2))).Draw(t, "data")
		at := rapid.IntRange(0, len(data)).Draw(t, "at")
		want := at
		for want < len(data) && data[want] >= ' ' {
			want++
		}
		if got := control(data, at); got != want {
			t.Fatalf("control = %d, want %d", got, want)
		}
	})
}

// TestScanOfAnyHeaders builds messages out of known parts and finds them again.
func TestScanOfAnyHeaders(t *testing.T) {
	lws := rapid.SampledFrom([]string{"", " ", "\t", "\r\n ", "  \r\n\t"})
	token := rapid.StringMatching(`[a-zA-Z0-9.%!*_+~'-]{1,12}`)
	rapid.Check(t, func(t *rapid.T) {
		sp := func() string { return lws.Draw(t, "lws") }
		branch, tag, id := token.Draw(t, "branch"), token.Draw(t, "tag"), token.Draw(t, "id")
		fields := []string{
			"v" + rapid.SampledFrom([]string{"", " ", "\t"}).Draw(t, "before") + ":" + sp() + "SIP" + sp() + "/" + sp() + "2.0" + sp() + "/" + sp() + "UDP " + sp() + "host" +
				sp() + ";x" + sp() + ";" + sp() + "branch" + sp() + "=" + sp() + branch + sp(),
			"From:" + sp() + "\"a\\\";tag=b\"" + sp() + "<sip:u@h;tag=no>" + sp() + ";" + sp() + "tag" + sp() + "=" + sp() + tag + sp(),
			"CALL-id:" + sp() + id + sp(),
			"cSEQ:" + sp() + "12 " + sp() + "BYE" + sp(),
			"X: " + rapid.StringMatching(`[ -~]{0,30}`).Draw(t, "value"),
		}
		fields = rapid.Permutation(fields).Draw(t, "order")
		data := []byte("BYE sip:a SIP/2.0\r\n" + strings.Join(fields, "\r\n") + "\r\n\r\nbody")
		var v View
		if err := Scan(data, &v); err != nil {
			t.Fatalf("%v in %q", err, data)
		}
		got := found(&v)
		for k, want := range map[string]string{"branch": branch, "fromtag": tag, "callid": id, "cseqmethod": "BYE", "sentby": "host", "body": "body"} {
			if got[k] != want {
				t.Fatalf("%s = %q, want %q in %q", k, got[k], want, data)
			}
		}
	})
}

// corpus adds the messages of the torture tests to a fuzz target.
func corpus(f *testing.F) {
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
}

func FuzzScan(f *testing.F) {
	corpus(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		var v, again View
		err := Scan(data, &v)
		if err2 := Scan(data, &again); !errors.Is(err2, err) || v.CallID != again.CallID {
			t.Fatal("two scans differ")
		}
		for _, s := range []Span{v.Method, v.RequestURI, v.Version, v.Phrase, v.Via, v.Branch, v.SentBy, v.CallID, v.From, v.FromTag,
			v.To, v.ToTag, v.CSeqMethod, v.UserAgents[0], v.UserAgents[3], v.Authorization, v.Nonces[0], v.Nonces[MaxNonces-1]} {
			if s.End < s.Start || int(s.End) > len(data) || v.Complete() && s.End > v.HeadEnd {
				t.Fatalf("span %v outside of the header section", s)
			}
		}
		Classify(data)
		if err != nil {
			return
		}
		if v.IsRequest != (v.Status == 0) || int(v.Body.End) > len(data) || v.Headers > MaxHeaders {
			t.Fatalf("view %+v", v)
		}
		n := 0
		for at := v.FirstField; ; n++ {
			_, _, next, ok := v.Field(at)
			if !ok {
				break
			}
			at = next
		}
		if n != v.Headers {
			t.Fatalf("%d fields, counted %d", n, v.Headers)
		}
	})
}

func BenchmarkScan(b *testing.B) {
	data := []byte(invite)
	b.ReportAllocs()
	b.SetBytes(int64(len(data)))
	var v View
	for b.Loop() {
		if err := Scan(data, &v); err != nil {
			b.Fatal(err)
		}
	}
}
