package sbc

import (
	"context"
	"fmt"
	"os"
	"runtime/metrics"
	"slices"
	"time"

	"sallyport/nat"
	"sallyport/sbc/api"
	"sallyport/sbc/config"
	"sallyport/sbc/reason"
	"sallyport/sbc/transport"
)

// Gauges are what the gate holds at a moment, for tests, `sbc status` and metrics.
type Gauges struct {
	Calls, CallsHigh, Users, Dialogs, Streams, Transactions int
	TransactionsHigh, InboxHigh                             int
	PortsFree, PortsResting, PortsHigh, PortsMissing        int
	Retained                                                int
	Panics, Leaks, LeaksFatal, Overload                     int
	SendErrors, InboxDropped                                int
	BusyPermille                                            int
	Bindings, BindingsHigh, Subscriptions, KeptAside        int
	BindingsHeld                                            int    // kept beyond their time, in an outage
	RegistersLocal, RegistersPassed                         uint64 // answered here; sent to the PBX
	Total                                                   uint64 // calls since the start
}

// Gauges reads the gauges. Probes count as users, not as calls; what keeps the ways to phones open does not count.
func (s *SBC) Gauges() Gauges {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	var g Gauges
	keepers := 0
	_ = s.core.Do(ctx, func(time.Time) { // a core that does not answer has no calls to tell of
		g.Calls, g.CallsHigh, g.Total = len(s.assembly.calls), s.assembly.high, s.assembly.total
		p := s.assembly.phones
		g.Bindings, g.BindingsHigh, g.Subscriptions, g.KeptAside = p.book.Len(), p.book.High(), len(p.watching), len(p.held)
		phones := p.gauge()
		g.BindingsHeld, g.RegistersLocal, g.RegistersPassed = phones.Held, phones.Local, phones.Passed
		if p.keeper != 0 {
			keepers = 1
		}
	})
	c := s.core.Gauges()
	g.Users, g.Dialogs, g.Streams = int(c.Users.Load())-keepers, int(c.Dialogs.Load()), int(c.Streams.Load())
	g.Transactions = int(c.ServerTransactions.Load() + c.ClientTransact.Load())
	g.TransactionsHigh, g.InboxHigh = int(c.TransactionsHigh.Load()), int(c.InboxHigh.Load())
	g.Retained = int(c.RetainedBytes.Load())
	g.Panics, g.Leaks, g.LeaksFatal = int(c.Panics.Load()), int(c.Leaks.Load()), int(c.LeaksFatal.Load())
	g.Overload, g.SendErrors, g.InboxDropped = int(c.Overload.Load()), int(c.SendErrors.Load()), int(c.InboxDropped.Load())
	g.BusyPermille = int(c.Busy.Load())
	m := s.plane.Gauges()
	g.PortsFree, g.PortsResting, g.PortsHigh, g.PortsMissing = m.Free, m.Resting, m.HighWater, m.Missing
	return g
}

// Status is the program as a whole.
func (c control) Status(ctx context.Context) (api.Status, error) {
	s := c.SBC
	snap := s.snap.Load()
	out := api.Status{
		Version: s.opt.Version, PID: os.Getpid(), Since: s.since, Config: snap.Path(), Counts: c.counts(),
		Rules: c.rules(), Media: c.media(), Captures: c.captures.List(),
	}
	var live []nat.Interface
	var tables []api.Limit
	var places []api.Gauge
	if err := s.core.Do(ctx, func(time.Time) {
		live, out.Draining, out.Phones = s.assembly.live(), s.assembly.draining, s.assembly.phones.gauge()
		out.Rules = append(out.Rules, s.assembly.tollRules()...)
		tables, places = s.assembly.tollLevels(), s.assembly.auditLeases()
	}); err != nil {
		return out, err
	}
	slices.SortFunc(live, func(a, b nat.Interface) int { return int(a.ID) - int(b.ID) })
	for i := range live {
		f := &live[i]
		face := api.Interface{
			Side: f.Side.String(), Realm: f.Realm.String(), Transport: f.Transport.String(), Bind: f.Bind.String(),
			Advertised: f.Advertised.String(), Closing: !has(snap.Interfaces, f.ID),
		}
		for _, k := range s.sockets.Counters() {
			if k.Interface.ID == f.ID {
				face.Drops = k.KernelDrops
			}
		}
		out.Interfaces = append(out.Interfaces, face)
	}
	if err := c.attention(ctx, &out); err != nil {
		return out, err
	}
	g := s.Gauges()
	out.Calls = api.CallGauge{Now: g.Calls, High: g.CallsHigh, Most: snap.Calls, Total: g.Total}
	out.Busy = float64(g.BusyPermille) / 1000
	out.Limits, out.Data = slices.Concat(c.limits(&g), tables, c.nameLimits()), append(c.sources.list(), c.nameData(snap)...)
	out.Audit = slices.Concat(audit(&g), places, c.edges())
	if text := unlimited(snap); text != "" {
		out.Off = append(out.Off, text)
	}
	return out, nil
}

// unlimited says that nobody is limited; "": somebody is. An absent list is the shipped rule, only an empty one is none.
func unlimited(snap *config.Snapshot) string {
	if len(snap.Policy.Limits) > 0 {
		return ""
	}
	return "rate limits: policy.rate_limits is [], nobody is limited; leave the key out for the shipped rule"
}

