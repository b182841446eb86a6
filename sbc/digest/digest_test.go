package digest

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	oracle "github.com/icholy/digest"
	"pgregory.net/rapid"

	"sallyport/sbc/credentials"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

const cnonce = "0a4f113b0a4f113b"

// account is alice's.
func account(realms ...string) tu.Account {
	return tu.Account{Username: "alice", Password: tu.NewPassword("wonderland"), Realms: realms}
}

func request(method string) *message.Message {
	return &message.Message{
		Method: method, URI: message.URI{Scheme: "sip", User: "+4930123", Host: "sip.example.net"}, CallID: "c", CSeq: 1, MaxForwards: 70,
		Headers: []message.Header{{Name: "Subject", Value: "x"}}, Body: []byte("v=0\r\n"),
	}
}

// asked is a 401, or with a fourth letter p a 407, with challenges.
func asked(status int, values ...string) *message.Message {
	m := &message.Message{Method: "INVITE", Status: status}
	for _, v := range values {
		name := "WWW-Authenticate"
		if status == 407 {
			name = "Proxy-Authenticate"
		}
		m.Headers = append(m.Headers, message.Header{Name: name, Value: v})
	}
	return m
}

func answered(t *testing.T, c *Client, m *message.Message) *oracle.Credentials {
	t.Helper()
	c.Sign(m)
	for _, h := range m.Headers {
		if credential(h.Name) {
			got, err := oracle.ParseCredentials(h.Value)
			if err != nil {
				t.Fatalf("%s: %v", h.Value, err)
			}
			return got
		}
	}
	t.Fatal("no credentials")
	return nil
}

// TestVectors: RFC 7616 §3.9.1 and §3.9.2 (the latter with erratum 4897), RFC 2617 §3.5.
func TestVectors(t *testing.T) {
	const nonce, opaque = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"
	mufasa := tu.Account{Username: "Mufasa", Password: tu.NewPassword("Circle of Life")}
	for _, c := range []struct {
		name, challenge, cnonce, uri, user, want string
		who                                      tu.Account
	}{
		{
			"MD5", `realm="http-auth@example.org", qop="auth, auth-int", algorithm=MD5, nonce="` + nonce + `", opaque="` + opaque + `"`,
			"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", "/dir/index.html", "Mufasa", "8ca523f5e9506fed4657c9700eebdbec", mufasa,
		},
		{
			"SHA-256", `realm="http-auth@example.org", qop="auth, auth-int", algorithm=SHA-256, nonce="` + nonce + `", opaque="` + opaque + `"`,
			"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", "/dir/index.html", "Mufasa",
			"753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1", mufasa,
		},
		{
			"SHA-512-256 with userhash", `realm="api@example.org", qop="auth", algorithm=SHA-512-256,
			 nonce="5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK", opaque="HRPCssKJSGjCrkzDg8OhwpzCiGPChXYjwrI2QmXDnsOS", charset=UTF-8, userhash=true`,
			"NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v", "/doe.json", "793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b",
			"3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5", tu.Account{Username: "J\u00e4s\u00f8n Doe", Password: tu.NewPassword("Secret, or not?")},
		},
		{
			"RFC 2617", `realm="testrealm@host.com", qop="auth,auth-int", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41"`,
			"0a4f113b", "/dir/index.html", "Mufasa", "6629fae49393a05397450978507c4ef1", tu.Account{Username: "Mufasa", Password: tu.NewPassword("Circle Of Life")},
		},
	} {
		o, ok := read(credentials.Parse("Digest " + strings.Join(strings.Fields(c.challenge), " "))[0])
		if !ok {
			t.Fatalf("%s: not read", c.name)
		}
		s := newSpace(o, c.who, c.cnonce)
		if got := s.response("GET", c.uri, "00000001", nil); got != c.want {
			t.Errorf("%s: response %s, want %s", c.name, got, c.want)
		}
		if s.user != c.user {
			t.Errorf("%s: user %s, want %s", c.name, s.user, c.user)
		}
	}
}

