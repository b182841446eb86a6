package api

import (
	"fmt"
	"strings"
	"testing"
)

func TestRouteText(t *testing.T) {
	a := RouteAnswer{
		Number: "0301234567", E164: "+49301234567", From: "204", Hops: []RouteHop{
			{Peer: "itsp", Address: "203.0.113.20:5060", Transport: "udp", Group: "west", State: "degraded", Reason: "late", Load: &Load{Calls: 29, Most: 30, Rate: 2, RateMost: 10},
				URI: "sip:+49301234567@203.0.113.20", From: "<sip:204@203.0.113.10>", To: "<sip:x@h>", Answers: []string{"no answer within 1.5s", "503"}},
			{Peer: "10.0.0.10:5060", Address: "10.0.0.10:5060", Transport: "udp", State: "up", Full: "it has 2 calls"},
		}, More: 3,
		Rules: []RouteRule{{Key: "trunks[0]", Name: "itsp", Holds: true, Why: "it fits"}, {Key: "trunks[1]", Name: "other", Why: "it does not\x1b"}},
	}
	want := `number    0301234567, in the public network +49301234567
from      204
plan      1  itsp (west)  203.0.113.20:5060/udp  degraded: late  calls 29/30, a second 2/10
             INVITE sip:+49301234567@203.0.113.20
             From   <sip:204@203.0.113.10>
             To     <sip:x@h>
             next   after no answer within 1.5s, 503
          2  node  10.0.0.10:5060/udp  up  FULL: it has 2 calls
          and 3 more
because   trunks[0] itsp: it fits
not       trunks[1] other: it does not`
	if got := a.Text(); !strings.HasPrefix(got, want) || strings.Contains(got, "\x1b") {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	b := RouteAnswer{Number: "112", Emergency: true, Trunk: "itsp", Refused: "404 Not Found: no-route", Offline: true}
	for i := range rulesShown + 5 {
		b.Rules = append(b.Rules, RouteRule{Key: fmt.Sprintf("trunks[%d]", i), Why: "no"})
	}
	got := b.Text()
	for _, line := range []string{"number    112: an emergency call\n", "trunk     itsp\n", "refused   404 Not Found: no-route\n", "          and 5 more (--json lists them)\n", "note      asked of a file"} {
		if !strings.Contains(got, line) {
			t.Errorf("%q is missing in\n%s", line, got)
		}
	}
	if strings.Count(got, "trunks[") != rulesShown {
		t.Error(got)
	}
}
