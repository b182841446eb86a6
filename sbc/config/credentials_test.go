package config

import (
	"fmt"
	"strings"
	"testing"

	"sallyport/sbc/tu"
)

const credentialsHead = `outside: { address: 203.0.113.10 }
inside: { address: 10.0.0.2 }
`

// TestCredentials: what of an account cannot be used is said where it is written.
func TestCredentials(t *testing.T) {
	for _, tt := range []struct {
		name, pbx, peer, trunk string
		want                   string // in the errors; "": none
		warns                  string
	}{
		{name: "none"},
		{name: "the PBX's, in its own name", pbx: `{ username: gate, password: "file:/etc/sbc/itsp.secret" }`},
		{name: "from the environment", pbx: `{ username: gate, password: "${TRUNK_PASSWORD}" }`},
		{name: "in clear", pbx: `{ username: gate, password: secret }`, warns: "pbx.credentials.password: the password stands in the configuration"},
		{name: "of a provider by name", peer: "sip.example.net", trunk: `{ username: gate, password: "file:/etc/sbc/itsp.secret" }`},
		{name: "of a provider by address", trunk: `{ username: gate, password: "file:/etc/sbc/itsp.secret", realm: asterisk }`},
		{name: "of several realms", trunk: `{ username: gate, password: "file:/etc/sbc/itsp.secret", realm: [ asterisk, sip.example.net ] }`},
		{
			name: "of a provider that has no name", trunk: `{ username: gate, password: "file:/etc/sbc/itsp.secret" }`,
			want: "trunks[0].credentials.realm: missing, and the peers have no name",
		},
		{name: "no password", pbx: `{ username: gate }`, want: "pbx.credentials.password: missing"},
		{name: "no user", pbx: `{ password: "file:/etc/sbc/itsp.secret" }`, want: "pbx.credentials.username: missing"},
		{name: "open to all", pbx: `{ username: gate, password: "file:/etc/sbc/open.secret" }`, want: "/etc/sbc/open.secret is open to every user"},
		{name: "nowhere", pbx: `{ username: gate, password: "file:/etc/sbc/no.secret" }`, want: "pbx.credentials.password: /etc/sbc/no.secret"},
		{name: "not set", pbx: `{ username: gate, password: "${NOTHING}" }`, want: "the environment has no NOTHING"},
		{name: "a relative path", pbx: `{ username: gate, password: "file:itsp.secret" }`, want: `"itsp.secret" is not an absolute path`},
		{name: "two lines", pbx: `{ username: gate, password: "file:/etc/sbc/two.secret" }`, want: "/etc/sbc/two.secret has more than one line"},
		{name: "an odd user", pbx: `{ username: 'a"b', password: "file:/etc/sbc/itsp.secret" }`, want: "pbx.credentials: the user name holds a quote"},
		{name: "an empty realm", pbx: `{ username: gate, password: "file:/etc/sbc/itsp.secret", realm: [ "" ] }`, want: `pbx.credentials.realm[0]: "" is no realm`},
		{name: "a misspelt key", pbx: `{ user: gate }`, want: "pbx.credentials.user"},
	} {
		pbx, trunk, peer := tt.pbx, tt.trunk, tt.peer
		if pbx == "" {
			pbx = "{}"
		}
		if trunk == "" {
			trunk = "{}"
		}
		if peer == "" {
			peer = "203.0.113.20"
		}
		text := credentialsHead + fmt.Sprintf(`pbx: { domain: example.com, nodes: [ { address: 10.0.0.10 } ], credentials: %s }
trunks: [ { name: itsp, peers: [ { address: %s } ], credentials: %s } ]
`, pbx, peer, trunk)
		snap, report := parseText("f", []byte(text), Flags{})
		errs, warnings := report.list(report.Errors, ""), report.list(report.Warnings, "")
		if (errs == "") != (tt.want == "") || !strings.Contains(errs, tt.want) {
			t.Errorf("%s: found %q, want %q", tt.name, errs, tt.want)
		}
		if !strings.Contains(warnings, tt.warns) || tt.warns == "" && strings.Contains(warnings, "credentials") {
			t.Errorf("%s: warned %q, want %q", tt.name, warnings, tt.warns)
		}
		for _, secret := range []string{"s3cret", "of the environment"} {
			if strings.Contains(errs+warnings, secret) || snap != nil && strings.Contains(fmt.Sprintf("%+v %#v", snap.PBX, snap.Trunks), secret) {
				t.Errorf("%s: the password is told", tt.name)
			}
		}
	}
}

// TestAccounts: what the rooms get of an account.
func TestAccounts(t *testing.T) {
	text := credentialsHead + `pbx: { domain: example.com, nodes: [ { address: 10.0.0.10 } ], credentials: { username: gate, password: "${TRUNK_PASSWORD}" } }
trunks:
  - { name: a, peers: [ { address: 203.0.113.20 }, { address: sip.example.net } ], credentials: { username: u, password: "file:/etc/sbc/itsp.secret" } }
  - { name: b, peers: [ { address: 203.0.113.21 } ], credentials: { username: u, password: "file:/etc/sbc/itsp.secret", realm: [ asterisk, x ] } }
  - { name: c, peers: [ { address: 203.0.113.22 } ] }
`
	snap, report := parseText("f", []byte(text), Flags{})
	if snap == nil {
		t.Fatal(report.String())
	}
	if a := snap.PBX.Account; a.Password.Reveal() != "of the environment" || fmt.Sprint(a.Realms) != "[example.com]" || a.String() != "gate" {
		t.Errorf("the PBX's: %v %v", a, a.Realms)
	}
	if a := snap.Trunks[0].Account; a.Password.Reveal() != "s3cret" || fmt.Sprint(a.Realms) != "[sip.example.net]" {
		t.Errorf("of a name: %v %v", a, a.Realms)
	}
	if a := snap.Trunks[1].Account; fmt.Sprint(a.Realms) != "[asterisk x]" {
		t.Errorf("of realms: %v", a.Realms)
	}
	if a := snap.Trunks[2].Account; a != nil {
		t.Errorf("of nobody: %v", a)
	}
}

// TestCredentialsOfARegisteringTrunk: its account stands in one place.
func TestCredentialsOfARegisteringTrunk(t *testing.T) {
	text := credentialsHead + `pbx: { domain: example.com, nodes: [ { address: 10.0.0.10 } ] }
trunks:
  - name: a
    mode: register
    registration: { registrar: sip.example.net, username: u, password: "file:/etc/sbc/itsp.secret" }
    credentials: { username: u, password: "file:/etc/sbc/itsp.secret" }
`
	_, report := parseText("f", []byte(text), Flags{})
	if errs := report.list(report.Errors, ""); !strings.Contains(errs, "trunks[0].credentials: the trunk registers") {
		t.Error(errs)
	}
}

// TestSecretsAreNotPrinted: as they are written, and what they stand for, wherever they stand.
func TestSecretsAreNotPrinted(t *testing.T) {
	s := Secret{text: tu.NewPassword("wonderland"), value: tu.NewPassword("wonderland")}
	type section struct{ password Secret }
	for _, v := range []any{s, &s, section{s}, &section{s}, []section{{s}}, struct{ At *Secret }{&s}, CredentialsSection{Username: "a", Password: s}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
			if text := fmt.Sprintf(verb, v); strings.Contains(text, "wonderland") {
				t.Errorf("%T as %s: %s", v, verb, text)
			}
		}
	}
}
