package names

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

func TestLookUp(t *testing.T) {
	snap, z := snapshotOf(t, expandedConfig), newZone(t)
	z.code = dns.RcodeRefused
	list := LookUp(t.Context(), snap, z)
	if len(list) != 10 {
		t.Fatalf("%+v", list)
	}
	for _, s := range list {
		if s.Leads() != "" || !strings.Contains(s.Trouble(), "REFUSED") || !strings.HasPrefix(snap.Place(s.Path), "f.yaml:") {
			t.Errorf("%+v", s)
		}
	}
	if list = LookUp(t.Context(), snapshotOf(t, literals), z); len(list) != 0 {
		t.Errorf("names of literals: %+v", list)
	}
	list = LookUp(t.Context(), snapshotOf(t, oneName), newZone(t, hostB, hostA))
	if len(list) != 1 || list[0].Leads() != "203.0.113.20:5060, 203.0.113.21:5060" || list[0].Trouble() != "" || list[0].Path != "trunks[0].peers[1].address" {
		t.Errorf("%+v", list)
	}
}

// TestLookedUp: a trial sees what the network says now, and does without what has no answer in time.
func TestLookedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z, snap := newZone(t, hostA), snapshotOf(t, oneName)
		if got := peersOf(LookedUp(t.Context(), snap, z)); !slices.Equal(got, []string{"203.0.113.22:5060", "203.0.113.20:5060"}) {
			t.Errorf("peers %v", got)
		}
		z.kill(true)
		began := time.Now()
		if got := peersOf(LookedUp(t.Context(), snap, z)); !slices.Equal(got, []string{"203.0.113.22:5060"}) || time.Since(began) != askTime {
			t.Errorf("peers %v after %s", got, time.Since(began))
		}
	})
}
