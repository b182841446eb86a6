package names

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"sallyport/sbc/config"
)

// TestNobodyIsAskedOfLiterals: a configuration without names costs no question.
func TestNobodyIsAskedOfLiterals(t *testing.T) {
	z, snap := newZone(t), snapshotOf(t, literals)
	d := newDesk(z, t.TempDir())
	d.Ask(t.Context(), snap)
	d.Use(snap)
	if z.count() != 0 || d.news() != 0 || len(d.All(snap)) != 0 || LookedUp(t.Context(), snap, z) != snap || z.count() != 0 {
		t.Errorf("asked %d times", z.count())
	}
	if e := d.Expand(snap); len(e.PBX.Nodes) != 1 || e.PBX.Nodes[0] != snap.PBX.Nodes[0] {
		t.Errorf("%+v", e.PBX.Nodes)
	}
}

// TestAnswersComeAndGo: what is in force follows the zone, and each change is told once.
func TestAnswersComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z, snap := newZone(t, hostA), snapshotOf(t, oneName)
		d := newDesk(z, "")
		defer d.runs(t, snap)()
		for i, step := range []struct {
			name    string
			change  func()
			peers   []string
			said    string
			changes int
		}{
			{"at the start", func() {}, []string{"203.0.113.22:5060", "203.0.113.20:5060"}, onePlace + " leads to 203.0.113.20:5060", 1},
			{"nothing happens", func() {}, []string{"203.0.113.22:5060", "203.0.113.20:5060"}, "", 0},
			{"another address", func() { z.set(t, hostB) }, []string{"203.0.113.22:5060", "203.0.113.21:5060"}, onePlace + " leads to 203.0.113.21:5060", 1},
			{"one more", func() { z.set(t, hostA, hostB) }, []string{"203.0.113.22:5060", "203.0.113.20:5060", "203.0.113.21:5060"},
				onePlace + " leads to 203.0.113.20:5060, 203.0.113.21:5060", 1},
			{"silence", func() { z.kill(true) }, []string{"203.0.113.22:5060", "203.0.113.20:5060", "203.0.113.21:5060"},
				onePlace + ": sip.provider.example A: no answer from the name server; what was known stays in force: 203.0.113.20:5060, 203.0.113.21:5060", 0},
			{"alive", func() { z.kill(false) }, []string{"203.0.113.22:5060", "203.0.113.20:5060", "203.0.113.21:5060"}, onePlace + " is answered again", 0},
			{"our own among them", func() { z.set(t, hostA, "sip.provider.example. 30 IN A 203.0.113.10") }, []string{"203.0.113.22:5060", "203.0.113.20:5060"},
				onePlace + ": of its answer 203.0.113.10 is our own address and is not used\n  hint: ", 1},
			{"inside among them, too", func() {
				z.set(t, hostA, "sip.provider.example. 30 IN A 203.0.113.10", "sip.provider.example. 30 IN A 192.168.1.1")
			}, []string{"203.0.113.22:5060", "203.0.113.20:5060"}, onePlace + ": of its answer 192.168.1.1 lies in internal_ranges and is not used", 0},
			{"gone", func() { z.set(t) }, []string{"203.0.113.22:5060", "203.0.113.20:5060"}, "what was known stays in force: 203.0.113.20:5060", 0},
		} {
			step.change()
			if i > 0 {
				time.Sleep(10 * time.Minute)
			}
			if got := peersOf(d.Expand(snap)); !slices.Equal(got, step.peers) {
				t.Errorf("%s: peers %v", step.name, got)
			}
			if got := d.news(); got != step.changes {
				t.Errorf("%s: %d changes, want %d", step.name, got, step.changes)
			}
			if step.said == "" {
				if list := d.seen.TakeAll(); len(list) != 0 {
					t.Errorf("%s: the log says %v", step.name, list)
				}
				continue
			}
			d.says(t, step.said, 1)
		}
	})
}

// TestAskWaitsForSoLong: the start goes on without an answer, and the answer counts when it comes.
func TestAskWaitsForSoLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z, snap := newZone(t, hostA), snapshotOf(t, oneName)
		z.kill(true)
		d, began := newDesk(z, ""), time.Now()
		stop := d.runs(t, snap)
		defer stop()
		if took := time.Since(began); took != askTime {
			t.Errorf("it waits for %s", took)
		}
		if got := peersOf(d.Expand(snap)); len(got) != 1 {
			t.Errorf("peers %v", got)
		}
		d.says(t, "nothing is sent there until it has an answer\n  hint: is the name right? `dig sip.provider.example`", 1)
		z.kill(false)
		time.Sleep(2 * time.Minute)
		if got := peersOf(d.Expand(snap)); len(got) != 2 || d.news() == 0 {
			t.Errorf("peers %v", got)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		z.kill(true)
		began = time.Now()
		if d.Ask(ended, snapshotOf(t, expandedConfig)); time.Since(began) != 0 {
			t.Error("it waits for nobody")
		}
	})
}

// TestUseForgets: names of the configuration before are asked for no more, and those that stay are not asked for anew.
func TestUseForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := newZone(t, hostA, "other.example. 3600 IN A 203.0.113.30")
		old := snapshotOf(t, oneName)
		next := snapshotOf(t, strings.Replace(oneName, "sip.provider.example:5060", "other.example:5060", 1))
		d := newDesk(z, "")
		defer d.runs(t, old)()
		asked := z.count()
		d.Ask(t.Context(), next) // the configuration before is still in force
		if got := fmt.Sprint(peersOf(d.Expand(old)), peersOf(d.Expand(next))); got != "[203.0.113.22:5060 203.0.113.20:5060] [203.0.113.22:5060 203.0.113.30:5060]" {
			t.Errorf("peers %s", got)
		}
		d.Use(next)
		if z.count() != asked+1 {
			t.Errorf("asked %d times", z.count()-asked)
		}
		time.Sleep(20 * time.Minute)
		if z.count() != asked+1 {
			t.Errorf("asked %d times for a name that is gone", z.count()-asked-1)
		}
		if got := peersOf(d.Expand(old)); len(got) != 1 {
			t.Errorf("the name that is gone leads to %v", got)
		}
		d.Ask(t.Context(), next)
		d.Use(next)
		if z.count() != asked+1 {
			t.Error("a name that stays is asked for anew")
		}
	})
}

// TestRefusingName: an error of the name server is a name that leads nowhere, and says what it was.
func TestRefusingName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z, snap := newZone(t, hostA), snapshotOf(t, oneName)
		z.code = dns.RcodeServerFailure
		d := newDesk(z, "")
		d.Ask(t.Context(), snap)
		list := d.All(snap)
		if len(list) != 1 || !strings.Contains(list[0].Trouble(), "SERVFAIL") || list[0].Leads() != "" || d.news() != 0 {
			t.Errorf("%+v", list)
		}
	})
}

// TestNothingStays: a book that has ended leaves no goroutine behind, however many look at it meanwhile.
func TestNothingStays(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	z, snap := newZone(t, hostA), snapshotOf(t, oneName)
	d := newDesk(z, t.TempDir())
	stop := d.runs(t, snap)
	done := make(chan *config.Snapshot)
	for range 4 {
		go func() {
			for range 50 {
				d.Use(snap)
				d.Ask(t.Context(), snap)
				_, _, _ = d.All(snap), d.Trunk(snap, "itsp"), d.Levels()
			}
			done <- d.Expand(snap)
		}()
	}
	for range 4 {
		if e := <-done; len(e.Trunks[0].Peers) != 2 {
			t.Errorf("%+v", e.Trunks[0].Peers)
		}
	}
	stop()
	d.Save()
}
