package digest

import (
	"fmt"
	"strings"
	"testing"

	oracle "github.com/icholy/digest"

	"sallyport/sbc/credentials"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// TestSignLeavesTheOtherAlone: a retry is a copy of the request; its list is its own.
func TestSignLeavesTheOtherAlone(t *testing.T) {
	var c Client
	m := request("INVITE")
	if err := c.Answer(asked(401, `Digest realm="r", nonce="n"`), m, 0, account("r"), cnonce); err != nil {
		t.Fatal(err)
	}
	m.Headers = append(make([]message.Header, 0, 8), m.Headers...)
	again := *m
	c.Sign(&again)
	if len(m.Headers) != 1 || m.Headers[:2][1].Name != "" {
		t.Errorf("%v", m.Headers[:2])
	}
	ack, other := *m, *m
	Copy(&again, &ack)
	Copy(&again, &ack)
	if len(ack.Headers) != 2 || ack.Headers[1] != again.Headers[1] {
		t.Errorf("the ACK has %v", ack.Headers)
	}
	if Copy(m, &other); len(other.Headers) != 1 {
		t.Errorf("%v", other.Headers)
	}
	var none *Client
	none.Sign(m)
	none.Heard(m)
	if (&Client{}).Sign(m); len(m.Headers) != 1 {
		t.Error("nobody has asked")
	}
}

// TestQuotes: texts of a challenge go back byte for byte, and nothing in them ends its quotes or its line.
func TestQuotes(t *testing.T) {
	for _, c := range []struct {
		name, value string
		realm       string // as it is meant; empty: no challenge
	}{
		{"plain", `Digest realm="r", nonce="n"`, "r"},
		{"an escaped quote", `Digest realm="a\"b", nonce="n\\\"x"`, `a"b`},
		{"an escaped letter", `Digest realm="\r", nonce="n"`, "r"},
		{"spaces wherever they may be", "Digest\t realm = \"r\" ,\tnonce = \"n\" ,", "r"},
		{"empty elements", `Digest realm="r",, ,nonce="n"`, "r"},
		{"names in any case", `DIGEST Realm="r", NONCE="n"`, "r"},
		{"commas inside", `Digest realm="a, nonce=b", nonce="c, realm=d"`, "a, nonce=b"},
		{"UTF-8", "Digest realm=\"Größe\", nonce=\"n\"", "Größe"},
		{"unknown parameters", `Digest x=y, realm="r", nonce="n", z="1"`, "r"},
		{"tokens for texts", `Digest realm=r, nonce=n`, "r"},
		{"an unended text", `Digest realm="r, nonce="n`, ""},
		{"an escape at the end", `Digest realm="r", nonce="n\`, ""},
		{"a line end", "Digest realm=\"r\r\nVia: x\", nonce=\"n\"", ""},
		{"a line feed in the nonce", "Digest realm=\"r\", nonce=\"n\nx\"", ""},
		{"a zero byte", "Digest realm=\"r\x00\", nonce=\"n\"", ""},
		{"no nonce", `Digest realm="r"`, ""},
		{"an empty nonce", `Digest realm="r", nonce=""`, ""},
		{"no realm", `Digest nonce="n"`, ""},
		{"two realms", `Digest realm="r", nonce="n", realm="s"`, ""},
		{"a quote behind a token", `Digest realm=r", nonce="n"`, ""},
		{"text behind a text", `Digest realm="r"x, nonce="n"`, ""},
		{"no equals sign", `Digest realm, nonce="n"`, ""},
		{"no scheme", `realm="r", nonce="n"`, ""},
		{"an odd name", `Digest re"alm="r", nonce="n"`, ""},
		{"nothing", ``, ""},
		{"a scheme alone", `Digest`, ""},
	} {
		got := Realms(asked(401, c.value))
		if c.realm == "" {
			if len(got) > 0 {
				t.Errorf("%s: %q is a challenge of %q", c.name, c.value, got)
			}
			continue
		}
		if len(got) != 1 || got[0] != c.realm {
			t.Errorf("%s: %q, want %q", c.name, got, c.realm)
			continue
		}
		var cl Client
		m := request("INVITE")
		if err := cl.Answer(asked(401, c.value), m, 0, account(c.realm), cnonce); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		cl.Sign(m)
		back := credentials.Parse(m.Headers[1].Value)
		o := challenges(asked(401, c.value))[0]
		if len(back) != 1 || !back[0].Is("realm", o.realm) || !back[0].Is("nonce", o.nonce) || !back[0].Is("username", "alice") {
			t.Errorf("%s: %s", c.name, m.Headers[1].Value)
		}
	}
}

func TestBounds(t *testing.T) {
	long := strings.Repeat("x", maxValue)
	for name, value := range map[string]string{
		"a nonce":      `Digest realm="r", nonce="` + long[:maxText+1] + `"`,
		"a realm":      `Digest realm="` + long[:maxName+1] + `", nonce="n"`,
		"an opaque":    `Digest realm="r", nonce="n", opaque="` + long[:maxText+1] + `"`,
		"a field":      `Digest realm="r", nonce="n", x="` + long + `"`,
		"a param list": `Digest realm="r", nonce="n"` + strings.Repeat(`, x=y`, credentials.MaxParams),
		"many of them": `Digest realm="r", nonce="n"` + many(credentials.MaxParams),
	} {
		if got := Realms(asked(401, value)); len(got) > 0 {
			t.Errorf("%s without measure is read", name)
		}
	}
	var values, realms []string
	for i := range 20 {
		values, realms = append(values, fmt.Sprintf(`Digest realm="r%d", nonce="n"`, i)), append(realms, fmt.Sprintf("r%d", i))
	}
	if got := Realms(asked(401, values...)); len(got) != maxFields {
		t.Errorf("%d challenges are read", len(got))
	}
	var c Client
	m := request("INVITE")
	if err := c.Answer(asked(401, values...), m, 0, account(realms...), cnonce); err != nil {
		t.Error(err)
	}
	if c.Sign(m); len(m.Headers) != 1+maxSpaces {
		t.Errorf("%d credentials", len(m.Headers)-1)
	}
}

func many(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, ", p%d=v", i)
	}
	return b.String()
}

