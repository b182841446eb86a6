package config

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sallyport/sbc/tu"
)

// account is a configuration with one trunk that registers.
func account(registration, more string) string {
	return "outside: { address: 203.0.113.10, trunks: { udp: 5080 } }\ninside: { address: 10.0.0.2 }\n" +
		"pbx: { domain: example.com, nodes: [ { address: 10.0.0.10 } ] }\n" +
		"trunks: [ { name: itsp, mode: register, registration: { " + registration + " }" + more + " } ]\n"
}

func TestRegistrations(t *testing.T) {
	snap, report := parseText("f", []byte(account(
		`registrar: "203.0.113.20", username: "4930555", password: "file:/etc/sbc/itsp.secret"`, "")), Flags{})
	if snap == nil || len(report.Warnings) > 0 {
		t.Fatal(report.String())
	}
	trunk := snap.Trunks[0]
	r := trunk.Registration
	got := fmt.Sprint(r.Domain, " ", r.Username, " ", r.Account, " ", r.Account.Password.Reveal(), " ", r.Expires, " ", r.ContactUser, " ", r.GIN, " ",
		r.Targets[0].Address, " ", r.Targets[0].Transport, " calls to ", trunk.Peers[0].Address, " from ", trunk.Sources)
	want := "203.0.113.20 4930555 4930555 s3cret 10m0s 4930555 false 203.0.113.20:5060 udp calls to 203.0.113.20:5060 from [203.0.113.20/32]"
	if got != want {
		t.Errorf("%s\nwant %s", got, want)
	}

	snap, report = parseText("f", []byte(account(`registrar: SIP.Example.net, proxy: "203.0.113.21:5070", username: a, auth_username: "a@b",
		password: "${TRUNK_PASSWORD}", expires: 1h, realm: example.net, gin: true`,
		`, peers: [ { address: 203.0.113.22 } ], keepalive: { method: crlf }`)), Flags{})
	if snap == nil || len(report.Warnings) > 0 {
		t.Fatal(report.String())
	}
	trunk = snap.Trunks[0]
	r = trunk.Registration
	got = fmt.Sprint(r.Domain, " ", r.Username, " ", r.Account, " ", r.Account.Password.Reveal(), " ", r.Account.Realms, " ", r.Expires, " ", r.ContactUser, " ", r.GIN,
		" ", r.Targets[0].Address, " calls to ", trunk.Peers[0].Address, " ", trunk.Probe.CRLF)
	want = "sip.example.net a a@b of the environment [example.net] 1h0m0s  true 203.0.113.21:5070 calls to 203.0.113.22:5060 true"
	if got != want {
		t.Errorf("%s\nwant %s", got, want)
	}

	snap, report = parseText("f", []byte(account(`registrar: 203.0.113.20, username: a, contact_user: b, password: plain`, "")), Flags{})
	if snap == nil || len(report.Warnings) != 1 || !strings.Contains(report.String(), "the password stands in the configuration") {
		t.Fatal(report.String())
	}
	if r := snap.Trunks[0].Registration; r.ContactUser != "b" || r.Account.Password.Reveal() != "plain" {
		t.Errorf("%+v", r)
	}
	snap, report = parseText("f", []byte(account(`registrar: 203.0.113.20, username: a`, "")), Flags{})
	if snap == nil || len(report.Warnings) != 1 || snap.Trunks[0].Registration.Account != nil {
		t.Fatal(report.String())
	}
}

