package message

import (
	"reflect"
	"strings"
	"testing"
)

func TestParseNameAddr(t *testing.T) {
	ab := URI{Scheme: "sip", User: "a", Host: "b"}
	abx := URI{Scheme: "sip", User: "a", Host: "b", Params: ";x"}
	tests := []struct {
		in   string
		want NameAddr
		out  string
	}{
		{"sip:a@b", NameAddr{URI: ab}, "<sip:a@b>"},
		{"sip:a@b;x;tag=1", NameAddr{URI: ab, Tag: "1", Params: ";x"}, "<sip:a@b>;tag=1;x"},
		{"<sip:a@b;x>;tag=1", NameAddr{URI: abx, Tag: "1"}, "<sip:a@b;x>;tag=1"},
		{"<sip:a@b>;x;tag=1;y=2", NameAddr{URI: ab, Tag: "1", Params: ";x;y=2"}, "<sip:a@b>;tag=1;x;y=2"},
		{"<sip:a@b>;y=2;tag=1", NameAddr{URI: ab, Tag: "1", Params: ";y=2"}, "<sip:a@b>;tag=1;y=2"},
		{"<sip:a@b>;tag=1;y=\"a;tag=2\"", NameAddr{URI: ab, Tag: "1", Params: ";y=\"a;tag=2\""}, "<sip:a@b>;tag=1;y=\"a;tag=2\""},
		{"<sip:a@b> ; TAG = 1 ; Q = 0.3 ; z", NameAddr{URI: ab, Tag: "1", Params: ";Q=0.3;z"}, "<sip:a@b>;tag=1;Q=0.3;z"},
		{"<sip:a@b>;;;;", NameAddr{URI: ab}, "<sip:a@b>"},
		{"<sip:a@b>;x=", NameAddr{URI: ab, Params: ";x="}, "<sip:a@b>;x="},
		{"Al <sip:a@b>", NameAddr{Display: "Al", URI: ab}, "Al <sip:a@b>"},
		{"Al<sip:a@b>", NameAddr{Display: "Al", URI: ab}, "Al <sip:a@b>"},
		{"J. M\xc3\xbcller (x) <sip:a@b>", NameAddr{Display: "J. M\xc3\xbcller (x)", URI: ab}, "J. M\xc3\xbcller (x) <sip:a@b>"},
		{`"A, <b> \"c\" \\" <sip:a@b>`, NameAddr{Display: `"A, <b> \"c\" \\"`, URI: ab}, `"A, <b> \"c\" \\" <sip:a@b>`},
		{`""<sip:a@b>`, NameAddr{Display: `""`, URI: ab}, `"" <sip:a@b>`},
		{"< sip:a@b >", NameAddr{URI: ab}, "<sip:a@b>"},
		{"  <sip:a@b>  ", NameAddr{URI: ab}, "<sip:a@b>"},
		{"tel:+1;tag=2", NameAddr{URI: URI{Scheme: "tel", User: "+1"}, Tag: "2"}, "<tel:+1>;tag=2"},
		{"<http://x/?y,z>", NameAddr{URI: URI{Scheme: "http", User: "//x/?y,z"}}, "<http://x/?y,z>"},
	}
	for _, tt := range tests {
		got, err := ParseNameAddr(tt.in)
		if err != nil || got != tt.want || got.String() != tt.out {
			t.Errorf("%q: %+v %q %v", tt.in, got, got.String(), err)
		}
		if again, err := ParseNameAddr(got.String()); err != nil || again != got {
			t.Errorf("%q again: %+v %v", tt.in, again, err)
		}
	}
}

func TestParseNameAddrRefuses(t *testing.T) {
	for _, in := range []string{
		"", "<>", "a", "<sip:a@b", "sip:a@b>", `"a <sip:a@b>`, `"a" b <sip:a@b>`, `a "b" <sip:a@b>`, `"a" sip:a@b`, "Bell, A <sip:a@b>", "a;b <sip:a@b>",
		"<sip:a@b> x", "<sip:a@b>x=1", "<sip:a@b>;tag=1;tag=2", "<sip:a@b>;tag", "<sip:a@b>;tag=", "<sip:a@b>;tag=\"1\"", "<sip:a@b>;tag=a b",
		"<sip:a@b>;x=a b", "<sip:a@b>;x y", "<sip:a@b>;=1", "<sip:a@b>;x=\"1", "<sip:a@b>;x=\"1\"2", "<sip:a@b>;x=<y>", "<sip:a@b>;x=1,2",
		"sip:a@b?h=v", "sip:a,b@c", "<sip:a@b>,<sip:c@d>", "<sip:a b@c>", "<sip:a@b>, ", "<<sip:a@b>>",
	} {
		if n, err := ParseNameAddr(in); err == nil {
			t.Errorf("%q: %+v", in, n)
		}
	}
}

