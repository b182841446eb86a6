package resolve

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
	"pgregory.net/rapid"
)

// watching is a watcher that runs, and what it has said.
type watching struct {
	*Watcher
	f    *fake
	mu   sync.Mutex
	news []string
}

func watch(t *testing.T, records ...string) *watching {
	w := &watching{f: newFake(t, records...)}
	w.Watcher = NewWatcher(New(w.f, time.Now), time.Now, func(want Want, _, after State) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.news = append(w.news, want.Host)
	})
	return w
}

func (w *watching) run(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.Run(ctx)
	}()
	t.Cleanup(func() {
		stop()
		<-done
	})
}

// addresses of a state, in order.
func (s *State) addresses() string {
	var out []string
	for _, e := range s.Endpoints {
		out = append(out, e.Address.Addr().String())
	}
	return strings.Join(out, " ")
}

func (w *watching) at(want Want) string {
	s := w.State(want)
	return s.addresses()
}

var plainA = Want{Target: Target{Host: "a.example", Plain: true, V4: true}, Role: "peer"}

func TestAnAnswerIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, "a.example. 30 IN A 192.0.2.1")
		w.Ask(t.Context(), []Want{plainA})
		if got := w.at(plainA); got != "192.0.2.1" {
			t.Fatalf("leads to %q", got)
		}
		w.Set([]Want{plainA})
		w.run(t)
		w.f.set(t, "a.example. 30 IN A 192.0.2.2")
		time.Sleep(20 * time.Second)
		if got := w.at(plainA); got != "192.0.2.1" {
			t.Errorf("leads to %q before its time is over", got)
		}
		time.Sleep(11 * time.Second)
		if got := w.at(plainA); got != "192.0.2.2" {
			t.Errorf("leads to %q", got)
		}
		time.Sleep(10 * time.Minute)
		if n := w.f.count("a.example", dns.TypeA); n < 20 || n > 22 {
			t.Errorf("asked %d times in ten minutes", n)
		}
	})
}

// TestNothingTakesAnAnswerAway: an empty answer, a failure, silence, an answer that is refused.
func TestNothingTakesAnAnswerAway(t *testing.T) {
	for _, tt := range []struct {
		name string
		fail func(*watching, *testing.T)
		err  string
	}{
		{"an empty answer", func(w *watching, t *testing.T) { w.f.set(t, "a.example. 30 IN AAAA 2001:db8::1") }, "has no A record"},
		{"the name is gone", func(w *watching, t *testing.T) { w.f.set(t) }, "does not exist"},
		{"the name server fails", func(w *watching, _ *testing.T) { w.f.fail("a.example", true) }, "SERVFAIL"},
		{"silence", func(w *watching, _ *testing.T) { w.f.kill(true) }, "no answer"},
		{"all is refused", func(w *watching, t *testing.T) { w.f.set(t, "a.example. 30 IN A 10.0.0.1") }, "refused: 10.0.0.1 is ours"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				want := plainA
				want.Refuse = func(a netip.AddrPort) string {
					if a.Addr().IsPrivate() {
						return "is ours"
					}
					return ""
				}
				w := watch(t, "a.example. 30 IN A 192.0.2.1")
				w.Ask(t.Context(), []Want{want})
				w.Set([]Want{want})
				w.run(t)
				at := w.State(want).At
				tt.fail(w, t)
				time.Sleep(time.Hour)
				s := w.State(want)
				if s.addresses() != "192.0.2.1" || !s.At.Equal(at) {
					t.Errorf("leads to %q since %s", s.addresses(), s.At)
				}
				if s.Err == nil || !strings.Contains(s.Err.Error(), tt.err) {
					t.Errorf("error %v", s.Err)
				}
				if n := w.f.count("a.example", dns.TypeA); n > 140 {
					t.Errorf("asked %d times in an hour of failures", n)
				}
				w.f.kill(false)
				w.f.fail("a.example", false)
				w.f.set(t, "a.example. 30 IN A 192.0.2.7")
				time.Sleep(retryMost + lookTime)
				if s := w.State(want); s.addresses() != "192.0.2.7" || s.Err != nil {
					t.Errorf("leads to %q, %v", s.addresses(), s.Err)
				}
			})
		})
	}
}

func TestPartOfAnAnswerIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		want := plainA
		want.Refuse = func(a netip.AddrPort) string {
			if a.Addr().IsPrivate() {
				return "is private"
			}
			return ""
		}
		w := watch(t, "a.example. 3600 IN A 192.0.2.1", "a.example. 3600 IN A 10.0.0.1")
		w.Ask(t.Context(), []Want{want})
		s := w.State(want)
		if s.addresses() != "192.0.2.1" || s.Err != nil || !slices.Equal(s.Refused, []string{"10.0.0.1 is private"}) {
			t.Errorf("%+v", s)
		}
		strict := want
		strict.Refuse = func(netip.AddrPort) string { return "is nobody's" }
		w.Set([]Want{strict})
		if got := w.at(want); got != "" {
			t.Errorf("what is not acceptable any more: %q", got)
		}
		w.run(t)
		want.Refuse = nil
		w.Set([]Want{want})
		time.Sleep(time.Second)
		if got := w.at(want); got != "10.0.0.1 192.0.2.1" {
			t.Errorf("what is acceptable now: %q", got)
		}
	})
}

