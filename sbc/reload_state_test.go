package sbc_test

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat/natlab"
	"sallyport/sbc/api"
	"sallyport/sbc/config"
	"sallyport/sbc/demo"
	"sallyport/sbc/message"
)

// TestABrokenReloadChangesNothing lists every error, and the gate works on as before.
func TestABrokenReloadChangesNothing(t *testing.T) {
	for _, tt := range []struct {
		name   string
		yaml   string
		errors []string
	}{
		{"a broken file", strings.NewReplacer("ports: 30000-31000", "ports: 31000-30000", "domain: example.com", "domian: example.com",
			"interval: 0 }", "interval: soon }").Replace(labConfig), []string{"ports", "domian", "interval"}},
		{"no YAML", "outside: {\n", []string{"lab.yaml"}},
		{"the port is taken", strings.Replace(labConfig, "phones: { udp: 5060 }, trunks: { udp: 5080 }", "phones: { udp: 5060 }, trunks: { udp: 5099 }", 1),
			[]string{"5099"}},
		{"media would have to move", strings.Replace(labConfig, "203.0.113.10, phones", "203.0.113.11, phones", 1),
			[]string{"restart"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newGate(t, labConfig, natlab.Options{Seed: 1})
				defer l.close()
				if _, err := l.listen(netip.AddrPortFrom(gateOutside, 5099)); err != nil {
					t.Fatal(err)
				}
				itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
				caller, callee := l.connect(itsp, pbx, trunkSocket)
				before := l.listeners()
				r := l.reload(tt.yaml)
				if r.Applied || len(r.Errors) < len(tt.errors) {
					t.Errorf("%+v", r)
				}
				for _, want := range tt.errors {
					if !slices.ContainsFunc(r.Errors, func(p api.Problem) bool { return strings.Contains(p.Text+p.Hint, want) }) {
						t.Errorf("nobody says %q: %+v", want, r.Errors)
					}
				}
				if after := l.listeners(); !slices.Equal(before, after) {
					t.Errorf("listeners %v became %v", before, after)
				}
				hangup(callee, caller)
				second, other := l.connect(itsp, pbx, trunkSocket)
				hangup(second, other)
				time.Sleep(5 * time.Minute)
			})
		})
	}
}

// TestADryRunChangesNothing, and says what would change and when it would count.
func TestADryRunChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, labConfig, natlab.Options{Seed: 1})
		defer l.close()
		next := rewritten(t, labConfig, "udp: 5080 } }\ninside", "udp: 5090 } }\ninside", "domain: example.com", "domain: example.org")
		before := l.listeners()
		r, err := l.gate.Control(func() (*config.Snapshot, config.Report) {
			return config.Parse("lab.yaml", []byte(next), config.Flags{})
		}).Reload(t.Context(), api.ReloadRequest{Diff: true})
		if err != nil || r.Applied || len(r.Changes) != 2 || r.Changes[0].Path != "outside.trunks.udp" || r.Changes[0].When != "listener" ||
			r.Changes[1] != (api.Change{Path: "pbx.domain", Old: "example.com", New: "example.org", When: "new calls"}) {
			t.Errorf("%v %+v", err, r)
		}
		if after := l.listeners(); !slices.Equal(before, after) {
			t.Errorf("listeners %v became %v", before, after)
		}
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		itsp.send(trunkSocket, withBody(itsp.request("INVITE", trunkSocket, "100"), sdpAt(providerAt.Addr(), 4000)))
		invite := pbx.want("INVITE")
		if invite.URI.Host != "example.com" {
			t.Errorf("the domain has changed: %s", invite.URI)
		}
		pbx.reply(invite, 486, nil)
		itsp.want("486 INVITE")
		l.mustReload(next)
		if r := l.reload(next); !r.Applied || len(r.Changes) != 0 {
			t.Errorf("the same once more: %+v", r)
		}
	})
}

// TestBansHealthAndDebtSurvive a reload that changes something else.
func TestBansHealthAndDebtSurvive(t *testing.T) {
	limited := rewritten(t, probing, "rate_limits: []", `strangers: { trunks: answer }, rate_limits:
  [ { name: all, range: 203.0.113.64/26, realms: [trunks], limits: { OPTIONS: 1/minute }, burst: 2 } ]`)
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, limited, natlab.Options{Seed: 1})
		defer l.close()
		control := l.gate.Control(nil)
		if _, err := control.AddBan(t.Context(), api.Ban{Address: "198.51.100.0/24", Comment: "scanner"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		l.net.Host(pbxAt.Addr()).Down(true)
		stranger := l.wire(strangerAt)
		ask := func() { stranger.send(trunkSocket, stranger.request("OPTIONS", trunkSocket, "x")) }
		for range 2 {
			ask()
			stranger.want("200 OPTIONS")
		}
		ask()
		stranger.quiet(time.Second)
		time.Sleep(20 * time.Second)
		states := l.states()
		if states != "down up" {
			t.Errorf("nodes are %s", states)
		}
		l.mustReload(rewritten(t, limited, "example.com", "example.org"))
		if got := l.states(); got != states {
			t.Errorf("health %q became %q", states, got)
		}
		bans, err := control.Bans(t.Context())
		if err != nil || len(bans) != 1 || bans[0].Address != "198.51.100.0/24" || bans[0].Comment != "scanner" {
			t.Errorf("bans %v %+v", err, bans)
		}
		ask()
		stranger.quiet(time.Second)
		time.Sleep(2 * time.Minute)
		ask()
		stranger.want("200 OPTIONS")
	})
}

