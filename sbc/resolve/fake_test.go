package resolve

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// fake is a name server in memory.
type fake struct {
	mu    sync.Mutex
	zone  map[question][]dns.RR
	dead  bool
	fails map[string]bool // names that get SERVFAIL
	asked map[question]int
}

func newFake(t testing.TB, records ...string) *fake {
	t.Helper()
	f := &fake{fails: map[string]bool{}, asked: map[question]int{}}
	f.set(t, records...)
	return f
}

// set replaces the zone.
func (f *fake) set(t testing.TB, records ...string) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.zone = map[question][]dns.RR{}
	for _, text := range records {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		q := question{dns.CanonicalName(rr.Header().Name), rr.Header().Rrtype}
		f.zone[q] = append(f.zone[q], rr)
	}
}

func (f *fake) kill(dead bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dead = dead
}

func (f *fake) fail(name string, fails bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fails[dns.CanonicalName(name)] = fails
}

func (f *fake) count(name string, qtype uint16) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked[question{dns.CanonicalName(name), qtype}]
}

func (f *fake) Exchange(ctx context.Context, m *dns.Msg) (*dns.Msg, error) {
	f.mu.Lock()
	q := question{dns.CanonicalName(m.Question[0].Name), m.Question[0].Qtype}
	f.asked[q]++
	dead := f.dead
	f.mu.Unlock()
	if dead {
		<-ctx.Done()
		return nil, errors.New("no answer from fake")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	reply := new(dns.Msg)
	reply.SetReply(m)
	if f.fails[q.name] {
		reply.Rcode = dns.RcodeServerFailure
		return reply, nil
	}
	name := q.name
	for range 20 {
		if list := f.zone[question{name, q.qtype}]; len(list) > 0 {
			reply.Answer = append(reply.Answer, list...)
			return reply, nil
		}
		alias := f.zone[question{name, dns.TypeCNAME}]
		if len(alias) == 0 {
			break
		}
		reply.Answer = append(reply.Answer, alias[0])
		name = dns.CanonicalName(alias[0].(*dns.CNAME).Target)
	}
	reply.Rcode = dns.RcodeNameError
	for k := range f.zone {
		if k.name == name || strings.HasSuffix(k.name, "."+name) {
			reply.Rcode = dns.RcodeSuccess
		}
	}
	soa, _ := dns.NewRR("example. 300 IN SOA ns.example. root.example. 1 2 3 4 30")
	reply.Ns = append(reply.Ns, soa)
	return reply, nil
}
