package core

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// live runs a rig's core in a bubble, by the bubble's clock.
func live(t *testing.T, test func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		cfg := r.config()
		cfg.Now = nil
		r.Core = New(cfg)
		ctx, cancel := context.WithCancel(t.Context())
		go r.Run(ctx)
		test(t, r)
		cancel()
		synctest.Wait()
	})
}

func (r *rig) deliver(in Inbound) {
	r.t.Helper()
	if got := r.Deliver(in); got != Accepted {
		r.t.Fatalf("not accepted: %v", got)
	}
}

// look waits until everything has come to rest, and looks at it in the core's turn.
func (r *rig) look(f func()) {
	r.t.Helper()
	synctest.Wait()
	if err := r.Do(r.t.Context(), func(time.Time) { f() }); err != nil {
		r.t.Fatal(err)
	}
}

// TestLoop: messages, timers, functions and ICMP errors through the real loop.
func TestLoop(t *testing.T) {
	live(t, func(t *testing.T, r *rig) {
		r.script = bridge
		r.deliver(Inbound{Msg: request("INVITE", "c", "1", ""), Flow: outer})
		sent := func(want string) {
			t.Helper()
			r.look(func() {
				if got := r.lines(); got != want {
					t.Error(got)
				}
			})
		}
		sent("100 1 INVITE 203.0.113.20:5060, INVITE 10.0.0.10:5060")
		time.Sleep(1600 * time.Millisecond) // Timer A: 0.5 s and 1.5 s
		sent("INVITE 10.0.0.10:5060, INVITE 10.0.0.10:5060")
		r.Unreachable(inner)
		r.look(func() {
			if got := r.users[0].kinds(); got != "Arrived INVITE, Routed, Reserved, Failed 503 timeout" {
				t.Error(got)
			}
		})
		if r.Gauges().Users.Load() != 1 || r.Gauges().Streams.Load() != 1 {
			t.Error("gauges lag")
		}
		if err := r.Do(t.Context(), func(now time.Time) { r.end(now, r.Core.users[1]) }); err != nil {
			t.Error(err)
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		g := r.Gauges()
		if g.Users.Load() != 0 || g.Dialogs.Load() != 0 || g.Streams.Load() != 0 || g.ServerTransactions.Load() != 0 ||
			g.ClientTransact.Load() != 0 || g.RetainedBytes.Load() != 0 || g.Busy.Load() != 0 {
			t.Errorf("left behind: %+v", g)
		}
	})
}

// TestOrderIsKept: a CANCEL never overtakes its INVITE, a 200 never a 180, however many arrive at once.
func TestOrderIsKept(t *testing.T) {
	const n = 500
	live(t, func(t *testing.T, r *rig) {
		r.script = bridge
		for i := range n {
			id := fmt.Sprint(i)
			r.deliver(Inbound{Msg: request("INVITE", id, id, ""), Flow: outer})
			if i%2 == 0 {
				r.deliver(Inbound{Msg: request("CANCEL", id, id, ""), Flow: outer})
			}
		}
		var answers []Inbound
		r.look(func() {
			for i, a := range r.users[:r.ports] {
				want := "Arrived INVITE, Routed, Reserved"
				if i%2 == 0 {
					want += ", Cancelled"
				}
				if a.kinds() != want {
					t.Errorf("user %d heard %s", i, a.kinds())
				}
			}
			for _, p := range r.sent {
				if strings.HasPrefix(p.text, "INVITE") {
					for _, code := range []int{180, 200} {
						answers = append(answers, Inbound{Msg: r.answer(p, code, "callee"), Flow: inner})
					}
				}
			}
			r.sent = nil
		})
		for _, in := range answers {
			r.deliver(in)
		}
		r.look(func() {
			for i, a := range r.users[:r.ports] {
				if got := a.kinds(); !strings.HasSuffix(got, ", Answered 180, Answered 200") {
					t.Errorf("user %d heard %s", i, got)
				}
			}
			answered := map[string]bool{}
			for _, p := range r.sent {
				id := p.field("Call-ID")
				if strings.HasPrefix(p.text, "SIP/2.0 180") && answered[id] {
					t.Errorf("180 behind 200 of call %s", id)
				}
				answered[id] = answered[id] || strings.HasPrefix(p.text, "SIP/2.0 200")
			}
			if len(answered) < r.ports {
				t.Errorf("%d calls answered", len(answered))
			}
		})
	})
}

// TestFunctionsGoFirst: what the program posts does not wait behind a full network inbox.
func TestFunctionsGoFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.script = func(*actor, time.Time, tu.Event) []tu.Action { return nil }
		for i := range 1000 {
			r.deliver(Inbound{Msg: request("MESSAGE", fmt.Sprint(i), fmt.Sprint(i), ""), Flow: outer})
		}
		var before atomic.Int64
		for range 10 {
			if err := r.Post(func(time.Time) { before.Add(int64(len(r.users))) }); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		go r.Run(ctx)
		synctest.Wait()
		if before.Load() != 0 || len(r.users) != 1000 {
			t.Errorf("%d messages before the functions, %d in all", before.Load(), len(r.users))
		}
		cancel()
		synctest.Wait()
	})
}

