package api

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Registration is one binding of a phone.
type Registration struct {
	AoR        string    `json:"aor"`
	Contact    string    `json:"contact"`   // as the phone wrote it
	Token      string    `json:"token"`     // the user by which the PBX reaches it
	Flow       string    `json:"flow"`      // "udp 198.51.100.7:40122"
	Lost       bool      `json:"lost"`      // the flow's connection is gone: calls get 480
	Interface  string    `json:"interface"` // where it registered: "udp 203.0.113.10:5060"
	Node       string    `json:"node"`      // the PBX node that accepted it
	UserAgent  string    `json:"ua,omitempty"`
	NAT        string    `json:"nat"`               // the kind seen
	ALG        []string  `json:"alg,omitempty"`     // what something on the way edited, one clause each
	Since      time.Time `json:"since"`             // its first REGISTER
	Refreshed  time.Time `json:"refreshed"`         // its last one
	Expires    time.Time `json:"expires"`           // as the phone was told
	ExpiresPBX time.Time `json:"expires_pbx"`       // as the PBX said
	Keepalive  string    `json:"keepalive"`         // "options 25s", "crlf 25s", "ping 25s" (WebSocket), "none"
	Answered   time.Time `json:"answered,omitzero"` // when it last answered a keepalive
	Accepted   time.Time `json:"accepted,omitzero"` // when the PBX last accepted a REGISTER of it
	Local      int       `json:"registers_local"`   // refreshes that were answered here in the PBX's place
	Passed     int       `json:"registers_passed"`  // REGISTERs that the PBX accepted
	Held       time.Time `json:"held,omitzero"`     // an outage keeps it beyond its time, until then at most
	Calls      []string  `json:"calls,omitempty"`   // ids of its calls
	Media      []string  `json:"media,omitempty"`   // of those: what SDP said, and where it was heard from
}

// The bounds of what is told of one binding. What phones wrote has no bound of its own that an answer about all of them
// could rely on.
const (
	maxWritten     = 256 // bytes of a Contact or User-Agent
	maxClause      = 160 // bytes of a finding
	maxClauses     = 8
	maxCalls       = 32 // of one binding
	maxMediaLines  = 64
	maxOfOneAoR    = 64 // bindings of an address of record that are told
	hintNoBindings = "sbc why %s says why it is not registered; sbc registrations lists those that are"
	noDomain       = "@DOMAIN (the PBX's)" // behind a user alone: only the whole name says what has never been heard of
)

// bindings is the answer about all phones: in brief, so that 25,000 of them fit into one.
func bindings(all []Registration, err error) (any, error) {
	out := make([]Registration, len(all))
	for i := range all {
		out[i] = all[i].bounded()
		out[i].Media = nil
	}
	return list(out, err)
}

// bindingsOf is the answer about one address of record.
func (s *Server) bindingsOf(ctx context.Context, aor string) (any, error) {
	all, err := s.opt.Control.Registrations(ctx, aor)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		whole := aor
		if !strings.Contains(aor, "@") {
			whole += noDomain
		}
		return nil, NotFound(fmt.Sprintf(hintNoBindings, whole), "no registration of %q", aor)
	}
	out := make([]Registration, 0, len(all))
	for i := range all[:min(len(all), maxOfOneAoR)] {
		out = append(out, all[i].bounded())
	}
	return out, nil
}

// bounded is a copy that is cut where a phone, or a long life, made it long.
func (r *Registration) bounded() Registration {
	out := *r
	out.AoR, out.Contact, out.UserAgent = clipped(r.AoR, maxWritten), clipped(r.Contact, maxWritten), clipped(r.UserAgent, maxWritten)
	out.ALG = firsts(r.ALG, maxClauses)
	out.Calls = firsts(r.Calls, maxCalls)
	out.Media = firsts(r.Media, maxMediaLines)
	return out
}

// firsts are the first n of a list, each clipped.
func firsts(list []string, n int) []string {
	if len(list) == 0 {
		return nil
	}
	out := make([]string, 0, min(len(list), n))
	for _, s := range list[:min(len(list), n)] {
		out = append(out, clipped(s, maxClause))
	}
	return out
}

