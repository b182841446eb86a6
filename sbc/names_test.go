package sbc_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"sallyport/nat/natlab"
	"sallyport/sbc"
	"sallyport/sbc/api"
	"sallyport/sbc/demo"
	"sallyport/sbc/message"
)

var otherProviderAt = netip.MustParseAddrPort("203.0.113.21:5060")

// TestFailoverOverTargets: of two targets of a name the first does not live; the call reaches the second.
func TestFailoverOverTargets(t *testing.T) {
	for _, tt := range []struct {
		name string
		fail func(l *lab)
	}{
		{"the first is gone (ICMP)", func(l *lab) { l.net.Host(providerAt.Addr()).Down(true) }},
		{"the first swallows", func(l *lab) { l.net.Impair(gateOutside, providerAt.Addr(), natlab.Link{Loss: 1}) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newNamed(t, namedConfig(t), twoPlaces(t))
				defer l.close()
				l.agent("provider", providerAt, 10)
				pbx, other := l.agent("pbx", pbxAt, 11), l.agent("other", otherProviderAt, 12)
				tt.fail(l)
				var host string
				other.Incoming = func(m *message.Message) demo.Script {
					host = m.URI.Host
					return demo.Script{Answer: time.Second, SDP: sdpAt(otherProviderAt.Addr(), 4002)}
				}
				r := l.call(pbx, pbxSocket, "+4930123", demo.Script{SDP: sdpAt(pbxAt.Addr(), 4000), Hangup: time.Second})
				if r.Code != 200 || host != "sip.provider.example" {
					t.Errorf("heard %d (%s), the Request-URI's host was %s", r.Code, r.Why, host)
				}
				l.empty()
				if cdrs := l.cdrs.all(); len(cdrs) != 1 || cdrs[0].Attempts != 2 || cdrs[0].Trunk != "itsp" || cdrs[0].Destination != otherProviderAt.String() {
					t.Errorf("CDRs %+v", cdrs)
				}
			})
		})
	}
}

// TestWeights: calls are shared as the records say, and a host with two addresses has no more of them.
func TestWeights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := newZone(t, "_sip._udp.sip.provider.example. 30 IN SRV 10 3 5060 a.provider.example.", "_sip._udp.sip.provider.example. 30 IN SRV 10 1 5060 b.provider.example.",
			"a.provider.example. 30 IN A 203.0.113.20", "a.provider.example. 30 IN A 203.0.113.22", hostB)
		l := newNamed(t, namedConfig(t), z)
		defer l.close()
		pbx := l.agent("pbx", pbxAt, 11)
		got := map[string]int{}
		for i, at := range []string{"203.0.113.20:5060", "203.0.113.21:5060", "203.0.113.22:5060"} {
			a := l.agent(at, netip.MustParseAddrPort(at), byte(20+i))
			a.Incoming = func(*message.Message) demo.Script {
				got[at]++
				return demo.Script{Refuse: 486, Answer: time.Millisecond}
			}
		}
		for range 80 {
			l.call(pbx, pbxSocket, "+4930123", demo.Script{SDP: sdpAt(pbxAt.Addr(), 4000)})
		}
		if fmt.Sprint(got) != "map[203.0.113.20:5060:30 203.0.113.21:5060:20 203.0.113.22:5060:30]" {
			t.Errorf("calls %v", got)
		}
	})
}

