package config

import (
	"strings"
	"testing"
)

func TestCapturesOfRules(t *testing.T) {
	snap := mustParse(t, withPolicy("message_rules: [ { name: a, methods: [ INVITE ], capture: true }, { name: b, methods: [ MESSAGE ] } ],\n"+
		"  capture: { directory: /tmp/x, max_size: 1MiB, files: 2, media: true }"))
	if p := &snap.Policy; p.Captures != (Captures{"/tmp/x", 1 << 20, 2, true}) || !p.Messages[0].Capture || p.Messages[1].Capture {
		t.Errorf("%+v %+v", p.Captures, p.Messages)
	}
	if def := mustParse(t, valid).Policy.Captures; def != (Captures{"/var/lib/sbc/captures", 100 << 20, 10, false}) {
		t.Errorf("%+v", def)
	}
	for wrong, want := range map[string]string{
		"max_size: 10":  "policy.capture.max_size: 10B is out of range",
		"files: 0":      "policy.capture.files: ",
		`directory: ""`: "policy.capture.directory: empty",
		"directory: x":  "policy.capture.directory: ",
		"where: /tmp":   "where",
	} {
		_, report := parseText("f", []byte(withPolicy("capture: { "+wrong+" }")), Flags{})
		if len(report.Errors) == 0 || !strings.Contains(report.Errors[0].String(), want) {
			t.Errorf("%s: %s", wrong, report.String())
		}
	}
}
