package policy

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sallyport/nat"
)

// text is a line as a logger would write it.
func (l *LogLine) text() string {
	parts := []string{l.Message()}
	for key, value := range l.Fields() {
		parts = append(parts, fmt.Sprintf("%s=%v", key, value))
	}
	return strings.Join(parts, " ")
}

func eventLines(lines []LogLine, e Event) (list []string) {
	for i := range lines {
		if lines[i].Event == e {
			list = append(list, lines[i].text())
		}
	}
	return list
}

func TestLinesOfEvents(t *testing.T) {
	config := registrar()
	config.DenyUserAgents = []UserAgentConfig{{Match: "evil"}, {Match: "odd", Action: "alarm"}}
	g := newGuard(t, config)
	lines := logOf(g)
	for n := range 2 {
		send(g, noon, overTCP(), "192.0.2.66:999", msg{agent: "evilé", callID: fmt.Sprint(n)}.bytes())
		send(g, noon, outsidePhones, "192.0.2.67:999", msg{agent: "evil", callID: fmt.Sprint(n)}.bytes())
	}
	must(t, g.Bans().Add(noon, Ban{Prefix: netip.MustParsePrefix("203.0.113.0/24"), Reason: "rude\nbanned src=1.2.3.4", By: "uid 1000"}))
	for n := range 5 {
		send(g, noon, outsidePhones, phone, msg{agent: "odd", callID: fmt.Sprint(n)}.bytes())
	}
	want := map[Event][]string{
		EventBanned: {
			`banned src=192.0.2.66 side=outside realm=phones transport=tcp reason=ban ban=192.0.2.66/32 until=2026-03-01T12:10:00Z points=20 of=20 nth=1 by=evidence evidence=2 scanner: 20 of 20 points within 1m text=scanner`,
			`banned src=203.0.113.0 reason=ban ban=203.0.113.0/24 until=removed by=uid 1000 text=rude?banned src=1.2.3.4`,
		},
		EventBlocked: {`blocked src=192.0.2.67:999 side=outside realm=phones transport=udp method=INVITE reason=ban ban=192.0.2.67:999 until=2026-03-01T12:01:00Z points=20 of=20 by=evidence evidence=2 scanner text=scanner ua=evil`},
		EventAlarm:   {`alarm src=198.51.100.7:40122 side=outside realm=phones transport=udp method=INVITE reason=allow rule=odd text=policy.deny_user_agents[1] aor=204@example.com ua=odd`},
	}
	for e, w := range want {
		got := eventLines(*lines, e)
		if fmt.Sprint(got) != fmt.Sprint(w) {
			t.Errorf("%s:\n%s\nwant\n%s", e, strings.Join(got, "\n"), strings.Join(w, "\n"))
		}
	}
	// Of a message, and of a sum.
	for i := range *lines {
		if l := &(*lines)[i]; l.Event == NoEvent && l.Source.Addr().String() == "192.0.2.66" {
			if want := `drop src=192.0.2.66:999 side=outside realm=phones transport=tcp method=INVITE reason=user-agent rule=evil aor=204@example.com ua=evil??`; l.text() != want {
				t.Errorf("%s, want\n%s", l.text(), want)
			}
			break
		}
	}
	sum := LogLine{Suppressed: 7}
	if got := sum.text(); got != "refused, in sum count=7" {
		t.Error(got)
	}
}

