package header

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sallyport/sbc/message"
)

func TestDialogRef(t *testing.T) {
	for _, tt := range []struct {
		field, in, want string // want empty: it names no dialog
	}{
		{"Replaces", "98732@sip.example.com;from-tag=r33th4x0r;to-tag=ff87ff", "98732@sip.example.com;to-tag=ff87ff;from-tag=r33th4x0r"},
		{"Replaces", "a ; to-tag = 1;from-tag=2 ;early-only", "a;to-tag=1;from-tag=2;early-only"},
		{"Replaces", "a;TO-TAG=1;From-Tag=2;x=y", "a;to-tag=1;from-tag=2;x=y"},
		{"Replaces", "a;to-tag=0;from-tag=2", "a;to-tag=0;from-tag=2"},
		{"Join", "a;to-tag=1;from-tag=2", "a;to-tag=1;from-tag=2"},
		{"Target-Dialog", "a;local-tag=1;remote-tag=2", "a;local-tag=1;remote-tag=2"},
		{"Target-Dialog", "a;to-tag=1;from-tag=2", ""},
		{"Replaces", "a;local-tag=1;remote-tag=2", ""},
		{"Replaces", "a;to-tag=1", ""},
		{"Replaces", "a;to-tag=1;to-tag=1;from-tag=2", ""},
		{"Replaces", "a;to-tag=;from-tag=2", ""},
		{"Replaces", ";to-tag=1;from-tag=2", ""},
		{"Replaces", "a;to-tag=1;from-tag=2, b;to-tag=1;from-tag=2", ""},
		{"Replaces", "a b;to-tag=1;from-tag=2", ""},
		{"Replaces", "a;to-tag=1;from-tag=2;", ""},
		{"Replaces", `a;to-tag=1;from-tag=2;x="y"`, ""},
		{"Replaces", "", ""},
	} {
		d, err := ParseDialogRef(tt.field, tt.in)
		if got := d.String(); (err == nil) != (tt.want != "") || err == nil && got != tt.want {
			t.Errorf("%s: %s became %s, %v", tt.field, tt.in, got, err)
		}
		if d.Early() != strings.Contains(tt.want, "early-only") && err == nil {
			t.Errorf("%s: early %v", tt.in, d.Early())
		}
	}
}

func referTo(values ...string) *message.Message {
	m := &message.Message{Method: "REFER"}
	for _, v := range values {
		m.Add("Refer-To", v)
	}
	return m
}

