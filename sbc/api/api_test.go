package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// running starts a server on a socket of its own and returns a client of it.
func running(t *testing.T, opt Options) *Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "run", socketName)
	l, err := Listen(t.Context(), []string{path})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := NewServer(opt).Serve(ctx, l); err != nil {
			t.Error(err)
		}
	})
	c, err := Dial(t.Context(), []string{path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		cancel()
		wg.Wait()
		if _, err := Dial(context.Background(), []string{path}); err == nil {
			t.Error("the socket answers after the end")
		}
	})
	return c
}

// changes notes who asked for what.
type changes struct {
	mu   sync.Mutex
	list []string
}

func (c *changes) note(uid int, what string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, fmt.Sprintf("%d %s %v", uid, what, err))
}

func TestQuestionsAndAnswers(t *testing.T) {
	f := newFake()
	c, ctx := running(t, Options{Control: f, UID: OwnUID()}), t.Context()
	same := func(what string, got, want any, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		} else if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s:\n%s", what, d)
		}
	}
	status, err := c.Status(ctx)
	same("status", status, sampleStatus(), err)
	calls, err := c.Calls(ctx)
	want, _ := f.Calls(ctx)
	same("calls", calls, want, err)
	one, err := c.Call(ctx, "a/b?c@x")
	same("call", one, sampleCall(), err)
	trunks, err := c.Trunks(ctx)
	wantTrunks, _ := f.Trunks(ctx)
	same("trunks", trunks, wantTrunks, err)
	relay, err := c.Media(ctx)
	if err != nil || relay.Process == nil || relay.Process.PID != 4712 || len(relay.Rejected) != 2 || relay.Pool.Orphans != 3 {
		t.Errorf("media: %v, %+v", err, relay)
	}
	nodes, err := c.Nodes(ctx)
	same("nodes", nodes, []Node{}, err)
	why, err := c.Why(ctx, "198.51.100.7 & more?")
	same("why", why, Why{Subject: "198.51.100.7 & more?", Text: "LIMITED\n", Detail: []byte(`{"over":11}`)}, err)
	dry, err := c.Reload(ctx, ReloadRequest{Diff: true, Session: "2001:db8::1"})
	same("dry run", dry, ReloadResult{Changes: []Change{{"media.dscp", "46", "0", "restart"}}}, err)
	done, err := c.Reload(ctx, ReloadRequest{Force: true, Confirm: "1m0s"})
	same("reload", done, ReloadResult{Applied: true, Changes: dry.Changes}, err)
	if want := (ReloadRequest{Force: true, Confirm: "1m0s"}); f.asked != want {
		t.Errorf("asked for %+v, want %+v", f.asked, want)
	}
	if err := c.KeepReload(ctx); err != nil || f.onTrial {
		t.Errorf("kept: %v", err)
	}
	if err := c.KeepReload(ctx); err == nil {
		t.Error("kept what is not on trial")
	}
	if _, err := c.Reload(ctx, ReloadRequest{Confirm: "forever"}); err == nil || !strings.Contains(err.Error(), "forever") {
		t.Errorf("error %v", err)
	}
	verdict, err := c.TestMessage(ctx, PolicyTest{Source: "192.0.2.1", Message: []byte("a\r\n\x00")})
	same("policy test", verdict, PolicyVerdict{Allowed: true, Text: "192.0.2.1 a\r\n\x00"}, err)
	way, err := c.TestRoute(ctx, RouteQuestion{Number: "112", From: "204", Trunk: "itsp"})
	same("route test", way, RouteAnswer{Number: "112", From: "204", Trunk: "itsp", Hops: []RouteHop{}, Rules: []RouteRule{}}, err)
	left, err := c.Drain(ctx, 90*time.Second)
	same("drain", left, DrainResult{Left: 3}, err)
	if f.drained != 90*time.Second {
		t.Errorf("drained for %s", f.drained)
	}
}

