package config

import (
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func parseFlags(t *testing.T, args ...string) Flags {
	t.Helper()
	var f Flags
	set := pflag.NewFlagSet("run", pflag.ContinueOnError)
	f.Bind(set)
	if err := set.Parse(args); err != nil {
		t.Fatal(err)
	}
	return f
}

// cardArgs describe a whole deployment without a file.
var cardArgs = []string{
	"--outside", "203.0.113.10", "--external", "198.51.100.5", "--inside", "10.0.0.2", "--pbx", "10.0.0.10",
	"--pbx", "10.0.0.11:5070", "--domain", "example.com", "--trunk", "itsp=203.0.113.20:5060",
	"--internal", "10.0.0.0/8,192.168.0.0/16", "--rtp-ports", "20000-20100", "--block-ua", "sipcli, again",
	"--limit", "INVITE=10/minute", "--limit", "OPTIONS=1/second", "--white-list", "192.0.2.0/28", "--socket", "/run/x.sock",
}

func TestFlagsAloneDescribeADeployment(t *testing.T) {
	f := parseFlags(t, cardArgs...)
	if f.Path() != "" {
		t.Fatalf("reads %q although flags say everything", f.Path())
	}
	snap, report := Load(f.Path(), f)
	if snap == nil || len(report.Warnings) != 0 {
		t.Fatalf("%s", report.String())
	}
	d := snap.document()
	for what, pair := range map[string][2]string{
		"outside":   {d.Outside.Address[0].String(), "203.0.113.10"},
		"external":  {snap.Interfaces[0].Advertised.String(), "198.51.100.5:5060"},
		"inside":    {d.Inside.Address[0].String(), "10.0.0.2"},
		"node":      {snap.PBX.Nodes[0].Address.String(), "10.0.0.10:5060"},
		"node 2":    {snap.PBX.Nodes[1].Address.String(), "10.0.0.11:5070"},
		"domain":    {snap.PBX.Domain, "example.com"},
		"trunk":     {snap.Trunks[0].Name, "itsp"},
		"peer":      {snap.Trunks[0].Peers[0].Address.String(), "203.0.113.20:5060"},
		"sources":   {snap.Trunks[0].Sources[0].String(), "203.0.113.20/32"},
		"out":       {snap.Trunks[0].Outbound[0].String(), `\A(?:^\+?[0-9]{2,15}$)\z`},
		"internal":  {snap.Internal[1].String(), "192.168.0.0/16"},
		"ports":     {d.Media.Ports.String(), "20000-20100"},
		"agent":     {d.Policy.DenyUserAgents[0].Match, "sipcli, again"},
		"limit":     {d.Policy.RateLimits[0].Name, "command line"},
		"range":     {d.Policy.RateLimits[0].Range[0].String(), "any"},
		"rate":      {d.Policy.RateLimits[0].Limits["INVITE"].String(), "10/minute"},
		"second":    {d.Policy.RateLimits[0].Limits["OPTIONS"].String(), "1/second"},
		"whitelist": {d.Policy.WhiteList[0].Range[0].String(), "192.0.2.0/28"},
		"socket":    {snap.Socket, "/run/x.sock"},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: %q, want %q", what, pair[0], pair[1])
		}
	}
	if len(d.Policy.DenyUserAgents) != 1 || len(d.InternalRanges) != 2 {
		t.Error("a list was not replaced")
	}
}

func TestPathOfTheFile(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, DefaultPath},
		{[]string{"--socket", "/run/x.sock"}, DefaultPath},
		{[]string{"--config", "/tmp/a.yaml"}, "/tmp/a.yaml"},
		{[]string{"--config", "/tmp/a.yaml", "--outside", "192.0.2.1"}, "/tmp/a.yaml"},
		{[]string{"--outside", "192.0.2.1"}, ""},
		{[]string{"--pbx", "192.0.2.1"}, ""},
	} {
		f := parseFlags(t, c.args...)
		if got := f.Path(); got != c.want {
			t.Errorf("%v: %q, want %q", c.args, got, c.want)
		}
	}
}

