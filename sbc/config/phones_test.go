package config

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sallyport/nat"
	"sallyport/policy"
	"sallyport/sbc/tu"
)

// TestPhonesOfASnapshot: what the rooms of the phones get.
func TestPhonesOfASnapshot(t *testing.T) {
	for file, want := range map[string]Phones{
		"minimal": {
			Domains: []string{"example.com", "203.0.113.10"}, Unregistered: "drop", Outside: time.Minute, Contacts: 8, PerSource: 200,
			Reauthenticate: 10 * time.Minute, Grace: 30 * time.Minute, Keepalive: 25 * time.Second, Latch: tu.LatchStrict, SRTP: tu.SRTPOptional, RingTimeout: 3 * time.Minute, MaxCall: 12 * time.Hour,
		},
		"phones": {
			Domains:      []string{"example.com", "sip.example.com", "old.example.net", "198.51.100.77", "203.0.113.11", "10.1.0.3"},
			Unregistered: "reject", Outside: 2 * time.Minute, Contacts: 4, PerSource: 1000, Keepalive: 20 * time.Second,
			Inside: time.Hour, Reauthenticate: 20 * time.Minute, Grace: time.Hour,
			Latch: tu.LatchDelayed, SRTP: tu.SRTPOptional, DTMF: tu.DTMFInfo, Trusted: []string{"P-Asserted-Identity", "X-Account", "Alert-Info"},
			MaxCall: 12 * time.Hour,
		},
	} {
		snap, report := parseFile(t, corpus+"/good/"+file+".yaml")
		if snap == nil {
			t.Fatal(report.String())
		}
		if d := cmp.Diff(want, snap.Phones); d != "" {
			t.Errorf("%s:\n%s", file, d)
		}
	}
	off := mustParse(t, strings.Replace(valid, "policy:", "phones: { latching: off }\npolicy:", 1))
	if off.Phones.Latch != tu.LatchOff {
		t.Error(off.Phones.Latch)
	}
}

// TestServedAddressesHaveNoBrackets: hosts are compared as the parser gives them.
func TestServedAddressesHaveNoBrackets(t *testing.T) {
	snap := mustParse(t, strings.NewReplacer("203.0.113.10", `"2001:DB8::10"`, "203.0.113.20", `"2001:db8:1::20"`).Replace(valid))
	if got := snap.Phones.Domains; !slices.Equal(got, []string{"example.com", "2001:db8::10"}) {
		t.Error(got)
	}
	closed := mustParse(t, strings.Replace(valid, "203.0.113.10 }", "203.0.113.10, phones: {} }", 1))
	if got := closed.Phones.Domains; !slices.Equal(got, []string{"example.com"}) {
		t.Errorf("addresses where nobody listens for phones: %v", got)
	}
}

// TestRegistrar: strangers may register only where they would get somewhere.
func TestRegistrar(t *testing.T) {
	for _, c := range []struct {
		old, new string
		want     bool
	}{
		{"", "", true},
		{"203.0.113.10 }", "203.0.113.10, phones: {} }", false},
		{"203.0.113.10 }", "203.0.113.10, phones: { tcp: 5060 } }", true},
		{"10.0.0.2 }", "10.0.0.2, phones: {} }", false},
		{"10.0.0.10 }", "10.0.0.10, realms: [ trunks ] }", false},
		{"10.0.0.10 }", "10.0.0.10, realms: [ trunks ] }, { address: 10.0.0.11, realms: [ phones ] }", true},
	} {
		snap := mustParse(t, strings.Replace(valid, c.old, c.new, 1))
		want := policy.PhonesConfig{Registrar: c.want, Unregistered: "drop"}
		if got := snap.Policy.Guard().Phones; got != want {
			t.Errorf("%s: %+v", c.new, got)
		}
	}
	snap := mustParse(t, strings.Replace(valid, "policy:", "phones: { unregistered: forward, reachable: [ info, 1.. ] }\npolicy:", 1))
	if got := snap.Policy.Guard().Phones.Unregistered; got != "forward" || len(snap.Phones.Reachable) != 2 || snap.Phones.Reachable[1].MatchString("1234") {
		t.Error(got)
	}
}