func TestBansAreMadeAndLifted(t *testing.T) {
	var told changes
	c, ctx := running(t, Options{Control: newFake(), UID: OwnUID(), Change: told.note}), t.Context()
	ban, err := c.AddBan(ctx, Ban{Address: "198.51.100.0/24", Until: start, Comment: "noise", By: "somebody else"})
	if want := (Ban{
		Address: "198.51.100.0/24", Since: start, Until: start, Comment: "noise", By: fmt.Sprintf("uid %d", OwnUID()),
	}); err != nil || cmp.Diff(want, ban) != "" {
		t.Fatalf("%v %+v", err, ban)
	}
	if list, err := c.Bans(ctx); err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	if err := c.RemoveBan(ctx, "198.51.100.0/24"); err != nil {
		t.Fatal(err)
	}
	err = c.RemoveBan(ctx, "198.51.100.0/24")
	if err == nil || err.Error() != "no ban of 198.51.100.0/24\n  hint: sbc bans lists them" {
		t.Fatal(err)
	}
	want := []string{
		fmt.Sprintf("%d bans add <nil>", OwnUID()),
		fmt.Sprintf("%d bans remove 198.51.100.0/24 <nil>", OwnUID()),
		fmt.Sprintf("%d bans remove 198.51.100.0/24 no ban of 198.51.100.0/24\n  hint: sbc bans lists them", OwnUID()),
	}
	if d := cmp.Diff(want, told.list); d != "" {
		t.Error(d)
	}
}

func TestRefusals(t *testing.T) {
	f := newFake()
	f.reloads = []bool{true, true}
	c, ctx := running(t, Options{Control: f, UID: OwnUID()}), t.Context()
	for _, q := range []struct {
		method, path, body string
		status             int
		what               string
	}{
		{"GET", "/v1/calls/none", "", 404, `no call "none"`},
		{"GET", "/v1/why", "", 400, "no subject"},
		{"GET", "/v1/why?subject=crash", "", 500, "internal error: boom"},
		{"GET", "/v1/nothing", "", 404, "no such request: GET /v1/nothing"},
		{"PUT", "/v1/status", "", 404, "no such request: PUT /v1/status"},
		{"POST", "/v1/bans", `{"address":"x"}`, 400, `"x" is no address`},
		{"POST", "/v1/bans", `{}`, 400, "no address"},
		{"POST", "/v1/bans", `{"addr":"192.0.2.1"}`, 400, "unknown field"},
		{"POST", "/v1/bans", `{`, 400, "cannot be read"},
		{"POST", "/v1/bans", "", 400, "cannot be read"},
		{"POST", "/v1/bans", `"` + strings.Repeat("x", maxBody) + `"`, 413, "too large"},
		{"POST", "/v1/drain", `{"wait":"soon"}`, 400, "not a time to wait"},
		{"POST", "/v1/drain", `{"wait":"-1s"}`, 400, "not a time to wait"},
		{"POST", "/v1/drain", `{"wait":"25h"}`, 400, "not a time to wait"},
		{"POST", "/v1/reload", "", 500, "the disk is on fire"},
	} {
		req, err := http.NewRequestWithContext(ctx, q.method, "http://sbc"+q.path, strings.NewReader(q.body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body := make([]byte, 4096)
		n, _ := resp.Body.Read(body)
		resp.Body.Close()
		e := decodeError(resp.StatusCode, body[:n])
		if resp.StatusCode != q.status || !strings.Contains(e.What, q.what) {
			t.Errorf("%s %s: %d %q, want %d %q", q.method, q.path, resp.StatusCode, e.What, q.status, q.what)
		}
		if got := resp.Header.Get("Content-Type"); got != "application/json" {
			t.Errorf("%s %s: %s", q.method, q.path, got)
		}
	}
}

// TestWhoMayChange: root and the program's own user; everybody else may ask.
func TestWhoMayChange(t *testing.T) {
	for _, c := range []struct {
		uid, own int
		want     bool
	}{{0, 0, true}, {0, 999, true}, {999, 999, true}, {1000, 999, false}, {1000, 0, false}, {-1, 0, false}, {-1, -1, false}} {
		s := NewServer(Options{Control: newFake(), UID: c.own})
		if got := s.mayChange(c.uid); got != c.want {
			t.Errorf("uid %d where the program is %d: %v", c.uid, c.own, got)
		}
	}
}

// TestStrangersMayOnlyAsk drives the handler without a socket, so that the kernel names nobody.
func TestStrangersMayOnlyAsk(t *testing.T) {
	var told changes
	f := newFake()
	s := NewServer(Options{Control: f, UID: OwnUID(), Change: told.note})
	client, server := net.Pipe()
	l := &oneConn{conn: server, closed: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.http.Serve(l) })
	defer wg.Wait()
	defer s.http.Close()
	defer cancel()
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return client, nil }}
	defer transport.CloseIdleConnections()
	c := &Client{path: "pipe", http: &http.Client{Transport: transport}}
	if _, err := c.Status(ctx); err != nil {
		t.Fatal(err)
	}
	_, err := c.Reload(ctx, ReloadRequest{Force: true, Confirm: "1m0s"})
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Status != http.StatusForbidden || len(f.reloads) != 0 {
		t.Fatalf("%v, reloads %v", err, f.reloads)
	}
	if len(told.list) != 1 || !strings.HasPrefix(told.list[0], "-1 reload you may ask") {
		t.Errorf("told: %q", told.list)
	}
	if _, err := c.Reload(ctx, ReloadRequest{Diff: true, Session: "2001:db8::1"}); err != nil {
		t.Errorf("a dry run is refused: %v", err)
	}
}

