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
