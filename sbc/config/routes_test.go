package config

import (
	"slices"
	"strings"
	"testing"

	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// routedText is a configuration with two nodes in groups and three trunks; more comes behind it.
const routedText = `
outside: { address: 203.0.113.10, trunks: { udp: 5080, tcp: 5080 } }
inside: { address: 10.0.0.2 }
pbx:
  domain: example.com
  nodes:
    - { address: "10.0.0.10:5060", group: east }
    - { address: "10.0.0.11:5060", group: west, realms: [ phones ] }
`

func routes(t *testing.T, text string) (*Snapshot, string) {
	t.Helper()
	snap, report := parseText("f", []byte(routedText+text), Flags{})
	return snap, report.String()
}

const twoTrunks = `
trunks:
  - { name: a, peers: [ { address: 192.0.2.1 } ], group: g, weight: 3, failover: [ 404, 5xx ], inbound: { match: '\+49.*' }, numbers: { format: plus, user_phone: true } }
  - { name: b, peers: [ { address: 192.0.2.2 } ], group: g, priority: 2, numbers: { format: national } }
`

func TestRoutesOfASnapshot(t *testing.T) {
	snap, said := routes(t, twoTrunks+`
routes:
  country: de
  inbound:
    - { trunk: a, did: '\+4930.*', to: east, numbers: [ { of: called, match: '\+(.*)', replace: '00$1' } ] }
    - { from: [ '0172.*', anonymous ] }
emergency: { numbers: [ "112" ], trunks: [ b, a ] }
`)
	if snap == nil || said != "" {
		t.Fatal(said)
	}
	a, b, r := &snap.Trunks[0], &snap.Trunks[1], &snap.Routes
	switch {
	case r.Country == nil || r.Country.ISO != "DE" || !slices.Equal(r.Emergency, []string{"b", "a"}) || len(r.Inbound) != 2:
		t.Errorf("%+v", r)
	case !slices.Equal(r.Inbound[0].Trunks, []string{"a"}) || !slices.Equal(r.Inbound[0].To, []string{"east"}) || len(r.Inbound[0].DID) != 1 ||
		len(r.Inbound[0].Numbers) != 1 || r.Inbound[0].Numbers[0].Replace != "00${1}" || len(r.Inbound[1].From) != 2:
		t.Errorf("%+v", r.Inbound)
	case a.Group != "g" || a.Priority != 1 || a.Weight != 3 || len(a.Numbers) != 1 || !a.Numbers[0].MatchString("+4930"):
		t.Errorf("%+v", a)
	case !slices.Equal(a.Failover, tu.Codes{{First: 404, Last: 404}, {First: 500, Last: 599}}) || !slices.Equal(b.Failover, tu.Codes{{First: 503, Last: 503}}):
		t.Errorf("%+v %+v", a.Failover, b.Failover)
	case b.Priority != 2 || b.Weight != 1 || snap.PBX.Nodes[1].Group != "west":
		t.Errorf("%+v", b)
	}
	u := message.URI{Scheme: "sip", User: "030123456", Host: "h"}
	if got, _ := a.Rules.Form(u); got.String() != "sip:+4930123456@h;user=phone" {
		t.Error(got)
	}
	if got, changed := b.Rules.Form(u); changed {
		t.Error(got)
	}
	if got, changed := a.Rules.Form(message.URI{Scheme: "sip", User: "112", Host: "h"}); changed {
		t.Error(got)
	}
	if plain, _ := routes(t, "trunks: [ { name: a, peers: [ { address: 192.0.2.1 } ] } ]"); plain == nil || plain.Trunks[0].Rules != nil || plain.Routes.Country != nil {
		t.Error("by default nothing is changed")
	}
}

func TestBadRoutes(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"routes: { country: QQ }", `routes.country: the way in which "QQ" dials is not known`},
		{"routes: { inbound: [ { to: north } ] }", "routes.inbound[0].to[0]: no node is in the group \"north\"\n  hint: groups of pbx.nodes are east, west"},
		{"routes: { inbound: [ { to: west } ] }", "routes.inbound[0].to[0]: no node of the group \"west\" takes calls from trunks\n  hint: add trunks"},
		{"routes: { inbound: [ { to: [ east, east ] } ] }", `routes.inbound[0].to[1]: "east" stands here twice`},
		{"routes: { inbound: [ { trunk: c } ] }", `routes.inbound[0].trunk[0]: no trunk has the name "c"`},
		{"routes: { inbound: [ { did: '(' } ] }", "routes.inbound[0].did[0]: error parsing regexp"},
		{"routes: { inbound: [ { numbers: [ { of: called, match: '1', replace: '$1' } ] } ] }", "routes.inbound[0].numbers[0].replace: $1: match has no such group"},
		{"routes: { inbound: [ { to: east }, { did: '1.*' } ] }", "routes.inbound[1]: never reached: routes.inbound[0] takes every call"},
		{"emergency: { trunks: [ bb ] }", `emergency.trunks[0]: no trunk has the name "bb"`},
		{"emergency: { trunks: [ b ] }", "emergency.trunks: no number is an emergency number"},
		{"emergency: { numbers: [ '112' ], trunks: [ b, b ] }", `emergency.trunks[1]: "b" stands here twice`},
	} {
		more := tt.text // the trunks want a country
		switch {
		case !strings.HasPrefix(more, "routes"):
			more = "routes: { country: DE }\n" + more
		case !strings.Contains(more, "country"):
			more = strings.Replace(more, "routes: {", "routes: { country: DE,", 1)
		}
		if _, said := routes(t, twoTrunks+more); !strings.Contains(said, tt.want) {
			t.Errorf("%s:\n%s", tt.text, said)
		}
	}
}

