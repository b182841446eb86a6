package sbc_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat/natlab"
	"sallyport/sbc/api"
	"sallyport/sbc/config"
)

// rewritten is the lab's configuration with parts replaced: old, new, old, new.
func rewritten(t *testing.T, yaml string, pairs ...string) string {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(yaml, pairs[i]) {
			t.Fatalf("the configuration has no %q", pairs[i])
		}
	}
	return strings.NewReplacer(pairs...).Replace(yaml)
}

// reload puts a configuration in force as the administrator does.
func (l *lab) reload(yaml string) api.ReloadResult {
	l.t.Helper()
	r, err := l.gate.Control(func() (*config.Snapshot, config.Report) {
		return config.Parse("lab.yaml", []byte(yaml), config.Flags{})
	}).Reload(l.ctx, api.ReloadRequest{Force: true})
	if err != nil {
		l.t.Fatal(err)
	}
	return r
}

func (l *lab) mustReload(yaml string) {
	l.t.Helper()
	if r := l.reload(yaml); !r.Applied || len(r.Errors) > 0 || len(r.Changes) == 0 {
		l.t.Fatalf("reload: %+v", r)
	}
}

const otherTrunk = `  - name: other
    peers: [ { address: "203.0.113.30:5060" } ]
    outbound: { match: ["^\\+?[0-9]{2,15}$"] }
    keepalive: { method: none }
policy:`

// reloads are changes during a call, and what they must not do to it.
var reloads = []struct {
	name  string
	pairs []string
}{
	{"its trunk's settings", []string{"keepalive: { method: none }", "symmetric: true\n    ring_timeout: 20s\n    media_sources: [ 198.51.100.0/24 ]\n    keepalive: { method: none }"}},
	{"another trunk comes", []string{"policy:", otherTrunk}},
	{"its trunk goes, another comes", []string{"name: itsp", "name: other", "203.0.113.20:5060", "203.0.113.30:5060"}},
	{"its trunk is renamed", []string{"name: itsp", "name: fresh"}},
	{"its node goes", []string{"    - { address: \"10.0.0.10:5060\" }\n", ""}},
	{"the outside port", []string{"trunks: { udp: 5080 } }\ninside", "trunks: { udp: 5090 } }\ninside"}},
	{"both ports", []string{"udp: 5080", "udp: 5090"}},
	{"the external address", []string{"outside: { address: 203.0.113.10,", "outside: { address: 203.0.113.10, external_address: 198.51.100.5,"}},
	{"no call is allowed any more", []string{"policy:", "limits: { calls: 1, calls_per_second: 1 }\npolicy:"}},
	{"the domain", []string{"domain: example.com", "domain: example.org"}},
	{"everything at once", []string{"name: itsp", "name: other", "203.0.113.20:5060", "203.0.113.30:5060", "udp: 5080", "udp: 5090",
		"    - { address: \"10.0.0.10:5060\" }\n", "", "domain: example.com", "domain: example.org"}},
}

// TestACallSurvivesAReload: audio, hold, resume and the end of a call go on as if nothing had changed, whoever ends it.
func TestACallSurvivesAReload(t *testing.T) {
	for _, r := range reloads {
		for _, way := range []string{"in", "out"} {
			t.Run(r.name+"/"+way, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l := newGate(t, labConfig, natlab.Options{Seed: 1})
					defer l.close()
					itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
					from, to, gate := itsp, pbx, trunkSocket
					if way == "out" {
						from, to, gate = pbx, itsp, pbxSocket
					}
					caller, callee := l.connect(from, to, gate)
					l.mustReload(rewritten(t, labConfig, r.pairs...))
					time.Sleep(5 * time.Second) // what nobody needs is closed by now
					for _, p := range []*party{callee, caller} {
						other := caller
						if p == caller {
							other = callee
						}
						l.reinvite(p, other)
					}
					hangup(callee, caller)
					l.empty()
					if c := l.record(); c.Code != 200 || c.EndedBy != "callee" || c.Trunk != "itsp" || c.Node != pbxAt.String() || c.Reason != "" {
						t.Errorf("CDR %+v", c)
					}
				})
			})
		}
	}
}

