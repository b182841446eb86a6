package sbc_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat/natlab"
	"sallyport/sbc"
)

// ruleFiles are the packets of the files of a directory, the oldest first.
func ruleFiles(t *testing.T, dir string) (list []taped, files int) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "rules-*.pcapng"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", name, info.Mode(), err)
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		packets, _ := unfile(t, text)
		list = append(list, packets...)
	}
	return list, len(names)
}

// TestRulesCapture: what a rule refuses, with which rule; of what another one lets in the whole call on both legs with its
// media; of the rest nothing. A reload without such rules ends it.
func TestRulesCapture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "captures")
		policy := fmt.Sprintf(`policy:
  rate_limits: []
  capture: { directory: %q, media: true }
  message_rules:
    - { name: others, range: 203.0.113.66, methods: [ OPTIONS ] }
    - { name: diallers, range: any, from: [ "sipvicious" ], capture: true }
    - { name: provider, range: 203.0.113.20, methods: [ INVITE ], action: allow, capture: true }
`, dir)
		config := rewritten(t, labConfig, "policy: { rate_limits: [] }\n", policy)
		l := newGate(t, config, natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		stranger := l.wire(strangerAt)
		for _, method := range []string{"OPTIONS", "INVITE", "OPTIONS"} {
			m := stranger.request(method, trunkSocket, "900")
			if method == "INVITE" {
				m.From.URI.User = "sipvicious"
			}
			stranger.send(trunkSocket, m)
		}
		caller, callee := l.connect(itsp, pbx, trunkSocket)
		id := l.callID(t)
		l.pour(3, nil)
		if s, err := l.gate.Control(nil).Status(t.Context()); err != nil || len(s.Captures) != 1 || s.Captures[0].What != "message rules with" {
			t.Errorf("%v %+v", err, s.Captures)
		}
		hangup(caller, callee)
		time.Sleep(3 * time.Second)

		list, _ := ruleFiles(t, dir)
		both(t, list, "", "ACK ", "BYE ", "SIP/2.0 180")
		if n := count(list, func(x taped) bool {
			return x.from == strangerAt && bytes.HasPrefix(x.data, []byte("INVITE ")) && strings.HasPrefix(x.comment, "policy.message_rules[1]; refused: message-rule")
		}); n != 1 || count(list, func(x taped) bool { return x.from == strangerAt }) != 1 {
			t.Errorf("%d of the dialler", n)
		}
		if n := count(list, func(x taped) bool {
			return x.comment == "policy.message_rules[2]" && bytes.HasPrefix(x.data, []byte("INVITE "))
		}); n != 1 {
			t.Errorf("%d INVITEs of the provider", n)
		}
		if n := count(list, func(x taped) bool { return strings.HasSuffix(x.face, " media") && x.comment == "call "+id }); n != 12 {
			t.Errorf("%d packets of media", n)
		}

		snap := parse(t, labConfig)
		if _, _, err := l.gate.Revise(t.Context(), snap, sbc.Careful{Force: true}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if s, err := l.gate.Control(nil).Status(t.Context()); err != nil || len(s.Captures) != 0 {
			t.Errorf("%v %+v", err, s.Captures)
		}
		before := len(list)
		caller, callee = l.connect(itsp, pbx, trunkSocket)
		hangup(caller, callee)
		time.Sleep(time.Second)
		if list, _ = ruleFiles(t, dir); len(list) != before {
			t.Errorf("%d packets more after the reload", len(list)-before)
		}
		l.empty()
	})
}
