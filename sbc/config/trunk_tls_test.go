package config

import (
	"strings"
	"testing"
)

// TestTrunkTLS: who a provider has to be is checked where it is written.
func TestTrunkTLS(t *testing.T) {
	const trunk = `outside: { address: 203.0.113.10, trunks: { udp: 5080, tls: 5081 }, tls: { certificate: /etc/sbc/tls.crt, key: /etc/sbc/tls.key } }
inside: { address: 10.0.0.2 }
pbx: { domain: example.com, nodes: [ { address: 10.0.0.10 } ] }
trunks:
  - name: itsp
    peers: [ { address: 203.0.113.20, transport: tls } ]
    tls: `
	found := func(text, want string) {
		t.Helper()
		_, report := parseText("f", []byte(text), Flags{})
		errs := report.list(report.Errors, "")
		if (errs == "") != (want == "") || !strings.Contains(errs, want) || strings.Count(errs, "trunks[0].tls") > 1 {
			t.Errorf("%s\nfound %q, want %q", text, errs, want)
		}
	}
	for _, tt := range []struct{ tls, want string }{
		{"{ names: [ sip.example.net, '*.example.net', 203.0.113.20 ] }", ""},
		{"{ certificate: /etc/sbc/tls.crt, key: /etc/sbc/tls.key, ca: /etc/sbc/ca.crt }", ""},
		{"{ certificate: /etc/sbc/tls.crt }", "trunks[0].tls.key: missing"},
		{"{ key: /etc/sbc/tls.key }", "trunks[0].tls.certificate: missing"},
		{"{ certificate: /etc/sbc/tls.crt, key: /etc/sbc/other.key }", "trunks[0].tls.key: /etc/sbc/other.key and /etc/sbc/tls.crt"},
		{"{ certificate: /etc/sbc/tls.crt, key: /etc/sbc/open.key }", "trunks[0].tls.key: /etc/sbc/open.key is open to every user"},
		{"{ ca: /etc/sbc/broken.crt }", "trunks[0].tls.ca: a certificate in it cannot be read"},
		{"{ ca: /etc/sbc/empty.pem }", "trunks[0].tls.ca: no certificate in it"},
		{"{ ca: relative.pem }", "trunks[0].tls.ca"},
		{"{ names: [ 'not a name' ] }", `trunks[0].tls.names[0]: "not a name" is no name`},
		{"{ names: [ 'a.*.net' ] }", `trunks[0].tls.names[0]: "a.*.net" is no name`},
	} {
		found(trunk+tt.tls+"\n", tt.want)
	}
	found(`outside: { address: 203.0.113.10 }
inside: { address: 10.0.0.2 }
pbx: { domain: example.com, nodes: [ { address: 10.0.0.10 } ] }
trunks: [ { name: itsp, peers: [ { address: 203.0.113.20 } ], tls: { names: [ a.example ] } } ]
`, "trunks[0].tls: the trunk has no way of TLS")
}

// TestTrunksAtOnePlaceByTLS: two trunks that lead to one place may want different things of it: nothing is told, for each has what it
// wants.
func TestTrunksAtOnePlaceByTLS(t *testing.T) {
	const (
		peer    = `peers: [ { address: "203.0.113.20:5061", transport: tls } ]`
		name    = `peers: [ { address: sip.example.net, transport: tls } ]`
		account = `mode: register, registration: { registrar: sip.example.net, proxy: 203.0.113.20, transport: tls, username: a, password: "file:/etc/sbc/itsp.secret" }`
		a, b    = `tls: { names: [ a.example ] }`, `tls: { names: [ b.example ] }`
	)
	for _, tt := range []struct{ name, one, two string }{
		{"two sections", peer + ", " + a, peer + ", " + b},
		{"a registrar at its own port", peer + ", " + a, account + ", " + b},
		{"the first has none", peer, peer + ", " + b},
		{"the second has none", peer + ", " + a, peer},
		{"a name", name + ", " + a, name + ", " + b},
	} {
		text := `outside: { address: 203.0.113.10, trunks: { udp: 5080, tcp: 5080, tls: 5081 }, tls: { certificate: /etc/sbc/tls.crt, key: /etc/sbc/tls.key } }
inside: { address: 10.0.0.2 }
pbx: { domain: example.com, nodes: [ { address: 10.0.0.10 } ] }
trunks:
  - { name: one, ` + tt.one + ` }
  - { name: two, ` + tt.two + ` }
`
		_, report := parseText("f", []byte(text), Flags{})
		if errs := report.list(report.Errors, ""); errs != "" {
			t.Errorf("%s: %s", tt.name, errs)
		}
		for _, p := range report.Warnings {
			if strings.Contains(p.Path, ".tls") {
				t.Errorf("%s: %s: %s", tt.name, p.Path, p.What)
			}
		}
	}
}