// TestKeepaliveWarning: a warning comes where a NAT would forget a phone between two of its REGISTERs, and only there.
func TestKeepaliveWarning(t *testing.T) {
	for text, warned := range map[string]bool{
		"keepalive: { interval: 25s }":                                 false,
		"keepalive: { interval: 1m }":                                  false,
		"keepalive: { interval: 61s }":                                 true,
		"keepalive: { interval: 0 }":                                   false, // REGISTER comes each minute
		"keepalive: { interval: 0 }, registration: { outside: 90s }":   true,
		"keepalive: { interval: 0 }, registration: { outside: 0 }":     true,
		"keepalive: { interval: 25s }, registration: { outside: 0 }":   false,
		"registration: { outside: 10s }":                               false,
		"registration: { outside: 1d }":                                false,
		"registration: { contacts: 100, per_source: 25000 }":           false,
		"keepalive: { interval: 10m }, ring_timeout: 0, domains: [ ]":  true,
		"keepalive: { interval: 5s }, domains: [ a.example, 10.9.9.9]": false,
	} {
		snap, report := parseText("f", []byte(strings.Replace(valid, "policy:", "phones: { "+text+" }\npolicy:", 1)), Flags{})
		if snap == nil || (len(report.Warnings) > 0) != warned {
			t.Errorf("%s:\n%s", text, report.String())
		}
	}
	closed := strings.NewReplacer("203.0.113.10 }", "203.0.113.10, phones: {} }", "policy:", "phones: { keepalive: { interval: 10m } }\npolicy:")
	if _, report := parseText("f", []byte(closed.Replace(valid)), Flags{}); len(report.Warnings) > 0 {
		t.Error("warned of phones where none are let in:\n" + report.String())
	}
}

// TestCertificateOpensTLS: a certificate opens 5061 for phones unless the map says what is open.
func TestCertificateOpensTLS(t *testing.T) {
	const pair = ", tls: { certificate: /etc/sbc/tls.crt, key: /etc/sbc/tls.key }"
	for extra, want := range map[string]uint16{
		"": 0, pair: 5061, pair + ", phones: { udp: 5060 }, trunks: { tls: 5081 }": 0, pair + ", phones: { tls: 5443 }": 5443,
	} {
		text := strings.Replace(valid, "address: 203.0.113.10", "address: 203.0.113.10"+extra, 1)
		if strings.Contains(extra, "tls: 5081") {
			text = strings.Replace(text, "203.0.113.20", "203.0.113.20, transport: tls", 1)
		}
		var got uint16
		for _, i := range mustParse(t, text).Interfaces {
			if i.Transport == nat.TLS && i.Realm == nat.Phones {
				got = i.Bind.Port()
			}
		}
		if got != want {
			t.Errorf("%s: port %d, want %d", extra, got, want)
		}
	}
}