// reinvite puts a call on hold from one end, and resumes it.
func (l *lab) reinvite(by, other *party) {
	l.t.Helper()
	for _, offer := range [][]byte{hold(sdpAt(by.at.Addr(), 4000)), sdpAt(by.at.Addr(), 4010)} {
		m := withBody(by.within("INVITE", 0), offer)
		by.send(by.gate, m)
		arrived := other.want("INVITE")
		other.reply(arrived, 200, sdpAt(other.at.Addr(), 4002))
		by.want("200 INVITE")
		by.send(by.gate, by.within("ACK", m.CSeq))
		other.want("ACK")
	}
}

// listeners are the sockets as `sbc status` shows them.
func (l *lab) listeners() (list []string) {
	l.t.Helper()
	s, err := l.gate.Control(nil).Status(l.ctx)
	if err != nil {
		l.t.Fatal(err)
	}
	for _, i := range s.Interfaces {
		x := i.Side + " " + i.Bind
		if i.Closing {
			x += " closing"
		}
		list = append(list, x)
	}
	slices.Sort(list)
	return list
}

// TestAMovedListener: the old socket serves its call until that ends and takes no new one, then it is closed; the new one
// answers at once.
func TestAMovedListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, labConfig, natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		caller, callee := l.connect(itsp, pbx, trunkSocket)
		l.mustReload(rewritten(t, labConfig, "trunks: { udp: 5080 } }\ninside", "trunks: { udp: 5090 } }\ninside"))
		moved := netip.AddrPortFrom(gateOutside, 5090)
		time.Sleep(5 * time.Second)
		if got := l.listeners(); !slices.Contains(got, "outside 203.0.113.10:5080 closing") || !slices.Contains(got, "outside 203.0.113.10:5090") {
			t.Errorf("listeners %v", got)
		}
		second, other := l.connect(itsp, pbx, moved)
		hangup(second, other)
		hangup(callee, caller)
		time.Sleep(time.Minute)
		if got := l.listeners(); slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, "203.0.113.10:5080") }) {
			t.Errorf("after its last call: %v", got)
		}
		itsp.send(trunkSocket, itsp.request("OPTIONS", trunkSocket, "ping"))
		itsp.quiet(time.Minute)
		l.empty()
	})
}

// TestAClosingListenerTakesNoNewCall: whoever still calls there is refused, at once and for as long as it stands.
func TestAClosingListenerTakesNoNewCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, labConfig, natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		caller, callee := l.connect(itsp, pbx, trunkSocket)
		l.mustReload(rewritten(t, labConfig, "trunks: { udp: 5080 } }\ninside", "trunks: { udp: 5090 } }\ninside"))
		for range 3 {
			invite := withBody(itsp.request("INVITE", trunkSocket, "100"), sdpAt(providerAt.Addr(), 4100))
			itsp.send(trunkSocket, invite)
			if m := itsp.want("503 INVITE"); m.CallID != invite.CallID {
				t.Errorf("answered %s", m)
			}
			time.Sleep(10 * time.Second)
		}
		pbx.quiet(time.Second, "INVITE")
		hangup(callee, caller)
		l.empty()
	})
}

// TestARemovedTrunkCallsNoMore: its call lives on, a new one of its is a stranger's; without a call nobody knows it.
func TestARemovedTrunkCallsNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, labConfig, natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		caller, callee := l.connect(itsp, pbx, trunkSocket)
		l.mustReload(rewritten(t, labConfig, "name: itsp", "name: other", "203.0.113.20:5060", "203.0.113.30:5060"))
		call := func() {
			itsp.send(trunkSocket, withBody(itsp.request("INVITE", trunkSocket, "100"), sdpAt(providerAt.Addr(), 4100)))
			itsp.send(trunkSocket, itsp.request("OPTIONS", trunkSocket, "ping"))
			itsp.quiet(10 * time.Second)
			pbx.quiet(time.Second)
		}
		call()
		l.reinvite(callee, caller)
		hangup(callee, caller)
		time.Sleep(time.Minute)
		call()
		if text := l.why(providerAt.Addr().String()); strings.Contains(text, "itsp") {
			t.Errorf("why says\n%s", text)
		}
		l.empty()
	})
}

