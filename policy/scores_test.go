package policy

import (
	"hash/maphash"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func newScores(capacity int) *scoreTable {
	t := &scoreTable{}
	t.init(maphash.MakeSeed(), capacity)
	return t
}

// note adds an offence and returns the points.
func (t *scoreTable) note(now, window time.Duration, key scoreKey, what offence) (points int, kept bool) {
	kept = t.with(now, window, key, true, func(s *score) {
		s.add(what)
		points = s.total().points()
	})
	return points, kept
}

func addressKey(n uint32) scoreKey { return scoreKey{source: addr4(n).As16(), unit: unitAddress} }

func portKey(n uint32) scoreKey { return scoreKey{source: addr4(n).As16(), id: 5060, unit: unitPort} }

// TestWindowEqualsItsModel holds the slots against a list of all offences: what is younger than the window counts always,
// what is older than a slot more than the window never.
func TestWindowEqualsItsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		window := time.Duration(rapid.IntRange(1, 600).Draw(t, "window")) * time.Second
		table, now := newScores(8), time.Duration(0)
		type event struct {
			at   time.Duration
			what offence
		}
		var all []event
		for range rapid.IntRange(1, 60).Draw(t, "events") {
			now += time.Duration(rapid.Int64Range(0, int64(window/4)).Draw(t, "step"))
			what := rapid.SampledFrom([]offence{overLimit, malformed, wrongDigest, unknownUser, nowhere, scanner}).Draw(t, "what")
			all = append(all, event{now, what})
			got, kept := table.note(now, window, addressKey(1), what)
			low, high := 0, 0
			for _, e := range all {
				if now-e.at < window {
					low += offencePoints[e.what]
				}
				if now-e.at <= window+window/(scoreSlots-1)+1 {
					high += offencePoints[e.what]
				}
			}
			if !kept || got < low || got > high {
				t.Fatalf("after %v in a window of %v: %d points, want %d to %d", now, window, got, low, high)
			}
		}
	})
}

func TestAReloadOfTheWindowKeepsWhatCounts(t *testing.T) {
	table := newScores(8)
	for n := range 3 {
		table.note(time.Duration(n)*20*time.Second, time.Minute, addressKey(1), wrongDigest)
	}
	if got, _ := table.note(41*time.Second, 10*time.Minute, addressKey(1), malformed); got != 17 {
		t.Errorf("%d points after a reload, want 17", got)
	}
	if got, _ := table.note(20*time.Minute, 10*time.Minute, addressKey(1), malformed); got != 2 {
		t.Errorf("%d points after the window, want 2", got)
	}
}

func TestForgedSourcesDoNotEvictProvenOnes(t *testing.T) {
	alone(t)
	table := newScores(16_384)
	const attackers = 1000
	for n := range uint32(attackers) {
		for range 3 {
			table.note(0, time.Minute, addressKey(n+1), wrongDigest)
		}
	}
	count := 10_000_000
	if testing.Short() {
		count = 1_000_000
	}
	for n := range uint32(count) {
		table.note(time.Duration(n)*time.Microsecond, time.Minute, portKey(0x40000000+n), scanner)
	}
	kept := 0
	for n := range uint32(attackers) {
		table.with(10*time.Second, time.Minute, addressKey(n+1), false, func(s *score) {
			if s.total().points() == 15 {
				kept++
			}
		})
	}
	// In a set of eight more than eight attackers may meet; none but an attacker takes an attacker's place.
	if kept < attackers-5 {
		t.Errorf("%d of %d scores are kept", kept, attackers)
	}
}

func TestWhoHasMorePointsStays(t *testing.T) {
	table := newScores(8) // one set
	for n := range uint32(8) {
		for range n + 1 {
			table.note(0, time.Minute, addressKey(n), wrongDigest)
		}
	}
	if _, kept := table.note(time.Second, time.Minute, portKey(99), scanner); kept {
		t.Error("what is not proven takes the place of what is")
	}
	table.note(time.Second, time.Minute, addressKey(100), malformed)
	for n := range uint32(8) {
		there := table.with(time.Second, time.Minute, addressKey(n), false, func(*score) {})
		if there != (n != 0) {
			t.Errorf("score %d: %v", n, there)
		}
	}
	// What has left the window gives way to anybody.
	if _, kept := table.note(5*time.Minute, time.Minute, portKey(99), scanner); !kept {
		t.Error("stale scores keep their place")
	}
}

func TestCountersDoNotWrap(t *testing.T) {
	table := newScores(8)
	var got int
	for range 70_000 {
		got, _ = table.note(0, time.Minute, addressKey(1), overLimit)
	}
	if got != 65_535 {
		t.Errorf("%d points", got)
	}
	// A reader whose clock is a little behind does no harm.
	if got, _ = table.note(-time.Second, time.Minute, addressKey(1), scanner); got < 65_535 {
		t.Errorf("%d points", got)
	}
}

func TestTallyInWords(t *testing.T) {
	for want, y := range map[string]tally{
		"":                                    {},
		"2 wrong digest, 1 malformed":         {wrongDigest: 2, malformed: 1},
		"1 scanner, 3 over limit":             {overLimit: 3, scanner: 1},
		"1 met a rule that bans":              {byRule: 1},
		"4 unknown user, 1 INVITE to nowhere": {unknownUser: 4, nowhere: 1},
	} {
		if y.String() != want {
			t.Errorf("%q, want %q", y, want)
		}
	}
}