// TestTLSFiles: what is wrong with a file is told at its key, with what to do.
func TestTLSFiles(t *testing.T) {
	for _, c := range []struct{ files, want, hint string }{
		{"certificate: /etc/sbc/tls.crt, key: /etc/sbc/tls.key", "", ""},
		{"certificate: /etc/sbc/tls.crt, key: /etc/sbc/tls.key, client_ca: /etc/sbc/ca.crt", "", ""},
		{"certificate: /etc/sbc/both.pem, key: /etc/sbc/both.pem", "", ""},
		{"certificate: /etc/sbc/tls.crt, key: /etc/sbc/open.key",
			"outside.tls.key: /etc/sbc/open.key is open to every user of this machine (0644)", "chmod 0640"},
		{"certificate: /etc/sbc/tls.crt, key: /etc/sbc/other.key",
			"outside.tls.key: /etc/sbc/other.key and /etc/sbc/tls.crt: private key does not match public key", "was made for"},
		{"certificate: /etc/sbc/tls.crt, key: /etc/sbc/empty.pem", "outside.tls.key: /etc/sbc/empty.pem and", "without a passphrase"},
		{"certificate: /etc/sbc/tls.crt, key: /etc/sbc/none.key", "outside.tls.key: /etc/sbc/none.key: file does not exist", "PEM file"},
		{"certificate: /etc/sbc/tls.crt, key: /etc/ssl/private/tls.key", "outside.tls.key: /etc/ssl/private/tls.key: permission denied", "chown root:sbc"},
		{"certificate: /etc/sbc/tls.crt, key: tls.key", `outside.tls.key: "tls.key" is not an absolute path`, "from /"},
		{"certificate: /etc/sbc/none.crt, key: /etc/sbc/tls.key", "outside.tls.certificate: /etc/sbc/none.crt: file does not exist", "PEM"},
		{"certificate: /etc/sbc/tls.key, key: /etc/sbc/tls.key", "outside.tls.certificate: no certificate in it", "BEGIN CERTIFICATE"},
		{"certificate: /etc/sbc/broken.crt, key: /etc/sbc/tls.key", "outside.tls.certificate: a certificate in it cannot be read", "anew"},
		{"certificate: /etc/sbc/tls.crt, key: /etc/sbc/tls.key, client_ca: /etc/sbc/empty.pem",
			"outside.tls.client_ca: no certificate in it", "BEGIN CERTIFICATE"},
		{"client_ca: /etc/sbc/ca.crt", "outside.tls.certificate: missing: a client_ca alone proves nothing", "tls.key"},
	} {
		text := strings.Replace(valid, "address: 203.0.113.10", "address: 203.0.113.10, tls: { "+c.files+" }", 1)
		snap, report := parseText("f", []byte(text), Flags{})
		if c.want == "" {
			if snap == nil || len(report.Warnings) > 0 {
				t.Errorf("%s:\n%s", c.files, report.String())
			}
			continue
		}
		if len(report.Errors) == 0 || !strings.Contains(report.Errors[0].String(), c.want) || !strings.Contains(report.Errors[0].Hint, c.hint) {
			t.Errorf("%s:\n%s", c.files, report.String())
		}
		if len(report.Errors) > 1 && !strings.HasPrefix(c.files, "client_ca") {
			t.Errorf("%s: one mistake, several errors:\n%s", c.files, report.String())
		}
	}
}

// TestCertificateNames: phones compare the certificate's name with that of their server, and register in the latter.
func TestCertificateNames(t *testing.T) {
	const pair = "tls: { certificate: /etc/sbc/tls.crt, key: /etc/sbc/tls.key }"
	for _, c := range []struct{ outside, phones, note, warning string }{
		{"", "", "", ""},
		{pair, "", "f:2:55: outside.tls.certificate: it is for sbc.example.com, which is none of the domains", ""},
		{pair, "domains: [ SBC.example.com ]", "", ""},
		{pair + ", phones: {}, trunks: { tls: 5081, udp: 5080 }", "", "", ""},
		{strings.ReplaceAll(strings.ReplaceAll(pair, "tls.crt", "plain.pem"), "tls.key", "plain.pem"), "", "",
			"f:2:55: outside.tls.certificate: names no host"},
	} {
		text := strings.NewReplacer("203.0.113.10 }", "203.0.113.10, "+c.outside+" }", "policy:", "phones: { "+c.phones+" }\npolicy:").Replace(valid)
		if c.outside == "" {
			text = valid
		}
		snap, report := parseText("f", []byte(text), Flags{})
		if snap == nil {
			t.Fatal(report.String())
		}
		notes, warnings := report.list(slices.DeleteFunc(report.Notes, func(p Problem) bool { return strings.HasPrefix(p.Path, "policy") }), ""), report.list(report.Warnings, "")
		if (notes == "") != (c.note == "") || !strings.HasPrefix(notes, c.note) || (warnings == "") != (c.warning == "") || !strings.HasPrefix(warnings, c.warning) {
			t.Errorf("%s %s: notes %q, warnings %q", c.outside, c.phones, notes, warnings)
		}
	}
}
