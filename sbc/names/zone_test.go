package names

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"sallyport/sbc/config"
	"sallyport/sbc/resolve"
)

// zone is a name server in memory.
type zone struct {
	mu      sync.Mutex
	records map[dns.Question][]dns.RR
	code    int // of every answer, where it is not 0
	dead    bool
	asked   int
}

func newZone(t testing.TB, records ...string) *zone {
	t.Helper()
	z := &zone{}
	z.set(t, records...)
	return z
}

// set replaces the records.
func (z *zone) set(t testing.TB, records ...string) {
	t.Helper()
	z.mu.Lock()
	defer z.mu.Unlock()
	z.records = map[dns.Question][]dns.RR{}
	for _, text := range records {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		q := dns.Question{Name: dns.CanonicalName(rr.Header().Name), Qtype: rr.Header().Rrtype, Qclass: dns.ClassINET}
		z.records[q] = append(z.records[q], rr)
	}
}

// kill makes the name server silent, or alive again.
func (z *zone) kill(dead bool) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.dead = dead
}

func (z *zone) count() int {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.asked
}

func (z *zone) Exchange(ctx context.Context, q *dns.Msg) (*dns.Msg, error) {
	z.mu.Lock()
	z.asked++
	question := q.Question[0]
	question.Name = dns.CanonicalName(question.Name)
	dead, code, records := z.dead, z.code, z.records[question]
	z.mu.Unlock()
	if dead {
		<-ctx.Done()
		return nil, errors.New("no answer from the name server")
	}
	reply := new(dns.Msg)
	reply.SetReply(q)
	reply.Answer = records
	switch {
	case code != 0:
		reply.Rcode, reply.Answer = code, nil
	case len(records) == 0:
		reply.Rcode = dns.RcodeNameError
	}
	return reply, nil
}

// desk is a book with what it says, and how often it says that something has changed.
type desk struct {
	*Book
	seen    *observer.ObservedLogs
	mu      sync.Mutex
	changes int
}

func newDesk(z *zone, dir string) *desk {
	core, seen := observer.New(zap.InfoLevel)
	d := &desk{seen: seen}
	d.Book = New(Options{Dir: dir, DNS: z, Now: time.Now, Log: zap.New(core), Changed: func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.changes++
	}})
	return d
}

// news is how often something has changed since the last time.
func (d *desk) news() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.changes
	d.changes = 0
	return n
}

// says checks that a line of the log has been written so often since the last time, and forgets all lines.
func (d *desk) says(t *testing.T, want string, n int) {
	t.Helper()
	list, got := d.seen.TakeAll(), 0
	for _, l := range list {
		if strings.Contains(l.Message, want) {
			got++
		}
	}
	if got != n {
		t.Errorf("the log says %q %d times, not %d: %v", want, got, n, list)
	}
}

// runs keeps the names of a configuration fresh until the function that it returns is called.
func (d *desk) runs(t *testing.T, snap *config.Snapshot) (stop func()) {
	t.Helper()
	d.Ask(t.Context(), snap)
	d.Use(snap)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { d.Run(ctx) })
	return func() {
		cancel()
		running.Wait()
	}
}

const (
	literals = "{ outside: { address: 203.0.113.10 }, inside: { address: 10.0.0.2 }, pbx: { domain: example.com, nodes: [ { address: 10.0.0.10 } ] } }"
	// oneName has one name: trunks[0].peers[1].address.
	oneName = `
outside: { address: 203.0.113.10 }
inside: { address: 10.0.0.2 }
pbx: { domain: example.com, nodes: [ { address: 10.0.0.10 } ] }
trunks:
  - name: itsp
    peers:
      - { address: "203.0.113.22:5060" }
      - { address: "sip.provider.example:5060", transport: udp }
`
	onePlace = "f.yaml:9:20: trunks[0].peers[1].address: sip.provider.example"
	hostA    = "sip.provider.example. 30 IN A 203.0.113.20"
	hostB    = "sip.provider.example. 30 IN A 203.0.113.21"
)

func snapshotOf(t testing.TB, yaml string) *config.Snapshot {
	t.Helper()
	snap, report := config.Parse("f.yaml", []byte(yaml), config.Flags{})
	if snap == nil {
		t.Fatal(report.String())
	}
	return snap
}

// peersOf are the addresses of the first trunk's peers.
func peersOf(snap *config.Snapshot) (out []string) {
	for _, p := range snap.Trunks[0].Peers {
		out = append(out, p.Address.String())
	}
	return out
}

// to is an endpoint.
func to(at string, priority, weight int) resolve.Endpoint {
	return resolve.Endpoint{Address: netip.MustParseAddrPort(at), Priority: priority, Weight: weight}
}
