package policy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sallyport/nat"
)

func TestOutcomesOfStrangersOnly(t *testing.T) {
	g := newGuard(t, registrar())
	registerPhones(g, "198.51.100.77", 1)
	tcp := func(source string, kind OutcomeKind, n int) {
		g.Outcome(noon, Outcome{Source: addrPort(source), Realm: nat.Phones, Transport: nat.TCP, AoR: "204@example.com", Kind: kind, CallID: fmt.Sprint(n), CSeq: 1})
	}
	for n := range 10 { // a phone may dial wrong numbers
		tcp("198.51.100.77:1000", UnknownUser, n)
		tcp("198.51.100.77:1000", Nowhere, n)
	}
	if x := explainOf(g, noon, "198.51.100.77"); x.Account != nil {
		t.Errorf("%+v", x.Account)
	}
	for n := range 9 { // svwar: looks for extensions
		tcp("192.0.2.66:1000", []OutcomeKind{UnknownUser, Nowhere}[n%2], n)
		tcp("192.0.2.66:1000", UnknownUser, n) // told twice
	}
	x := explainOf(g, noon, "192.0.2.66")
	if x.Account == nil || x.Account.Points[0].Points != 18 || x.Account.Points[0].Evidence != "5 unknown user, 4 INVITE to nowhere" {
		t.Fatalf("%+v", x.Account)
	}
	tcp("192.0.2.66:1000", UnknownUser, 99)
	if len(g.Bans().List(noon)) != 1 {
		t.Error("not banned")
	}
	g.Outcome(noon, Outcome{Source: addrPort("10.9.9.9"), Side: nat.Inside, Kind: WrongDigest}) // the PBX's network
	g.Outcome(noon, Outcome{Kind: WrongDigest})
}

func TestShadowCountsAndTellsAndBansNobody(t *testing.T) {
	config := registrar()
	config.Bans.Shadow = true
	g := newGuard(t, config)
	lines := logOf(g)
	c := newClient(g, "192.0.2.66:5070", "204")
	for n := range 9 {
		if !c.guess(noon.Add(time.Duration(n) * time.Second)) {
			t.Fatalf("guess %d is refused", n)
		}
	}
	told := 0
	for i := range *lines {
		l := &(*lines)[i]
		if l.Event == EventBanned && l.Message() == "would be banned" && l.Ban == "192.0.2.66/32" {
			told++
		}
	}
	if told != 2 || g.BanCounts().Shadowed != 2 || g.BanCounts().Bans != 0 || len(g.Bans().List(noon)) != 0 {
		t.Errorf("told %d times, counts %+v", told, g.BanCounts())
	}
	if x := explainOf(g, noon.Add(9*time.Second), "192.0.2.66"); !strings.Contains(x.Text(time.UTC), "(shadow: counted only)") {
		t.Error(x.Text(time.UTC))
	}
}