const overlaid = `
outside: { address: 203.0.113.10 }
inside: { address: 10.0.0.2 }
internal_ranges: [ 10.0.0.0/8 ]
pbx: { domain: example.com, nodes: [ { address: "10.0.0.10:5060", weight: 7 } ] }
trunks:
  - { name: a, ring_timeout: 90s, peers: [ { address: 203.0.113.20 }, { address: 203.0.113.21 } ] }
  - { name: b, peers: [ { address: 203.0.113.30 } ] }
policy:
  rate_limits: [ { name: mine, range: 192.0.2.0/24, limits: { invite: 5/minute } } ]
`

func TestFlagsGoOverTheFile(t *testing.T) {
	f := parseFlags(t, "--pbx", "10.0.0.10:5060", "--pbx", "10.0.0.11", "--trunk", "a=203.0.113.40", "--trunk", "c=203.0.113.50",
		"--trunk", "a=203.0.113.41:5070", "--domain", "other.example")
	snap, report := Parse("f", []byte(strings.Replace(overlaid, "invite", "INVITE", 1)), f)
	if snap == nil {
		t.Fatal(report.String())
	}
	if n := snap.PBX.Nodes; len(n) != 2 || n[0].Weight != 7 || n[1].Address.String() != "10.0.0.11:5060" {
		t.Errorf("nodes: %+v", n)
	}
	tr := snap.Trunks
	if len(tr) != 3 || len(tr[0].Peers) != 2 || tr[0].Peers[0].Address.String() != "203.0.113.40:5060" ||
		tr[0].Peers[1].Address.String() != "203.0.113.41:5070" || tr[0].RingTimeout.String() != "1m30s" || tr[2].Name != "c" {
		t.Errorf("trunks: %+v", tr)
	}
	if snap.PBX.Domain != "other.example" || len(snap.Internal) != 1 {
		t.Error("a scalar did not override, or a list was touched")
	}
}

// TestErrorsAreToldWhereTheyCameFrom: a rule put in front moves the file's rules, not their lines.
func TestErrorsAreToldWhereTheyCameFrom(t *testing.T) {
	f := parseFlags(t, "--limit", "INVITE=1/second", "--pbx", "203.0.113.10:5080", "--trunk", "b=203.0.113.10:5060")
	_, report := Parse("f", []byte(overlaid), f)
	want := []string{
		"--pbx: pbx.nodes[1].address: 203.0.113.10:5080 is our own outside.trunks.udp",
		"--trunk: trunks[1].peers[0].address: 203.0.113.10:5060 is our own outside.phones.udp",
		`f:10:71: policy.rate_limits[1].limits.invite: "invite" is not a method`,
	}
	if len(report.Errors) != len(want) {
		t.Fatalf("%s", report.String())
	}
	for i, w := range want {
		if got := report.Errors[i].String(); !strings.HasPrefix(got, w) {
			t.Errorf("%s\nwant %s", got, w)
		}
	}
}

