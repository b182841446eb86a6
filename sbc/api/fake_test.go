package api

import (
	"context"
	"errors"
	"sync"
	"time"

	"sallyport/sbc/tu"
)

// fake is a program that answers what it is told to.
type fake struct {
	mu       sync.Mutex
	bans     map[string]Ban
	drains   map[string]*Drained
	reloads  []bool
	asked    ReloadRequest
	onTrial  bool
	drained  time.Duration
	dump     string        // of the recorder
	block    chan struct{} // Status and Drain wait for it, if it is set
	statuses int
	stop     chan struct{} // ends a capture
	ended    chan error    // Drain tells how its wait ended, if it is set
}

var start = time.Date(2027, 1, 31, 18, 0, 0, 0, time.UTC)

func newFake() *fake { return &fake{bans: map[string]Ban{}} }

func (f *fake) wait(ctx context.Context) error {
	f.mu.Lock()
	block := f.block
	f.mu.Unlock()
	if block == nil {
		return nil
	}
	select {
	case <-block:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *fake) Status(ctx context.Context) (Status, error) {
	f.mu.Lock()
	f.statuses++
	f.mu.Unlock()
	return sampleStatus(), f.wait(ctx)
}

func sampleStatus() Status {
	return Status{
		Version: "1.2.3", PID: 4711, Since: start, Config: "/etc/sbc/sbc.yaml",
		Interfaces: []Interface{
			{Side: "outside", Realm: "trunks", Transport: "udp", Bind: "203.0.113.10:5080", Advertised: "198.51.100.5:5080", Drops: 3},
			{Side: "inside", Realm: "trunks", Transport: "udp", Bind: "10.0.0.2:5080", Advertised: "10.0.0.2:5080", Closing: true},
		},
		Calls:  CallGauge{Now: 12, High: 40, Total: 9001},
		Media:  Media{Ports: "30000-31000", Backend: "epoll", Pairs: 1000, Free: 970, Resting: 6, High: 80, Missing: 2},
		Busy:   0.031,
		Counts: []Count{{"outside", "trunks", "drop", "stranger", 512}, {"outside", "trunks", "allow", "allow", 1024}, {Action: "refuse", Reason: "no-route", Count: 3}},
		Rules: []Rule{
			{Path: "policy.white_list[0]", Name: "192.0.2.7"}, {Path: "policy.rate_limits[0]", Name: "everybody", Hits: 12},
			{Path: "policy.rate_limits[1]", Name: "tried", Shadow: 7},
		},
		Limits: []Limit{{"transactions", 24, 90, 65536}, {"limiter sources", 0, 3, 65536}},
		Audit:  []Gauge{{Name: "panics"}, {Name: "leaks repaired", Value: 2, Bad: true}},
		Off:    []string{"rate limits: policy.rate_limits is absent"},
		Attention: []Notice{
			{What: "trunk it\x1bsp at 203.0.113.20:5060 is down (no answer)", Since: start, Look: "sbc why itsp"}, {What: "call records cannot be written"},
		},
		Peers: PeerGauge{Nodes: 2, NodesUp: 2, Trunks: 1}, Bans: 3,
	}
}

func sampleCall() Call {
	return Call{
		ID: "c-1", Direction: "inbound", State: "talking", Trunk: "itsp", Node: "10.0.0.10:5060", From: "+4930123", To: "200",
		Start: start, Answer: start.Add(4 * time.Second),
		Legs: []Leg{
			{"outside", "confirmed", "itsp", "udp:203.0.113.20:5060", "a/b?c@x"},
			{"inside", "confirmed", "10.0.0.10:5060", "udp:10.0.0.10:5060", "xyz"},
		},
		Streams: []Stream{{
			Codec: "G722", Packet: 20, AsG711: true,
			Outside: StreamLeg{Local: "203.0.113.10:30000", Signalled: "203.0.113.21:4000", LegStats: tu.LegStats{
				Packets: 1500, Sent: 1484, Lost: 15, Jitter: 2.5, MOSIn: 4.23, Rejected: 12, Rejections: map[string]uint64{"source": 2, "policed": 9, "junk": 1},
			}},
			Inside: StreamLeg{Local: "10.0.0.2:30000", Signalled: "10.0.0.10:8000", Learned: "10.0.0.10:8002", LegStats: tu.LegStats{
				Packets: 1484, Sent: 1500, MOSIn: 4.41, Reports: 6, FarLost: 15, FarSent: 1490, FarJitter: 3.125, FarMOS: 4.1, RoundTrip: 41.52, MOSOut: 4.19,
				Remote: "10.0.0.10:8002", Latched: true,
			}},
		}},
	}
}

func (f *fake) Calls(context.Context) ([]Call, error) {
	c := sampleCall()
	c.Legs, c.Streams = nil, nil
	return []Call{c}, nil
}

func (f *fake) Call(_ context.Context, id string) (Call, error) {
	if c := sampleCall(); id == c.ID || id == c.Legs[0].CallID {
		return c, nil
	}
	return Call{}, NotFound("sbc calls lists them", "no call %q", id)
}

func (f *fake) Trunks(context.Context) ([]Trunk, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return []Trunk{{
		Name: "itsp", Mode: "address", State: "up", Load: Load{Calls: 12, Most: 30, High: 29, Rate: 2, RateMost: 10}, Drained: f.drains["trunk itsp"], Peers: samplePeers(),
	}}, nil
}

func samplePeers() []Peer {
	return []Peer{
		{Address: "203.0.113.20:5060", Transport: "udp", State: "up", Since: start, Answer: "200 OK", Latency: 12.4},
		{Address: "203.0.113.21:5060", Transport: "udp", State: "down", Reason: "OPTIONS: no answer", Since: start, Answer: "no answer"},
	}
}

func (f *fake) Media(context.Context) (Relay, error) { return sampleRelay(), nil }

func sampleRelay() Relay {
	return Relay{
		Backend: "epoll", NotSteer: "the process lacks CAP_BPF", Process: &RelayProcess{PID: 4712, Build: "1.2.3", Started: true}, Workers: 2,
		Latency: "normal", Renewals: 1, Strays: 17, Rejected: []Count{{Action: "drop", Reason: "source", Count: 5}, {Action: "drop", Reason: "junk", Count: 1}},
		Delay: RelayDelay{Samples: 3125, P50: 0.084, P99: 0.51, Max: 1.835},
		Pool: RelayPool{
			Ports: "30000-31000", Addresses: []string{"203.0.113.10", "10.0.0.2"}, Reserved: 12, Free: 482, High: 80, Resting: 1, Missing: 2, Orphans: 3,
		},
	}
}

func (f *fake) Nodes(context.Context) ([]Node, error) { return nil, nil }

func (f *fake) DrainTrunk(ctx context.Context, name string, on bool, by string) (Trunk, error) {
	if name != "itsp" {
		return Trunk{}, NotFound("`sbc trunks` lists them", "no trunk %q", name)
	}
	f.drain("trunk "+name, on, by)
	list, err := f.Trunks(ctx)
	return list[0], err
}

func (f *fake) DrainNode(_ context.Context, name string, on bool, by string) (Node, error) {
	f.drain("node "+name, on, by)
	f.mu.Lock()
	defer f.mu.Unlock()
	return Node{Peer: Peer{Address: name, State: "up"}, Drained: f.drains["node "+name]}, nil
}

func (f *fake) drain(key string, on bool, by string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.drains == nil {
		f.drains = map[string]*Drained{}
	}
	if delete(f.drains, key); on {
		f.drains[key] = &Drained{DrainedBy: by, DrainedSince: start}
	}
}

func (f *fake) Why(_ context.Context, subject string) (Why, error) {
	if subject == "crash" {
		panic("boom")
	}
	return Why{Subject: subject, Text: "LIMITED\n", Detail: []byte(`{"over":11}`)}, nil
}

func (f *fake) Bans(context.Context) ([]Ban, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []Ban
	for _, b := range f.bans {
		out = append(out, b)
	}
	return out, nil
}

func (f *fake) AddBan(_ context.Context, b Ban) (Ban, error) {
	if b.Address == "x" {
		return Ban{}, BadRequest("write an address or a prefix", "%q is no address", b.Address)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	b.Since = start
	f.bans[b.Address] = b
	return b, nil
}

func (f *fake) RemoveBan(_ context.Context, address string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.bans[address]; !ok {
		return NotFound("sbc bans lists them", "no ban of %s", address)
	}
	delete(f.bans, address)
	return nil
}

func (f *fake) TestRoute(_ context.Context, q RouteQuestion) (RouteAnswer, error) {
	if q.Number == "" {
		return RouteAnswer{}, BadRequest("write a number", "%q is no number", q.Number)
	}
	return RouteAnswer{Number: q.Number, From: q.From, Trunk: q.Trunk, Hops: []RouteHop{}, Rules: []RouteRule{}}, nil
}

func (f *fake) TestMessage(_ context.Context, q PolicyTest) (PolicyVerdict, error) {
	return PolicyVerdict{Allowed: true, Text: q.Source + " " + string(q.Message)}, nil
}

func (f *fake) KeepReload(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.onTrial {
		return NotFound("it was kept, or has gone back", "no configuration is on trial")
	}
	f.onTrial = false
	return nil
}

func (f *fake) Reload(_ context.Context, r ReloadRequest) (ReloadResult, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	dryRun := r.Diff
	f.asked, f.onTrial = r, r.Confirm != ""
	f.reloads = append(f.reloads, dryRun)
	if len(f.reloads) > 2 {
		return ReloadResult{}, errors.New("the disk is on fire")
	}
	return ReloadResult{Applied: !dryRun, Changes: []Change{{"media.dscp", "46", "0", "restart"}}}, nil
}

func (f *fake) Drain(ctx context.Context, wait time.Duration) (DrainResult, error) {
	f.mu.Lock()
	f.drained = wait
	f.mu.Unlock()
	err := f.wait(ctx)
	if f.ended != nil {
		f.ended <- err
	}
	return DrainResult{Left: 3}, err
}
