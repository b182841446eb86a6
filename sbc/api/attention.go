package api

import (
	"fmt"
	"time"
)

// Notice is something that somebody should look at, in one line.
type Notice struct {
	What  string    `json:"what"`
	Since time.Time `json:"since,omitzero"`
	Look  string    `json:"look,omitempty"` // what to ask or to do next
}

func (n *Notice) text(zone *time.Location) string {
	text := printable(n.What)
	if !n.Since.IsZero() {
		text += " since " + clock(n.Since, zone)
	}
	if n.Look != "" {
		text += " → " + printable(n.Look)
	}
	return text
}

// PeerGauge counts trunks and addresses of PBX nodes, and those of them that take calls.
type PeerGauge struct {
	Nodes    int `json:"nodes"`
	NodesUp  int `json:"nodes_up"`
	Trunks   int `json:"trunks"`
	TrunksUp int `json:"trunks_up"`
}

func (p *PeerGauge) text() string {
	return fmt.Sprintf("%d of %d PBX nodes up, %d of %d trunks up", p.NodesUp, p.Nodes, p.TrunksUp, p.Trunks)
}

// head is what comes first in `sbc status`: what stands out.
func (s *Status) head(zone *time.Location) (rows [][]string) {
	if s.Draining {
		rows = append(rows, []string{"draining", "no new calls are taken until sbc is restarted"})
	}
	for i := range s.Attention {
		rows = append(rows, []string{"attention", s.Attention[i].text(zone)})
	}
	return rows
}

// foot is what comes last: where to ask on.
func (s *Status) foot() (rows [][]string) {
	if s.Bans > 0 {
		rows = append(rows, []string{"bans", fmt.Sprintf("%d in force → sbc bans", s.Bans)})
	}
	for _, c := range s.Counts {
		if c.Action != "allow" {
			return append(rows, []string{"ask", "sbc why ADDRESS, EXTENSION or NUMBER: who is refused, and what would let him in"})
		}
	}
	return rows
}
