package config

import (
	"strings"
	"testing"
	"time"
)

// TestThrottling: what cannot work is refused, what serves somebody too long is warned of.
func TestThrottling(t *testing.T) {
	for text, want := range map[string]string{
		"inside: 1h":                     "",
		"inside: 1h, reauthenticate: 1h": "",
		"inside: 1d, outside: 10m, reauthenticate: 30m, grace: 1d": "",
		"inside: 4m":            "",
		"inside: 0, grace: 0":   "",
		"inside: 1h, grace: 1m": "",
		"inside: 3m":            "error: phones.registration.inside: 3m leaves no room",
		"inside: 1h, outside: 20m, reauthenticate: 1h":  "error: phones.registration.inside: 1h leaves no room",
		"inside: 1h, outside: 0":                        "error: phones.registration.inside: phones are told as the PBX says",
		"inside: 30s":                                   "error: phones.registration.inside: 30s is out of range",
		"inside: 2d":                                    "error: phones.registration.inside: 2d is out of range",
		"inside: 1h, reauthenticate: 0":                 "error: phones.registration.reauthenticate: 0s is out of range",
		"inside: 1h, reauthenticate: 2d":                "error: phones.registration.reauthenticate: 2d is out of range",
		"inside: 1h, outside: 10m, reauthenticate: 10m": "error: phones.registration.reauthenticate: 10m is no longer than outside, 10m",
		"grace: 10s":                                    "error: phones.registration.grace: 10s is out of range",
		"grace: 2d":                                     "error: phones.registration.grace: 2d is out of range",
		"inside: 1d, reauthenticate: 2h":                "warning: phones.registration.reauthenticate: a phone whose password was changed",
		"reauthenticate: 20m":                           "",
	} {
		snap, report := parseText("f", []byte(strings.Replace(valid, "policy:", "phones: { registration: { "+text+" } }\npolicy:", 1)), Flags{})
		kind, rest, _ := strings.Cut(want, ": ")
		path, what, _ := strings.Cut(rest, ": ")
		list := report.Warnings
		if kind == "error" {
			list = report.Errors
		}
		switch {
		case (snap == nil) != (kind == "error"), len(report.Warnings)+len(report.Errors) != min(len(want), 1):
			t.Errorf("%s:\n%s", text, report.String())
		case want != "" && (list[0].Path != path || !strings.HasPrefix(list[0].What, what) || list[0].Hint == ""):
			t.Errorf("%s: %+v", text, list[0])
		}
	}
	p := mustParse(t, strings.Replace(valid, "policy:", "phones: { registration: { inside: 1h, reauthenticate: 15m, grace: 0 } }\npolicy:", 1)).Phones
	if p.Inside != time.Hour || p.Reauthenticate != 15*time.Minute || p.Grace != 0 {
		t.Errorf("%+v", p)
	}
}
