package trunk

import (
	"strings"
	"testing"
	"time"

	"sallyport/sbc/tu"
)

// TestEmptyLinesKeepTheWay: nothing is asked, and so nothing is found out.
func TestEmptyLinesKeepTheWay(t *testing.T) {
	cfg := probeConfig()
	if other := cfg; true {
		if other.CRLF = true; cfg.Same(&other) {
			t.Error("another method is no other probe")
		}
	}
	cfg.CRLF, cfg.Interval = true, 30*time.Second
	l := newTimeline(cfg, Up, 3)
	l.until(10 * time.Minute)
	pings := 0
	for _, line := range l.out {
		if !strings.HasSuffix(line, "tu.Ping") {
			t.Error(line)
		}
		pings++
	}
	if pings < 18 || pings > 23 || l.asked > 0 || l.p.state != Up {
		t.Errorf("%d in 10 minutes, every 30 s", pings)
	}
	if l.step(tu.Hangup{}); !l.ended {
		t.Error("it goes on")
	}
}