func TestBadRegistrations(t *testing.T) {
	const good = "registrar: 203.0.113.20, username: a, "
	for text, want := range map[string]string{
		`username: a, password: "file:/etc/sbc/itsp.secret"`:                      "registration.registrar: missing",
		`registrar: 203.0.113.20, password: "file:/etc/sbc/itsp.secret"`:          "registration.username: missing",
		`registrar: 203.0.113.20, username: "a@b", password: "${NONE}"`:           "no user part of a URI",
		good + `password: "${NONE}"`:                                              "the environment has no NONE",
		good + `password: "file:itsp.secret"`:                                     "not an absolute path",
		good + `password: "file:/etc/sbc/open.secret"`:                            "open to every user of this machine (0644)",
		good + `password: "file:/etc/sbc/two.secret"`:                             "more than one line",
		good + `password: "file:/etc/sbc/empty.secret"`:                           "is empty",
		good + `password: "file:/etc/sbc/root.secret"`:                            "permission denied",
		good + `password: "file:/etc/sbc/none.secret"`:                            "does not exist",
		good + `password: "x", expires: 5s`:                                       "expires: 5s is out of range",
		good + `password: "x", expires: 2d`:                                       "expires: 2d is out of range",
		good + `password: "x", gin: true, contact_user: a`:                        "not with gin: true",
		good + `password: "x", contact_user: "a b"`:                               "no user part",
		good + `password: "x", realm: [ "" ]`:                                     "is no realm",
		good + `password: "x", transport: tcp`:                                    "registration.transport: outside.trunks has no tcp listener",
		good + `password: "x", transport: wss`:                                    "not a possible value",
		good + `password: "x", proxy: "203.0.113.10:5080"`:                        "registration.proxy: 203.0.113.10:5080 is our own",
		`registrar: 203.0.113.20, username: a, auth_username: "a\"", password: x`: "cannot stand in credentials",
	} {
		snap, report := parseText("f", []byte(account(text, "")), Flags{})
		if snap != nil || !strings.Contains(report.String(), want) || !strings.Contains(report.String(), "hint: ") {
			t.Errorf("%s:\n%s\nwant %s", text, report.String(), want)
		}
	}
	text := strings.Replace(account(good+"password: x", ", peers: [ { address: 203.0.113.20 } ]"), "mode: register, ", "", 1)
	if snap, report := parseText("f", []byte(text), Flags{}); snap != nil || !strings.Contains(report.String(), "mode is address") {
		t.Error(report.String())
	}
}

// TestPasswordsAreNotShown: neither by a diff nor by any print.
func TestPasswordsAreNotShown(t *testing.T) {
	parsed := func(password string) *Snapshot {
		snap, report := parseText("f", []byte(account(`registrar: 203.0.113.20, username: a, password: "`+password+`"`, "")), Flags{})
		if snap == nil {
			t.Fatal(report.String())
		}
		return snap
	}
	plain := parsed("hush-hush")
	for _, tt := range []struct {
		a, b *Snapshot
		want []Change
	}{
		{plain, parsed("hush-hush"), nil},
		{plain, parsed("hush"), []Change{{"trunks[itsp].registration.password", `(hidden)`, "(hidden) (another one)", "live"}}},
		{plain, parsed("file:/etc/sbc/itsp.secret"), []Change{{"trunks[itsp].registration.password", `(hidden)`, `"file:/etc/sbc/itsp.secret"`, "live"}}},
	} {
		if diff := cmp.Diff(tt.want, Diff(tt.a, tt.b)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	// A file with another password in it is a change, too.
	same := parsed("file:/etc/sbc/itsp.secret")
	other := parsed("file:/etc/sbc/itsp.secret")
	other.doc.Trunks[0].Registration.Password.value = tu.NewPassword("another")
	if c := Diff(same, other); len(c) != 1 || c[0].New != `"file:/etc/sbc/itsp.secret" (another one)` {
		t.Errorf("%+v", c)
	}
	gone := mustParse(t, strings.SplitN(account("", ""), "trunks: [", 2)[0]+"trunks: []\n")
	for _, text := range []string{
		fmt.Sprint(Diff(gone, plain)), fmt.Sprintf("%v %+v %#v", plain.doc.Trunks, plain.doc.Trunks, plain.doc.Trunks),
		fmt.Sprintf("%v %+v %#v", plain.Trunks[0].Registration.Account, plain.Trunks[0].Registration.Account, plain.Trunks[0].Registration.Account),
	} {
		if strings.Contains(text, "hush") {
			t.Error(text)
		}
	}
	if plain.Trunks[0].Registration.Expires != 10*time.Minute {
		t.Error("the default")
	}
}
