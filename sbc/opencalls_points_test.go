package sbc_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat"
	"sallyport/nat/natlab"
	"sallyport/sbc/cdr"
	"sallyport/sbc/demo"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// filed are the records in the files of a directory.
func filed(t *testing.T, dir string) (list []tu.CDR) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "sbc-*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range paths {
		text, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			var r tu.CDR
			if json.Unmarshal([]byte(line), &r) == nil && strings.HasSuffix(line, "\n") {
				list = append(list, r)
			}
		}
	}
	return list
}

// copied is what a crash leaves of a directory of records.
func copied(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "cdr")
	if _, err := os.ReadDir(dir); err != nil {
		return to // there is none yet
	}
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// TestACrashBetweenRecordAndJournal: whatever of the two has got to the disk, a call has one record.
func TestACrashBetweenRecordAndJournal(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before func(c *crashes, dir string)               // before the call ends
		after  func(c *crashes, dir string, left *memory) // after the crash
		wait   time.Duration                              // from the end to the crash
		reason reason.Reason
	}{
		{name: "neither", reason: reason.SignallingLost},
		{name: "both", wait: time.Second},
		{name: "the record alone", wait: time.Second, before: func(c *crashes, _ string) { c.state.breaks(errors.New("no space left on device")) }},
		{name: "the record without the end of its line", wait: time.Second,
			before: func(c *crashes, _ string) { c.state.breaks(errors.New("no space left on device")) },
			after:  func(c *crashes, dir string, _ *memory) { shorten(c.t, dir, 1) }, reason: "whole"},
		{name: "half a record", wait: time.Second,
			before: func(c *crashes, _ string) { c.state.breaks(errors.New("no space left on device")) },
			after:  func(c *crashes, dir string, _ *memory) { shorten(c.t, dir, 20) }, reason: reason.SignallingLost},
		{name: "the journal alone", wait: time.Second, before: func(c *crashes, dir string) {
			if err := errors.Join(os.RemoveAll(dir), os.WriteFile(dir, nil, 0o600)); err != nil { // no directory can be made there
				c.t.Fatal(err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "cdr")
			synctest.Test(t, func(t *testing.T) {
				c := newCrashes(t, dir)
				defer c.close()
				k := c.dials()
				c.speak(k, 1)
				time.Sleep(1050 * time.Millisecond) // and between two looks
				if tt.before != nil {
					tt.before(c, dir)
				}
				hangup(k.caller, k.callee)
				time.Sleep(tt.wait)
				saved := copied(t, dir)
				left := c.crash()
				if tt.after != nil {
					tt.after(c, saved, left)
				}
				for range 3 { // and again, in case the first time has left something
					c.again(left, saved)
					c.engine.free()
					time.Sleep(2 * time.Second)
					if n := len(c.state.entries(t)); n != 0 {
						t.Errorf("%d calls are in the journal", n)
					}
					left = c.crash()
				}
				all := filed(t, saved)
				if tt.reason == "whole" {
					if len(all) != 0 {
						t.Errorf("a second record: %+v", all)
					}
					return
				}
				if len(all) != 1 || all[0].Reason != tt.reason || all[0].Code != 200 {
					t.Errorf("records: %+v", all)
				}
			})
		})
	}
}

// shorten takes bytes from the end of the only file.
func shorten(t *testing.T, dir string, by int64) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(paths) != 1 {
		t.Fatalf("%v, %v", paths, err)
	}
	info, err := os.Stat(paths[0])
	if err == nil {
		err = os.Truncate(paths[0], info.Size()-by)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestTheJournalSaysWhatTheRecordWill: all but the end.
func TestTheJournalSaysWhatTheRecordWill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrashes(t, "")
		defer c.close()
		invite := withBody(c.itsp.request("INVITE", trunkSocket, "+4930123"), sdpAt(providerAt.Addr(), 4000))
		c.itsp.send(trunkSocket, invite)
		c.pbx.reply(c.pbx.want("INVITE"), 503, nil)
		c.pbx.want("ACK")
		other := c.wire(otherPBXAt)
		arrived := other.want("INVITE")
		time.Sleep(time.Second)
		other.reply(arrived, 180, nil)
		c.itsp.want("180 INVITE")
		time.Sleep(3 * time.Second)
		other.reply(arrived, 200, sdpAt(otherPBXAt.Addr(), 4002))
		caller, callee := c.ends(c.itsp, other, trunkSocket, invite, arrived, c.itsp.want("200 INVITE"))
		c.itsp.send(trunkSocket, caller.within("ACK", invite.CSeq))
		other.want("ACK")
		time.Sleep(time.Second)
		entries := c.state.entries(t)
		hangup(caller, callee)
		all := c.records.all()
		if len(all) != 1 || len(entries) != 1 {
			t.Fatalf("%d records, %d entries", len(all), len(entries))
		}
		want := all[0]
		got := entries[want.Call]
		if len(got.Media) != 1 || got.Media[0].Codec != want.Media[0].Codec || got.Media[0].Codec == "" {
			t.Errorf("the journal knows of %+v, the record of %+v", got.Media, want.Media)
		}
		got.Media = nil
		want.End, want.Duration, want.Code, want.Reason, want.EndedBy, want.Media = time.Time{}, 0, 0, "", "", nil
		want.Version = cdr.Version
		for _, at := range []*time.Time{&want.Start, &want.Ringing, &want.Answer} {
			*at = at.Round(0) // what is kept has no monotonic reading
		}
		if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
			t.Errorf("the journal has %+v\nthe record says %+v", got, want)
		}
		if want.Attempts != 2 || want.Ringing.IsZero() || want.Answer.Sub(want.Ringing) != 3*time.Second {
			t.Errorf("the test proves nothing: %+v", want)
		}
	})
}