func TestNextNonce(t *testing.T) {
	info := func(field, value string) *message.Message {
		return &message.Message{Status: 200, Headers: []message.Header{{Name: field, Value: value}}}
	}
	ask := func(c *Client, status int, realm string) {
		if err := c.Answer(asked(status, `Digest realm="`+realm+`", nonce="n", qop="auth"`), request("INVITE"), 0, account(realm), cnonce); err != nil {
			t.Fatal(err)
		}
	}
	for _, x := range []struct {
		name string
		m    *message.Message
		two  bool
		want string
	}{
		{"it is used", info("Authentication-Info", `nextnonce="n2", qop=auth`), false, "n2"},
		{"none", info("Authentication-Info", `qop=auth`), false, "n"},
		{"broken", info("Authentication-Info", `nextnonce="n2`), false, "n"},
		{"too long", info("Authentication-Info", `nextnonce="`+strings.Repeat("n", maxText+1)+`"`), false, "n"},
		{"too long by far", info("Authentication-Info", `nextnonce="`+strings.Repeat("n", maxValue)+`"`), false, "n"},
		{"of the proxy", info("Proxy-Authentication-Info", `nextnonce="n2"`), false, "n"},
		{"whose?", info("Authentication-Info", `nextnonce="n2"`), true, "n"},
		{"no 2xx", &message.Message{Status: 486, Headers: info("Authentication-Info", `nextnonce="n2"`).Headers}, false, "n"},
	} {
		var c Client
		ask(&c, 401, "r")
		if x.two {
			ask(&c, 401, "s")
		}
		c.Sign(request("INVITE"))
		c.Heard(x.m)
		got := answered(t, &c, request("BYE"))
		if nc := map[bool]int{true: 1, false: 2}[x.want == "n2"]; got.Nonce != x.want || got.Nc != nc {
			t.Errorf("%s: %s, %d", x.name, got.Nonce, got.Nc)
		}
	}
	var c Client
	ask(&c, 407, "r")
	c.Heard(info("Proxy-Authentication-Info", `nextnonce="n2"`))
	if got := answered(t, &c, request("BYE")); got.Nonce != "n2" {
		t.Errorf("of a proxy: %s", got.Nonce)
	}
}