func TestRefer(t *testing.T) {
	swap := func(d DialogRef) (DialogRef, bool) {
		d.CallID = "far-" + d.CallID
		return d, d.CallID != "far-unknown"
	}
	for _, tt := range []struct {
		in, want string // want empty: it cannot be read, or does not pass
	}{
		{"<sip:204@10.0.0.10>", "<sip:204@gate:5080>"},
		{"sip:204@10.0.0.10;x=y", "<sip:204@gate:5080>"},
		{`"Bob" <sips:204@pbx.local;transport=tls;user=phone>;q=1`, `"Bob" <sip:204@gate:5080;user=phone>`},
		{"<tel:+4930;phone-context=+49>", "<sip:+4930;phone-context=+49@gate:5080;user=phone>"},
		{"<sip:204@h?Replaces=a%40h%3Bto-tag%3D1%3Bfrom-tag%3D2>", "<sip:204@gate:5080?Replaces=far-a%40h%3Bto-tag%3D1%3Bfrom-tag%3D2>"},
		{"<sip:204@h?replaces=a;to-tag=1;from-tag=2&Require=replaces,100rel>", "<sip:204@gate:5080?Replaces=far-a%3Bto-tag%3D1%3Bfrom-tag%3D2&Require=replaces>"},
		{"<sip:204@h?Join=a%3Bto-tag%3D1%3Bfrom-tag%3D2%3Bearly-only>", "<sip:204@gate:5080?Join=far-a%3Bto-tag%3D1%3Bfrom-tag%3D2%3Bearly-only>"},
		{"<sip:204@h?Target-Dialog=a%3Blocal-tag%3D1%3Bremote-tag%3D2>", "<sip:204@gate:5080?Target-Dialog=far-a%3Blocal-tag%3D1%3Bremote-tag%3D2>"},
		{"<sip:204@h?Subject=a%20b&Via=10.0.0.10&Contact=%3Csip%3Ax@10.0.0.10%3E&body=x>", "<sip:204@gate:5080?Subject=a%20b>"},
		{"<sip:204@h?Accept-Contact=*;mobility=%22fixed%22>", "<sip:204@gate:5080?Accept-Contact=*%3Bmobility%3D%22fixed%22>"},
		{"<sip:204@h?Replaces=unknown%3Bto-tag%3D1%3Bfrom-tag%3D2>", ""},
		{"<sip:204@h?Replaces=nonsense>", ""},
		{"<sip:204@h?Subject=a%0D%0AVia%3A%20x>", ""},
		{"<sip:204@h?Subject=%4>", ""},
		{"<sip:204@h?%20=x>", ""},
		{"<sip:204@h?" + strings.Repeat("Subject=x&", referFieldsMost) + "Subject=x>", ""},
		{"<sip:204@h>, <sip:205@h>", ""},
		{"<sip:>", ""},
	} {
		got := ""
		if r, err := ParseRefer(referTo(tt.in)); err == nil {
			if n, ok := r.Rehosted("gate:5080", swap); ok {
				got = n.String()
			}
		}
		if got != tt.want {
			t.Errorf("%s\nbecame %s\nwant   %s", tt.in, got, tt.want)
		}
	}
	for _, m := range []*message.Message{referTo(), referTo("<sip:a@b>", "<sip:a@b>")} {
		if _, err := ParseRefer(m); err == nil {
			t.Errorf("%d Refer-To are taken", len(m.Headers))
		}
	}
	if r, err := ParseRefer(referTo("<sip:a@b;method=BYE>")); err != nil || r.Method != "BYE" {
		t.Errorf("method %s, %v", r.Method, err)
	}
}

// TestEscapes: what a value was before it was escaped it is again afterwards, and it stands in a URI that can be read.
func TestEscapes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringMatching(`[ -~]{0,40}`).Draw(t, "value")
		e := string(escape(nil, s))
		if back, ok := unescape(e); !ok || back != s {
			t.Fatalf("%q, %q, %q", s, e, back)
		}
		if e != "" {
			if _, err := message.ParseURI("sip:a@b?Subject=" + e); err != nil {
				t.Fatalf("%q: %v", e, err)
			}
		}
	})
}

func FuzzRefer(f *testing.F) {
	f.Add("<sip:204@10.0.0.10?Replaces=a%40h%3Bto-tag%3D1%3Bfrom-tag%3D2&Require=replaces>;q=1")
	f.Add(`"B, ob" <sips:b@[2001:db8::1]:5061;method=X?a=b>`)
	f.Add("<tel:+49;x=y>")
	f.Add("<sip:a@b?Subject=%0d%0a>")
	f.Fuzz(func(t *testing.T, value string) {
		r, err := ParseRefer(referTo(value))
		if err != nil {
			return
		}
		for _, field := range r.Fields {
			if strings.ContainsAny(field.Value, "\r\n\x00") {
				t.Errorf("%q holds the end of a line", field.Value)
			}
		}
		n, ok := r.Rehosted("gate:5080", func(d DialogRef) (DialogRef, bool) { return d, true })
		if !ok {
			return
		}
		again, err := ParseRefer(referTo(n.String()))
		if err != nil {
			t.Fatalf("%q became %s: %v", value, n, err)
		}
		if m, ok := again.Rehosted("gate:5080", func(d DialogRef) (DialogRef, bool) { return d, true }); !ok || m.String() != n.String() {
			t.Errorf("%s became %s", n, m)
		}
	})
}
