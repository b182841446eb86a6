package resolve

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

// partly is a name server that says nothing of some names.
type partly struct {
	*fake
	waiting, most atomic.Int32
}

func (p *partly) Exchange(ctx context.Context, m *dns.Msg) (*dns.Msg, error) {
	if strings.HasPrefix(m.Question[0].Name, "dead") {
		p.most.Store(max(p.most.Load(), p.waiting.Add(1)))
		defer p.waiting.Add(-1)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return p.fake.Exchange(ctx, m)
}

// TestADeadZoneKeepsNobodyWaiting: five hundred names that nobody answers for, and one that is followed in time all the same.
func TestADeadZoneKeepsNobodyWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &partly{fake: newFake(t, "a.example. 30 IN A 192.0.2.1")}
		w := &watching{f: p.fake}
		w.Watcher = NewWatcher(New(p, time.Now), time.Now, func(Want, State, State) {})
		wants := []Want{plainA}
		for i := range 500 {
			wants = append(wants, Want{Target: Target{Host: fmt.Sprintf("dead%d.example", i), Plain: true, V4: true}})
		}
		w.Set(wants)
		w.run(t)
		time.Sleep(10 * time.Minute) // each has been asked for, and has failed
		began := w.f.count("a.example", dns.TypeA)
		for i := range 20 {
			address := fmt.Sprintf("192.0.2.%d", 10+i)
			w.f.set(t, "a.example. 30 IN A "+address)
			time.Sleep(31 * time.Second)
			if got := w.at(plainA); got != address {
				t.Fatalf("after %d changes it leads to %q, not to %s", i, got, address)
			}
		}
		if n := w.f.count("a.example", dns.TypeA) - began; n < 19 || n > 22 {
			t.Errorf("asked %d times in ten minutes", n)
		}
		if p.most.Load() > looksMost {
			t.Errorf("%d at a time", p.most.Load())
		}
		if s := w.State(wants[500]); s.Err == nil || time.Until(s.Next) > retryMost {
			t.Errorf("the last one: %+v", s)
		}
	})
}

// TestAFullCacheKeepsWhatIsFresh: what is given up is over first.
func TestAFullCacheKeepsWhatIsFresh(t *testing.T) {
	r := New(newFake(t), time.Now)
	now := time.Now()
	for i := range cacheMost + 1 {
		r.keep(question{fmt.Sprintf("n%d.", i), dns.TypeA}, &known{until: now.Add(time.Duration(i) * time.Second)}, now)
	}
	if level, _ := r.Known(); level != cacheMost-cacheMost/16+1 {
		t.Errorf("%d are left", level)
	}
	for i, want := range map[int]bool{0: false, cacheMost/16 - 1: false, cacheMost / 16: true, cacheMost: true} {
		if (r.cache[question{fmt.Sprintf("n%d.", i), dns.TypeA}] != nil) != want {
			t.Errorf("n%d: kept %v, want %v", i, !want, want)
		}
	}
}
