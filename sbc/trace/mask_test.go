package trace

import (
	"strings"
	"testing"
)

func TestMask(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{
			"digest",
			"REGISTER sip:example.com SIP/2.0\r\nAuthorization: Digest username=\"204\", nonce=\"n1\", uri=\"sip:example.com\", response=\"0a4f113b\", cnonce=\"c\"\r\nX: response=\"kept\"\r\n\r\n",
			"REGISTER sip:example.com SIP/2.0\r\nAuthorization: Digest username=\"204\", nonce=\"n1\", uri=\"sip:example.com\", response=\"xxxxxxxx\", cnonce=\"c\"\r\nX: response=\"kept\"\r\n\r\n",
		},
		{
			"folded, other case, spaces, no quotes",
			"A b SIP/2.0\r\nPROXY-authorization : digest username=\"response\",\r\n RESPONSE = abc123,\r\n\tresponse=\"zz\r\nTo: response=a\r\n\r\n",
			"A b SIP/2.0\r\nPROXY-authorization : digest username=\"response\",\r\n RESPONSE = xxxxxx,\r\n\tresponse=\"xx\r\nTo: response=a\r\n\r\n",
		},
		{
			"basic",
			"A b SIP/2.0\r\nAuthorization: Basic dXNlcjpwYXNz\r\n\r\n",
			"A b SIP/2.0\r\nAuthorization: Basic xxxxxxxxxxxx\r\n\r\n",
		},
		{
			"a challenge is no secret",
			"SIP/2.0 401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\n\r\n",
			"SIP/2.0 401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\n\r\n",
		},
		{
			"passwords in URIs",
			"INVITE sip:204:secret@example.com SIP/2.0\r\nFrom: \"sip\" <sips:a:b:c@h>;tag=1\r\nTo: <sip:204@h:5060>\r\nContact: <sip:[2001:db8::1]:5060>, <SIP:u:p@h>\r\nX: sip:h:5060, x@y\r\n\r\n",
			"INVITE sip:204:xxxxxx@example.com SIP/2.0\r\nFrom: \"sip\" <sips:a:xxx@h>;tag=1\r\nTo: <sip:204@h:5060>\r\nContact: <sip:[2001:db8::1]:5060>, <SIP:u:x@h>\r\nX: sip:h:5060, x@y\r\n\r\n",
		},
		{
			"passwords with commas",
			"A b SIP/2.0\r\nFrom: <sip:204:a,b,c@h>\r\nContact: sip:h:5060,sip:x@y\r\n\r\n",
			"A b SIP/2.0\r\nFrom: <sip:204:xxxxx@h>\r\nContact: sip:h:5060,sip:x@y\r\n\r\n",
		},
		{
			"media keys",
			"A b SIP/2.0\r\n\r\nv=0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNf|2^20;inline:abc\r\nk=clear:pass\r\na=ice-pwd:asd88f\r\na=ice-ufrag:8hhY\r\na=key-mgmt:mikey AQAF\r\na=acap:1 crypto:1 AES INLINE:key\r\na=inline\r\n",
			"A b SIP/2.0\r\n\r\nv=0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:xxxx|2^20;inline:xxx\r\nk=xxxxxxxxxx\r\na=ice-pwd:xxxxxx\r\na=ice-ufrag:8hhY\r\na=key-mgmt:xxxxxxxxxx\r\na=acap:1 crypto:1 AES INLINE:xxx\r\na=inline\r\n",
		},
		{"cut in the middle", "A b SIP/2.0\r\nAuthorization: Digest response=\"ab", "A b SIP/2.0\r\nAuthorization: Digest response=\"xx"},
		{"nothing", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := []byte(c.in)
			if mask(got); string(got) != c.want {
				t.Errorf("got\n%q\nwant\n%q", got, c.want)
			}
		})
	}
}

func TestUnsecure(t *testing.T) {
	for in, want := range map[string]string{
		"A b SIP/2.0\r\n\r\nm=audio 4 RTP/SAVP 0 8\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:xx\r\nm=video 6 RTP/SAVPF 96\r\n": "A b SIP/2.0\r\n\r\nm=audio 4 RTP/AVP 0 8 \r\na=crypto:1 xxxxxxxxxxxxxxxxxxxxxxx inline:xx\r\nm=video 6 RTP/AVPF 96 \r\n",
		"A b SIP/2.0\r\n\r\nm=audio 4 UDP/TLS/RTP/SAVPF 0\r\nm=audio 4 RTP/AVP 0\r\n":                                             "A b SIP/2.0\r\n\r\nm=audio 4 RTP/AVPF 0         \r\nm=audio 4 RTP/AVP 0\r\n",
		"A b SIP/2.0\r\nm=audio 4 RTP/SAVP 0\r\n":                                                                                 "A b SIP/2.0\r\nm=audio 4 RTP/SAVP 0\r\n",
		"": "",
	} {
		got := []byte(in)
		if Unsecure(got); string(got) != want {
			t.Errorf("got\n%q\nwant\n%q", got, want)
		}
	}
}

func FuzzUnsecure(f *testing.F) {
	f.Add("\r\n\r\nm=audio 4 UDP/TLS/RTP/SAVPF 0\r\na=crypto:1 X inline:k\r\n")
	f.Add("\r\n\r\nm= RTP/SAVP  RTP/SAVP \na=crypto:")
	f.Fuzz(func(t *testing.T, text string) {
		got := []byte(text)
		Unsecure(got)
		if len(got) != len(text) || strings.Count(string(got), "\n") != strings.Count(text, "\n") {
			t.Fatalf("%q became %q", text, got)
		}
	})
}

func FuzzMask(f *testing.F) {
	f.Add("REGISTER sip:a:b@c SIP/2.0\r\nAuthorization: Digest response=\"0a4f\"\r\n\r\na=crypto:1 X inline:k\r\n")
	f.Add("Authorization:response = \r\n response=response=\"")
	f.Add("sip:sips:sip:@sip::@")
	f.Fuzz(func(t *testing.T, text string) {
		got := []byte(text)
		mask(got)
		if len(got) != len(text) || strings.Count(string(got), "\r\n") != strings.Count(text, "\r\n") {
			t.Fatalf("%q became %q", text, got)
		}
		again := []byte(string(got))
		if mask(again); string(again) != string(got) {
			t.Fatalf("%q is masked further to %q", got, again)
		}
	})
}
