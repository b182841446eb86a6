package sbc_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"sallyport/nat/natlab"
	"sallyport/sbc"
	"sallyport/sbc/demo"
)

// TestADrainedTrunk takes no new calls in either direction, and its provider's OPTIONS hears so; calls in progress go on. A reload and a
// restart change nothing of it.
func TestADrainedTrunk(t *testing.T) {
	for _, how := range []string{"in memory", "on disk"} {
		t.Run(how, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				state := sbc.State(&memory{})
				open := func() {
					if how == "in memory" {
						return
					}
					var err error
					if state, err = sbc.OpenDrains(dir); err != nil {
						t.Fatal(err)
					}
				}
				open()
				core, seen := observer.New(zap.InfoLevel)
				kept := func(o *sbc.Options) { o.Drains, o.Log = state, zap.New(core) }
				config := bounded(t, "{ calls: 30 }")
				l := newGate(t, config, natlab.Options{Seed: 1}, kept)
				defer l.close()
				itsp, pbx, far := l.wire(providerAt), l.wire(pbxAt), l.wire(farAt)
				pbx.n = 500
				one := l.talk(itsp, pbx, trunkSocket, sdpAt(providerAt.Addr(), 4000), sdpAt(pbxAt.Addr(), 4002))
				drained := func(when string) {
					t.Helper()
					if x := l.trunks()[0]; x.State != "drained" || x.Drained == nil || x.DrainedBy != "uid 7" || x.Peers[0].State != "drained" {
						t.Errorf("%s: %+v", when, x)
					}
					invite := withBody(itsp.request("INVITE", trunkSocket, "100"), sdpAt(providerAt.Addr(), 4000))
					itsp.send(trunkSocket, invite)
					m := itsp.want("503 INVITE")
					if retryAfter(m) == "" {
						t.Errorf("%s: the provider is to stop the whole trunk:\n%s", when, m)
					}
					itsp.send(trunkSocket, ackOf(invite, m))
					itsp.send(trunkSocket, itsp.request("OPTIONS", trunkSocket, "ping"))
					itsp.want("503 OPTIONS")
					invite = withBody(pbx.request("INVITE", pbxSocket, "+4930123"), sdpAt(pbxAt.Addr(), 4002))
					pbx.send(pbxSocket, invite)
					far.reply(far.want("INVITE"), 486, nil) // the next trunk
					pbx.send(pbxSocket, ackOf(invite, pbx.want("486 INVITE")))
				}
				if x, err := l.gate.Control(nil).DrainTrunk(l.ctx, "itsp", true, "uid 7"); err != nil || x.Calls != 1 {
					t.Errorf("%v %+v", err, x)
				}
				drained("at once")
				hangup(one.caller, one.callee)
				l.mustReload(strings.Replace(config, "calls: 30", "calls: 20", 1))
				drained("after a reload")
				time.Sleep(2 * time.Second)
				l.stops()
				open()
				if err := l.starts(config, kept); err != nil {
					t.Fatal(err)
				}
				drained("after a restart")
				if n := seen.FilterMessageSnippet("trunk itsp is drained").Len(); n != 2 {
					t.Errorf("told %d times", n)
				}
				if x, err := l.gate.Control(nil).DrainTrunk(l.ctx, "itsp", false, "uid 7"); err != nil || x.State != "unknown" || x.Drained != nil {
					t.Errorf("%v %+v", err, x)
				}
				hangup2 := l.talk(itsp, pbx, trunkSocket, sdpAt(providerAt.Addr(), 4000), sdpAt(pbxAt.Addr(), 4002))
				hangup(hangup2.caller, hangup2.callee)
				time.Sleep(2 * time.Second)
				l.stops()
				open()
				if err := l.starts(config, kept); err != nil {
					t.Fatal(err)
				}
				if x := l.trunks()[0]; x.Drained != nil {
					t.Errorf("it was taken in: %+v", x)
				}
				if _, err := l.gate.Control(nil).DrainTrunk(l.ctx, "nobody", true, ""); err == nil || !strings.Contains(err.Error(), `no trunk "nobody"`) {
					t.Errorf("%v", err)
				}
				l.empty()
			})
		})
	}
}

