package api

import (
	"context"
	"encoding/json"
	"net/http"
)

// PolicyTest is a message to try the rules with.
type PolicyTest struct {
	Source    string `json:"source"` // address, with or without port
	Side      string `json:"side"`
	Realm     string `json:"realm"`
	Transport string `json:"transport"`
	Message   []byte `json:"message"` // base64 in JSON
}

// PolicyVerdict is what the rules would do with it.
type PolicyVerdict struct {
	Allowed bool            `json:"allowed"`
	Text    string          `json:"text"` // step by step, for people
	Detail  json.RawMessage `json:"detail,omitempty"`
}

// TestMessage asks what the rules would do with a message.
func (c *Client) TestMessage(ctx context.Context, q PolicyTest) (PolicyVerdict, error) {
	return call[PolicyVerdict](ctx, c, http.MethodPost, "/v1/policy/test", q)
}

// testMessage changes nothing, so everybody who can ask may ask.
func (s *Server) testMessage(r *http.Request) (any, error) {
	var q PolicyTest
	if err := readBody(r, &q); err != nil {
		return nil, err
	}
	return some(s.opt.Control.TestMessage(r.Context(), q))
}
