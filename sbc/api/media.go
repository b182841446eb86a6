package api

import (
	"cmp"
	"fmt"
	"strings"
)

// Relay is the media relay as `sbc media` shows it.
type Relay struct {
	Backend  string        `json:"backend"`             // epoll, steer; empty: its process is lost
	NotSteer string        `json:"not_steer,omitempty"` // why not
	Process  *RelayProcess `json:"process,omitempty"`   // none: media is relayed by the gate itself, or its process is lost
	Lost     int           `json:"process_lost"`        // how often the process or the way to it was lost
	Workers  int           `json:"workers"`             // threads that share the calls
	Latency  string        `json:"latency"`             // normal, low
	Pool     RelayPool     `json:"pool"`                // the ports
	Renewals int           `json:"renewals"`            // how often the relay was filled anew
	Strays   uint64        `json:"strays"`              // datagrams on free ports
	Rejected []Count       `json:"rejected"`            // datagrams of calls that were not relayed, by reason; none: []
	Delay    RelayDelay    `json:"delay"`
}

// RelayDelay is the time that datagrams spent in the relay during the last minute, in milliseconds, measured on a sample.
type RelayDelay struct {
	Samples uint64  `json:"samples"` // 0: nothing is known
	P50     float64 `json:"p50_ms"`
	P99     float64 `json:"p99_ms"`
	Max     float64 `json:"max_ms"`
}

func (d *RelayDelay) text() string {
	if d.Samples == 0 {
		return "nothing was relayed lately"
	}
	return fmt.Sprintf("50 %% within %.2f ms, 99 %% within %.2f ms, all within %.2f ms (%d datagrams sampled in the last minute)",
		d.P50, d.P99, d.Max, d.Samples)
}

// RelayProcess is the media process.
type RelayProcess struct {
	PID     int    `json:"pid"`
	Build   string `json:"build"`
	Started bool   `json:"started"` // by the gate; else a service manager keeps it
}

// RelayPool is the relay's ports. A stream takes a pair on each side.
type RelayPool struct {
	Ports     string   `json:"ports"`     // "30000-31000"
	Addresses []string `json:"addresses"` // bound: outside, inside
	Reserved  int      `json:"reserved"`  // streams now
	Free      int      `json:"free"`      // streams that there is room for besides
	High      int      `json:"high"`      // most streams at a time
	Resting   int      `json:"resting"`   // pairs that were given back a moment ago
	Missing   int      `json:"missing"`   // ports that other programs hold
	Orphans   int      `json:"orphans"`   // calls of before the last start that still have their ports
}

// Text is `sbc media`.
func (r *Relay) Text() string {
	p := &r.Pool
	rows := [][]string{
		{"back end", r.Where()},
		{"workers", fmt.Sprintf("%d, latency %s", r.Workers, r.Latency)},
		{"ports", p.Ports + " of " + strings.Join(p.Addresses, " and ")},
		{"streams", fmt.Sprintf("%d now, room for %d more, %d at most so far", p.Reserved, p.Free, p.High)},
		{"resting", counted(p.Resting, "pair", "given back a moment ago")},
		{"missing", counted(p.Missing, "port", "held by other programs")},
		{"orphans", counted(p.Orphans, "stream", "of before the last start, whose ports come back when they are silent")},
		{"delay", r.Delay.text()},
		{"renewals", counted(r.Renewals, "time", "the relay was filled anew")},
		{"strays", fmt.Sprintf("%d datagrams on free ports", r.Strays)},
	}
	for _, c := range r.Rejected {
		rows = append(rows, []string{"rejected", fmt.Sprintf("%d %s", c.Count, c.Reason)})
	}
	if r.NotSteer != "" {
		rows = append(rows[:1], append([][]string{{"not steer", printable(r.NotSteer)}}, rows[1:]...)...)
	}
	return table(rows)
}

// Where is what carries the datagrams, and where.
func (r *Relay) Where() string {
	switch {
	case r.Process != nil:
		by := "kept by the service manager"
		if r.Process.Started {
			by = "started by sbc run"
		}
		return fmt.Sprintf("%s in process %d of build %s, %s", cmp.Or(r.Backend, "none"), r.Process.PID, printable(r.Process.Build), by)
	case r.Backend == "":
		return "none: the media process is lost, and calls have no audio until another one is there"
	}
	return r.Backend + " in sbc run itself: audio stops when it restarts"
}

// counted is a number of things and what they are; "none" of none.
func counted(n int, thing, what string) string {
	switch n {
	case 0:
		return "none"
	case 1:
		return "1 " + thing + ", " + what
	}
	return fmt.Sprintf("%d %ss, %s", n, thing, what)
}