// TestAFloodDoesNotStarveTimers: with the inbox never empty, users still hear their ticks.
func TestAFloodDoesNotStarveTimers(t *testing.T) {
	r := newRig(t)
	ticks := 0
	r.script = func(a *actor, now time.Time, ev tu.Event) []tu.Action {
		if _, ok := ev.(tu.Tick); ok {
			ticks++
		}
		a.deadline = now.Add(time.Second)
		return nil
	}
	cfg := r.config()
	ctx, cancel := context.WithCancel(t.Context())
	cfg.Now = func() time.Time { // each look at the clock finds another message, and a millisecond gone
		if r.now = r.now.Add(time.Millisecond); r.now.Sub(began) > 10*time.Second {
			cancel()
		}
		id := fmt.Sprint(r.now.UnixMilli())
		r.Deliver(Inbound{Msg: request("OPTIONS", id, id, ""), Flow: stranger})
		return r.now
	}
	r.Core = New(cfg)
	r.Start(func(id tu.UserID, seed tu.Seed) tu.User {
		u, _ := fakeAssembly{r}.New(r.now, seed, id, &tu.Arrived{})
		return u
	})
	r.born = func(tu.Arrived) (*actor, Answer) { return nil, Answer{} }
	r.Run(ctx)
	if ticks < 9 {
		t.Errorf("%d ticks in ten seconds", ticks)
	}
	if got := r.Gauges().Busy.Load(); got < 900 {
		t.Errorf("a core that never slept was busy %d of 1000", got)
	}
	if r.Gauges().ServerTransactions.Load() == 0 {
		t.Error("the gauges stand still in a flood")
	}
}

// TestTheLoopEnds: Run returns with its context, whatever waits.
func TestTheLoopEnds(t *testing.T) {
	r := newRig(t)
	ctx, cancel := context.WithCancel(t.Context())
	r.deliver(Inbound{Msg: request("INVITE", "c", "1", ""), Flow: outer})
	cancel()
	r.Run(ctx)
	if len(r.users) != 0 {
		t.Error("worked behind its end")
	}
}

// TestABadMessageDoesNotEndTheLoop: faults of ours, one after the other, while calls go on.
func TestABadMessageDoesNotEndTheLoop(t *testing.T) {
	live(t, func(t *testing.T, r *rig) {
		r.script = func(a *actor, now time.Time, ev tu.Event) []tu.Action {
			if a.invite.Msg.CallID == "bad" {
				panic("a fault")
			}
			return bridge(a, now, ev)
		}
		for i := range 50 {
			r.deliver(Inbound{Msg: request("INVITE", "bad", fmt.Sprint("b", i), ""), Flow: outer})
			r.deliver(Inbound{Msg: impossible(), Flow: outer})
		}
		r.deliver(Inbound{Msg: request("INVITE", "good", "1", ""), Flow: outer})
		r.look(func() {})
		if got := r.lines(); !strings.HasSuffix(got, "100 1 INVITE 203.0.113.20:5060, INVITE 10.0.0.10:5060") || strings.Count(got, "500 1 INVITE") != 50 {
			t.Error(got)
		}
		if r.faultsContained() < 50 {
			t.Errorf("%d faults", r.faultsContained())
		}
	})
}

// impossible is a message that no parser makes.
func impossible() *message.Message { return &message.Message{Method: "INVITE", Status: 999} }