// TestAnAnswerChanges: calls go where the name leads to now, calls in progress stay, and whoever is no longer the provider is a
// stranger.
func TestAnAnswerChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := newZone(t, srvFirst, hostA)
		l := newNamed(t, namedConfig(t), z)
		defer l.close()
		itsp, next, pbx := l.wire(providerAt), l.wire(otherProviderAt), l.wire(pbxAt)
		caller, callee := l.connect(pbx, itsp, pbxSocket)
		z.set(t, srvFirst, "a.provider.example. 30 IN A 203.0.113.21")
		time.Sleep(35 * time.Second)

		fresh := withBody(pbx.request("INVITE", pbxSocket, "+4930124"), sdpAt(pbxAt.Addr(), 4100))
		pbx.send(pbxSocket, fresh)
		next.reply(next.want("INVITE"), 486, nil)
		pbx.want("486 INVITE")
		l.reinvite(callee, caller)
		l.reinvite(caller, callee)

		invite := withBody(next.request("INVITE", trunkSocket, "100"), sdpAt(otherProviderAt.Addr(), 4000))
		next.send(trunkSocket, invite)
		pbx.reply(pbx.want("INVITE"), 486, nil)
		next.final(trunkSocket, invite)
		hangup(caller, callee)
		time.Sleep(time.Minute)
		itsp.send(trunkSocket, withBody(itsp.request("INVITE", trunkSocket, "100"), sdpAt(providerAt.Addr(), 4000)))
		itsp.quiet(2 * time.Second)
		pbx.quiet(time.Second)
		l.empty()
	})
}

// TestNamesAreDeadAtStart: the program starts all the same, calls take another trunk, and the name is there when it has an answer.
func TestNamesAreDeadAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := twoPlaces(t)
		z.kill(true)
		core, seen := observer.New(zap.InfoLevel)
		began := time.Now()
		l := newNamed(t, rewritten(t, namedConfig(t), "policy:", otherTrunk), z, func(o *sbc.Options) { o.Log = zap.New(core) })
		defer l.close()
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("the start took %s", took)
		}
		pbx, itsp, other := l.wire(pbxAt), l.wire(providerAt), l.wire(netip.MustParseAddrPort("203.0.113.30:5060"))
		place := func(to *wire) {
			t.Helper()
			m := withBody(pbx.request("INVITE", pbxSocket, "+4930124"), sdpAt(pbxAt.Addr(), 4100))
			pbx.send(pbxSocket, m)
			to.reply(to.want("INVITE"), 486, nil)
			pbx.final(pbxSocket, m)
		}
		place(other)
		if said := seen.FilterMessageSnippet("lab.yaml:13:25: trunks[0].peers[0].address: sip.provider.example: ").All(); len(said) != 1 ||
			!strings.Contains(said[0].Message, "nothing is sent there until it has an answer\n  hint: ") {
			t.Errorf("the log says %v", said)
		}
		if got := l.trunkText(); !strings.Contains(got, "sip.provider.example") || !strings.Contains(got, "no answer from the name server") {
			t.Errorf("sbc trunks:\n%s", got)
		}
		z.kill(false)
		time.Sleep(time.Minute)
		place(itsp)
		if got := l.trunkText(); !strings.Contains(got, "203.0.113.20:5060") || !strings.Contains(got, "sip.provider.example") || strings.Contains(got, "no answer from") {
			t.Errorf("sbc trunks:\n%s", got)
		}
		l.empty()
	})
}

// TestNoAnswerTakesATrunkAway: once a name has led somewhere, silence, an empty answer and a forbidden one change nothing.
func TestNoAnswerTakesATrunkAway(t *testing.T) {
	for _, tt := range []struct {
		name, said string
		fail       func(z *zone, t *testing.T)
	}{
		{"silence", "what was known stays in force", func(z *zone, _ *testing.T) { z.kill(true) }},
		{"an empty answer", "does not exist", func(z *zone, t *testing.T) { z.set(t) }},
		{"an inside address", "10.0.0.10 lies in internal_ranges", func(z *zone, t *testing.T) { z.set(t, srvFirst, "a.provider.example. 30 IN A 10.0.0.10") }},
		{"our own address", "203.0.113.10 is our own address", func(z *zone, t *testing.T) { z.set(t, srvFirst, "a.provider.example. 30 IN A 203.0.113.10") }},
		{"loopback", "127.0.0.1 is loopback", func(z *zone, t *testing.T) { z.set(t, srvFirst, "a.provider.example. 30 IN A 127.0.0.1") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				z := newZone(t, srvFirst, hostA)
				core, seen := observer.New(zap.InfoLevel)
				l := newNamed(t, namedConfig(t), z, func(o *sbc.Options) { o.Log = zap.New(core) })
				defer l.close()
				itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
				tt.fail(z, t)
				time.Sleep(10 * time.Minute)
				caller, callee := l.connect(pbx, itsp, pbxSocket)
				hangup(caller, callee)
				if n := seen.FilterMessageSnippet(tt.said).Len(); n != 1 {
					t.Errorf("the log says it %d times: %v", n, seen.All())
				}
				if got := l.trunkText(); !strings.Contains(got, "203.0.113.20:5060") {
					t.Errorf("sbc trunks:\n%s", got)
				}
				l.empty()
			})
		})
	}
}

