package call

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport/sbc/message"
)

func TestExpiresOf(t *testing.T) {
	for _, c := range []struct {
		value     string
		interval  time.Duration
		refresher string
	}{
		{"1800", 1800 * time.Second, ""},
		{"1800;refresher=uac", 1800 * time.Second, "uac"},
		{" 90 ; x=y; Refresher = UAS", 90 * time.Second, "uas"},
		{"90;refresher=proxy", 90 * time.Second, ""},
		{"90;refresher", 90 * time.Second, ""},
		{"soon;refresher=uac", 0, "uac"},
		{"-5", 0, ""},
		{"", 0, ""},
		{"4294967296", 0, ""},
		{"2147483648", 0, ""},
		{"2147483647", 2147483647 * time.Second, ""},
	} {
		m := &message.Message{Headers: []message.Header{{Name: "Session-Expires", Value: c.value}}}
		if interval, refresher := expiresOf(m); interval != c.interval || refresher != c.refresher {
			t.Errorf("%q: %v, %q", c.value, interval, refresher)
		}
	}
	if interval, refresher := expiresOf(&message.Message{}); interval != 0 || refresher != "" {
		t.Error("a message without the field")
	}
}

func TestRetryAfterOf(t *testing.T) {
	for value, want := range map[string]time.Duration{"3": 3 * time.Second, "120;duration=60": 2 * time.Minute, "5 (busy)": 5 * time.Second, "x": -1, "": -1} {
		m := &message.Message{Headers: []message.Header{{Name: "Retry-After", Value: value}}}
		if got, ok := retryAfterOf(m); ok != (want >= 0) || ok && got != want {
			t.Errorf("%q: %v, %v", value, got, ok)
		}
	}
	if _, ok := retryAfterOf(&message.Message{}); ok {
		t.Error("a message without the field")
	}
}

// TestSessionTimes: a session is refreshed at half its interval and given up 32 seconds, or a third, before its end; both lie
// within it, in that order.
func TestSessionTimes(t *testing.T) {
	now := start
	for interval, want := range map[time.Duration]time.Duration{
		90 * time.Second: 60 * time.Second, 96 * time.Second: 64 * time.Second, 1800 * time.Second: 1768 * time.Second,
	} {
		s := sessionTimer{interval: interval}
		if !s.end().IsZero() || !s.next().IsZero() {
			t.Error("a session that has not begun has no end")
		}
		s.renew(now)
		if got := s.end().Sub(now); got != want || s.next() != s.end() {
			t.Errorf("%v ends after %v", interval, got)
		}
		s.ours = true
		s.renew(now)
		if got := s.next().Sub(now); got != interval/2 {
			t.Errorf("%v is refreshed after %v", interval, got)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		s := sessionTimer{interval: time.Duration(rapid.IntRange(90, 1<<31-1).Draw(t, "interval")) * time.Second, ours: true}
		s.renew(now)
		if due, end := s.due, s.end(); !due.After(now) || !due.Before(end) || !end.Before(now.Add(s.interval)) {
			t.Errorf("%v: refreshed after %v, ended after %v", s.interval, due.Sub(now), end.Sub(now))
		}
	})
	var none *sessionTimer
	if !none.end().IsZero() || !none.next().IsZero() {
		t.Error("no session timer ends anything")
	}
}

// FuzzSessionHeaders: whatever a peer writes into the fields of session timers, what is read of it can be counted with, and what
// is answered can be read again.
func FuzzSessionHeaders(f *testing.F) {
	for _, v := range []string{"1800;refresher=uac", "90", "x;refresher=uas", "2147483647 ;refresher=UAS;a=b", "99999999999", ";refresher=", "0"} {
		f.Add(v, v, v)
	}
	f.Fuzz(func(t *testing.T, expires, least, after string) {
		s := newStage(t, "itsp1")
		m := s.request(caller, "INVITE", "", 1, nil)
		m.Headers = append(m.Headers, message.Header{Name: "Supported", Value: "timer"}, message.Header{Name: "Session-Expires", Value: expires},
			message.Header{Name: "Min-SE", Value: least}, message.Header{Name: "Retry-After", Value: after})
		if wait, ok := retryAfterOf(m); ok && (wait < 0 || wait > mostInterval) {
			t.Errorf("Retry-After %q is %v", after, wait)
		}
		s.c.legs[caller].peer = s.hop[caller].Peer
		s.c.at = start
		small := s.c.timerAsked(caller, m)
		asked, _ := expiresOf(m)
		if (small != nil) != (asked > 0 && asked < leastInterval) || asked < 0 || asked > mostInterval {
			t.Fatalf("%q is %v, and answered by %v", expires, asked, small)
		}
		if small != nil {
			return
		}
		ok := message.Reply(m, 200, "")
		s.c.answerTimer(caller, ok)
		granted, refresher := expiresOf(ok)
		if granted != asked || (granted > 0) != (refresher != "") {
			t.Errorf("%q is granted as %v, refreshed by %q", expires, granted, refresher)
		}
		if end := s.c.legs[caller].timer.end(); granted > 0 && (!end.After(start) || !end.Before(start.Add(granted))) {
			t.Errorf("%q ends %v after it began", expires, end.Sub(start))
		}
	})
}