func TestBadFlags(t *testing.T) {
	for _, c := range []struct {
		args       []string
		what, hint string
	}{
		{[]string{"--outside", "gate"}, `--outside: outside.address: "gate" is a name`, "IP address"},
		{[]string{"--outside", "192.0.2.1,192.0.2.2"}, "--outside: outside.address[1]: 192.0.2.2 is a second address", "second instance"},
		{[]string{"--external", "0.0.0.0"}, "--external: outside.external_address[0]: nobody can reach", "public"},
		{[]string{"--inside", ""}, "inside.address: missing", "--inside"},
		{[]string{"--pbx", "10.0.0.1:x"}, `--pbx: pbx.nodes: "x" is not a port`, "65535"},
		{[]string{"--trunk", "203.0.113.20"}, `--trunk: trunks: "203.0.113.20" has no name`, "name=address"},
		{[]string{"--trunk", "=203.0.113.20"}, `--trunk: trunks: "=203.0.113.20" has no name`, "name=address"},
		{[]string{"--trunk", "a b=203.0.113.20"}, `--trunk: trunks[1].name: "a b" is not a name`, "letters"},
		{[]string{"--trunk", "a=1b"}, `--trunk: trunks: "1b" is not an IP address`, "IP address"},
		{[]string{"--internal", "10.0.0.1/8"}, "--internal: internal_ranges: ", "10.0.0.0/8"},
		{[]string{"--internal", "any"}, "--internal: internal_ranges[0]: any would", "networks"},
		{[]string{"--state-dir", "here"}, `--state-dir: state.directory: "here" is not an absolute path`, "from /"},
		{[]string{"--rtp-ports", "1"}, "--rtp-ports: media.ports: ", "30000-31000"},
		{[]string{"--rtp-ports", "5070-5090"}, "outside.trunks.udp: port 5080 lies within media.ports", "move"},
		{[]string{"--block-ua", " "}, "--block-ua: policy.deny_user_agents[0].match: empty", "remove"},
		{[]string{"--limit", "INVITE"}, `--limit: policy.rate_limits: "INVITE" is not METHOD=N/unit`, "INVITE=10/minute"},
		{[]string{"--limit", "INVITE=1"}, `--limit: policy.rate_limits: "1" is not a rate`, "15/minute"},
		{[]string{"--limit", "INVITE=1/second", "--limit", "INVITE=2/second"}, "--limit: policy.rate_limits: two limits for INVITE", "one of the two"},
		{[]string{"--limit", "invite=1/second"}, `--limit: policy.rate_limits[0].limits.invite: "invite"`, "INVITE"},
		{[]string{"--white-list", "x/y"}, "--white-list: policy.white_list: ", "such as"},
		{[]string{"--admin", "8080"}, `--admin: admin.http: "8080" is not an address and a port`, "127.0.0.1:8080"},
		{[]string{"--socket", "x.sock"}, "--socket: admin.socket: ", "whole path"},
	} {
		base := []string{"--outside", "203.0.113.10", "--inside", "10.0.0.2", "--pbx", "10.0.0.10", "--domain", "example.com",
			"--trunk", "itsp=203.0.113.20"}
		snap, report := Load("", parseFlags(t, append(base, c.args...)...))
		if snap != nil || len(report.Errors) == 0 {
			t.Errorf("%v: accepted", c.args)
			continue
		}
		if p := report.Errors[0]; !strings.HasPrefix(p.String(), c.what) || !strings.Contains(p.Hint, c.hint) {
			t.Errorf("%v: %s\nwant %s, hint %s", c.args, p, c.what, c.hint)
		}
	}
}

func TestNoPBXSaysWhatIsMissing(t *testing.T) {
	_, report := Load("", parseFlags(t, "--outside", "203.0.113.10"))
	text := report.String()
	for _, want := range []string{"inside.address: missing", "pbx.domain: missing", "pbx.nodes: no PBX", "--pbx", "--domain", "--inside"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not said:\n%s", want, text)
		}
	}
}

// TestStateDirTakesWhatTheFileDoesNotPlace: one flag moves all that is written, but nothing that the file places; and it does not describe
// a deployment.
func TestStateDirTakesWhatTheFileDoesNotPlace(t *testing.T) {
	f := parseFlags(t, "--state-dir", "/data/sbc")
	if f.Path() != DefaultPath {
		t.Errorf("reads %q: the flag describes no deployment", f.Path())
	}
	const rest = "outside: { address: 203.0.113.10 }\ninside: { address: 10.0.0.2 }\npbx: { domain: example.com, nodes: [ { address: 10.0.0.10 } ] }\n" +
		"trunks: [ { name: itsp, peers: [ { address: 203.0.113.20 } ] } ]\n"
	for _, tt := range []struct{ text, state, records, captures string }{
		{rest, "/data/sbc", "/data/sbc/cdr", "/data/sbc/captures"},
		{rest + "state: { directory: /srv/state }\n", "/data/sbc", "/data/sbc/cdr", "/data/sbc/captures"},
		{rest + "cdr: { directory: /srv/cdr }\n", "/data/sbc", "/srv/cdr", "/data/sbc/captures"},
		{rest + "cdr: { format: csv }\npolicy: { capture: { directory: /srv/captures } }\n", "/data/sbc", "/data/sbc/cdr", "/srv/captures"},
	} {
		snap, report := parseText("sbc.yaml", []byte(tt.text), f)
		if snap == nil {
			t.Fatal(report.String())
		}
		if got := [3]string{snap.StateDir, snap.CDR.Directory, snap.document().Policy.Capture.Directory}; got != [3]string{tt.state, tt.records, tt.captures} {
			t.Errorf("%s: %q", tt.text, got)
		}
		if at := snap.Place("state.directory"); at != "--state-dir: state.directory" {
			t.Errorf("placed at %q", at)
		}
	}
	_, report := parseText("sbc.yaml", []byte(rest), parseFlags(t, "--state-dir", "here"))
	if len(report.Errors) != 1 {
		t.Errorf("one complaint is enough:\n%s", report.String())
	}
}
