package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sallyport/sbc/config"
)

// A back end that is asked for and not possible refuses the configuration, at the place of the key.
func TestCheckLive(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "sbc.yaml")
	text := "outside: { address: 127.81.13.1 }\ninside: { address: 127.81.13.2, phones: { udp: 5070 }, trunks: { udp: 5090 } }\n" +
		"pbx: { domain: example.com, nodes: [ { address: \"127.81.13.3:5060\" } ] }\nmedia:\n  backend: steer\n" +
		"trunks: [ { name: itsp, peers: [ { address: \"127.81.13.4:5060\" } ] } ]\nadmin: { socket: " + dir + "/none.sock }\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		backend, why string
		err          error
		want         []string
	}{
		{"", "the process lacks CAP_BPF", errors.New("steer is not possible: the process lacks CAP_BPF"), []string{
			"error: " + file + ":5:12: media.backend: steer is not possible: the process lacks CAP_BPF\n", "\n  hint: change that, or write auto; "}},
		{"steer", "", nil, []string{"note: " + file + ":5:12: media.backend: media would run on steer; epoll would do, too"}},
		{"epoll", "the process lacks CAP_BPF", nil, []string{
			"note: " + file + ":5:12: media.backend: media would run on epoll, not on steer: the process lacks CAP_BPF\n", "\n  hint: this was tried with"}},
	} {
		snap, report := config.Load(file, config.Flags{})
		if snap == nil {
			t.Fatal(report.String())
		}
		lively(t.Context(), snap, func(*config.Snapshot) (string, string, error) { return c.backend, c.why, c.err }, &report)
		for _, want := range c.want {
			if got := report.Full(); !strings.Contains(got, want) {
				t.Errorf("got:\n%s\nwant: %s", got, want)
			}
		}
		if report.OK() == (c.err != nil) {
			t.Errorf("%v: the report is all right: %v", c.err, report.OK())
		}
	}
}