func (c control) media() api.Media {
	m := c.plane.Gauges()
	out := api.Media{
		Ports: fmt.Sprintf("%d-%d", c.relayed.FirstPort, c.relayed.LastPort), Backend: c.carriedBy().Backend, Pairs: m.Reserved + m.Free,
		Free: m.Free, Resting: m.Resting, High: m.HighWater, Missing: m.Missing,
	}
	if orphans := c.plane.Orphans(); len(orphans) > 0 { // the oldest first
		out.Orphans, out.OrphansSince = len(orphans), orphans[0].Since
	}
	return out
}

func (c control) counts() []api.Count {
	var out []api.Count
	for n := range c.guard.Counters().Each {
		out = append(out, api.Count{
			Side: n.Side.String(), Realm: n.Realm.String(), Action: n.Action.String(), Reason: string(n.Reason), Count: n.Count,
		})
	}
	refused := &c.core.Gauges().Refused
	for i, r := range reason.All {
		if n := refused[i].Load(); n > 0 {
			out = append(out, api.Count{Action: "refuse", Reason: string(r), Count: uint64(n)})
		}
	}
	return out
}

func (c control) rules() []api.Rule {
	out := []api.Rule{}
	for _, h := range c.guard.RuleHits() {
		out = append(out, api.Rule{Path: h.Rule.Path, Name: h.Rule.Name, Hits: h.Enforced, Shadow: h.Shadow})
	}
	return out
}

// limits are the capped tables: all that strangers can make grow.
func (c control) limits(g *Gauges) []api.Limit {
	m := c.plane.Gauges()
	out := []api.Limit{
		{Name: "transactions", Level: g.Transactions, High: g.TransactionsHigh, Cap: 65536},
		{Name: "core inbox", High: g.InboxHigh, Cap: 4096},
		{Name: "media streams", Level: m.Reserved, High: m.HighWater, Cap: m.Reserved + m.Free},
	}
	st := c.sockets.Streams()
	for _, l := range []struct {
		name string
		transport.Level
	}{{"strangers' connections", st.Strangers}, {"TLS handshakes", st.Handshakes}, {"bytes of connections", st.Buffers}, {"connections of our own", st.Dialled}} {
		out = append(out, api.Limit{Name: l.name, Level: int(l.Now), High: int(l.High), Cap: int(l.Limit)})
	}
	out = append(out, api.Limit{Name: "bindings", Level: g.Bindings, High: g.BindingsHigh, Cap: bindingsMost})
	for _, l := range c.guard.Levels(c.now()) {
		out = append(out, api.Limit{Name: l.Name, Level: l.Used, High: l.Most, Cap: l.Cap})
	}
	return out
}

// audit is what must be zero when no call is up, and what must never happen.
func audit(g *Gauges) []api.Gauge {
	idle := g.Calls == 0
	return []api.Gauge{
		{Name: "calls", Value: int64(g.Calls)},
		{Name: "dialogs", Value: int64(g.Dialogs), Bad: idle && g.Subscriptions == 0 && g.Dialogs > 0},
		{Name: "media streams", Value: int64(g.Streams), Bad: idle && g.Streams > 0},
		{Name: "registrations", Value: int64(g.Bindings)},
		{Name: "subscriptions", Value: int64(g.Subscriptions)},
		{Name: "transactions", Value: int64(g.Transactions)},
		{Name: "retained bytes", Value: int64(g.Retained)},
		{Name: "leaks repaired", Value: int64(g.Leaks)},
		{Name: "leaks refused", Value: int64(g.LeaksFatal), Bad: g.LeaksFatal > 0},
		{Name: "internal errors", Value: int64(g.Panics), Bad: g.Panics > 0},
		{Name: "overload refusals", Value: int64(g.Overload)},
		{Name: "messages dropped, inbox full", Value: int64(g.InboxDropped)},
		{Name: "datagrams not sent", Value: int64(g.SendErrors)},
	}
}

// edges is what the sockets and the call records have lost.
func (c control) edges() []api.Gauge {
	var panics, kernel, unsent, unread, slow, crowded int64
	for _, k := range c.sockets.Counters() {
		slow, crowded = slow+int64(k.Streams.ClosedSlow), crowded+int64(k.Streams.Refused+k.Streams.ClosedCrowded)
		panics, kernel = panics+int64(k.Panics), kernel+int64(k.KernelDrops)
		unsent, unread = unsent+int64(k.Lost+k.Failed), unread+int64(k.ReadErrors)
	}
	out := []api.Gauge{
		{Name: "heap bytes at the last collection", Value: liveHeap()},
		{Name: "internal errors of readers", Value: panics, Bad: panics > 0},
		{Name: "datagrams dropped by the kernel", Value: kernel},
		{Name: "datagrams of a flood, dropped unread", Value: int64(c.guard.Counters().Shed())},
		{Name: "datagrams refused by the kernel", Value: unsent},
		{Name: "socket read errors", Value: unread},
		{Name: "connections refused for want of room", Value: crowded},
		{Name: "connections closed, their peers did not read", Value: slow},
	}
	if c.captures != nil {
		out = append(out, api.Gauge{Name: "captured packets lost", Value: int64(c.captures.Lost())})
	}
	if c.files != nil {
		lost := int64(c.files.Counters().Lost)
		out = append(out, api.Gauge{Name: "call records lost", Value: lost, Bad: lost > 0})
	}
	return out
}

// liveHeap is what the last collection found in use.
func liveHeap() int64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return int64(sample[0].Value.Uint64())
}
