package sbc_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"sallyport/nat/natlab"
	"sallyport/sbc"
	"sallyport/sbc/api"
)

// TestACallAsTheAdministratorSeesIt, in each of its states.
func TestACallAsTheAdministratorSeesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, labConfig, natlab.Options{Seed: 1})
		defer l.close()
		control := l.gate.Control(nil)
		one := func() api.Call {
			t.Helper()
			list, err := control.Calls(t.Context())
			if err != nil || len(list) != 1 {
				t.Fatalf("%v %+v", err, list)
			}
			c, err := control.Call(t.Context(), list[0].ID)
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		invite := withBody(itsp.request("INVITE", trunkSocket, "+4930123"), sdpAt(providerAt.Addr(), 4000))
		itsp.send(trunkSocket, invite)
		arrived := pbx.want("INVITE")
		if c := one(); c.State != "trying" || c.Direction != "inbound" || c.From != "4930555" || c.To != "+4930123" || c.Trunk != "itsp" || c.Node != pbxAt.String() {
			t.Errorf("%+v", c)
		}
		pbx.reply(arrived, 180, nil)
		itsp.want("180 INVITE")
		if c := one(); c.State != "ringing" {
			t.Errorf("%+v", c)
		}
		pbx.reply(arrived, 200, sdpAt(pbxAt.Addr(), 4002))
		final := itsp.want("200 INVITE")
		caller, callee := l.ends(itsp, pbx, trunkSocket, invite, arrived, final)
		itsp.send(trunkSocket, caller.within("ACK", 1))
		pbx.want("ACK")
		time.Sleep(time.Second)
		outside := told(t, final.Body, 0)
		for i := range byte(7) {
			l.relay.Inject(outside, providerSound, rtp(0, i))
		}
		c := one()
		if c.State != "talking" || c.Answer.IsZero() || len(c.Legs) != 2 || len(c.Streams) != 1 {
			t.Fatalf("%+v", c)
		}
		if a, b := c.Legs[0], c.Legs[1]; a.Side != "outside" || a.Peer != "itsp" || a.Remote != providerAt.String() || a.CallID != invite.CallID || a.State != "confirmed" ||
			b.Side != "inside" || b.Remote != pbxAt.String() || b.CallID != arrived.CallID || b.State != "confirmed" {
			t.Errorf("legs %+v", c.Legs)
		}
		if s := c.Streams[0]; s.Outside.Local != outside.String() || s.Outside.Signalled != providerSound.String() || s.Outside.Packets != 7 || s.Inside.Sent != 7 {
			t.Errorf("stream %+v", s)
		}
		for _, name := range []string{c.ID, invite.CallID, arrived.CallID} {
			if w, err := control.Why(t.Context(), name); err != nil || !w.Allowed || !strings.Contains(w.Text, c.ID) || !json.Valid(w.Detail) {
				t.Errorf("why %s: %v %+v", name, err, w)
			}
		}
		trunks, err := control.Trunks(t.Context())
		if err != nil || len(trunks) != 1 || trunks[0].Calls != 1 || trunks[0].Name != "itsp" || trunks[0].Peers[0].Address != providerAt.String() {
			t.Errorf("%v %+v", err, trunks)
		}
		nodes, err := control.Nodes(t.Context())
		if err != nil || len(nodes) != 2 || nodes[0].Calls != 1 || nodes[1].Calls != 0 || nodes[0].State != "unknown" {
			t.Errorf("%v %+v", err, nodes)
		}
		m := withBody(callee.within("INVITE", 0), hold(sdpAt(pbxAt.Addr(), 4002)))
		callee.send(callee.gate, m)
		itsp.reply(itsp.want("INVITE"), 200, sdpAt(providerAt.Addr(), 4000))
		pbx.want("200 INVITE")
		pbx.send(callee.gate, callee.within("ACK", m.CSeq))
		itsp.want("ACK")
		if c := one(); c.State != "held" {
			t.Errorf("%+v", c)
		}
		hangup(callee, caller)
		time.Sleep(time.Minute)
		if list, err := control.Calls(t.Context()); err != nil || len(list) != 0 {
			t.Errorf("%v %+v", err, list)
		}
		var gone *api.Error
		if _, err := control.Call(t.Context(), c.ID); !errors.As(err, &gone) || gone.Status != http.StatusNotFound || gone.Hint == "" {
			t.Errorf("a call that is gone: %v", err)
		}
		if w, err := control.Why(t.Context(), arrived.CallID); err != nil || !w.Allowed || !strings.Contains(w.Text, "callee") || !strings.Contains(w.Text, "200") {
			t.Errorf("why, afterwards: %v %+v", err, w)
		}
		if _, err := control.Why(t.Context(), "nonsense"); !errors.As(err, &gone) || gone.Status != http.StatusNotFound {
			t.Errorf("why nonsense: %v", err)
		}
	})
}

