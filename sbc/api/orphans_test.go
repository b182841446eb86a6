package api

import (
	"strings"
	"testing"
	"time"
)

// TestOrphansAreShown, and nothing is said of them where there are none.
func TestOrphansAreShown(t *testing.T) {
	s := sampleStatus()
	if text := s.Text(time.UTC); strings.Contains(text, "orphans") {
		t.Errorf("says\n%s", text)
	}
	s.Media.Orphans, s.Media.OrphansSince = 3, start
	for _, phones := range []PhoneGauge{{}, {Now: 1}} {
		s.Phones = phones
		if text := s.Text(time.UTC); !strings.Contains(text, "\norphans") || !strings.Contains(text, "3 streams of calls from before this start, the oldest since "+start.UTC().Format(time.DateTime)) {
			t.Errorf("says\n%s", text)
		}
	}
}