// TestExternalAddressCountsForNewDialogs: a call goes on under the address that its peers know.
func TestExternalAddressCountsForNewDialogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, labConfig, natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		caller, callee := l.connect(pbx, itsp, pbxSocket)
		l.mustReload(rewritten(t, labConfig, "outside: { address: 203.0.113.10,", "outside: { address: 203.0.113.10, external_address: 198.51.100.5,"))

		m := withBody(caller.within("INVITE", 0), hold(sdpAt(pbxAt.Addr(), 4000)))
		caller.send(pbxSocket, m)
		again := itsp.want("INVITE")
		if got := contactOf(t, again); got != trunkSocket || again.Via[0].Host != gateOutside.String() || !strings.Contains(string(again.Body), "c=IN IP4 203.0.113.10") {
			t.Errorf("the call's address has changed:\n%s", again)
		}
		itsp.reply(again, 200, sdpAt(providerAt.Addr(), 4002))
		pbx.want("200 INVITE")
		pbx.send(pbxSocket, caller.within("ACK", m.CSeq))
		itsp.want("ACK")

		fresh := withBody(pbx.request("INVITE", pbxSocket, "+4930124"), sdpAt(pbxAt.Addr(), 4100))
		pbx.send(pbxSocket, fresh)
		invite := itsp.want("INVITE")
		if got := contactOf(t, invite); got.Addr() != externalAt || invite.Via[0].Host != "198.51.100.5" ||
			!strings.Contains(string(invite.Body), "c=IN IP4 198.51.100.5") || strings.Contains(invite.String(), "203.0.113.10") {
			t.Errorf("a new call shows\n%s", invite)
		}
		itsp.reply(invite, 486, nil)
		pbx.want("486 INVITE")
		hangup(callee, caller)
		time.Sleep(5 * time.Minute)
		if g := l.gate.Gauges(); g.Calls+g.Dialogs+g.Streams+g.Leaks != 0 {
			t.Errorf("left: %+v", g)
		}
	})
}

// TestARealmChangesHands: the sockets of a side swap their realms, or one changes it, while a call is up.
func TestARealmChangesHands(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before string
		after  string
		gate   uint16
	}{
		{"trunks takes the port of phones", "phones: { udp: 5060 }, trunks: { udp: 5080 }", "phones: { udp: 5070 }, trunks: { udp: 5060 }", 5060},
		{"both swap", "phones: { udp: 5060 }, trunks: { udp: 5080 }", "phones: { udp: 5080 }, trunks: { udp: 5060 }", 5060},
	} {
		for _, busy := range []bool{false, true} {
			t.Run(tt.name+map[bool]string{true: "/during a call", false: "/idle"}[busy], func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					before := rewritten(t, labConfig, "203.0.113.10, phones: { udp: 5060 }, trunks: { udp: 5080 }", "203.0.113.10, "+tt.before)
					after := rewritten(t, labConfig, "203.0.113.10, phones: { udp: 5060 }, trunks: { udp: 5080 }", "203.0.113.10, "+tt.after)
					l := newGate(t, before, natlab.Options{Seed: 1})
					defer l.close()
					itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
					var caller, callee *party
					if busy {
						caller, callee = l.connect(itsp, pbx, trunkSocket)
					}
					l.mustReload(after)
					time.Sleep(5 * time.Second)
					second, other := l.connect(itsp, pbx, netip.AddrPortFrom(gateOutside, tt.gate))
					hangup(second, other)
					if busy {
						l.reinvite(callee, caller)
						hangup(caller, callee)
					}
					l.empty()
				})
			})
		}
	}
}