// TestStatusTellsWhatDecides: rules that decided, shadow rules that would have, and what was refused behind the guard.
func TestStatusTellsWhatDecides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, rewritten(t, labConfig, "policy: { rate_limits: [] }", `limits: { calls: 1 }
policy:
  rate_limits: []
  strangers: { trunks: answer }
  deny_user_agents: [ { match: scanner, mode: contains }, { match: tried, mode: exact, shadow: true } ]
`), natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx, stranger := l.wire(providerAt), l.wire(pbxAt), l.wire(strangerAt)
		for _, agent := range []string{"tried", "a scanner", "a scanner"} { // after two of them the port is blocked
			stranger.send(trunkSocket, stranger.request("OPTIONS", trunkSocket, "1", field("User-Agent: "+agent)))
		}
		a, b := l.connect(itsp, pbx, trunkSocket)
		over := itsp.request("INVITE", trunkSocket, "+4930124")
		itsp.send(trunkSocket, over)
		if r := itsp.final(trunkSocket, over); r.Status != 503 {
			t.Errorf("one call too many: %d", r.Status)
		}
		s, err := l.gate.Control(nil).Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want := []api.Rule{
			{Path: "policy.deny_user_agents[0]", Name: "scanner", Hits: 2}, {Path: "policy.deny_user_agents[1]", Name: "tried", Shadow: 1},
		}
		if !slices.Equal(s.Rules, want) {
			t.Errorf("rules %+v", s.Rules)
		}
		if !slices.Contains(s.Counts, api.Count{Action: "refuse", Reason: "no-capacity", Count: 1}) {
			t.Errorf("counts %+v", s.Counts)
		}
		hangup(a, b)
	})
}

// TestStatus: listeners, pool, counts, capped tables and the audit.
func TestStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, labConfig, natlab.Options{Seed: 1})
		defer l.close()
		control := l.gate.Control(nil)
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		stranger := l.wire(strangerAt)
		for range 3 {
			stranger.send(trunkSocket, stranger.request("INVITE", trunkSocket, "1"))
		}
		a, b := l.connect(itsp, pbx, trunkSocket)
		s, err := control.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if s.Calls.Now != 1 || s.Calls.Total != 1 || s.Calls.High != 1 || s.Media.Ports != "30000-31000" || s.Media.Pairs != 500 || s.Media.Free != 499 || s.Draining {
			t.Errorf("%+v", s)
		}
		if !slices.ContainsFunc(s.Counts, func(c api.Count) bool {
			return c.Side == "outside" && c.Action == "drop" && c.Count == 3
		}) {
			t.Errorf("counts %+v", s.Counts)
		}
		if !slices.Contains(s.Audit, api.Gauge{Name: "internal errors of readers"}) {
			t.Errorf("audit %+v", s.Audit)
		}
		if len(s.Off) != 1 || !strings.Contains(s.Off[0], "policy.rate_limits is [], nobody is limited") {
			t.Errorf("off: %v", s.Off)
		}
		for _, name := range []string{"transactions", "core inbox", "media streams"} {
			if i := slices.IndexFunc(s.Limits, func(l api.Limit) bool { return l.Name == name }); i < 0 || s.Limits[i].Cap == 0 || s.Limits[i].High == 0 {
				t.Errorf("%s: %+v", name, s.Limits)
			}
		}
		if text, ok := s.AuditText(); !ok {
			t.Error(text)
		}
		hangup(a, b)
		time.Sleep(5 * time.Minute)
		if s, err = control.Status(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, g := range s.Audit {
			if g.Value != 0 && !strings.HasPrefix(g.Name, "heap") {
				t.Errorf("at rest: %+v", g)
			}
		}
	})
}