// TestADrainedNode is spared as long as another one lives, and taken where none does.
func TestADrainedNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, probing, natlab.Options{Seed: 1})
		defer l.close()
		for _, a := range []*demo.Agent{l.pbx, l.other} {
			a.Incoming = scriptOf(demo.Script{Answer: time.Millisecond}, sdpAt(a.Addr.Addr(), 4002))
		}
		time.Sleep(10 * time.Second)
		c := l.gate.Control(nil)
		first, other := channelsOf(l, pbxAt, otherPBXAt)
		place := func(want *channels) {
			t.Helper()
			_, before, _, _ := want.seen()
			r := l.call(l.provider, trunkSocket, "100", demo.Script{SDP: sdpAt(providerAt.Addr(), 4000), Hangup: time.Second})
			if _, all, _, _ := want.seen(); r.Code != 200 || all != before+1 {
				t.Errorf("heard %d; %d calls at %s, %d before", r.Code, all, want.at, before)
			}
		}
		drain := func(name string, on bool) {
			t.Helper()
			if _, err := c.DrainNode(l.ctx, name, on, "uid 0"); err != nil {
				t.Error(err)
			}
		}
		place(first)
		drain("10.0.0.10", true) // the address alone names it
		if got := l.states(); got != "drained up" {
			t.Error(got)
		}
		place(other)
		l.net.Host(otherPBXAt.Addr()).Down(true)
		time.Sleep(20 * time.Second)
		if got := l.states(); got != "drained down" {
			t.Error(got)
		}
		place(first)
		l.net.Host(otherPBXAt.Addr()).Down(false)
		time.Sleep(20 * time.Second)
		place(other)
		drain(otherPBXAt.String(), true)
		place(first) // all are drained
		drain(pbxAt.String(), false)
		drain(otherPBXAt.String(), false)
		if got := l.states(); got != "up up" {
			t.Error(got)
		}
		if _, err := c.DrainNode(l.ctx, "10.0.0.99", true, ""); err == nil {
			t.Error("a node that is none")
		}
	})
}

// TestDrainsThatCannotBeRead keep the program from starting: it would send calls where none should go.
func TestDrainsThatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, labConfig, natlab.Options{Seed: 1})
		defer l.close()
		l.stops()
		err := l.starts(labConfig, func(o *sbc.Options) { o.Drains = &memory{broken: errors.New("a bad block")} })
		if err == nil || !strings.Contains(err.Error(), "drained trunks and nodes: a bad block") {
			t.Fatalf("%v", err)
		}
		junk := &memory{values: map[string][]byte{"phone 204": []byte(`{}`), "trunk": nil, "trunk itsp": []byte("{")}}
		if err := l.starts(labConfig, func(o *sbc.Options) { o.Drains = junk }); err != nil {
			t.Fatal(err)
		}
		if x := l.trunks()[0]; x.State != "unknown" {
			t.Errorf("%+v", x)
		}
	})
}

// TestAnAttemptThatFailsCounts: a trunk that answers OPTIONS and no calls is degraded, then down; its calls go by the other one without
// waiting, and it comes back.
func TestAnAttemptThatFailsCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := rewritten(t, bounded(t, "{}"), "keepalive: { method: none }\n    capacity: {}", "keepalive: { interval: 5s }")
		l := newGate(t, config, natlab.Options{Seed: 1})
		defer l.close()
		ctx, stop := context.WithCancel(l.ctx)
		defer stop()
		itsp := l.wire(providerAt)
		var dead atomic.Bool
		dead.Store(true)
		l.running.Go(func() {
			for ctx.Err() == nil {
				m := itsp.next(time.Second)
				switch {
				case m == nil:
				case m.Method == "OPTIONS":
					itsp.reply(m, 200, nil)
				case m.Method == "INVITE" && !dead.Load():
					itsp.reply(m, 486, nil)
				}
			}
		})
		l.pbx, l.other = l.agent("pbx", pbxAt, 11), l.agent("backup", farAt, 13)
		l.other.Incoming = scriptOf(demo.Script{Answer: time.Millisecond}, sdpAt(farAt.Addr(), 4002))
		time.Sleep(20 * time.Second)
		place := func() time.Duration {
			t.Helper()
			began := time.Now()
			if r := l.call(l.pbx, pbxSocket, "+4930", demo.Script{SDP: sdpAt(pbxAt.Addr(), 4000), Hangup: time.Millisecond}); r.Code != 200 {
				t.Errorf("heard %d", r.Code)
			}
			return time.Since(began)
		}
		state := func() string { return l.trunks()[0].State + " " + l.trunks()[0].Peers[0].Reason }
		place()
		if got := state(); got != "up " {
			t.Error(got)
		}
		place()
		if got := state(); got != "degraded 2 requests in a row were not answered" {
			t.Error(got)
		}
		dead.Store(false)
		time.Sleep(20 * time.Second)
		if got := state(); got != "up " {
			t.Error(got)
		}
		stop()
	})
}
