package config

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

func mustParse(t *testing.T, text string) *Snapshot {
	t.Helper()
	snap, report := parseText("test", []byte(text), Flags{})
	if snap == nil {
		t.Fatalf("%s\nin:\n%s", report.String(), text)
	}
	return snap
}

func TestDiffNamesTheKeyAndWhenItCounts(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(corpus, "good", "large.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ old, new, want string }{
		{"ring_timeout: 90s", "ring_timeout: 2m", "~ trunks[itsp].ring_timeout: 1m30s → 2m (new calls)"},
		{"ring_timeout: 90s", "ring_timeout: 90000ms", "no change"},
		{"dscp: 0", "dscp: 46", "~ media.dscp: 0 → 46 (restart)"},
		{"backend: steer", "backend: auto", "~ media.backend: steer → auto (restart)"},
		{", latency: low", "", "~ media.latency: low → normal (restart)"},
		{"udp: 5080, address: 203.0.113.11", "udp: 5090, address: 203.0.113.11", "~ outside.trunks.udp: 5080 → 5090 (listener)"},
		{"rate: 10/second", "rate: 11/second", "~ policy.strangers.rate: 10/second → 11/second (live)"},
		{"INVITE: 10/minute, ", "", "~ policy.rate_limits[everybody].limits: { *: 100/minute, INVITE: 10/minute, OPTIONS: 10/minute } → " +
			"{ *: 100/minute, OPTIONS: 10/minute } (live)"},
		{"name: second.provider", "name: seven", "- trunks[second.provider]: { name: second.provider, mode: address, peers: " +
			"[{ address: 198.51.100.20:5060, transport: udp, weight: 1, priority: 1 }], … } (live)\n" +
			"+ trunks[seven]: { name: seven, mode: address, peers: " +
			"[{ address: 198.51.100.20:5060, transport: udp, weight: 1, priority: 1 }], … } (live)"},
		{"weight: 10", "weight: 11", "~ pbx.nodes[[fd00::9]:5060].weight: 10 → 11 (live)"},
		{"fd00::12-fd00::19", "fd00::12/127", "~ pbx.sources: [fd00::12-fd00::19] → [fd00::12/127] (live)"},
		{"    - 192.0.2.7\n", "", "- policy.white_list[192.0.2.7]: { range: [192.0.2.7], realms: [phones, trunks], " +
			"exempt: [limits, bans, user_agents, countries] } (live)"},
		{"phones: answer", "phones: silent", "~ policy.strangers.phones: answer → silent (live)"},
		{"phones: {}\n  trunks", "phones: { udp: 5060 }\n  trunks", "~ outside.phones.udp: 0 → 5060 (listener)"},
		{"attempt_timeout: 2s", "attempt_timeout: 3s", "~ pbx.attempt_timeout: 2s → 3s (new calls)"},
		{"max_size: 500MB", "max_size: 1GB", "~ cdr.max_size: 500MB → 1GB (restart)"},
		{"security_file: /var/log/sbc/security.log", `security_file: ""`, `~ log.security_file: /var/log/sbc/security.log → "" (restart)`},
	} {
		next := strings.Replace(string(data), c.old, c.new, 1)
		if next == string(data) {
			t.Errorf("%q does not stand in the file", c.old)
			continue
		}
		got := restOfTrunk.ReplaceAllString(render(Diff(mustParse(t, string(data)), mustParse(t, next))), ", … } (live)")
		if got != c.want {
			t.Errorf("%s → %s:\n%s\nwant:\n%s", c.old, c.new, got, c.want)
		}
	}
}

// restOfTrunk is what a trunk has besides its name and addresses: each new key stands there.
var restOfTrunk = regexp.MustCompile(`, symmetric: .* \} \(live\)`)

