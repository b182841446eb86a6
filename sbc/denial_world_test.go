package sbc_test

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"sallyport/nat/natlab"
	"sallyport/sbc"
	"sallyport/sbc/demo"
	"sallyport/sbc/message"
)

// TestARefusedPasswordPutsATrunkAside: the next calls go to another trunk at once; after a while one tries again, sooner after a reload
// that changes the password. It is said once, and shown as long as it is so.
func TestARefusedPasswordPutsATrunkAside(t *testing.T) {
	yaml := rewritten(t, passwordConfig(t), "policy:", `  - name: second
    peers: [ { address: "203.0.113.21:5060" } ]
    outbound: { match: [".*"] }
    keepalive: { method: none }
policy:`)
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.InfoLevel)
		l := newGate(t, yaml, natlab.Options{Seed: 1}, func(o *sbc.Options) { o.Log = zap.New(core) })
		defer l.close()
		itsp, second, pbx := l.wire(providerAt), l.wire(netip.MustParseAddrPort("203.0.113.21:5060")), l.wire(pbxAt)
		call := func(by ...*wire) {
			t.Helper()
			pbx.send(pbxSocket, withBody(pbx.request("INVITE", pbxSocket, "+4930123"), sdpAt(pbxAt.Addr(), 4000)))
			for _, w := range by {
				m := w.want("INVITE")
				if w == itsp {
					itsp.challenge(m, 407, "itsp", "n1")
					m = itsp.want("INVITE")
					if itsp.challenge(m, 407, "itsp", "n2"); len(by) == 1 {
						pbx.want("503 INVITE")
						return
					}
					continue
				}
				w.reply(m, 486, nil)
				w.want("ACK")
			}
			pbx.innocent(pbx.want("486 INVITE"))
			itsp.quiet(100*time.Millisecond, "INVITE")
		}
		stands := func(denied bool, why string) {
			t.Helper()
			list, err := l.gate.Control(nil).Trunks(l.ctx)
			status, err2 := l.gate.Control(nil).Status(l.ctx)
			if err != nil || err2 != nil {
				t.Fatal(err, err2)
			}
			told := 0
			for _, n := range status.Attention {
				if strings.Contains(n.What, "trunk itsp refuses user name or password") {
					told++
				}
			}
			if p := list[0].Peers[0]; list[0].Denied != denied || (p.State == "degraded") != denied || p.Reason != why || (told == 1) != denied {
				t.Errorf("denied %v, %s (%s), told %d times", list[0].Denied, p.State, p.Reason, told)
			}
		}
		stands(false, "")
		call(itsp, second)
		stands(true, "user name or password is refused: tried last for 30s")
		call(second)
		time.Sleep(32 * time.Second)
		stands(true, "user name or password is refused: the next call tries it again")
		call(itsp, second)
		stands(true, "user name or password is refused: tried last for 1m0s")
		time.Sleep(32 * time.Second)
		call(second)
		if n := logs.FilterMessageSnippet("refuses user name or password of our calls").Len(); n != 1 {
			t.Errorf("said %d times", n)
		}

		same := strings.Replace(yaml, "policy:", "drain_timeout: 10s\npolicy:", 1)
		if _, err := l.gate.Reload(l.ctx, parse(t, same)); err != nil {
			t.Fatal(err)
		}
		call(second)
		right := strings.Replace(yaml, "wonderland", "mirror", 1)
		if _, err := l.gate.Reload(l.ctx, parse(t, right)); err != nil {
			t.Fatal(err)
		}
		stands(false, "")
		call(itsp, second) // at once
		stands(true, "user name or password is refused: tried last for 30s")

		// A call that no other trunk takes goes there all the same, and it may be let in.
		time.Sleep(time.Second)
		pbx.send(pbxSocket, withBody(pbx.request("INVITE", pbxSocket, "+4930123"), sdpAt(pbxAt.Addr(), 4000)))
		m := second.want("INVITE")
		second.reply(m, 503, nil)
		second.want("ACK")
		m = itsp.want("INVITE")
		itsp.challenge(m, 407, "itsp", "n3")
		m = itsp.want("INVITE")
		itsp.proven(m, "gate", "mirror", "itsp", "n3")
		itsp.reply(m, 183, nil)
		itsp.reply(m, 486, nil)
		itsp.want("ACK")
		pbx.want("486 INVITE")
		stands(false, "")
		if n := logs.FilterMessageSnippet("takes user name and password again").Len(); n != 1 {
			t.Errorf("said %d times", n)
		}
		call(itsp, second) // one that refuses now and then does not fill the log
		stands(true, "user name or password is refused: tried last for 30s")
		if n := logs.FilterMessageSnippet("refuses user name or password of our calls").Len(); n != 2 {
			t.Errorf("said %d times, once before the reload", n)
		}
		l.empty()
	})
}

// TestARegistrarThatRefusesThePassword: calls go elsewhere until it has been asked again.
func TestARegistrarThatRefusesThePassword(t *testing.T) {
	yaml := strings.Replace(accountConfig, "policy:", `  - name: second
    peers: [ { address: "203.0.113.66:5060" } ]
    keepalive: { method: none }
policy:`, 1)
	synctest.Test(t, func(t *testing.T) {
		s := newSubscriber(t, yaml, strict)
		defer s.close()
		other := s.agent("other", netip.MustParseAddrPort("203.0.113.66:5060"), 12)
		answer := func(*message.Message) demo.Script {
			return demo.Script{Ring: time.Millisecond, Answer: time.Second, SDP: sdpAt(providerAt.Addr(), 4000)}
		}
		calls := map[*demo.Agent]int{}
		for _, a := range []*demo.Agent{s.provider, other} {
			s.answering(a, func(m *message.Message) demo.Script {
				calls[a]++
				return answer(m)
			})
		}
		goes := func(to *demo.Agent, when string) {
			t.Helper()
			clear(calls)
			if r := s.call(s.pbx, pbxSocket, "+4930123", demo.Script{SDP: sdpAt(pbxAt.Addr(), 4002), Hangup: time.Second}); r.Code != 200 {
				t.Errorf("%s: the PBX heard %d (%s)", when, r.Code, r.Why)
			}
			if synctest.Wait(); calls[to] != 1 || len(calls) != 1 {
				t.Errorf("%s: %d calls to the trunk, %d to the other one", when, calls[s.provider], calls[other])
			}
		}
		time.Sleep(5 * time.Second)
		goes(s.provider, "it is registered")
		s.office.set(func() { s.office.password = "changed" })
		time.Sleep(11 * time.Minute)
		is := s.trunk()
		for is.State != "refused" || !strings.Contains(is.Answer, "password refused") {
			time.Sleep(10 * time.Second)
			is = s.trunk()
		}
		goes(other, "refused")
		time.Sleep(5 * time.Minute)
		goes(other, "before the registrar is asked again")
		if n := s.said("password of our calls"); n != 0 || s.said("registration failed") > 2 {
			t.Errorf("said %d times besides, %d times in all", n, s.said("registration failed"))
		}
		s.reload(strings.Replace(yaml, "s3cret", "changed", 1))
		time.Sleep(2 * time.Second)
		if is = s.trunk(); is.State != "registered" {
			t.Errorf("%+v", is)
		}
		goes(s.provider, "after a reload")
	})
}