func TestOneNameTwoRoles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		other := plainA
		other.Role = "node"
		other.Refuse = func(netip.AddrPort) string { return "no" }
		w := watch(t, "a.example. 30 IN A 192.0.2.1")
		w.Ask(t.Context(), []Want{plainA, other})
		if w.at(plainA) != "192.0.2.1" || w.at(other) != "" || w.f.count("a.example", dns.TypeA) > 2 {
			t.Errorf("%q and %q, asked %d times", w.at(plainA), w.at(other), w.f.count("a.example", dns.TypeA))
		}
		w.Set([]Want{other})
		if s := w.State(plainA); len(s.Endpoints) != 0 || s.Err == nil {
			t.Errorf("a name that nobody wants any more: %+v", s)
		}
	})
}

// TestAsk: it waits no longer than it may, and asks for what is new alone.
func TestAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t)
		w.f.kill(true)
		var wants []Want
		for i := range 100 {
			wants = append(wants, Want{Target: Target{Host: fmt.Sprintf("n%d.example", i), Plain: true, V4: true}})
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began := time.Now()
		w.Ask(ctx, wants)
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("took %s", took)
		}
		before := len(w.news)
		w.Ask(t.Context(), wants)
		if len(w.news) != before {
			t.Error("asked again for what had been asked for")
		}
	})
}

func TestAnswersOutliveTheProgram(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := Want{Target: Target{Host: "sip.example", V4: true}, Role: "peer"}
		w := watch(t, "_sip._udp.sip.example. 30 IN SRV 1 7 5070 a.example.", "a.example. 30 IN A 192.0.2.1")
		w.Ask(t.Context(), []Want{srv, plainA})
		kept := w.Kept()
		at := w.State(srv).At
		time.Sleep(time.Hour)
		again := watch(t)
		again.f.kill(true)
		kept["peer other.example"] = Kept{} // of a name that nobody wants
		again.Restore(kept)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		again.Ask(ctx, []Want{srv, plainA})
		again.Set([]Want{srv, plainA})
		s := again.State(srv)
		if !reflect.DeepEqual(s.Endpoints, w.State(srv).Endpoints) || !s.At.Equal(at) || s.Err == nil {
			t.Errorf("%+v", s)
		}
	})
}

func TestTooManyNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t)
		var wants []Want
		for i := range watchedMost + 100 {
			wants = append(wants, Want{Target: Target{Host: fmt.Sprintf("n%d.example", i), Plain: true, V4: true}})
		}
		w.Set(wants)
		if level, most := w.Levels(); level != most {
			t.Errorf("%d of %d", level, most)
		}
		if s := w.State(wants[len(wants)-1]); s.Err == nil {
			t.Error("a name beyond the bound is known")
		}
	})
}

// TestWatcherProperty: whatever happens to a zone, a name leads to the last answer that it had, or to nothing if it never had one,
// and a name server that answers is heard within the longest time.
func TestWatcherProperty(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		synctest.Test(t, func(t *testing.T) {
			w := watch(t)
			w.Set([]Want{plainA})
			w.run(t)
			last, possible := "", map[string]bool{"": true}
			for range rapid.IntRange(1, 12).Draw(rt, "steps") {
				switch rapid.IntRange(0, 4).Draw(rt, "step") {
				case 0:
					w.f.kill(true)
				case 1:
					w.f.set(t)
				case 2:
					w.f.fail("a.example", true)
				default:
					w.f.kill(false)
					w.f.fail("a.example", false)
					last = fmt.Sprintf("192.0.2.%d", rapid.IntRange(1, 9).Draw(rt, "address"))
					possible[last] = true
					w.f.set(t, fmt.Sprintf("a.example. %d IN A %s", rapid.IntRange(0, 90).Draw(rt, "ttl"), last))
				}
				time.Sleep(time.Duration(rapid.IntRange(0, 100).Draw(rt, "seconds")) * time.Second)
				if got := w.at(plainA); !possible[got] {
					rt.Fatalf("leads to %q, which was never said", got)
				}
			}
			w.f.kill(false)
			w.f.fail("a.example", false)
			w.f.set(t, "a.example. 1 IN A 192.0.2.200")
			time.Sleep(90*time.Second + retryMost + lookTime)
			if s := w.State(plainA); s.addresses() != "192.0.2.200" || s.Err != nil {
				rt.Fatalf("leads to %q, %v", s.addresses(), s.Err)
			}
		})
	})
}

func TestErrors(t *testing.T) {
	err := error(&NoRecordError{Name: "a.example", Type: "A"})
	if _, ok := errors.AsType[*NoRecordError](fmt.Errorf("x: %w", err)); !ok || err.Error() != "a.example has no A record" {
		t.Error(err)
	}
}
