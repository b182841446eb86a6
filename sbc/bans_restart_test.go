package sbc_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"sallyport/nat/natlab"
	"sallyport/sbc"
	"sallyport/sbc/api"
)

// TestBansOutliveARestart: those by hand and those from evidence, with how many there were.
func TestBansOutliveARestart(t *testing.T) {
	for _, how := range []string{"stopped, in memory", "crashed, in memory", "stopped, on disk"} {
		t.Run(how, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				state := sbc.State(&memory{})
				onDisk := strings.HasSuffix(how, "disk")
				open := func() {
					var err error
					if state, err = sbc.OpenBans(dir); err != nil {
						t.Fatal(err)
					}
				}
				if onDisk {
					open()
				}
				kept := func(o *sbc.Options) { o.Bans = state }
				l := newGate(t, doorConfig, natlab.Options{Seed: 6}, kept)
				d := &door{l, l.wire(phoneAt), l.wire(pbxAt)}
				d.pbx.n = 100
				defer d.close()
				visitor := d.wire(visitorAt)
				guesses := func() {
					nonce := ""
					for i := range 20 {
						m := visitor.guess("204", nonce)
						nonce = fmt.Sprint(time.Now().Unix(), "-", i)
						if !d.denies(visitor, m, nonce) {
							return
						}
					}
				}
				guesses()
				for _, ban := range []api.Ban{
					{Address: "192.0.2.0/24", Comment: "for ever"}, {Address: "192.0.3.1", Until: time.Now().Add(time.Hour), Realms: []string{"trunks"}},
					{Address: "192.0.3.2", Until: time.Now().Add(10 * time.Second)},
				} {
					if _, err := d.gate.Control(nil).AddBan(d.ctx, ban); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(2 * time.Second)
				before, err := d.gate.Control(nil).Bans(d.ctx)
				if err != nil || len(before) != 4 {
					t.Fatalf("%v %+v", err, before)
				}
				if m, ok := state.(*memory); ok && strings.HasPrefix(how, "crashed") {
					state = m.copied()
				}
				d.stops()
				if onDisk {
					open()
				}
				time.Sleep(10 * time.Second)
				if err := d.starts(doorConfig, kept); err != nil {
					t.Fatal(err)
				}
				after, err := d.gate.Control(nil).Bans(d.ctx)
				if err != nil || len(after) != 3 {
					t.Fatalf("%v %+v", err, after)
				}
				for _, b := range after {
					if !slices.ContainsFunc(before, func(o api.Ban) bool {
						return o.Address == b.Address && o.By == b.By && o.Comment == b.Comment && o.Until.Equal(b.Until) && o.Since.Equal(b.Since) &&
							slices.Equal(o.Evidence, b.Evidence) && slices.Equal(o.Realms, b.Realms)
					}) {
						t.Errorf("%+v was not before", b)
					}
				}
				visitor.send(phoneSocket, visitor.registers("204", "<sip:204@"+visitorAt.String()+">"))
				visitor.quiet(time.Second)
				// The next one is longer: it is the second, though the first was of the run before.
				time.Sleep(11 * time.Minute)
				guesses()
				list, err := d.gate.Control(nil).Bans(d.ctx)
				i := slices.IndexFunc(list, func(b api.Ban) bool { return b.By == "evidence" })
				if err != nil || i < 0 || list[i].Count != 2 || list[i].Until.Sub(list[i].Since) != time.Hour {
					t.Errorf("%v %+v", err, list)
				}
			})
		})
	}
}

// TestBansThatCannotBeKept are told of once, and hold all the same; what can no longer be read is forgotten.
func TestBansThatCannotBeKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen, logs := observer.New(zapcore.InfoLevel)
		state := &memory{values: map[string][]byte{"junk": []byte("{"), "hand 192.0.2.1/32 0": []byte(`{"prefix":"192.0.2.2/32"}`)}}
		l := newGate(t, doorConfig, natlab.Options{Seed: 6}, func(o *sbc.Options) { o.Bans, o.Log = state, zap.New(seen) })
		defer l.close()
		time.Sleep(2 * time.Second)
		if state.len() != 0 || len(l.bans()) != 0 {
			t.Errorf("%d values, %v", state.len(), l.bans())
		}
		state.breaks(errors.New("no space left on device"))
		if _, err := l.gate.Control(nil).AddBan(l.ctx, api.Ban{Address: "192.0.2.0/24"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if n := logs.FilterMessageSnippet("bans cannot be kept").Len(); n != 1 || len(l.bans()) != 1 {
			t.Errorf("told %d times, %v", n, l.bans())
		}
		state.breaks(nil)
		time.Sleep(2 * time.Second)
		if state.len() != 1 || logs.FilterMessageSnippet("bans are kept again").Len() != 1 {
			t.Errorf("%d values", state.len())
		}
		if err := l.gate.Control(nil).RemoveBan(l.ctx, "192.0.2.0/24"); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * time.Second)
		if state.len() != 0 {
			t.Error("a ban that was lifted is kept")
		}
		l.stops()
		err := l.starts(doorConfig, func(o *sbc.Options) { o.Bans = &memory{broken: errors.New("a bad block")} })
		if err == nil || !strings.Contains(err.Error(), "bans") || !strings.Contains(err.Error(), "a bad block") {
			t.Errorf("says %v", err)
		}
	})
}
