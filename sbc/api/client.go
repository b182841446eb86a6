package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// maxAnswer bounds what a client reads: twenty thousand calls in full are some ten MiB.
const maxAnswer = 64 << 20

// Client asks a running program. It is safe for use by several goroutines.
type Client struct {
	path string // of the socket, for errors
	http *http.Client
}

// NotRunningError says that nobody answers.
type NotRunningError struct{ Places []string }

// Error says what to do.
func (e *NotRunningError) Error() string {
	text := fmt.Sprintf("no sbc answers at %s: is it running?\n  hint: start it with sbc run, or name its socket with --socket or SBC_SOCKET",
		strings.Join(e.Places, " or "))
	text += "\n  hint: under systemd, systemctl status sbc and journalctl -u sbc -n 50 say why it has ended"
	for _, other := range e.elsewhere() {
		text += "\n  hint: another instance has its socket here: SBC_SOCKET=" + other
	}
	return text
}

// elsewhere are the sockets of other instances: each has a directory of its own below that of the first.
func (e *NotRunningError) elsewhere() (out []string) {
	for _, path := range e.Places {
		if list, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*", socketName)); err == nil {
			out = append(out, list...)
		}
	}
	return out[:min(len(out), elsewhereMost)]
}

// elsewhereMost bounds the sockets that are named.
const elsewhereMost = 8

// Dial finds the program that answers at the first of the places (see Places).
func Dial(ctx context.Context, places []string) (*Client, error) {
	for _, path := range places {
		c, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "unix", path)
		switch {
		case err == nil:
			_ = c.Close()
			return newClient(path), nil
		case errors.Is(err, fs.ErrPermission):
			return nil, fmt.Errorf("%s: permission denied\n  hint: ask as root (sudo), or as a member of the group that owns the socket", path)
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ECONNREFUSED), errors.Is(err, unix.ENOTDIR):
			continue // nobody there
		default:
			return nil, fmt.Errorf("%s: %w\n  hint: is it the socket of a running sbc?", path, err)
		}
	}
	return nil, &NotRunningError{Places: places}
}

func newClient(path string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "unix", path)
	}
	return &Client{path: path, http: &http.Client{Transport: &http.Transport{DialContext: dial, MaxIdleConns: 1}}}
}

// Close lets go of idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Status is the program as a whole.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return call[Status](ctx, c, http.MethodGet, "/v1/status", nil)
}

// Calls are the calls in progress.
func (c *Client) Calls(ctx context.Context) ([]Call, error) {
	return call[[]Call](ctx, c, http.MethodGet, "/v1/calls", nil)
}

// Call is one call in full.
func (c *Client) Call(ctx context.Context, id string) (Call, error) {
	return call[Call](ctx, c, http.MethodGet, "/v1/calls/"+url.PathEscape(id), nil)
}

// Trunks are the trunks.
func (c *Client) Trunks(ctx context.Context) ([]Trunk, error) {
	return call[[]Trunk](ctx, c, http.MethodGet, "/v1/trunks", nil)
}

// Media is the relay in full.
func (c *Client) Media(ctx context.Context) (Relay, error) {
	return call[Relay](ctx, c, http.MethodGet, "/v1/media", nil)
}

// Nodes are the PBX nodes.
func (c *Client) Nodes(ctx context.Context) ([]Node, error) {
	return call[[]Node](ctx, c, http.MethodGet, "/v1/pbx", nil)
}

// Registrations are the bindings of phones, in brief.
func (c *Client) Registrations(ctx context.Context) ([]Registration, error) {
	return call[[]Registration](ctx, c, http.MethodGet, "/v1/registrations", nil)
}

// RegistrationsOf are the bindings of one address of record, user or user@domain, in full.
func (c *Client) RegistrationsOf(ctx context.Context, aor string) ([]Registration, error) {
	return call[[]Registration](ctx, c, http.MethodGet, "/v1/registrations/"+url.PathEscape(aor), nil)
}

// Why explains what happens to an address, an address of record or a call.
func (c *Client) Why(ctx context.Context, subject string) (Why, error) {
	return call[Why](ctx, c, http.MethodGet, "/v1/why?subject="+url.QueryEscape(subject), nil)
}

// Drain stops new calls and waits for the last one so long. The context must allow for the wait.
func (c *Client) Drain(ctx context.Context, wait time.Duration) (DrainResult, error) {
	return call[DrainResult](ctx, c, http.MethodPost, "/v1/drain", drainRequest{Wait: wait.String()})
}

// call sends one request and reads its answer.
func call[T any](ctx context.Context, c *Client, method, path string, body any) (T, error) {
	var out T
	var send io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return out, fmt.Errorf("the request cannot be written: %w", err)
		}
		send = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://sbc"+path, send)
	if err != nil {
		return out, fmt.Errorf("the request cannot be written: %w", err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return out, c.explain(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return out, c.explain(err)
	}
	if resp.StatusCode != http.StatusOK {
		return out, decodeError(resp.StatusCode, data)
	}
	if err := json.Unmarshal(data, &out); err != nil {
		return out, fmt.Errorf("the answer cannot be read: %w\n  hint: are program and client of one version?", err)
	}
	return out, nil
}

// explain says what to do about a connection that failed.
func (c *Client) explain(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	switch {
	case isTimeout(err):
		return fmt.Errorf("the sbc at %s does not answer in time\n  hint: it may be overloaded: see its log", c.path)
	case errors.Is(err, unix.ECONNREFUSED), errors.Is(err, fs.ErrNotExist):
		return &NotRunningError{Places: []string{c.path}}
	}
	return fmt.Errorf("the sbc at %s: %w\n  hint: it may have ended: see its log", c.path, err)
}
