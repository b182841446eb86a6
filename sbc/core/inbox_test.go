package core

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"sallyport/nat"
	"sallyport/sbc/message"
)

// level is a core whose inbox of 32 holds n messages already.
func level(t *testing.T, n int) *rig {
	r := newRig(t)
	cfg := r.config()
	cfg.Limits.Inbox = 32
	r.Core = New(cfg)
	for i := range n {
		r.network.push(Inbound{Msg: request("BYE", fmt.Sprint(i), "x", "t"), Flow: outer})
	}
	return r
}

func TestDeliverUnderPressure(t *testing.T) {
	ids := testIDs()
	ours := ids.Tag()
	response := &message.Message{Method: "INVITE", Status: 200}
	for _, tt := range []struct {
		name string
		msg  *message.Message
		want map[int]Delivery // by how full the inbox of 32 is
		busy Delivery         // with an empty inbox and a busy core
	}{
		{"a new INVITE", request("INVITE", "c", "1", ""), map[int]Delivery{0: Accepted, 23: Accepted, 24: Busy, 27: Busy, 28: Dropped, 31: Dropped, 32: Dropped}, Busy},
		{"another new request", request("REGISTER", "c", "1", ""), map[int]Delivery{0: Accepted, 24: Accepted, 27: Accepted, 28: Dropped, 32: Dropped}, Accepted},
		{"a re-INVITE", request("INVITE", "c", "1", ours), map[int]Delivery{0: Accepted, 24: Accepted, 31: Accepted, 32: Dropped}, Accepted},
		{"a BYE", request("BYE", "c", "1", ours), map[int]Delivery{24: Accepted, 31: Accepted, 32: Dropped}, Accepted},
		{"a To tag that we never gave out makes no dialog", request("INVITE", "c", "1", "foreign"), map[int]Delivery{0: Accepted, 23: Accepted, 24: Busy, 28: Dropped}, Busy},
		{"an ACK", request("ACK", "c", "1", "foreign"), map[int]Delivery{28: Accepted, 31: Accepted, 32: Dropped}, Accepted},
		{"a CANCEL", request("CANCEL", "c", "1", ""), map[int]Delivery{28: Accepted, 31: Accepted, 32: Dropped}, Accepted},
		{"a response", response, map[int]Delivery{28: Accepted, 31: Accepted, 32: Dropped}, Accepted},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for n, want := range tt.want {
				r := level(t, n)
				if got := r.Deliver(Inbound{Msg: tt.msg, Flow: outer}); got != want {
					t.Errorf("with %d of 32: %v, want %v", n, got, want)
				}
				dropped, overload := r.Gauges().InboxDropped.Load(), r.Gauges().Overload.Load()
				if (dropped == 1) != (want == Dropped) || (overload == 1) != (want == Busy) {
					t.Errorf("with %d of 32: %d dropped, %d refused", n, dropped, overload)
				}
				if high := r.Gauges().InboxHigh.Load(); want == Accepted && high != int64(n+1) {
					t.Errorf("high-water mark %d", high)
				}
			}
			r := level(t, 0)
			r.Gauges().Busy.Store(busyLimit + 1)
			if got := r.Deliver(Inbound{Msg: tt.msg, Flow: outer}); got != Accepted {
				t.Errorf("above the limit without a backlog: %v", got)
			}
			r = level(t, 2)
			r.Gauges().Busy.Store(busyLimit)
			if got := r.Deliver(Inbound{Msg: tt.msg, Flow: outer}); got != Accepted {
				t.Errorf("at the limit: %v", got)
			}
			r.Gauges().Busy.Store(busyLimit + 1)
			if got := r.Deliver(Inbound{Msg: tt.msg, Flow: outer}); got != tt.busy {
				t.Errorf("above the limit with a backlog: %v, want %v", got, tt.busy)
			}
		})
	}
}

func TestDeliverDoesNotAllocate(t *testing.T) {
	r := level(t, 0)
	in := Inbound{Msg: request("INVITE", "c", "1", ""), Flow: outer}
	if n := testing.AllocsPerRun(100, func() { r.Deliver(in); r.network.pop() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	for range 24 {
		r.network.push(in)
	}
	ids := testIDs()
	in.Msg = request("BYE", "c", "1", ids.Tag())
	if n := testing.AllocsPerRun(100, func() { r.Deliver(in); r.network.pop() }); n != 0 {
		t.Errorf("under pressure: %v allocations", n)
	}
}

// TestHintsHaveAnInboxOfTheirOwn: ICMP errors, which strangers can cause, fill no inbox but their own.
func TestHintsHaveAnInboxOfTheirOwn(t *testing.T) {
	r := newRig(t)
	for i := range 10 * hintsMost {
		r.Unreachable(nat.Flow{Interface: 1, Remote: netip.AddrPortFrom(stranger.Remote.Addr(), uint16(i))})
	}
	if err := r.Post(func(time.Time) {}); err != nil {
		t.Error(err)
	}
	if got := r.Deliver(Inbound{Msg: request("INVITE", "c", "1", ""), Flow: outer}); got != Accepted {
		t.Error(got)
	}
	if len(r.hints) != hintsMost {
		t.Errorf("%d hints", len(r.hints))
	}
}

func TestPostIsBounded(t *testing.T) {
	r := newRig(t)
	cfg := r.config()
	cfg.Limits.Internal = 2
	r.Core = New(cfg)
	nothing := func(time.Time) {}
	first, second, third := r.Post(nothing), r.Post(nothing), r.Post(nothing)
	if first != nil || second != nil || !errors.Is(third, ErrFull) {
		t.Error("not bounded by 2")
	}
	if err := r.Do(t.Context(), nothing); !errors.Is(err, ErrFull) {
		t.Error(err)
	}
}

// run starts a core's loop; the function it returns ends it.
func run(t *testing.T, c *Core) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { c.Run(ctx) })
	return func() { cancel(); wg.Wait() }
}

