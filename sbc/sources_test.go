package sbc_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat/natlab"
	"sallyport/sbc"
)

var addr = netip.MustParseAddr

// names is a resolver whose answers the test sets.
type names struct {
	mu    sync.Mutex
	addrs map[string][]netip.Addr
	asked int
}

func (n *names) resolve(_ context.Context, name string) ([]netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked++
	a, ok := n.addrs[name]
	if !ok {
		return nil, errors.New("no such host")
	}
	return a, nil
}

func (n *names) set(name string, addrs ...netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.addrs == nil {
		n.addrs = map[string][]netip.Addr{}
	}
	n.addrs[name] = addrs
	if addrs == nil {
		delete(n.addrs, name)
	}
}

// TestNamesInRangesAreFollowed: a name's answers count without a reload, the last good ones stay when it fails, and a
// failure is told.
func TestNamesInRangesAreFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dns := &names{}
		was, is := addr("198.51.100.1"), addr("198.51.100.2")
		dns.set("scanner.example.net", was)
		l := newGate(t, rewritten(t, labConfig, "rate_limits: []", "rate_limits: [], black_list: [ scanner.example.net ]"), natlab.Options{Seed: 1},
			func(o *sbc.Options) { o.Resolve = dns.resolve })
		defer l.close()
		blocked := func(when string, a netip.Addr, want bool) {
			t.Helper()
			w, err := l.control("").Why(l.ctx, a.String())
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Contains(w.Text, "BLACK-LISTED"); got != want {
				t.Errorf("%s: %s black-listed %v, want %v\n%s", when, a, got, want, w.Text)
			}
		}
		blocked("at the start", was, true)
		dns.set("scanner.example.net", is)
		time.Sleep(2 * time.Minute)
		blocked("moved", was, false)
		blocked("moved", is, true)
		// Whoever owns the name must not shut out a trunk with it.
		dns.set("scanner.example.net", is, providerAt.Addr())
		time.Sleep(2 * time.Minute)
		blocked("with a trunk", providerAt.Addr(), false)
		blocked("with a trunk", is, true)
		dns.set("scanner.example.net", is)
		time.Sleep(2 * time.Minute)
		blocked("without it", is, true)
		dns.set("scanner.example.net")
		time.Sleep(5 * time.Minute)
		blocked("the name fails", is, true)
		s, err := l.control("").Status(l.ctx)
		if err != nil || len(s.Data) != 1 || s.Data[0].Error != "no such host" || s.Data[0].Entries != 1 {
			t.Errorf("status %+v, %v", s.Data, err)
		}
	})
}
