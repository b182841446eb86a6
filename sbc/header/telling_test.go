package header

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sallyport/media/sdp"
	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// mirror tells every id backwards.
func mirror(s string) string {
	b := []byte(s)
	for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
		b[i], b[j] = b[j], b[i]
	}
	return string(b)
}

func telling() Telling {
	return Telling{
		Hosts: Hosts{To: "example.com", User: func(u string) (string, bool) { return "204", u == "tok" }},
		Dialog: func(d tu.DialogID) tu.DialogID {
			return tu.DialogID{CallID: mirror(d.CallID), Local: mirror(d.Local), Remote: mirror(d.Remote)}
		},
		Name: func(id string) string { return "x" + mirror(id) },
	}
}

const dialogKind = "application/dialog-info+xml"

func TestDialogInfo(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"nothing to change", `<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info"  version="0" state="full" entity="sip:205@example.com" ><dialog id="1"><state >early</state ></dialog></dialog-info>`, ""},
		{"prefix, single quotes, blanks", "<?xml version='1.0'?><d:dialog-info xmlns:d='urn:x'\n entity = 'sip:205@10.0.0.10' ><d:dialog id='1'  call-id = \"ab\" local-tag='cd'/></d:dialog-info>",
			"<?xml version='1.0'?><d:dialog-info xmlns:d='urn:x'\n entity = 'sip:205@example.com' ><d:dialog id='1'  call-id = \"ba\" local-tag='dc'/></d:dialog-info>"},
		{"entities", `<dialog-info entity="sip:a&amp;b@10.0.0.10"><dialog id="1" call-id="a&lt;&quot;&#65;b"/></dialog-info>`,
			`<dialog-info entity="sip:a&amp;b@example.com"><dialog id="1" call-id="bA&quot;&lt;a"/></dialog-info>`},
		{"another encoding", "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><dialog-info entity=\"sip:1@10.0.0.10\"><dialog id=\"1\"><local><identity display=\"M\xfcller\">sip:1@10.0.0.10</identity></local></dialog></dialog-info>",
			"<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><dialog-info entity=\"sip:1@example.com\"><dialog id=\"1\"><local><identity display=\"M\xfcller\">sip:1@example.com</identity></local></dialog></dialog-info>"},
		{"UTF-8", `<dialog-info entity="sip:1@10.0.0.10"><dialog id="1"><local><identity display="Łódź">sip:1@10.0.0.10</identity></local></dialog></dialog-info>`,
			`<dialog-info entity="sip:1@example.com"><dialog id="1"><local><identity display="Łódź">sip:1@example.com</identity></local></dialog></dialog-info>`},
		{"a comment and CDATA stay", `<dialog-info entity="sip:1@example.com"><!-- <dialog call-id="ab"/> --><note><![CDATA[<dialog call-id="ab"/>]]></note></dialog-info>`, ""},
		{"a URI in pieces", `<dialog-info entity="sip:1@example.com"><dialog id="1"><remote><identity>sip:1@10.0.<!-- -->0.10</identity></remote></dialog></dialog-info>`,
			`<dialog-info entity="sip:1@example.com"><dialog id="1"><remote><identity>sip:anonymous@anonymous.invalid</identity></remote></dialog></dialog-info>`},
		{"other schemes", `<dialog-info entity="tel:+49301;phone-context=10.0.0.10"><dialog id="1"><local><identity>urn:service:sos</identity><target uri="not a URI"/></local></dialog></dialog-info>`,
			`<dialog-info entity="tel:+49301;phone-context=example.com"><dialog id="1"><local><identity>urn:service:sos</identity><target uri="sip:anonymous@anonymous.invalid"/></local></dialog></dialog-info>`},
		{"a token", `<dialog-info entity="sip:tok@10.0.0.2:5060"></dialog-info>`, `<dialog-info entity="sip:204@example.com"></dialog-info>`},
		{"names of entries", `<dialog-info entity="sip:1@example.com"><dialog id="abcdef-1" call-id="abcdef"/><dialog id="a-10.0.0.10." call-id="b"/><dialog id="a::1" call-id="b"/><dialog id="b:1" call-id="b"/><dialog id="1.2.3" call-id="b"/></dialog-info>`,
			`<dialog-info entity="sip:1@example.com"><dialog id="x1-fedcba" call-id="fedcba"/><dialog id="x.01.0.0.01-a" call-id="b"/><dialog id="x1::a" call-id="b"/><dialog id="b:1" call-id="b"/><dialog id="1.2.3" call-id="b"/></dialog-info>`},
		{"the same names elsewhere", `<dialog-info entity="sip:1@example.com"><x><dialog call-id="ab"/><target uri="sip:1@10.0.0.10"/></x></dialog-info>`, ""},
		{"descriptions", `<dialog-info entity="sip:1@example.com"><dialog id="1"><local><session-description type="application/sdp"><a>v=0</a> c=10.0.0.10</session-description></local><remote><session-description type="x"/></remote></dialog></dialog-info>`,
			`<dialog-info entity="sip:1@example.com"><dialog id="1"><local><session-description type="application/sdp"></session-description></local><remote><session-description type="x"/></remote></dialog></dialog-info>`},
	} {
		tell := telling()
		want := c.want
		if want == "" {
			want = c.in
		}
		if got, ok := tell.Body(dialogKind+";charset=utf-8", []byte(c.in)); !ok || string(got) != want {
			t.Errorf("%s: %v\n got %s\nwant %s", c.name, ok, got, want)
		}
	}
}

