package api

import (
	"strings"
	"testing"
)

func TestRelayAsPrinted(t *testing.T) {
	r := sampleRelay()
	golden(t, "media", r.Text())
	r.Backend, r.NotSteer, r.Process.Started, r.Rejected, r.Renewals = "steer", "", false, nil, 3
	r.Pool.Resting, r.Pool.Missing, r.Pool.Orphans = 0, 1, 0
	golden(t, "media_steer", r.Text())
	r.Process = nil
	if text := r.Text(); !strings.Contains(text, "steer in sbc run itself: audio stops when it restarts") {
		t.Errorf("in the gate's own process:\n%s", text)
	}
	r.Backend, r.NotSteer = "", "odd\x1b[2J"
	if text := r.Text(); !strings.Contains(text, "the media process is lost") || strings.Contains(text, "\x1b") {
		t.Errorf("lost:\n%q", text)
	}
}