// TestOracle: what the oracle can compute, we compute alike, over any texts, counts and bodies.
func TestOracle(t *testing.T) {
	text := rapid.StringMatching(`[a-zA-Z0-9 +/=@.:_-]{1,40}`)
	rapid.Check(t, func(t *rapid.T) {
		alg := rapid.SampledFrom([]string{"", "MD5", "SHA-256", "SHA-512-256", "sha-256"}).Draw(t, "algorithm")
		qop := rapid.SampledFrom([]string{"", "auth", "auth,auth-int", "auth-int"}).Draw(t, "qop")
		o := oracle.Challenge{
			Realm: text.Draw(t, "realm"), Nonce: text.Draw(t, "nonce"), Opaque: text.Draw(t, "opaque"), Algorithm: alg,
			Userhash: rapid.Bool().Draw(t, "userhash"),
		}
		if qop != "" {
			o.QOP = strings.Split(qop, ",")
		}
		who := tu.Account{Username: text.Draw(t, "user"), Password: tu.NewPassword(text.Draw(t, "password")), Realms: []string{o.Realm}}
		m := request(rapid.SampledFrom([]string{"INVITE", "BYE", "REGISTER"}).Draw(t, "method"))
		m.Body = rapid.SliceOf(rapid.Byte()).Draw(t, "body")
		var c Client
		if err := c.Answer(asked(401, o.String()), m, 0, who, cnonce); err != nil {
			t.Fatal(err)
		}
		var got *oracle.Credentials
		n := rapid.IntRange(1, 4).Draw(t, "times")
		for range n {
			c.Sign(m)
			var err error
			if got, err = oracle.ParseCredentials(m.Headers[len(m.Headers)-1].Value); err != nil {
				t.Fatal(err)
			}
		}
		want, err := oracle.Digest(&o, oracle.Options{
			Method: m.Method, URI: m.URI.String(), Count: n, Username: who.Username, Password: who.Password.Reveal(), Cnonce: cnonce,
			GetBody: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(string(m.Body))), nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		if qop == "" {
			want.Cnonce, want.Nc = "", 0 // neither is written
		}
		if *got != *want {
			t.Fatalf("\ngot  %+v\nwant %+v", got, want)
		}
	})
}

// TestSession: -sess hashes what A1 is for the whole session (RFC 7616 §3.4.2), by hand.
func TestSession(t *testing.T) {
	var c Client
	m := request("INVITE")
	if err := c.Answer(asked(401, `Digest realm="r", nonce="n", algorithm=SHA-256-sess, qop="auth"`), m, 0, account("r"), cnonce); err != nil {
		t.Fatal(err)
	}
	c.Sign(m)
	got := answered(t, &c, m)
	h := (&challenge{kind: sha256Kind}).hash
	want := h(h(h("alice", "r", "wonderland"), "n", cnonce), "n", "00000002", cnonce, "auth", h("INVITE", m.URI.String()))
	if got.Response != want || got.Nc != 2 || got.Algorithm != "SHA-256-sess" {
		t.Errorf("%+v, want %s", got, want)
	}
	c.Heard(&message.Message{Status: 200, Headers: []message.Header{{Name: "Authentication-Info", Value: `nextnonce="n2"`}}})
	if got := answered(t, &c, m); got.Nonce != "n" || got.Nc != 3 {
		t.Errorf("a session has one nonce: %+v", got)
	}
}

// TestStrongest: of several challenges one is answered, the strongest that we know, the first of equals.
func TestStrongest(t *testing.T) {
	ch := func(nonce, rest string) string { return fmt.Sprintf(`Digest realm="r", nonce=%q%s`, nonce, rest) }
	md5, sha, long := ch("md5", `, algorithm=MD5, qop="auth"`), ch("sha", `, algorithm=SHA-256, qop="auth"`), ch("long", `, algorithm=SHA-512-256, qop="auth"`)
	for _, c := range []struct {
		name   string
		values []string
		want   string // nonce
	}{
		{"one", []string{md5}, "md5"},
		{"the stronger, however they stand", []string{md5, sha}, "sha"},
		{"the strongest", []string{long, sha, md5}, "long"},
		{"none that we do not know", []string{ch("x", `, algorithm=SHA3-999, qop="auth"`), md5}, "md5"},
		{"none with a protection that we do not know", []string{ch("x", `, algorithm=SHA-256, qop="magic"`), md5}, "md5"},
		{"auth before none", []string{ch("old", ``), md5}, "md5"},
		{"none before auth-int", []string{ch("int", `, qop="auth-int"`), ch("old", ``)}, "old"},
		{"auth-int alone", []string{ch("int", `, qop="auth-int"`)}, "int"},
		{"the first of equals", []string{ch("first", `, algorithm=SHA-256, qop="auth"`), sha}, "first"},
		{"Basic is none", []string{`Basic realm="r"`, md5}, "md5"},
		{"two in one line", []string{md5 + ", " + sha}, "sha"},
		{"of another realm none", []string{strings.Replace(long, `"r"`, `"other"`, 1), md5}, "md5"},
	} {
		var cl Client
		m := request("INVITE")
		if err := cl.Answer(asked(401, c.values...), m, 0, account("r"), cnonce); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := answered(t, &cl, m); got.Nonce != c.want {
			t.Errorf("%s: %s is answered", c.name, got.Nonce)
		}
		if len(cl.spaces) != 1 {
			t.Errorf("%s: %d realms", c.name, len(cl.spaces))
		}
	}
}

// TestRefusals: who gets nothing, and why.
func TestRefusals(t *testing.T) {
	const good = `Digest realm="r", nonce="n", qop="auth"`
	signed := request("INVITE")
	var c Client
	_ = c.Answer(asked(401, good), signed, 0, account("r"), cnonce)
	c.Sign(signed)
	for _, x := range []struct {
		name  string
		m     *message.Message
		sent  *message.Message
		tries int
		who   tu.Account
		want  error
	}{
		{"answered", asked(401, good), request("INVITE"), 0, account("r"), nil},
		{"a foreign realm", asked(401, good), request("INVITE"), 0, account("s"), ErrForeign},
		{"a realm in another case", asked(401, good), request("INVITE"), 0, account("R"), ErrForeign},
		{"an account of no realm", asked(401, good), request("INVITE"), 0, account(), ErrForeign},
		{"no challenge", asked(401), request("INVITE"), 0, account("r"), ErrUnknown},
		{"the field of the other status", &message.Message{Status: 407, Headers: asked(401, good).Headers}, request("INVITE"), 0, account("r"), ErrUnknown},
		{"no 401", &message.Message{Status: 403, Headers: asked(401, good).Headers}, request("INVITE"), 0, account("r"), ErrUnknown},
		{"Basic", asked(401, `Basic realm="r"`), request("INVITE"), 0, account("r"), ErrUnknown},
		{"an unknown algorithm", asked(401, good+`, algorithm=MD4`), request("INVITE"), 0, account("r"), ErrUnknown},
		{"an unknown protection", asked(401, `Digest realm="r", nonce="n", qop="x"`), request("INVITE"), 0, account("r"), ErrUnknown},
		{"a wrong password", asked(401, good), signed, 1, account("r"), ErrRefused},
		{"a wrong password, another nonce", asked(401, `Digest realm="r", nonce="n2", qop="auth"`), signed, 1, account("r"), ErrRefused},
		{"a stale nonce", asked(401, `Digest realm="r", nonce="n2", qop="auth", stale=TRUE`), signed, 1, account("r"), nil},
		{"stale for ever", asked(401, good+`, stale=true`), signed, maxTries, account("r"), ErrRefused},
		{"later credentials that are too old", asked(401, `Digest realm="r", nonce="n2", qop="auth"`), signed, 0, account("r"), nil},
		{"a proxy besides", asked(407, good), signed, 1, account("r"), nil},
		{"ours among others", asked(407, `Digest realm="s", nonce="n"`, good), request("INVITE"), 0, account("r"), nil},
		{"ours refused, others besides", asked(401, `Digest realm="s", nonce="n"`, good), signed, 1, account("r"), ErrRefused},
	} {
		var cl Client
		err := cl.Answer(x.m, x.sent, x.tries, x.who, cnonce)
		if !errors.Is(err, x.want) || (err == nil) != (x.want == nil) {
			t.Errorf("%s: %v, want %v", x.name, err, x.want)
		}
		again := request("INVITE")
		cl.Sign(again)
		if has := len(again.Headers) > 1; has != (x.want == nil) {
			t.Errorf("%s: %v", x.name, again.Headers)
		}
		if err != nil && strings.Contains(err.Error(), "wonderland") {
			t.Errorf("%s: the password is told", x.name)
		}
	}
}

// TestTwoAuthorities: a registrar behind a proxy asks, then the proxy; both have their field, and each its own count.
func TestTwoAuthorities(t *testing.T) {
	var c Client
	m := request("INVITE")
	if err := c.Answer(asked(407, `Digest realm="proxy", nonce="p", qop="auth", opaque=""`), m, 0, account("proxy", "uas"), cnonce); err != nil {
		t.Fatal(err)
	}
	c.Sign(m)
	if err := c.Answer(asked(401, `Digest realm="uas", nonce="u", algorithm=SHA-256`), m, 1, account("proxy", "uas"), cnonce); err != nil {
		t.Fatal(err)
	}
	c.Sign(m)
	if len(m.Headers) != 3 || m.Headers[1].Name != "Proxy-Authorization" || m.Headers[2].Name != "Authorization" {
		t.Fatalf("%v", m.Headers)
	}
	if v := m.Headers[1].Value; !strings.Contains(v, "nc=00000002") || !strings.Contains(v, `opaque=""`) {
		t.Error(v)
	}
	if v := m.Headers[2].Value; strings.Contains(v, "qop") || strings.Contains(v, "nc=") || strings.Contains(v, "cnonce") {
		t.Error(v)
	}
	if got := c.Realms(); fmt.Sprint(got) != "[proxy uas]" {
		t.Error(got)
	}
	if err := c.Answer(asked(407, `Digest realm="proxy", nonce="p2", qop="auth"`), m, 2, account("proxy", "uas"), cnonce); !errors.Is(err, ErrRefused) {
		t.Error(err)
	}
	c.Sign(m)
	if len(m.Headers) != 2 || m.Headers[1].Name != "Authorization" {
		t.Errorf("what was refused is offered again: %v", m.Headers)
	}
}

// TestAnAlgorithmIsAToken: what only Unicode takes for the letters of a known one is unknown, and is not written back.
func TestAnAlgorithmIsAToken(t *testing.T) {
	for name, want := range map[string]kind{"": md5Kind, "md5": md5Kind, "Sha-256-Sess": sha256Kind, "ſha-256": 0, "md5-ſeſſ": 0, "sha-1": 0} {
		if got, _ := algorithm(name); got != want {
			t.Errorf("%q is %d, want %d", name, got, want)
		}
	}
}
