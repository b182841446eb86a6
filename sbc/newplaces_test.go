package sbc_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat/natlab"
	"sallyport/sbc/api"
)

// callsFrom is a call at outside/trunks by somebody who says that he is at a host.
func (l *lab) callsFrom(source, host string) {
	l.t.Helper()
	w := l.wire(netip.MustParseAddrPort(source))
	invite := w.request("INVITE", trunkSocket, "4930777")
	invite.From.URI.Host, invite.From.URI.Port = host, 0
	w.send(trunkSocket, invite)
}

func (l *lab) refusedOf(yaml, trunk string) string {
	l.t.Helper()
	list, err := l.control(yaml).Trunks(l.ctx)
	if err != nil {
		l.t.Fatal(err)
	}
	var out []string
	for _, t := range list {
		if t.Name != trunk || t.Refused == nil {
			continue
		}
		for _, x := range t.Refused.List {
			text := x.Address
			if x.Named {
				text += " named"
			}
			if x.Beside {
				text += " beside"
			}
			out = append(out, text)
		}
		if more := t.Refused.Count - len(t.Refused.List); more > 0 {
			out = append(out, fmt.Sprint("and ", more))
		}
	}
	return strings.Join(out, ", ")
}

// moved has a trunk with a name beside the one of the lab, which leads nowhere here.
func moved(t *testing.T) string {
	return rewritten(t, labConfig, "  - name: itsp\n", "  - name: named\n    peers: [ { address: sip.provider.example } ]\n    keepalive: { method: none }\n  - name: itsp\n")
}

// TestTrunkTellsOfCallsFromNewPlaces: a provider who calls from an address that he did not have is found from his trunk, and so is
// nobody else.
func TestTrunkTellsOfCallsFromNewPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		yaml := moved(t)
		l := newGate(t, yaml, natlab.Options{Seed: 1})
		defer l.close()
		if got := l.refusedOf(yaml, "itsp") + l.refusedOf(yaml, "named"); got != "" {
			t.Errorf("before anything: %s", got)
		}
		for _, c := range [][2]string{
			{"192.0.2.1:5060", "scanner.example"}, {"192.0.2.2:5060", "203.0.113.20"}, {"203.0.113.77:5060", "elsewhere.example"},
			{"192.0.2.3:5060", "sip.provider.example"}, {"192.0.2.4:5060", "SBC7.provider.example"}, {"192.0.2.5:5060", "provider.example"},
			{"192.0.2.6:5060", "notprovider.example"}, {"192.0.2.7:5060", "example"}, {"192.0.2.8:5060", "203.0.113.10"},
			{"203.0.113.78:5060", "203.0.113.20"},
		} {
			time.Sleep(time.Second)
			l.callsFrom(c[0], c[1])
		}
		for trunk, want := range map[string]string{
			"itsp":  "203.0.113.78 named beside, 203.0.113.77 beside, 192.0.2.2 named",
			"named": "192.0.2.5 named, 192.0.2.4 named, 192.0.2.3 named",
		} {
			if got := l.refusedOf(yaml, trunk); got != want {
				t.Errorf("%s: %s\nwant %s", trunk, got, want)
			}
		}
		why := l.why("itsp")
		for _, want := range []string{
			"itsp: calls were refused lately from 203.0.113.78, whose From names this trunk, and which is in the network of its addresses (last ",
			"itsp: calls were refused lately from 192.0.2.2, whose From names this trunk (last ", "): sbc why 192.0.2.2\n", "ask the provider",
		} {
			if !strings.Contains(why, want) {
				t.Errorf("no %q in\n%s", want, why)
			}
		}
		if text := l.why("192.0.2.2"); !strings.Contains(text, "if it is a trunk's address, add 192.0.2.2/32 to that trunk's sources") {
			t.Error(text)
		}
		// It has been added: no new place any more.
		yaml = rewritten(t, yaml, `    peers: [ { address: "203.0.113.20:5060" } ]`, "    peers: [ { address: \"203.0.113.20:5060\" } ]\n    sources: [ 203.0.113.20, 192.0.2.0/28, 203.0.113.76/30 ]")
		l.mustReload(yaml)
		if got := l.refusedOf(yaml, "itsp"); got != "" {
			t.Errorf("after it was added: %s", got)
		}
	})
}

// TestStrangersMakeATrunkTellLittle: whoever calls in a provider's name from everywhere fills no screen and gets no word of his own in.
func TestStrangersMakeATrunkTellLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, labConfig, natlab.Options{Seed: 1})
		defer l.close()
		for i := range 60 {
			w := l.wire(netip.MustParseAddrPort(fmt.Sprintf("192.0.2.%d:5060", i+1)))
			invite := w.request("INVITE", trunkSocket, "4930777")
			invite.From.URI.User, invite.From.URI.Host, invite.From.URI.Port = "allow-me-now", "203.0.113.20", 0
			w.send(trunkSocket, invite)
		}
		list, err := l.control(labConfig).Trunks(l.ctx)
		if err != nil {
			t.Fatal(err)
		}
		text := api.TrunksText(list, time.UTC)
		if strings.Count(text, "calls were refused lately") != 3 || !strings.Contains(text, "itsp: and from 57 more\n") || strings.Contains(text, "allow-me") {
			t.Error(text)
		}
	})
}