// TestAShortCallCostsTheJournalNothing: one that ends before the journal looks.
func TestAShortCallCostsTheJournalNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrashes(t, "")
		defer c.close()
		time.Sleep(50 * time.Millisecond) // between two looks
		for range 3 {
			k := c.dials()
			hangup(k.caller, k.callee)
		}
		c.empty()
		if len(c.records.all()) != 3 || c.state.written() != 0 {
			t.Errorf("%d records, the journal was written %d times", len(c.records.all()), c.state.written())
		}
		k := c.dials()
		time.Sleep(time.Minute)
		if n := c.state.written(); n > 14 {
			t.Errorf("a call of a minute is put down %d times", n)
		}
		hangup(k.caller, k.callee)
		c.empty()
		before := c.state.written()
		time.Sleep(time.Hour)
		if c.state.written() != before || len(c.state.entries(t)) != 0 {
			t.Errorf("an idle gate writes: %d times, %v", c.state.written()-before, c.state.entries(t))
		}
	})
}

// TestAudioThatNobodyKnows: the call began right before the crash. It is said, and its ports come back.
func TestAudioThatNobodyKnows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrashes(t, "")
		defer c.close()
		free := c.gate.Gauges().PortsFree
		k := c.dials()
		c.speak(k, 1)
		left := c.crash()
		c.again(left, "")
		c.speak(k, 2)
		if c.said("1 streams of before this start belong to calls that nothing is known of") != 1 {
			t.Errorf("log: %v", c.logs.All())
		}
		c.engine.free()
		c.empty()
		if len(c.records.all()) != 0 || c.said("it has no record") != 1 || c.gate.Gauges().PortsFree != free {
			t.Errorf("records %+v, log %v", c.records.all(), c.logs.All())
		}
	})
}

// TestAJournalThatCannotBeWritten is told of once; calls do not notice.
func TestAJournalThatCannotBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrashes(t, "")
		defer c.close()
		c.state.breaks(errors.New("no space left on device"))
		k := c.dials()
		time.Sleep(time.Minute)
		c.speak(k, 1)
		if c.said("open calls cannot be kept") != 1 {
			t.Errorf("log: %v", c.logs.All())
		}
		c.state.breaks(nil)
		time.Sleep(time.Second)
		if n := len(c.state.entries(t)); n != 1 || c.said("open calls are kept again") != 1 {
			t.Errorf("%d entries, log %v", n, c.logs.All())
		}
		hangup(k.caller, k.callee)
		c.empty()
		if n := len(c.state.entries(t)); n != 0 {
			t.Errorf("%d entries are left", n)
		}
	})
}

// TestAJournalThatCannotBeRead: entries that make no sense are left out and forgotten, a disk that fails is an error.
func TestAJournalThatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrashes(t, "")
		defer c.close()
		left := c.crash()
		left.values = map[string][]byte{"call/a": []byte("{"), "call/b": []byte(`{"cdr":{"call":"c"}}`), "junk": {0xff}, "alive": []byte("today")}
		c.again(left, "")
		time.Sleep(time.Second)
		if n := len(c.state.entries(t)); n != 0 || c.state.len() > 1 || len(c.records.all()) != 0 || c.said("3 entries of the journal") != 1 {
			t.Errorf("%d values, %d records, log %v", c.state.len(), len(c.records.all()), c.logs.All())
		}
		left = c.crash()
		left.broken = errors.New("a bad block")
		c.life = &life{engine: c.engine, state: left}
		if err := c.starts(labConfig, c.gives(false)); err == nil || !strings.Contains(err.Error(), "open calls: a bad block") {
			t.Errorf("says %v", err)
		}
		c.again(&memory{}, "")
	})
}

