package sbc_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"sallyport/nat/natlab"
	"sallyport/sbc"
)

// zone is a name server in memory: records by name and type.
type zone struct {
	mu      sync.Mutex
	records map[string][]dns.RR
	dead    bool
	asked   int
}

func newZone(t *testing.T, records ...string) *zone {
	t.Helper()
	z := &zone{}
	z.set(t, records...)
	return z
}

// set replaces the records.
func (z *zone) set(t *testing.T, records ...string) {
	t.Helper()
	z.mu.Lock()
	defer z.mu.Unlock()
	z.records = map[string][]dns.RR{}
	for _, text := range records {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		z.records[keyOfRR(rr.Header().Name, rr.Header().Rrtype)] = append(z.records[keyOfRR(rr.Header().Name, rr.Header().Rrtype)], rr)
	}
}

func keyOfRR(name string, qtype uint16) string {
	return dns.CanonicalName(name) + " " + dns.TypeToString[qtype]
}

// kill makes the name server silent, or alive again.
func (z *zone) kill(dead bool) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.dead = dead
}

func (z *zone) Exchange(ctx context.Context, q *dns.Msg) (*dns.Msg, error) {
	z.mu.Lock()
	z.asked++
	dead, records := z.dead, z.records[keyOfRR(q.Question[0].Name, q.Question[0].Qtype)]
	z.mu.Unlock()
	if dead {
		<-ctx.Done()
		return nil, errors.New("no answer from the name server")
	}
	reply := new(dns.Msg)
	reply.SetReply(q)
	if reply.Answer = records; len(records) == 0 {
		reply.Rcode = dns.RcodeNameError
	}
	return reply, nil
}

// newNamed is a gate whose names a zone answers.
func newNamed(t *testing.T, yaml string, z *zone, change ...func(*sbc.Options)) *lab {
	t.Helper()
	return newGate(t, yaml, natlab.Options{Seed: 1}, append(change, func(o *sbc.Options) { o.DNS = z })...)
}

// The zones of a provider with two places, the second one in reserve.
const (
	srvFirst  = "_sip._udp.sip.provider.example. 30 IN SRV 10 1 5060 a.provider.example."
	srvSecond = "_sip._udp.sip.provider.example. 30 IN SRV 20 1 5060 b.provider.example."
	hostA     = "a.provider.example. 30 IN A 203.0.113.20"
	hostB     = "b.provider.example. 30 IN A 203.0.113.21"
)

func twoPlaces(t *testing.T) *zone { return newZone(t, srvFirst, srvSecond, hostA, hostB) }

func namedConfig(t *testing.T) string {
	t.Helper()
	return rewritten(t, labConfig, `peers: [ { address: "203.0.113.20:5060" } ]`, `peers: [ { address: sip.provider.example, transport: udp } ]`)
}
