package trunk

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

var (
	probeKey = tu.NewTagKey([16]byte{1})
	zero     = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
)

// probeConfig asks every ten seconds; three misses make down, two answers up.
func probeConfig() ProbeConfig {
	h := hop("itsp", "203.0.113.20:5060", 1, 1).Hop
	h.Here = tu.Local{Signal: netip.MustParseAddrPort("203.0.113.10:5080")}
	return ProbeConfig{Hop: h, Interval: 10 * time.Second, Failures: 3, Successes: 2}
}

// timeline runs a probe in virtual time and writes down what it does. Times of questions are rounded to the second: the
// spread is tested by itself.
type timeline struct {
	p    *Probe
	now  time.Time
	out  []string
	said []string // what became of each question
	last tu.Ref
	// answer says what becomes of the nth question, at once; nil is silence.
	answer func(n int, at time.Duration) tu.Event
	asked  int
	state  State // as told
	ended  bool
}

func newTimeline(cfg ProbeConfig, s State, seed byte) *timeline {
	l := &timeline{p: NewProbe(cfg, s, tu.Seed{seed}, probeKey), now: zero, state: s}
	l.step(tu.Tick{})
	return l
}

func (l *timeline) step(ev tu.Event) {
	if l.ended {
		return
	}
	for _, a := range l.p.Step(l.now, ev, nil) {
		at := l.now.Sub(zero).Round(time.Second)
		switch a := a.(type) {
		case tu.Send:
			l.last = a.Ref
			l.asked++
			l.out = append(l.out, fmt.Sprintf("%v ask %d", at, a.Ref))
			if l.answer != nil {
				if ev := l.answer(l.asked, at); ev != nil {
					l.step(ev)
				}
			}
		case tu.Health:
			word := Unknown
			switch {
			case a.Up && a.Known:
				word = Up
			case a.Known:
				word = Down
			}
			if a.Up && !a.Known || a.Peer != l.p.cfg.Hop.ID || len(a.Answer) > 50 {
				l.out = append(l.out, fmt.Sprintf("%v %+v", at, a))
			}
			if a.Alive != (a.Took > 0) {
				l.out = append(l.out, fmt.Sprintf("%v alive %v after %v", at, a.Alive, a.Took))
			}
			if l.said = append(l.said, a.Answer); word != l.state {
				l.state = word
				l.out = append(l.out, fmt.Sprintf("%v %s", at, word))
			}
		case tu.End:
			l.ended = true
			l.out = append(l.out, fmt.Sprintf("%v end", at))
		default:
			l.out = append(l.out, fmt.Sprintf("%v %T", at, a))
		}
	}
}

// until runs the probe's deadlines up to an offset.
func (l *timeline) until(d time.Duration) {
	end := zero.Add(d)
	for !l.ended {
		next := l.p.Deadline()
		if next.IsZero() || next.After(end) {
			break
		}
		if next.After(l.now) {
			l.now = next
		}
		l.step(tu.Tick{})
	}
	l.now = end
}

func status(ref tu.Ref, code int) tu.Event {
	return tu.Answered{Ref: ref, Msg: &message.Message{Method: "OPTIONS", Status: code}}
}

func failed(ref tu.Ref, code int, why reason.Reason) tu.Event {
	return tu.Failed{Ref: ref, Code: code, Why: why}
}

