package api

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Trunk is one provider.
type Trunk struct {
	Name      string `json:"name"`
	Mode      string `json:"mode"`
	State     string `json:"state"` // up, degraded, down, unknown, drained: the best of its addresses
	Group     string `json:"group,omitempty"`
	GroupLoad *Load  `json:"group_load,omitempty"` // of all trunks of the group
	Load
	*Drained
	Registration *TrunkRegistration `json:"registration,omitempty"` // of ours there; absent: it knows us by our address
	Peers        []Peer             `json:"peers"`
	Denied       bool               `json:"denied,omitempty"` // it refuses user name or password
	Refused      *RefusedCallers    `json:"refused_callers,omitempty"`
}

// RefusedCallers are addresses from which calls were refused lately because no trunk has them, and which this trunk may have moved to.
// Nothing of it is proven: From is whatever a caller writes.
type RefusedCallers struct {
	Count int             `json:"count"`
	List  []RefusedCaller `json:"list"` // the likeliest first; not all
}

// RefusedCaller is one of them.
type RefusedCaller struct {
	Address string    `json:"address"`
	Last    time.Time `json:"last"`
	Named   bool      `json:"from_names_trunk,omitempty"` // the host of From is the trunk's, or next to it
	Beside  bool      `json:"beside,omitempty"`           // it is in the network of one of the trunk's addresses
}

// text is a line for each address, which says nothing that a caller wrote.
func (r *RefusedCallers) text(trunk string, zone *time.Location) string {
	if r == nil || len(r.List) == 0 {
		return ""
	}
	text := ""
	for i := range r.List {
		x := &r.List[i]
		how := "which is in the network of this trunk's addresses"
		switch {
		case x.Named && x.Beside:
			how = "whose From names this trunk, and which is in the network of its addresses"
		case x.Named:
			how = "whose From names this trunk"
		}
		text += fmt.Sprintf("%s: calls were refused lately from %s, %s (last %s): sbc why %s\n", printable(trunk), printable(x.Address), how,
			clock(x.Last, zone), printable(x.Address))
	}
	if more := r.Count - len(r.List); more > 0 {
		text += fmt.Sprintf("%s: and from %d more\n", printable(trunk), more)
	}
	return text
}

// refusedHint stands below them: whoever reads it may be in a hurry.
const refusedHint = "hint: anybody can write such a From, and be a neighbour: ask the provider whether the address is his before you add it to trunks[].sources\n"

// Node is one PBX node.
type Node struct {
	Peer
	Realms   []string `json:"realms"`
	Bindings int      `json:"bindings"` // registrations of phones that it accepted last
	Load
	*Drained
}

// Load is how many calls there are, and may be, in both directions together.
type Load struct {
	Calls    int `json:"calls"`
	Most     int `json:"calls_most,omitempty"` // bound; absent: none
	High     int `json:"calls_high"`           // most at a time since the start
	Rate     int `json:"calls_per_second"`     // that began within the last whole second
	RateMost int `json:"calls_per_second_most,omitempty"`
}

// Drained says who has taken a trunk or a node out, and when.
type Drained struct {
	DrainedBy    string    `json:"drained_by,omitempty"` // "uid 0"
	DrainedSince time.Time `json:"drained_since"`
}

// Peer is one address of a peer system.
type Peer struct {
	Address   string    `json:"address"`
	Transport string    `json:"transport"`
	State     string    `json:"state"`                // up, degraded, down, unknown, drained
	Reason    string    `json:"state_why,omitempty"`  // what makes it degraded or down
	Since     time.Time `json:"since,omitzero"`       // of the state
	Answer    string    `json:"answer,omitempty"`     // to the last probe: "200 OK", "no answer"
	Latency   float64   `json:"latency_ms,omitempty"` // smoothed round trip of probes
	Resolved
}

// calls is "12", or "12/30" where there is a bound.
func (l *Load) calls() string { return of(l.Calls, l.Most) }