// TestBans: made and lifted by hand, for addresses and prefixes, for a time or for ever, and what they do.
func TestBans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, rewritten(t, labConfig, "rate_limits: []", "strangers: { trunks: answer }, rate_limits: []"), natlab.Options{Seed: 1})
		defer l.close()
		control := l.gate.Control(nil)
		stranger := l.wire(strangerAt)
		ask := func() { stranger.send(trunkSocket, stranger.request("OPTIONS", trunkSocket, "x")) }
		ask()
		stranger.want("200 OPTIONS")
		added, err := control.AddBan(t.Context(), api.Ban{Address: "203.0.113.66", Until: time.Now().Add(time.Minute), Comment: "rude", By: "uid 0"})
		if err != nil || added.Address != "203.0.113.66" || added.Kind != "address" {
			t.Errorf("%v %+v", err, added)
		}
		ask()
		stranger.quiet(time.Second)
		w, err := control.Why(t.Context(), "203.0.113.66")
		if err != nil || w.Allowed || !strings.Contains(w.Text, "ban") {
			t.Errorf("%v %+v", err, w)
		}
		time.Sleep(2 * time.Minute)
		ask()
		stranger.want("200 OPTIONS")
		if list, err := control.Bans(t.Context()); err != nil || len(list) != 0 {
			t.Errorf("%v %+v", err, list)
		}
		for _, bad := range []api.Ban{
			{Address: "nonsense"}, {Address: ""}, {Address: "203.0.113.66", Realms: []string{"kitchen"}},
			{Address: "203.0.113.66", Until: time.Now().Add(-time.Second)},
		} {
			var refused *api.Error
			if _, err := control.AddBan(t.Context(), bad); !errors.As(err, &refused) || refused.Status != http.StatusBadRequest || refused.Hint == "" {
				t.Errorf("%+v: %v", bad, err)
			}
		}
		if _, err := control.AddBan(t.Context(), api.Ban{Address: "203.0.113.77/26", Realms: []string{"trunks"}}); err != nil {
			t.Error(err)
		}
		ask()
		stranger.quiet(time.Second)
		var gone *api.Error
		if err := control.RemoveBan(t.Context(), "203.0.113.66"); !errors.As(err, &gone) || gone.Status != http.StatusNotFound {
			t.Errorf("lifting what is not there: %v", err)
		}
		if err := control.RemoveBan(t.Context(), "203.0.113.64/26"); err != nil {
			t.Error(err)
		}
		ask()
		stranger.want("200 OPTIONS")
	})
}

// TestWhyOfATrunk: a known peer is named.
func TestWhyOfATrunk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, labConfig, natlab.Options{Seed: 1})
		defer l.close()
		for _, tt := range []struct {
			a    netip.Addr
			says string
			ok   bool
		}{{providerAt.Addr(), "itsp", true}, {pbxAt.Addr(), "node", true}, {strangerAt.Addr(), "stranger", false}} {
			w, err := l.gate.Control(nil).Why(t.Context(), tt.a.String())
			if err != nil || !strings.Contains(w.Text, tt.says) || !json.Valid(w.Detail) || w.Subject != tt.a.String() {
				t.Errorf("%s: %v\n%s", tt.a, err, w.Text)
			}
			if tt.ok && !w.Allowed {
				t.Errorf("%s is refused:\n%s", tt.a, w.Text)
			}
		}
	})
}

// TestWhatIsOff: only an empty list limits nobody; the start says so, and the status.
func TestWhatIsOff(t *testing.T) {
	for policy, off := range map[string]bool{"{ rate_limits: [] }": true, "{}": false, "{ rate_limits: [ { name: a, range: any, preset: home, shadow: true } ] }": false} {
		synctest.Test(t, func(t *testing.T) {
			watched, logs := observer.New(zapcore.InfoLevel)
			l := newGate(t, rewritten(t, labConfig, "policy: { rate_limits: [] }", "policy: "+policy), natlab.Options{Seed: 1},
				func(o *sbc.Options) { o.Log = zap.New(watched) })
			defer l.close()
			time.Sleep(time.Second)
			s, err := l.gate.Control(nil).Status(t.Context())
			if said := logs.FilterMessageSnippet("nobody is limited").Len() > 0; err != nil || said != off || (len(s.Off) > 0) != off {
				t.Errorf("%s: the start says so: %v, the status %q (%v)", policy, said, s.Off, err)
			}
		})
	}
}