func TestProbeTimelines(t *testing.T) {
	const s = time.Second
	always := func(code int) func(*timeline) {
		return func(l *timeline) {
			l.answer = func(n int, _ time.Duration) tu.Event { return status(tu.Ref(n), code) }
			l.until(45 * s)
		}
	}
	for _, tt := range []struct {
		name  string
		state State
		run   func(l *timeline)
		want  string
	}{
		{"one answer makes an unknown one up", Unknown, always(200), "ask 1, up, ask 2, ask 3, ask 4, ask 5"},
		{"any final answer is a sign of life", Unknown, always(404), "ask 1, up, ask 2, ask 3, ask 4, ask 5"},
		{"503 is none", Up, always(503), "ask 1, ask 2, ask 3, down, ask 4, ask 5"},
		{"408 is none", Up, always(408), "ask 1, ask 2, ask 3, down, ask 4, ask 5"},
		{"never answered stays unknown", Unknown, func(l *timeline) { l.until(105 * s) }, "ask 1, ask 2, ask 3, ask 4, ask 5, ask 6, ask 7, ask 8, ask 9, ask 10, ask 11"},
		{"refused by ICMP from the first, still unknown", Unknown, func(l *timeline) {
			l.answer = func(n int, _ time.Duration) tu.Event { return failed(tu.Ref(n), 503, reason.Timeout) }
			l.until(45 * s)
		}, "ask 1, ask 2, ask 3, ask 4, ask 5"},
		{"silence: three misses make down", Up, func(l *timeline) { l.until(45 * s) }, "ask 1, ask 2, ask 3, down, ask 4, ask 5"},
		{"two answers make up again", Down, always(200), "ask 1, ask 2, up, ask 3, ask 4, ask 5"},
		{"a miss between answers begins anew", Down, func(l *timeline) {
			l.answer = func(n int, _ time.Duration) tu.Event {
				if n == 2 {
					return failed(2, 408, reason.Timeout)
				}
				return status(tu.Ref(n), 200)
			}
			l.until(45 * s)
		}, "ask 1, ask 2, ask 3, ask 4, up, ask 5"},
		{"an answer between misses begins anew", Up, func(l *timeline) {
			l.answer = func(n int, _ time.Duration) tu.Event {
				if n == 3 {
					return status(3, 200)
				}
				return nil
			}
			l.until(65 * s)
		}, "ask 1, ask 2, ask 3, ask 4, ask 5, ask 6, down, ask 7"},
		{"our own full table says nothing of the peer", Up, func(l *timeline) {
			l.answer = func(n int, _ time.Duration) tu.Event { return failed(tu.Ref(n), 503, reason.Overload) }
			l.until(45 * s)
		}, "ask 1, ask 2, ask 3, ask 4, ask 5"},
		{"a late answer is ignored", Down, func(l *timeline) {
			l.until(8 * s) // the first is missed by now
			l.step(status(1, 200))
			l.until(12 * s)
			l.step(status(1, 200))
			l.step(status(2, 200))
			l.step(status(2, 200))
			l.until(22 * s)
		}, "ask 1, ask 2, ask 3"},
		{"provisional answers and 100 change nothing", Down, func(l *timeline) {
			l.until(2 * s)
			l.step(tu.Trying{Ref: 1})
			l.step(status(1, 180))
			l.step(status(1, 200))
			l.until(12 * s)
			l.step(status(2, 200))
			l.until(15 * s)
		}, "ask 1, ask 2, up"},
		{"in doubt: it asks at once, and goes on from there", Up, func(l *timeline) {
			l.until(4 * s)
			l.step(status(1, 200))
			l.step(tu.Doubted{})
			l.step(tu.Doubted{}) // it has just asked
			l.until(7 * s)
			l.step(status(2, 200))
			l.until(13 * s)
		}, "ask 1, ask 2"},
		{"in doubt before it began, and after", Up, func(l *timeline) {
			l.p.next = time.Time{}
			l.step(tu.Doubted{})
			l.p.retired = true
			l.step(tu.Doubted{})
		}, ""},
		{"retired while waiting", Up, func(l *timeline) {
			l.answer = func(n int, _ time.Duration) tu.Event { return status(tu.Ref(n), 200) }
			l.until(5 * s)
			l.step(tu.Hangup{})
			l.until(60 * s)
		}, "ask 1, end"},
		{"retired while asking waits for the answer", Up, func(l *timeline) {
			l.until(2 * s)
			l.step(tu.Hangup{})
			l.until(8 * s)
			l.step(tu.Tick{})
			l.step(status(1, 200))
			l.until(60 * s)
		}, "ask 1, end"},
		{"retired while asking, never answered", Up, func(l *timeline) {
			l.until(2 * s)
			l.step(tu.Hangup{})
			l.until(33 * s)
			l.step(failed(1, 408, reason.Timeout))
		}, "ask 1, end"},
		{"retired before it began", Unknown, func(l *timeline) { l.step(tu.Hangup{}) }, "end"},
		{"word of other requests and things", Up, func(l *timeline) {
			l.until(2 * s)
			for _, ev := range []tu.Event{
				failed(7, 408, reason.Timeout), status(7, 200), tu.Routed{}, tu.Reserved{}, tu.MediaHint{}, tu.Arrived{}, tu.Acked{},
				tu.NotAcked{}, tu.Cancelled{}, tu.MediaRefused{},
			} {
				l.step(ev)
			}
			l.until(4 * s)
		}, "ask 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newTimeline(probeConfig(), tt.state, 1)
			tt.run(l)
			var got []string
			for _, line := range l.out {
				_, what, _ := strings.Cut(line, " ")
				got = append(got, what)
			}
			if diff := cmp.Diff(tt.want, strings.Join(got, ", ")); diff != "" {
				t.Errorf("(-want +got):\n%s\n%s", diff, strings.Join(l.out, "\n"))
			}
		})
	}
}