func TestUnreadableDocuments(t *testing.T) {
	deep := strings.Repeat("<a>", depthMax+1) + strings.Repeat("</a>", depthMax+1)
	for name, in := range map[string]string{
		"no document": "hello", "nothing": " ", "no end": "<dialog-info>", "another end": "<a:x></b:x>", "two roots": "<x/><x/>",
		"an end alone": "<x/></x>", "a type": `<!DOCTYPE dialog-info><dialog-info/>`, "an entity": `<x a="&y;"/>`, "bare": `<x a=1/>`,
		"twice": `<dialog-info entity="sip:1@10.0.0.10" entity="sip:2@10.0.0.10"/>`, "deep": deep, "a control character": "<x>\x01</x>",
		"wide characters": "\xff\xfe<\x00x\x00/\x00>\x00", "large": "<x>" + strings.Repeat(" ", documentMax) + "</x>",
		"more attributes than can be compared": "<dialog-info" + attributes(attrsMax+1) + "/>",
	} {
		tell := telling()
		if out, ok := tell.Body(dialogKind, []byte(in)); ok {
			t.Errorf("%s passes as %.60s", name, out)
		}
		if out, ok := tell.Body("application/x", []byte(in)); !ok || string(out) != in {
			t.Errorf("%s of no type that is known is changed", name)
		}
	}
}

// attributes are n of them, no two alike.
func attributes(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(" a" + strconv.Itoa(i) + `=""`)
	}
	return b.String()
}

// TestManyAttributes: each is compared with those before it, so that there can only be so many.
func TestManyAttributes(t *testing.T) {
	tell := telling()
	in := "<dialog-info" + attributes(attrsMax) + "/>"
	if out, ok := tell.Body(dialogKind, []byte(in)); !ok || string(out) != in {
		t.Errorf("%v, %s", ok, out)
	}
}

