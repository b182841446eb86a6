package sbc_test

import (
	"bytes"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"sallyport/nat/natlab"
	"sallyport/sbc/demo"
	"sallyport/sbc/message"
)

// The ways a call can go, at both ends.
var endings = []struct {
	name   string
	caller demo.Script
	callee demo.Script
	code   int
	by     string // who ended it, in the CDR
}{
	{"caller hangs up", demo.Script{Hangup: 2 * time.Second}, demo.Script{Ring: 100 * time.Millisecond, Answer: time.Second}, 200, "caller"},
	{"callee hangs up", demo.Script{}, demo.Script{Ring: 100 * time.Millisecond, Answer: time.Second, Hangup: time.Second}, 200, "callee"},
	{"no ringing", demo.Script{Hangup: time.Second}, demo.Script{Answer: 10 * time.Millisecond}, 200, "caller"},
	{"both hang up", demo.Script{Hangup: time.Second}, demo.Script{Answer: time.Second, Hangup: time.Second}, 200, ""},
	{"busy", demo.Script{}, demo.Script{Answer: 50 * time.Millisecond, Refuse: 486}, 486, "callee"},
	{"not found", demo.Script{}, demo.Script{Answer: 50 * time.Millisecond, Refuse: 404}, 404, "callee"},
	{"declined", demo.Script{}, demo.Script{Ring: 50 * time.Millisecond, Answer: time.Second, Refuse: 603}, 603, "callee"},
	{"cancelled while ringing", demo.Script{Cancel: 2 * time.Second}, demo.Script{Ring: 100 * time.Millisecond, Answer: -1}, 487, "caller"},
	{"cancelled at once", demo.Script{Cancel: time.Millisecond}, demo.Script{Ring: 100 * time.Millisecond, Answer: -1}, 487, "caller"},
	{"early media", demo.Script{Hangup: time.Second}, demo.Script{Early: sdpAt(pbxAt.Addr(), 4002), Answer: time.Second}, 200, "caller"},
	{"hold by the caller", demo.Script{Reinvite: time.Second, Hold: hold(sdpAt(providerAt.Addr(), 4000)), Hangup: 3 * time.Second}, demo.Script{Answer: 100 * time.Millisecond}, 200, "caller"},
	{"hold by the callee", demo.Script{Hangup: 3 * time.Second}, demo.Script{Answer: 100 * time.Millisecond, Reinvite: time.Second, Hold: hold(sdpAt(pbxAt.Addr(), 4002))}, 200, "caller"},
	{"glare", demo.Script{Reinvite: time.Second, Hold: hold(sdpAt(providerAt.Addr(), 4000)), Hangup: 5 * time.Second}, demo.Script{Answer: 100 * time.Millisecond, Reinvite: time.Second, Hold: hold(sdpAt(pbxAt.Addr(), 4002))}, 200, "caller"},
}

// scriptOf answers every call alike.
func scriptOf(s demo.Script, sdp []byte) func(*message.Message) demo.Script {
	s.SDP = sdp
	return func(*message.Message) demo.Script { return s }
}

func hold(sdp []byte) []byte { return append(bytes.Clone(sdp), "a=sendonly\r\n"...) }

func TestCallsOfEveryEnding(t *testing.T) {
	for _, way := range []string{"in", "out"} {
		for _, e := range endings {
			t.Run(way+" "+e.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l := newLab(t, labConfig, natlab.Options{Seed: 1})
					defer l.close()
					var heard strings.Builder
					l.net.Observe(func(d natlab.Datagram) { heard.Write(d.Payload) })
					from, callee, to := l.provider, l.pbx, trunkSocket
					if way == "out" {
						from, callee, to = l.pbx, l.provider, pbxSocket
					}
					caller := e.caller
					caller.SDP = sdpAt(from.Addr.Addr(), 4000)
					var seen []byte
					callee.Incoming = func(m *message.Message) demo.Script {
						seen = m.Body
						s := e.callee
						s.SDP = sdpAt(callee.Addr.Addr(), 4002)
						return s
					}
					r := l.call(from, to, "+4930123", caller)
					if r.Code != e.code {
						t.Errorf("the caller heard %d, want %d (%s)", r.Code, e.code, r.Why)
					}
					if seen == nil || bytes.Contains(seen, []byte(from.Addr.Addr().String())) || bytes.Contains(seen, []byte("FreeSWITCH")) {
						t.Errorf("the callee's offer shows the caller:\n%s", seen)
					}
					l.empty()
					cdrs := l.cdrs.all()
					if len(cdrs) != 1 {
						t.Fatalf("%d CDRs, want exactly one: %+v", len(cdrs), cdrs)
					}
					if c := cdrs[0]; c.Code != e.code || e.by != "" && c.EndedBy != e.by || c.Trunk != "itsp" || c.Node != pbxAt.String() {
						t.Errorf("CDR %+v", c)
					}
				})
			})
		}
	}
}

