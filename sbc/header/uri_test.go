package header

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sallyport/sbc/message"
)

func uri(t testing.TB, s string) message.URI {
	t.Helper()
	u, err := message.ParseURI(s)
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return u
}

func TestRewriteURIHost(t *testing.T) {
	tests := []struct{ in, host, want string }{
		{"sip:100@10.0.0.10", "itsp.example", "sip:100@itsp.example"},
		{"sip:100@10.0.0.10:5060", "203.0.113.20:5070", "sip:100@203.0.113.20:5070"},
		{"sip:100@10.0.0.10:5060", "[2001:db8::5]:5070", "sip:100@[2001:db8::5]:5070"},
		{"sip:100@10.0.0.10:5060", "2001:db8::5", "sip:100@[2001:db8::5]"},
		{"sip:100@10.0.0.10:5060", "[2001:db8::5]", "sip:100@[2001:db8::5]"},
		{"sips:100@[2001:db8::9]", "itsp.example", "sip:100@itsp.example"},
		{"sip:10.0.0.10", "itsp.example", "sip:itsp.example"},
		{"sip:100@x;transport=tcp;user=phone;maddr=10.0.0.1;lr;method=BYE;ttl=1;ob;gr=1", "y", "sip:100@y;user=phone"},
		{"sip:100@x;User=Phone;cpc=priority", "y", "sip:100@y;User=Phone;cpc=priority"},
		{"sip:100@x?Replaces=abc", "y", "sip:100@y"},
		{"sip:alice:secret@x", "y", "sip:alice@y"},
		{"sip:%61lice;day=tuesday;;ext=1@x", "y", "sip:%61lice;day=tuesday;ext=1@y"},
		{"sip:100;tgrp=a;trunk-context=x.example@x", "y", "sip:100@y"},
		{"sip:100;phone-context=x.example;isub=1@x", "y:5080", "sip:100;phone-context=y;isub=1@y:5080"},
		{"sip:100;phone-context=x.example@x", "[2001:db8::5]", "sip:100@[2001:db8::5]"},
		{"sip:+1-201-555-0123;ext=5@x", "y", "sip:+1-201-555-0123;ext=5@y"},
		{"sip:anonymous@anonymous.invalid", "y", "sip:anonymous@anonymous.invalid"},
		{"sip:anonymous@ANONYMOUS.invalid:5060;transport=tcp", "y", "sip:anonymous@ANONYMOUS.invalid"},
		{"sip:unknown@unknown.invalid", "y", "sip:unknown@unknown.invalid"},
		{"sip:1@x.invalid", "y", "sip:1@y"},
		{"tel:+493055500", "y", "sip:+493055500@y;user=phone"},
		{"tel:5500;phone-context=+4930", "y:5080", "sip:5500;phone-context=+4930@y:5080;user=phone"},
		{"tel:5500;phone-context=pbx.example;isub=a:[b]", "y", "sip:5500;phone-context=y;isub=a%3A%5Bb%5D@y;user=phone"},
		{"tel:+1;tgrp=t;trunk-context=x", "y", "sip:+1@y;user=phone"},
		{"urn:service:sos", "y", "urn:service:sos"},
		{"mailto:carol@pbx.example", "y:5060", "sip:anonymous@y:5060"},
		{"http://10.0.0.10/", "y", "sip:anonymous@y"},
	}
	for _, tt := range tests {
		got := RewriteURIHost(uri(t, tt.in), tt.host)
		if got.String() != tt.want {
			t.Errorf("%s at %s: %s, want %s", tt.in, tt.host, got, tt.want)
		}
		if back := uri(t, got.String()); back != got {
			t.Errorf("%s reads back as %+v", got, back)
		}
	}
}

func TestRewriteNameAddr(t *testing.T) {
	n, err := message.ParseNameAddr(`"Carol" <sip:204@10.0.0.10:5060;transport=udp>;tag=as3a9;epid=0004f2aabbcc`)
	if err != nil {
		t.Fatal(err)
	}
	if got := RewriteNameAddr(n, "y:5080").String(); got != `"Carol" <sip:204@y:5080>` {
		t.Error(got)
	}
}

func TestRedirect(t *testing.T) {
	for in, want := range map[string]string{
		"<sip:1@10.0.0.1:5070;transport=tcp>;q=0.5;x=y;expires=60": "<sip:1@gate>;q=0.5;expires=60",
		"<sip:1@a>, <tel:+49>": "<sip:1@gate>|<sip:+49@gate;user=phone>",
		"*":                    "",
		"<sip:1@a":             "",
	} {
		out := &message.Message{}
		Redirect(&message.Message{Headers: []message.Header{{Name: "Contact", Value: in}}}, out, "gate")
		var got []string
		for _, h := range out.Headers {
			got = append(got, h.Value)
		}
		if strings.Join(got, "|") != want {
			t.Errorf("%s: %q", in, got)
		}
	}
}

func TestSplitHost(t *testing.T) {
	tests := []struct {
		in, host string
		port     uint16
	}{
		{"a", "a", 0}, {"a:5060", "a", 5060}, {"10.0.0.1:5060", "10.0.0.1", 5060}, {"2001:db8::5", "2001:db8::5", 0},
		{"[2001:db8::5]", "2001:db8::5", 0}, {"[2001:db8::5]:5060", "2001:db8::5", 5060}, {"", "", 0},
	}
	for _, tt := range tests {
		if h, p := splitHost(tt.in); h != tt.host || p != tt.port {
			t.Errorf("%s: %s %d", tt.in, h, p)
		}
	}
}

// TestNoHostSurvives: whatever URI a peer writes, nothing of its host comes out, and what comes out is a URI.
func TestNoHostSurvives(t *testing.T) {
	secret := "secret-host.example"
	rapid.Check(t, func(t *rapid.T) {
		user := rapid.SampledFrom([]string{"", "100@", "a:b@", "1;phone-context=" + secret + "@", "1;tgrp=x;trunk-context=" + secret + "@"}).Draw(t, "user")
		params := ""
		for range rapid.IntRange(0, 3).Draw(t, "params") {
			params += rapid.SampledFrom([]string{";transport=tcp", ";maddr=" + secret, ";user=phone", ";lr", ";x-host=" + secret, ";gr"}).Draw(t, "param")
		}
		text := rapid.SampledFrom([]string{
			"sip:" + user + secret, "sips:" + user + secret + ":5061", "sip:" + user + "anonymous.invalid", "tel:+49;phone-context=" + secret, "mailto:a@" + secret,
			"sip:1@x?Route=<sip:" + secret,
		}).Draw(t, "uri")
		if !strings.Contains(text, "?") && !strings.HasPrefix(text, "mailto") {
			text += params
		}
		u, err := message.ParseURI(text)
		if err != nil {
			return
		}
		got := RewriteURIHost(u, "gate:5080")
		if strings.Contains(got.String(), "secret") {
			t.Fatalf("%s became %s", text, got)
		}
		if _, err := message.ParseURI(got.String()); err != nil {
			t.Fatalf("%s became %s: %v", text, got, err)
		}
		if again := RewriteURIHost(got, "gate:5080"); again != got {
			t.Fatalf("%s became %s, then %s", text, got, again)
		}
	})
}
