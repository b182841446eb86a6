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

// Ban is one ban, made by hand or from evidence.
type Ban struct {
	Address  string    `json:"address"`          // or prefix
	Kind     string    `json:"kind,omitempty"`   // address, prefix, port (of an address), user (at an address)
	Port     uint16    `json:"port,omitempty"`   // only what this port sends
	AoR      string    `json:"aor,omitempty"`    // only what this user sends
	Realms   []string  `json:"realms,omitempty"` // empty: all
	Since    time.Time `json:"since,omitzero"`
	Until    time.Time `json:"until,omitzero"`     // zero: for ever
	Comment  string    `json:"comment,omitempty"`  // why
	By       string    `json:"by,omitempty"`       // "uid 0", filled in by the server; "evidence"
	Count    int       `json:"count,omitempty"`    // of one from evidence: how many there were lately, this one included
	Evidence []string  `json:"evidence,omitempty"` // what counted

	// Of a request alone: even if it shuts out a trunk, a node, the administrator or many phones; and the address that the
	// administrator works from.
	Force   bool   `json:"force,omitempty"`
	Session string `json:"session,omitempty"`
}

// Target is whom the ban is about, in short.
func (b *Ban) Target() string {
	text := b.Address
	if b.Port != 0 {
		text = fmt.Sprintf("%s port %d", b.Address, b.Port)
	}
	if b.AoR != "" {
		text = printable(b.AoR) + " at " + text
	}
	return text
}

// BansText is `sbc bans`.
func BansText(list []Ban, zone *time.Location) string {
	if len(list) == 0 {
		return "no bans; `sbc why ADDRESS` tells of ports that are blocked for a minute\n"
	}
	rows := [][]string{{"KIND", "WHO", "REALMS", "SINCE", "UNTIL", "BY", "WHY"}}
	for i := range list {
		b := &list[i]
		until := "for ever"
		if !b.Until.IsZero() {
			until = clock(b.Until, zone)
		}
		rows = append(rows, []string{
			cmp.Or(b.Kind, "-"), b.Target(), cmp.Or(strings.Join(b.Realms, ","), "all"), clock(b.Since, zone), until, cmp.Or(b.By, "-"), b.Why(),
		})
	}
	return table(rows)
}

// Why is the reason with what counted, in one line. `sbc why` and the JSON have the rest.
func (b *Ban) Why() string {
	text := printable(b.Comment)
	if len(b.Evidence) > 0 {
		text = strings.TrimPrefix(text+"; "+printable(b.Evidence[0]), "; ")
	}
	if b.Count > 1 {
		text = strings.TrimSpace(fmt.Sprintf("%s (ban %d of late)", text, b.Count))
	}
	return text
}

// Bans are the bans in force.
func (c *Client) Bans(ctx context.Context) ([]Ban, error) {
	return call[[]Ban](ctx, c, http.MethodGet, "/v1/bans", nil)
}

// AddBan bans an address or a prefix.
func (c *Client) AddBan(ctx context.Context, ban Ban) (Ban, error) {
	return call[Ban](ctx, c, http.MethodPost, "/v1/bans", ban)
}

// RemoveBan lifts the bans of an address or prefix.
func (c *Client) RemoveBan(ctx context.Context, address string) error {
	_, err := call[struct{}](ctx, c, http.MethodDelete, "/v1/bans?address="+url.QueryEscape(address), nil)
	return err
}

func (s *Server) addBan(r *http.Request) (any, error) {
	var ban Ban
	if err := readBody(r, &ban); err != nil {
		return nil, err
	}
	if ban.Address == "" {
		return nil, BadRequest("name an address or a prefix", "no address")
	}
	ban.By = fmt.Sprintf("uid %d", uidOf(r.Context()))
	return some(s.opt.Control.AddBan(r.Context(), ban))
}