func TestBadPlacesOfTrunks(t *testing.T) {
	for keys, want := range map[string]string{
		"failover: [ 486 ]":             "486 is the callee's own decision",
		"failover: [ 603 ]":             "603 is the callee's own decision",
		"failover: [ 600 ]":             "600 is the callee's own decision",
		"failover: [ 6xx ]":             "6xx is the callee's own decision",
		"failover: [ 4xx ]":             "4xx holds answers that say what to do next",
		"failover: [ 407 ]":             "407 says what to do next",
		"failover: [ 302 ]":             "302 says what to do next",
		"failover: [ 5x ]":              `"5x" is no status code`,
		"failover: [ 500, 500 ]":        "500 stands here twice",
		"numbers: { format: national }": "trunks[0].numbers.format: national numbers are written as a country dials",
		"numbers: { format: plus }":     "trunks[0].numbers.format: routes.country is not set",
		"numbers: { format: local }":    "trunks[0].numbers.format",
		"group: west":                   "trunks[0].group: no other trunk is in the group \"west\"",
		"group: 'w w'":                  `trunks[0].group: "w w" is not a name`,
		"weight: 3":                     "trunks[0]: priority and weight count among trunks of one group",
		"inbound: { match: [ '(' ] }":   "trunks[0].inbound.match[0]: error parsing regexp",
	} {
		_, said := routes(t, "trunks:\n  - { name: a, peers: [ { address: 192.0.2.1 } ], "+keys+" }\n")
		if !strings.Contains(said, want) {
			t.Errorf("%s:\n%s", keys, said)
		}
	}
}

// TestSharedSourcesThatAreTold: no warning where something tells the trunks apart.
func TestSharedSourcesThatAreTold(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		warn bool
	}{
		{"", "", true},
		{"inbound: { match: '1.*' },", "", false},
		{"", "inbound: { match: '1.*' },", false},
		{"inbound: { match: '1.*' },", "inbound: { match: '2.*' },", false},
	} {
		_, said := routes(t, "trunks:\n  - { name: a, "+tt.a+" peers: [ { address: 192.0.2.1 } ] }\n  - { name: b, "+tt.b+" peers: [ { address: 192.0.2.1 } ] }\n")
		if warned := strings.Contains(said, `trunks[1]: source 192.0.2.1 is one of trunk "a" too`); warned != tt.warn {
			t.Errorf("%s %s: %s", tt.a, tt.b, said)
		}
	}
	_, said := routes(t, "trunks:\n  - { name: a, peers: [ { address: 192.0.2.1 } ] }\n  - { name: b, peers: [ { address: 192.0.2.1, transport: tcp } ] }\n")
	if said != "" {
		t.Errorf("they have different transports: %s", said)
	}
}
