package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestDrains: a trunk and a node are taken out and back in over the socket, and it is told who did it.
func TestDrains(t *testing.T) {
	var told changes
	c, ctx := running(t, Options{Control: newFake(), UID: OwnUID(), Change: told.note}), t.Context()
	trunk, err := c.DrainTrunk(ctx, "itsp", true)
	if err != nil || trunk.Drained == nil || trunk.DrainedBy != fmt.Sprintf("uid %d", OwnUID()) || !trunk.DrainedSince.Equal(start) || trunk.Calls != 12 {
		t.Errorf("%v, %+v", err, trunk)
	}
	if trunk, err = c.DrainTrunk(ctx, "itsp", false); err != nil || trunk.Drained != nil {
		t.Errorf("%v, %+v", err, trunk)
	}
	node, err := c.DrainNode(ctx, "[2001:db8::1]:5060", true)
	if err != nil || node.Address != "[2001:db8::1]:5060" || node.Drained == nil {
		t.Errorf("%v, %+v", err, node)
	}
	_, err = c.DrainTrunk(ctx, "no/such", true)
	if e, ok := errors.AsType[*Error](err); !ok || e.Status != http.StatusNotFound || !strings.Contains(e.Error(), `no trunk "no/such"`) {
		t.Errorf("%v", err)
	}
	uid := fmt.Sprint(OwnUID())
	want := []string{
		uid + " trunks drain itsp <nil>", uid + " trunks undrain itsp <nil>", uid + " pbx drain [2001:db8::1]:5060 <nil>",
	}
	if len(told.list) != 4 || !slices.Equal(told.list[:3], want) || !strings.HasPrefix(told.list[3], uid+" trunks drain no/such no trunk") {
		t.Errorf("told %q", told.list)
	}
}

// TestTrunkInJSON: what is not bounded and not drained is not there.
func TestTrunkInJSON(t *testing.T) {
	b, err := json.Marshal(Node{Peer: Peer{Address: "10.0.0.10:5060", Transport: "udp", State: "unknown"}})
	if text := string(b); err != nil || strings.Contains(text, "_most") || strings.Contains(text, "drained") || !strings.Contains(text, `"calls":0`) {
		t.Errorf("%v %s", err, b)
	}
	b, err = json.Marshal(Trunk{Name: "itsp", State: "drained", Load: Load{Calls: 1, Most: 2, RateMost: 3}, Drained: &Drained{DrainedBy: "uid 0", DrainedSince: start}})
	if want := `{"name":"itsp","mode":"","state":"drained","calls":1,"calls_most":2,"calls_high":0,"calls_per_second":0,"calls_per_second_most":3,` +
		`"drained_by":"uid 0","drained_since":"2027-01-31T18:00:00Z","peers":null}`; err != nil || string(b) != want {
		t.Errorf("%v %s", err, b)
	}
}