func TestNameAddrParam(t *testing.T) {
	n, err := ParseNameAddr(`<sip:a@b;uri=1>;Expires=60;+sip.instance="<urn:uuid:1;x=2>";ob;tag=t`)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"expires": "60", "+SIP.instance": `"<urn:uuid:1;x=2>"`, "OB": "", "Tag": "t"} {
		if v, ok := n.Param(name); !ok || v != want {
			t.Errorf("%s = %q %v", name, v, ok)
		}
	}
	for _, name := range []string{"uri", "x", "expire"} {
		if v, ok := n.Param(name); ok {
			t.Errorf("%s = %q", name, v)
		}
	}
	if _, ok := (NameAddr{}).Param("tag"); ok {
		t.Error("a tag out of nothing")
	}
}

func TestParseNameAddrs(t *testing.T) {
	list, err := ParseNameAddrs(`"a, b" <sip:1@h?x=,>;p="c,d" , sip:2@h;q=1,<sip:3@h>`)
	if err != nil || len(list) != 3 || list[0].Display != `"a, b"` || list[0].Params != `;p="c,d"` || list[1].Params != ";q=1" || list[2].URI.User != "3" {
		t.Errorf("%+v %v", list, err)
	}
	for _, in := range []string{"", " ", ",", "<sip:1@h>,", ",<sip:1@h>", "<sip:1@h>,,<sip:2@h>", `<sip:1@h>,"`, "<sip:1@h>,<", "sip:1@h,2"} {
		if list, err := ParseNameAddrs(in); err == nil {
			t.Errorf("%q: %+v", in, list)
		}
	}
}

func TestContacts(t *testing.T) {
	contacts := func(values ...string) *Message {
		m := &Message{}
		for _, v := range values {
			m.Add("Contact", v)
		}
		return m
	}
	if list, star, err := contacts("*").Contacts(); list != nil || !star || err != nil {
		t.Error(list, star, err)
	}
	if list, star, err := contacts().Contacts(); list != nil || star || err != nil {
		t.Error(list, star, err)
	}
	if list, star, err := contacts("<sip:1@h>, <sip:2@h>", "sip:3@h").Contacts(); len(list) != 3 || star || err != nil {
		t.Error(list, star, err)
	}
	for _, m := range []*Message{contacts("*", "<sip:1@h>"), contacts("<sip:1@h>", "*"), contacts("*", "*"), contacts("<sip:1@h>, *"), contacts("x")} {
		if list, star, err := m.Contacts(); err == nil || list != nil || star {
			t.Error(m.Headers, list, star, err)
		}
	}
	if _, err := (&Message{Headers: []Header{{"Route", "x"}}}).NameAddrs("Route"); err == nil {
		t.Error("broken Route")
	}
}

func TestParsingAllocatesNothing(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() {
		if _, err := ParseNameAddr(`"Alice" <sip:alice@example.com:5060;transport=udp>;tag=1928301774;x=1`); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzNameAddr(f *testing.F) {
	for _, s := range []string{`"a\"" <sip:a@b;x>;tag=1;y="z"`, "sip:a@b;tag=2", "<tel:1>, b <sip:c@d?e>", "*", `"",<`, "<sip:a@b> ; tag = 1 ; Q = 0.3 ; z"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if n, err := ParseNameAddr(s); err == nil {
			if again, err := ParseNameAddr(n.String()); err != nil || again != n {
				t.Fatalf("%q: %+v, again %+v %v", s, n, again, err)
			}
			n.Param("expires")
		}
		list, err := ParseNameAddrs(s)
		count, checkErr := checkNameAddrs(s)
		if (err == nil) != (checkErr == nil) || count != len(list) {
			t.Fatalf("%q: list %d %v, check %d %v", s, len(list), err, count, checkErr)
		}
		if err != nil {
			return
		}
		var parts []string
		for _, n := range list {
			parts = append(parts, n.String())
		}
		if again, err := ParseNameAddrs(strings.Join(parts, ", ")); err != nil || !reflect.DeepEqual(again, list) {
			t.Fatalf("%q: %+v, again %+v %v", s, list, again, err)
		}
	})
}