func TestTenThousandCallsWithLossAndReordering(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	n := 10_000
	if testing.Short() {
		n = 500
	}
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, labConfig, natlab.Options{Seed: 7, Link: natlab.Link{Loss: 0.05, Jitter: 30 * time.Millisecond, Delay: 10 * time.Millisecond, Reorder: true}})
		defer l.close()
		var ended atomic.Int64
		answerBy := func(a *demo.Agent) {
			a.Incoming = func(m *message.Message) demo.Script {
				i, _ := strconv.Atoi(strings.TrimPrefix(m.URI.User, "+49"))
				s := endings[i%len(endings)].callee
				s.SDP = sdpAt(a.Addr.Addr(), 4002)
				if s.Hangup == 0 {
					s.Hangup = 20 * time.Second // a caller may have lost the 200
				}
				if s.Answer < 0 {
					s.Answer, s.Refuse = 3*time.Minute, 480 // nobody cancels a phone whose 180 were lost, each of them
				}
				return s
			}
		}
		answerBy(l.pbx)
		answerBy(l.other)
		answerBy(l.provider)
		placed := 0
		place := func(upTo int) {
			for ; placed < upTo; placed++ {
				s := endings[placed%len(endings)].caller
				from, to := l.provider, trunkSocket
				if (placed/len(endings))%2 == 1 {
					from, to = l.pbx, pbxSocket
				}
				s.SDP = sdpAt(from.Addr.Addr(), 4000)
				s.Done = func(demo.Result) { ended.Add(1) }
				number := fmt.Sprintf("+49%04d", placed)
				from.Do(func() { from.Call(number, to, s) })
				time.Sleep(50 * time.Millisecond)
			}
		}
		outcomes, records := map[string]int{}, 0
		// "Heap after a forced collection ≤ 1.05 × that after the first thousand calls."
		heap := func() uint64 {
			l.empty()
			for _, r := range l.cdrs.all() {
				outcomes[fmt.Sprint(r.Code, " ", r.Reason, " by ", r.EndedBy)]++
				records++
			}
			l.cdrs.forget()
			for _, a := range []*demo.Agent{l.provider, l.pbx, l.other} {
				if !a.Forget(t.Context()) {
					t.Errorf("%s has calls in progress", a.Name)
				}
			}
			runtime.GC()
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		place(n / 10)
		before := heap()
		place(n)
		after := heap()
		t.Logf("heap %d KiB after %d calls, %d KiB after %d", before>>10, n/10, after>>10, n)
		if !testing.Short() && after > before+before/20 {
			t.Errorf("heap grew from %d to %d bytes", before, after)
		}
		if got := ended.Load(); got != int64(n) {
			t.Errorf("%d of %d callers heard an end", got, n)
		}
		g := l.gate.Gauges()
		if records != int(g.Total) || records < n*99/100 {
			t.Errorf("%d CDRs for %d calls, %d were placed", records, g.Total, n)
		}
		if g.Leaks != 0 || g.LeaksFatal != 0 || g.Retained != 0 || g.Users != 0 || g.Overload != 0 {
			t.Errorf("left behind: %+v", g)
		}
		t.Log(outcomes)
		for _, a := range []*demo.Agent{l.provider, l.pbx, l.other} {
			if calls, txs := a.Calls(t.Context()); calls != 0 || txs != 0 {
				t.Errorf("%s still holds %d calls and %d transactions", a.Name, calls, txs)
			}
		}
	})
}

func TestStrangersGetSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, labConfig, natlab.Options{Seed: 1})
		defer l.close()
		var answers, inside int
		l.net.Observe(func(d natlab.Datagram) {
			if d.Dst == strangerAt {
				answers++
			}
			if d.Dst.Addr() == pbxAt.Addr() || d.Dst.Addr() == otherPBXAt.Addr() {
				inside++
			}
		})
		provider := providerAt.String()
		forged := "INVITE sip:+4930123@203.0.113.10:5080 SIP/2.0\r\n" +
			"Via: SIP/2.0/UDP 203.0.113.66:5060;branch=z9hG4bKa\r\nVia: SIP/2.0/UDP " + provider + ";branch=z9hG4bKb\r\n" +
			"From: <sip:x@" + provider + ">;tag=1\r\nTo: <sip:+4930123@203.0.113.10>\r\nCall-ID: a@" + provider + "\r\n" +
			"CSeq: 1 INVITE\r\nContact: <sip:x@" + provider + ">\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
		for _, m := range []string{forged, strings.Replace(forged, "INVITE", "OPTIONS", 2), "INVITE garbage\r\n\r\n"} {
			for range 3 {
				if err := l.net.Inject(strangerAt, trunkSocket, []byte(m)); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
			}
		}
		l.empty()
		if answers != 0 || inside != 0 {
			t.Errorf("%d answers to the stranger, %d datagrams to the PBX", answers, inside)
		}
		if len(l.cdrs.all()) != 0 {
			t.Error("a stranger made a CDR")
		}
	})
}

func TestSecondNodeTakesOver(t *testing.T) {
	for _, tt := range []struct {
		name string
		fail func(l *lab)
	}{
		{"the first is gone (ICMP)", func(l *lab) { l.net.Host(pbxAt.Addr()).Down(true) }},
		{"the first swallows", func(l *lab) {
			l.net.Impair(gateInside, pbxAt.Addr(), natlab.Link{Loss: 1})
		}},
		{"the first is full", func(l *lab) {
			l.pbx.Incoming = func(*message.Message) demo.Script { return demo.Script{Answer: 1, Refuse: 503} }
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t, labConfig, natlab.Options{Seed: 1})
				defer l.close()
				tt.fail(l)
				l.other.Incoming = func(*message.Message) demo.Script {
					return demo.Script{Ring: time.Millisecond, Answer: time.Second, SDP: sdpAt(otherPBXAt.Addr(), 4002)}
				}
				began := time.Now()
				r := l.call(l.provider, trunkSocket, "100", demo.Script{SDP: sdpAt(providerAt.Addr(), 4000), Hangup: time.Second})
				if r.Code != 200 {
					t.Errorf("heard %d (%s)", r.Code, r.Why)
				}
				if took := time.Since(began); took > 6*time.Second {
					t.Errorf("took %v: later than one attempt_timeout", took)
				}
				l.empty()
				if cdrs := l.cdrs.all(); len(cdrs) != 1 || cdrs[0].Node != otherPBXAt.String() || cdrs[0].Attempts != 2 {
					t.Errorf("CDRs %+v", cdrs)
				}
			})
		})
	}
}