// oneConn is a listener with one connection.
type oneConn struct {
	conn   net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *oneConn) Accept() (c net.Conn, err error) {
	l.once.Do(func() { c = l.conn })
	if c != nil {
		return c, nil
	}
	<-l.closed
	return nil, net.ErrClosed
}

func (l *oneConn) Close() error   { close(l.closed); return nil }
func (l *oneConn) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

func TestWaitsEndWithTheirContext(t *testing.T) {
	f := newFake()
	f.block = make(chan struct{})
	c := running(t, Options{Control: f, UID: OwnUID()})
	for what, ask := range map[string]func(context.Context) error{
		"status": func(ctx context.Context) error { _, err := c.Status(ctx); return err },
		"drain":  func(ctx context.Context) error { _, err := c.Drain(ctx, time.Hour); return err },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		err := ask(ctx)
		cancel()
		if err == nil || !strings.Contains(err.Error(), "does not answer in time") {
			t.Errorf("%s: %v", what, err)
		}
	}
	close(f.block)
	if _, err := c.Status(t.Context()); err != nil {
		t.Errorf("after the wait: %v", err)
	}
}

// TestDrainEndsWithItsClient: the wait is the request; who goes away does not wait any longer.
func TestDrainEndsWithItsClient(t *testing.T) {
	f := newFake()
	f.block, f.ended = make(chan struct{}), make(chan error, 1)
	c := running(t, Options{Control: f, UID: OwnUID()})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Drain(ctx, time.Hour); err == nil {
		t.Error("the wait is over before the drain")
	}
	if err := <-f.ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the wait ended with %v", err)
	}
}

func TestErrorsKeepTheirStatus(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
	}{
		{NotFound("", "x"), 404},
		{BadRequest("", "x"), 400},
		{fmt.Errorf("wrapped: %w", NotFound("", "x")), 404},
		{context.DeadlineExceeded, 504},
		{errors.New("x"), 500},
	} {
		if got := asError(c.err); got.Status != c.status || got.What == "" {
			t.Errorf("%v: %+v", c.err, got)
		}
	}
	if e := decodeError(502, []byte("<html>")); e.Status != 502 || e.What != "the program answers 502 Bad Gateway" || e.Error() != e.What {
		t.Errorf("%+v", e)
	}
}