// TestDocumentsOfAnyShape: what comes out is the same document but for the values that must change, whatever stands around them.
func TestDocumentsOfAnyShape(t *testing.T) {
	blank := rapid.SampledFrom([]string{" ", "\n\t", "  ", "\r\n"})
	junk := rapid.SampledFrom([]string{"", " ", "<!-- c -->", "text", "<x y='z'/>", "<![CDATA[<a>]]>", "&amp;", "<?p i?>", "ü"})
	rapid.Check(t, func(t *rapid.T) {
		ids := rapid.StringMatching(`[a-zA-Z0-9.%*_+~-]{1,12}`)
		var in, want strings.Builder
		both := func(s string) { in.WriteString(s); want.WriteString(s) }
		value := func(name, a, b string) {
			q := rapid.SampledFrom([]string{`"`, `'`}).Draw(t, "quote")
			both(blank.Draw(t, "blank") + name + "=" + q)
			in.WriteString(a)
			want.WriteString(b)
			both(q)
		}
		both("<dialog-info")
		value("version", "7", "7")
		value("entity", "sip:205@10.0.0.10;transport=tcp", "sip:205@example.com")
		both(">")
		for range rapid.IntRange(0, 4).Draw(t, "dialogs") {
			both(junk.Draw(t, "junk") + "<dialog")
			value("id", "1", "1")
			c, l := ids.Draw(t, "call"), ids.Draw(t, "tag")
			value("call-id", c, mirror(c))
			value("local-tag", l, mirror(l))
			both(">" + junk.Draw(t, "junk") + "<state>early</state>" + junk.Draw(t, "junk") + "<remote><target")
			value("uri", "sip:tok@10.0.0.2", "sip:204@example.com")
			both("/></remote></dialog>")
		}
		both(junk.Draw(t, "junk") + "</dialog-info>")
		tell := telling()
		if got, ok := tell.Body(dialogKind, []byte(in.String())); !ok || string(got) != want.String() {
			t.Fatalf("%v\n got %s\nwant %s", ok, got, want.String())
		}
	})
}

func TestSummary(t *testing.T) {
	tell := telling()
	for in, want := range map[string]string{
		"Messages-Waiting: no\r\n": "",
		"Message-Account: sip:204@example.com\r\nVoice-Message: 1/2\r\n\r\nTo: sip:x@10.0.0.10\r\n": "",
		"message-account:sip:204@10.0.0.10:5060\n":                                                  "message-account:sip:204@example.com\n",
		"Message-Account: <sip:tok@10.0.0.2>;x=y":                                                   "Message-Account: <sip:204@example.com>;x=y",
		"Message-Account: \"V\" <sip:*97@10.0.0.10;user=phone>\r\n":                                 "Message-Account: \"V\" <sip:*97@example.com;user=phone>\r\n",
		"Message-Account:\r\n":           "",
		"Message-Account: 10.0.0.10\r\n": "Message-Account: sip:anonymous@anonymous.invalid\r\n",
	} {
		if want == "" {
			want = in
		}
		if got, ok := tell.Body("Application/Simple-Message-Summary", []byte(in)); !ok || string(got) != want {
			t.Errorf("%q becomes %q, %v", in, got, ok)
		}
	}
}

func TestFragments(t *testing.T) {
	tell := telling()
	for in, want := range map[string]string{
		"SIP/2.0 100 Trying": "SIP/2.0 100 Trying", "SIP/2.0 200 OK\r\n": "SIP/2.0 200 OK\r\n", "SIP/2.0 200 OK\n": "SIP/2.0 200 OK\r\n",
		"SIP/2.0 486 Busy\r\nVia: SIP/2.0/UDP 10.0.0.10\r\n\r\n": "SIP/2.0 486 Busy\r\n", "INVITE sip:1@10.0.0.10 SIP/2.0\r\n": "", "To: x\r\n": "",
	} {
		if got, ok := tell.Body("message/sipfrag;version=2.0", []byte(in)); ok != (want != "") || ok && string(got) != want {
			t.Errorf("%q becomes %q, %v", in, got, ok)
		}
	}
}