// TestProbeTellsTheAnswer: what `sbc trunks` and `sbc pbx` show of the last question, and what the book goes by.
func TestProbeTellsTheAnswer(t *testing.T) {
	phrase := func(ref tu.Ref, code int, phrase string) tu.Event {
		return tu.Answered{Ref: ref, Msg: &message.Message{Method: "OPTIONS", Status: code, Reason: phrase}}
	}
	answers := []tu.Event{
		phrase(1, 200, "OK"), phrase(2, 200, "OK"), nil, nil, failed(5, 503, reason.Timeout), failed(6, 503, reason.Timeout),
		failed(7, 503, reason.Overload), failed(8, 408, reason.Timeout), phrase(9, 503, "Service Unavailable"), phrase(10, 404, ""),
		phrase(11, 200, strings.Repeat("é", 100)), phrase(12, 200, "OK"),
	}
	l := newTimeline(probeConfig(), Unknown, 1)
	l.answer = func(n int, _ time.Duration) tu.Event { return answers[min(n, len(answers))-1] }
	for l.asked < len(answers) {
		l.until(l.p.Deadline().Sub(zero))
	}
	want := []string{
		"200 OK", "200 OK", "no answer", "no answer", "unreachable", "unreachable", "no answer", "503 Service Unavailable", "404",
		"200 " + strings.Repeat("é", 20) + "…", "200 OK",
	}
	if diff := cmp.Diff(want, l.said); diff != "" {
		t.Errorf("(-want +got):\n%s\n%s", diff, strings.Join(l.out, "\n"))
	}
}

// TestProbeFindsOutInTime: the state follows a node that goes and comes, misses counted from the question and not from
// Timer F.
func TestProbeFindsOutInTime(t *testing.T) {
	cfg := probeConfig()
	cfg.Interval, cfg.Failures, cfg.Successes = 2*time.Second, 2, 1
	l := newTimeline(cfg, Unknown, 1)
	dead := func(at time.Duration) bool { return at >= 10*time.Second && at < 20*time.Second }
	l.answer = func(n int, at time.Duration) tu.Event {
		if dead(at) {
			return nil
		}
		return status(tu.Ref(n), 200)
	}
	l.until(30 * time.Second)
	var states []string
	for _, line := range l.out {
		if !strings.Contains(line, "ask") {
			states = append(states, line)
		}
	}
	if len(states) != 3 || states[0] != "0s up" || !strings.HasSuffix(states[1], " down") || !strings.HasSuffix(states[2], " up") {
		t.Fatal(states)
	}
	var down, up time.Duration
	fmt.Sscan(strings.ReplaceAll(states[1]+" "+states[2], "s", ""), &down, new(string), &up)
	if down > 16 || up > 23 {
		t.Errorf("%v", states)
	}
}

// TestProbesSpreadInTime: many probes that start in one instant neither begin nor stay together.
func TestProbesSpreadInTime(t *testing.T) {
	const n = 200
	first, later := map[time.Duration]int{}, map[time.Duration]int{}
	for i := range n {
		l := newTimeline(probeConfig(), Unknown, byte(i))
		if len(l.out) != 0 {
			t.Fatalf("asks in the instant of its start: %v", l.out)
		}
		l.answer = func(n int, _ time.Duration) tu.Event { return status(tu.Ref(n), 200) }
		for l.asked == 0 {
			l.until(l.p.Deadline().Sub(zero))
		}
		first[l.now.Sub(zero)/(50*time.Millisecond)]++
		l.until(10 * time.Minute)
		later[l.p.Deadline().Sub(zero)/(500*time.Millisecond)]++
		if l.asked < 54 || l.asked > 66 {
			t.Errorf("%d questions in 10 minutes, every 10 s", l.asked)
		}
	}
	for _, m := range []map[time.Duration]int{first, later} {
		for slot, k := range m {
			if k > n/5 {
				t.Errorf("%d of %d probes ask in slot %d", k, n, slot)
			}
		}
	}
}