// TestCrashesAtRandom: calls come, are answered and end while signalling and now and then the media process crash. Each call
// that was known for longer than the journal takes has one record, and none has two.
func TestCrashesAtRandom(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			root := t.TempDir()
			synctest.Test(t, func(t *testing.T) { crashAtRandom(t, filepath.Join(root, "cdr"), rand.New(rand.NewPCG(seed, 1))) })
		})
	}
}

// written is how often a state was written.
func (m *memory) written() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.puts
}

// surely is how long the journal takes at most, and soon how long a record waits for others.
const (
	surely = 300 * time.Millisecond
	soon   = 100 * time.Millisecond
)

// episode is a call of the present life.
type episode struct {
	talk
	began, ended time.Time
}

// certain reports whether a crash now leaves a record of it.
func (e *episode) certain(now time.Time) bool {
	return now.Sub(e.began) > surely || !e.ended.IsZero() && now.Sub(e.ended) > soon
}

func crashAtRandom(t *testing.T, dir string, rnd *rand.Rand) {
	c := newCrashes(t, dir)
	defer c.close()
	var present []*episode
	up := func() (list []*episode) {
		for _, e := range present {
			if e.ended.IsZero() {
				list = append(list, e)
			}
		}
		return list
	}
	sure, all, crashes := 0, 0, 0
	for range 150 {
		switch n := rnd.IntN(20); {
		case n < 7:
			present = append(present, &episode{talk: c.dials(), began: time.Now()})
			all++
		case n < 11 && len(up()) > 0:
			e := up()[rnd.IntN(len(up()))]
			hangup(e.caller, e.callee)
			e.ended = time.Now()
		case n == 19 && crashes < 6:
			for _, e := range present {
				if e.certain(time.Now()) {
					sure++
				}
			}
			saved, left := copied(t, dir), c.crash()
			if rnd.IntN(3) == 0 {
				c.bothGone()
			}
			present, dir = nil, saved
			c.again(left, dir)
			crashes++
		case n == 18 && len(up()) == 0:
			c.engine.free() // those of before have fallen silent
		default:
			time.Sleep(time.Duration(rnd.IntN(400)) * time.Millisecond)
		}
	}
	for _, e := range up() {
		hangup(e.caller, e.callee)
	}
	sure += len(present)
	c.engine.free()
	c.empty()
	names := map[string]int{}
	for _, r := range filed(t, dir) {
		if names[r.Call]++; names[r.Call] > 1 {
			t.Errorf("%s has %d records", r.Call, names[r.Call])
		}
	}
	if len(names) < sure || len(names) > all {
		t.Errorf("%d records, want %d to %d (%d crashes)", len(names), sure, all, crashes)
	}
	if n := len(c.state.entries(t)); n != 0 {
		t.Errorf("%d calls are in the journal", n)
	}
	t.Logf("%d calls, %d crashes, %d records, of which %d had to be", all, crashes, len(names), sure)
}

// TestAChallengedCallIsOneEntry: the INVITE that the PBX asks a password for, and the one that brings it.
func TestAChallengedCallIsOneEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &life{engine: &engine{}, state: &memory{}}
		l := newRoaming(t, roamingConfig, natlab.Options{Seed: 3}, r.gives(false))
		defer l.close()
		phone := l.phone(l.home(7, natlab.NATOptions{}).Host(private), "204", 5060, nat.UDP)
		l.pbx.Incoming = scriptOf(demo.Script{Answer: 2 * time.Second}, sdpAt(pbxAt.Addr(), 4002))
		if _, out := l.register(phone, demo.RegisterOptions{}); out.Code != 200 {
			t.Fatalf("registered with %+v", out)
		}
		looked := make(chan map[string]tu.CDR, 1)
		l.running.Go(func() {
			time.Sleep(4 * time.Second)
			looked <- r.state.entries(t)
		})
		out := l.call(phone, phoneSocket, "100", demo.Script{SDP: sdpAt(private, 4000), Hangup: 5 * time.Second})
		time.Sleep(time.Second)
		all, during := r.records.all(), <-looked
		if out.Code != 200 || out.Challenges != 1 || len(all) != 1 || len(during) != 1 {
			t.Fatalf("%d after %d challenges, %d records, entries %+v", out.Code, out.Challenges, len(all), during)
		}
		if e := during[all[0].Call]; e.AoR != "204@example.com" || !e.Answer.Equal(all[0].Answer) || !e.Start.Equal(all[0].Start) || e.Attempts != all[0].Attempts {
			t.Errorf("entry %+v\nrecord %+v", e, all[0])
		}
		if n := len(r.state.entries(t)); n != 0 {
			t.Errorf("%d calls are in the journal", n)
		}
	})
}