const parts = "--b\r\nContent-Type: application/rlmi+xml\r\nContent-ID: <1@10.0.0.10>\r\n\r\n<list uri=\"sip:l@10.0.0.10\"><resource uri='sip:205@10.0.0.10'><instance cid=\"2@10.0.0.10\"/></resource></list>\r\n" +
	"--b\r\nContent-ID: <2@10.0.0.10>\r\nContent-Length:  57 \r\nContent-Type: application/dialog-info+xml\r\n\r\n<dialog-info entity=\"sip:205@10.0.0.10\"/>\r\n--b\r\n\r\nsip:x@10.0.0.10\r\n--b--\r\n"

func TestLists(t *testing.T) {
	tell := telling()
	kind := `multipart/related;type="application/rlmi+xml";start="<1@10.0.0.10>";boundary=b`
	got, ok := tell.Body(kind, []byte(parts))
	want := strings.NewReplacer("sip:l@10.0.0.10", "sip:l@example.com", "sip:205@10.0.0.10", "sip:205@example.com", " 57 ", " 43 ").Replace(parts)
	if !ok || string(got) != want {
		t.Fatalf("%v\n got %s\nwant %s", ok, got, want)
	}
	if _, ok := tell.Body(kind, []byte(strings.Replace(parts, "<dialog-info ", "<", 1))); ok {
		t.Error("a list with a part that cannot be read passes")
	}
	// The guard repairs what names the parts, alike wherever they are named.
	g := NewGuard([2][]netip.Addr{{netip.MustParseAddr("203.0.113.10")}, {netip.MustParseAddr("10.0.0.2")}}, [2][]string{nil, {"10.0.0.10"}}, "example.com")
	m := &message.Message{Method: "NOTIFY", CallID: "x", Body: got}
	m.Add("Content-Type", kind)
	if hits, whole := g.Check(nat.Outside, m, nil); !whole || hits == 0 {
		t.Errorf("%d hits, %v", hits, whole)
	}
	want = strings.ReplaceAll(strings.Replace(want, "sip:x@10.0.0.10", "sip:x@TEXT", 1), "10.0.0.10", "203.0.113.10")
	if want = strings.Replace(want, "TEXT", "10.0.0.10", 1); string(m.Body) != want {
		t.Errorf("the guard makes\n%s\nof it, want\n%s", m.Body, want)
	}
	if v, _ := m.Get("Content-Type"); v != strings.ReplaceAll(kind, "10.0.0.10", "203.0.113.10") {
		t.Errorf("the list begins with %s", v)
	}
}

// TestGuardLooksAtDocuments: states that programs read, not texts that people wrote; and a length stays true.
func TestGuardLooksAtDocuments(t *testing.T) {
	g := NewGuard([2][]netip.Addr{{netip.MustParseAddr("203.0.113.10")}, {netip.MustParseAddr("10.0.0.2")}}, [2][]string{nil, {"10.0.0.10", "node.inside"}}, "example.com")
	for _, c := range []struct{ kind, in, want string }{
		{"application/reginfo+xml", `<contact><uri>sip:tok@10.0.0.2:5060</uri></contact>`, `<contact><uri>sip:tok@203.0.113.10:5060</uri></contact>`},
		{"application/pidf+xml;charset=x", `<presence entity="pres:205@node.inside"/>`, `<presence entity="pres:205@203.0.113.10"/>`},
		{"Application/Simple-Message-Summary", "Message-Account: sip:1@10.0.0.10\r\n", "Message-Account: sip:1@203.0.113.10\r\n"},
		{"text/plain", "call 10.0.0.10", "call 10.0.0.10"},
		{"application/x", "10.0.0.10", "10.0.0.10"},
		{"", "10.0.0.10", "10.0.0.10"},
		{"multipart/mixed;boundary=b", "--b\r\nContent-Type: text/x\r\n\r\n10.0.0.10\r\n--b\r\nContent-Type: application/pidf+xml\r\nContent-Length: 17\r\n\r\n<a b='10.0.0.10'>\r\n--b--",
			"--b\r\nContent-Type: text/x\r\n\r\n10.0.0.10\r\n--b\r\nContent-Type: application/pidf+xml\r\nContent-Length: 20\r\n\r\n<a b='203.0.113.10'>\r\n--b--"},
	} {
		m := &message.Message{Method: "NOTIFY", CallID: "x", Body: []byte(c.in)}
		m.Add("Content-Type", c.kind)
		hits, whole := g.Check(nat.Outside, m, nil)
		if string(m.Body) != c.want || !whole || (hits > 0) != (c.in != c.want) {
			t.Errorf("%s: %d hits, %v\n%s", c.kind, hits, whole, m.Body)
		}
	}
}