// TestProbesSurviveReloads: reloads that come more often than a probe counts its misses do not keep a dead node up.
func TestProbesSurviveReloads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, probing, natlab.Options{Seed: 1})
		defer l.close()
		time.Sleep(10 * time.Second)
		if got := l.states(); got != "up up" {
			t.Fatalf("nodes are %s", got)
		}
		l.net.Impair(gateInside, pbxAt.Addr(), natlab.Link{Loss: 1})
		for i := range 15 {
			time.Sleep(3 * time.Second)
			l.mustReload(rewritten(t, probing, "policy:", "limits: { calls: "+[]string{"100", "200"}[i%2]+" }\npolicy:"))
		}
		if got := l.states(); got != "down up" {
			t.Errorf("nodes are %s", got)
		}
		if users := l.gate.Gauges().Users; users != 3 {
			t.Errorf("%d users, want one probe for each of three addresses", users)
		}
	})
}

// TestReloadsUnderLoad: calls of every ending while listeners, trunks and limits change each second.
func TestReloadsUnderLoad(t *testing.T) {
	n := 400
	if testing.Short() {
		n = 100
	}
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, labConfig, natlab.Options{Seed: 3, Link: natlab.Link{Delay: 5 * time.Millisecond, Jitter: 5 * time.Millisecond}})
		defer l.close()
		answer := func(a *demo.Agent) {
			a.Incoming = func(m *message.Message) demo.Script {
				s := endings[int(m.URI.User[len(m.URI.User)-1])%len(endings)].callee
				s.SDP, s.Hangup = sdpAt(a.Addr.Addr(), 4002), max(s.Hangup, 4*time.Second)
				return s
			}
		}
		answer(l.pbx)
		answer(l.other)
		answer(l.provider)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan int)
		go func() {
			k := 0
			for ; ctx.Err() == nil; k++ {
				r := reloads[k%len(reloads)]
				for _, yaml := range []string{strings.NewReplacer(r.pairs...).Replace(labConfig), labConfig} {
					if got := l.reload(yaml); !got.Applied {
						t.Errorf("%s: %+v", r.name, got)
					}
					time.Sleep(500 * time.Millisecond)
				}
			}
			done <- k
		}()
		heard := make(chan demo.Result, n)
		for i := range n {
			s := endings[i%len(endings)].caller
			from, to := l.provider, trunkSocket
			if i%2 == 1 {
				from, to = l.pbx, pbxSocket
			}
			s.SDP = sdpAt(from.Addr.Addr(), 4000)
			s.Done = func(r demo.Result) { heard <- r }
			number := "+49" + string(rune('0'+i%10)) + string(rune('0'+i%7))
			from.Do(func() { from.Call(number, to, s) })
			time.Sleep(50 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		stop()
		if k := <-done; k < 20 {
			t.Errorf("%d reloads", k)
		}
		l.empty()
		if len(heard) != n {
			t.Errorf("%d of %d callers heard an end", len(heard), n)
		}
		if got := int(l.gate.Gauges().Total); got != len(l.cdrs.all()) {
			t.Errorf("%d CDRs for %d calls", len(l.cdrs.all()), got)
		}
		if got := len(l.listeners()); got != 4 {
			t.Errorf("listeners %v", l.listeners())
		}
	})
}

// TestTheRelayStays: a reload that moves the relay is refused, and a dry run says so.
func TestTheRelayStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, labConfig, natlab.Options{Seed: 1})
		defer l.close()
		moved := rewritten(t, labConfig, "outside: { address: 203.0.113.10,", "outside: { address: 203.0.113.11,")
		for _, dry := range []bool{true, false} {
			r, err := l.gate.Control(func() (*config.Snapshot, config.Report) {
				return config.Parse("lab.yaml", []byte(moved), config.Flags{})
			}).Reload(l.ctx, api.ReloadRequest{Diff: dry, Force: true})
			if err != nil || r.Applied || len(r.Errors) != 1 || !strings.HasPrefix(r.Errors[0].Text, "lab.yaml:2:21: outside.address: media is bound to 203.0.113.10") {
				t.Errorf("dry %v: %v %+v", dry, err, r)
			}
			if len(r.Changes) != 1 || r.Changes[0].When != "restart" {
				t.Errorf("dry %v: %+v", dry, r.Changes)
			}
		}
	})
}
