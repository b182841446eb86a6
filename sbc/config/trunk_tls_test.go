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

// TestSharedTLS: two trunks that lead to one place and want different things of it are told of, those that agree are not.
func TestSharedTLS(t *testing.T) {
	const (
		peer     = `peers: [ { address: "203.0.113.20:5061", transport: tls } ]`
		account  = `mode: register, registration: { registrar: sip.example.net, proxy: 203.0.113.20, transport: tls, username: a, password: "file:/etc/sbc/itsp.secret" }`
		a, b     = `tls: { names: [ a.example ] }`, `tls: { names: [ b.example ] }`
		bothWant = "trunk one leads to 203.0.113.20:5061 by TLS as well: connections are shared, and its tls counts for both"
	)
	for _, tt := range []struct{ name, one, two, want string }{
		{"two sections", peer + ", " + a, peer + ", " + b, bothWant},
		{"the same one", peer + ", " + a, peer + ", " + a, ""},
		{"none", peer, peer, ""},
		{"another port", peer + ", " + a, `peers: [ { address: "203.0.113.20:5071", transport: tls } ], ` + b, ""},
		{"another transport", peer + ", " + a, `peers: [ { address: "203.0.113.20:5061", transport: tcp } ], tls: {}`, ""},
		{"a registrar at its own port", peer + ", " + a, account + ", " + b, bothWant},
		{"the first has none", peer, peer + ", " + b, "trunk one leads to 203.0.113.20:5061 by TLS as well, without tls: connections are shared, and what stands here"},
		{"the second has none", peer + ", " + a, peer, bothWant},
		{"a name", `peers: [ { address: sip.example.net, transport: tls } ], ` + a, `peers: [ { address: SIP.example.net, transport: tls } ], ` + b,
			"trunk one leads to sip.example.net by TLS"},
		{"a name, another port", `peers: [ { address: sip.example.net, transport: tls } ], ` + a, `peers: [ { address: "sip.example.net:5062", transport: tls } ], ` + b, ""},
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
			continue
		}
		var found []string
		for _, p := range report.Warnings {
			if strings.Contains(p.Path, ".tls") {
				found = append(found, p.Path+": "+p.What)
			}
		}
		if got := strings.Join(found, "\n"); tt.want == "" && got != "" || tt.want != "" && (len(found) != 1 || !strings.HasPrefix(got, "trunks[1].tls: "+tt.want)) {
			t.Errorf("%s: found %q, want %q", tt.name, got, tt.want)
		}
	}
}
