package policy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// logOf attaches a security log to a guard and returns its lines.
func logOf(g *Guard) *[]LogLine {
	lines := &[]LogLine{}
	g.SetSecurityLog(func(l LogLine) { *lines = append(*lines, l) })
	return lines
}

func singles(lines []LogLine) (n int) {
	for _, l := range lines {
		if l.Suppressed == 0 {
			n++
		}
	}
	return n
}

func TestSecurityLogLine(t *testing.T) {
	g := newGuard(t, &Config{DenyUserAgents: []UserAgentConfig{{Match: "evil"}}})
	lines := logOf(g)
	send(g, noon, outsidePhones, "192.0.2.66:999", msg{method: "OPTIONS", agent: "Evil/1"}.bytes())
	if len(*lines) != 1 {
		t.Fatalf("%d lines", len(*lines))
	}
	l := (*lines)[0]
	got := fmt.Sprintln(l.At.Equal(noon), l.Source, l.Side, l.Realm, l.Transport, l.Action, l.Reason, l.Method, l.Rule, l.User, l.Agent, l.Suppressed)
	if want := "true 192.0.2.66:999 outside phones udp drop user-agent OPTIONS evil 204@example.com Evil/1 0\n"; got != want {
		t.Errorf("line is\n%s, want\n%s", got, want)
	}
}

func TestSecurityLogClasses(t *testing.T) {
	for class, want := range map[string]string{
		"dropped": "stranger", "limited": "limit-exceeded", "banned": "ban", "malformed": "malformed", "accepted": "allow",
	} {
		g := newGuard(t, &Config{Log: LogConfig{Classes: []string{class}},
			RateLimits: []RateLimitConfig{{Limits: map[string]string{"SUBSCRIBE": "1/day"}, Burst: ptr(1)}}})
		must(t, g.Bans().Add(noon, Ban{Prefix: BanPrefix(addr4(99))}))
		lines := logOf(g)
		send(g, noon, outsidePhones, "192.0.2.66", msg{method: "OPTIONS"}.bytes())
		send(g, noon, outsidePhones, "192.0.2.66", msg{extra: "Content-Length: 9\r\n"}.bytes())
		send(g, noon, outsidePhones, "0.0.0.99", msg{}.bytes())
		send(g, noon, outsideTrunks, "203.0.113.20", msg{}.bytes())
		send(g, noon, outsidePhones, phone, msg{method: "SUBSCRIBE"}.bytes())
		send(g, noon, outsidePhones, phone, msg{method: "SUBSCRIBE", branch: "z9hG4bK2"}.bytes())
		for _, l := range *lines {
			if string(l.Reason) != want {
				t.Errorf("class %s logs %s", class, l.Reason)
			}
		}
		if len(*lines) == 0 {
			t.Errorf("class %s logs nothing", class)
		}
	}
	g := newGuard(t, &Config{Log: LogConfig{MaxEntries: ptr(0)}})
	lines := logOf(g)
	send(g, noon, outsidePhones, "192.0.2.66", msg{}.bytes())
	g.Tick(noon.Add(time.Hour))
	if len(*lines) != 0 {
		t.Error("max_entries 0 logs")
	}
}

func TestALoudSourceLeavesRoomForQuietOnes(t *testing.T) {
	alone(t)
	g := newGuard(t, &Config{})
	lines := logOf(g)
	const minutes = 10
	for ms := range minutes * 60_000 / 10 {
		now := noon.Add(time.Duration(ms) * 10 * time.Millisecond)
		send(g, now, outsidePhones, "192.0.2.1", msg{}.bytes()) // 100 a second
		if ms%6000 == 3000 {                                    // a quiet one in the middle of each minute
			send(g, now, outsidePhones, "192.0.2.2", msg{}.bytes())
		}
	}
	g.Tick(noon.Add(minutes * time.Minute))
	quiet, summaries := 0, uint64(0)
	for _, l := range *lines {
		if l.Source.Addr().String() == "192.0.2.2" && l.Suppressed == 0 {
			quiet++
		}
		summaries += l.Suppressed
	}
	if quiet != minutes {
		t.Errorf("%d lines of the quiet source, want %d", quiet, minutes)
	}
	if total := uint64(singles(*lines)) + summaries; total != minutes*6000+minutes {
		t.Errorf("lines and summaries stand for %d messages, want %d", total, minutes*6001)
	}
	if n := len(*lines); n > minutes*110 || n < minutes*10 {
		t.Errorf("%d lines in %d minutes", n, minutes)
	}
}

func TestSecurityLogNeverExceedsItsBound(t *testing.T) {
	alone(t)
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(1, 300).Draw(t, "most")
		per := rapid.SampledFrom([]string{"second", "minute", "hour", "day"}).Draw(t, "per")
		unit, _ := parseUnit(per)
		sources := rapid.IntRange(1, 3000).Draw(t, "sources")
		g := newGuard(&testing.T{}, &Config{Log: LogConfig{MaxEntries: &most, Per: per}})
		lines := logOf(g)
		step := time.Duration(rapid.Int64Range(int64(time.Millisecond), int64(unit/200)).Draw(t, "step"))
		sent := uint64(0)
		now := noon
		for n := range 600 {
			send(g, now, outsidePhones, addr4(uint32(n%sources)+1).String(), msg{}.bytes())
			sent++
			now = now.Add(step)
		}
		// The windows begin with the first message; none may hold more than most.
		windows := map[int64]int{}
		for _, l := range *lines {
			windows[int64(l.At.Sub(noon)/unit)]++
		}
		for w, n := range windows {
			if n > 2*most { // a window that began late may share its second with the one before
				t.Fatalf("window %d has %d lines of %d", w, n, most)
			}
		}
		if total := len(*lines); total > most*(int(now.Sub(noon)/unit)+1) {
			t.Fatalf("%d lines in %v, %d a %s allowed", total, now.Sub(noon), most, per)
		}
		total := uint64(singles(*lines))
		for _, l := range *lines {
			total += l.Suppressed
		}
		if total > sent {
			t.Fatalf("the log tells of %d messages, %d were sent", total, sent)
		}
	})
}

func TestForgedSourcesMakeFewLines(t *testing.T) {
	alone(t)
	g := newGuard(t, &Config{})
	lines := logOf(g)
	for n := range 60_000 {
		send(g, noon.Add(time.Duration(n)*2*time.Millisecond), outsidePhones, addr4(uint32(n)+1).String(), msg{}.bytes())
	}
	g.Tick(noon.Add(3 * time.Minute))
	total, others := uint64(0), 0
	for _, l := range *lines {
		total += l.Suppressed
		if !l.Source.IsValid() {
			others++
		}
	}
	if total+uint64(singles(*lines)) != 60_000 || others == 0 || len(*lines) > 310 {
		t.Errorf("%d lines, %d for others, stand for %d messages", len(*lines), others, total)
	}
	if strings.Contains((*lines)[0].User, "\n") {
		t.Error("user")
	}
}
