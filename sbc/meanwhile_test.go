package sbc

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gaissmai/bart"
	"go.uber.org/zap"

	"sallyport/sbc/config"
	"sallyport/sbc/feed"
)

// TestAFeedThatComesDuringAReloadStays: its server answers "not modified" from then on, so that what a reload put in its place
// would stay in force for good.
func TestAFeedThatComesDuringAReloadStays(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	s := newSources(&Options{Now: func() time.Time { return now }, Log: zap.NewNop()}, func() {})
	snap := &config.Snapshot{}
	snap.Policy.Feeds = []config.Feed{{Name: "bad", URL: "https://192.0.2.1/list", Every: time.Hour, MaxEntries: 10}}
	prepare := func() *prepared {
		t.Helper()
		p, err := s.prepare(t.Context(), snap)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	s.use(prepare())
	source := s.want.feeds[0]
	older, newer := new(bart.Lite), new(bart.Lite)
	s.fetched(source, feed.List{Set: older, Entries: 1}, true, nil)
	p := prepare() // a reload begins
	s.fetched(source, feed.List{Set: newer, Entries: 2}, true, nil)
	s.use(p)
	if s.current().Feeds["bad"] != newer {
		t.Error("the list that came last is not in force")
	}
}

// TestFourFifthsOfAnything that pbx.limits may say is a rate.
func TestFourFifthsOfAnything(t *testing.T) {
	for _, text := range []string{"1/second", "7/second", "1/day", "200001/second", "999999/second", "999999/hour", "999999/day", "999/minute"} {
		var r config.Rate
		if err := r.UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
		w := &world{snap: &config.Snapshot{}}
		w.snap.PBX.Limits = map[string]config.Rate{"INVITE": r}
		if _, err := newIntake(time.Now(), w); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestAFeedFromAFileIsThereAtOnce: `sbc policy test` and `sbc replay` try the rules of a configuration that is not in force.
func TestAFeedFromAFileIsThereAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(path, []byte("192.0.2.66\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newSources(&Options{Now: time.Now, Log: zap.NewNop()}, func() {})
	snap := &config.Snapshot{}
	snap.Policy.Feeds = []config.Feed{{Name: "own", File: path, Every: time.Hour, MaxEntries: 10}}
	p, err := s.prepare(t.Context(), snap)
	if err != nil || p.data.Feeds["own"] == nil || !p.data.Feeds["own"].Contains(netip.MustParseAddr("192.0.2.66")) {
		t.Errorf("%+v, %v", p, err)
	}
	snap.Policy.Feeds[0].File += "-gone"
	quiet := newSources(&Options{Now: time.Now}, nil) // as TryMessage makes it
	if _, err = quiet.prepare(t.Context(), snap); err != nil {
		t.Error(err)
	}
}