func TestTellingOf(t *testing.T) {
	phone := &tu.Peer{Kind: tu.KindPhone, Side: nat.Outside, Name: "204@example.com"}
	pbx := &tu.Peer{Kind: tu.KindNode, Side: nat.Inside}
	ties := hiding{tu.NewVeils(tu.NewNameKey([16]byte{1}))}
	d := tu.DialogID{CallID: "c", Local: "l", Remote: "r"}
	out, in := TellingOf(ties, pbx, phone, Hosts{}), TellingOf(ties, phone, pbx, Hosts{})
	shown := out.Dialog(d)
	if shown == d || in.Dialog(shown) != d || out.Name("x") == "x" || in.Name != nil {
		t.Errorf("%v is shown as %v", d, shown)
	}
	for _, none := range []Telling{TellingOf(nil, pbx, phone, Hosts{}), TellingOf(ties, nil, phone, Hosts{}), TellingOf(ties, pbx, pbx, Hosts{})} {
		if none.Dialog != nil {
			t.Error("ids change where nobody knows them, or nobody hides them")
		}
	}
}

// hiding knows no call.
type hiding struct{ *tu.Veils }

func (hiding) Counterpart(nat.Side, tu.DialogID) (d tu.DialogID, ok bool) { return d, false }
func (hiding) Phone(tu.DialogID) string                                   { return "" }

func TestWord(t *testing.T) {
	for in, want := range map[string]string{"application/x+xml;a=b": "application/x+xml", "a b": "body of its type", "": "body of its type", strings.Repeat("x", 70): "body of its type"} {
		if got := Word(in); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}

// FuzzTelling: no body of a peer breaks anything; what passes is as well-formed as it was, and has no host of the sender's where
// the receiver is to be named.
func FuzzTelling(f *testing.F) {
	f.Add(dialogKind, []byte(`<?xml version="1.0"?><dialog-info entity="sip:1@10.0.0.10"><dialog id="x" call-id='a&amp;b' local-tag="c"><local><identity>sip:1@10.0.0.10</identity></local></dialog></dialog-info>`))
	f.Add("multipart/related;boundary=b", []byte(parts))
	f.Add("application/simple-message-summary", []byte("Message-Account: <sip:1@10.0.0.10>\r\n"))
	f.Add("message/sipfrag", []byte("SIP/2.0 200 OK\r\nX: y"))
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		tell := telling()
		was := bytes.Clone(body)
		out, ok := tell.Body(kind, body)
		if !bytes.Equal(body, was) {
			t.Fatal("the message that came is changed")
		}
		if !ok {
			return
		}
		if again, ok := tell.Body(kind, out); !ok && len(out) > 0 {
			t.Fatalf("what was passed cannot be read: %q %q", out, again)
		}
		n := 0
		for range sdp.Leaves(kind, body, partsMost) {
			n++
		}
		for p := range sdp.Leaves(kind, out, partsMost) {
			n--
			if strings.EqualFold(p.Media(), dialogKind) && p.Start < p.End {
				wellFormed(t, out[p.Start:p.End])
			}
		}
		if n != 0 {
			t.Fatalf("parts were lost in %q", out)
		}
	})
}

func wellFormed(t *testing.T, doc []byte) {
	d := xml.NewDecoder(bytes.NewReader(ascii(doc)))
	d.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil }
	for {
		if _, err := d.RawToken(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("%v in %q", err, doc)
		}
	}
}