// A ban's line is not lost however loud its source is, and however many lines others take.
func TestABanHasItsLine(t *testing.T) {
	config := registrar()
	config.Log = LogConfig{MaxEntries: ptr(1), Per: "day"}
	g := newGuard(t, config)
	lines := logOf(g)
	for n := range 5000 {
		send(g, noon.Add(time.Duration(n)*time.Millisecond), outsidePhones, "192.0.2.66", msg{method: "OPTIONS", callID: fmt.Sprint(n)}.bytes())
	}
	for n := range 2 {
		send(g, noon.Add(6*time.Second), overTCP(), "192.0.2.66", msg{agent: "sipvicious", callID: fmt.Sprint("s", n)}.bytes())
	}
	if got := eventLines(*lines, EventBanned); len(got) != 1 {
		t.Errorf("lines of bans: %v", got)
	}
	// Many bans are summed up beyond a minute's share.
	for n := range 200 {
		must(t, g.Bans().Add(noon.Add(7*time.Second), Ban{Prefix: netip.PrefixFrom(addr4(uint32(n%60)+1), 32)}))
	}
	g.Tick(noon.Add(2 * time.Minute))
	got := eventLines(*lines, EventBanned)
	if len(got) != eventsMost[EventBanned]+1 || got[len(got)-1] != "banned, in sum reason=ban count=141" {
		t.Errorf("%d lines, the last %q", len(got), got[len(got)-1])
	}
	// No entries, no lines; nor where the class is off.
	for _, log := range []LogConfig{{MaxEntries: ptr(0)}, {Classes: []string{"malformed"}}} {
		g = newGuard(t, &Config{Log: log})
		lines = logOf(g)
		must(t, g.Bans().Add(noon, Ban{Prefix: BanPrefix(addr4(1))}))
		if len(*lines) != 0 {
			t.Errorf("%+v: %v", log, *lines)
		}
	}
}

func TestAlarmsAreToldOnceAMinuteARuleAndSource(t *testing.T) {
	config := registrar()
	config.DenyUserAgents = []UserAgentConfig{{Match: "one", Action: "alarm"}, {Match: "two", Action: "alarm"}}
	g := newGuard(t, config)
	lines := logOf(g)
	for second := range 150 {
		now := noon.Add(time.Duration(second) * time.Second)
		for _, agent := range []string{"one", "two"} {
			for _, source := range []string{phone, "203.0.113.21:5060"} {
				v := send(g, now, outsidePhones, source, msg{method: "REGISTER", agent: agent, callID: fmt.Sprint(second, agent)}.bytes())
				wantSays(t, v, "allow allow")
			}
		}
	}
	if got := eventLines(*lines, EventAlarm); len(got) != 4*3 {
		t.Errorf("%d alarms in 150 s:\n%s", len(got), strings.Join(got, "\n"))
	}
	hits := g.RuleHits()
	if hits[0].Enforced != 300 || hits[1].Enforced != 300 {
		t.Errorf("%+v", hits)
	}
	if x := explainOf(g, noon.Add(151*time.Second), "198.51.100.7"); len(x.Alarms) != 2 || !strings.Contains(x.Text(time.UTC), `alarms  rule "one" was met by`) {
		t.Errorf("%s", x.Text(time.UTC))
	}
}

func TestEveryValueOfALineIsPrintableAndBounded(t *testing.T) {
	nasty := "\x1b[31m\r\nbanned src=1.2.3.4 \x00\xff" + strings.Repeat("é", 500)
	l := LogLine{Event: EventBanned, Source: addrPort("192.0.2.1"), Text: nasty, By: nasty, Evidence: nasty, Side: nat.Outside, placed: true}
	for key, value := range l.Fields() {
		text := fmt.Sprint(value)
		if strings.ContainsAny(text, "\x00\x1b\r\n") || len(text) > maxBanText {
			t.Errorf("%s is %q", key, text)
		}
	}
	g := newGuard(t, registrar())
	lines := logOf(g)
	c := newClient(g, "192.0.2.66:5070", "204")
	c.i = overTCP()
	for n := range 4 {
		g.Outcome(noon, Outcome{Source: addrPort(c.source), Transport: nat.TCP, AoR: nasty + "@" + nasty, Kind: WrongDigest, CallID: fmt.Sprint(nasty, n)})
	}
	if got := eventLines(*lines, EventBanned); len(got) != 1 || strings.ContainsAny(got[0], "\x00\x1b\r\n") || len(got[0]) > 1000 {
		t.Errorf("%q", got)
	}
}
