package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// ReloadRequest says how a configuration is to be put in force.
type ReloadRequest struct {
	Diff    bool   `json:"diff,omitempty"`    // change nothing, say what would change
	Force   bool   `json:"force,omitempty"`   // whoever is cut off
	Session string `json:"session,omitempty"` // address that the administrator works from; "": unknown
	// Confirm is how long the new configuration is on trial, Go style: without KeepReload by then the one before comes
	// back by itself. "": it lasts.
	Confirm string `json:"confirm,omitempty"`
}

// maxTrial is the longest that a configuration may be on trial.
const maxTrial = 24 * time.Hour

// Trial is how long the configuration is on trial; 0: it lasts.
func (r *ReloadRequest) Trial() (time.Duration, error) {
	if r.Confirm == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(r.Confirm)
	if err != nil || d < time.Second || d > maxTrial {
		return 0, BadRequest("write a duration from 1s to 24h, such as 60s", "%q is not a time to confirm within", r.Confirm)
	}
	return d, nil
}

// Problem is one thing wrong with a configuration.
type Problem struct {
	Text string `json:"text"` // as printed: place, key, what is wrong
	Hint string `json:"hint,omitempty"`
}

// Change is one key that differs.
type Change struct {
	Path string `json:"path"`
	Old  string `json:"old"`
	New  string `json:"new"`
	When string `json:"when"` // live, new calls, listener, restart
}

// Hit is somebody whom a change would newly shut out.
type Hit struct {
	Who    string `json:"who"`    // trunk itsp, node 10.0.0.10:5060, phone 204@example.com, your session
	Source string `json:"source"` // address
	Method string `json:"method"`
	Reason string `json:"reason"`
	Rule   string `json:"rule,omitempty"` // path and name
	Vital  bool   `json:"vital"`          // a trunk, a node or the administrator: one is enough to refuse the change
}

// ReloadResult is what a reload did, or would do.
type ReloadResult struct {
	Applied  bool      `json:"applied"`
	Changes  []Change  `json:"changes"`
	Errors   []Problem `json:"errors,omitempty"` // any: nothing was changed
	Warnings []Problem `json:"warnings,omitempty"`
	Hits     []Hit     `json:"hits,omitempty"`     // who is newly shut out; the first of them where there are many
	Phones   int       `json:"phones,omitempty"`   // phones among all that are hit
	Known    int       `json:"known,omitempty"`    // phones that are registered
	Refused  bool      `json:"refused,omitempty"`  // nothing was changed, because of them
	Rehearse string    `json:"rehearse,omitempty"` // the verb that tries the rules on what came in last
	Returns  time.Time `json:"returns,omitzero"`   // when the configuration before comes back unless this one is kept
}

// shownHits is how many of those who are hit the text names.
const shownHits = 20

// Text is `sbc reload`; ok is false if nothing was done because something is wrong.
func (r *ReloadResult) Text(zone *time.Location) (text string, ok bool) {
	var b strings.Builder
	for _, p := range r.Errors {
		b.WriteString("error: " + p.text() + "\n")
	}
	for _, p := range r.Warnings {
		b.WriteString("warning: " + p.text() + "\n")
	}
	for _, c := range r.Changes {
		fmt.Fprintf(&b, "%s: %s → %s (%s)\n", c.Path, brief(c.Old), brief(c.New), c.When)
	}
	b.WriteString(HitsText(r.Hits, r.Phones, r.Known))
	if r.Rehearse != "" {
		b.WriteString("hint: by these rules, limits too, of what came in last: " + printable(r.Rehearse) + "\n")
	}
	switch {
	case len(r.Errors) > 0:
		b.WriteString("nothing has changed\n")
		return b.String(), false
	case r.Refused:
		b.WriteString("refused, nothing has changed\n  hint: spare them (policy.white_list, a narrower range), try the rule with shadow: true, " +
			"or insist with --force\n")
		return b.String(), false
	case len(r.Changes) == 0 && r.Applied:
		b.WriteString("no change of a key; certificate and key were read anew, if there are any\n")
	case len(r.Changes) == 0:
		b.WriteString("no change\n")
	case r.Applied:
		b.WriteString("reloaded\n")
		if keys := r.waiting(); keys != "" {
			b.WriteString("not in force before a restart: " + keys + "\n")
		}
	}
	if !r.Returns.IsZero() {
		fmt.Fprintf(&b, "on trial: the configuration before comes back at %s unless you keep this one (sbc reload --keep)\n",
			r.Returns.In(zone).Format(time.TimeOnly))
	}
	return b.String(), true
}

// waiting names the changed keys that want a restart.
func (r *ReloadResult) waiting() string {
	var keys []string
	for i := range r.Changes {
		if r.Changes[i].When == "restart" {
			keys = append(keys, printable(r.Changes[i].Path))
		}
	}
	return strings.Join(keys, ", ")
}

// briefMost is how much of a value the text shows, in bytes; the JSON has all of it.
const briefMost = 240

// brief is a value as the text shows it.
func brief(value string) string {
	switch {
	case value == "":
		return "absent"
	case len(value) <= briefMost:
		return value
	}
	return strings.ToValidUTF8(value[:briefMost], "") + fmt.Sprintf("… (%d bytes more; --json has all)", len(value)-briefMost)
}

// HitsText names whom a change would newly shut out: vital ones first, one a line.
func HitsText(hits []Hit, phones, known int) string {
	var b strings.Builder
	for i, h := range hits {
		if i == shownHits {
			fmt.Fprintf(&b, "shuts out %d more\n", len(hits)-i)
			break
		}
		fmt.Fprintf(&b, "shuts out %s (%s): %s %s", printable(h.Who), h.Source, h.Method, h.Reason)
		if h.Rule != "" {
			b.WriteString(" by " + printable(h.Rule))
		}
		b.WriteString("\n")
	}
	if phones > 0 {
		fmt.Fprintf(&b, "shuts out %d of %d registered phones\n", phones, known)
	}
	return b.String()
}

// Reload makes the program read its configuration, or, with Diff, say what would change.
func (c *Client) Reload(ctx context.Context, r ReloadRequest) (ReloadResult, error) {
	if r.Diff {
		return call[ReloadResult](ctx, c, http.MethodGet, "/v1/reload?session="+url.QueryEscape(r.Session), nil)
	}
	return call[ReloadResult](ctx, c, http.MethodPost, "/v1/reload", r)
}

// KeepReload keeps the configuration that is on trial.
func (c *Client) KeepReload(ctx context.Context) error {
	_, err := call[struct{}](ctx, c, http.MethodPost, "/v1/reload/keep", nil)
	return err
}

// reload answers both: a dry run changes nothing, so everybody who can ask may have one.
func (s *Server) reload(r *http.Request) (any, error) {
	q := ReloadRequest{Diff: true, Session: r.URL.Query().Get("session")}
	if r.Method == http.MethodPost {
		q = ReloadRequest{}
		if r.ContentLength != 0 {
			if err := readBody(r, &q); err != nil {
				return nil, err
			}
		}
		q.Diff = false
	}
	if _, err := q.Trial(); err != nil {
		return nil, err
	}
	out, err := s.opt.Control.Reload(r.Context(), q)
	if out.Changes == nil {
		out.Changes = []Change{}
	}
	return some(out, err)
}