// TestReloadEveryMinute: a reload must not keep a peer that is down up for ever, nor one that is up down. A probe whose
// questions stay the same is kept (Same); one that a reload replaces starts with the known state.
func TestReloadEveryMinute(t *testing.T) {
	slow := probeConfig()
	slow.Interval = 50 * time.Second
	for _, tt := range []struct {
		name  string
		state State
		alive bool
		want  State
	}{
		{"goes down", Up, false, Down}, {"comes up", Down, true, Up}, {"stays up", Up, true, Up}, {"stays down", Down, false, Down},
	} {
		t.Run(tt.name, func(t *testing.T) {
			system := []System{outside("itsp", nil, Hop{Hop: slow.Hop, Priority: 1, Weight: 1})}
			book := NewBook(system, nil)
			book.Report(slow.Hop.ID, tt.state)
			l := newTimeline(slow, tt.state, 1)
			if tt.alive {
				l.answer = func(n int, _ time.Duration) tu.Event { return status(tu.Ref(n), 200) }
			}
			for minute := 1; minute <= 10; minute++ {
				l.until(time.Duration(minute) * time.Minute)
				book = NewBook(system, book)
				again := slow
				again.Hop.Peer = &tu.Peer{Name: "of the new configuration"}
				if !slow.Same(&again) {
					t.Fatal("the same questions")
				}
			}
			if l.p.state != tt.want {
				t.Errorf("%v after ten minutes\n%s", l.p.state, strings.Join(l.out, "\n"))
			}
		})
	}
	// What makes a new probe needed.
	for name, change := range map[string]func(c *ProbeConfig){
		"address":   func(c *ProbeConfig) { c.Hop.Flow.Remote = netip.MustParseAddrPort("203.0.113.21:5060") },
		"interface": func(c *ProbeConfig) { c.Hop.Flow.Interface++ },
		"external":  func(c *ProbeConfig) { c.Hop.Here.Signal = netip.MustParseAddrPort("198.51.100.5:5080") },
		"interval":  func(c *ProbeConfig) { c.Interval++ },
		"failures":  func(c *ProbeConfig) { c.Failures++ },
		"successes": func(c *ProbeConfig) { c.Successes++ },
		"name":      func(c *ProbeConfig) { c.Hop.ID = "other" },
	} {
		changed := probeConfig()
		if change(&changed); changed.Same(new(ProbeConfig)) || func() bool { c := probeConfig(); return c.Same(&changed) }() {
			t.Errorf("another %s is no other question", name)
		}
	}
}

func TestQuestion(t *testing.T) {
	p := NewProbe(probeConfig(), Unknown, tu.Seed{1}, probeKey)
	p.Step(zero, tu.Tick{}, nil)
	do := p.Step(p.Deadline(), tu.Tick{}, nil)
	send := do[0].(tu.Send)
	m := send.Msg
	if len(do) != 1 || send.Hop.Flow != probeConfig().Hop.Flow || send.Hide != nil || len(m.Via) != 0 {
		t.Errorf("%+v", send)
	}
	if !probeKey.Owns([]byte(m.From.Tag)) || m.To.Tag != "" || m.Method != "OPTIONS" || m.CSeq != 1 || m.MaxForwards != 70 {
		t.Errorf("%+v", m)
	}
	m.Via = []message.Via{{Transport: "UDP", Host: "203.0.113.10", Port: 5080, Branch: "z9hG4bK1", RPort: -1}}
	m.From.Tag, m.CallID = "t", "c"
	b, err := m.Append(nil)
	want := "OPTIONS sip:203.0.113.20:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 203.0.113.10:5080;branch=z9hG4bK1\r\n"
	if err != nil || !strings.HasPrefix(string(b), want) || !strings.Contains(string(b), "Contact: <sip:203.0.113.10:5080>\r\n") {
		t.Errorf("%v\n%s", err, b)
	}
}

// TestProbeIsTotal: whatever happens in whatever order, a probe has one question out, never stops asking before its end,
// and ends once.
func TestProbeIsTotal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := probeConfig()
		cfg.Interval = time.Duration(rapid.IntRange(0, 30).Draw(t, "interval")) * time.Second
		cfg.Failures, cfg.Successes = rapid.IntRange(0, 3).Draw(t, "failures"), rapid.IntRange(0, 3).Draw(t, "successes")
		p := NewProbe(cfg, State(rapid.IntRange(0, 2).Draw(t, "state")), tu.Seed{1}, probeKey)
		now, ref, ends := zero, tu.Ref(0), 0
		for range rapid.IntRange(1, 60).Draw(t, "events") {
			now = now.Add(time.Duration(rapid.IntRange(0, 8000).Draw(t, "ms")) * time.Millisecond)
			which := tu.Ref(max(0, int(ref)-rapid.IntRange(0, 1).Draw(t, "old")))
			ev := rapid.SampledFrom([]tu.Event{
				tu.Tick{}, tu.Tick{}, tu.Tick{}, status(which, 200), status(which, 503), status(which, 100), tu.Hangup{},
				failed(which, 408, reason.Timeout), failed(which, 503, reason.Overload), tu.Trying{Ref: which}, tu.Reserved{},
			}).Draw(t, "event")
			for _, a := range p.Step(now, ev, nil) {
				switch a := a.(type) {
				case tu.Send:
					if a.Ref <= ref || ends > 0 || p.retired || cfg.Interval == 0 {
						t.Fatalf("asks %d behind %d", a.Ref, ref)
					}
					ref = a.Ref
				case tu.End:
					ends++
				}
			}
			if ends > 0 {
				break
			}
			if d := p.Deadline(); p.retired != d.IsZero() && p.seq > 0 {
				t.Fatalf("retired %v, deadline %v", p.retired, d)
			}
		}
	})
	if do := NewProbe(probeConfig(), Up, tu.Seed{}, probeKey).Abort(zero, nil); len(do) != 1 || do[0] != tu.Action(tu.End{}) {
		t.Errorf("%v", do)
	}
}

var _ tu.User = (*Probe)(nil)