func TestAccount(t *testing.T) {
	for _, c := range []struct {
		name string
		a    tu.Account
		good bool
	}{
		{"plain", account(), true},
		{"UTF-8", tu.Account{Username: "Jäsøn Doe", Password: tu.NewPassword("pässword: \"x\" \\")}, true},
		{"an address", tu.Account{Username: "+4930123@example.net"}, true},
		{"nobody", tu.Account{Password: tu.NewPassword("x")}, false},
		{"a quote", tu.Account{Username: `a"b`}, false},
		{"a backslash", tu.Account{Username: `a\b`}, false},
		{"a colon", tu.Account{Username: `a:b`}, false},
		{"a line end", tu.Account{Username: "a\r\nVia: x"}, false},
		{"two lines of a file", tu.Account{Username: "a", Password: tu.NewPassword("x\ny")}, false},
		{"too long", tu.Account{Username: "a", Password: tu.NewPassword(strings.Repeat("x", maxName+1))}, false},
	} {
		err := Check(c.a)
		if (err == nil) != c.good {
			t.Errorf("%s: %v", c.name, err)
		}
		if err != nil && len(c.a.Password.Reveal()) > 1 && strings.Contains(err.Error(), c.a.Password.Reveal()) {
			t.Errorf("%s: the password is told", c.name)
		}
	}
	for _, text := range []string{fmt.Sprint(account()), fmt.Sprintf("%+v", account()), fmt.Sprintf("%#v", account())} {
		if strings.Contains(text, "wonderland") {
			t.Error(text)
		}
	}
}

// FuzzAnswer: whatever a peer asks with, credentials are one line of parameters that the oracle reads back, for no other realm.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{
		`Digest realm="r", nonce="n", qop="auth,auth-int", algorithm=SHA-256, opaque="o", userhash=true`,
		`Digest realm="r", nonce="a\"b\\", algorithm=MD5-sess, stale=TRUE`, `Digest realm="\r", nonce="n"`,
		`Digest realm="r", nonce="n", Digest realm="s", nonce="m", Basic realm="r"`, "Digest realm=\"r\r\nX: y\", nonce=\"n\"", `Digest ,=,`,
		`Digest realm="r", nonce="n", algorithm="MD5, x", qop="auth`,
	} {
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, value string, stale bool) {
		var c Client
		m := request("INVITE")
		tries := 0
		if stale {
			tries = 1
		}
		ask := asked(401, value)
		if c.Answer(ask, m, tries, account("r"), cnonce) != nil {
			return
		}
		c.Heard(&message.Message{Status: 200, Headers: []message.Header{{Name: "Authentication-Info", Value: value}}})
		c.Sign(m)
		if len(m.Headers) != 2 {
			t.Fatalf("%d credentials", len(m.Headers)-1)
		}
		line := m.Headers[1].Value
		if credentials.HasControl(line) {
			t.Fatalf("%q ends its line", line)
		}
		back := credentials.Parse(line)
		if len(back) != 1 || !back[0].Is("username", "alice") && !strings.Contains(line, "userhash=true") {
			t.Fatalf("%s is read as %v", line, back)
		}
		if o, ok := read(back[0]); !ok || o.name() != "r" {
			t.Fatalf("%s is of the realm %q", line, o.name())
		}
		if _, err := oracle.ParseCredentials(line); err != nil && !strings.ContainsAny(line, `\`) && len(line) == len([]rune(line)) {
			t.Fatalf("%s: %v", line, err)
		}
	})
}