func TestDo(t *testing.T) {
	r := newRig(t)
	stop := run(t, r.Core)
	ran := 0
	if err := r.Do(t.Context(), func(now time.Time) {
		if ran++; !now.Equal(began) {
			t.Error(now)
		}
	}); err != nil || ran != 1 {
		t.Errorf("%v, ran %d times", err, ran)
	}
	if err := r.Do(t.Context(), func(time.Time) { panic("in Do") }); !errors.Is(err, errNotSound) {
		t.Errorf("a panic is told as %v", err)
	}
	stop()
	if err := r.Do(context.Background(), func(time.Time) { t.Error("ran") }); !errors.Is(err, ErrStopped) {
		t.Error(err)
	}
	if err := r.Post(func(time.Time) { t.Error("ran") }); !errors.Is(err, ErrStopped) {
		t.Error(err)
	}
}

// TestDoThatIsGivenUp: with an error, the function has not run and never will.
func TestDoThatIsGivenUp(t *testing.T) {
	r := newRig(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ran := false
	if err := r.Do(ctx, func(time.Time) { ran = true }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	stop := run(t, r.Core)
	if err := r.Do(t.Context(), func(time.Time) {}); err != nil { // behind the first
		t.Error(err)
	}
	stop()
	if ran {
		t.Error("what was given up has run")
	}
}

// TestDoWhileTheLoopEnds: whoever asks while the core ends gets an answer, and the truth.
func TestDoWhileTheLoopEnds(t *testing.T) {
	for range 50 {
		r := newRig(t)
		stop := run(t, r.Core)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for {
					ran := false
					err := r.Do(context.Background(), func(time.Time) { ran = true })
					if ran != (err == nil) {
						t.Errorf("ran %v, %v", ran, err)
					}
					if err != nil {
						return
					}
				}
			})
		}
		stop()
		wg.Wait()
	}
}

func TestDoBeforeTheLoopBegins(t *testing.T) {
	r := newRig(t)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := r.Do(t.Context(), func(time.Time) {}); err != nil {
			t.Error(err)
		}
	})
	stop := run(t, r.Core)
	wg.Wait()
	stop()
}

// TestInbox: first in, first out, and bounded, however often it wraps.
func TestInbox(t *testing.T) {
	q := newInbox(4)
	in, out := 0, 0
	for step := range 100 {
		for range 1 + step%5 {
			if q.push(Inbound{Flow: nat.Flow{Conn: uint64(in)}}) != (in-out < 4) {
				t.Fatalf("push at level %d", in-out)
			}
			if in-out < 4 {
				in++
			}
		}
		for range 1 + step%3 {
			got, ok := q.pop()
			if ok != (in > out) || ok && got.Flow.Conn != uint64(out) {
				t.Fatalf("pop: %v %v at level %d, want %d", got.Flow.Conn, ok, in-out, out)
			}
			if ok {
				out++
			}
		}
		if q.level() != in-out {
			t.Fatalf("level %d, want %d", q.level(), in-out)
		}
	}
}

// TestWhoDeliversIsTheCore: with nobody else at it, a message has been worked off when Deliver returns; before Run and
// after it nobody is the core.
func TestWhoDeliversIsTheCore(t *testing.T) {
	r := newRig(t)
	in := Inbound{Msg: request("OPTIONS", "c", "1", ""), Flow: outer}
	r.Deliver(in)
	if r.network.level() != 1 {
		t.Error("worked off before Run")
	}
	r.network.pop()
	r.running = true
	r.Deliver(in)
	if r.network.level() != 0 || len(r.users) != 1 {
		t.Errorf("%d wait, %d users", r.network.level(), len(r.users))
	}
	r.wanted.Add(1) // the loop waits for its turn: it goes first
	r.Deliver(in)
	if r.network.level() != 1 {
		t.Error("the loop was overtaken")
	}
}
