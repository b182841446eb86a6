package api

import (
	"context"
	"fmt"
	"net/http"
	"strings"
)

// RouteQuestion is a call to be routed, which nobody makes.
type RouteQuestion struct {
	Number string `json:"number"`          // as it is dialled, or a sip or tel URI
	From   string `json:"from,omitempty"`  // the user that calls
	Trunk  string `json:"trunk,omitempty"` // the call comes in by it; empty: it is one of the PBX
}

// RouteAnswer is where the call would go, and why.
type RouteAnswer struct {
	Number    string      `json:"number"`         // as patterns are tried on it
	E164      string      `json:"e164,omitempty"` // in the public network; absent: it is none, or nobody can tell
	From      string      `json:"from,omitempty"`
	FromE164  string      `json:"from_e164,omitempty"`
	Trunk     string      `json:"trunk,omitempty"` // that the call comes in by
	Emergency bool        `json:"emergency,omitempty"`
	Refused   string      `json:"refused,omitempty"` // there is no way
	Hops      []RouteHop  `json:"hops"`              // in the order in which they are tried
	More      int         `json:"more,omitempty"`    // hops that are left out here
	Rules     []RouteRule `json:"rules"`             // what each rule has to say, in the order of the file
	Offline   bool        `json:"offline,omitempty"` // asked of a file: no health, no calls
}

// RouteHop is one place that the call would be sent to.
type RouteHop struct {
	Peer      string   `json:"peer"` // trunk, or the node's address
	Address   string   `json:"address"`
	Transport string   `json:"transport"`
	Group     string   `json:"group,omitempty"`
	State     string   `json:"state,omitempty"`  // up, unknown, degraded, down, drained
	Reason    string   `json:"reason,omitempty"` // why it is degraded or down
	Load      *Load    `json:"load,omitempty"`
	Full      string   `json:"full,omitempty"` // why it would take no call now
	URI       string   `json:"request_uri"`    // what would be sent
	From      string   `json:"from,omitempty"`
	To        string   `json:"to,omitempty"`
	Answers   []string `json:"failover"` // after which the next hop is tried
}

// RouteRule is what a rule has to say.
type RouteRule struct {
	Key   string `json:"key"`
	Name  string `json:"name,omitempty"`
	Holds bool   `json:"holds"`
	Why   string `json:"why"`
}

// TestRoute asks where a call would go.
func (c *Client) TestRoute(ctx context.Context, q RouteQuestion) (RouteAnswer, error) {
	return call[RouteAnswer](ctx, c, http.MethodPost, "/v1/route/test", q)
}

// testRoute changes nothing, so everybody who can ask may ask.
func (s *Server) testRoute(r *http.Request) (any, error) {
	var q RouteQuestion
	if err := readBody(r, &q); err != nil {
		return nil, err
	}
	return some(s.opt.Control.TestRoute(r.Context(), q))
}

// rulesShown bounds the rules that do not hold in the text: with a thousand trunks those that hold matter.
const rulesShown = 20

// Text is `sbc route test`.
func (a *RouteAnswer) Text() string {
	var b strings.Builder
	line := func(key, format string, args ...any) {
		b.WriteString(strings.TrimRight(fmt.Sprintf("%-9s %s", key, printable(fmt.Sprintf(format, args...))), " ") + "\n")
	}
	called := numberText(a.Number, a.E164)
	if a.Emergency {
		called += ": an emergency call"
	}
	line("number", "%s", called)
	if a.From != "" {
		line("from", "%s", numberText(a.From, a.FromE164))
	}
	if a.Trunk != "" {
		line("trunk", "%s", a.Trunk)
	}
	if a.Refused != "" {
		line("refused", "%s", a.Refused)
	}
	key := "plan"
	for i := range a.Hops {
		a.Hops[i].text(i+1, key, a.Offline, line)
		key = ""
	}
	if a.More > 0 {
		line("", "and %d more", a.More)
	}
	a.rules(true, "because", line)
	a.rules(false, "not", line)
	if a.Offline {
		line("note", "asked of a file: nothing is known of health and calls")
	}
	return b.String()
}

func (a *RouteAnswer) rules(holds bool, key string, line func(key, format string, args ...any)) {
	n := 0
	for _, r := range a.Rules {
		if r.Holds != holds {
			continue
		}
		if n++; !holds && n > rulesShown {
			continue
		}
		name := r.Key
		if r.Name != "" {
			name += " " + r.Name
		}
		line(key, "%s: %s", name, r.Why)
		key = ""
	}
	if !holds && n > rulesShown {
		line("", "and %d more (--json lists them)", n-rulesShown)
	}
}

func (h *RouteHop) text(n int, key string, offline bool, line func(key, format string, args ...any)) {
	what := h.Peer
	if h.Peer == h.Address {
		what = "node"
	}
	if h.Group != "" {
		what += " (" + h.Group + ")"
	}
	text := fmt.Sprintf("%d  %s  %s/%s", n, what, h.Address, h.Transport)
	if !offline {
		text += "  " + h.State
		if h.Reason != "" {
			text += ": " + h.Reason
		}
	}
	if h.Load != nil {
		text += "  calls " + h.Load.calls()
		if h.Load.RateMost > 0 {
			text += ", a second " + h.Load.rate()
		}
	}
	if h.Full != "" {
		text += "  FULL: " + h.Full
	}
	line(key, "%s", text)
	if h.URI != "" {
		line("", "   INVITE %s", h.URI)
	}
	if h.From != "" {
		line("", "   From   %s", h.From)
	}
	if h.To != "" {
		line("", "   To     %s", h.To)
	}
	if len(h.Answers) > 0 {
		line("", "   next   after %s", strings.Join(h.Answers, ", "))
	}
}

func numberText(n, e164 string) string {
	switch {
	case e164 == "" || e164 == n:
		return n
	default:
		return n + ", in the public network " + e164
	}
}
