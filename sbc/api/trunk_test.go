package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
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

// TestRefusedCallersAsPrinted: each address with where to look, and nothing that invites to let it in.
func TestRefusedCallersAsPrinted(t *testing.T) {
	list := []Trunk{
		{Name: "itsp", State: "up", Refused: &RefusedCallers{Count: 9, List: []RefusedCaller{
			{Address: "203.0.113.78", Last: start, Named: true, Beside: true}, {Address: "192.0.2.2", Last: start, Named: true},
			{Address: "203.0.113.77", Last: start, Beside: true},
		}}},
		{Name: "backup", State: "up", Refused: &RefusedCallers{Count: 1, List: []RefusedCaller{{Address: "\x1b[2J", Last: start, Named: true}}}},
		{Name: "plain", State: "up", Refused: &RefusedCallers{}},
	}
	_, text, _ := strings.Cut(TrunksText(list, time.FixedZone("CET", 3600)), "plain ")
	_, text, _ = strings.Cut(text, "\n")
	want := `itsp: calls were refused lately from 203.0.113.78, whose From names this trunk, and which is in the network of its addresses (last 2027-01-31 19:00:00): sbc why 203.0.113.78
itsp: calls were refused lately from 192.0.2.2, whose From names this trunk (last 2027-01-31 19:00:00): sbc why 192.0.2.2
itsp: calls were refused lately from 203.0.113.77, which is in the network of this trunk's addresses (last 2027-01-31 19:00:00): sbc why 203.0.113.77
itsp: and from 6 more
backup: calls were refused lately from ?[2J, whose From names this trunk (last 2027-01-31 19:00:00): sbc why ?[2J
hint: anybody can write such a From, and be a neighbour: ask the provider whether the address is his before you add it to trunks[].sources
`
	if text != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
}

// TestUnheardAsPrinted: a node that is asked and has never answered is not told from one that nobody asks by its state alone.
func TestUnheardAsPrinted(t *testing.T) {
	text := NodesText([]Node{
		{Peer: Peer{Address: "10.0.0.10:5060", Transport: "udp", State: "unknown", Answer: "no answer"}},
		{Peer: Peer{Address: "10.0.0.11:5060", Transport: "udp", State: "unknown"}},
		{Peer: Peer{Address: "10.0.0.12:5060", Transport: "udp", State: "up", Answer: "200 OK"}},
	}, time.UTC)
	lines := strings.Split(text, "\n")
	if !strings.HasSuffix(lines[1], "no answer   has never answered an OPTIONS; used all the same") || strings.Count(text, "never") != 1 {
		t.Error(text)
	}
}
