package sbc

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// TestNoncesAreBounded: a phone's nonce is known until as many others as a generation holds have come, and no more than
// two generations are kept.
func TestNoncesAreBounded(t *testing.T) {
	var n nonces
	if _, ok := n.find("0"); ok {
		t.Error("found in an empty memory")
	}
	node := func(i int) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr("10.0.0.10"), uint16(i)) }
	for i := range 5 * noncesMost {
		n.add(fmt.Sprint(i), node(i%1000))
		if got, ok := n.find(fmt.Sprint(max(0, i-noncesMost+1))); !ok || got.nodes[0] != node(max(0, i-noncesMost+1)%1000) {
			t.Fatalf("%d: forgot one of the last %d", i, noncesMost)
		}
	}
	if len(n.young)+len(n.old) > 2*noncesMost {
		t.Errorf("%d are kept", len(n.young)+len(n.old))
	}
}

// TestSharedNonces: a nonce may come back as often as it was issued, whichever half of the memory that is in, and not once more; each
// node that has issued it is remembered, the last one first.
func TestSharedNonces(t *testing.T) {
	one, two := netip.MustParseAddrPort("10.0.0.10:5060"), netip.MustParseAddrPort("10.0.0.11:5060")
	var n nonces
	var spent spentNonces
	spend := func() bool {
		is, _ := n.find("second")
		return spent.spend("second", is.times)
	}
	fill := func(by string) {
		for i := range noncesMost {
			n.add(fmt.Sprint(by, i), one)
			spent.spend(fmt.Sprint(by, i), 1)
		}
	}
	if spend() {
		t.Error("a nonce that nobody has issued counts as an answer")
	}
	for i, node := range []netip.AddrPort{one, one, two, one} {
		n.add("second", node)
		if is, _ := n.find("second"); is.times != i+1 || is.nodes[0] != node {
			t.Errorf("issued %d times: %+v", i+1, is)
		}
	}
	if is, _ := n.find("second"); !slices.Equal(is.nodes, []netip.AddrPort{one, two}) {
		t.Errorf("issued by %v", is.nodes)
	}
	for i := range 4 {
		if !spend() {
			t.Errorf("answer %d counts as another request", i+1)
		}
		if i == 1 {
			fill("a")
			n.add("second", two)
		}
	}
	if !spend() || spend() {
		t.Error("issued five times, and not spent as often")
	}
	for i := range 3 * issuersMost {
		n.add("many", netip.AddrPortFrom(one.Addr(), uint16(i)))
	}
	if is, _ := n.find("many"); len(is.nodes) != issuersMost || len(spent.young)+len(spent.old) > 2*noncesMost+2 {
		t.Errorf("%d nodes of a nonce are kept, %d nonces that were spent", len(is.nodes), len(spent.young)+len(spent.old))
	}
}

func TestRecordsOfChallengedCallsWait(t *testing.T) {
	end := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	challenged := tu.CDR{
		Call: "c1", CallIDs: [2]string{"phone-1", "x"}, Source: "198.51.100.7:40122", AoR: "204@example.com", Direction: "inbound",
		Code: 407, End: end,
	}
	with := func(change func(*tu.CDR)) tu.CDR {
		r := challenged
		change(&r)
		return r
	}
	for name, r := range map[string]tu.CDR{
		"answered":           with(func(r *tu.CDR) { r.Code = 200 }),
		"refused by the PBX": with(func(r *tu.CDR) { r.Code = 403 }),
		"of a trunk":         with(func(r *tu.CDR) { r.AoR = "" }),
		"to a phone":         with(func(r *tu.CDR) { r.Direction = "outbound" }),
		"with a reason":      with(func(r *tu.CDR) { r.Reason = reason.NoPBX }),
		"of nowhere":         with(func(r *tu.CDR) { r.Source = "" }),
	} {
		if new(held).hold(r) {
			t.Errorf("%s: held back", name)
		}
	}
	var h held
	source := netip.MustParseAddr("198.51.100.7")
	if !h.hold(challenged) || h.hold(challenged) {
		t.Error("held once, a second one of the same name is written")
	}
	if _, ok := h.take("phone-1", netip.MustParseAddr("198.51.100.8")); ok {
		t.Error("another address took it")
	}
	if r, ok := h.take("phone-1", source); !ok || r.Call != "c1" {
		t.Errorf("%v %v", r, ok)
	}
	if _, ok := h.take("phone-1", source); ok {
		t.Error("taken twice")
	}
	h.hold(challenged)
	if got := h.due(end.Add(heldFor - 1)); len(got) != 0 {
		t.Error("given up too soon")
	}
	if got := h.due(end.Add(heldFor)); len(got) != 1 || len(h) != 0 {
		t.Errorf("%d of 1 given up, %d stay", len(got), len(h))
	}
	for i := range heldMost + 10 {
		h.hold(with(func(r *tu.CDR) { r.CallIDs[0] = fmt.Sprint(i) }))
	}
	if len(h) != heldMost || len(h.all()) != heldMost || len(h) != 0 {
		t.Errorf("%d are held", len(h))
	}
}
