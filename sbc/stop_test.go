package sbc_test

import (
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"sallyport/nat/natlab"
	"sallyport/sbc/demo"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
)

// drain starts a drain; the function it returns waits for its result.
func (l *lab) drain(wait time.Duration) (left func() int) {
	done := make(chan int, 1)
	go func() {
		r, err := l.gate.Control(nil).Drain(l.ctx, wait)
		if err != nil {
			l.t.Error(err)
		}
		done <- r.Left
	}()
	synctest.Wait()
	return func() int { return <-done }
}

// TestDraining: what is new is refused with a word on when to come again, what is up goes on.
func TestDraining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, labConfig, natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		caller, callee := l.connect(itsp, pbx, trunkSocket)
		left := l.drain(time.Hour)
		if m := itsp.place(trunkSocket, "100"); m.Status != 503 || retryAfter(m) == "" {
			t.Errorf("a new call: %s", m)
		}
		itsp.send(trunkSocket, itsp.request("OPTIONS", trunkSocket, "ping"))
		if m := itsp.want("503 OPTIONS"); retryAfter(m) == "" {
			t.Errorf("%s", m)
		}
		pbx.send(pbxSocket, pbx.request("MESSAGE", pbxSocket, "+4930123"))
		pbx.want("503 MESSAGE")
		l.reinvite(callee, caller)
		callee.ask("INFO", field("Content-Type: application/dtmf-relay"))
		caller.reply(caller.want("INFO"), 200, nil)
		callee.want("200 INFO")
		s, err := l.gate.Control(nil).Status(t.Context())
		if err != nil || !s.Draining || s.Calls.Now != 1 {
			t.Errorf("%v %+v", err, s)
		}
		hangup(callee, caller)
		if n := left(); n != 0 {
			t.Errorf("%d left", n)
		}
		if c := l.record(); c.Reason != "" || c.EndedBy != "callee" {
			t.Errorf("CDR %+v", c)
		}
		l.empty()
	})
}

// TestADrainEndsInTime: it tells how many calls are left, and hangs nobody up.
func TestADrainEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, labConfig, natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		caller, callee := l.connect(itsp, pbx, trunkSocket)
		began := time.Now()
		if left := l.drain(20 * time.Second)(); left != 1 || time.Since(began) != 20*time.Second {
			t.Errorf("%d left after %v", left, time.Since(began))
		}
		if left := l.drain(0)(); left != 1 {
			t.Errorf("%d left", left)
		}
		pbx.quiet(time.Second)
		hangup(caller, callee)
		l.empty()
	})
}

// TestAStopHangsUpBothLegs, in every phase of a call, and nothing of the program is left.
func TestAStopHangsUpBothLegs(t *testing.T) {
	for _, tt := range []struct {
		phase string
		play  func(l *lab, itsp, pbx *wire)
		code  int
		check func(itsp, pbx *wire)
	}{
		{"up", func(l *lab, itsp, pbx *wire) { l.connect(itsp, pbx, trunkSocket) }, 503, func(itsp, pbx *wire) {
			itsp.want("BYE")
			pbx.want("BYE")
		}},
		{"ringing", func(l *lab, itsp, pbx *wire) {
			itsp.send(trunkSocket, withBody(itsp.request("INVITE", trunkSocket, "100"), sdpAt(providerAt.Addr(), 4000)))
			pbx.reply(pbx.want("INVITE"), 180, nil)
			itsp.want("180 INVITE")
		}, 503, func(itsp, pbx *wire) {
			itsp.want("503 INVITE")
			pbx.want("CANCEL")
		}},
		{"answered without ACK", func(l *lab, itsp, pbx *wire) {
			itsp.send(trunkSocket, withBody(itsp.request("INVITE", trunkSocket, "100"), sdpAt(providerAt.Addr(), 4000)))
			pbx.reply(pbx.want("INVITE"), 200, sdpAt(pbxAt.Addr(), 4002))
			itsp.want("200 INVITE")
		}, 503, func(_, pbx *wire) {
			pbx.want("BYE")
		}},
	} {
		t.Run(tt.phase, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newGate(t, labConfig, natlab.Options{Seed: 1})
				itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
				tt.play(l, itsp, pbx)
				began := time.Now()
				l.stop()
				synctest.Wait()
				tt.check(itsp, pbx)
				l.running.Wait()
				if took := time.Since(began); took > patience {
					t.Errorf("it took %v", took)
				}
				if c := l.record(); c.Reason != reason.Draining || c.EndedBy != "sbc" {
					t.Errorf("CDR %+v", c)
				}
				l.net.Close()
			})
		})
	}
}

// TestAStopWithAnswersIsQuick: it waits for the answers to its BYEs, and no longer.
func TestAStopWithAnswersIsQuick(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, labConfig, natlab.Options{Seed: 1, Link: natlab.Link{Delay: 20 * time.Millisecond}})
		l.pbx.Incoming = func(*message.Message) demo.Script {
			return demo.Script{Ring: time.Millisecond, Answer: time.Millisecond, SDP: sdpAt(pbxAt.Addr(), 4002)}
		}
		const calls = 50
		ended := make(chan demo.Result, calls)
		for range calls {
			l.provider.Do(func() {
				l.provider.Call("100", trunkSocket, demo.Script{SDP: sdpAt(providerAt.Addr(), 4000), Done: func(r demo.Result) { ended <- r }})
			})
		}
		time.Sleep(10 * time.Second)
		began := time.Now()
		l.stopGate()
		l.gateGone.Wait()
		if took := time.Since(began); took > 500*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		time.Sleep(time.Minute)
		for range calls {
			if r := <-ended; r.Code != 200 || r.Why != "BYE received" {
				t.Errorf("a caller heard %+v", r)
			}
		}
		if n := len(l.cdrs.all()); n != calls {
			t.Errorf("%d CDRs", n)
		}
		l.close()
	})
}