// TestAForbiddenAnswerOpensNothing: a name that leads inside from the beginning is no trunk, and nobody inside becomes one.
func TestAForbiddenAnswerOpensNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := newZone(t, srvFirst, "a.provider.example. 30 IN A 10.0.0.11")
		l := newNamed(t, namedConfig(t), z)
		defer l.close()
		pbx, other := l.wire(pbxAt), l.wire(otherPBXAt)
		m := withBody(pbx.request("INVITE", pbxSocket, "+4930124"), sdpAt(pbxAt.Addr(), 4100))
		pbx.send(pbxSocket, m)
		if code := pbx.final(pbxSocket, m).Status; code != 503 {
			t.Errorf("the PBX heard %d", code)
		}
		other.quiet(time.Second)
		if got := l.trunkText(); !strings.Contains(got, "10.0.0.11 lies in internal_ranges") {
			t.Errorf("sbc trunks:\n%s", got)
		}
		if got := l.why(m.CallID); !strings.Contains(got, "name    sip.provider.example has no address yet: ") {
			t.Errorf("sbc why:\n%s", got)
		}
		s, err := l.gate.Control(nil).Status(l.ctx)
		if err != nil || len(s.Data) != 1 || s.Data[0].Name != "sip.provider.example" || s.Data[0].Kind != "peer name" || s.Data[0].Error == "" {
			t.Errorf("sbc status: %+v, %v", s.Data, err)
		}
		if got := fmt.Sprint(s.Attention); !strings.Contains(got, "trunk itsp at sip.provider.example gets nothing: the name has no address yet (") {
			t.Errorf("the head of sbc status: %s", got)
		}
		route, err := l.gate.Control(nil).TestRoute(l.ctx, api.RouteQuestion{Number: "+4930124"})
		if text := route.Text(); err != nil || !strings.Contains(text, "; but sip.provider.example has no address yet: ") {
			t.Errorf("sbc route test, %v:\n%s", err, text)
		}
		if r := l.revise(namedConfig(t), api.ReloadRequest{Diff: true}); !strings.Contains(fmt.Sprint(r.Warnings), "trunks[0].peers[0].address: sip.provider.example has no address yet: ") {
			t.Errorf("sbc reload --diff: %+v", r)
		}
		l.empty()
	})
}

// TestAnswersOutliveTheProgram: a start without a name server goes on with what was known.
func TestAnswersOutliveTheProgram(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z, dir := twoPlaces(t), t.TempDir()
		kept := func(o *sbc.Options) { o.StateDir = dir }
		l := newNamed(t, namedConfig(t), z, kept)
		time.Sleep(5 * time.Second)
		l.close()
		z.kill(true)
		l = newNamed(t, namedConfig(t), z, kept)
		defer l.close()
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		caller, callee := l.connect(itsp, pbx, trunkSocket)
		hangup(callee, caller)
		caller, callee = l.connect(pbx, itsp, pbxSocket)
		hangup(caller, callee)
		l.empty()
	})
}

// trunkText is `sbc trunks`.
func (l *lab) trunkText() string {
	l.t.Helper()
	list, err := l.gate.Control(nil).Trunks(l.ctx)
	if err != nil {
		l.t.Fatal(err)
	}
	return trunksText(list)
}
