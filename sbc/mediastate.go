package sbc

import (
	"context"
	"fmt"
	"time"

	"sallyport/media"
	"sallyport/sbc/api"
	"sallyport/sbc/config"
)

// carriedBy is what carries the datagrams at the moment.
func (s *SBC) carriedBy() carriedBy {
	if r, ok := s.opt.Relay.(*relay); ok {
		return r.carried()
	}
	return carriedBy{Backend: backendName(s.opt.Relay)}
}

// Media is the relay in full.
func (c control) Media(context.Context) (api.Relay, error) {
	g, by := c.plane.Gauges(), c.carriedBy()
	out := api.Relay{
		Backend: by.Backend, NotSteer: by.NotSteer, Lost: by.Process.Lost, Workers: by.Process.Workers, Latency: c.relayed.Latency,
		Pool: api.RelayPool{
			Ports: fmt.Sprintf("%d-%d", c.relayed.FirstPort, c.relayed.LastPort), Reserved: g.Reserved, Free: g.Free, High: g.HighWater,
			Resting: g.Resting, Missing: g.Missing, Orphans: g.Orphans,
		},
		Renewals: g.Renewals, Strays: g.Strays, Rejected: []api.Count{},
		Delay: api.RelayDelay{
			Samples: g.Delay.Samples, P50: milliseconds(g.Delay.P50), P99: milliseconds(g.Delay.P99), Max: milliseconds(g.Delay.Max),
		},
	}
	if by.Process.PID != 0 {
		out.Process = &api.RelayProcess{PID: by.Process.PID, Build: by.Process.Build, Started: by.Process.Started}
	}
	if out.Workers == 0 && by.Backend != "" {
		out.Workers = max(1, relayConfig(&config.Snapshot{Media: c.relayed}, c.opt.Relay).Workers)
	}
	for _, addrs := range c.relayed.Addresses {
		out.Pool.Addresses = append(out.Pool.Addresses, join(addrs)) // one on each side, or one of each family
	}
	for i, n := range g.Rejected {
		if r := media.Rejection(i); n > 0 && r != media.Accepted && r != media.RejectedStray {
			out.Rejected = append(out.Rejected, api.Count{Action: "drop", Reason: r.String(), Count: n})
		}
	}
	return out, nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }
