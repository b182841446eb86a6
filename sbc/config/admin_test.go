package config

import (
	"net/netip"
	"strings"
	"testing"
)

func TestAdminHTTP(t *testing.T) {
	with := func(at string) (*Snapshot, Report) {
		return parseText("f", []byte(valid+"admin: { http: \""+at+"\" }\n"), Flags{})
	}
	for at, want := range map[string]string{"127.0.0.1:8080": "127.0.0.1:8080", "localhost:9": "127.0.0.1:9", "[::1]:80": "[::1]:80", "[::ffff:127.0.0.1]:80": "127.0.0.1:80"} {
		snap, report := with(at)
		if snap == nil || snap.HTTP != netip.MustParseAddrPort(want) || len(report.Warnings) > 0 {
			t.Errorf("%s: %s", at, report.String())
		}
	}
	if snap, _ := with(""); snap == nil || snap.HTTP.IsValid() {
		t.Error("none is wanted")
	}
	for at, want := range map[string]string{
		"8080": "not an address and a port", "127.0.0.1": "not an address", "sbc.example.com:80": "not an address", "127.0.0.1:0": "port 0",
		"224.0.0.1:80": "cannot be listened on", "255.255.255.255:80": "cannot be listened on", "[fe80::1%eth0]:80": "cannot be listened on",
		"203.0.113.10:5060": "as outside.phones.tcp does", "0.0.0.0:5080": "as inside.trunks.tcp does", "127.0.0.1:http": "not an address",
	} {
		snap, report := with(at)
		if snap != nil || !strings.Contains(report.String(), want) || !strings.Contains(report.String(), "admin.http") {
			t.Errorf("%s: %s\nwant %s", at, report.String(), want)
		}
	}
	for at, want := range map[string]string{
		"203.0.113.10:8080": "an address outside: the Internet reads", "0.0.0.0:8080": "every address", "[::]:8080": "every address",
		"10.0.0.2:8080": "without a password",
	} {
		snap, report := with(at)
		if snap == nil || len(report.Warnings) != 1 || !strings.Contains(report.String(), want) {
			t.Errorf("%s: %s\nwant %s", at, report.String(), want)
		}
	}
	old, _ := with("127.0.0.1:8080")
	moved, _ := with("127.0.0.1:8081")
	if c := Diff(old, moved); len(c) != 1 || c[0].Path != "admin.http" || c[0].Tag != "listener" {
		t.Errorf("%+v", c)
	}
}

func TestRecordFormat(t *testing.T) {
	if snap := mustParse(t, valid+"cdr: { format: csv }\n"); snap.CDR.Format != "csv" {
		t.Errorf("%+v", snap.CDR)
	}
	if _, report := parseText("f", []byte(valid+"cdr: { format: xml }\n"), Flags{}); !strings.Contains(report.String(), "write jsonl or csv") {
		t.Error(report.String())
	}
}
