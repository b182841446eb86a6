package capture

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"sallyport/media"
	"sallyport/policy"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// filesOf is the text of the files of a directory, in one piece.
func filesOf(t *testing.T, dir string) (text string, n int) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "rules-*.pcapng"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text += string(b)
	}
	return text, len(names)
}

// TestTune: files begin with the first rule that captures, go on while they are to be kept as before, and end with the last.
func TestTune(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage()
		number := s.compile(t, 3)
		dir := filepath.Join(t.TempDir(), "captures")
		cfg := Config{Directory: dir, MaxSize: 1 << 20, Files: 5}
		hear := func(i int, word string) {
			p := came(stranger, sip("INVITE", word, plain...))
			s.set.Heard(p, &policy.Verdict{Action: policy.Drop, Reason: reason.MessageRule, Rule: number(i), Shadow: -1, Alarm: -1})
			synctest.Wait()
		}
		s.set.Tune(Rules{Config: cfg})
		if hear(0, "before"); s.set.Running() {
			t.Error("no rule captures")
		}
		s.set.Tune(Rules{Paths: []string{rulePath(0)}, Config: cfg})
		hear(0, "first")
		hear(1, "unasked")
		first := s.set.byRules
		s.set.Tune(Rules{Paths: []string{rulePath(1), rulePath(2)}, Config: cfg})
		hear(0, "no longer")
		hear(1, "second")
		if s.set.byRules != first || len(s.set.List()) != 1 {
			t.Error("other rules began other files")
		}
		if s.set.Asks(stranger.Addr()) {
			t.Error("rules capture nobody's datagrams")
		}
		cfg.Media = true
		s.set.Tune(Rules{Paths: []string{rulePath(1)}, Config: cfg})
		synctest.Wait()
		if s.set.byRules == first || first.why != "the configuration has changed" || len(s.set.List()) != 1 || !s.set.List()[0].Media {
			t.Errorf("%q, %+v", first.why, s.set.List())
		}
		time.Sleep(time.Second) // a file is named by its time
		hear(1, "third")
		s.set.Tune(Rules{Config: cfg})
		synctest.Wait()
		hear(1, "after")
		s.set.Wait()
		text, n := filesOf(t, dir)
		for word, want := range map[string]bool{"before": false, "first": true, "unasked": false, "no longer": false, "second": true, "third": true, "after": false} {
			if strings.Contains(text, "Call-ID: "+word) != want {
				t.Errorf("%q in the files: %v", word, !want)
			}
		}
		if n != 2 || s.set.Running() || s.set.Lost() != 0 {
			t.Errorf("%d files, %d lost", n, s.set.Lost())
		}
		if said := s.said.All(); len(said) != 2 || said[0].Message != "messages that rules with capture: true match are written to "+dir {
			t.Errorf("%+v", said)
		}
	})
}

// TestRulesFollow the calls that come of what they have matched, whichever of a verdict's rules that was.
func TestRulesFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage()
		number := s.compile(t, 3)
		dir := t.TempDir()
		s.set.Tune(Rules{Paths: []string{rulePath(0), rulePath(2)}, Config: Config{Directory: dir, MaxSize: 1 << 20, Files: 5, Media: true}})
		hear := func(callID string, v *policy.Verdict) {
			s.set.Heard(came(provider, sip("INVITE", callID, plain...)), v)
		}
		alarm, shadow, neither := allowed(), allowed(), allowed()
		alarm.Alarm, shadow.Shadow, neither.Rule = number(0), number(2), number(1)
		hear("out-1", alarm)
		hear("out-2", shadow)
		hear("out-3", neither)
		for id := 1; id <= 3; id++ {
			s.call(tu.UserID(id), media.ID(10*id))
			s.set.Sent(inside, node, sip("INVITE", fmt.Sprint("in-", id), plain...))
		}
		if got := s.told(); got != "10 1, 20 1" {
			t.Errorf("taps: %s", got)
		}
		s.set.Close()
		time.Sleep(linger)
		s.set.Wait()
		text, _ := filesOf(t, dir)
		for word, want := range map[string]bool{
			"Call-ID: out-1": true, rulePath(0): true, "Call-ID: in-1": true, "call call-1": true,
			"Call-ID: out-2": true, rulePath(2): true, "Call-ID: in-2": true, "Call-ID: out-3": false, "Call-ID: in-3": false,
		} {
			if strings.Contains(text, word) != want {
				t.Errorf("%q in the file: %v", word, !want)
			}
		}
	})
}

// TestRulesHaveNoDirectory: what cannot be kept is lost, counted and told, and whoever carries the calls does not wait.
func TestRulesHaveNoDirectory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage()
		number := s.compile(t, 1)
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		s.set.Tune(Rules{Paths: []string{rulePath(0)}, Config: Config{Directory: filepath.Join(file, "x"), MaxSize: 1 << 20, Files: 2}})
		for range 5 {
			s.set.Heard(came(stranger, sip("INVITE", "x", plain...)), &policy.Verdict{Rule: number(0), Shadow: -1, Alarm: -1})
			synctest.Wait()
		}
		if n := s.set.Lost(); n != 5 {
			t.Errorf("%d lost", n)
		}
		if n := s.said.FilterMessage("captures of message rules are lost").Len(); n != 1 {
			t.Errorf("told %d times", n)
		}
		s.set.Close()
		time.Sleep(linger)
		s.set.Wait()
		if n := s.set.Lost(); n != 5 || s.set.Running() {
			t.Errorf("%d lost in the end", n)
		}
	})
}

// TestLatelyIsBounded: however many Call-IDs match, the latest are known, and no more than twice as many.
func TestLatelyIsBounded(t *testing.T) {
	s := newStage()
	number := s.compile(t, 1)(0)
	rapid.Check(t, func(t *rapid.T) {
		r := newRuled(&Rules{Paths: []string{rulePath(0)}})
		n := rapid.IntRange(1, 5*matchesMost).Draw(t, "n")
		for i := range n {
			if _, ok := r.matched(s.rules, &policy.Verdict{Rule: number, Shadow: -1, Alarm: -1}, fmt.Sprint(i)); !ok {
				t.Fatal("it does not match")
			}
		}
		if kept := len(r.recent[0]) + len(r.recent[1]); kept > 2*matchesMost {
			t.Fatalf("%d are kept", kept)
		}
		for i := range n {
			if known := r.lately(fmt.Sprint(i)); i >= n-matchesMost && !known {
				t.Fatalf("%d of %d is forgotten", i, n)
			}
		}
		if _, ok := r.matched(s.rules, &policy.Verdict{Rule: number, Shadow: -1, Alarm: -1}, ""); !ok || r.lately("") {
			t.Fatal("a message without a Call-ID is no message, or all of them are one call")
		}
	})
}