func TestDiffOfPhones(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(corpus, "good", "phones.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ old, new, want string }{
		{"tls: 5061, ", "", "~ outside.phones.tls: 5061 → 0 (listener)"},
		{"tls: 5061, ", "tls: 5061, wss: 443, ", "~ outside.phones.wss: 0 → 443 (listener)"},
		{"tcp: 5060, tls", "tcp: 5070, tls", "~ outside.phones.tcp: 5060 → 5070 (listener)"},
		{"key: /etc/sbc/tls.key", "key: /etc/sbc/both.pem", "~ outside.tls.key: /etc/sbc/tls.key → /etc/sbc/both.pem (live)"},
		{", client_ca: /etc/sbc/ca.crt", "", `~ outside.tls.client_ca: /etc/sbc/ca.crt → "" (live)`},
		{"phones: { tcp: 5060 }", "phones: { udp: 5060, tcp: 5060 }", "~ inside.phones.udp: 0 → 5060 (listener)"},
		{`"10.0.0.11:5062", transport: tcp`, `"10.0.0.11:5062"`, ""},
		{", 198.51.100.77 ]", " ]", "~ phones.domains: [SIP.example.com, old.example.net., 198.51.100.77] → [SIP.example.com, old.example.net.] (live)"},
		{"unregistered: reject", "unregistered: drop", "~ phones.unregistered: reject → drop (live)"},
		{"outside: 2m, contacts: 4", "contacts: 4", "~ phones.registration.outside: 2m → 1m (live)"},
		{"contacts: 4, ", "", "~ phones.registration.contacts: 4 → 8 (live)"},
		{"per_source: 1000", "per_source: 999", "~ phones.registration.per_source: 1000 → 999 (live)"},
		{", inside: 1h, reauthenticate: 20m", "", "~ phones.registration.inside: 1h → 0s (live)\n~ phones.registration.reauthenticate: 20m → 10m (live)"},
		{"grace: 1h", "grace: 0", "~ phones.registration.grace: 1h → 0s (live)"},
		{"interval: 20s", "interval: 0", "~ phones.keepalive.interval: 20s → 0s (live)"},
		{"latching: delayed", "latching: off", "~ phones.latching: delayed → off (new calls)"},
		{"x-account, ", "", "~ phones.trusted_headers: [p-asserted-identity, x-account, ALERT-INFO] → [p-asserted-identity, ALERT-INFO] (new calls)"},
		{"ring_timeout: 0", "ring_timeout: 90s", "~ phones.ring_timeout: 0s → 1m30s (new calls)"},
	} {
		next := strings.Replace(string(data), c.old, c.new, 1)
		if next == string(data) {
			t.Errorf("%q does not stand in the file", c.old)
			continue
		}
		if c.want == "" { // not possible: nobody listens there
			if snap, _ := parseText("f", []byte(next), Flags{}); snap != nil {
				t.Errorf("%s is accepted", c.new)
			}
			continue
		}
		if got := render(Diff(mustParse(t, string(data)), mustParse(t, next))); got != c.want {
			t.Errorf("%s → %s:\n%s\nwant:\n%s", c.old, c.new, got, c.want)
		}
	}
}

func TestDiffOfOrder(t *testing.T) {
	const head = `
outside: { address: 203.0.113.10 }
inside: { address: 10.0.0.2 }
pbx: { domain: example.com, nodes: [ { address: 10.0.0.10 } ] }
policy: { rate_limits: [] }
trunks:
`
	a, b := "  - { name: a, peers: [ { address: 203.0.113.20 } ] }\n", "  - { name: b, peers: [ { address: 203.0.113.30 } ] }\n"
	got := render(Diff(mustParse(t, head+a+b), mustParse(t, head+b+a)))
	if want := "~ trunks (order): [a, b] → [b, a] (live)"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	// A new element in front is no change of order.
	got = render(Diff(mustParse(t, head+a), mustParse(t, head+b+a)))
	if strings.Contains(got, "order") || !strings.HasPrefix(got, "+ trunks[b]") {
		t.Error(got)
	}
}

// TestEveryKeyIsTagged: a key without a reload tag of its own has none above it either, and cannot be diffed.
func TestEveryKeyIsTagged(t *testing.T) {
	allowed := map[string]bool{"live": true, "new calls": true, "listener": true, "restart": true}
	var walk func(path string, typ reflect.Type)
	walk = func(path string, typ reflect.Type) {
		for i := range typ.NumField() {
			f := typ.Field(i)
			at := join(path, keyOf(f.Tag))
			if keyOf(f.Tag) == "" {
				t.Errorf("%s.%s has no key", typ, f.Name)
			}
			section := isSection(f.Type)
			if tag := f.Tag.Get("reload"); !section && !allowed[tag] {
				t.Errorf("%s: reload %q", at, tag)
			} else if section && tag != "" {
				t.Errorf("%s: a section has no tag of its own", at)
			}
			if k := f.Type.Kind(); (k == reflect.Int || k == reflect.Uint8 || k == reflect.Uint16) && f.Tag.Get("bounds") == "" {
				t.Errorf("%s: a number without bounds", at)
			}
			if key := f.Tag.Get("key"); key != "" && !hasKey(fieldsOf(f.Type.Elem()), key) {
				t.Errorf("%s: its elements have no key %q", at, key)
			}
			switch {
			case section:
				walk(at, f.Type)
			case f.Type.Kind() == reflect.Slice && isSection(f.Type.Elem()):
				walk(at+"[]", f.Type.Elem())
			}
		}
	}
	walk("", reflect.TypeFor[Document]())
}
