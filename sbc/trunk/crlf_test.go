package trunk

import (
	"strings"
	"testing"
	"time"

	"sallyport/nat"
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

// TestQuestionByTLS: the Contact says by which transport we are reached.
func TestQuestionByTLS(t *testing.T) {
	cfg := probeConfig()
	cfg.Hop.Here.Transport = nat.TLS
	p := NewProbe(cfg, Unknown, tu.Seed{1}, probeKey)
	p.Step(zero, tu.Tick{}, nil)
	m := p.Step(p.Deadline(), tu.Tick{}, nil)[0].(tu.Send).Msg
	if got, _ := m.Get("Contact"); got != "<sip:203.0.113.10:5080;transport=tls>" || m.From.URI.Params != "" {
		t.Errorf("Contact %s, From %s", got, m.From.URI.String())
	}
}