func (l *Load) rate() string { return of(l.Rate, l.RateMost) }

func of(n, most int) string {
	if most == 0 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%d/%d", n, most)
}

func (d *Drained) text(zone *time.Location) string {
	if d == nil {
		return ""
	}
	text := "drained"
	if d.DrainedBy != "" {
		text += " by " + d.DrainedBy
	}
	return text + " since " + clock(d.DrainedSince, zone)
}

// TrunksText is `sbc trunks`.
func TrunksText(list []Trunk, zone *time.Location) string {
	if len(list) == 0 {
		return "no trunks\n"
	}
	rows := [][]string{{"TRUNK", "STATE", "CALLS", "CPS", "PEER", "LATENCY", "SINCE", "LAST PROBE", "WHY"}}
	for k := range list {
		t := &list[k]
		rows = append(rows, []string{t.Name, t.State, t.calls(), t.rate(), "", "", "", "", t.Drained.text(zone)})
		if t.Registration != nil {
			rows = append(rows, t.Registration.row(zone))
		}
		for i := range t.Peers {
			rows = append(rows, append([]string{"", t.Peers[i].State, "", ""}, t.Peers[i].cells(zone)...))
		}
	}
	seen := map[string]bool{}
	for k := range list {
		if g := list[k].GroupLoad; g != nil && !seen[list[k].Group] {
			seen[list[k].Group] = true
			rows = append(rows, []string{"group " + list[k].Group, "", g.calls(), g.rate()})
		}
	}
	text := table(rows)
	refused := ""
	for k := range list {
		refused += list[k].Refused.text(list[k].Name, zone)
	}
	if refused != "" {
		text += refused + refusedHint
	}
	return text
}

func (p *Peer) cells(zone *time.Location) []string {
	latency := "-"
	if p.Latency > 0 {
		latency = fmt.Sprintf("%.0f ms", max(p.Latency, 1))
	}
	return []string{p.Transport + " " + p.where(zone), latency, clock(p.Since, zone), cmp.Or(printable(p.Answer), "-"), p.why()}
}

// NodesText is `sbc pbx`.
func NodesText(list []Node, zone *time.Location) string {
	if len(list) == 0 {
		return "no PBX nodes\n"
	}
	rows := [][]string{{"STATE", "CALLS", "PHONES", "REALMS", "NODE", "LATENCY", "SINCE", "LAST PROBE", "WHY"}}
	for i := range list {
		n := &list[i]
		row := append([]string{n.State, n.calls(), fmt.Sprint(n.Bindings), strings.Join(n.Realms, ",")}, n.cells(zone)...)
		if n.Drained != nil {
			row[len(row)-1] = n.Drained.text(zone)
		}
		rows = append(rows, row)
	}
	return table(rows)
}

// drainOf answers a request that takes something out, or back in.
func drainOf[T any](s *Server, what string, on bool, f func(ctx context.Context, name string, on bool, by string) (T, error)) answer {
	return func(r *http.Request) (any, error) {
		name := r.PathValue("name")
		return s.change(what+" "+name, func(r *http.Request) (any, error) {
			return some(f(r.Context(), name, on, fmt.Sprintf("uid %d", uidOf(r.Context()))))
		})(r)
	}
}

func drainPath(kind, name string, on bool) string {
	if on {
		return "/v1/" + kind + "/" + url.PathEscape(name) + "/drain"
	}
	return "/v1/" + kind + "/" + url.PathEscape(name) + "/undrain"
}

// DrainTrunk takes a trunk out, or back in.
func (c *Client) DrainTrunk(ctx context.Context, name string, on bool) (Trunk, error) {
	return call[Trunk](ctx, c, http.MethodPost, drainPath("trunks", name, on), nil)
}

// DrainNode takes a PBX node out, or back in.
func (c *Client) DrainNode(ctx context.Context, name string, on bool) (Node, error) {
	return call[Node](ctx, c, http.MethodPost, drainPath("pbx", name, on), nil)
}