// clipped is a text of at most n bytes and a mark, cut between characters.
func clipped(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

// RegistrationsText is `sbc registrations`.
func RegistrationsText(list []Registration, now time.Time) string {
	if len(list) == 0 {
		return "no phone is registered\n"
	}
	rows := [][]string{{"AOR", "FLOW", "NODE", "NAT", "ALG", "EXPIRES", "KEEPALIVE", "ANSWERED", "CALLS"}}
	for i := range list {
		r := &list[i]
		alg := "-"
		if len(r.ALG) > 0 {
			alg = "ALG"
		}
		rows = append(rows, []string{
			printable(r.AoR), r.flow(), cmp.Or(r.Node, "-"), cmp.Or(r.NAT, "-"), alg, r.expiries(now), cmp.Or(r.Keepalive, "none"), ago(r.Answered, now),
			fmt.Sprint(len(r.Calls)),
		})
	}
	return table(rows)
}

func (r *Registration) flow() string {
	if r.Lost {
		return r.Flow + " (gone)"
	}
	return r.Flow
}

// expiries is how long the binding lasts, as the phone was told and as the PBX said.
func (r *Registration) expiries(now time.Time) string {
	own := left(r.Expires, now)
	if !r.Held.IsZero() {
		own = "held " + left(r.Held, now)
	}
	return own + " / " + left(r.ExpiresPBX, now)
}

// ending is expiries in words.
func (r *Registration) ending(now time.Time) string {
	text := r.expiries(now)
	if rest, over := strings.CutPrefix(text, "over "); over {
		return "expired " + rest
	}
	if strings.HasPrefix(text, "held ") {
		return text
	}
	return "expires in " + text
}

// RegistrationsFull is `sbc registrations AOR`: one block a binding.
func RegistrationsFull(list []Registration, now time.Time, zone *time.Location) string {
	blocks := make([]string, 0, len(list))
	for i := range list {
		blocks = append(blocks, list[i].Text(now, zone))
	}
	return strings.Join(blocks, "\n")
}

// Text is one binding in full.
func (r *Registration) Text(now time.Time, zone *time.Location) string {
	flow := r.flow()
	if r.Lost {
		flow = r.Flow + ", whose connection is gone: calls to it get 480 until it registers again"
	}
	rows := [][]string{
		{"aor", printable(r.AoR)},
		{"contact", printable(r.Contact)},
		{"flow", flow},
		{"at", cmp.Or(r.Interface, "-")},
		{"nat", cmp.Or(r.NAT, "-")},
	}
	rows = append(rows, labelled("alg", r.ALG)...)
	if len(r.ALG) > 0 {
		rows = append(rows, []string{"fix", fixALG})
	}
	rows = append(rows,
		[]string{"user agent", cmp.Or(printable(r.UserAgent), "-")},
		[]string{"pbx", fmt.Sprintf("%s, which reaches it as %s", cmp.Or(r.Node, "-"), r.Token)},
		[]string{"registered", fmt.Sprintf("since %s, last REGISTER %s", clock(r.Since, zone), ago(r.Refreshed, now))},
		[]string{"expires", fmt.Sprintf("%s as the phone was told, %s as the PBX said", left(r.Expires, now), left(r.ExpiresPBX, now))},
		[]string{"keepalive", r.keepalive(now)})
	if !r.Held.IsZero() {
		rows = append(rows, []string{"held", "no word of it came in an outage: kept for " + left(r.Held, now) + " at most (phones.registration.grace)"})
	}
	if r.Local > 0 {
		rows = append(rows, []string{"answered", fmt.Sprintf("%d %s here, %d by the PBX, which last accepted one %s",
			r.Local, plural(r.Local, "REGISTER"), r.Passed, ago(r.Accepted, now))})
	}
	rows = append(rows, []string{"calls", cmp.Or(strings.Join(r.Calls, " "), "-")})
	rows = append(rows, labelled("media", r.Media)...)
	return table(rows)
}

func (r *Registration) keepalive(now time.Time) string {
	kind := cmp.Or(r.Keepalive, "none")
	switch {
	case kind == "none", strings.HasPrefix(kind, "ping"): // the connection's own matter
		return kind
	case !r.Answered.IsZero():
		return kind + ", answered " + ago(r.Answered, now)
	case strings.HasPrefix(kind, "crlf"):
		return kind + ", never answered, which phones need not" // RFC 5626 §3.5.1 asks it of those that know outbound
	case r.young(now):
		return kind + ", not answered yet"
	}
	return kind + ", never answered"
}

// young reports whether the binding is so new that its first keepalive may not have been sent, or answered.
func (r *Registration) young(now time.Time) bool {
	_, interval, _ := strings.Cut(r.Keepalive, " ")
	d, err := time.ParseDuration(interval)
	return err == nil && now.Sub(r.Since) < d+d/2
}

// labelled are rows of one label, which stands on the first.
func labelled(label string, list []string) [][]string {
	rows := make([][]string, 0, len(list))
	for _, s := range list {
		rows = append(rows, []string{label, printable(s)})
		label = ""
	}
	return rows
}

// left is how long until then: "43 s", "52 m".
func left(t, now time.Time) string {
	switch {
	case t.IsZero():
		return "-"
	case !t.After(now):
		return "over"
	}
	return span(t.Sub(now))
}

// ago is how long since then.
func ago(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return span(max(now.Sub(t), 0)) + " ago"
}

// span is a duration in its largest whole unit of which there are two at least: 119 s, 119 m, 47 h, 3 d.
func span(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("%d m", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	}
	return fmt.Sprintf("%d d", d/(24*time.Hour))
}

func (p *PhoneGauge) text() string {
	text := fmt.Sprintf("%d registered, %d at most", p.Now, p.High)
	switch {
	case p.Lost == 1:
		text += "; 1 has lost its connection"
	case p.Lost > 1:
		text += fmt.Sprintf("; %d have lost their connection", p.Lost)
	}
	if p.Held > 0 {
		text += fmt.Sprintf("; an outage has cut off %d, which are kept for now", p.Held)
	}
	if p.Most > 0 {
		text += fmt.Sprintf("; bound %d", p.Most)
	}
	if p.Throttled {
		text += fmt.Sprintf("; REGISTERs: %d answered here, %d passed to the PBX", p.Local, p.Passed)
	}
	return text
}
